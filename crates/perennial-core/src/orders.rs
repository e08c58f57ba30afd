//! Orders: what was bought, what of it is left, and what it counts for.
//!
//! Promise: an order is booked once, under the programme version of its day, and every refund is
//! reckoned from the same record. Pieces and money never go below zero; surplus is clamped.
//! Absent on purpose: points. They follow from what is left, in `loyalty`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::blocks::Blocks;
use crate::event::{Line, Order, Product, Refund};
use crate::fact::{BookedLine, Booking, LineReturn, Return};
use crate::id::{LotId, OrderRef, Word};
use crate::money::{Currency, ORDER_MAX, apportion, apportioned};
use crate::packed::Packed;
use crate::quantity::Quantity;
use crate::time::Timestamp;
use crate::value::Value;

/// Orders kept in warm state; older ones leave, and are put away to be fetched by their key.
pub const ORDERS_MAX: usize = 256;
/// Orders that have not earned, among them, that later ones don't drive out.
pub const UNEARNED_MAX: usize = ORDERS_MAX / 2;
/// Lines kept of one order; the rest is gathered in the last one.
pub const LINES_MAX: usize = 500;
/// Decimal places to which lines are weighed against each other.
const FINEST: u32 = 8;
/// Refunds that one order takes: their keys are kept with it.
pub const REFUNDS_MAX: usize = 256;

/// The orders of one customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    records: Blocks<Kept>,
    /// A mark of each record's order, in the same places. In one piece, because every order asks whether it is
    /// known, and hundreds of records lie far apart.
    #[serde(skip)]
    marks: VecDeque<u32>,
    /// What stands of all orders ever.
    pub standing: Standing,
    /// Records that have left the list, until they are put away (rule 22).
    #[serde(skip)]
    left: Vec<Kept>,
}

/// A record beside what is looked through at every order.
#[derive(Clone)]
pub struct Kept {
    /// When it was placed; never, if it does not count or nothing of it stands.
    counted: Timestamp,
    form: Form,
}

/// A record of the list to look at: where it lies, or opened.
pub enum Listed<'a> {
    /// As it lies in memory.
    Lying(&'a OrderRecord),
    /// A copy of a packed one.
    Opened(Box<OrderRecord>),
}

impl Listed<'_> {
    /// The record by itself.
    pub fn into_owned(self) -> OrderRecord {
        match self {
            Self::Lying(record) => record.clone(),
            Self::Opened(record) => *record,
        }
    }
}

impl Deref for Listed<'_> {
    type Target = OrderRecord;

    fn deref(&self) -> &OrderRecord {
        match self {
            Self::Lying(record) => record,
            Self::Opened(record) => record,
        }
    }
}

/// How a record lies in memory. Hundreds that were open would take a dozen pieces each, all over it.
#[derive(Clone)]
enum Form {
    /// Until it is written for the first time: what an order earns is noted on its record step by step.
    Open(Box<OrderRecord>),
    Packed(PackedRecord),
}

impl Kept {
    fn open(record: Box<OrderRecord>) -> Self {
        Self { counted: counted(&record), form: Form::Open(record) }
    }

    fn packed(record: &OrderRecord, packed: PackedRecord) -> Self {
        Self { counted: counted(record), form: Form::Packed(packed) }
    }

    fn record(&self) -> Listed<'_> {
        match &self.form {
            Form::Open(record) => Listed::Lying(record),
            Form::Packed(packed) => Listed::Opened(Box::new(packed.open())),
        }
    }

    fn is(&self, order: OrderRef) -> bool {
        self.order() == order
    }

    fn order(&self) -> OrderRef {
        match &self.form {
            Form::Open(record) => record.order,
            Form::Packed(packed) => packed.order(),
        }
    }

    fn may_earn(&self) -> bool {
        match &self.form {
            Form::Open(record) => record.may_earn(),
            Form::Packed(packed) => packed.may_earn(),
        }
    }

    /// When it was placed, if anything of it stands.
    fn stands_at(&self) -> Option<Timestamp> {
        if self.counted < Timestamp::NEVER {
            return Some(self.counted);
        }
        let record = self.record();
        record.stands().then_some(record.at)
    }

    fn change(&mut self, change: impl FnOnce(&mut OrderRecord)) {
        match &mut self.form {
            Form::Open(record) => {
                change(record);
                self.counted = counted(record);
            }
            Form::Packed(packed) => {
                let mut record = packed.open();
                change(&mut record);
                *self = Self::packed(&record, PackedRecord::of(&record));
            }
        }
    }

    fn pack(&mut self) {
        if let Form::Open(record) = &self.form {
            self.form = Form::Packed(PackedRecord::of(record));
        }
    }

    fn into_packed(self) -> PackedRecord {
        match self.form {
            Form::Packed(packed) => packed,
            Form::Open(record) => PackedRecord::of(&record),
        }
    }
}

