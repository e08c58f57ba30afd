//! Event receipts: what became of a message.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;

use super::AppState;
use super::extract::{Parameters, Part};
use super::keys::Scope;
use super::problem::ApiError;
use crate::view::ReceiptView;

/// Which of several senders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    source: Option<String>,
}

/// What became of a message
///
/// Accepted or rejected (and why); the customer; the rules that matched; what followed. A repetition
/// of a message changes nothing and is counted in `repeated`. Another message under the id of an accepted one is set aside,
/// and named in `conflicts` for as long as rejects are kept (30 days).
#[utoipa::path(
    get,
    path = "/v1/events/{message_id}",
    tag = "Events",
    operation_id = "show_receipt",
    params(
        ("message_id" = String, Path, description = "The sender's messageId"),
        ("source" = Option<String>, Query, description = "The write key's source, when several send equal ids")
    ),
    responses((status = 200, body = ReceiptView)),
    extensions(("x-problems" = json!(["unknown_event"]))),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn receipt(
    State(app): AppState,
    Part(message_id): Part,
    Parameters(sender): Parameters<Sender>,
    headers: HeaderMap,
) -> Result<Json<ReceiptView>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let found = app.pump().call(move |workspace, _| workspace.receipt(sender.source.as_deref(), &message_id)).await?;
    found.map(Json).ok_or_else(|| {
        ApiError::new(
            "unknown_event",
            "No message with this id is known: it was never received, or the person it was about was erased.",
        )
    })
}
