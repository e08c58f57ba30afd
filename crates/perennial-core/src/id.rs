//! Names of things: who a customer is to us, and who they say they are.
//!
//! Ids are newtypes that refuse to be empty. Those of ours derive from a root profile and its own
//! entry number, never from a journal position or a clock (rule 26).

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::octets;

/// A word of a programme or catalogue: a rule's id, a tag, a unit. Shared, so that writing it down
/// with every order copies nothing.
pub type Word = Arc<str>;

/// A secret of the workspace: turns personal identifiers into opaque ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A keyed 128-bit hash (SipHash-2-4-128) of the parts, each closed by its length.
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in parts {
            hasher.write(part);
            hasher.write_u64(part.len() as u64);
        }
        hasher.finish128().as_bytes()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes an id as text for people and as bytes for the journal.
macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                let mut text = [0; 32];
                for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
                    *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                }
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = || BadId(text.chars().take(60).collect());
                let hex = text.strip_prefix($prefix).filter(|h| h.len() == 32 && h.is_ascii()).ok_or_else(bad)?;
                let mut bytes = [0; 16];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
                }
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { octets::serialize(&self.0, s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    String::deserialize(d)?.parse().map_err(de::Error::custom)
                } else {
                    octets::deserialize(d).map(Self)
                }
            }
        }
    };
}

opaque_id! {
    /// One customer, or one root profile: the profile that an input's strongest identifier first
    /// made. A merge keeps the roots of both sides; keys and erasure belong to roots (rule 29).
    CustomerId, "cus_"
}

opaque_id! {
    /// An order id, hashed with the workspace's secret, so that facts carry nothing personal.
    OrderRef, "ord_"
}

opaque_id! {
    /// An identifier, hashed with the workspace's secret: what the identifier index holds.
    IdentifierHash, "idh_"
}

impl CustomerId {
    /// The id of the `nth` profile (from 0) that this identifier makes.
    pub fn derive(secret: &Secret, first: &Identifier, nth: u32) -> Self {
        let kind = first.kind.name().as_bytes();
        Self(secret.digest(&[b"customer", kind, first.value.as_bytes(), &nth.to_le_bytes()]))
    }
}

impl OrderRef {
    /// The opaque name of an order.
    pub fn derive(secret: &Secret, order_id: &str) -> Self {
        Self(secret.digest(&[b"order", order_id.as_bytes()]))
    }

    /// A part of the name that tells the orders of one customer apart, as a rule.
    pub(crate) fn mark(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }

    /// Half of the name: enough to tell most orders apart.
    pub(crate) fn half(self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().unwrap_or_default())
    }
}

/// A text that is not one of our ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadId(pub String);

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an id of this system", self.0)
    }
}

impl std::error::Error for BadId {}

/// Points earned together: the root profile they were first booked for and its entry number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LotId {
    /// The customer that earned the lot; it keeps this name through merges.
    pub owner: CustomerId,
    /// The customer's own count of lots, from 1.
    pub number: u32,
}

impl fmt::Display for LotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner, self.number)
    }
}

/// What sort of name an identifier is. The order is the order of trust: when a limit would break,
/// the last one gives way (Segment Unify's default priorities).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IdentifierKind {
    /// The shop's own account id; at most one per customer.
    User,
    /// An e-mail address, lower case.
    Email,
    /// A browser or device before log-in.
    Anonymous,
    /// Any other system's id, by the name of its type.
    External(Box<str>),
    /// A loyalty card or membership number.
    Loyalty,
    /// A phone number: an optional plus and digits.
    Phone,
}

impl IdentifierKind {
    /// How many of this kind one customer may have.
    pub fn limit(&self) -> usize {
        if *self == Self::User { 1 } else { 5 }
    }

    fn name(&self) -> &str {
        match self {
            Self::User => "user",
            Self::Email => "email",
            Self::Anonymous => "anonymous",
            Self::External(name) => name,
            Self::Loyalty => "loyalty",
            Self::Phone => "phone",
        }
    }
}