/// Equal records are equal however they lie in memory.
impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        match (&self.form, &other.form) {
            (Form::Packed(ours), Form::Packed(theirs)) if ours == theirs => true,
            _ => *self.record() == *other.record(),
        }
    }
}

impl Eq for Kept {}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record().fmt(f)
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.form {
            Form::Open(record) => serializer.serialize_bytes(PackedRecord::of(record).bytes()),
            Form::Packed(packed) => serializer.serialize_bytes(packed.bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(KeptVisitor)
    }
}

struct KeptVisitor;

impl Visitor<'_> for KeptVisitor {
    type Value = Kept;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a packed record of an order")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Kept, E> {
        let record = PackedRecord::decode(bytes).map_err(E::custom)?;
        Ok(Kept::packed(&record, PackedRecord::with(&record, bytes)))
    }
}

/// A record in one piece of memory, in the form in which it is written (postcard).
///
/// Invariant: it can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedRecord(
    /// Whether it may still earn, then the record, which begins with the order's name.
    Box<[u8]>,
);

/// Room that most records need, so that they are packed without moving.
const USUAL_BYTES: usize = 192;

impl PackedRecord {
    fn of(record: &OrderRecord) -> Self {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.push(record.may_earn().into());
        let bytes = postcard::to_extend(record, bytes).expect("memory takes every record");
        Self(bytes.into())
    }

    fn with(record: &OrderRecord, bytes: &[u8]) -> Self {
        Self([&[record.may_earn().into()], bytes].concat().into())
    }

    fn decode(bytes: &[u8]) -> postcard::Result<OrderRecord> {
        match postcard::take_from_bytes(bytes)? {
            (record, []) => Ok(record),
            _ => Err(postcard::Error::SerdeDeCustom),
        }
    }

    /// A record of its bytes.
    ///
    /// # Errors
    /// When they are damaged.
    pub fn read(bytes: &[u8]) -> postcard::Result<Self> {
        Ok(Self::with(&Self::decode(bytes)?, bytes))
    }

    /// Its bytes. They begin with those of the order's name.
    pub fn bytes(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// The order's name.
    pub fn order(&self) -> OrderRef {
        OrderRef(self.bytes().first_chunk().copied().unwrap_or_default())
    }

    /// The record.
    ///
    /// # Panics
    /// Never: it was packed by us, or read before.
    pub fn open(&self) -> OrderRecord {
        Self::decode(self.bytes()).expect("a packed record can be opened")
    }

    fn may_earn(&self) -> bool {
        self.0.first() == Some(&1)
    }
}

fn counted(record: &OrderRecord) -> Timestamp {
    if record.counts && record.stands() { record.at } else { Timestamp::NEVER }
}

/// What stands of all orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Orders not fully taken back.
    pub count: i64,
    /// Minor units left of them, in the programme's currency.
    pub spend: i64,
    /// Instant of the first.
    pub first: Option<Timestamp>,
    /// Instant of the last.
    pub last: Option<Timestamp>,
    /// Of those that stood when they left the list, the instants of the first and the last. Kept until none stands,
    /// though these very ones may come back and be cancelled.
    away: Option<(Timestamp, Timestamp)>,
}

impl Standing {
    /// An order that stands leaves the list.
    fn puts_away(&mut self, at: Timestamp) {
        self.away = Some(self.away.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    }
}

/// Points of one lot that paid for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidFrom {
    /// The lot.
    pub lot: LotId,
    /// How many.
    pub points: i64,
    /// When they were taken, or set aside for it.
    pub used: Timestamp,
    /// By a hold that was captured.
    pub held: bool,
}

impl PaidFrom {
    /// What was owed already when it was captured is of none, and stays owed.
    pub(crate) fn is_of_a_lot(&self) -> bool {
        self.lot.number > 0
    }
}

