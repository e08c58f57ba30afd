//! The Segment Tracking API: single calls and batches, as Segment's and `RudderStack`'s clients
//! send them, become events and reject records.
//!
//! Promise: one bad item never fails its batch; clients would drop all its neighbours. Only a body
//! that is no JSON, is too large or holds too many items is refused as a whole.
//! Absent on purpose: HTTP. Paths, keys and encodings are settled before bytes arrive here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use perennial_core::event::{Body, Event};
use perennial_core::id::{CustomerId, IDENTIFIER_MAX, Identifier, IdentifierKind, Secret};
use perennial_core::input::Reject;
use perennial_core::time::Timestamp;
use perennial_core::value::{Properties, Value};
use rust_decimal::prelude::ToPrimitive as _;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::person::{self, scalar_text};
use super::{Arrival, Circumstances, Malformed, commerce, json};

/// Largest message, in bytes of UTF-8.
pub const EVENT_MAX: usize = 32 * 1024;
/// Most messages of one batch.
pub const BATCH_MAX: usize = 2_500;
/// Largest body, decompressed. Segment's own limit is 500 KB and its clients stay below it;
/// `RudderStack`'s is 4,000 KB. We take what either would.
pub const BODY_MAX: usize = 4_000 * 1024;
/// Longest message id, in bytes.
pub const MESSAGE_ID_MAX: usize = 256;

/// What a message says, by the protocol's names. A client may send others; they mean nothing here.
pub const FIELDS: &[&str] = &[
    "type",
    "userId",
    "anonymousId",
    "messageId",
    "event",
    "name",
    "category",
    "properties",
    "traits",
    "context",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "receivedAt",
    "groupId",
    "previousId",
    "mergeProperties",
    "integrations",
    "channel",
    "version",
    "writeKey",
];

/// What is called: the path of a single call, or the `type` of an item in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `/v1/identify`
    Identify,
    /// `/v1/track`
    Track,
    /// `/v1/page`
    Page,
    /// `/v1/screen`
    Screen,
    /// `/v1/group`
    Group,
    /// `/v1/alias`
    Alias,
    /// `/v1/merge`: two identifiers that are one person.
    Merge,
    /// `/v1/batch` and `/v1/import`
    Batch,
}

impl Call {
    /// The call of a path's last part, or its one-letter form: `track`, `t`.
    pub fn of_path(name: &str) -> Option<Self> {
        Some(match name {
            "identify" | "i" => Self::Identify,
            "track" | "t" => Self::Track,
            "page" | "p" => Self::Page,
            "screen" | "s" => Self::Screen,
            "group" | "g" => Self::Group,
            "alias" | "a" => Self::Alias,
            "merge" => Self::Merge,
            "batch" | "b" | "import" => Self::Batch,
            _ => return None,
        })
    }

    fn of_item(name: &str) -> Option<Self> {
        Self::of_path(name).filter(|call| name.len() > 1 && *call != Self::Batch)
    }
}

/// Reads the body of one request.
///
/// # Errors
/// When the body as a whole cannot be taken apart: no JSON, too large, too many items.
pub fn parse(call: Call, body: &[u8], from: &Circumstances<'_>) -> Result<Vec<Arrival>, Malformed> {
    if body.len() > BODY_MAX {
        return Err(Malformed::new("too_large", "", "the body is larger than 4,000 KB; send smaller batches"));
    }
    let text = text_of(body);
    let damaged = matches!(text, Cow::Owned(_));
    if call == Call::Batch {
        return batch(&text, from, damaged);
    }
    let reading = Reading { from, shared: None, damaged };
    let arrival = reading.arrival(Some(call), &text, None);
    if matches!(arrival, Arrival::Reject(_)) {
        whole(&text)?; // No message at all is the request's fault.
    }
    Ok(vec![arrival])
}

/// The write key that a body carries, for clients that send it nowhere else. It is found wherever
/// [`parse`] would take the body apart, whatever its messages are like.
///
/// # Errors
/// When the body is no JSON object: then nobody can say whose it is.
pub fn write_key(body: &[u8]) -> Result<Option<String>, Malformed> {
    let text = text_of(body);
    let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(&text).map_err(|error| not_json(&error))?;
    let key = fields.get("writeKey").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    Ok(key.filter(|key| !key.is_empty()))
}

