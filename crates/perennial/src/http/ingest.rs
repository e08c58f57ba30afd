//! Intake: the Segment Tracking API as its clients use it.
//!
//! Promise: never a redirect, never a reply before the messages are durable, exactly 200 with
//! `{"success":true}` when they are. Content types are not believed; encodings are undone under a cap.

use std::io::Read as _;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use perennial_core::event::Origin;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::App;
use super::extract::{Part, encoding, unreadable_body};
use super::keys;
use super::problem::{ApiError, SdkError};
use crate::wire::segment::{self, BODY_MAX, Call};
use crate::wire::{Arrival, Circumstances, Malformed};
use crate::workspace::{Receipt, Status};

/// The answer that all clients understand as delivered.
#[derive(Serialize, ToSchema)]
pub struct Delivered {
    /// Always true.
    success: bool,
}

/// Send events
///
/// One call (`identify`, `track`, `page`, `screen`, `group`, `alias`, `merge`, or its one-letter
/// form) or a `batch` of them (`import` is the same), as Segment's and `RudderStack`'s clients send
/// them. A message of a batch that cannot count is kept as a rejected receipt and fails nobody else.
///
/// A message counts as of its `timestamp`, by the sender's clock as `sentAt` corrects it; what lies ahead counts as of
/// its arrival, and what has none happened then.
#[utoipa::path(
    post,
    path = "/v1/{call}",
    tag = "Events",
    operation_id = "send_events",
    params(("call" = String, Path, description = "identify, track, page, screen, group, alias, merge, batch, import; or i, t, p, s, g, a, b")),
    request_body(content = Value, content_type = "application/json", description = "A message, or {\"batch\": [...], \"sentAt\": ...}; gzip and deflate are undone"),
    responses(
        (status = 200, description = "Durable", body = Delivered),
        (status = 400, description = "The body as a whole, or a single message; of a batch, receipts tell what became of each message"),
        (status = 404, description = "No such call")
    ),
    extensions(("x-problems" = json!([
        "malformed", "too_many", "too_deep", "missing_field", "wrong_type", "bad_number", "bad_timestamp",
        "nul_character", "not_utf8", "no_identifier", "not_found", "limit_reached", "erased", "unknown_line", "poison"
    ]))),
    security(("write_key" = []))
)]
pub async fn ingest(
    State(app): State<App>,
    call: Result<Part, ApiError>,
    request: Request,
) -> Result<Json<Delivered>, SdkError> {
    let Part(call) = call?;
    let call = Call::of_path(&call).ok_or_else(|| ApiError::new("not_found", "There is no such call; see /docs."))?;
    let (headers, received_at) = (request.headers().clone(), app.pump().now());
    if announced(&headers).is_some_and(|length| length > BODY_MAX) {
        return Err(ApiError::new("too_large", TOO_LARGE).into()); // Nobody waits for what will be refused.
    }
    let room = app.room_for(largest(&headers)).await?;
    let raw = Bytes::from_request(request, &()).await.map_err(|rejection| unreadable_body(&rejection, TOO_LARGE))?;
    let (arrivals, bytes) = if raw.len() > INLINE_MAX || is_packed(&headers, &raw) {
        let (app, headers) = (app.clone(), headers.clone());
        let read = tokio::task::spawn_blocking(move || read(&app, call, &headers, &raw, received_at)).await;
        read.map_err(|_| ApiError::new("malformed", "The body cannot be read."))??
    } else {
        read(&app, call, &headers, &raw, received_at)?
    };
    drop(room);
    let receipts = app.pump().submit(arrivals, bytes).await?;
    reply(call, &receipts)
}

/// Bodies up to here are read where they arrive; larger and packed ones on a thread of their own.
const INLINE_MAX: usize = 64 * 1024;

/// The length of the body, as the head of the request says.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The most memory that a request's body may take; small plain ones are not counted.
fn largest(headers: &HeaderMap) -> usize {
    match announced(headers) {
        Some(length) if !is_labelled(headers) && length <= INLINE_MAX => 0,
        Some(length) if !is_labelled(headers) => length.min(BODY_MAX),
        _ => BODY_MAX,
    }
}

/// The messages of a body, and how long it is, unpacked.
fn read(
    app: &App,
    call: Call,
    headers: &HeaderMap,
    raw: &[u8],
    received_at: perennial_core::time::Timestamp,
) -> Result<(Vec<Arrival>, usize), ApiError> {
    let body = unpack(headers, raw)?;
    let source = source(app, headers, &body)?;
    let opted_out = headers.get("sec-gpc").is_some_and(|v| v.as_bytes() == b"1");
    let from = Circumstances { source: &source, received_at, origin: Origin::Live, opted_out };
    Ok((segment::parse(call, &body, &from)?, body.len()))
}

