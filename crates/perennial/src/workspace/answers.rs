//! Questions: what the API shows of customers, entries and messages.
//!
//! Reads of a customer see memory, with everything due until now done.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use perennial_core::customer::{Customer, Member};
use perennial_core::engine;
use perennial_core::event::{Body, Event, Order};
use perennial_core::expr::{Field, Scope as _};
use perennial_core::fact::{Account, Cause, Fact, LotOpened, Posting, Unit};
use perennial_core::id::{BadId, CustomerId, Identifier, LotId, OrderRef, Word};
use perennial_core::input::{Asked, Command, Entry, Input, TimerKind};
use perennial_core::ledger::Lot;
use perennial_core::money::Currency;
use perennial_core::orders;
use perennial_core::program::{Computed, Program, SegmentRule, TierBy};
use perennial_core::rules::Rules;
use perennial_core::scope::View;
use perennial_core::score::ScoreName;
use perennial_core::tier;
use perennial_core::time::Timestamp;
use perennial_core::value::Value;
use perennial_store::Failure;
use rust_decimal::Decimal;

use super::Workspace;
use super::tail::instant;
use crate::view::{
    ConflictView, CustomerView, FactView, LedgerEntry, LotView, NextTierView, PointsView, ReceiptView, ScoresView,
    SegmentView, TierView, TimelineEntry, thousandths, unit, until, word,
};

/// Entries that one question reads at most.
const ENTRIES_MAX: usize = 1_000;
/// Entries that are looked through for postings at a time, and for one page at most.
const SLICE: usize = 500;
const LOOKED_MAX: usize = 5_000;
/// Conflicts that a receipt tells at most.
const CONFLICTS_MAX: usize = 20;

/// A page of a ledger, and the entry before which to go on.
pub(super) type LedgerPage = (Vec<LedgerEntry>, Option<u64>);

/// A customer as a caller names them: by our id or by one of their identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Our id.
    Id(CustomerId),
    /// A name of theirs.
    Named(Identifier),
}

impl FromStr for Who {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.parse().map(Self::Id).or_else(|_| text.parse().map(Self::Named))
    }
}

impl Workspace {
    /// What a view of a customer is made of, so that whoever asked makes it and the next one need not
    /// wait for that.
    ///
    /// # Errors
    /// The store's failure.
    pub fn glimpse(&mut self, now: Timestamp, who: &Who) -> Result<Option<Glimpse>, Failure> {
        let found = self.current(now, who)?;
        Ok(found.and_then(|id| self.warm.peek(id)).and_then(|customer| self.glimpse_of(customer, self.now)))
    }

    /// Brings a customer into memory with all that was due until now, and all of it durable; their id.
    pub(super) fn current(&mut self, now: Timestamp, who: &Who) -> Result<Option<CustomerId>, Failure> {
        self.ready(now)?;
        let id = match who {
            Who::Id(id) => Some(self.warm.survivor(*id)?),
            Who::Named(name) => self.owner(name)?,
        };
        let Some(id) = id else { return Ok(None) };
        self.wake(id, self.now)?;
        self.commit()?;
        self.warm.get(id)?;
        Ok(Some(id))
    }

    /// As [`Workspace::glimpse`], if it can be had at once: memory knows the customer, nothing is due for them,
    /// and everything that was folded into them is durable. None says nothing.
    pub fn glance(&self, now: Timestamp, who: &Who) -> Option<Glimpse> {
        self.at_hand(now, who).and_then(|customer| self.glimpse_of(customer, now.max(self.now)))
    }

    /// A customer as [`Workspace::current`] would find them, if that takes nothing.
    pub(super) fn at_hand(&self, now: Timestamp, who: &Who) -> Option<&Customer> {
        let customer = match who {
            Who::Id(id) => self.warm.peek(*id),
            Who::Named(name) => self.warm.recognise(name.hashed(&self.rules.secret)),
        }?;
        let now = now.max(self.now);
        let is_current = customer.adopted == self.rules.latest_version();
        let is_awake = customer.next_due().is_none_or(|due| due > now);
        let is_durable = !self.broken && !self.journal.has_failed() && customer.folded <= self.journal.last_seq();
        (is_current && is_awake && is_durable).then_some(customer)
    }

