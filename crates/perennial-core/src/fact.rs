//! Facts: what followed from an input, written once and never decided again.
//!
//! A refold applies facts; it never makes them (rule 23). They carry opaque ids only, so that they
//! outlive an erasure. Which things are facts and which are views: rule 24.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{CustomerId, IdentifierHash, LotId, OrderRef, Word};
use crate::input::Timer;
use crate::quantity::Quantity;
use crate::score::Scored;
use crate::time::Timestamp;

/// What followed from one input for one customer, in the order in which it followed.
pub type Outcome = Vec<Fact>;

/// One thing that followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A profile was made; its id is the entry's customer.
    Created,
    /// An identifier now names the entry's customer.
    Linked(IdentifierHash),
    /// An identifier was left out because a limit would have broken.
    Unlinked(IdentifierHash),
    /// Another customer became part of this one.
    Merged {
        /// The customer that is no more.
        from: CustomerId,
    },
    /// A merge was taken back; `out` lives again on its own.
    Unmerged {
        /// The customer that was set free.
        out: CustomerId,
    },
    /// The customer joined the programme.
    Enrolled {
        /// How: `command`, `first_order`, `first_identify`, or the event's name.
        by: Box<str>,
    },
    /// An order was booked under a programme version.
    Booked(Box<Booking>),
    /// An order of a visitor who turned out to be a member earns after all.
    Claimed {
        /// The order.
        order: OrderRef,
        /// Earning rules that apply to it.
        rules: Arc<[Word]>,
    },
    /// Pieces or money of an order came back.
    Returned(Return),
    /// An event about an order that is not here yet waits for it.
    Parked {
        /// The order it waits for.
        order: OrderRef,
    },
    /// Points came into being as a lot; the posting that fills it follows.
    LotOpened(LotOpened),
    /// Units moved between two accounts.
    Posted(Posting),
    /// A lot's instants moved.
    LotDated {
        /// The lot.
        lot: LotId,
        /// When it becomes available.
        available_at: Timestamp,
        /// When it lapses; `NEVER` when it does not.
        expires_at: Timestamp,
    },
    /// The tier changed or its validity did.
    Tiered(TierChange),
    /// What counts for tiers in a local year moved.
    Qualified {
        /// The local year.
        year: i16,
        /// By how many points.
        points: i64,
        /// By how many minor units of eligible spending.
        spend: i64,
    },
    /// A milestone's mark was reached.
    Reached {
        /// The milestone's id.
        milestone: Box<str>,
        /// The order that reached it, if an order did.
        order: Option<OrderRef>,
        /// Until when a refund can take it back.
        firm_at: Timestamp,
        /// The lot of its points, if it gives any.
        lot: Option<LotId>,
        /// The badge given, if it gives one.
        badge: Option<Box<str>>,
    },
    /// A milestone was taken back, however often it had been reached. Only in the journals of earlier builds:
    /// [`Fact::Missed`] says which one.
    MissedAll {
        /// The milestone's id.
        milestone: Box<str>,
    },
    /// An order was paid with these points, by lot.
    Paid {
        /// The order.
        order: OrderRef,
        /// The lots used and how much of each, in the order used.
        lots: Vec<(LotId, i64)>,
    },
    /// A benefit was granted with an order or another event, or taken back with a refund.
    Benefited {
        /// The benefit.
        benefit: Word,
        /// The order, if it was one.
        order: Option<OrderRef>,
        /// Granted or taken back.
        granted: bool,
    },
    /// A reward was bought.
    Redeemed(Redemption),
    /// A redemption was undone.
    Undone {
        /// The redemption's opaque name.
        key: Box<str>,
    },
    /// Points were set aside.
    Held {
        /// The hold's opaque name.
        hold: Box<str>,
        /// When it lapses.
        until: Timestamp,
        /// The lots used and how much of each.
        lots: Vec<(LotId, i64)>,
    },
    /// A hold ended: captured, released or lapsed.
    HoldEnded {
        /// The hold's opaque name.
        hold: Box<str>,
        /// How many points were used.
        captured: i64,
    },
    /// An activity was submitted for review.
    Submitted {
        /// The submission's message id, hashed.
        activity: [u8; 16],
        /// The earning rule.
        rule: Box<str>,
        /// The value of `unique_by`, hashed.
        unique: Option<[u8; 16]>,
    },
    /// A submitted activity was decided.
    Reviewed {
        /// The submission's message id, hashed.
        activity: [u8; 16],
        /// The earning rule it was submitted for: one message may be for several.
        rule: Box<str>,
        /// Whether it was approved.
        approved: bool,
    },
    /// A message was queued.
    Queued {
        /// The template.
        template: Box<str>,
        /// The lot or other thing that it is about.
        about: Box<str>,
    },
    /// The command was refused, with this code.
    Refused(Box<str>),
    /// Why something did not follow (a receipt's note): a stable code.
    Noted(Box<str>),
    /// One side of a merge stands on its own again. Postings beside it are what its books lack for
    /// that; the customer itself is made by the steps.
    Parted(Parted),
    /// An order that had left the customer's list was fetched by its key, as it stood.
    Recalled {
        /// The order.
        order: OrderRef,
    },
    /// The person was erased; the keys of these root profiles are to be destroyed.
    Erased {
        /// The root profiles that were this customer.
        roots: Vec<CustomerId>,
    },
    /// Folding the input broke a promise of ours, so that nothing followed from it.
    SetAside {
        /// The wake-up that comes instead, when the input was one.
        again: Option<Timer>,
    },
    /// A model was asked again, because the customer's orders changed, and said this.
    Scored(Box<Scored>),
    /// What rules read of a member counts for an order as it is now, because a member claims it (rule 6).
    Reread {
        /// The order.
        order: OrderRef,
        /// All values that its rules recall, in the order of [`crate::program::Program::recalled`].
        values: Vec<crate::value::Value>,
    },
    /// The words of the refusal beside it, so that whoever asks again is told the same. They may repeat
    /// what was asked for, and are sealed with it.
    Explained {
        /// What is missing and what would help.
        message: Box<str>,
        /// Figures that help.
        details: crate::value::Properties,
    },
    /// A benefit of an order was brought, and stays.
    Fulfilled {
        /// The benefit.
        benefit: Word,
        /// The order.
        order: OrderRef,
    },
    /// A redemption that had left the customer's list was fetched by its key, as it stood.
    RedemptionRecalled {
        /// The redemption's key.
        key: Box<str>,
    },
    /// What a refund took of an order's points.
    TakenBack {
        /// The order.
        order: OrderRef,
        /// How many.
        points: i64,
    },
    /// A milestone was taken back.
    Missed {
        /// The milestone's id.
        milestone: Box<str>,
        /// The programme version that it was reached by: of two who are one, each may have it by another.
        version: u32,
        /// The order that it was reached by, or hung on.
        order: Option<OrderRef>,
    },
    /// A hold was captured for an order that had already been paid with other points. The held points pay for it now;
    /// the others come back.
    PaidByHold {
        /// The order.
        order: OrderRef,
        /// Since when the points were set aside.
        held_at: Timestamp,
        /// The lots of the hold and how much of each.
        lots: Vec<(LotId, i64)>,
    },
    /// Points that had been used before a refund came back, and covered part of what the shop had borne for it.
    BorneNoLonger {
        /// When those had been used.
        used: Timestamp,
        /// How many of them.
        points: i64,
    },
}

