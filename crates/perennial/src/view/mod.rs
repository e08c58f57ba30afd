//! Views: what the API shows. Written once here, filled by the workspace, described by the `OpenAPI`
//! document, read by the console.
//!
//! Promise: names are those of the glossary; instants are texts in UTC; amounts are whole numbers
//! unless their name says otherwise; money is in its currency's own unit (14.8 euros). Fields are only ever added.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

mod facts;

pub use facts::FactView;
pub(crate) use facts::{thousandths, unit, until, word};

/// A customer as we know them now.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CustomerView {
    /// Our id.
    #[schema(example = "cus_8c1d4f1f0be3a94a5bd0c7a4a1b2c3d4")]
    pub id: String,
    /// The names they are recognised by, the strongest first.
    pub identifiers: Vec<String>,
    /// Whether they joined the programme.
    pub member: bool,
    /// When they joined.
    pub enrolled_at: Option<String>,
    /// Declared traits.
    pub traits: BTreeMap<String, Json>,
    /// Data purposes and whether they were accepted.
    pub consents: BTreeMap<String, bool>,
    /// The points wallet; zeros for customers who are not members.
    pub points: PointsView,
    /// The tier held and what is missing to the next.
    pub tier: Option<TierView>,
    /// The segments they are in, with the reason.
    pub segments: Vec<SegmentView>,
    /// Features by name.
    pub features: BTreeMap<String, Json>,
    /// Those of them whose window holds more than 4,096 events: the oldest leave it by the hour.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approximate: Vec<String>,
    /// What models say of them, with the reason.
    pub scores: ScoresView,
    /// Badges held.
    pub badges: Vec<String>,
    /// Impact by unit, in decimals.
    pub impact: BTreeMap<String, String>,
    /// The instant this view holds for.
    pub as_of: String,
    /// The last journal entry it knows.
    pub seq: u64,
}

/// Points of a wallet.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PointsView {
    /// Earned and inside the return window.
    pub pending: i64,
    /// To spend now; negative while in arrears.
    pub available: i64,
    /// Set aside for unfinished redemptions.
    pub held: i64,
    /// Paid for rewards.
    pub spent: i64,
    /// Lapsed.
    pub expired: i64,
    /// Owed after refunds of points already spent.
    pub arrears: i64,
    /// Qualifying points of this calendar year.
    pub earned_this_year: i64,
    /// The lots, the earliest to expire first.
    pub lots: Vec<LotView>,
}

/// Points earned together.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct LotView {
    /// The lot's id.
    pub lot: String,
    /// What granted it.
    pub rule: String,
    /// When it was earned.
    pub earned_at: String,
    /// When it becomes available.
    pub available_at: String,
    /// When it lapses, if it does.
    pub expires_at: Option<String>,
    /// Still pending.
    pub pending: i64,
    /// To spend.
    pub available: i64,
    /// Set aside.
    pub held: i64,
}

/// A tier.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct TierView {
    /// The level's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Until when it is held; absent for the lowest level.
    pub until: Option<String>,
    /// The next level, if there is one.
    pub next: Option<NextTierView>,
}

/// The level above.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct NextTierView {
    /// The level's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is missing to it, in its unit.
    #[schema(value_type = f64)]
    pub missing: Json,
    /// What it takes, in its unit.
    #[schema(value_type = f64)]
    pub needed: Json,
    /// `points`, or where levels go by `spend` the currency.
    #[schema(example = "points")]
    pub unit: String,
}

/// Membership of a segment.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct SegmentView {
    /// The segment's id.
    pub id: String,
    /// Why: the condition with the customer's values.
    pub reason: String,
}

/// What models say of a customer; each part is absent until a model has spoken.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ScoresView {
    /// What they will be worth, and whether they will come again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueView>,
    /// The group of customers they shop like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterView>,
}

