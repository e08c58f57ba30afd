//! Customers: reading them, and asking for something on their behalf.
//!
//! Promise: a command is answered once per `Idempotency-Key`; asking again gives the first answer,
//! marked with `Idempotency-Replayed: true`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use perennial_core::id::{Identifier, Secret};
use perennial_core::input::{Asked, Command};
use perennial_core::time::{Span, Until};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Parameters, Part, Whole};
use super::keys::Scope;
use super::problem::ApiError;
use super::{App, AppState};
use crate::view::{CustomerView, FactView, LedgerEntry, TimelineEntry};
use crate::wire::broken;
use crate::workspace::{Glimpse, Who};

/// Entries of a page when none are asked for, and the most that may be.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;

/// Which part of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    before: Option<u64>,
    limit: Option<usize>,
}

/// A part of a list, the latest first.
#[derive(Serialize, ToSchema)]
pub struct Entries<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Ask for entries before this one to go on; absent at the end.
    pub next_before: Option<u64>,
}

pub(super) fn who(reference: &str) -> Result<Who, ApiError> {
    let wanted = "Name a customer by id, userId, or like email:ana@example.com, anonymous:abc, loyalty:L-17.";
    reference.parse().map_err(|_| ApiError::new("bad_reference", wanted).at("ref"))
}

fn unknown() -> ApiError {
    let wanted = "A bare name is a userId; others are named like email:ana@example.com, anonymous:abc, loyalty:L-17. Letter case counts.";
    ApiError::new("unknown_customer", format!("Nobody is known by this name. {wanted}"))
}

/// A customer
///
/// Profile, points, tier and what is missing to the next, segments with their reason, features.
#[utoipa::path(
    get, path = "/v1/customers/{ref}", tag = "Customers", operation_id = "show_customer",
    params(("ref" = String, Path, description = "Our id, a userId, or email:ana@example.com, anonymous:abc, loyalty:L-17, phone:+331")),
    responses((status = 200, body = CustomerView)),
    extensions(("x-problems" = json!(["unknown_customer"]))),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn show(
    State(app): AppState,
    Part(reference): Part,
    headers: HeaderMap,
) -> Result<Json<CustomerView>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let who = who(&reference)?;
    let found = match app.pump().peek(|workspace, now| workspace.glance(now, &who)) {
        Some(at_once) => Some(at_once),
        None => app.pump().call(move |workspace, now| workspace.glimpse(now, &who)).await?,
    };
    found.and_then(Glimpse::view).map(Json).ok_or_else(unknown)
}

/// A customer's timeline
///
/// Events, commands and timers with what followed from each, the latest first.
#[utoipa::path(
    get, path = "/v1/customers/{ref}/timeline", tag = "Customers", operation_id = "show_timeline",
    params(
        ("ref" = String, Path, description = "As for a customer"),
        ("before" = Option<u64>, Query, description = "Only entries before this one"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "At most so many, 1 to 500; 50 unless told")
    ),
    responses((status = 200, body = Entries<TimelineEntry>)),
    extensions(("x-problems" = json!(["unknown_customer"]))),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn timeline(
    State(app): AppState,
    Part(reference): Part,
    Parameters(page): Parameters<Page>,
    headers: HeaderMap,
) -> Result<Json<Entries<TimelineEntry>>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let (who, limit) = (who(&reference)?, page.limit()?);
    let found = app.pump().call(move |workspace, now| workspace.timeline(now, &who, page.before, limit)).await?;
    found.map(|entries| Json(cut(entries, limit, |entry| entry.seq))).ok_or_else(unknown)
}

