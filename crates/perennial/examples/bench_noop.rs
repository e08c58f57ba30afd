//! The denominator for requests: the same HTTP library, a body read whole and an answer, nothing else.
//!
//!     cargo run --release -p perennial --example bench_noop -- 127.0.0.1:0
//!
//! Prints the address it listens on. Ends by itself after ten minutes.

use std::time::Duration;

use axum::body::Bytes;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("No-op listens on http://{}", listener.local_addr()?);
    let router = Router::new().route("/{*path}", post(answer).get(answer));
    // Nobody is left waiting: the process ends with its time.
    match tokio::time::timeout(PATIENCE, axum::serve(listener, router).into_future()).await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}

async fn answer(body: Bytes) -> Json<Value> {
    Json(json!({ "success": !body.is_empty() }))
}