    fn glimpse_of(&self, customer: &Customer, now: Timestamp) -> Option<Glimpse> {
        let edition = self.rules.latest()?;
        let (customer, scores) = (customer.outline(), self.scores_view(&edition.program, customer));
        Some(Glimpse { rules: self.rules.without_catalog(), customer, scores, now })
    }

    pub(super) fn who(&mut self, now: Timestamp, who: &Who) -> Result<Option<Customer>, Failure> {
        match who {
            Who::Id(id) => self.customer_by_id(now, *id),
            Who::Named(name) => self.customer(now, name),
        }
    }

    /// What happened to a customer, the latest first, before an entry.
    ///
    /// # Errors
    /// The store's failure.
    pub fn timeline(
        &mut self,
        now: Timestamp,
        who: &Who,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<Vec<TimelineEntry>>, Failure> {
        let Some(customer) = self.who(now, who)? else { return Ok(None) };
        let limit = limit.min(ENTRIES_MAX);
        let entries = if customer.parted.is_empty() {
            self.entries_of(&customer, before, limit)?
        } else {
            // Cut only then: an un-merge says whose the entries before it are.
            let own = self.own_history(&customer.roots, u64::MAX, None)?;
            own.into_iter().rev().filter(|entry| before.is_none_or(|before| entry.seq < before)).take(limit).collect()
        };
        entries.iter().map(|entry| Ok(timeline_entry(entry, self.facts_of(entry)?))).collect::<Result<_, _>>().map(Some)
    }

    /// A customer's postings with the chain of their reasons, the latest first, before an entry: at least `limit`
    /// of them, because none of an entry is left out, unless too many entries without any lie in between. With it
    /// the entry before which to go on; none at the end.
    ///
    /// # Errors
    /// The store's failure.
    pub fn ledger(
        &mut self,
        now: Timestamp,
        who: &Who,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<LedgerPage>, Failure> {
        let Some(customer) = self.who(now, who)? else { return Ok(None) };
        let (mut entries, mut postings) = (Vec::new(), 0);
        let next_before = self.look_through(&customer, before, |entry| {
            postings += posted(&entry).len();
            entries.push(entry);
            postings >= limit
        })?;
        let births = self.births(&customer, &entries)?;
        let lines = entries.iter().flat_map(|entry| posted(entry).into_iter().rev().map(move |line| (entry, line)));
        let lines = lines
            .map(|(entry, (posting, benefit))| ledger_entry(&customer, entry, posting, benefit, &births))
            .collect();
        Ok(Some((lines, next_before)))
    }

    /// Shows a customer's entries with postings, the latest first, until one is the last that is wanted. The entry
    /// before which to go on; none at the end.
    fn look_through(
        &mut self,
        customer: &Customer,
        mut before: Option<u64>,
        mut is_last: impl FnMut(Entry) -> bool,
    ) -> Result<Option<u64>, Failure> {
        let (reader, mut looked) = (self.journal.reader(), 0);
        while looked < LOOKED_MAX {
            let seqs = self.numbers_of(customer, before, SLICE)?;
            looked += seqs.len();
            for seq in self.state.posted(&seqs)? {
                if let Some(entry) = reader.entry(seq)?
                    && is_last(entry)
                {
                    return Ok(Some(seq));
                }
            }
            before = seqs.last().copied();
            if before.is_none() {
                break;
            }
        }
        Ok(before)
    }

    /// How the lots began that postings name: as the wallet says, or the customer's entries before them.
    fn births(&mut self, customer: &Customer, entries: &[Entry]) -> Result<HashMap<LotId, Birth>, Failure> {
        let lots = customer.member.iter().flat_map(|member| &member.wallet.lots);
        let mut births: HashMap<LotId, Birth> = lots.map(|lot| (lot.id, Birth::of(lot))).collect();
        entries.iter().for_each(|entry| births.extend(born(entry)));
        let named = entries.iter().flat_map(posted).filter_map(|(posting, _)| posting.lot);
        let mut missing: HashSet<LotId> = named.filter(|lot| !births.contains_key(lot)).collect();
        if !missing.is_empty() {
            self.look_through(customer, entries.last().map(|entry| entry.seq), |entry| {
                for (lot, birth) in born(&entry).filter(|(lot, _)| missing.contains(lot)).collect::<Vec<_>>() {
                    missing.remove(&lot);
                    births.insert(lot, birth);
                }
                missing.is_empty()
            })?;
        }
        Ok(births)
    }

    /// What became of a message; the source tells apart equal ids of several senders.
    ///
    /// # Errors
    /// The store's failure.
    pub fn receipt(&mut self, source: Option<&str>, message_id: &str) -> Result<Option<ReceiptView>, Failure> {
        let Some(seq) = self.entry_of_message(source, message_id)? else { return Ok(None) };
        let Some(entry) = self.journal.reader().entry(seq)? else { return Ok(None) };
        let entry = self.came_in(&entry)?.unwrap_or(entry);
        let receipt = receipt_view(&entry, self.facts_of(&entry)?).filter(|receipt| receipt.message_id == message_id);
        let Some(receipt) = receipt else { return Ok(None) };
        let conflicts = self.conflicts(&receipt.source, message_id)?;
        let repeated = self.repeats.get(&seq).copied().unwrap_or_default();
        Ok(Some(ReceiptView { repeated, conflicts, ..receipt }))
    }

    /// What was set aside because another message had its id, the latest first.
    fn conflicts(&self, source: &str, message_id: &str) -> Result<Vec<ConflictView>, Failure> {
        let reader = self.journal.reader();
        let mut told = Vec::new();
        let mut next = self.latest_beside(source, message_id)?;
        while let Some(seq) = next.filter(|_| told.len() < CONFLICTS_MAX) {
            let Some(Entry { input: Some(Input::Reject(reject)), cause, .. }) = reader.entry(seq)? else { break };
            if reject.message_id.as_deref() != Some(message_id) || *reject.source != *source {
                break;
            }
            told.push(ConflictView {
                seq,
                received_at: reject.received_at.to_string(),
                code: reject.code.into(),
                reason: reject.reason.into(),
            });
            next = cause;
        }
        Ok(told)
    }

    /// What followed, as it is shown.
    fn facts_of(&mut self, entry: &Entry) -> Result<Vec<FactView>, Failure> {
        entry.outcome.iter().map(|fact| Ok(FactView::of(fact, self.currency_of(entry, fact)?))).collect()
    }

    /// The currency of a fact's money: an order's own, and the programme's of all else.
    fn currency_of(&mut self, entry: &Entry, fact: &Fact) -> Result<Option<Currency>, Failure> {
        Ok(match fact {
            Fact::Booked(booking) => {
                let ours = self.rules.edition(booking.version).map(|edition| edition.program.currency);
                let order = entry.input.as_ref().and_then(ordered);
                ours.map(|ours| order.map_or(ours, |order| orders::currency(order, ours)))
            }
            Fact::Returned(back) => self.order_currency(back.order)?.or(self.currency()),
            _ => self.currency(),
        })
    }

    /// The programme's currency.
    pub(super) fn currency(&self) -> Option<Currency> {
        self.rules.latest().map(|edition| edition.program.currency)
    }

    /// The currency that an order was booked in, wherever the order is kept.
    fn order_currency(&mut self, order: OrderRef) -> Result<Option<Currency>, Failure> {
        let Some(owner) = self.warm.order_owner(order)? else { return Ok(None) };
        let listed = self.warm.get(owner)?.and_then(|customer| customer.orders.get(order).map(|o| o.currency));
        if listed.is_some() {
            return Ok(listed);
        }
        Ok(self.warm.old_order(order)?.map(|packed| packed.open().currency))
    }

    /// The entry in which an event that waited for its order came in, once that has come.
    fn came_in(&mut self, entry: &Entry) -> Result<Option<Entry>, Failure> {
        let has_waited = entry.outcome.iter().any(|fact| matches!(fact, Fact::Parked { .. }));
        let came = if has_waited { self.warm.came_in(entry.seq)? } else { None };
        came.map_or(Ok(None), |seq| self.journal.reader().entry(seq))
    }

    /// The latest entries of a customer and of those that became part of it.
    fn entries_of(&mut self, customer: &Customer, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Failure> {
        let reader = self.journal.reader();
        let found = self.numbers_of(customer, before, limit)?.into_iter().map(|seq| reader.entry(seq));
        found.filter_map(Result::transpose).collect()
    }

    /// Their numbers.
    fn numbers_of(&self, customer: &Customer, before: Option<u64>, limit: usize) -> Result<Vec<u64>, Failure> {
        let mut seqs = self.warm.recent(&customer.roots);
        for root in &customer.roots {
            seqs.extend(self.state.timeline(*root, before, limit)?);
        }
        seqs.retain(|seq| before.is_none_or(|b| *seq < b));
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        seqs.dedup();
        seqs.truncate(limit);
        Ok(seqs)
    }
}

/// A customer as of an instant, to be written out.
pub struct Glimpse {
    rules: Rules,
    customer: Customer,
    scores: ScoresView,
    now: Timestamp,
}

impl Glimpse {
    /// What the API shows of the customer; none without a programme.
    pub fn view(mut self) -> Option<CustomerView> {
        engine::settle(&self.rules, &mut self.customer, self.now);
        let edition = self.rules.latest()?;
        Some(CustomerView { scores: self.scores, ..view(&edition.program, &self.customer, self.now) })
    }
}

fn view(program: &Program, customer: &Customer, now: Timestamp) -> CustomerView {
    let scope = View::of(program, customer);
    let mut identifiers: Vec<&Identifier> = customer.identifiers.iter().map(|(id, _)| id).collect();
    identifiers.sort();
    let member = customer.member.as_ref();
    CustomerView {
        id: customer.id.to_string(),
        identifiers: identifiers.into_iter().map(ToString::to_string).collect(),
        member: member.is_some(),
        enrolled_at: member.map(|m| m.enrolled_at.to_string()),
        traits: customer.profile.traits.iter().map(|(k, (v, _))| (k.to_string(), json(v))).collect(),
        consents: customer.profile.consents.iter().map(|(k, (given, _))| (k.to_string(), *given)).collect(),
        points: member.map(|m| points(program, m, now)).unwrap_or_default(),
        tier: tier_view(program, customer),
        segments: segments(program, customer, &scope),
        features: features(program, &scope),
        approximate: approximate(program, customer),
        scores: ScoresView::default(), // told by those who hold the models
        badges: member
            .into_iter()
            .flat_map(|m| &m.milestones)
            .filter_map(|m| m.badge.as_deref().map(Into::into))
            .collect::<BTreeSet<String>>()
            .into_iter()
            .collect(),
        impact: member
            .map(|m| m.impact.iter().map(|(u, n)| (u.to_string(), thousandths(*n))).collect())
            .unwrap_or_default(),
        as_of: now.to_string(),
        seq: customer.folded,
    }
}

pub(super) fn json(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}

fn approximate(program: &Program, customer: &Customer) -> Vec<String> {
    let features = program.features.iter().zip(&customer.features);
    features.filter(|(_, seen)| seen.is_approximate()).map(|(feature, _)| feature.id.to_string()).collect()
}

fn points(program: &Program, member: &Member, now: Timestamp) -> PointsView {
    let totals = member.wallet.totals();
    let open = |lot: &&Lot| lot.buckets.pending + lot.buckets.available + lot.buckets.held > 0;
    let mut lots: Vec<&Lot> = member.wallet.lots.iter().filter(open).collect();
    lots.sort_by_key(|lot| (lot.expires_at, lot.earned_at));
    PointsView {
        pending: totals.pending,
        available: member.wallet.available(),
        held: totals.held,
        spent: totals.spent,
        expired: totals.expired,
        arrears: member.wallet.arrears,
        earned_this_year: member.years.get(&program.zone.year(now)).map_or(0, |y| y.points),
        lots: lots.into_iter().map(lot_view).collect(),
    }
}

fn lot_view(lot: &Lot) -> LotView {
    LotView {
        lot: lot.id.to_string(),
        rule: lot.rule.to_string(),
        earned_at: lot.earned_at.to_string(),
        available_at: lot.available_at.to_string(),
        expires_at: until(lot.expires_at),
        pending: lot.buckets.pending,
        available: lot.buckets.available,
        held: lot.buckets.held,
    }
}

fn tier_view(program: &Program, customer: &Customer) -> Option<TierView> {
    let held = customer.member.as_ref()?.tier.as_ref()?;
    let tiers = program.tiers.as_ref()?;
    let level = tiers.levels.get(usize::from(held.level))?;
    let spend = tiers.by == TierBy::Spend;
    let unit = if spend { program.currency.code() } else { "points" };
    let amount = |n: i64| if spend { json(&Value::Number(program.currency.major(n))) } else { n.into() };
    let above = tier::next(program, customer).zip(tiers.levels.get(usize::from(held.level) + 1));
    let next = above.map(|((id, missing), above)| NextTierView {
        id: id.to_string(),
        name: title(&id),
        missing: amount(missing),
        needed: amount(above.from),
        unit: unit.into(),
    });
    Some(TierView { id: level.id.to_string(), name: title(&level.id), until: until(held.until), next })
}

/// `trail-keeper` as a title: `Trail keeper`.
fn title(id: &str) -> String {
    let words = id.replace(['-', '_'], " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn segments(program: &Program, customer: &Customer, scope: &View<'_>) -> Vec<SegmentView> {
    let held = customer.segments.iter().filter_map(|inside| {
        let segment = program.segments.iter().find(|s| s.id == inside.segment)?;
        let reason = match &segment.rule {
            SegmentRule::When(rule) => {
                let mut parts = Vec::new();
                rule.visit(&mut |term| {
                    if let perennial_core::expr::Term::Field(field) | perennial_core::expr::Term::Since(field) = term {
                        parts.push(format!(
                            "{} is {}",
                            name(program, field),
                            shown(program, field, &scope.field(field))
                        ));
                    }
                });
                parts.join(", ")
            }
            SegmentRule::Top { by, share_ppm } => {
                let share = Decimal::new(i64::from(*share_ppm), 4).normalize();
                format!("in the top {share} % by {}: {}", name(program, by), shown(program, by, &scope.field(by)))
            }
        };
        Some(SegmentView { id: segment.id.to_string(), reason: format!("{reason} (since {})", inside.since) })
    });
    held.collect()
}

/// A field as a programme writes it.
fn name(program: &Program, field: &Field) -> String {
    match field {
        Field::Feature(i) => program.features.get(usize::from(*i)).map_or_else(String::new, |f| f.id.to_string()),
        Field::Trait(name) => format!("customer.{name}"),
        Field::Impact(unit) => format!("impact.{unit}"),
        Field::Orders => "orders".into(),
        Field::Spend => "spend".into(),
        Field::FirstOrder => "first_order".into(),
        Field::LastOrder => "last_order".into(),
        Field::CartValue => "cart.value".into(),
        Field::PointsAvailable => "points.available".into(),
        Field::PointsEarned => "points.earned".into(),
        Field::Tier => "tier".into(),
        Field::Member => "member".into(),
        Field::Score(name) => name.word().into(),
        _ => "event".into(),
    }
}

/// A value as people read it: instants as dates.
fn shown(program: &Program, field: &Field, value: &Value) -> String {
    let is_instant = match field {
        Field::FirstOrder | Field::LastOrder | Field::Score(ScoreName::NextPurchase) => true,
        Field::Feature(i) => {
            let what = program.features.get(usize::from(*i)).map(|f| &f.what);
            matches!(what, Some(Computed::First | Computed::Last))
        }
        _ => false,
    };
    match value {
        Value::Number(ms) if is_instant => {
            i64::try_from(*ms).map_or_else(|_| ms.to_string(), |ms| Timestamp::from_millis(ms).to_string())
        }
        Value::Number(n) => n.normalize().to_string(),
        Value::Text(text) => text.to_string(),
        Value::Null => "not known".into(),
        other => json(other).to_string(),
    }
}

fn features(program: &Program, scope: &View<'_>) -> BTreeMap<String, serde_json::Value> {
    let built_in = [Field::Orders, Field::Spend, Field::FirstOrder, Field::LastOrder, Field::CartValue];
    let declared = (0..program.features.len()).filter_map(|i| u16::try_from(i).ok()).map(Field::Feature);
    let scores = ScoreName::ALL.into_iter().filter(|score| program.models.contains_key(&score.kind()));
    let all = built_in.into_iter().chain(declared).chain(scores.map(Field::Score));
    all.map(|field| {
        let value = scope.field(&field).into_owned();
        let text = shown(program, &field, &value);
        let json = if matches!(value, Value::Number(_)) && text.contains('T') { text.into() } else { json(&value) };
        (name(program, &field), json)
    })
    .collect()
}

/// The order that an input tells of.
fn ordered(input: &Input) -> Option<&Order> {
    match input {
        Input::Event(event) => match &event.body {
            Body::Ordered(order) | Body::OrderUpdated(order) => Some(order),
            _ => None,
        },
        _ => None,
    }
}

fn timeline_entry(entry: &Entry, facts: Vec<FactView>) -> TimelineEntry {
    let (kind, name, message_id) = match &entry.input {
        Some(Input::Event(event)) => ("event", event.name().to_owned(), Some(event.message_id.to_string())),
        Some(Input::Command(asked)) => ("command", asked.command.name().to_owned(), None),
        Some(Input::Timer(timer)) => ("timer", word(timer.kind), None),
        Some(Input::Joined { .. }) => ("identity", "joined".into(), None),
        Some(Input::Adopted { version, .. }) => ("programme", format!("version {version}"), None),
        _ => ("entry", "sealed".into(), None),
    };
    TimelineEntry {
        seq: entry.seq,
        at: instant(entry).to_string(),
        recorded_at: entry.recorded_at.to_string(),
        kind: kind.into(),
        name,
        message_id,
        facts,
    }
}

/// What a lot was granted for.
#[derive(Clone)]
struct Birth {
    earned_at: Timestamp,
    rule: Word,
    version: u32,
}

impl Birth {
    fn of(lot: &Lot) -> Self {
        Self { earned_at: lot.earned_at, rule: lot.rule.clone(), version: lot.version }
    }
}

/// The lots that an entry opened.
fn born(entry: &Entry) -> impl Iterator<Item = (LotId, Birth)> {
    entry.outcome.iter().flat_map(told_by).filter_map(|fact| match fact {
        Fact::LotOpened(LotOpened { lot, earned_at, rule, version, .. }) => {
            Some((*lot, Birth { earned_at: *earned_at, rule: rule.clone(), version: *version }))
        }
        _ => None,
    })
}

/// The postings of an entry, those of a benefit, which stand behind it, with its id.
fn posted(entry: &Entry) -> Vec<(&Posting, Option<&Word>)> {
    let mut benefit = None;
    let mut posted = Vec::new();
    for fact in &entry.outcome {
        match fact {
            Fact::Posted(posting) => posted.push((posting, benefit)),
            Fact::Benefited { benefit: id, .. } => benefit = Some(id),
            _ => benefit = None,
        }
    }
    posted
}

fn ledger_entry(
    customer: &Customer,
    entry: &Entry,
    posting: &Posting,
    benefit: Option<&Word>,
    births: &HashMap<LotId, Birth>,
) -> LedgerEntry {
    let lot = posting.lot.and_then(|lot| births.get(&lot));
    let booked =
        entry.outcome.iter().find_map(|fact| if let Fact::Booked(it) = fact { Some(it.version) } else { None });
    let is_own = entry.root.is_none_or(|root| customer.roots.contains(&root));
    let mut reasons = reasons(entry, lot, is_own);
    match (&posting.unit, benefit) {
        (Unit::Points, _) if posting.cause == Cause::Settle => reasons.push(settled(posting).into()),
        (Unit::Impact(_), Some(benefit)) => reasons.push(format!("benefit '{benefit}' of the level")),
        (Unit::Impact(_), None) => reasons.push("impact of the goods, by the piece".into()),
        _ => {}
    }
    LedgerEntry {
        seq: entry.seq,
        at: instant(entry).to_string(),
        unit: unit(&posting.unit),
        from: word(posting.from),
        to: word(posting.to),
        amount: posting.amount,
        lot: posting.lot.map(|lot| lot.to_string()),
        cause: word(posting.cause),
        rule: lot.map(|born| born.rule.to_string()).or_else(|| benefit.map(|id| format!("benefit:{id}"))),
        version: lot.map(|born| born.version).or(booked.filter(|_| benefit.is_some())),
        reasons,
    }
}

fn settled(posting: &Posting) -> &'static str {
    if posting.to == Account::Arrears {
        "what was owed is filled first"
    } else {
        "a refund had taken them back while they were used, and the shop bore it"
    }
}

/// From the immediate reason to the first. What was said of somebody who is another person again is theirs.
fn reasons(entry: &Entry, lot: Option<&Birth>, is_own: bool) -> Vec<String> {
    let mut reasons = vec![match &entry.input {
        Some(Input::Event(event)) => because(event),
        Some(Input::Command(asked)) => asked_for(asked, is_own),
        Some(Input::Timer(timer)) => format!("{} at {}", over(timer.kind), timer.at),
        Some(Input::Joined { at }) => format!("two profiles turned out to be one person at {at}"),
        _ => format!("entry {}", entry.seq),
    }];
    if let Some(born) = lot {
        reasons.push(format!(
            "points of {} granted by '{}', programme version {}",
            born.earned_at, born.rule, born.version
        ));
    }
    reasons
}

fn over(kind: TimerKind) -> &'static str {
    match kind {
        TimerKind::Activate => "the return window ended",
        TimerKind::Expire => "the validity ended",
        TimerKind::HoldLapse => "the time of the hold was over",
        TimerKind::Remind => "a reminder was due",
        TimerKind::Firm => "the return window of a milestone ended",
        TimerKind::Review => "the level was reviewed",
        TimerKind::Tick => "time itself changed something",
    }
}

/// What was asked for, and what only the command itself says of it.
fn asked_for(asked: &Asked, is_own: bool) -> String {
    let asker = format!("asked for with the secret key '{}' at {}", asked.by, asked.at);
    if !is_own {
        return format!("{}, {asker}", asked.command.name());
    }
    let of = match &asked.command {
        Command::Redeem { reward, quantity } => format!(" of {quantity} of '{reward}'"),
        Command::Hold { hold, .. } | Command::Capture { hold, .. } | Command::Release { hold } => {
            format!(" of the hold '{hold}'")
        }
        Command::Undo { redemption } => format!(" of the redemption '{redemption}'"),
        Command::Review { activity, .. } => format!(" of the activity '{activity}'"),
        Command::Adjust { by, .. } if !by.is_empty() && *by != asked.by => format!(" decided by {by}"),
        _ => String::new(),
    };
    let why = match &asked.command {
        Command::Adjust { reason, .. } | Command::Review { reason: Some(reason), .. } => format!(": {reason}"),
        _ => String::new(),
    };
    format!("{}{of}, {asker}{why}", asked.command.name())
}

fn because(event: &Event) -> String {
    let order = event.order_id().map(|id| format!(" of order {id}")).unwrap_or_default();
    format!("{}{order} at {}", event.name(), event.at)
}

fn receipt_view(entry: &Entry, facts: Vec<FactView>) -> Option<ReceiptView> {
    let common =
        ReceiptView { seq: Some(entry.seq), customer: entry.customer.map(|c| c.to_string()), ..ReceiptView::default() };
    match entry.input.as_ref()? {
        Input::Event(event) => Some(ReceiptView {
            message_id: event.message_id.to_string(),
            source: event.source.to_string(),
            status: "accepted".into(),
            event: Some(event.name().into()),
            at: Some(event.at.to_string()),
            received_at: event.received_at.to_string(),
            rules: entry.outcome.iter().flat_map(rules_of).collect(),
            facts,
            ..common
        }),
        Input::Reject(reject) => Some(ReceiptView {
            message_id: reject.message_id.as_deref().unwrap_or_default().into(),
            source: reject.source.to_string(),
            status: "rejected".into(),
            code: Some(reject.code.to_string()),
            field: Some(reject.field.to_string()),
            reason: Some(reject.reason.to_string()),
            received_at: reject.received_at.to_string(),
            ..common
        }),
        _ => None,
    }
}

/// A fact, and for a side of a merge what its steps say.
fn told_by(fact: &Fact) -> impl Iterator<Item = &Fact> {
    let steps = if let Fact::Parted(side) = fact { &side.steps[..] } else { &[] };
    std::iter::once(fact).chain(steps.iter().flat_map(|step| &step.facts))
}

/// Rules that matched, as far as a fact names them.
fn rules_of(fact: &Fact) -> Vec<String> {
    match fact {
        Fact::Booked(booking) => booking.rules.iter().map(ToString::to_string).collect(),
        Fact::LotOpened(born) if born.order.is_none() => vec![born.rule.to_string()],
        Fact::Submitted { rule, .. } => vec![rule.to_string()],
        Fact::Benefited { benefit, .. } => vec![benefit.to_string()],
        _ => Vec::new(),
    }
}