/// The text of a body: a byte order mark is no part of it, and what is not UTF-8 is one message's matter.
fn text_of(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
}

/// Whether the text is one JSON object at all; what is in it is the item's own matter.
fn whole(text: &str) -> Result<(), Malformed> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if raw.get().starts_with('{') => Ok(()),
        Ok(_) => Err(Malformed::new("malformed", "", "the body must be one JSON object")),
        Err(error) => Err(not_json(&error)),
    }
}

fn not_json(error: &serde_json::Error) -> Malformed {
    let said = error.to_string();
    let reason = match error.is_data() {
        true if said.starts_with("missing field `batch`") => {
            return Malformed::new("malformed", "batch", "batch is missing; send {\"batch\": [...]}");
        }
        true => format!("the body is not the JSON that this call takes: {said}"),
        false => format!("the body {}", super::broken(error)),
    };
    Malformed::new("malformed", "", reason)
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, rename = "batch")]
    items: Items<'a>,
    #[serde(borrow, default, rename = "sentAt")]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    integrations: Option<&'a RawValue>,
}

/// The items as they came, kept up to the cap and counted beyond.
struct Items<'a> {
    kept: Vec<&'a RawValue>,
    all: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Capped;
        impl<'de> Visitor<'de> for Capped {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < BATCH_MAX {
                    match seq.next_element()? {
                        Some(item) => kept.push(item),
                        None => return Ok(Items { all: kept.len(), kept }),
                    }
                }
                let mut all = kept.len();
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    all += 1;
                }
                Ok(Items { kept, all })
            }
        }
        d.deserialize_seq(Capped)
    }
}

fn batch(text: &str, from: &Circumstances<'_>, damaged: bool) -> Result<Vec<Arrival>, Malformed> {
    let batch: Batch<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    if batch.items.all > BATCH_MAX {
        let reason = format!("{} messages; at most {BATCH_MAX} fit in a batch, send several", batch.items.all);
        return Err(Malformed::new("too_many", "batch", reason));
    }
    let shared = Shared {
        sent_at: batch.sent_at.and_then(scalar),
        context: batch.context.map(shared_object).unwrap_or_default(),
        integrations: batch.integrations.map(shared_object).unwrap_or_default(),
    };
    let reading = Reading { from, shared: Some(&shared), damaged };
    let mut nameless = BTreeMap::new();
    Ok(batch.items.kept.into_iter().map(|item| reading.arrival(None, item.get(), Some(&mut nameless))).collect())
}

/// What a batch says for all its items.
struct Shared {
    sent_at: Option<Value>,
    context: Properties,
    integrations: Properties,
}

fn scalar(raw: &RawValue) -> Option<Value> {
    let wrapped = json::object(&format!("{{\"v\":{}}}", raw.get())).ok()?;
    wrapped.0.into_iter().next().map(|(_, value)| value)
}

/// A batch's own context is a convenience: what of it cannot be read does not fail the items.
fn shared_object(raw: &RawValue) -> Properties {
    if raw.get().len() > EVENT_MAX { Properties::default() } else { json::object(raw.get()).unwrap_or_default() }
}

/// How often each body without a message id was seen in this batch.
type Nameless = BTreeMap<[u8; 16], u32>;

struct Reading<'a> {
    from: &'a Circumstances<'a>,
    shared: Option<&'a Shared>,
    /// The body was not UTF-8; damaged places hold the replacement character.
    damaged: bool,
}