/// A customer's ledger
///
/// Every posting with the chain of its reasons, the latest first.
#[utoipa::path(
    get, path = "/v1/customers/{ref}/ledger", tag = "Customers", operation_id = "show_ledger",
    params(
        ("ref" = String, Path, description = "As for a customer"),
        ("before" = Option<u64>, Query, description = "Only postings of entries before this one"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 500, description = "At most so many, 1 to 500; 50 unless told")
    ),
    responses((status = 200, body = Entries<LedgerEntry>)),
    extensions(("x-problems" = json!(["unknown_customer"]))),
    security(("secret_key" = [Scope::Read.word()]))
)]
pub async fn ledger(
    State(app): AppState,
    Part(reference): Part,
    Parameters(page): Parameters<Page>,
    headers: HeaderMap,
) -> Result<Json<Entries<LedgerEntry>>, ApiError> {
    app.keys().authorise(&headers, Scope::Read)?;
    let (who, limit) = (who(&reference)?, page.limit()?);
    let found = app.pump().call(move |workspace, now| workspace.ledger(now, &who, page.before, limit)).await?;
    found.map(|(entries, next_before)| Json(Entries { entries, next_before })).ok_or_else(unknown)
}

impl Page {
    fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(PAGE);
        let refused = || ApiError::new("bad_parameter", "Send how many entries are wanted, 1 to 500.").at("limit");
        if (1..=PAGE_MAX).contains(&limit) { Ok(limit) } else { Err(refused()) }
    }
}

fn cut<T>(entries: Vec<T>, limit: usize, seq: impl Fn(&T) -> u64) -> Entries<T> {
    let next_before = if entries.len() >= limit { entries.last().map(seq) } else { None };
    Entries { entries, next_before }
}

/// What followed from a command.
#[derive(Serialize, ToSchema)]
pub struct Answered {
    /// The journal entry.
    pub seq: u64,
    /// What followed.
    pub facts: Vec<FactView>,
}

/// What any command may be told: for its body, its customer's name, or a fault of ours.
const ANY: &[&str] = &["malformed", "invalid", "unknown_customer", "poison"];
/// What a command for members may be told besides.
const MEMBERS: &[&str] = &["no_programme", "not_a_member", "erased", "idempotency_key_reused"];

/// Declares the handler of one command: its address, scope, body, the codes it may be told besides [`ANY`], and what
/// the body asks for.
macro_rules! command {
    (
        $(#[$doc:meta])* $handler:ident, $path:literal, $scope:ident, $status:literal, $body:ty,
        [$($code:expr),*], $command:expr
    ) => {
        $(#[$doc])*
        #[utoipa::path(
            post, path = $path, tag = "Commands",
            params(
                ("ref" = String, Path, description = "As for a customer"),
                ("Idempotency-Key" = Option<String>, Header, description = "The same key and body give the first answer again, a refusal too, with `Idempotency-Replayed: true`")
            ),
            request_body = $body,
            responses((
                status = $status, description = "Done", body = Answered,
                headers(("Idempotency-Replayed" = bool, description = "`true` where the first answer is given again"))
            )),
            extensions(("x-problems" = json!([ANY, $($code),*]))),
            security(("secret_key" = [Scope::$scope.word()]))
        )]
        pub async fn $handler(
            State(app): AppState,
            Part(reference): Part,
            headers: HeaderMap,
            Whole(body): Whole,
        ) -> Result<Response, ApiError> {
            let by = app.keys().authorise(&headers, Scope::$scope)?;
            let body: $body = parse(&body)?;
            let build: fn($body, &str) -> Result<Command, ApiError> = $command;
            let command = build(body, &by)?;
            let asking = Asking { name: stringify!($handler), reference, by, status: $status, command };
            ask(&app, &headers, asking).await
        }
    };
}

