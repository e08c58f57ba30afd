//! The first page: static files inside the program.
//!
//! Promise: nothing is fetched from elsewhere, and the policy sent along forbids it. The files hold
//! no data; the page reads through the public API with the key it is given.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::App;
use super::problem::ApiError;

#[derive(RustEmbed)]
#[folder = "../../console/first"]
struct Files;

/// Scripts, styles and calls of our own only; nobody may frame the page.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'; object-src 'none'";

/// `/` and the files below `/console`.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(|| async { file("index.html") }))
        .route("/console/{*path}", get(|Path(path): Path<String>| async move { file(&path) }))
}

fn file(path: &str) -> Response {
    let Some(found) = Files::get(path) else {
        return ApiError::new("not_found", "There is nothing at this address; the console is at /.").into_response();
    };
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind(path))),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static(kept(path))),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (StatusCode::OK, headers, found.data).into_response()
}

/// How long a browser keeps a file. Fonts change with their name only.
fn kept(path: &str) -> &'static str {
    if kind(path) == kind(".woff2") { "public, max-age=2592000" } else { "no-cache" }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