impl fmt::Display for IdentifierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One name that a customer is recognised by, normalised; never empty, never a blocked value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// What sort of name.
    pub kind: IdentifierKind,
    /// The normalised value.
    pub value: Box<str>,
}

/// Longest identifier value, in bytes.
pub const IDENTIFIER_MAX: usize = 512;

impl Identifier {
    /// The customer id that it looks like, if a caller named somebody by one of ours.
    pub fn as_own_id(&self) -> Option<CustomerId> {
        if self.kind == IdentifierKind::User { self.value.parse().ok() } else { None }
    }

    /// Names a customer by our own id. Commands may: in what a shop sends such a text would be an account's, and make
    /// a second customer.
    pub fn of(customer: CustomerId) -> Self {
        Self { kind: IdentifierKind::User, value: customer.to_string().into() }
    }

    /// Normalises a raw value; `None` when it is empty, too long, a blocked placeholder, or an account id that
    /// looks like one of our own ids.
    ///
    /// E-mails are lower-cased (never folded for dots or plus tags) and their domains are in letters, also
    /// where they were sent encoded for the mail's way (`xn--`, RFC 5890); phones keep digits and a leading
    /// plus. Texts are expected in Unicode normal form C.
    pub fn new(kind: IdentifierKind, raw: &str) -> Option<Self> {
        let trimmed = raw.trim();
        let value: Box<str> = match kind {
            IdentifierKind::Email => with_domain_in_letters(trimmed.to_lowercase()).into(),
            IdentifierKind::Phone => {
                let plus = if trimmed.starts_with('+') { "+" } else { "" };
                let digits: String = trimmed.chars().filter(char::is_ascii_digit).collect();
                format!("{plus}{digits}").into()
            }
            _ => trimmed.into(),
        };
        let plausible = match kind {
            IdentifierKind::Email => value.split_once('@').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()),
            IdentifierKind::Phone => value.len() >= 4,
            _ => true,
        };
        let id = Self { kind, value };
        let is_usable = plausible && id.value.len() <= IDENTIFIER_MAX && !is_blocked(&id.value);
        (is_usable && id.as_own_id().is_none()).then_some(id)
    }

    /// The account id of a shop.
    pub fn user(value: &str) -> Option<Self> {
        Self::new(IdentifierKind::User, value)
    }

    /// The opaque name under which the identifier index knows this one.
    pub fn hashed(&self, secret: &Secret) -> IdentifierHash {
        IdentifierHash(secret.digest(&[b"identifier", self.kind.name().as_bytes(), self.value.as_bytes()]))
    }
}

/// An address whose domain is as people read it: the same mailbox whichever way it was written (UTS #46).
/// What is no domain stays as it is.
fn with_domain_in_letters(address: String) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() || domain.contains("xn--") => {
            let (letters, valid) = idna::domain_to_unicode(domain);
            valid.map(|()| format!("{local}@{letters}")).unwrap_or(address)
        }
        _ => address,
    }
}

/// Placeholders that identify nobody: zeros and dashes only, `-1`, `null`, `undefined`, `anonymous`.
fn is_blocked(value: &str) -> bool {
    value.bytes().all(|b| b == b'0' || b == b'-')
        || value.contains('\0')
        || ["-1", "null", "undefined", "anonymous", "none", "nan"].iter().any(|b| value.eq_ignore_ascii_case(b))
}

/// What the type of an external id may look like: `crm`, `ios.push_token`.
fn is_kind_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
    text.bytes().all(plain) && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
}

/// `ana`, `email:ana@example.com`, `anonymous:abc`, `loyalty:L-17`, `phone:+33123`; an account id that
/// looks like one of these says what it is, `user:shop:17`.
impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let misleading = self.value.split_once(':').is_some_and(|(kind, _)| is_kind_name(kind));
        match self.kind {
            IdentifierKind::User if !misleading => f.write_str(&self.value),
            _ => write!(f, "{}:{}", self.kind, self.value),
        }
    }
}