impl Reading<'_> {
    fn arrival(&self, call: Option<Call>, raw: &str, nameless: Option<&mut Nameless>) -> Arrival {
        let mut message_id = None;
        match self.event(call, raw, &mut message_id, nameless) {
            Ok(event) => Arrival::Event(Box::new(event)),
            Err(fault) => Arrival::Reject(Box::new(self.reject(raw, message_id, fault))),
        }
    }

    fn reject(&self, raw: &str, message_id: Option<Box<str>>, fault: Malformed) -> Reject {
        Reject {
            message_id,
            source: self.from.source.into(),
            received_at: self.from.received_at,
            code: fault.code.into(),
            field: fault.field.into(),
            reason: fault.reason.into(),
            body: cut(raw, EVENT_MAX).into(),
        }
    }

    /// Sets `id` as soon as it is known, so that a reject carries it too.
    fn event(
        &self,
        call: Option<Call>,
        raw: &str,
        id: &mut Option<Box<str>>,
        nameless: Option<&mut Nameless>,
    ) -> Result<Event, Malformed> {
        if raw.len() > EVENT_MAX {
            *id = message_id_of(raw);
            let reason = format!("{} bytes; a message has at most {EVENT_MAX}, send less in it", raw.len());
            return Err(Malformed::new("too_large", "", reason));
        }
        if self.damaged && raw.contains(char::REPLACEMENT_CHARACTER) {
            *id = message_id_of(raw);
            return Err(Malformed::new("not_utf8", "", "the message is not UTF-8; encode it as UTF-8"));
        }
        let mut item = json::object(raw).inspect_err(|_| *id = message_id_of(raw))?;
        let message_id = match message_id(&item)? {
            Some(given) => given,
            None => derived_id(raw, nameless),
        };
        *id = Some(message_id.clone());
        let call = call.map_or_else(|| call_of(&item), Ok)?;
        self.merge_shared(&mut item);
        build(call, item, message_id, self)
    }

    /// The batch's context and integrations, where the item does not say otherwise.
    fn merge_shared(&self, item: &mut Properties) {
        let Some(shared) = self.shared else { return };
        for (name, common) in [("context", &shared.context), ("integrations", &shared.integrations)] {
            if common.is_empty() {
                continue;
            }
            let mut merged = common.clone();
            if let Some(Value::Map(own)) = item.take(name) {
                for (key, value) in own.0 {
                    merged.set(&key, value);
                }
            }
            item.set(name, Value::Map(merged));
        }
    }
}

/// Why a message names nobody.
fn nobody(item: &Properties) -> Malformed {
    for field in ["userId", "anonymousId"] {
        if let Some(Value::Text(id)) = item.get(field)
            && id.len() > IDENTIFIER_MAX
        {
            let reason = format!("the id has {} bytes; {IDENTIFIER_MAX} are the most, send a shorter one", id.len());
            return Malformed::new("no_identifier", field, reason);
        }
    }
    if item.get("userId").and_then(scalar_text).is_some_and(|id| id.parse::<CustomerId>().is_ok()) {
        let reason =
            "cus_ and 32 hex digits is an id of Perennial's own; send the id that your shop knows the account by";
        return Malformed::new("no_identifier", "userId", reason);
    }
    Malformed::new("no_identifier", "userId", "no usable userId or anonymousId; send one of them")
}

fn build(call: Call, mut item: Properties, message_id: Box<str>, reading: &Reading<'_>) -> Result<Event, Malformed> {
    let from = reading.from;
    let (at, original_at) = instant(&item, reading)?;
    let mut context = take_map(&mut item, "context")?;
    let own_traits = if call == Call::Group { None } else { item.take("traits") };
    let traits = person::traits(own_traits, &mut context);
    let consent = person::consent(&mut context);
    let mut ids = person::identifiers(&item, &traits, &context);
    let mut properties = take_map(&mut item, "properties")?;
    if call == Call::Group {
        properties = take_map(&mut item, "traits")?;
    }
    let body = body(call, &mut item, &mut properties, &mut ids, &message_id)?;
    let of_order = matches!(body, Body::Refunded(_) | Body::Cancelled { .. });
    if ids.is_empty() && !of_order {
        return Err(nobody(&item));
    }
    keep_integrations(&mut item, &mut context);
    Ok(Event {
        message_id,
        source: from.source.into(),
        at,
        original_at,
        received_at: from.received_at,
        origin: from.origin,
        ids,
        traits,
        body,
        properties: properties.into(),
        consent,
        opted_out: from.opted_out,
        context: context.into(),
    })
}