command!(
    /// Join the programme
    ///
    /// Makes a customer a member; an unknown name makes a new customer, a second time changes nothing.
    enroll, "/v1/customers/{ref}/enroll", Write, 200, NothingBody,
    ["no_programme", "not_in_pilot", "erased"], |_, _| Ok(Command::Enroll)
);
command!(
    /// Spend points on a reward
    ///
    /// Takes the points at once, those first that lapse first, and a piece from stock.
    redeem, "/v1/customers/{ref}/redeem", Write, 201, RedeemBody,
    [MEMBERS, "insufficient_points", "out_of_stock", "limit_reached", "tier_required", "unknown_reward"], |body, _| {
        let quantity = body.quantity.unwrap_or(1);
        at_least_one(i64::from(quantity), "quantity")?;
        Ok(Command::Redeem { reward: body.reward, quantity })
    }
);
command!(
    /// Set points aside
    ///
    /// Nobody else can spend them until they are used, freed, or the time is over.
    hold, "/v1/customers/{ref}/hold", Write, 201, HoldBody,
    [MEMBERS, "insufficient_points", "limit_reached", "hold_exists"], |body, _| {
        at_least_one(body.points, "points")?;
        Ok(Command::Hold { points: body.points, length: body.length, hold: body.hold })
    }
);
command!(
    /// Use points that were set aside
    ///
    /// Spends them; what is not used of the hold is freed.
    capture, "/v1/customers/{ref}/capture", Write, 200, CaptureBody,
    [MEMBERS, "insufficient_points", "hold_expired"], |body, _| {
        at_least_one(body.points.unwrap_or(1), "points")?;
        Ok(Command::Capture { hold: body.hold, points: body.points })
    }
);
command!(
    /// Free points that were set aside
    ///
    /// They can be spent again.
    release, "/v1/customers/{ref}/release", Write, 200, ReleaseBody,
    [MEMBERS, "hold_expired"], |body, _| Ok(Command::Release { hold: body.hold })
);
command!(
    /// Take a redemption back
    ///
    /// Points and piece return; the programme says for how long points are good then.
    undo, "/v1/customers/{ref}/undo", Write, 200, UndoBody,
    [MEMBERS, "unknown_redemption"], |body, _| Ok(Command::Undo { redemption: body.redemption })
);
command!(
    /// Note a consent, or its withdrawal
    ///
    /// For a purpose, on one channel or all.
    consent, "/v1/customers/{ref}/consent", Write, 200, ConsentBody,
    ["no_programme", "erased", "idempotency_key_reused"],
    |body, _| Ok(Command::Consent { purpose: body.purpose, channel: body.channel, given: body.given })
);
command!(
    /// Correct the balance by hand
    ///
    /// Adds points, or takes them away when negative; the reason stays in the ledger.
    adjust, "/v1/customers/{ref}/adjust", Admin, 200, AdjustBody,
    [MEMBERS, "insufficient_points", "limit_reached", "nothing_to_do"], |body, by| {
        Ok(Command::Adjust { points: body.points, reason: body.reason, by: body.by.unwrap_or_else(|| by.into()) })
    }
);
command!(
    /// Approve or decline an activity
    ///
    /// Decides what a rule with `review: required` waits for.
    review, "/v1/customers/{ref}/review", Admin, 200, ReviewBody,
    [MEMBERS, "already_reviewed", "limit_reached", "unknown_activity"], |body, _| Ok(Command::Review {
        activity: body.activity,
        approve: matches!(body.decision, Decision::Approve),
        reason: body.reason,
    })
);
command!(
    /// Say that a benefit was brought
    ///
    /// A tree that is planted is not taken back when its order is refunded.
    fulfill, "/v1/customers/{ref}/fulfill", Admin, 200, FulfillBody,
    [MEMBERS, "unknown_benefit"],
    |body, _| Ok(Command::Fulfill { benefit: body.benefit, order: body.order_id, proof: body.proof })
);
command!(
    /// Set the tier by hand
    ///
    /// Gives a tier by hand, through a day or until an instant.
    set_tier, "/v1/customers/{ref}/set-tier", Admin, 200, SetTierBody,
    [MEMBERS, "unknown_tier"], |body, _| Ok(Command::SetTier { tier: body.tier, until: body.until })
);
command!(
    /// Make two customers one
    ///
    /// Makes another customer part of this one.
    merge, "/v1/customers/{ref}/merge", Admin, 200, MergeBody,
    ["no_programme", "idempotency_key_reused"], |body, _| Ok(Command::Merge { from: named(&body.from, "from")? })
);
command!(
    /// Take a merge back
    ///
    /// Takes a merge back. Name the customer to set free by one of their own names: they stand alone
    /// again under their old id, with their lots, orders and names, and so does the other side, each as
    /// its own events make it. A reward stays with the side that asked for it; what it lacks is owed.
    unmerge, "/v1/customers/{ref}/unmerge", Admin, 200, NothingBody,
    ["no_programme", "not_merged", "erased"], |_, _| Ok(Command::Unmerge)
);
command!(
    /// Forget a person
    ///
    /// Forgets the person; postings stay, without a name. Asked again, also under the same key, it answers `erased`:
    /// nothing is kept that would know the first answer.
    erase, "/v1/customers/{ref}/erase", Admin, 200, NothingBody,
    ["erased"], |_, _| Ok(Command::Erase)
);

