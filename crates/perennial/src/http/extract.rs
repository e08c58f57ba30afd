//! Extractors that say what is wrong with an address or a body: which part of it, and what mends it.
//!
//! Absent on purpose: what a body says, which each resource reads for itself.

use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
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
        if let Some(name) = parts.uri.query().and_then(garbled) {
            return Err(ApiError::new("bad_parameter", "This is not UTF-8 when its escapes are undone.").at(name));
        }
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|rejection| unreadable_query(&rejection))
    }
}

/// A body that came to its end, not packed, and within what its route takes.
pub struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let packed = encoding(request.headers());
        if !matches!(packed.as_str(), "" | "identity") {
            let mend = format!("Send the body as it is, without the encoding '{packed}'; events alone may be packed.");
            return Err(ApiError::new("bad_encoding", mend).at("content-encoding"));
        }
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|rejection| unreadable_body(&rejection, TOO_LARGE))
    }
}

/// What to do about a body that is larger than its route takes.
pub(super) const TOO_LARGE: &str = "The body is too large; at most 64 KB here, 1 MB for a programme or products.";

/// A body that is larger than may be, with what to do about it; or one that did not come to its end.
pub(super) fn unreadable_body(rejection: &BytesRejection, too_large: &str) -> ApiError {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            ApiError::new("too_large", too_large)
        }
        _ => ApiError::new("broken_off", "The body broke off before its end, or its chunks are none; send it again."),
    }
}

/// How a body is packed, as its head says, at most 40 letters of it.
pub(super) fn encoding(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.trim().chars().take(40).collect::<String>().to_ascii_lowercase()
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

/// The first parameter that is not UTF-8: the framework would read marks of replacement in its place.
fn garbled(query: &str) -> Option<&str> {
    let wrong = |pair: &&str| std::str::from_utf8(&unescaped(pair)).is_err();
    query.split('&').find(wrong).and_then(|pair| pair.split('=').next())
}

/// Bytes of a text whose escapes (`%41`) are undone; what is no escape stays as it is.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes: Vec<u8> = parts.next().unwrap_or_default().into();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(&part.as_bytes()[2..]);
            }
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    bytes
}

/// The framework says `limit: invalid digit found in string`, ``duplicate field `limit` `` or
/// ``limti: unknown field `limti`, expected `before` or `limit` ``.
fn unreadable_query(rejection: &QueryRejection) -> ApiError {
    let said = rejection.body_text();
    let said = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(&said);
    if let Some(name) = said.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        return ApiError::new("bad_parameter", "This parameter is given twice; send it once.").at(name);
    }
    if let Some((name, known)) =
        said.split_once("unknown field `").and_then(|(_, rest)| rest.split_once("`, expected "))
    {
        let known = known.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "");
        return ApiError::new("bad_parameter", format!("There is no such parameter; there is {known}.")).at(name);
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