impl FromStr for Identifier {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let (kind, value) = match text.split_once(':') {
            Some(("user", v)) => (IdentifierKind::User, v),
            Some(("email", v)) => (IdentifierKind::Email, v),
            Some(("anonymous", v)) => (IdentifierKind::Anonymous, v),
            Some(("loyalty", v)) => (IdentifierKind::Loyalty, v),
            Some(("phone", v)) => (IdentifierKind::Phone, v),
            Some((kind, v)) if is_kind_name(kind) => (IdentifierKind::External(kind.into()), v),
            _ => (IdentifierKind::User, text),
        };
        match value.trim().parse() {
            Ok(own) if kind == IdentifierKind::User => Ok(Self::of(own)),
            _ => Self::new(kind, value).ok_or_else(|| BadId(text.chars().take(60).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_identify_nobody() {
        for blocked in ["0", "", "  ", "null", "undefined", "00000000-0000-0000-0000-000000000000", "-1", "Anonymous"] {
            assert_eq!(Identifier::user(blocked), None, "{blocked:?}");
        }
        let own = CustomerId([7; 16]);
        for ours in [own.to_string(), format!(" {own} "), own.to_string().to_uppercase().replace("CUS", "cus")] {
            assert_eq!(Identifier::user(&ours), None, "{ours:?} names one customer, and no account of a shop");
            assert_eq!(ours.parse::<Identifier>().unwrap(), Identifier::of(own), "but callers may say it");
        }
        assert!(Identifier::user("007").is_some_and(|i| Some(i) != Identifier::user("7")));
        assert!(Identifier::new(IdentifierKind::Email, "not-an-address").is_none());
    }

    #[test]
    fn emails_ignore_case_and_keep_their_dots() {
        let id: Identifier = "email: Ana.B+x@Gmail.com".parse().unwrap();
        assert_eq!(id.to_string(), "email:ana.b+x@gmail.com");
    }

    #[test]
    fn a_domain_in_letters_and_encoded_is_one() {
        let email = |raw| Identifier::new(IdentifierKind::Email, raw).unwrap().value;
        for (raw, expected) in [
            ("Ana@B\u{fc}cher.example", "ana@b\u{fc}cher.example"),
            ("ana@bu\u{308}cher.example", "ana@b\u{fc}cher.example"),
            ("ana@XN--bcher-kva.example", "ana@b\u{fc}cher.example"),
            ("ana@xn--bcher-kva\u{3002}example", "ana@b\u{fc}cher.example"),
            ("ana@stra\u{df}e.example", "ana@stra\u{df}e.example"),
            ("ana@xn--strae-oqa.example", "ana@stra\u{df}e.example"),
            ("ana@xn--a.example", "ana@xn--a.example"),
            ("\"a@b\"@xn--bcher-kva.example", "\"a@b\"@b\u{fc}cher.example"),
            ("b\u{fc}cher@example.com", "b\u{fc}cher@example.com"),
        ] {
            assert_eq!(&*email(raw), expected, "{raw}");
        }
    }

    #[test]
    fn an_account_that_looks_like_another_kind_is_still_found_by_what_it_is_called() {
        for (value, called) in
            [("ana", "ana"), ("shop:17", "user:shop:17"), ("Shop:17", "Shop:17"), ("user:a", "user:user:a")]
        {
            let id = Identifier::user(value).unwrap();
            assert_eq!(id.to_string(), called);
            assert_eq!(called.parse(), Ok(id));
        }
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let secret = Secret([7; 16]);
        let id = CustomerId::derive(&secret, &"ana".parse().unwrap(), 0);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, CustomerId::derive(&secret, &"ana".parse().unwrap(), 1));
        assert!("cus_zz".parse::<CustomerId>().is_err());
    }
}