/// Buy a reward.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemBody {
    /// The reward's id.
    #[schema(value_type = String, example = "water-bottle")]
    reward: Box<str>,
    /// How many; 1 unless told.
    quantity: Option<u32>,
}

/// Set points aside.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldBody {
    /// How many.
    points: i64,
    /// For how long, as an ISO 8601 duration.
    #[serde(rename = "for")]
    #[schema(value_type = String, example = "PT15M")]
    length: Span,
    /// The hold's name.
    #[schema(value_type = String)]
    hold: Box<str>,
}

/// Use points set aside.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureBody {
    /// The hold's name.
    #[schema(value_type = String)]
    hold: Box<str>,
    /// How many; all unless told.
    points: Option<i64>,
}

/// Free points set aside.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// The hold's name.
    #[schema(value_type = String)]
    hold: Box<str>,
}

/// Take a redemption back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoBody {
    /// The redemption: the `Idempotency-Key` it was asked for with, or else the `key` of its answer.
    #[schema(value_type = String)]
    redemption: Box<str>,
}

/// Give or withdraw consent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentBody {
    /// The data purpose.
    #[schema(value_type = String)]
    purpose: Box<str>,
    /// The channel; all unless told.
    #[schema(value_type = Option<String>)]
    channel: Option<Box<str>>,
    /// Given or withdrawn.
    given: bool,
}

/// Correct the balance.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustBody {
    /// By how many points; negative takes away.
    points: i64,
    /// Why.
    #[schema(value_type = String)]
    reason: Box<str>,
    /// Who decided it; the key's name unless told.
    #[schema(value_type = Option<String>)]
    by: Option<Box<str>>,
}

/// Say that a benefit of an order was brought.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FulfillBody {
    /// The benefit's id.
    #[schema(value_type = String)]
    benefit: Box<str>,
    /// The shop's id of the order that brought it.
    #[schema(value_type = String)]
    order_id: Box<str>,
    /// Where that can be seen: the address of a certificate, say.
    #[schema(value_type = Option<String>)]
    proof: Option<Box<str>>,
}

/// Decide a submitted activity.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    /// The submission's message id.
    #[schema(value_type = String)]
    activity: Box<str>,
    /// Approve or decline.
    decision: Decision,
    /// Why.
    #[schema(value_type = Option<String>)]
    reason: Option<Box<str>>,
}

/// Approve or decline.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It counts.
    Approve,
    /// It does not.
    Decline,
}

/// Give a tier.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTierBody {
    /// The level's id.
    #[schema(value_type = String)]
    tier: Box<str>,
    /// Until when: a date, which is the last day in the programme's time zone, or an instant.
    #[schema(value_type = String, example = "2027-06-30")]
    until: Until,
}

/// Join two customers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeBody {
    /// The other customer, named as customers are.
    from: String,
}

/// Nothing more to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NothingBody {}

/// An empty body is an empty object. A list would be read as the fields in their order, so it is refused.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::new("malformed", "The body must be one JSON object."));
    }
    let mut text = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut text).map_err(|error| {
        let path = error.path().to_string();
        unfit(error.inner(), path)
    })?;
    text.end().map_err(|error| unfit(&error, String::new()))?;
    let said: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).unwrap_or_default();
    said.iter().try_for_each(|(field, value)| value.as_str().map_or(Ok(()), |text| sound(field, text)))?;
    Ok(parsed)
}

/// Longest text of a command, in bytes: they are kept with the customer.
const TEXT_MAX: usize = 1_000;
/// Fields that may be left empty, as forms do.
const MAY_BE_EMPTY: [&str; 2] = ["reason", "proof"];

