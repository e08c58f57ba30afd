//! Events: what happened, in our own types. The journal's format (postcard), frozen by fixtures.
//!
//! Promise: an event is complete. Everything that the sender said is in a typed field or in
//! `properties` and `context`. Amounts are the decimals that were sent; they become minor units
//! where an order is booked, because only there the currency is settled.
//! Absent on purpose: wire shapes. Parsing lives at the edge, one file per foreign shape.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::id::{Identifier, IdentifierKind, Word};
use crate::packed::Packed;
use crate::quantity::Quantity;
use crate::time::Timestamp;
use crate::value::{Properties, Value, decimal};

/// The name of an order that was placed and paid.
pub const ORDER_COMPLETED: &str = "Order Completed";
/// The name of what tells of an order again, or before its completion.
pub const ORDER_UPDATED: &str = "Order Updated";
/// The name of a refund.
pub const ORDER_REFUNDED: &str = "Order Refunded";
/// The name of a cancellation.
pub const ORDER_CANCELLED: &str = "Order Cancelled";

/// The names whose events have a body of their own. Shops send them in any case; other names are theirs to
/// choose.
pub const TYPED: &[&str] = &[
    ORDER_COMPLETED,
    ORDER_UPDATED,
    ORDER_REFUNDED,
    ORDER_CANCELLED,
    "Product Added",
    "Product Removed",
    "Cart Viewed",
    "Product Viewed",
];

/// One thing that happened to one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The sender's name for this message; the duplicate key together with `source`.
    pub message_id: Box<str>,
    /// Where it came from: the name of the write key's source, `api`, or an import's name.
    pub source: Box<str>,
    /// When it happened: the corrected timestamp, never later than the receipt (rule 2).
    pub at: Timestamp,
    /// The instant as the sender's clock gave it, when that differs from `at`.
    pub original_at: Option<Timestamp>,
    /// When it reached us.
    pub received_at: Timestamp,
    /// Live traffic, or history that was imported and sends nothing.
    pub origin: Origin,
    /// Who it is about, the strongest first; empty only for a refund or cancellation, which belongs to
    /// whoever has the order (rule 22).
    pub ids: Vec<Identifier>,
    /// What was said of the person (`traits` and `context.traits`).
    pub traits: Properties,
    /// What happened.
    pub body: Body,
    /// Properties that the typed body has no field for.
    pub properties: Packed,
    /// Data purposes accepted or refused (`context.consent.categoryPreferences`).
    pub consent: Vec<(Box<str>, bool)>,
    /// The `Sec-GPC: 1` header was present: opted out of sale and sharing.
    pub opted_out: bool,
    /// The rest of the context, as sent.
    pub context: Packed,
}

/// Whether an event happens now or is history that is being brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Live traffic.
    #[default]
    Live,
    /// History: no messages, reminders or journeys (rule 33).
    Import,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Something was said of the person.
    Identify,
    /// `previous` and the event's own identifiers are one person.
    Alias {
        /// The earlier name.
        previous: Identifier,
    },
    /// The person belongs to a group.
    Group {
        /// The group's id.
        group_id: Box<str>,
    },
    /// A page was seen.
    Page {
        /// The page's name, if it has one.
        name: Box<str>,
    },
    /// A screen of an app was seen.
    Screen {
        /// The screen's name, if it has one.
        name: Box<str>,
    },
    /// `Order Completed`.
    Ordered(Order),
    /// `Order Updated`: the order as it is now.
    OrderUpdated(Order),
    /// `Order Refunded`.
    Refunded(Refund),
    /// `Order Cancelled`.
    Cancelled {
        /// The shop's order id.
        order_id: Box<str>,
    },
    /// `Product Added`, `Product Removed` or `Cart Viewed`.
    Cart {
        /// What happened to the cart.
        change: CartChange,
        /// The lines concerned; the whole cart when it was viewed.
        lines: Vec<Line>,
    },
    /// `Product Viewed`.
    ProductViewed(Line),
    /// Any other track call; its properties are the event's.
    Track {
        /// The event's name.
        name: Box<str>,
    },
}

/// What happened to a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CartChange {
    /// Lines were put in.
    Added,
    /// Lines were taken out.
    Removed,
    /// The cart is exactly these lines.
    Viewed,
}

/// An order as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The shop's order id: the natural key.
    pub order_id: Box<str>,
    /// The currency as sent; the programme's when absent. Unknown codes stay texts.
    pub currency: Option<Box<str>>,
    /// Goods after discounts, before tax and shipping.
    #[serde(with = "decimal::option")]
    pub subtotal: Option<Decimal>,
    /// Goods without shipping and tax.
    #[serde(with = "decimal::option")]
    pub revenue: Option<Decimal>,
    /// Everything that was paid.
    #[serde(with = "decimal::option")]
    pub total: Option<Decimal>,
    /// Of it, tax.
    #[serde(with = "decimal::option")]
    pub tax: Option<Decimal>,
    /// Of it, shipping.
    #[serde(with = "decimal::option")]
    pub shipping: Option<Decimal>,
    /// Taken off the goods.
    #[serde(with = "decimal::option")]
    pub discount: Option<Decimal>,
    /// The part paid with points, which earns nothing.
    pub paid_with_points: Option<PaidWithPoints>,
    /// The lines; an order without lines is one line of the eligible amount.
    pub lines: Vec<Line>,
}

