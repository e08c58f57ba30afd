//! Extractors that say what is wrong with an address: which part of it, and what mends it.
//!
//! Absent on purpose: JSON bodies, which each resource reads with its own limits.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::ApiError;

/// The one part of the address that a route leaves open.
pub struct Part(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let part = Path::from_request_parts(parts, state).await;
        part.map(|Path(text)| Self(text)).map_err(|rejection| unreadable_part(&rejection))
    }
}

/// What stands behind the question mark.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|rejection| unreadable_query(&rejection))
    }
}

fn unreadable_part(rejection: &PathRejection) -> ApiError {
    let error = ApiError::new("bad_parameter", "This part of the address is not UTF-8 when its escapes are undone.");
    match rejection {
        PathRejection::FailedToDeserializePathParams(failed) => match failed.kind() {
            ErrorKind::InvalidUtf8InPathParam { key } => error.at(key),
            _ => error,
        },
        _ => error,
    }
}

/// The framework says `limit: invalid digit found in string` or ``duplicate field `limit` ``.
fn unreadable_query(rejection: &QueryRejection) -> ApiError {
    let said = rejection.body_text();
    let said = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(&said);
    if let Some(name) = said.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        return ApiError::new("bad_parameter", "This parameter is given twice; send it once.").at(name);
    }
    match said.split_once(": ") {
        Some((name, why)) => ApiError::new("bad_parameter", wanted(why)).at(name),
        None => ApiError::new("bad_parameter", format!("What stands behind the question mark cannot be read: {said}.")),
    }
}

/// What to send instead of a value that is none of its type.
fn wanted(why: &str) -> &'static str {
    if why.contains("`true` or `false`") {
        "Send true or false."
    } else if why.contains("float") {
        "Send a number like 19.90."
    } else {
        "Send a whole number, 0 or more."
    }
}
