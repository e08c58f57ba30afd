//! For whoever runs this: is it alive, does it take work, how much does it do.

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use perennial_core::score::ModelKind;

use super::AppState;
use super::problem::ApiError;
use crate::models::trainer;

/// Bounds of the histograms, in seconds.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds of the histogram of the sizes of appends.
const ENTRIES: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 2_048.0, 4_096.0];

/// The one recorder of this process.
pub fn metrics_handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    use metrics_exporter_prometheus::Matcher::Suffix;
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Suffix("_seconds".into()), SECONDS).unwrap_or_default();
    let builder = builder.set_buckets_for_metric(Suffix("_append_entries".into()), ENTRIES).unwrap_or_default();
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed; /metrics stays empty");
    }
    metrics::describe_counter!("events_total", "Messages by what became of them");
    metrics::describe_counter!("http_requests_total", "Requests by route, method and status");
    metrics::describe_counter!("http_timeouts_total", "Requests cut off after 30 seconds, mostly of slow clients");
    metrics::describe_counter!("models_trained_total", "Trainings by kind of model and outcome");
    metrics::describe_counter!("set_aside_total", "What was set aside because folding it panicked: a bug");
    metrics::describe_histogram!("http_request_seconds", "Time to the head of the answer");
    metrics::describe_histogram!("journal_append_seconds", "Time of one durable append");
    metrics::describe_histogram!("journal_append_entries", "Entries of one durable append");
    metrics::describe_gauge!("pump_queue_bytes", "Work that waits for the writer");
    count_from_nought();
    handle
}

/// A counter that appears with its first step hides that step from whoever asks by how much it rose.
fn count_from_nought() {
    metrics::counter!("set_aside_total").increment(0);
    metrics::counter!("http_timeouts_total").increment(0);
    for status in ["accepted", "duplicate", "rejected", "quarantined"] {
        metrics::counter!("events_total", "status" => status).increment(0);
    }
    for kind in ModelKind::ALL.map(ModelKind::word) {
        for outcome in trainer::OUTCOMES {
            metrics::counter!("models_trained_total", "kind" => kind, "outcome" => outcome).increment(0);
        }
    }
}

/// Alive
///
/// Answers as long as the process does.
#[utoipa::path(get, path = "/healthz", tag = "Operations", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready
///
/// Whether the journal takes entries.
#[utoipa::path(
    get, path = "/readyz", tag = "Operations",
    responses((status = 200, body = String, content_type = "text/plain")),
    extensions(("x-problems" = json!(["unavailable"])))
)]
pub async fn readyz(State(app): AppState) -> Result<&'static str, ApiError> {
    if app.pump().healthy() {
        Ok("ready\n")
    } else {
        Err(ApiError::new("unavailable", "The journal does not take entries now; the log says why.").after(5))
    }
}

/// Metrics
///
/// In Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "Operations", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(app): AppState) -> impl IntoResponse {
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics().render())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_alerted_on_is_there_before_it_first_happens() {
        let shown = super::metrics_handle().render();
        for line in [
            "set_aside_total 0",
            "http_timeouts_total 0",
            "events_total{status=\"rejected\"} 0",
            "models_trained_total{kind=\"value\",outcome=\"failed\"} 0",
        ] {
            assert!(shown.lines().any(|said| said == line), "{line}: {shown}");
        }
    }
}