fn body(
    call: Call,
    item: &mut Properties,
    properties: &mut Properties,
    ids: &mut Vec<Identifier>,
    message_id: &str,
) -> Result<Body, Malformed> {
    Ok(match call {
        Call::Identify => Body::Identify,
        Call::Track => {
            let name = item.get("event").and_then(Value::as_text).filter(|name| !name.trim().is_empty());
            let unnamed = || Malformed::no_text("event", item.get("event"), "name what happened, like Order Completed");
            let name = name.ok_or_else(unnamed)?;
            commerce::body(name, properties, message_id)?
        }
        Call::Page => Body::Page { name: title(item, properties) },
        Call::Screen => Body::Screen { name: title(item, properties) },
        Call::Group => Body::Group {
            group_id: item
                .get("groupId")
                .and_then(scalar_text)
                .ok_or_else(|| Malformed::no_text("groupId", item.get("groupId"), "name the group"))?,
        },
        Call::Alias => alias(item)?,
        Call::Merge => merge(item, ids)?,
        Call::Batch => return Err(Malformed::new("unknown_type", "type", "a batch cannot hold a batch")),
    })
}

/// A page's name, from the call or its properties.
fn title(item: &Properties, properties: &Properties) -> Box<str> {
    let name = item.get("name").and_then(scalar_text);
    name.or_else(|| properties.get("name").and_then(scalar_text)).unwrap_or_default()
}

fn alias(item: &Properties) -> Result<Body, Malformed> {
    let previous = item.get("previousId").and_then(scalar_text);
    let unnamed = || Malformed::no_text("previousId", item.get("previousId"), "name the earlier id");
    let previous = previous.ok_or_else(unnamed)?;
    let kind = kind_of_previous(item, &previous);
    let previous = Identifier::new(kind, &previous).ok_or_else(|| {
        let reason = "a placeholder like 0 or null, or an id of Perennial's own, names nobody; send the earlier id";
        Malformed::new("no_identifier", "previousId", reason)
    })?;
    Ok(Body::Alias { previous })
}

/// The protocol does not say whether the earlier name was an account or a visitor. A browser, which
/// always sends its visitor's id too, means the account when it names something else.
fn kind_of_previous(item: &Properties, previous: &str) -> IdentifierKind {
    match item.get("anonymousId").and_then(scalar_text) {
        Some(visitor) if *visitor != *previous && !is_uuid(previous) => IdentifierKind::User,
        _ => IdentifierKind::Anonymous,
    }
}

/// `RudderStack`'s merge call: `mergeProperties: [{type, value}, {type, value}]`.
fn merge(item: &Properties, ids: &mut Vec<Identifier>) -> Result<Body, Malformed> {
    let sides = item.get("mergeProperties").and_then(Value::as_list).unwrap_or_default();
    let mut named = sides.iter().filter_map(|side| {
        let Value::Map(side) = side else { return None };
        let kind = person::kind_of(side.get("type")?.as_text()?)?;
        person::identifier(kind, side.get("value"))
    });
    let (Some(first), Some(second)) = (named.next(), named.next()) else {
        return Err(Malformed::missing("mergeProperties", "send two objects with type and value"));
    };
    ids.push(first);
    ids.sort();
    ids.dedup();
    Ok(Body::Alias { previous: second })
}

fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes
            .iter()
            .enumerate()
            .all(|(i, b)| if [8, 13, 18, 23].contains(&i) { *b == b'-' } else { b.is_ascii_hexdigit() })
}

fn call_of(item: &Properties) -> Result<Call, Malformed> {
    let name = item.get("type").and_then(Value::as_text);
    let name = name.ok_or_else(|| Malformed::missing("type", "say identify, track, page, screen, group or alias"))?;
    Call::of_item(name).ok_or_else(|| {
        let reason = format!("'{}' is no call; say identify, track, page, screen, group or alias", cut(name, 60));
        Malformed::new("unknown_type", "type", reason)
    })
}