/// One order and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// Its opaque name.
    pub order: OrderRef,
    /// The shop's id; empty once erased.
    pub order_id: Box<str>,
    /// When it was placed.
    pub at: Timestamp,
    /// When it reached us.
    pub received_at: Timestamp,
    /// The programme version it earns and is refunded by.
    pub version: u32,
    /// Whether it earns.
    pub earns: bool,
    /// Whether it is in the programme's currency, and so counts in `spend`.
    pub counts: bool,
    /// Its currency.
    pub currency: Currency,
    /// Everything paid, in minor units.
    pub total: i64,
    /// Its lines.
    pub lines: Vec<OrderLine>,
    /// What earning rules read of the customer and the event then.
    pub recalled: Vec<Value>,
    /// Earning rules that matched then.
    pub rules: Arc<[Word]>,
    /// The lot of its points.
    pub lot: Option<LotId>,
    /// Points it was granted.
    pub points: i64,
    /// Points that refunds have taken back of them.
    pub taken: i64,
    /// Points part of the payment.
    pub paid_points: i64,
    /// When those were taken or became owed; none until then.
    pub paid_at: Option<Timestamp>,
    /// The points that were there for it; captured ones first.
    pub paid_lots: Vec<PaidFrom>,
    /// Points of the payment that came back.
    pub paid_back: i64,
    /// Of those, what was owed for it before held points paid instead.
    pub forgiven: i64,
    /// Natural keys of its refunds, hashed.
    pub refunds: Vec<[u8; 16]>,
    /// Benefits that stand.
    pub benefits: Vec<Word>,
    /// Those of them that were brought, and stay.
    pub fulfilled: Vec<Word>,
    /// Cancelled as a whole.
    pub cancelled: bool,
}

/// One line and what is left of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// The shop's product id.
    pub product_id: Box<str>,
    /// Stock keeping unit.
    pub sku: Option<Box<str>>,
    /// Variant.
    pub variant: Option<Box<str>>,
    /// Price of one piece, in minor units.
    pub price: i64,
    /// Pieces bought.
    pub quantity: Quantity,
    /// Pieces left.
    pub pieces: Quantity,
    /// Minor units that count for points, bought and left.
    pub net: i64,
    /// Left of `net`.
    pub net_left: i64,
    /// Minor units paid with points, bought and left.
    pub paid: i64,
    /// Left of `paid`.
    pub paid_left: i64,
    /// Tags it was booked with.
    pub tags: Arc<[Word]>,
    /// Impact of one piece, in thousandths.
    pub impact: Arc<[(Word, i64)]>,
    /// Category, brand and the like.
    pub about: Packed,
}

impl OrderLine {
    fn left(&self) -> i64 {
        self.net_left.saturating_add(self.paid_left) // A damaged row may say anything.
    }

    /// An amount of what is left, divided as that is: what counts for points, and what was paid with them.
    fn parts(&self, amount: i64) -> (i64, i64) {
        let parts = apportion(amount, &[self.net_left, self.paid_left]);
        (parts[0].min(self.net_left), parts[1].min(self.paid_left))
    }

    /// Whether it never cost anything.
    fn is_free(&self) -> bool {
        self.net.saturating_add(self.paid) == 0
    }

    fn matches(&self, wanted: &Line) -> bool {
        let same = |have: &Option<Box<str>>, want: &Option<Box<str>>| want.is_none() || have == want;
        let named =
            if wanted.product_id.is_empty() { wanted.sku.is_some() } else { self.product_id == wanted.product_id };
        named && same(&self.sku, &wanted.sku) && same(&self.variant, &wanted.variant)
    }
}

impl OrderRecord {
    /// Minor units left that count for points.
    pub fn net_left(&self) -> i64 {
        self.lines.iter().map(|l| l.net_left).sum()
    }

