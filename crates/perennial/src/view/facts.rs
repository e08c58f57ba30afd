//! Facts as the API shows them, in the words of the ledger.
//!
//! Promise: what is one thing has one form here and in the other views: accounts, causes and units as in
//! a ledger entry, lots by the ledger's name, money in its currency's own unit with the currency beside
//! it, and null for what never ends. A fact that is new must say here how it is shown.
//! Absent on purpose: the journal's own form, which `perennial journal` prints as it is written.

use std::fmt::Debug;

use perennial_core::fact::{Booking, Fact, LotOpened, Posting, Return, TierChange, Unit};
use perennial_core::id::LotId;
use perennial_core::input::Timer;
use perennial_core::money::Currency;
use perennial_core::score::{Score, Scored};
use perennial_core::time::Timestamp;
use perennial_core::value::Value;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use utoipa::ToSchema;

/// One thing that followed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct FactView {
    /// What sort: `posted`, `tiered`, `redeemed`, ...
    #[schema(example = "posted")]
    pub kind: String,
    /// The fact itself. Accounts, causes, units and lots are named as in the ledger; money is in its currency's
    /// own unit, with `currency` beside it.
    #[schema(example = json!({"unit": "points", "from": "issued", "to": "pending", "amount": 14,
        "lot": "cus_8c1d4f1f0be3a94a5bd0c7a4a1b2c3d4.1", "cause": "earn"}))]
    pub details: Json,
}

impl FactView {
    /// A fact whose money is of this currency; money of none is not shown.
    pub fn of(fact: &Fact, currency: Option<Currency>) -> Self {
        let (kind, plain) = named(fact);
        Self { kind, details: details(fact, plain, &Money(currency)) }
    }
}

/// The fact's name, and its own serialised form.
fn named(fact: &Fact) -> (String, Json) {
    match plain(fact) {
        Json::String(name) => (snake(&name), Json::Null),
        Json::Object(map) => map.into_iter().next().map(|(name, inner)| (snake(&name), inner)).unwrap_or_default(),
        _ => Default::default(),
    }
}

fn details(fact: &Fact, mut plain: Json, money: &Money) -> Json {
    match fact {
        Fact::Posted(posting) => posted(posting),
        Fact::LotOpened(born) => lot_opened(born),
        Fact::LotDated { lot, available_at, expires_at } => {
            json!({ "lot": lot.to_string(), "available_at": available_at, "expires_at": until(*expires_at) })
        }
        Fact::Booked(booking) => booked(booking, plain, money),
        Fact::Returned(back) => returned(back, money),
        Fact::Qualified { year, points, spend } => {
            json!({ "year": year, "points": points, "spend": money.of(*spend), "currency": money.0 })
        }
        Fact::Tiered(change) => tiered(change),
        Fact::Reached { firm_at, lot, .. } => {
            plain["firm_at"] = json!(until(*firm_at));
            plain["lot"] = json!(lot.map(|lot| lot.to_string()));
            plain
        }
        Fact::Paid { lots, .. } | Fact::PaidByHold { lots, .. } | Fact::Held { lots, .. } => with_lots(plain, lots),
        Fact::BorneNoLonger { used, points } => json!({ "used": used.to_string(), "points": points }),
        Fact::Redeemed(bought) => with_lots(plain, &bought.lots),
        Fact::Submitted { activity, rule, unique } => {
            json!({ "activity": hex(activity), "rule": rule, "unique": unique.as_ref().map(hex) })
        }
        Fact::Reviewed { activity, rule, approved } => {
            json!({ "activity": hex(activity), "rule": rule, "approved": approved })
        }
        // The steps are the side's timeline; here it is enough who it is.
        Fact::Parted(side) => json!({ "roots": side.roots }),
        Fact::SetAside { again } => json!({ "again": again.as_ref().map(timer) }),
        Fact::Scored(scored) => score(scored, money),
        Fact::Created
        | Fact::Linked(_)
        | Fact::Unlinked(_)
        | Fact::Merged { .. }
        | Fact::Unmerged { .. }
        | Fact::Enrolled { .. }
        | Fact::Claimed { .. }
        | Fact::Parked { .. }
        | Fact::MissedAll { .. }
        | Fact::Missed { .. }
        | Fact::TakenBack { .. }
        | Fact::Benefited { .. }
        | Fact::Undone { .. }
        | Fact::HoldEnded { .. }
        | Fact::Queued { .. }
        | Fact::Refused(_)
        | Fact::Noted(_)
        | Fact::Recalled { .. }
        | Fact::RedemptionRecalled { .. }
        | Fact::Erased { .. }
        | Fact::Reread { .. }
        | Fact::Explained { .. }
        | Fact::Fulfilled { .. } => plain,
    }
}