/// A part that has to be an object when it is there.
fn take_map(item: &mut Properties, name: &str) -> Result<Properties, Malformed> {
    match item.take(name) {
        None | Some(Value::Null) => Ok(Properties::default()),
        Some(Value::Map(map)) => Ok(map),
        Some(_) => Err(Malformed::new("wrong_type", name, format!("{name} must be an object"))),
    }
}

/// Destinations that the sender chose stay readable, in the context.
fn keep_integrations(item: &mut Properties, context: &mut Properties) {
    if let Some(Value::Map(chosen)) = item.take("integrations")
        && !chosen.is_empty()
    {
        context.set("integrations", Value::Map(chosen));
    }
}

/// When it happened: `received − (sent − original)`, never later than the receipt (rule 2). Without
/// a readable `sentAt` the sender's clock is trusted; without any timestamp it happened now.
fn instant(item: &Properties, reading: &Reading<'_>) -> Result<(Timestamp, Option<Timestamp>), Malformed> {
    let received = reading.from.received_at;
    let Some(original) = time(item, "originalTimestamp").or_else(|| time(item, "timestamp")) else {
        return Ok((received, None));
    };
    let original = original?;
    let common = reading.shared.and_then(|shared| shared.sent_at.as_ref());
    let sent = time(item, "sentAt").and_then(Result::ok).or_else(|| read_time(common?));
    let corrected = sent.map_or(original, |sent| received.plus_millis(original.since(sent)));
    let at = corrected.min(received);
    Ok((at, (at != original).then_some(original)))
}

fn time(item: &Properties, field: &'static str) -> Option<Result<Timestamp, Malformed>> {
    let value = item.get(field).filter(|v| **v != Value::Null && v.as_text() != Some(""))?;
    Some(read_time(value).ok_or_else(|| {
        Malformed::new("bad_timestamp", field, "must be an instant like 2026-03-01T09:00:00Z, before the year 9999")
    }))
}

/// Numbers below this are seconds, others milliseconds since 1970.
const SECONDS_BELOW: i64 = 100_000_000_000;

fn read_time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Text(text) => text.trim().parse().ok(),
        Value::Number(n) => {
            let n = n.round().to_i64()?;
            Some(Timestamp::from_millis(if (-SECONDS_BELOW..SECONDS_BELOW).contains(&n) { n * 1_000 } else { n }))
        }
        _ => None,
    }
}

fn message_id(item: &Properties) -> Result<Option<Box<str>>, Malformed> {
    match item.get("messageId").and_then(scalar_text) {
        Some(id) if id.len() > MESSAGE_ID_MAX => {
            let reason = format!("{} bytes; at most {MESSAGE_ID_MAX}, send a UUID", id.len());
            Err(Malformed::new("too_large", "messageId", reason))
        }
        id => Ok(id),
    }
}

/// The id of a message that is too large to be read whole.
fn message_id_of(raw: &str) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "messageId", default)]
        message_id: Option<Box<str>>,
    }
    let id = serde_json::from_str::<Named>(raw).ok()?.message_id?;
    (id.len() <= MESSAGE_ID_MAX && !id.contains('\0')).then(|| json::normalised(&id).into())
}

/// Not a secret: it only has to be the same for the same bytes.
const BODY_HASH: Secret = Secret(*b"perennial/body/1");

/// A message without an id is named by its bytes, so that a retry is still a duplicate. The same
/// bytes twice in one batch are two messages.
fn derived_id(raw: &str, nameless: Option<&mut Nameless>) -> Box<str> {
    let digest = BODY_HASH.digest(&[raw.as_bytes()]);
    let mut id = String::from("body-");
    for byte in digest {
        let _ = write!(id, "{byte:02x}"); // writing to a String cannot fail
    }
    if let Some(nameless) = nameless {
        let seen = nameless.entry(digest).or_insert(0);
        *seen += 1;
        if *seen > 1 {
            let _ = write!(id, "-{seen}");
        }
    }
    id.into()
}

/// The longest beginning of at most `max` bytes that ends between characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
