//! HTTP: the doors. Handlers translate between requests and the pump, and do nothing else.
//!
//! Promise: every body has a cap, every wait a timeout, every error a published code. Logs and
//! metrics name routes and statuses, never a customer.
//! Absent on purpose: rules, storage, and TLS (a proxy's work; we listen on this machine only
//! unless told otherwise).

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

mod answers;
pub mod console;
pub mod customers;
pub mod docs;
pub mod events;
mod extract;
pub mod ingest;
pub mod keys;
pub mod models;
pub mod ops;
pub mod overview;
pub mod problem;
pub mod products;
pub mod programs;
pub mod recommendations;
pub mod server;
pub mod stream;

use crate::models::shelf::Shelf;
use crate::models::trainer::Trainer;
use crate::pump::{Handle, Trouble};
use crate::wire::segment::BODY_MAX;
use keys::KeyRing;
use problem::{ApiError, Problem, SdkError, SdkProblem};

/// Longest that a request may take, but for the stream. Who waits for the writer is answered sooner, so
/// that a request which takes all of it waits for its client.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// Largest programme document.
const PROGRAM_BODY_MAX: usize = 1024 * 1024;
/// Largest body of an API call.
const API_BODY_MAX: usize = 64 * 1024;

/// What handlers share; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    pump: Handle,
    keys: KeyRing,
    trainer: Arc<Trainer>,
    public_url: Option<String>,
    stopping: watch::Receiver<bool>,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Kilobytes of large and packed bodies that may be in memory at once.
    reading: Arc<Semaphore>,
}

/// How often samples of histograms are counted together.
const METRICS_RHYTHM: Duration = Duration::from_secs(5);
/// Kilobytes for bodies that are being read and unpacked.
const READING_KB: usize = 128 * 1024;
/// How long a body waits for its share of them.
const READING_WAIT: Duration = Duration::from_secs(5);

/// Tells open streams that the server is going down.
pub type Stop = watch::Sender<bool>;

impl App {
    /// The shared part of all handlers. `public_url` is how browsers see us, when that is not the
    /// `Host` they ask for.
    pub fn new(pump: Handle, keys: KeyRing, public_url: Option<String>) -> (Self, Stop) {
        let (stop, stopping) = watch::channel(false);
        let metrics = ops::metrics_handle();
        let reading = Arc::new(Semaphore::new(READING_KB));
        let trainer = Arc::new(Trainer::new(pump.clone()));
        let inner = Inner { pump, keys, trainer, public_url, stopping, metrics, reading };
        (Self(Arc::new(inner)), stop)
    }

    /// The way to the workspace.
    pub fn pump(&self) -> &Handle {
        &self.0.pump
    }

    /// The keys of this installation.
    pub fn keys(&self) -> &KeyRing {
        &self.0.keys
    }

    /// Who trains the models.
    pub fn trainer(&self) -> &Arc<Trainer> {
        &self.0.trainer
    }

    /// Where recommendations are served from.
    fn shelf(&self) -> Arc<Shelf> {
        self.0.pump.shelf()
    }

    /// Keeps the models fresh by the programme's rhythm until the server stops.
    pub async fn keep_models(self) {
        self.trainer().clone().keep(self.stopping()).await;
    }

    /// Counts what histograms were told, so that it takes no memory where nobody asks for metrics.
    pub async fn keep_metrics(self) {
        loop {
            tokio::time::sleep(METRICS_RHYTHM).await;
            self.metrics().run_upkeep();
        }
    }