/// What a customer will be worth, and whether they will come again.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ValueView {
    /// Expected to be spent in the next twelve months, in the programme's currency.
    #[schema(value_type = f64)]
    pub clv_12m: Json,
    /// In four of five cases it will lie between the first...
    #[schema(value_type = Option<f64>)]
    pub clv_12m_low: Json,
    /// ...and the second; null when the model that said it is no longer in force.
    #[schema(value_type = Option<f64>)]
    pub clv_12m_high: Json,
    /// The programme's currency.
    #[schema(example = "USD")]
    pub currency: String,
    /// The chance that they are still a customer, from 0 to 1.
    #[schema(value_type = f64)]
    pub p_alive: Json,
    /// The chance that they order nothing within 90 days, from 0 to 1.
    #[schema(value_type = f64)]
    pub churn_risk: Json,
    /// By then the next order has come with a chance of one half; absent when none is more likely.
    pub next_purchase: Option<String>,
    /// Version of the model.
    pub model: u32,
    /// The instant it holds for.
    pub as_of: String,
    /// What decided it.
    pub reason: String,
}

/// The group of customers a customer shops like.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ClusterView {
    /// Its name.
    #[schema(example = "recent, frequent")]
    pub name: String,
    /// Version of the model.
    pub model: u32,
    /// The instant it holds for.
    pub as_of: String,
    /// The group that comes next; absent when the model that said it is no longer in force.
    pub next: Option<String>,
    /// What speaks for the group against the next one, the strongest first.
    pub because: Vec<PartView>,
}

/// One feature's part in the choice of a group.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PartView {
    /// The feature, in words.
    #[schema(example = "days since the last order")]
    pub feature: String,
    /// The customer's value.
    pub value: f64,
    /// Its share of what speaks for the group, in per cent; below 0 speaks for the next one.
    pub weight: f64,
}

/// One entry of a customer's timeline.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct TimelineEntry {
    /// The journal entry.
    pub seq: u64,
    /// When it happened.
    pub at: String,
    /// When it was written.
    pub recorded_at: String,
    /// `event`, `command` or `timer`.
    pub kind: String,
    /// The event's, command's or timer's name: `hold_lapse`, `activate`, ...
    pub name: String,
    /// The sender's message id, for events.
    pub message_id: Option<String>,
    /// What followed.
    pub facts: Vec<FactView>,
}

/// One posting with the chain of its reasons.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct LedgerEntry {
    /// The journal entry.
    pub seq: u64,
    /// When it was booked for.
    pub at: String,
    /// `points`, `stock:<reward>` or `impact:<unit>`.
    pub unit: String,
    /// The account it came from.
    pub from: String,
    /// The account it went to.
    pub to: String,
    /// How much.
    pub amount: i64,
    /// The lot, for points.
    pub lot: Option<String>,
    /// Why, in one word.
    pub cause: String,
    /// The rule behind it, if one granted it: an earning rule's id, `milestone:<id>`, `benefit:<id>`, `adjustment`.
    pub rule: Option<String>,
    /// The programme version.
    pub version: Option<u32>,
    /// From the immediate reason to the first: sentences.
    pub reasons: Vec<String>,
}

/// What became of one message.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ReceiptView {
    /// The sender's message id.
    pub message_id: String,
    /// Where it came from.
    pub source: String,
    /// `accepted` or `rejected`.
    #[schema(example = "accepted")]
    pub status: String,
    /// Why it was rejected: a stable code.
    pub code: Option<String>,
    /// The field at fault.
    pub field: Option<String>,
    /// What is wrong with it and what would mend it.
    pub reason: Option<String>,
    /// The journal entry.
    pub seq: Option<u64>,
    /// The customer.
    pub customer: Option<String>,
    /// The event's name.
    pub event: Option<String>,
    /// When it happened.
    pub at: Option<String>,
    /// When it reached us.
    pub received_at: String,
    /// The rules that matched.
    pub rules: Vec<String>,
    /// What followed.
    pub facts: Vec<FactView>,
    /// How often the same message has come again, a duplicate that changed nothing: since the server started, for the
    /// latest 65,536 messages that have.
    pub repeated: u32,
    /// Messages that came under this id after it was accepted and say something else: set aside and
    /// never counted. The latest 20, the latest first.
    pub conflicts: Vec<ConflictView>,
}

/// A message that was set aside because another one had its id.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ConflictView {
    /// The journal entry that keeps it.
    pub seq: u64,
    /// When it reached us.
    pub received_at: String,
    /// Why it was set aside: `conflict`, or what else is wrong with it.
    #[schema(example = "conflict")]
    pub code: String,
    /// The same in words, with what would mend it.
    pub reason: String,
}
