//! The programme at a glance.
//!
//! Promise: one request sums at a time; the others get its answer. Sums are kept for twenty times as
//! long as they took to make, half a second at least, and say for which instant they hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use tokio::sync::Mutex;

use super::AppState;
use super::keys::Scope;
use super::problem::{ApiError, Problem};
use crate::pump::Trouble;
use crate::workspace::overview::OverviewView;

/// The shortest and the longest that sums are kept.
const KEPT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// The last sums, and until when they do.
#[derive(Clone, Default)]
pub struct Cache(Arc<Mutex<Option<(Instant, OverviewView)>>>);

/// The programme at a glance
///
/// Members, points, tiers, segments and what outstanding points would cost, over all customers, with
/// a few customers to look at. `as_of` says how fresh it is.
#[utoipa::path(
    get, path = "/v1/overview", tag = "Customers",
    responses(
        (status = 200, body = OverviewView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")
    ),
    security(("secret_key" = []))
)]
pub async fn overview(
    State(app): AppState,
    Extension(cache): Extension<Cache>,
    headers: HeaderMap,
) -> Result<Json<OverviewView>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let mut kept = cache.0.lock().await;
    if let Some((until, view)) = &*kept
        && Instant::now() < *until
    {
        return Ok(Json(view.clone()));
    }
    let survey = app.pump().call(|workspace, now| workspace.survey(now)).await?;
    let started = Instant::now();
    let summed = tokio::task::spawn_blocking(move || survey.sum()).await;
    let took = started.elapsed();
    let mut view = match summed {
        Ok(Ok(view)) => view,
        Ok(Err(failure)) => return Err(Trouble::Unavailable(failure.to_string()).into()),
        Err(died) => return Err(Trouble::Unavailable(died.to_string()).into()),
    };
    view.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    *kept = Some((Instant::now() + (took * 20).clamp(KEPT.0, KEPT.1), view.clone()));
    Ok(Json(view))
}