    /// Waits for room to hold a body of so many bytes; the room is free again with the permit.
    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let kilobytes = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        let room = self.0.reading.clone().acquire_many_owned(kilobytes);
        match tokio::time::timeout(READING_WAIT, room).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Trouble::Busy.into()),
        }
    }

    fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.clone()
    }

    fn metrics(&self) -> &metrics_exporter_prometheus::PrometheusHandle {
        &self.0.metrics
    }

    /// Protocol and host under which a browser reaches us.
    fn seen_as(&self, headers: &HeaderMap) -> (String, String) {
        if let Some((protocol, host)) = self.0.public_url.as_deref().and_then(|url| url.split_once("://")) {
            return (protocol.into(), host.trim_end_matches('/').into());
        }
        let header = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let protocol = header("x-forwarded-proto").filter(|p| *p == "https").unwrap_or("http");
        (protocol.into(), header(header::HOST.as_str()).unwrap_or("localhost").into())
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Perennial",
        description = "Customer loyalty and personalization. Events come in as Segment's clients send them; the rest is asked for with a secret key. Errors are problems (RFC 9457) with stable codes: see /docs/problems. HTTP 1.1 and 1.0 are spoken: where the head of a request cannot be read as such, names an address of more than 65,534 bytes, or has more than 100 headers or 100 KB, the status alone answers (400, 414 or 431, without a body), and where it takes more than 15 seconds to come the connection is closed. A request of HTTP 1.1 whose header Host is missing or sent twice is answered `bad_header` (400), and a method that an address does not take `method_not_allowed` (405).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Problem, SdkProblem))
)]
struct Description;

fn described() -> OpenApiRouter<App> {
    let mut api = Description::openapi();
    let components = api.components.get_or_insert_default();
    let http = |scheme, about| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(about)).build());
    let write_key = "A write key (`wk_...`) as the user's name, without a password; also taken as Bearer, or as `writeKey` in the body";
    components.add_security_scheme("write_key", http(HttpAuthScheme::Basic, write_key));
    let secret_key = "A secret key (`sk_...`) with the scope that is named; also taken as Basic";
    components.add_security_scheme("secret_key", http(HttpAuthScheme::Bearer, secret_key));
    OpenApiRouter::with_openapi(api)
        .merge(intake())
        .merge(resources())
        .merge(programs())
        .merge(asked())
        .merge(operations())
}

/// Routes of [`intake`].
const INTAKE: [&str; 2] = ["/v1/{call}", "/v1/projects/{write_key}/settings"];

/// What browsers of any site may call.
fn intake() -> OpenApiRouter<App> {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::RETRY_AFTER])
        .max_age(Duration::from_secs(86_400));
    OpenApiRouter::new()
        .routes(routes!(ingest::ingest).map(|calls| calls.fallback(ingest::other_method)))
        .routes(routes!(ingest::settings))
        .layer(cors)
        .layer(DefaultBodyLimit::max(BODY_MAX))
}

fn resources() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(events::receipt))
        .routes(routes!(customers::show))
        .routes(routes!(customers::timeline))
        .routes(routes!(customers::ledger))
        .routes(routes!(stream::stream))
        .routes(routes!(models::list))
        .routes(routes!(models::train, models::call_off))
        .routes(routes!(recommendations::show))
        .merge(at_a_glance())
}

fn programs() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(programs::show, programs::publish))
        .routes(routes!(products::learn))
        .layer(RequestBodyLimitLayer::new(PROGRAM_BODY_MAX))
}

fn at_a_glance() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(overview::overview)).layer(Extension(overview::Cache::default()))
}

fn asked() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(customers::enroll))
        .routes(routes!(customers::redeem))
        .routes(routes!(customers::hold))
        .routes(routes!(customers::capture))
        .routes(routes!(customers::release))
        .routes(routes!(customers::undo))
        .routes(routes!(customers::consent))
        .routes(routes!(customers::adjust))
        .routes(routes!(customers::review))
        .routes(routes!(customers::fulfill))
        .routes(routes!(customers::set_tier))
        .routes(routes!(customers::merge))
        .routes(routes!(customers::unmerge))
        .routes(routes!(customers::erase))
        .layer(RequestBodyLimitLayer::new(API_BODY_MAX))
}

fn operations() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ops::healthz)).routes(routes!(ops::readyz)).routes(routes!(ops::metrics))
}