/// The name of the write key, from a header or, for clients that send it nowhere else, the body.
fn source(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<String, ApiError> {
    if let Some(named) = keys::tokens(headers).iter().find_map(|token| app.keys().source(token)) {
        return Ok(named);
    }
    segment::write_key(body)?.and_then(|key| app.keys().source(&key)).ok_or_else(|| {
        ApiError::new("invalid_write_key", "Send a write key of this installation, as Basic or writeKey.")
    })
}

/// A single message that cannot count is told so; in a batch the receipts tell.
fn reply(call: Call, receipts: &[Receipt]) -> Result<Json<Delivered>, SdkError> {
    match receipts {
        [Receipt { status: Status::Rejected { code, field, reason }, .. }] if call != Call::Batch => {
            Err(ApiError::new(code, reason.to_string()).at(field.to_string()).into())
        }
        _ => Ok(Json(Delivered { success: true })),
    }
}

const TOO_LARGE: &str = "The body is larger than 4,000 KB; send smaller batches.";

const GZIP: [u8; 2] = [0x1f, 0x8b];

fn is_labelled(headers: &HeaderMap) -> bool {
    !matches!(encoding(headers).as_str(), "" | "identity")
}

fn is_packed(headers: &HeaderMap, raw: &Bytes) -> bool {
    raw.starts_with(&GZIP) || is_labelled(headers)
}

/// Undoes the encoding, also of gzip that is not labelled, up to [`BODY_MAX`] bytes.
fn unpack<'a>(headers: &HeaderMap, raw: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Malformed> {
    let unpacked = match encoding(headers).as_str() {
        _ if raw.starts_with(&GZIP) => take_capped(flate2::read::MultiGzDecoder::new(raw))?,
        // A client may say gzip and send plain JSON; what it is shows in the first bytes.
        "" | "identity" | "gzip" | "x-gzip" => return Ok(raw.into()),
        "deflate" if raw.first().is_some_and(|b| b & 0x0f == 8) => take_capped(flate2::read::ZlibDecoder::new(raw))?,
        "deflate" => take_capped(flate2::read::DeflateDecoder::new(raw))?,
        other => {
            let reason = format!("the encoding '{other}' is not known; send gzip, deflate or nothing");
            return Err(Malformed::new("bad_encoding", "content-encoding", reason));
        }
    };
    Ok(unpacked.into())
}

fn take_capped(unpacker: impl std::io::Read) -> Result<Vec<u8>, Malformed> {
    let mut plain = Vec::new();
    let cap = BODY_MAX as u64 + 1;
    unpacker.take(cap).read_to_end(&mut plain).map_err(|error| {
        Malformed::new("bad_encoding", "", format!("the packed body is damaged or cut short: {error}"))
    })?;
    if plain.len() > BODY_MAX {
        return Err(Malformed::new(
            "too_large",
            "",
            "unpacked, the body is larger than 4,000 KB; send smaller batches",
        ));
    }
    Ok(plain)
}

/// Another method at a call's address, or at one that is none.
pub async fn other_method(Path(call): Path<String>) -> Response {
    match Call::of_path(&call) {
        Some(_) => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response(),
        None => super::nothing_here().await.into_response(),
    }
}

/// Settings for Segment's browser client
///
/// What `analytics.js` asks for before it sends its first event.
#[utoipa::path(
    get,
    path = "/v1/projects/{write_key}/settings",
    tag = "Events",
    operation_id = "show_settings",
    params(("write_key" = String, Path, description = "The write key")),
    responses((status = 200, body = Value), (status = 404, description = "The write key is unknown")),
    extensions(("x-problems" = json!(["not_found"])))
)]
pub async fn settings(
    State(app): State<App>,
    write_key: Result<Part, ApiError>,
    headers: HeaderMap,
) -> Result<Json<Value>, SdkError> {
    let Part(write_key) = write_key?;
    if app.keys().source(&write_key).is_none() {
        return Err(ApiError::new("not_found", "This write key is unknown.").into());
    }
    let (protocol, host) = app.seen_as(&headers);
    Ok(Json(json!({
        "integrations": { "Segment.io": {
            "apiKey": write_key,
            "apiHost": format!("{host}/v1"),
            "protocol": protocol,
            "unbundledIntegrations": [],
            "addBundledMetadata": true,
            "maybeBundledConfigIds": {},
            "versionSettings": { "version": "4.4.7", "componentTypes": ["browser"] }
        } },
        "plan": { "track": { "__default": { "enabled": true, "integrations": {} } },
                  "identify": { "__default": { "enabled": true } },
                  "group": { "__default": { "enabled": true } } },
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": { "sampleRate": 0 },
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": []
    })))
}
