//! The programme document as people write it: the one home of its shape.
//!
//! The JSON Schema for editors and the check of shapes are both made from these types, so a key
//! exists here or nowhere. What texts mean (`1 per 1.00`, an expression) is settled by the compiler.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::time::LeapDay;

/// A loyalty programme.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a programme")]
pub struct Source {
    /// The version of this format: 1.
    #[schemars(range(min = 1, max = 1), example = 1)]
    pub perennial: u32,
    /// The programme's id, for addresses and commands.
    pub id: Id,
    /// The programme's name, for people.
    #[schemars(length(min = 1, max = 200), example = "Corner Coffee")]
    pub name: String,
    /// The currency that orders earn in.
    pub currency: Code,
    /// What one unit of other currencies is in `currency`: orders in those earn too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, Positive>,
    /// The zone of the programme's calendar: days, months and years begin there.
    pub time_zone: ZoneName,
    /// What may be known about a customer, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traits: BTreeMap<String, Trait>,
    /// When birthdays are kept.
    #[serde(default)]
    pub birthday: Birthday,
    /// How a customer joins besides by command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// Who may join while the programme is tried out; everybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot: Option<Pilot>,
    /// How points live.
    #[serde(default)]
    pub wallets: Wallets,
    /// What earns points.
    #[serde(default)]
    pub earn: Rows<EarnRule>,
    /// How several `multiply` rules work together.
    #[serde(default)]
    pub bonuses: Bonuses,
    /// Levels that members reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
    /// What levels bring, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub benefits: BTreeMap<String, Benefit>,
    /// What points can buy.
    #[serde(default)]
    pub rewards: Rows<Reward>,
    /// Marks on the way, with what they give.
    #[serde(default)]
    pub milestones: Rows<Milestone>,
    /// Values kept current for every customer, by name; expressions use the name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, Feature>,
    /// Named yes-or-no questions about a customer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, Segment>,
    /// What is learnt from history, and how often.
    #[serde(default)]
    pub models: Models,
}

/// A declared trait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a trait like { type: email, identifies: true }")]
pub struct Trait {
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: TraitKind,
    /// Whether it recognises the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifies: Option<Identifies>,
}

/// The type of a trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a type")]
pub enum TraitKind {
    /// Any text.
    Text,
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// A number.
    Number,
    /// Yes or no.
    Bool,
    /// A calendar date.
    Date,
    /// A list of texts.
    List,
}

/// When birthdays are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a policy like { leap: feb28 }")]
pub struct Birthday {
    /// The day that stands for 29 February in a year without one.
    pub leap: LeapDay,
}

/// Whether a trait recognises the customer, and as what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Identifies {
    /// `true`: as the e-mail or phone that it is.
    ByType(bool),
    /// `loyalty`, or the name of another system whose ids these are.
    As(String),
}

/// How a customer joins besides by command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Join {
    /// `first_order` or `first_identify`.
    By(JoinBy),
    /// Events that mean joining.
    On(JoinOn),
}

/// A moment that means joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a moment")]
pub enum JoinBy {
    /// The first order.
    FirstOrder,
    /// The first identify call.
    FirstIdentify,
}

/// Events that mean joining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "events like { on: [Loyalty Joined] }")]
pub struct JoinOn {
    /// Names of events; `first_order` and `first_identify` may stand among them.
    pub on: Rows<EventName>,
}