fn sound(field: &str, text: &str) -> Result<(), ApiError> {
    let wrong = match text {
        _ if text.trim().is_empty() && !MAY_BE_EMPTY.contains(&field) => "Say something here.".to_owned(),
        _ if text.len() > TEXT_MAX => format!("Say it in at most {TEXT_MAX} bytes."),
        _ if text.contains('\0') => "A text cannot hold the character NUL.".to_owned(),
        _ => return Ok(()),
    };
    Err(ApiError::new("invalid", wrong).at(field))
}

/// What is missing stands in no path, but in the sentence: ``missing field `reward` ``.
fn unfit(error: &serde_json::Error, path: String) -> ApiError {
    if !error.is_data() {
        return ApiError::new("malformed", format!("The body {}.", broken(error)));
    }
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(&*said, |(said, _)| said); // The field says where.
    let between = |before: &str| said.strip_prefix(before).and_then(|rest| rest.split('`').next());
    let field = between("missing field `").or(between("unknown field `")).or(between("duplicate field `"));
    let field = field.map_or(path, Into::into);
    let nowhere = matches!(field.as_str(), "." | "?");
    ApiError::new("invalid", format!("The body does not fit: {}.", plain(said))).at(if nowhere { "" } else { &field })
}

/// The parser names our types; callers know theirs.
fn plain(said: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("expected i64", "expected a whole number"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected f64", "expected a number"),
        ("floating point `", "the number `"),
        (", there are no fields", ", and none is wanted here: send {}"),
        ("duplicate field", "this field stands twice:"),
    ];
    WORDS.iter().fold(said.to_owned(), |said, (theirs, ours)| said.replace(theirs, ours))
}

fn named(name: &str, field: &str) -> Result<Identifier, ApiError> {
    name.parse().map_err(|_| ApiError::new("invalid", "Name a customer, like email:ana@example.com.").at(field))
}

fn at_least_one(n: i64, field: &str) -> Result<(), ApiError> {
    if n > 0 { Ok(()) } else { Err(ApiError::new("invalid", "Must be at least 1.").at(field)) }
}

struct Asking {
    name: &'static str,
    reference: String,
    by: String,
    status: u16,
    command: Command,
}

/// Not a secret: tells a repetition from another command under the same key.
const COMMAND_HASH: Secret = Secret(*b"perennial/cmd/01");
/// Longest idempotency key, in bytes.
const KEY_MAX: usize = 255;
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

async fn ask(app: &App, headers: &HeaderMap, asking: Asking) -> Result<Response, ApiError> {
    who(&asking.reference)?;
    let spoken = serde_json::to_vec(&asking.command).map_err(|_| ApiError::new("invalid", "The body does not fit."))?;
    let asked = Asked {
        at: app.pump().now(),
        by: asking.by.into(),
        customer: named(&asking.reference, "ref")?,
        key: idempotency_key(headers)?,
        fingerprint: COMMAND_HASH.digest(&[&spoken]),
        command: asking.command,
    };
    let answer = app.pump().ask(asking.name, asked).await?;
    if answer.key_reused {
        let detail = "This Idempotency-Key was used for another request; nothing was done. Use a new key.";
        return Err(ApiError::new("idempotency_key_reused", detail));
    }
    let facts = answer.outcome.map_err(|refusal| ApiError::from(refusal).replayed(answer.replayed))?;
    let facts = facts.iter().map(|fact| FactView::of(fact, answer.currency)).collect();
    let status = StatusCode::from_u16(asking.status).unwrap_or(StatusCode::OK);
    let mut response = (status, Json(Answered { seq: answer.seq, facts })).into_response();
    if answer.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Box<str>>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::new("bad_parameter", "This header is sent twice; send it once.").at("Idempotency-Key"));
    }
    match value.to_str().map(str::trim) {
        Ok(key) if !key.is_empty() && key.len() <= KEY_MAX => Ok(Some(key.into())),
        _ => Err(ApiError::new("bad_parameter", "Send 1 to 255 visible ASCII characters.").at("Idempotency-Key")),
    }
}