impl Order {
    /// Whether nothing in it says what was paid: then it counts for nothing.
    pub fn says_no_amount(&self) -> bool {
        let sums = [self.subtotal, self.revenue, self.total];
        sums.iter().all(Option::is_none) && self.lines.iter().all(|line| line.price.is_none())
    }
}

/// The part of an order that was paid with points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidWithPoints {
    /// How many points.
    pub points: i64,
    /// What they were worth.
    #[serde(with = "decimal")]
    pub amount: Decimal,
}

/// A product in an order, a cart, a refund or a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The shop's product id; empty when only the sku is known.
    pub product_id: Box<str>,
    /// Stock keeping unit.
    pub sku: Option<Box<str>>,
    /// Variant.
    pub variant: Option<Box<str>>,
    /// Price of one piece.
    #[serde(with = "decimal::option")]
    pub price: Option<Decimal>,
    /// Pieces, or a measure like 0.85; 1 when not said.
    pub quantity: Quantity,
    /// Name, category, brand and whatever else was said of the product.
    pub about: Packed,
}

/// A refund: of pieces, of an amount, or of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The natural key; the message id when the sender gave none.
    pub refund_id: Box<str>,
    /// The order it refunds.
    pub order_id: Box<str>,
    /// The amount of money, which counts only when there are no lines.
    #[serde(with = "decimal::option")]
    pub total: Option<Decimal>,
    /// The pieces that came back.
    pub lines: Vec<Line>,
}

impl Event {
    /// The name that earning rules and features listen to.
    pub fn name(&self) -> &str {
        match &self.body {
            Body::Identify => "identify",
            Body::Alias { .. } => "alias",
            Body::Group { .. } => "group",
            Body::Page { .. } => "page",
            Body::Screen { .. } => "screen",
            Body::Ordered(_) => ORDER_COMPLETED,
            Body::OrderUpdated(_) => ORDER_UPDATED,
            Body::Refunded(_) => ORDER_REFUNDED,
            Body::Cancelled { .. } => ORDER_CANCELLED,
            Body::Cart { change: CartChange::Added, .. } => "Product Added",
            Body::Cart { change: CartChange::Removed, .. } => "Product Removed",
            Body::Cart { change: CartChange::Viewed, .. } => "Cart Viewed",
            Body::ProductViewed(_) => "Product Viewed",
            Body::Track { name } => name,
        }
    }

    /// A property by its name: what the sender called it.
    pub fn property(&self, name: &str) -> Option<Value> {
        self.properties.get(name).or_else(|| match (&self.body, name) {
            (_, "order_id") => self.order_id().map(|id| Value::Text(id.into())),
            (Body::Refunded(refund), "refund_id") => Some(Value::Text(refund.refund_id.clone())),
            (Body::Refunded(refund), "total") => refund.total.map(Value::Number),
            _ => None,
        })
    }

    /// Forgets what its sender said of themselves, and their names: nobody else is kept in the history of an order's
    /// owner. A userId or anonymousId stays where the message must have one: it tells theirs from the owner's.
    pub fn forget_sender(&mut self) {
        let anybodys = self.may_be_nameless();
        self.ids.retain(|id| !anybodys && matches!(id.kind, IdentifierKind::User | IdentifierKind::Anonymous));
        self.traits = Properties::default();
        self.consent.clear();
        self.opted_out = false;
        self.context = Packed::default();
    }

    /// Whether it may come without a person: the order says whose it is.
    pub fn may_be_nameless(&self) -> bool {
        matches!(self.body, Body::Refunded(_) | Body::Cancelled { .. })
    }

    /// The order this event is about, if it is about one.
    pub fn order_id(&self) -> Option<&str> {
        match &self.body {
            Body::Ordered(order) | Body::OrderUpdated(order) => Some(&order.order_id),
            Body::Refunded(refund) => Some(&refund.order_id),
            Body::Cancelled { order_id } => Some(order_id),
            _ => None,
        }
    }
}

/// What is known of a product, from the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The shop's product id.
    pub product_id: Box<str>,
    /// Labels that rules ask for.
    #[serde(default)]
    pub tags: Arc<[Word]>,
    /// Impact of one piece by unit, in thousandths (grams of a kilogram).
    #[serde(default)]
    pub impact: Arc<[(Word, i64)]>,
    /// Everything else: name, category, brand, price.
    #[serde(default)]
    pub about: Properties,
}
