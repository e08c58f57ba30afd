//! The programme at a glance.
//!
//! Promise: one request sums at a time; the others get its answer. Sums are kept for a quarter of a
//! second, and for twenty times as long as they took when everybody had to be read again and again;
//! they say for which instant they hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use tokio::sync::Mutex;

use super::AppState;
use super::keys::Scope;
use super::problem::ApiError;
use crate::pump::Trouble;
use crate::workspace::Failure;
use crate::workspace::overview::{OverviewView, Shares};

/// The shortest and the longest that sums are kept.
const KEPT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// The last sums, and until when they do.
#[derive(Clone, Default)]
pub struct Cache(Arc<Mutex<Last>>);

#[derive(Default)]
struct Last {
    view: Option<(Instant, OverviewView)>,
    shares: Shares,
}

/// The programme at a glance
///
/// Members, points, tiers, segments and what outstanding points would cost, over all customers, with
/// a few customers to look at. Money and decimals are texts, exact to the last digit. `as_of` says how fresh it is.
#[utoipa::path(
    get, path = "/v1/overview", tag = "Customers", operation_id = "show_overview",
    responses((status = 200, body = OverviewView)),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn overview(
    State(app): AppState,
    Extension(cache): Extension<Cache>,
    headers: HeaderMap,
) -> Result<Json<OverviewView>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let mut last = Arc::clone(&cache.0).lock_owned().await;
    if let Some((until, view)) = &last.view
        && Instant::now() < *until
    {
        return Ok(Json(view.clone()));
    }
    let seen = last.shares.seen();
    let survey = app.pump().call(move |workspace, now| workspace.survey(now, seen)).await?;
    // Goes on when the caller hangs up, so that the work is not lost.
    let summing = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut view = survey.sum(&mut last.shares)?;
        let took = started.elapsed();
        view.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let kept = if last.shares.complete() { KEPT.0 } else { (took * 20).clamp(KEPT.0, KEPT.1) };
        last.view = Some((Instant::now() + kept, view.clone()));
        Ok::<_, Failure>(view)
    });
    match summing.await {
        Ok(Ok(view)) => Ok(Json(view)),
        Ok(Err(failure)) => Err(Trouble::Unavailable(failure.to_string()).into()),
        Err(died) => Err(Trouble::Unavailable(died.to_string()).into()),
    }
}