/// One side of a merge, as its own inputs make it without the other (rule 30).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parted {
    /// The entry of the merge: entries of this customer from there on are replaced by the steps.
    pub since: u64,
    /// Root profiles of this side, the own one first.
    pub roots: Vec<CustomerId>,
    /// Lots numbered under this customer's name by now, by either side: later ones count from here.
    pub lots: u32,
    /// What happened to this side since the merge, in order.
    pub steps: Vec<Step>,
}

/// One thing that happened to a side since a merge, decided again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub of: Happened,
    /// What followed for this side alone.
    pub facts: Outcome,
}

/// What a step goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happened {
    /// The input of this entry.
    Entry(u64),
    /// A wake-up.
    Woken(Timer),
    /// A newer programme version was followed.
    Adopted {
        /// When it was published.
        at: Timestamp,
        /// The version.
        version: u32,
    },
}

/// What an order was booked as; the order's own words are in the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// The order.
    pub order: OrderRef,
    /// The programme version it earns and is refunded by.
    pub version: u32,
    /// Minor units of the order that count for points and features.
    pub eligible: i64,
    /// Whether it earns: the customer was a member, and the currency the programme's.
    pub earns: bool,
    /// Tags and impact each line was booked with.
    pub lines: Vec<BookedLine>,
    /// What earning rules and benefits read of the customer then, in the order of the programme's
    /// [`crate::program::Program::recalled`].
    pub recalled: Vec<crate::value::Value>,
    /// The points part of the payment.
    pub paid_points: i64,
    /// Earning rules that matched and were within their limits.
    pub rules: Arc<[Word]>,
}

/// What a line was booked with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedLine {
    /// Minor units of the line that count for points.
    pub net: i64,
    /// Minor units of the line that were paid with points.
    pub paid: i64,
    /// Tags of the product then.
    pub tags: Arc<[Word]>,
    /// Impact of one piece by unit, in thousandths.
    pub impact: Arc<[(Word, i64)]>,
}

/// What came back of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// The order.
    pub order: OrderRef,
    /// The refund's natural key, hashed; none for a cancellation.
    pub refund: Option<[u8; 16]>,
    /// What came back, by line.
    pub lines: Vec<LineReturn>,
    /// Whether something could not be matched and was clamped.
    pub clamped: bool,
}

