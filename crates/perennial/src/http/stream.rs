//! The live stream: what happens, as it happens, as server-sent events.
//!
//! Promise: a slow listener never slows the writer; what it missed is counted and told.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_stream::Stream;

use super::AppState;
use super::keys::Scope;
use super::problem::ApiError;
use crate::pump::Notice;

/// The stream of what happens
///
/// Server-sent events. `event`, `command`, `timer` (points become available or lapse, a level is reviewed), `identity`
/// and `publication` carry a notice, whose `status` is `duplicate` where nothing happened again; `missed` says how
/// many a slow listener lost.
#[utoipa::path(
    get, path = "/v1/stream", tag = "Events",
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String)),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn stream(
    State(app): AppState,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    let (notices, stopping) = (app.pump().listen(), app.stopping());
    let may_listen = move || app.keys().authorise(&headers, Scope::Read).is_ok();
    Ok(Sse::new(told(notices, stopping, may_listen)).keep_alive(keep_alive))
}

/// How long somebody hears on whose key has been withdrawn.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Notices as events, until the server goes down or whoever listens may not any more.
pub fn told(
    mut notices: broadcast::Receiver<Notice>,
    mut stopping: watch::Receiver<bool>,
    may_listen: impl Fn() -> bool + Send + 'static,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let (events, stream) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let event = tokio::select! {
                _ = stopping.changed() => break,
                () = events.closed() => break,
                _ = look.tick() => if may_listen() { continue } else { break },
                notice = notices.recv() => match notice {
                    Ok(notice) => Event::default().event(notice.kind).json_data(&notice).unwrap_or_default(),
                    Err(RecvError::Lagged(n)) => Event::default().event("missed").data(n.to_string()),
                    Err(RecvError::Closed) => break,
                },
            };
            if events.send(Ok(event)).await.is_err() {
                break;
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(stream)
}