/// Who may join while the programme is tried out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "{ share: 10%, salt: spring } or { segment: insiders }")]
pub struct Pilot {
    /// A share of all customers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Any word; the same word keeps those already in when the share grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// The customers in a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

/// The wallets of a member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "{ points: ... }")]
pub struct Wallets {
    /// The points.
    pub points: Points,
}

/// How points live.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "rules of points like { pending: P30D }")]
pub struct Points {
    /// How long points of an order wait before they can be spent: the return window. None when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Length>,
    /// When points lapse; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expires>,
    /// Which points are spent first.
    pub spend_first: SpendFirst,
    /// How points of an order are rounded.
    pub rounding: Rounding,
    /// What a refund does.
    pub refunds: Refunds,
    /// What taking a redemption back does.
    pub undo: Undo,
    /// What one point costs the shop, for the books, as `0.01 USD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
}

/// When points lapse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a validity like { after: P12M }")]
pub struct Expires {
    /// How long points are good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Length>,
    /// From when that is counted.
    pub from: ExpiryFrom,
    /// How long before a reminder is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remind: Option<Length>,
    /// Instead of `after`: all points lapse so long after the member last earned or spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_inactivity: Option<Length>,
    /// Whether points earned before there was an expiry keep a whole `after` from the day it began.
    pub grace_existing: Flag<true>,
}

/// From when a validity is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a moment")]
pub enum ExpiryFrom {
    /// When the points became available.
    #[default]
    Available,
    /// When they were earned.
    Earned,
}

/// Which points are spent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "an order of spending")]
pub enum SpendFirst {
    /// Those that lapse first, then the older.
    #[default]
    EarliestExpiry,
}

/// How points are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a rounding")]
pub enum Rounding {
    /// Down, once per order.
    #[default]
    Down,
}

/// What a refund does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a policy like { policy: allow_negative }")]
pub struct Refunds {
    /// What happens when more must be taken back than the member has.
    pub policy: RefundPolicy,
}

/// What happens when more must be taken back than the member has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a policy")]
pub enum RefundPolicy {
    /// The balance goes below zero, and later points fill the hole first.
    #[default]
    AllowNegative,
    /// The balance stops at zero; the shop bears the rest.
    WithinBalance,
}

/// What taking a redemption back does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a policy like { restore: original_dates }")]
pub struct Undo {
    /// What becomes of points that should have lapsed meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
}

/// One way to earn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "an earning rule with id, on and points or multiply")]
pub struct EarnRule {
    /// The rule's id.
    pub id: Id,
    /// The event that earns.
    pub on: EventName,
    /// Only when this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expression>,
    /// How many: `1 per 1.00`, or a whole number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<PointsGiven>,
    /// Instead of `points`: the order's other points times this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply: Option<Amount>,
    /// With `multiply`: only on the lines for which this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Expression>,
    /// `required`: a person must approve first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// A second submission with the same value does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_by: Option<Expression>,
    /// At most so often: `1 per P30D`, `2 per month`, `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// What an earning rule gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PointsGiven {
    /// So many, each time.
    Fixed(#[schemars(range(min = 1, max = 1_000_000_000))] i64),
    /// So many per so much money.
    Rate(Rate),
}

/// Whether a person must approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a review")]
pub enum Review {
    /// A reviewer must approve.
    Required,
}

/// At most so often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Limit {
    /// So often, ever.
    Ever(#[schemars(range(min = 1))] u32),
    /// So often in a period.
    Per(LimitText),
}

/// How several `multiply` rules work together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a policy like { combine: add }")]
pub struct Bonuses {
    /// What two bonuses on the same line give together.
    pub combine: Combine,
}

/// What two bonuses on the same line give together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a policy")]
pub enum Combine {
    /// The extras add up: twice and once and a half give two and a half times.
    #[default]
    Add,
    /// The factors multiply: twice and once and a half give three times.
    Multiply,
}

/// Levels and how they are reached and lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "tiers with by and levels")]
pub struct Tiers {
    /// What counts.
    pub by: TierBy,
    /// In which period it is counted.
    #[serde(default)]
    pub period: TierPeriod,
    /// How long a reached level is kept.
    #[serde(default)]
    pub kept: TierKept,
    /// What the yearly review may take away.
    #[serde(default)]
    pub drop: Drop,
    /// What happens when the order that reached a level is refunded.
    #[serde(default)]
    pub on_refund: OnRefund,
    /// From when a new level counts.
    #[serde(default)]
    pub lift: TierLift,
    /// The levels, from the lowest, which starts at 0.
    #[schemars(length(min = 1, max = 20))]
    pub levels: Rows<Level>,
}

/// What counts for a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "a measure")]
pub enum TierBy {
    /// Points earned.
    #[serde(rename = "points.earned")]
    PointsEarned,
    /// Money spent on goods.
    #[serde(rename = "spend")]
    Spend,
}

/// In which period a tier is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a period")]
pub enum TierPeriod {
    /// From 1 January to 31 December in the programme's zone.
    #[default]
    CalendarYear,
}

/// How long a tier is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a length of time")]
pub enum TierKept {
    /// To the end of the year after.
    #[default]
    UntilEndOfNextYear,
}

/// What the yearly review may take away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a policy")]
pub enum Drop {
    /// At most one level.
    #[default]
    OneLevel,
    /// Down to what last year earned.
    ToEarned,
}

/// What happens when the order that reached a level is refunded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a policy")]
pub enum OnRefund {
    /// The level follows at once while that order's points are pending, else at the review.
    #[default]
    IfReachingOrderPending,
    /// The level follows at the yearly review.
    AtReview,
    /// The level follows at once.
    AtOnce,
}

/// From when a new level counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a moment")]
pub enum TierLift {
    /// From the next order on; the lifting order earns at the old level.
    #[default]
    NextOrder,
}

/// One level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a level like { id: silver, from: 500 }")]
pub struct Level {
    /// The level's id.
    pub id: Id,
    /// From how many points, or how much money.
    pub from: Amount,
    /// What it brings besides what the lower levels bring: ids of `benefits`.
    #[serde(default)]
    pub benefits: Rows<String>,
}

/// What a level brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Benefit {
    /// What the shop itself provides, in words.
    Promise(#[schemars(length(min = 1, max = 200))] String),
    /// What Perennial grants when an event happens.
    Granted(GrantedBenefit),
}

/// What Perennial grants when an event happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a benefit with on and grant")]
pub struct GrantedBenefit {
    /// Its name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The event that grants it.
    pub on: EventName,
    /// Only when this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expression>,
    /// What is granted.
    pub grant: BenefitGrant,
}

/// What a benefit grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a grant like { impact: { trees: 1 } }")]
pub struct BenefitGrant {
    /// Impact by unit: trees, `waste_kg`.
    pub impact: BTreeMap<String, Positive>,
}

/// What points can buy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a reward like { id: espresso, name: Espresso, points: 12 }")]
pub struct Reward {
    /// The reward's id.
    pub id: Id,
    /// Its name, for people.
    #[schemars(length(min = 1, max = 200), example = "An espresso on the house")]
    pub name: String,
    /// Its price.
    #[schemars(range(min = 1, max = 1_000_000_000), example = 12)]
    pub points: i64,
    /// How many pieces there are; unlimited when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub stock: Option<i64>,
    /// At most so many per member, ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub per_member: Option<u32>,
    /// The lowest level that may buy it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// A mark on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a milestone with id, when and grant")]
pub struct Milestone {
    /// The milestone's id.
    pub id: Id,
    /// The mark.
    pub when: Expression,
    /// What it gives.
    pub grant: MilestoneGrant,
}

/// What a milestone gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a grant like { badge: regular, points: 100 }")]
pub struct MilestoneGrant {
    /// A badge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge: Option<Id>,
    /// Points.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub points: Option<i64>,
}

/// A value kept current for every customer: exactly one of count, sum, max, min, distinct, first, last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a feature like { count: Order Completed, within: P30D }")]
pub struct Feature {
    /// How many events of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<EventName>,
    /// The sum of a number over the events of `on`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<Expression>,
    /// The largest number over the events of `on`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Expression>,
    /// The smallest number over the events of `on`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Expression>,
    /// How many different values the events of `on` have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<Expression>,
    /// When the first event of this name happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<EventName>,
    /// When the last event of this name happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<EventName>,
    /// The event, for sum, max, min and distinct.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<EventName>,
    /// Only the events for which this holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Expression>,
    /// Only the events of so long: `P30D`. Exact, so no months or years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Length>,
}

/// A named yes-or-no question about a customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Segment {
    /// Those for whom this holds.
    When(Expression),
    /// The best share by a number.
    Top(Top),
}

/// The best share of all customers by a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a ranking like { top: 5%, by: spend, ranked: daily }")]
pub struct Top {
    /// The share.
    pub top: Share,
    /// By which number.
    pub by: Expression,
    /// How often customers are ranked.
    #[serde(default)]
    pub ranked: Ranked,
}

/// How often customers are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a rhythm")]
pub enum Ranked {
    /// At each midnight of the programme's zone.
    #[default]
    Daily,
}

/// What is learnt from history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "models like { value: { train: weekly } }")]
pub struct Models {
    /// What each customer will be worth and whether they will come again: gives `clv_12m`, `p_alive`,
    /// `churn_risk` and `next_purchase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Training>,
    /// Groups of customers who shop alike: gives `cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Training>,
    /// What goes with what: answers `/v1/recommendations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommend: Option<Training>,
}

/// How a model is kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a training like { train: weekly }")]
pub struct Training {
    /// How often it is trained anew.
    pub train: Rhythm,
}

/// How often a model is trained anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a rhythm")]
pub enum Rhythm {
    /// Every 24 hours.
    Daily,
    /// Every 7 days.
    Weekly,
    /// Every 30 days.
    Monthly,
    /// Only when somebody asks for it.
    OnRequest,
}

/// A list whose items may be set aside while the rest is still checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rows<T>(pub Vec<Option<T>>);

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Rows<T> {
    /// The items with their places in the document.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().enumerate().filter_map(|(at, item)| item.as_ref().map(|item| (at, item)))
    }
}

impl<T: JsonSchema> JsonSchema for Rows<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// Yes or no, with what holds when nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flag<const DEFAULT: bool>(pub bool);

impl<const DEFAULT: bool> Default for Flag<DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const DEFAULT: bool> JsonSchema for Flag<DEFAULT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Flag".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        bool::json_schema(generator)
    }
}

