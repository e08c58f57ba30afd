//! Who a message is about, and what it says of them: identifiers, traits, consent.
//!
//! Promise: placeholders never identify anybody; a number and the text of the same digits are one
//! identifier. A group's id names a group and never a person.

use perennial_core::id::{Identifier, IdentifierKind};
use perennial_core::value::{Properties, Value};

/// The consent category that stands for all of them: an empty preference object refuses everything.
pub const EVERY_CATEGORY: &str = "*";

/// Most identifiers that one message may bring.
pub const IDS_MAX: usize = 32;

/// A text, or a number written out: `12345` and `"12345"` are the same name.
pub fn scalar_text(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Text(text) if !text.trim().is_empty() => Some(text.trim().into()),
        Value::Number(n) if n.is_integer() => Some(n.normalize().to_string().into()),
        _ => None,
    }
}

/// The identifier in a field, if it holds a usable one.
pub fn identifier(kind: IdentifierKind, value: Option<&Value>) -> Option<Identifier> {
    Identifier::new(kind, &scalar_text(value?)?)
}

/// All identifiers of a message, the strongest first.
pub fn identifiers(item: &Properties, traits: &Properties, context: &Properties) -> Vec<Identifier> {
    let mut ids: Vec<Identifier> = Vec::with_capacity(4);
    ids.extend(identifier(IdentifierKind::User, item.get("userId")));
    ids.extend(identifier(IdentifierKind::Email, traits.get("email")));
    ids.extend(identifier(IdentifierKind::Anonymous, item.get("anonymousId")));
    ids.extend(device(context));
    ids.extend(external(context));
    ids.sort();
    ids.dedup();
    ids.truncate(IDS_MAX);
    ids
}

/// The ids of a phone or tablet, by Segment's names: `ios.id`, `android.idfa`, `ios.push_token`.
fn device(context: &Properties) -> impl Iterator<Item = Identifier> {
    let device = map(context, "device");
    let kind = device.and_then(|d| d.get("type")).and_then(Value::as_text).map(str::to_ascii_lowercase);
    let system = kind.filter(|k| k == "ios" || k == "android");
    let fields = [("id", "id"), ("advertisingId", "idfa"), ("token", "push_token")];
    fields.into_iter().filter_map(move |(field, suffix)| {
        let name = format!("{}.{suffix}", system.as_deref()?);
        identifier(IdentifierKind::External(name.into()), device?.get(field))
    })
}

/// `context.externalIds[]`: those of users, as they are (hashed ones are no names of ours).
fn external(context: &Properties) -> impl Iterator<Item = Identifier> {
    let items = context.get("externalIds").and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(|item| {
        let Value::Map(entry) = item else { return None };
        let text = |name| entry.get(name).and_then(Value::as_text);
        let of_users = text("collection").is_none_or(|c| c == "users");
        let plain = text("encoding").is_none_or(|e| e == "none");
        let kind = kind_of(text("type")?)?;
        (of_users && plain).then(|| identifier(kind, entry.get("id"))).flatten()
    })
}

/// Longest type name of an external id.
const KIND_MAX: usize = 40;

/// The kind that a type name of an external id stands for; none for names we cannot keep.
pub fn kind_of(name: &str) -> Option<IdentifierKind> {
    let name = name.trim().to_ascii_lowercase();
    Some(match name.as_str() {
        "user" | "user_id" => IdentifierKind::User,
        "email" => IdentifierKind::Email,
        "anonymous" | "anonymous_id" => IdentifierKind::Anonymous,
        "phone" => IdentifierKind::Phone,
        "loyalty" | "loyalty_id" => IdentifierKind::Loyalty,
        _ => {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
            let good = name.as_bytes().first()?.is_ascii_lowercase() && name.bytes().all(plain);
            (good && name.len() <= KIND_MAX).then(|| IdentifierKind::External(name.into()))?
        }
    })
}

/// What is said of the person: `context.traits`, overridden by the call's own.
pub fn traits(own: Option<Value>, context: &mut Properties) -> Properties {
    let mut traits = match context.take("traits") {
        Some(Value::Map(map)) => map,
        _ => Properties::default(),
    };
    if let Some(Value::Map(own)) = own {
        for (name, value) in own.0 {
            traits.set(&name, value);
        }
    }
    traits
}

/// `context.consent.categoryPreferences`: an empty object refuses every category, a missing one
/// changes nothing.
pub fn consent(context: &mut Properties) -> Vec<(Box<str>, bool)> {
    let Some(Value::Map(preferences)) = map(context, "consent").and_then(|c| c.get("categoryPreferences")) else {
        return Vec::new();
    };
    if preferences.is_empty() {
        return vec![(EVERY_CATEGORY.into(), false)];
    }
    preferences.iter().filter_map(|(name, value)| Some((name.into(), value.as_bool()?))).collect()
}

fn map<'a>(of: &'a Properties, name: &str) -> Option<&'a Properties> {
    if let Some(Value::Map(map)) = of.get(name) { Some(map) } else { None }
}