    /// Minor units left of the goods, however paid.
    pub fn left(&self) -> i64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.left()))
    }

    /// Whether an order names the goods and the money that this one was booked with.
    pub fn was_booked_as(&self, order: &Order) -> bool {
        let paid: i64 = self.lines.iter().fold(0, |sum, l| sum.saturating_add(l.net).saturating_add(l.paid));
        currency(order, self.currency) == self.currency
            && paid == eligible(order, self.currency)
            && (order.lines.len() > LINES_MAX
                || goods(self.lines.iter().map(|l| (&*l.product_id, l.quantity)))
                    == goods(order.lines.iter().map(|l| (&*l.product_id, l.quantity))))
    }

    /// Whether this record of an order was made before another one of it.
    pub fn is_earlier(&self, other: &Self) -> bool {
        self.received_at < other.received_at
    }

    /// The order as it was placed; none where nothing of it has come back.
    pub(crate) fn as_placed(&self) -> Option<Self> {
        let is_whole =
            |line: &OrderLine| (line.pieces, line.left()) == (line.quantity, line.net.saturating_add(line.paid));
        if self.lines.iter().all(is_whole) {
            return None;
        }
        let mut placed = self.clone();
        for line in &mut placed.lines {
            (line.pieces, line.net_left, line.paid_left) = (line.quantity, line.net, line.paid);
        }
        Some(placed)
    }

    /// Points of the payment that are to come back by now: in proportion to the money they stood for, and all of them
    /// with the last goods, also when they stood for none.
    fn points_due_back(&self) -> i64 {
        if !self.stands() {
            return self.paid_points;
        }
        let whole: i64 = self.lines.iter().map(|l| l.paid).sum();
        let back: i64 = self.lines.iter().map(|l| l.paid - l.paid_left).sum();
        let due = i128::from(self.paid_points) * i128::from(back) / i128::from(whole.max(1));
        i64::try_from(due).unwrap_or(0)
    }

    /// Points of the payment that were not there when they were taken, and have not come back.
    pub(crate) fn left_owing(&self) -> i64 {
        let from_lots: i64 = self.paid_lots.iter().map(|paid| paid.points).sum();
        let back = self.paid_back - self.forgiven;
        if self.paid_at.is_some() { self.paid_points - self.forgiven - from_lots.max(back) } else { 0 }
    }

    /// Points of the payment that have come back, and those that have not.
    pub(crate) fn paid_parts(&self) -> (Vec<PaidFrom>, Vec<PaidFrom>) {
        let mut back = self.paid_back - self.forgiven;
        let parts = self.paid_lots.iter().map(|from| {
            let here = from.points.min(back);
            back -= here;
            (PaidFrom { points: here, ..*from }, PaidFrom { points: from.points - here, ..*from })
        });
        let (mut came_back, mut stand): (Vec<_>, Vec<_>) = parts.unzip();
        came_back.retain(|from| from.points > 0);
        stand.retain(|from| from.points > 0);
        (came_back, stand)
    }

    /// What comes back of its payment when points of a hold pay for it instead: what is owed first, then what was taken
    /// last.
    pub(crate) fn paid_otherwise(&self, points: i64) -> (i64, Vec<PaidFrom>) {
        let owed = self.left_owing().min(points);
        let mut left = points - owed;
        let (_, stand) = self.paid_parts();
        let others = stand.iter().rev().filter(|from| !from.held).map(|from| {
            let points = from.points.min(left);
            left -= points;
            PaidFrom { points, ..*from }
        });
        (owed, others.filter(|from| from.points > 0).collect())
    }

    /// Points captured from a hold pay for it instead of others.
    pub(crate) fn pay_by_hold(&mut self, held: Vec<PaidFrom>) {
        let (_, instead) = self.paid_otherwise(held.iter().map(|from| from.points).sum());
        let (came_back, mut stand) = self.paid_parts();
        self.forgiven = self.paid_back - came_back.iter().map(|from| from.points).sum::<i64>();
        for gone in instead {
            let same = |from: &&mut PaidFrom| !from.held && (from.lot, from.used) == (gone.lot, gone.used);
            stand.iter_mut().filter(same).for_each(|from| from.points -= gone.points);
        }
        let (first, others): (Vec<_>, Vec<_>) = stand.into_iter().partition(|from| from.held);
        self.paid_lots = [came_back, first, held, others].concat();
        self.paid_lots.retain(|from| from.points > 0 && from.is_of_a_lot());
    }

    /// Whether it may earn when its visitor joins a member.
    fn may_earn(&self) -> bool {
        !self.earns && self.stands()
    }

    /// Whether anything is left.
    pub fn stands(&self) -> bool {
        !self.cancelled && (self.left() > 0 || self.lines.iter().any(|l| !l.pieces.is_zero() && l.is_free()))
    }

    /// Impact left, by unit, in thousandths.
    pub fn impact_left(&self) -> Vec<(Word, i64)> {
        // Lines of one shop have the same units, as a rule.
        let mut sums: Vec<(Word, i64)> = Vec::with_capacity(self.lines.first().map_or(0, |line| line.impact.len()));
        for line in self.lines.iter().filter(|l| !l.pieces.is_zero() && (l.left() > 0 || l.is_free())) {
            for (unit, each) in line.impact.iter() {
                let amount = line.pieces.times(*each);
                match sums.iter_mut().find(|(u, _)| u == unit) {
                    Some((_, sum)) => *sum = sum.saturating_add(amount),
                    None => sums.push((unit.clone(), amount)),
                }
            }
        }
        sums
    }
}

impl Orders {
    /// What stands of them, without the records.
    pub(crate) fn outline(&self) -> Self {
        Self { standing: self.standing, ..Self::default() }
    }

    /// About how many bytes the records take.
    pub(crate) fn weight(&self) -> usize {
        self.records.len() * (size_of::<Kept>() + USUAL_BYTES)
    }