impl Return {
    /// Whether nothing came back: of an order of which nothing was left, as a rule.
    pub fn brings_nothing(&self) -> bool {
        self.lines.iter().all(|line| *line == LineReturn::default())
    }
}

/// What came back of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineReturn {
    /// Pieces.
    pub pieces: Quantity,
    /// Minor units that had counted for points.
    pub net: i64,
    /// Minor units that had been paid with points.
    pub paid: i64,
}

/// A lot's birth certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotOpened {
    /// The lot.
    pub lot: LotId,
    /// The order it belongs to.
    pub order: Option<OrderRef>,
    /// When it was earned, on its own date.
    pub earned_at: Timestamp,
    /// When it becomes available.
    pub available_at: Timestamp,
    /// When it lapses; `NEVER` when it does not.
    pub expires_at: Timestamp,
    /// The rule that granted it: an earning rule's id, `order`, `adjustment`, `milestone:<id>`.
    pub rule: Word,
    /// The programme version.
    pub version: u32,
}

/// Moves units between two accounts; nothing can be created on one side only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// What moves.
    pub unit: Unit,
    /// Where it comes from.
    pub from: Account,
    /// Where it goes.
    pub to: Account,
    /// How much: whole points, pieces, or thousandths of an impact unit. Always positive.
    pub amount: i64,
    /// The lot concerned, for points.
    pub lot: Option<LotId>,
    /// Why, in one word of the table in `docs/ledger.md`: `earn`, `refund`, `expire`, `redeem`, ...
    pub cause: Cause,
}

/// What a ledger counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unit {
    /// Points of the wallet.
    Points,
    /// Pieces of a reward.
    Stock(Box<str>),
    /// Thousandths of an impact unit such as `waste_kg`, or of a tree.
    Impact(Word),
}

/// The closed set of account kinds. Those of a lot belong to the lot of the posting, those of a
/// member to the entry's customer, those of the house to the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Account {
    /// The house: where units come from and go back to.
    Issued,
    /// Lot: earned, inside the return window.
    Pending,
    /// Lot: can be spent.
    Available,
    /// Lot: set aside for an unfinished redemption.
    Held,
    /// Lot: paid for a reward.
    Spent,
    /// Lot: lapsed.
    Expired,
    /// Lot: taken back.
    Reversed,
    /// Lot: given up at erasure.
    Forfeited,
    /// Member: owed to the house, as what has been taken back beyond the balance. From `Available` of a lot to
    /// here: what the lot paid of the debt. From here to `Reversed` of a lot: those points were taken back, so that
    /// this part is owed again.
    Arrears,
    /// House: taken back on paper and borne by the shop.
    Waived,
    /// Member: impact credited.
    Credited,
    /// House: pieces on the shelf.
    Shelf,
    /// Member: pieces received.
    Delivered,
}

/// Why units moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// An earning rule, milestone or activity granted it.
    Earn,
    /// The return window ended.
    Activate,
    /// A refund or cancellation took it back.
    Refund,
    /// The lot's validity ended.
    Expire,
    /// A reward was bought, or an order paid.
    Redeem,
    /// A redemption or payment was taken back.
    Undo,
    /// Set aside.
    Hold,
    /// Freed again.
    Release,
    /// Staff corrected it.
    Adjust,
    /// Available points filled arrears, or what the shop had borne for a refund.
    Settle,
    /// A milestone was missed again.
    Revoke,
    /// Two customers became one, or two again.
    Merge,
    /// The customer was erased.
    Erase,
}

/// A tier and how long it is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierChange {
    /// Index of the level, 0 is the lowest.
    pub level: u8,
    /// Level's id, so that a fact reads alone.
    pub tier: Box<str>,
    /// Until when; `NEVER` for the lowest level.
    pub until: Timestamp,
    /// Why.
    pub reason: TierReason,
    /// The order that reached it, when one did; where one held before goes, that one's.
    pub order: Option<OrderRef>,
}

/// Why a tier changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TierReason {
    /// Joined.
    Joined,
    /// The threshold was reached.
    Reached,
    /// The threshold of the held level was reached again.
    Kept,
    /// The period ended.
    Reviewed,
    /// The order that reached it was refunded.
    Refunded,
    /// Staff set it.
    Set,
    /// Came with a merge.
    Merged,
    /// The programme has no such level any more.
    Adopted,
    /// The level named here, held before, went with a refund; the one that is held stays.
    Undermined,
    /// Something of an order came back, and the level stays: it rests on another order now.
    Rests,
    /// The same of the level named here, which was held before.
    RestsBelow,
}

/// A bought reward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The redemption's opaque name: from the caller's key, or derived from the entry.
    pub key: Box<str>,
    /// The reward.
    pub reward: Box<str>,
    /// How many.
    pub quantity: u32,
    /// What it cost.
    pub points: i64,
    /// The lots used and how much of each, in the order used.
    pub lots: Vec<(LotId, i64)>,
}
