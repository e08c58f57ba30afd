//! What goes wrong, said the same way everywhere: RFC 9457 for the API, `{"code","message"}` for
//! SDK endpoints (whose clients give up cleanly on exactly that shape).
//!
//! Promise: codes are stable and published ([`TABLE`], `/docs/problems`); a sentence names what to
//! mend; nothing internal leaks.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::pump::Trouble;
use crate::wire::Malformed;
use crate::workspace::Refusal;

/// A code that this system answers with.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The stable code.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub title: &'static str,
    /// What mends it.
    pub mend: &'static str,
}

const fn known(code: &'static str, status: u16, title: &'static str, mend: &'static str) -> Known {
    Known { code, status, title, mend }
}

/// All codes, by status.
pub const TABLE: &[Known] = &[
    known("malformed", 400, "The body is not what it claims to be", "Send one JSON object in UTF-8."),
    known(
        "too_large",
        400,
        "The body or message is too large",
        "At most 4,000 KB of events and 32 KB of each, 1 MB of a programme or of products, 64 KB of anything else.",
    ),
    known(
        "too_many",
        400,
        "Too many messages, products or properties",
        "At most 2,500 messages a batch, 500 products, 10,000 properties of each.",
    ),
    known("too_deep", 400, "The message is nested too deeply", "At most 32 levels; flatten it."),
    known("missing_field", 400, "A field that has to be there is missing", "Add the field that is named."),
    known("wrong_type", 400, "A field has the wrong type", "Send the type that is named."),
    known("bad_number", 400, "A number cannot be read", "Send numbers like 19.90; very long ids as texts."),
    known("bad_timestamp", 400, "An instant cannot be read", "Send instants like 2026-03-01T09:00:00Z."),
    known("nul_character", 400, "A text holds the character NUL", "Remove it."),
    known("not_utf8", 400, "The body or message is not UTF-8", "Encode it as UTF-8."),
    known("unknown_type", 400, "There is no such call", "Use identify, track, page, screen, group or alias."),
    known(
        "no_identifier",
        400,
        "Nobody is named",
        "Send a userId or an anonymousId that is no placeholder; only refunds and cancellations of orders need none.",
    ),
    known("broken_off", 400, "The body broke off before its end", "Send it again, whole; nothing came of it."),
    known("bad_header", 400, "A header cannot be read", "Mend the header that is named."),
    known(
        "bad_encoding",
        400,
        "The content encoding cannot be undone",
        "Send events as gzip, deflate or as they are; anything else as it is.",
    ),
    known("bad_reference", 400, "The customer's name cannot be read", "Use an id, a userId, or email:ana@example.com."),
    known("bad_parameter", 400, "A parameter cannot be read", "Mend the parameter that is named."),
    known("invalid_write_key", 401, "The write key is unknown", "Use a write key of this installation."),
    known("invalid_key", 401, "The secret key is missing or unknown", "Send Authorization: Bearer with a secret key."),
    known("not_authorised", 403, "This key or person may not do that", "Use a key with the scope that is named."),
    known("not_found", 404, "There is nothing here", "See the API description at /docs."),
    known(
        "unknown_event",
        404,
        "No message with this id is known",
        "Check the message id and the source; those of erased persons are gone.",
    ),
    known("unknown_customer", 404, "Nobody is known by this name", "Check the reference, or enrol the customer first."),
    known("unknown_model", 404, "There is no such kind of model", "Use value, clusters or recommend."),
    known("method_not_allowed", 405, "This address does not take that method", "See the API description at /docs."),
    known("insufficient_points", 409, "Not enough points", "Ask for fewer, or wait until points are available."),
    known("out_of_stock", 409, "The reward is out of stock", "Choose another reward."),
    known("limit_reached", 409, "A limit is reached", "Ask for less, or wait until the limit's period ends."),
    known("tier_required", 409, "A higher tier is required", "See the customer's tier and what is missing."),
    known("not_a_member", 409, "The customer has not joined", "Enrol the customer first."),
    known("already_member", 409, "The customer has joined already", "Nothing needs to be done."),
    known("already_reviewed", 409, "The activity was decided already", "Nothing needs to be done."),
    known(
        "not_merged",
        409,
        "There is no merge to take back",
        "Name a customer that was merged, by a name of their own.",
    ),
    known("hold_exists", 409, "A hold has this name already", "Choose another name for the new one."),
    known("hold_expired", 409, "No open hold has this name: used, freed or lapsed", "Make a new hold."),
    known("nothing_to_do", 409, "The command would change nothing", "Ask for a change."),
    known("no_programme", 409, "No programme is in force", "Publish one first."),
    known("not_supported", 409, "The command is not for one customer alone", "See the API description at /docs."),
    known("not_in_pilot", 409, "The pilot does not include this customer", "Widen the pilot in the programme."),
    known("already_redeemed", 409, "This was redeemed already", "Nothing needs to be done."),
    known("training_underway", 409, "Another model is being trained", "Wait until it is done, or call it off."),
    known(
        "model_not_declared",
        409,
        "The programme does not ask for this model",
        "Add it under models in the programme.",
    ),
    known("erased", 410, "This person was erased", "Stop sending their events; nothing is kept of them."),
    known("idempotency_key_reused", 422, "The key was used for another request", "Use a new Idempotency-Key."),
    known("unknown_benefit", 422, "The order brings no such benefit", "Check the ids of the benefit and of the order."),
    known("unknown_reward", 422, "There is no such reward", "Use the id of a reward of the programme."),
    known(
        "unknown_redemption",
        422,
        "There is no such redemption",
        "Use the Idempotency-Key that it was asked for with.",
    ),
    known("unknown_tier", 422, "There is no such level", "Use the id of a level of the programme."),
    known("unknown_activity", 422, "There is no such open activity", "Use the message id of the submission."),
    known("unknown_line", 422, "The product is not on the order", "Use a product of the order."),
    known(
        "currency_mismatch",
        422,
        "The currency is not the programme's",
        "Send the programme's currency, or give rates.",
    ),
    known(
        "poison",
        422,
        "A fault of this program: nothing came of it",
        "It is kept to be looked into; please report it.",
    ),
    known("invalid", 422, "The request cannot be understood", "Mend the field that is named."),
    known(
        "invalid_program",
        422,
        "The programme does not compile",
        "Mend every problem of details.problems; each has its path and line.",
    ),
    known("busy", 429, "Too much is waiting", "Send it again after Retry-After seconds."),
    known("internal_error", 500, "A fault of this program", "Nothing was done; please report it."),
    known("unavailable", 503, "Nothing can be written now", "Send it again after Retry-After seconds."),
    known(
        "timeout",
        503,
        "It took too long, and may be done still",
        "Send it again: under the same messageId or Idempotency-Key it counts once.",
    ),
];