    /// The record of an order.
    pub fn get(&self, order: OrderRef) -> Option<Listed<'_>> {
        self.records.get(self.position(order)?).map(Kept::record)
    }

    /// Whether the record of an order is here.
    pub fn has(&self, order: OrderRef) -> bool {
        self.position(order).is_some()
    }

    /// Changes the record of an order, if there is one.
    pub(crate) fn amend(&mut self, order: OrderRef, change: impl FnOnce(&mut OrderRecord)) {
        if let Some(kept) = self.position(order).and_then(|at| self.records.get_mut(at)) {
            kept.change(change);
        }
    }

    /// Where an order is, the latest looked at first: most questions are about the last one.
    fn position(&self, order: OrderRef) -> Option<usize> {
        let mark = order.mark();
        if self.marks.back() == Some(&mark) && self.records.back().is_some_and(|last| last.is(order)) {
            return Some(self.marks.len() - 1);
        }
        let (older, newer) = self.marks.as_slices();
        if !older.contains(&mark) && !newer.contains(&mark) {
            return None;
        }
        let mut marked = self.marks.iter().enumerate().rev().filter(|(_, known)| **known == mark).map(|(at, _)| at);
        marked.find(|at| self.records.get(*at).is_some_and(|kept| kept.is(order)))
    }

    /// After the records were read.
    pub(crate) fn were_read(&mut self) {
        self.marks = self.records.iter().map(|kept| kept.order().mark()).collect();
    }

    fn keep(&mut self, kept: Kept) {
        self.marks.push_back(kept.order().mark());
        self.records.push(kept);
    }

    /// All records, in the order they were booked.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Listed<'_>> {
        self.records.iter().map(Kept::record)
    }

    /// When an order was placed, and how many were booked before it: of one instant, the later one comes later.
    pub(crate) fn place(&self, order: OrderRef) -> Option<(Timestamp, usize)> {
        Some((self.get(order)?.at, self.position(order)?))
    }

    /// Their names.
    pub fn names(&self) -> BTreeSet<OrderRef> {
        self.records.iter().map(Kept::order).collect()
    }

    /// When the orders were placed that count and stand, as far as their records are here.
    pub fn counted(&self) -> impl Iterator<Item = Timestamp> {
        self.records.iter().map(|kept| kept.counted).filter(|at| *at != Timestamp::NEVER)
    }

    /// The list itself, to be written and filled.
    pub fn list(&mut self) -> &mut Blocks<Kept> {
        &mut self.records
    }

    /// Adds a record and counts it.
    pub(crate) fn push(&mut self, record: Box<OrderRecord>) {
        self.add(record);
        self.trim();
    }

    fn add(&mut self, record: Box<OrderRecord>) {
        if record.stands() {
            self.standing.count += 1;
            self.standing.first = Some(self.standing.first.map_or(record.at, |t| t.min(record.at)));
            self.standing.last = Some(self.standing.last.map_or(record.at, |t| t.max(record.at)));
        }
        if record.counts {
            self.standing.spend += record.left();
        }
        self.keep(Kept::open(record));
    }

    /// Packs what is open but the last: the customer is about to be written.
    pub fn pack(&mut self) {
        self.records.iter_to_hold().rev().skip(1).for_each(Kept::pack);
    }

    /// The oldest leave a list that is too long, those last that may still earn: only a list finds the
    /// orders of a visitor who joins a member (rule 6).
    pub(crate) fn trim(&mut self) {
        while self.records.len() > ORDERS_MAX {
            let at = self.records.iter().take(UNEARNED_MAX).position(|kept| !kept.may_earn());
            let at = at.unwrap_or(0);
            if let Some(kept) = self.records.remove(at) {
                self.marks.remove(at);
                if let Some(at) = kept.stands_at() {
                    self.standing.puts_away(at);
                }
                self.left.push(kept);
            }
        }
    }

    /// Takes out what has left the list, to be put away.
    pub fn take_left(&mut self) -> impl Iterator<Item = PackedRecord> {
        self.left.drain(..).map(Kept::into_packed)
    }

    /// A record is at hand again that was put away, for [`Self::recall`].
    pub fn fetched(&mut self, record: PackedRecord) {
        self.left.push(Kept::packed(&record.open(), record));
    }

    /// Takes a record back that had left, as it stood; it has been counted.
    pub fn recall(&mut self, order: OrderRef) {
        let Some(at) = self.left.iter().rposition(|kept| kept.is(order)) else { return };
        let kept = self.left.remove(at);
        if !self.has(order) {
            self.keep(kept);
            self.trim();
        }
    }

    /// Counts an order out that no longer stands.
    pub(crate) fn leave(&mut self, at: Timestamp) {
        self.standing.count -= 1;
        if self.standing.count == 0 {
            self.standing.away = None;
        }
        if ![self.standing.first, self.standing.last].contains(&Some(at)) {
            return;
        }
        let away = self.standing.away.into_iter().flat_map(|(first, last)| [first, last]);
        let listed = self.iter().filter(|record| record.stands()).map(|record| record.at);
        let standing: Vec<Timestamp> = listed.chain(away).collect();
        self.standing.first = standing.iter().min().copied();
        self.standing.last = standing.iter().max().copied();
    }

    /// Takes over the orders of another profile. Of one that both have, the record that was made
    /// earlier stays. The list may be too long until it is trimmed.
    pub(crate) fn unite(&mut self, other: Self) {
        let (mine, theirs) = (self.standing, other.standing);
        self.left.extend(other.left); // Something may come back of them yet.
        let mut twice = Standing::default();
        for kept in other.records {
            let record = kept.record().into_owned();
            let Some(ours) = self.position(record.order).and_then(|at| self.records.get_mut(at)) else {
                self.add(Box::new(record));
                continue;
            };
            let mut gone = record;
            if gone.is_earlier(&ours.record()) {
                ours.change(|ours| std::mem::swap(ours, &mut gone));
            }
            twice.count += i64::from(gone.stands());
            twice.spend += if gone.counts { gone.left() } else { 0 };
        }
        self.standing = Standing {
            count: mine.count + theirs.count - twice.count,
            spend: mine.spend + theirs.spend - twice.spend,
            first: mine.first.into_iter().chain(theirs.first).min(),
            last: mine.last.into_iter().chain(theirs.last).max(),
            away: mine.away,
        };
        theirs.away.into_iter().flat_map(|(first, last)| [first, last]).for_each(|at| self.standing.puts_away(at));
    }
}