/// A number, exact as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(#[serde(with = "crate::value::decimal")] pub Decimal);

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "a number", "type": "number", "minimum": 0, "maximum": 1_000_000_000 })
    }
}

/// A number above 0, exact as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positive(#[serde(with = "crate::value::decimal")] pub Decimal);

impl JsonSchema for Positive {
    fn schema_name() -> Cow<'static, str> {
        "Positive".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "a number", "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000_000 })
    }
}

/// Declares a text with its own description, pattern and examples in the schema.
macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident: $title:literal, $pattern:literal, $($example:literal),+;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "title": $title,
                    "type": "string",
                    "pattern": $pattern,
                    "maxLength": 2000,
                    "examples": [$($example),+],
                })
            }
        }
    )+};
}

texts! {
    /// An id: lower-case letters, digits, `-` and `_`.
    Id: "an id of lower-case letters, digits, - and _", "^[a-z0-9][a-z0-9_-]{0,63}$", "coffee", "water-bottle";
    /// A currency code.
    Code: "a currency code of three letters", "^[A-Z]{3}$", "EUR", "USD";
    /// A time zone.
    ZoneName: "a time zone", "^[A-Za-z][A-Za-z0-9_+/-]*$", "Europe/Paris", "America/Denver";
    /// The name of an event.
    EventName: "the name of an event", "^.{1,100}$", "Order Completed";
    /// A duration.
    Length: "a duration", "^P([0-9]+Y)?([0-9]+M)?([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$", "P30D", "P12M";
    /// An expression.
    Expression: "an expression", "\\S", "order.eligible > 100.00", "orders >= 2";
    /// Points per money.
    Rate: "a rate", "^ *[0-9.]+(e[0-9]+)? +per +[0-9.]+(e[0-9]+)?( +[A-Za-z]{3})? *$", "1 per 1.00", "2 per 1.00 EUR";
    /// An amount of money.
    Money: "an amount of money", "^ *[0-9.]+ +[A-Za-z]{3} *$", "0.01 USD";
    /// A share.
    Share: "a share", "^ *0*(100(\\.0*)?|[0-9]{0,2}(\\.[0-9]*)?) *%$", "5%", "0.5%";
    /// How often in a period.
    LimitText: "a limit", "^ *0*[1-9][0-9]* +per +\\S+ *$", "1 per P30D", "2 per month", "1 per day";
    /// What becomes of points that should have lapsed.
    Restore: "'original_dates', or a grace", "^(original_dates|grace +P\\S+)$", "original_dates", "grace P30D";
}