/// The description of the whole API (`OpenAPI` 3.1), made from the handlers.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut api = described().into_openapi();
    answers::tell(&mut api);
    api
}

/// All routes. More can be merged in before serving.
pub fn router(app: App) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .merge(docs::routes())
        .merge(console::routes())
        .fallback(nothing_here)
        .layer(middleware::from_fn(|request, next| accompany(REQUEST_MAX, request, next)))
        .with_state(app)
}

async fn nothing_here() -> ApiError {
    ApiError::new("not_found", "There is nothing at this address; see /docs.")
}

/// What every request gets, in one layer, because each costs as much as a small handler: a limit in
/// time for the head of its answer (a stream's body may go on), an answer also when we panic, our shape
/// for errors that the framework answers, and a line in the books.
async fn accompany(longest: Duration, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut work = pin!(next.run(request));
    let contained = poll_fn(|task| {
        let step = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(task)));
        step.map_or(Poll::Ready(None), |answer| answer.map(Some))
    });
    let answer = tokio::time::timeout(longest, contained).await;
    let late = answer.is_err();
    let taken_in = route.as_ref().is_some_and(|route| INTAKE.contains(&route.as_str()));
    let response = match answer {
        Ok(Some(response)) => explain(response),
        Ok(None) => in_place_of_a_handler(Trouble::Broken.into(), taken_in),
        Err(_) => in_place_of_a_handler(too_late(), taken_in),
    };
    let failed = response.status().is_server_error() && !late;
    observe(route.as_ref().map_or("none", MatchedPath::as_str), &method, response.status(), started.elapsed(), failed);
    response
}

/// Any client can bring this about as often as it likes: it is counted, and no matter for the log.
fn too_late() -> ApiError {
    metrics::counter!("http_timeouts_total").increment(1);
    Trouble::Late.into()
}

/// An answer that no handler gives: on intake's routes it lacks what [`intake`] adds to theirs, without
/// which a browser shows its page neither the status nor when to come back.
fn in_place_of_a_handler(error: ApiError, taken_in: bool) -> Response {
    if !taken_in {
        return error.into_response();
    }
    let any_site = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    let readable = (header::ACCESS_CONTROL_EXPOSE_HEADERS, header::RETRY_AFTER.as_str());
    ([any_site, readable], SdkError(error)).into_response()
}

/// Errors that the framework answers before a handler runs get our shape too.
fn explain(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.ends_with(b"json")) {
        return response;
    }
    let problem = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let mend = "This address does not take that method; the header Allow names those it takes. See /docs.";
            ApiError::new("method_not_allowed", mend)
        }
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new("too_large", extract::TOO_LARGE),
        _ if status.is_server_error() => ApiError::new("unavailable", "Something failed here; send it again."),
        _ => ApiError::new("bad_parameter", "The request cannot be read; see /docs for what this address takes."),
    };
    let mut shaped = problem.into_response();
    for (name, value) in response.headers() {
        if !shaped.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            shaped.headers_mut().append(name, value.clone());
        }
    }
    shaped
}

/// Counts and logs a request by its route, never by its address: addresses name people.
fn observe(route: &str, method: &Method, status: StatusCode, took: Duration, failed: bool) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if failed {
        tracing::warn!(method = method.as_str(), route, status = status.as_u16(), duration_ms, "request failed");
    } else {
        tracing::debug!(method = method.as_str(), route, status = status.as_u16(), duration_ms, "request");
    }
    METERS.with_borrow_mut(|meters| {
        let same = |m: &Meter| m.status == status && m.method == *method && *m.route == *route;
        let at = meters.iter().position(same).unwrap_or_else(|| {
            meters.truncate(METERS_MAX - 1);
            meters.push(Meter::new(route, method, status));
            meters.len() - 1
        });
        meters[at].seconds.record(took);
        meters[at].total.increment(1);
    });
}

/// Meters that a thread keeps at hand: there are fewer routes with their answers.
const METERS_MAX: usize = 256;