/// Pieces by product.
fn goods<'a>(lines: impl Iterator<Item = (&'a str, Quantity)>) -> BTreeMap<&'a str, Quantity> {
    let mut sums: BTreeMap<_, Quantity> = BTreeMap::new();
    for (product, pieces) in lines {
        let sum = sums.entry(product).or_default();
        *sum = sum.saturating_add(pieces);
    }
    sums
}

/// The currency an order is in; [`Currency::NONE`] when its code is no currency, for a typing error is nobody's money.
pub fn currency(order: &Order, default: Currency) -> Currency {
    match order.currency.as_deref() {
        Some(code) if !default.is(code) => code.parse().unwrap_or(Currency::NONE),
        _ => default,
    }
}

/// What was paid for goods, in minor units: the subtotal; without it the revenue; without it lines
/// less discount; without lines what the total leaves after tax and shipping. Never negative, and at
/// most [`ORDER_MAX`].
pub fn eligible(order: &Order, currency: Currency) -> i64 {
    paid_for_goods(order, currency).clamp(0, ORDER_MAX)
}

fn paid_for_goods(order: &Order, currency: Currency) -> i64 {
    let minor = |amount: Option<Decimal>| amount.and_then(|a| currency.minor(a));
    if let Some(goods) = minor(order.subtotal).or_else(|| minor(order.revenue)) {
        return goods;
    }
    if order.lines.iter().any(|l| l.price.is_some()) {
        return priced(order, currency);
    }
    let or_zero = |amount| minor(amount).unwrap_or(0);
    or_zero(order.total).saturating_sub(or_zero(order.tax)).saturating_sub(or_zero(order.shipping))
}

/// What the lines cost less the discount, rounded once.
fn priced(order: &Order, currency: Currency) -> i64 {
    let discount = order.discount.unwrap_or_default();
    let whole = order.lines.iter().try_fold(0i64, |sum, line| sum.checked_add(whole_gross(line, currency)?));
    if let (Some(whole), true) = (whole, discount.scale() <= currency.exponent()) {
        return whole.saturating_sub(currency.minor(discount).unwrap_or(0));
    }
    let gross = order.lines.iter().try_fold(Decimal::ZERO, |sum, line| sum.checked_add(gross(line)));
    let goods = gross.and_then(|gross| gross.checked_sub(discount));
    goods.and_then(|goods| currency.minor(goods)).unwrap_or(ORDER_MAX)
}

/// What all pieces of a line cost, exactly: a piece may cost less than a minor unit. A voucher that is a line of
/// its own costs less than nothing.
fn gross(line: &Line) -> Decimal {
    line.price.and_then(|price| price.checked_mul(line.quantity.into())).unwrap_or_default()
}

/// The same in minor units, which nearly all prices are whole ones of; none for any other.
fn whole_gross(line: &Line, currency: Currency) -> Option<i64> {
    let Some(price) = line.price else { return Some(0) };
    if price.scale() > currency.exponent() {
        return None;
    }
    currency.minor(price)?.checked_mul(line.quantity.whole()?.into())
}

