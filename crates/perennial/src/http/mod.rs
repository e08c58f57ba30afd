//! HTTP: the doors. Handlers translate between requests and the pump, and do nothing else.
//!
//! Promise: every body has a cap, every wait a timeout, every error a published code. Logs and
//! metrics name routes and statuses, never a customer.
//! Absent on purpose: rules, storage, and TLS (a proxy's work; we listen on this machine only
//! unless told otherwise).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use tokio::sync::watch;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub mod console;
pub mod customers;
pub mod docs;
pub mod events;
pub mod ingest;
pub mod keys;
pub mod ops;
pub mod overview;
pub mod problem;
pub mod server;
pub mod stream;

use crate::pump::Handle;
use keys::KeyRing;
use problem::ApiError;

/// Longest that a request may take, but for the stream.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// Largest body of an API call.
const API_BODY_MAX: usize = 64 * 1024;

/// What handlers share; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    pump: Handle,
    keys: KeyRing,
    public_url: Option<String>,
    stopping: watch::Receiver<bool>,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// Tells open streams that the server is going down.
pub type Stop = watch::Sender<bool>;

impl App {
    /// The shared part of all handlers. `public_url` is how browsers see us, when that is not the
    /// `Host` they ask for.
    pub fn new(pump: Handle, keys: KeyRing, public_url: Option<String>) -> (Self, Stop) {
        let (stop, stopping) = watch::channel(false);
        let metrics = ops::metrics_handle();
        (Self(Arc::new(Inner { pump, keys, public_url, stopping, metrics })), stop)
    }

    /// The way to the workspace.
    pub fn pump(&self) -> &Handle {
        &self.0.pump
    }

    /// The keys of this installation.
    pub fn keys(&self) -> &KeyRing {
        &self.0.keys
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
        let header = |name| headers.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
        let protocol = header("x-forwarded-proto").filter(|p| *p == "https").unwrap_or("http");
        (protocol.into(), header(header::HOST.as_str()).unwrap_or("localhost").into())
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Perennial",
    description = "Customer loyalty and personalization. Events come in as Segment's clients send them; the rest is asked for with a secret key. Errors are problems (RFC 9457) with stable codes: see /docs/problems.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Description;

fn described() -> OpenApiRouter<App> {
    let mut api = Description::openapi();
    let components = api.components.get_or_insert_default();
    let http = |scheme| SecurityScheme::Http(Http::new(scheme));
    components.add_security_scheme("write_key", http(HttpAuthScheme::Basic));
    components.add_security_scheme("secret_key", http(HttpAuthScheme::Bearer));
    OpenApiRouter::with_openapi(api).merge(intake()).merge(resources()).merge(asked()).merge(operations())
}

/// What browsers of any site may call.
fn intake() -> OpenApiRouter<App> {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(Duration::from_secs(86_400));
    OpenApiRouter::new()
        .routes(routes!(ingest::ingest))
        .routes(routes!(ingest::settings))
        .layer(cors)
        .layer(DefaultBodyLimit::disable()) // the handler reads under its own cap
}

fn resources() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(events::receipt))
        .routes(routes!(customers::show))
        .routes(routes!(customers::timeline))
        .routes(routes!(customers::ledger))
        .routes(routes!(stream::stream))
        .merge(at_a_glance())
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
        .routes(routes!(customers::set_tier))
        .routes(routes!(customers::merge))
        .routes(routes!(customers::unmerge))
        .routes(routes!(customers::erase))
        .layer(DefaultBodyLimit::max(API_BODY_MAX))
}

fn operations() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ops::healthz)).routes(routes!(ops::readyz)).routes(routes!(ops::metrics))
}

/// The description of the whole API (`OpenAPI` 3.1), made from the handlers.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}

/// All routes. More can be merged in before serving.
pub fn router(app: App) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .merge(docs::routes())
        .merge(console::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn(observe))
        .with_state(app)
}

async fn nothing_here() -> ApiError {
    ApiError::new("not_found", "There is nothing at this address; see /docs.")
}

async fn wrong_method() -> ApiError {
    ApiError::new("method_not_allowed", "This address does not take that method; see /docs.")
}

/// The head of every answer comes in time; a stream's body may go on.
async fn limit_time(request: Request, next: Next) -> Result<Response, ApiError> {
    let answer = tokio::time::timeout(REQUEST_MAX, next.run(request)).await;
    answer.map_err(|_| ApiError::new("timeout", "The request took too long; send it again, a repetition counts once."))
}

/// Counts and logs every request by its route, never by its address: addresses name people.
async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let (took, status) = (started.elapsed(), response.status().as_u16());
    let labels = [("route", route.clone()), ("method", method.clone()), ("status", status.to_string())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_seconds", "route" => route.clone()).record(took);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(method, route, status, duration_ms, "request failed");
    } else {
        tracing::debug!(method, route, status, duration_ms, "request");
    }
    response
}

/// For handlers that only need the state.
type AppState = State<App>;