/// Minor units of one currency, shown as other views show money.
struct Money(Option<Currency>);

impl Money {
    fn of(&self, minor: i64) -> Json {
        self.0.map_or(Json::Null, |currency| plain(&Value::Number(currency.major(minor))))
    }
}

fn posted(posting: &Posting) -> Json {
    json!({
        "unit": unit(&posting.unit),
        "from": word(posting.from),
        "to": word(posting.to),
        "amount": posting.amount,
        "lot": posting.lot.map(|lot| lot.to_string()),
        "cause": word(posting.cause),
    })
}

/// What a posting moves, in a word.
pub(crate) fn unit(unit: &Unit) -> String {
    match unit {
        Unit::Points => "points".into(),
        Unit::Stock(reward) => format!("stock:{reward}"),
        Unit::Impact(unit) => format!("impact:{unit}"),
    }
}

/// A variant of a closed list that carries nothing: an account, a cause, a reason, what a timer is for.
pub(crate) fn word(variant: impl Debug) -> String {
    snake(&format!("{variant:?}"))
}

fn lot_opened(born: &LotOpened) -> Json {
    json!({
        "lot": born.lot.to_string(),
        "order": born.order,
        "earned_at": born.earned_at,
        "available_at": born.available_at,
        "expires_at": until(born.expires_at),
        "rule": born.rule,
        "version": born.version,
    })
}

fn booked(booking: &Booking, mut plain: Json, money: &Money) -> Json {
    let lines = booking.lines.iter().map(|line| {
        let impact = line.impact.iter().map(|(unit, n)| (unit.to_string(), thousandths(*n).into()));
        let impact: Map<String, Json> = impact.collect();
        json!({ "net": money.of(line.net), "paid": money.of(line.paid), "tags": line.tags, "impact": impact })
    });
    plain["lines"] = lines.collect();
    plain["eligible"] = money.of(booking.eligible);
    plain["currency"] = json!(money.0);
    plain
}

fn returned(back: &Return, money: &Money) -> Json {
    let lines = back
        .lines
        .iter()
        .map(|line| json!({ "pieces": plain(&Value::Number(line.pieces.into())), "net": money.of(line.net), "paid": money.of(line.paid) }));
    json!({
        "order": back.order,
        "refund": back.refund.as_ref().map(hex),
        "lines": lines.collect::<Json>(),
        "clamped": back.clamped,
        "currency": money.0,
    })
}

fn tiered(change: &TierChange) -> Json {
    json!({
        "level": change.level,
        "tier": change.tier,
        "until": until(change.until),
        "reason": word(change.reason),
        "order": change.order,
    })
}

/// The same names as in a customer's scores.
fn score(scored: &Scored, money: &Money) -> Json {
    let Scored { version, basis, score } = scored;
    let millionths = |n: u32| plain(&Value::Number(Decimal::new(n.into(), 6).normalize()));
    let (kind, mut said) = match score {
        Score::Value { clv_12m, p_alive, churn_risk, next_purchase } => (
            "value",
            json!({
                "clv_12m": money.of(*clv_12m),
                "currency": money.0,
                "p_alive": millionths(*p_alive),
                "churn_risk": millionths(*churn_risk),
                "next_purchase": next_purchase,
            }),
        ),
        Score::Cluster { name } => ("cluster", json!({ "name": (!name.is_empty()).then_some(name) })),
    };
    said["model"] = json!(version);
    said["as_of"] = json!(basis.at);
    json!({
        kind: said,
        "basis": {
            "orders": basis.orders,
            "first": basis.first,
            "last": basis.last,
            "spend": money.of(basis.spend),
            "currency": money.0,
        },
    })
}

fn timer(timer: &Timer) -> Json {
    json!({ "at": timer.at, "kind": word(timer.kind), "id": timer.id, "owner": timer.owner })
}

fn with_lots(mut plain: Json, lots: &[(LotId, i64)]) -> Json {
    plain["lots"] = lots.iter().map(|(lot, points)| json!({ "lot": lot.to_string(), "points": points })).collect();
    plain
}

/// Thousandths as a decimal: grams as kilograms.
pub(crate) fn thousandths(n: i64) -> String {
    Decimal::new(n, 3).normalize().to_string()
}

/// An end; none when it never comes.
pub(crate) fn until(at: Timestamp) -> Option<String> {
    (at < Timestamp::NEVER).then(|| at.to_string())
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn plain(value: &impl Serialize) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}