pub(super) fn find(code: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.code == code)
}

/// An answer that is not the one hoped for.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: String,
    detail: String,
    field: Option<String>,
    details: Option<Value>,
    retry_after: Option<u32>,
    replayed: bool,
}

impl ApiError {
    /// Of a published code, with a sentence.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let (code, detail) = (code.to_owned(), detail.into());
        Self { code, detail, field: None, details: None, retry_after: None, replayed: false }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into()).filter(|field| !field.is_empty());
        self
    }

    /// Adds figures or a list that help.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Marks the answer as the first one again.
    #[must_use]
    pub fn replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }

    /// Says after how many seconds to come back.
    #[must_use]
    pub(super) fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The HTTP status; that of a refusal when the code is a programme's own.
    pub fn status(&self) -> StatusCode {
        find(&self.code).and_then(|k| StatusCode::from_u16(k.status).ok()).unwrap_or(StatusCode::CONFLICT)
    }

    fn finish(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.replayed {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer, Basic"));
        }
        response
    }
}

impl From<Malformed> for ApiError {
    fn from(fault: Malformed) -> Self {
        Self::new(fault.code, fault.reason).at(fault.field)
    }
}

impl From<Trouble> for ApiError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Busy => {
                Self::new("busy", "Too much is waiting to be written; send it again in a moment.").after(1)
            }
            Trouble::Unavailable(why) => {
                tracing::debug!(why, "answered unavailable");
                Self::new("unavailable", "Nothing can be written now. Send it again; a repetition counts once.")
                    .after(5)
            }
            Trouble::Late => {
                Self::new("timeout", "The request took too long, and may be done still. Send it again: under the same messageId or Idempotency-Key it counts once.").after(1)
            }
            Trouble::Broken => {
                Self::new("internal_error", "This is a fault of ours; nothing was done. Please report it.")
            }
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let details = serde_json::to_value(&refusal.details).ok().filter(|_| !refusal.details.is_empty());
        // What is invalid begins with the name of its field.
        let named = refusal.message.split_once(": ").filter(|_| *refusal.code == *"invalid");
        let field = named.map(|(field, _)| field.to_owned()).unwrap_or_default();
        Self { details, ..Self::new(&refusal.code, refusal.message) }.at(field)
    }
}

/// A problem (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/docs/problems#insufficient_points")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is the matter here.
    pub detail: String,
    /// The stable code.
    #[schema(example = "insufficient_points")]
    pub code: String,
    /// The field at fault, as a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Figures that help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("/docs/problems#{}", self.code),
            title: find(&self.code).map_or("The programme says no", |k| k.title).into(),
            status: self.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code.clone(),
            field: self.field.clone(),
            details: self.details.clone(),
        };
        let mut response = (self.status(), Json(problem)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        self.finish(response)
    }
}

/// The same for SDK endpoints.
#[derive(Clone, Debug)]
pub struct SdkError(pub ApiError);

/// What SDK endpoints answer when something is wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SdkProblem {
    /// The stable code.
    pub code: String,
    /// What to mend.
    pub message: String,
}

impl<E: Into<ApiError>> From<E> for SdkError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for SdkError {
    fn into_response(self) -> Response {
        let ApiError { code, detail, field, .. } = self.0.clone();
        let said = |field: &String| !detail.starts_with(field.as_str());
        let message = field.filter(said).map_or(detail.clone(), |field| format!("{field}: {detail}"));
        self.0.finish((self.0.status(), Json(SdkProblem { code, message })).into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programme_may_refuse_with_is_in_the_table() {
        let deciding = include_str!("../../../perennial-core/src/command.rs");
        let refusals = deciding.split("Refusal::new(").skip(1);
        let codes: Vec<&str> =
            refusals.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).collect();
        assert!(codes.len() > 10, "{codes:?}");
        let lost: Vec<&&str> = codes.iter().filter(|code| find(code).is_none()).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn codes_are_published_once_and_in_the_order_of_their_status() {
        let codes: std::collections::BTreeSet<_> = TABLE.iter().map(|k| k.code).collect();
        assert_eq!(codes.len(), TABLE.len());
        assert!(TABLE.is_sorted_by_key(|k| k.status));
        for known in TABLE {
            assert!(StatusCode::from_u16(known.status).is_ok() && known.mend.ends_with('.'), "{}", known.code);
        }
    }

    #[test]
    fn a_refusal_of_the_programmes_own_is_a_conflict() {
        assert_eq!(ApiError::new("not_on_sundays", "No.").status(), StatusCode::CONFLICT);
    }
}