/// What lines cost in proportion to each other: in minor units, or as finely as any of them is told (up to
/// [`FINEST`]) where some cost fractions.
fn weights(lines: &[Line], currency: Currency) -> Vec<i64> {
    let whole: Option<Vec<i64>> = lines.iter().map(|line| Some(whole_gross(line, currency)?.max(0))).collect();
    whole.unwrap_or_else(|| {
        // As fine as numbers hold: a large order needs no fractions of cents.
        let most = lines.iter().map(|line| gross(line).trunc().mantissa().unsigned_abs()).max().unwrap_or(0);
        let room = 17u32.saturating_sub(most.checked_ilog10().unwrap_or(0));
        let places = lines.iter().map(|line| gross(line).normalize().scale()).max().unwrap_or(0).min(FINEST).min(room);
        let parts = Decimal::from(10u64.pow(places));
        let fine = |line| gross(line).checked_mul(parts).and_then(|amount| amount.round().to_i64());
        lines.iter().map(|line| fine(line).unwrap_or(i64::MAX).max(0)).collect()
    })
}

/// Apportions an order's eligible amount over its lines, each with the catalogue's tags and impact.
pub fn book_lines<'a>(
    order: &Order,
    currency: Currency,
    product: impl Fn(&str) -> Option<&'a Product>,
) -> (i64, Vec<BookedLine>) {
    let goods = eligible(order, currency);
    let points_part = order.paid_with_points.as_ref().and_then(|p| currency.minor(p.amount)).unwrap_or(0);
    let paid = points_part.clamp(0, goods);
    let weights = weights(&order.lines[..order.lines.len().min(LINES_MAX)], currency);
    let whole = if weights.is_empty() { vec![goods] } else { apportioned(goods, weights) };
    let by_points = if paid == 0 { Vec::new() } else { apportion(paid, &whole) };
    let lines = whole.iter().enumerate().map(|(i, whole)| {
        let known = order.lines.get(i).and_then(|l| product(&l.product_id));
        let paid = by_points.get(i).copied().unwrap_or(0);
        BookedLine {
            net: whole - paid,
            paid,
            tags: known.map(|p| p.tags.clone()).unwrap_or_default(),
            impact: known.map(|p| p.impact.clone()).unwrap_or_default(),
        }
    });
    (goods, lines.collect())
}

/// The record of a booked order; the sender's words are missing once they are erased. `at` is when it
/// was placed and when it reached us.
pub fn record(
    booking: &Booking,
    order: Option<&Order>,
    (at, received_at): (Timestamp, Timestamp),
    default: Currency,
) -> OrderRecord {
    let currency = order.map_or(default, |o| currency(o, default));
    let lines = booking.lines.iter().enumerate().map(|(i, booked)| {
        let said = order.and_then(|o| o.lines.get(i));
        let quantity = said.map_or(Quantity::ONE, |l| l.quantity);
        OrderLine {
            product_id: said.map(|l| l.product_id.clone()).unwrap_or_default(),
            sku: said.and_then(|l| l.sku.clone()),
            variant: said.and_then(|l| l.variant.clone()),
            price: said.and_then(|l| l.price).and_then(|p| currency.minor(p)).unwrap_or(0),
            quantity,
            pieces: quantity,
            net: booked.net,
            net_left: booked.net,
            paid: booked.paid,
            paid_left: booked.paid,
            tags: booked.tags.clone(),
            impact: booked.impact.clone(),
            about: said.map(|l| l.about.clone()).unwrap_or_default(),
        }
    });
    OrderRecord {
        order: booking.order,
        order_id: order.map(|o| o.order_id.clone()).unwrap_or_default(),
        at,
        received_at,
        version: booking.version,
        earns: booking.earns,
        counts: currency == default,
        currency,
        total: order.and_then(|o| o.total).and_then(|t| currency.minor(t)).unwrap_or(booking.eligible),
        lines: lines.collect(),
        recalled: booking.recalled.clone(),
        rules: booking.rules.clone(),
        lot: None,
        points: 0,
        taken: 0,
        paid_points: booking.paid_points,
        paid_at: None,
        paid_lots: Vec::new(),
        paid_back: 0,
        forgiven: 0,
        refunds: Vec::new(),
        benefits: Vec::new(),
        fulfilled: Vec::new(),
        cancelled: false,
    }
}