/// `LotOpened` becomes `lot_opened`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for (i, ch) in name.chars().enumerate() {
        if ch.is_ascii_uppercase() && i > 0 {
            snake.push('_');
        }
        snake.push(ch.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use perennial_core::fact::{Account, BookedLine, Cause, Redemption, TierReason};
    use perennial_core::id::{CustomerId, OrderRef};
    use perennial_core::score::Basis;

    use super::*;

    fn lot() -> LotId {
        LotId { owner: CustomerId([7; 16]), number: 2 }
    }

    fn details_of(fact: &Fact) -> Json {
        FactView::of(fact, Some("USD".parse().unwrap())).details
    }

    #[test]
    fn facts_are_shown_under_their_names() {
        let fact = FactView::of(&Fact::Enrolled { by: "command".into() }, None);
        assert_eq!(fact, FactView { kind: "enrolled".into(), details: json!({"by": "command"}) });
        assert_eq!(FactView::of(&Fact::Created, None), FactView { kind: "created".into(), details: Json::Null });
        assert_eq!(FactView::of(&Fact::SetAside { again: None }, None).kind, "set_aside");
    }

    #[test]
    fn a_posting_has_the_words_of_the_ledger() {
        let mut posting = Posting {
            unit: Unit::Points,
            from: Account::Issued,
            to: Account::Available,
            amount: 14,
            lot: Some(lot()),
            cause: Cause::Earn,
        };
        let name = lot().to_string();
        assert_eq!(
            details_of(&Fact::Posted(posting.clone())),
            json!({"unit": "points", "from": "issued", "to": "available", "amount": 14, "lot": name, "cause": "earn"})
        );
        posting.unit = Unit::Stock("mug".into());
        assert_eq!(details_of(&Fact::Posted(posting))["unit"], "stock:mug");
    }

    #[test]
    fn money_is_in_its_currencys_own_unit_and_names_it() {
        let line = BookedLine { net: 1480, paid: 20, ..BookedLine::default() };
        let booking = Booking {
            order: OrderRef([1; 16]),
            version: 1,
            eligible: 1480,
            earns: true,
            lines: vec![BookedLine { impact: [("waste_kg".into(), 400)].into(), ..line }],
            recalled: Vec::new(),
            paid_points: 0,
            rules: ["purchase".into()].into(),
        };
        let booked = details_of(&Fact::Booked(Box::new(booking)));
        assert_eq!((&booked["eligible"], &booked["currency"]), (&json!(14.8), &json!("USD")));
        assert_eq!(booked["lines"][0], json!({"net": 14.8, "paid": 0.2, "tags": [], "impact": {"waste_kg": "0.4"}}));
        let spent = Fact::Qualified { year: 2026, points: 14, spend: 1480 };
        assert_eq!(details_of(&spent), json!({"year": 2026, "points": 14, "spend": 14.8, "currency": "USD"}));
        let yen = FactView::of(&spent, Some("JPY".parse().unwrap()));
        assert_eq!(yen.details["spend"], 1480);
        assert_eq!(FactView::of(&spent, None).details["spend"], Json::Null);
    }

    #[test]
    fn lots_have_one_name_and_what_never_ends_has_no_end() {
        let bought =
            Redemption { key: "r1".into(), reward: "mug".into(), quantity: 1, points: 12, lots: vec![(lot(), 12)] };
        let bought = details_of(&Fact::Redeemed(bought));
        assert_eq!(bought["lots"], json!([{"lot": lot().to_string(), "points": 12}]));
        let change = TierChange {
            level: 0,
            tier: "bronze".into(),
            until: Timestamp::NEVER,
            reason: TierReason::Joined,
            order: None,
        };
        let base = details_of(&Fact::Tiered(change));
        assert_eq!((&base["until"], &base["reason"]), (&Json::Null, &json!("joined")));
    }

    #[test]
    fn a_score_reads_as_a_customers_scores_do() {
        let at = Timestamp::from_millis(0);
        let basis = Basis { at, orders: 3, first: at, last: at, spend: 4450 };
        let said = Score::Value { clv_12m: 9_990, p_alive: 830_000, churn_risk: 250_000, next_purchase: None };
        let told = details_of(&Fact::Scored(Box::new(Scored { version: 3, basis, score: said })));
        assert_eq!((&told["value"]["clv_12m"], &told["value"]["p_alive"]), (&json!(99.9), &json!(0.83)));
        assert_eq!((&told["value"]["model"], &told["basis"]["spend"]), (&json!(3), &json!(44.5)));
    }
}