thread_local! {
    /// Finding a meter by its labels costs more than a small handler.
    static METERS: RefCell<Vec<Meter>> = const { RefCell::new(Vec::new()) };
}

/// Where requests of one kind are counted.
struct Meter {
    route: Box<str>,
    method: Method,
    status: StatusCode,
    seconds: metrics::Histogram,
    total: metrics::Counter,
}

impl Meter {
    fn new(route: &str, method: &Method, status: StatusCode) -> Self {
        let name = route.to_owned();
        let labels = [("route", name.clone()), ("method", method.to_string()), ("status", status.as_str().to_owned())];
        Self {
            route: route.into(),
            method: method.clone(),
            status,
            seconds: metrics::histogram!("http_request_seconds", "route" => name),
            total: metrics::counter!("http_requests_total", &labels),
        }
    }
}

/// For handlers that only need the state.
type AppState = State<App>;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    /// What becomes of a request that panics (`broken`) or never ends (`slow`) on a route.
    async fn answer(route: &str, handler: &str, path: &str) -> Response {
        async fn broken() {
            panic!("a fault of ours");
        }
        let handler = if handler == "broken" { get(broken) } else { get(std::future::pending::<()>) };
        let router: Router = Router::new().route(route, handler);
        let at_once = Duration::from_millis(1);
        let router = router.layer(middleware::from_fn(move |request, next| accompany(at_once, request, next)));
        router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn body(answer: Response) -> serde_json::Value {
        serde_json::from_slice(&axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap()).unwrap()
    }

    /// The status and the code.
    async fn ask(path: &str) -> (u16, String) {
        let answer = answer(path, &path[1..], path).await;
        let status = answer.status().as_u16();
        (status, body(answer).await["code"].as_str().unwrap().into())
    }

    #[tokio::test]
    async fn a_browser_of_another_site_can_read_what_no_handler_has_answered() {
        for (handler, status, code, after) in
            [("slow", 503, "timeout", Some("1")), ("broken", 500, "internal_error", None)]
        {
            for (route, path) in [(INTAKE[0], "/v1/t"), (INTAKE[1], "/v1/projects/k/settings")] {
                let answer = answer(route, handler, path).await;
                let header = |name| answer.headers().get(name).map(|v: &HeaderValue| v.to_str().unwrap());
                assert_eq!(header("access-control-allow-origin"), Some("*"));
                assert_eq!(header("access-control-expose-headers"), Some("retry-after"));
                assert_eq!((answer.status().as_u16(), header("retry-after")), (status, after));
                let body = body(answer).await;
                assert!(body["code"] == code && body["message"].is_string(), "as SDKs are answered: {body}");
            }
            let elsewhere = answer("/v1/customers/{ref}", handler, "/v1/customers/ana").await;
            assert_eq!(elsewhere.headers().get("access-control-allow-origin"), None);
        }
    }

    #[test]
    fn intakes_routes_are_named() {
        let described = intake().into_openapi();
        let paths: Vec<&str> = described.paths.paths.keys().map(String::as_str).collect();
        assert_eq!(paths.len(), INTAKE.len(), "{paths:?}");
        assert!(INTAKE.iter().all(|route| paths.contains(route)), "{paths:?}");
    }

    #[tokio::test]
    async fn what_we_break_is_answered_and_logged_what_a_client_delays_is_answered_and_counted() {
        let metrics = ops::metrics_handle();
        let log = tempfile::NamedTempFile::new().unwrap();
        let lines = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
        let _listening = tracing::subscriber::set_default(lines);
        assert_eq!(ask("/broken").await, (500, "internal_error".into()));
        assert_eq!(ask("/slow").await, (503, "timeout".into()));
        let log = std::fs::read_to_string(log.path()).unwrap();
        assert!(log.contains("/broken") && !log.contains("/slow"), "{log}");
        assert!(metrics.render().contains("\nhttp_timeouts_total 1\n"), "{}", metrics.render());
    }
}