/// What a refund takes back of an order: pieces when it names products, else an amount of money,
/// else everything. Surplus pieces and money are clamped (rule 10).
///
/// # Errors
/// The position of the first line whose product is not on the order.
pub fn reckon_refund(record: &OrderRecord, refund: &Refund, key: [u8; 16]) -> Result<Return, usize> {
    let mut back = Return { order: record.order, refund: Some(key), lines: Vec::new(), clamped: false };
    if !refund.lines.is_empty() {
        let (lines, clamped) = pieces_back(record, &refund.lines)?;
        back.lines = lines;
        back.clamped = clamped;
        return Ok(back);
    }
    match refund.total.and_then(|t| record.currency.minor(t)) {
        Some(amount) => {
            let left = record.left();
            back.clamped = amount > left;
            back.lines = money_back(record, amount.clamp(0, left));
        }
        None => back.lines = all_back(record),
    }
    Ok(back)
}

/// Everything that is left of an order.
pub fn all_back(record: &OrderRecord) -> Vec<LineReturn> {
    record.lines.iter().map(|l| LineReturn { pieces: l.pieces, net: l.net_left, paid: l.paid_left }).collect()
}

/// Pieces take their share of what is left of their line, rounded down; the last ones take the rest.
fn pieces_back(record: &OrderRecord, wanted: &[Line]) -> Result<(Vec<LineReturn>, bool), usize> {
    let mut back = vec![LineReturn::default(); record.lines.len()];
    let mut clamped = false;
    for (position, want) in wanted.iter().enumerate() {
        if !record.lines.iter().any(|line| line.matches(want)) {
            return Err(position);
        }
        let mut pieces = want.quantity;
        for (line, taken) in record.lines.iter().zip(&mut back).filter(|(line, _)| line.matches(want)) {
            let here = pieces.min(line.pieces.saturating_sub(taken.pieces));
            taken.pieces = taken.pieces.saturating_add(here);
            pieces = pieces.saturating_sub(here);
        }
        clamped |= !pieces.is_zero();
    }
    for (line, taken) in record.lines.iter().zip(&mut back) {
        (taken.net, taken.paid) = line.parts(taken.pieces.share(line.pieces, line.left()));
    }
    Ok((back, clamped))
}

fn money_back(record: &OrderRecord, amount: i64) -> Vec<LineReturn> {
    let left: Vec<i64> = record.lines.iter().map(OrderLine::left).collect();
    let shares = apportion(amount, &left);
    let back = record.lines.iter().zip(shares).map(|(line, share)| {
        let share = share.min(line.left());
        let (net, paid) = line.parts(share);
        let pieces = if share == line.left() { line.pieces } else { Quantity::ZERO };
        LineReturn { pieces, net, paid }
    });
    back.collect()
}

/// Lowers an order by what came back.
pub(crate) fn take_back(record: &mut OrderRecord, back: &Return) {
    for (line, taken) in record.lines.iter_mut().zip(&back.lines) {
        line.pieces = line.pieces.saturating_sub(taken.pieces); // Of an erased order pieces are not known.
        line.net_left -= taken.net;
        line.paid_left -= taken.paid;
        assert!(line.net_left >= 0 && line.paid_left >= 0, "no line is refunded beyond what is left");
    }
    if let Some(key) = back.refund {
        record.refunds.push(key);
    } else {
        record.cancelled = true;
    }
    record.paid_back = record.points_due_back();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an_order(nth: u16) -> OrderRecord {
        let mut name = [1; 16];
        name[..2].copy_from_slice(&nth.to_le_bytes());
        let booking = Booking {
            order: OrderRef(name),
            version: 1,
            eligible: 0,
            earns: true,
            lines: vec![BookedLine::default(); 2],
            recalled: Vec::new(),
            paid_points: 0,
            rules: Arc::default(),
        };
        record(&booking, None, (Timestamp::EPOCH, Timestamp::EPOCH), "USD".parse().unwrap())
    }

    #[test]
    fn what_left_the_list_of_somebody_who_was_merged_can_come_back() {
        let (mut ours, mut theirs) = (Orders::default(), Orders::default());
        (0..=ORDERS_MAX).for_each(|nth| theirs.push(Box::new(an_order(u16::try_from(nth).unwrap()))));
        let first = an_order(0).order;
        assert!(!theirs.has(first));
        ours.unite(theirs);
        ours.recall(first);
        assert!(ours.has(first));
    }

    #[test]
    fn a_damaged_row_is_read_whatever_amounts_it_holds() {
        let mut order = an_order(1);
        order.lines.iter_mut().for_each(|line| (line.net_left, line.paid_left) = (i64::MAX, i64::MAX));
        let bytes = postcard::to_stdvec(&order).unwrap();
        let packed = PackedRecord::read(&bytes).unwrap();
        assert_eq!((packed.open().left(), packed.open()), (i64::MAX, order));
        assert!(PackedRecord::read(&bytes[1..]).is_err() && PackedRecord::read(&[bytes, vec![0]].concat()).is_err());
    }
}
