//! Commands: what is asked for, and may be refused.
//!
//! Promise: a refused command changes nothing but its recorded answer.

use serde::{Deserialize, Serialize};

use crate::customer::{Activity, Customer, HOLDS_MAX, Hold, Recorded};
use crate::engine::Book;
use crate::fact::{Account, Cause, Fact, Outcome, Posting, Redemption, Unit};
use crate::id::{CustomerId, LotId, OrderRef, Secret};
use crate::input::{Asked, Command};
use crate::ledger::POINTS_MAX;
use crate::loyalty;
use crate::program::did_you_mean;
use crate::rules::Rules;
use crate::tier;
use crate::time::{Span, Timestamp, Until};
use crate::value::{Properties, Value};

/// The reasoned no: a stable code and a kind sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One of the published codes, such as `insufficient_points`.
    pub code: Box<str>,
    /// What is missing and what would help.
    pub message: String,
    /// Figures that help: what was asked, what is there.
    pub details: Properties,
}

/// Characters of a name that an answer repeats.
const NAME_SHOWN: usize = 60;
/// The note of an enrolment of somebody who has joined already.
pub const ALREADY_MEMBER: &str = "already_member";

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: Properties::default() }
    }

    /// The refusal that an outcome tells of. One from before refusals were kept with their words has the
    /// code alone.
    pub fn told_by(outcome: &[Fact]) -> Option<Self> {
        let code = outcome.iter().find_map(|fact| if let Fact::Refused(code) = fact { Some(code) } else { None })?;
        let told = outcome.iter().find_map(|fact| match fact {
            Fact::Explained { message, details } => {
                Some(Self { details: details.clone(), ..Self::new(code, &**message) })
            }
            _ => None,
        });
        Some(told.unwrap_or_else(|| Self::new(code, "the answer already given to this idempotency key")))
    }

    /// What the journal keeps of it: the code, and its words.
    pub fn facts(&self) -> [Fact; 2] {
        let (message, details) = (self.message.as_str().into(), self.details.clone());
        [Fact::Refused(self.code.clone()), Fact::Explained { message, details }]
    }
}

impl Refusal {
    /// Adds a figure that helps.
    #[must_use]
    fn with(mut self, name: &str, figure: i64) -> Self {
        self.details.set(name, Value::from(figure));
        self
    }
}

/// What a command needs from elsewhere, fetched before it is decided (rule 27).
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbours {
    /// Pieces left of the reward that is asked for; none when unlimited.
    pub stock: Option<i64>,
    /// The journal position at which the answer will be written.
    pub seq: u64,
    /// The answer was yes, and is kept: what is missing is owed (an un-merge decides again what was
    /// asked for in the name of one side).
    pub granted: bool,
}

/// Decides a command: what followed, and the refusal if it was refused.
pub fn admit(
    rules: &Rules,
    customer: &mut Customer,
    asked: &Asked,
    near: &Neighbours,
) -> (Outcome, Result<(), Refusal>) {
    let Some(mut book) = Book::open(rules, customer, asked.at) else {
        return (Vec::new(), Err(Refusal::new("no_programme", "publish a programme first")));
    };
    observe(book.customer, asked);
    let result = decide(&mut book, asked, near);
    if let Err(refusal) = &result {
        let [code, words] = refusal.facts();
        book.record(code);
        if !near.granted {
            book.record(words); // What an un-merge decides again is told to nobody.
        }
    }
    let outcome = book.close();
    remember(customer, asked, near.seq);
    (outcome, result)
}

/// Views that follow from the command alone.
pub(crate) fn observe(customer: &mut Customer, asked: &Asked) {
    if let Command::Consent { purpose, channel, given } = &asked.command {
        let name = channel.as_ref().map_or_else(|| purpose.to_string(), |c| format!("{purpose}/{c}"));
        crate::profile::consent(customer, &name, *given, asked.at);
    }
}

/// Keeps where the answer to an idempotency key stands.
pub fn remember(customer: &mut Customer, asked: &Asked, seq: u64) {
    let Some(key) = scoped_key(customer.root_named(&asked.customer), asked) else { return };
    customer.answers.push(Recorded { key, fingerprint: asked.fingerprint, seq, at: asked.at });
    customer.cap_answers();
}

/// The answer already given to this key, if there is one.
pub fn answered<'a>(customer: &'a Customer, asked: &Asked) -> Option<&'a Recorded> {
    let mut keys = keys_of(customer, asked).into_iter();
    keys.find_map(|key| customer.answers.iter().rev().find(|answer| answer.key == key))
}

/// Under what a key may have been remembered. By the root profile that is named, so that two who used the same key
/// are still told apart when they turn out to be one; and by the others, for who asks again by another name.
pub fn keys_of(customer: &Customer, asked: &Asked) -> Vec<Box<str>> {
    own_first(customer, asked).into_iter().filter_map(|root| scoped_key(root, asked)).collect()
}

fn own_first(customer: &Customer, asked: &Asked) -> Vec<CustomerId> {
    let own = customer.root_named(&asked.customer);
    std::iter::once(own).chain(customer.roots.iter().copied().filter(|root| *root != own)).collect()
}

/// Keys are scoped by operation and customer (rule 21).
pub fn scoped_key(root: CustomerId, asked: &Asked) -> Option<Box<str>> {
    asked.key.as_ref().map(|key| format!("{root}:{}:{key}", asked.command.name()).into())
}

/// The opaque name of a redemption or a hold of a root profile, by the key or name that its caller gave: what
/// callers say is personal as like as not, and facts are kept for ever.
fn opaque_name(secret: &Secret, root: CustomerId, said: &str) -> Box<str> {
    format!("{:032x}", u128::from_be_bytes(secret.digest(&[b"named", &root.0, said.as_bytes()]))).into()
}

/// What a caller may mean: what was named so under the root profile that they name, under another one that is the
/// same customer now, or by the opaque name itself, which answers show.
pub fn meant(secret: &Secret, customer: &Customer, asked: &Asked, said: &str) -> Vec<Box<str>> {
    names_of(secret, &own_first(customer, asked), said)
}

/// The names that something may have with these root profiles, by what its caller said.
pub fn names_of(secret: &Secret, roots: &[CustomerId], said: &str) -> Vec<Box<str>> {
    roots.iter().map(|root| opaque_name(secret, *root, said)).chain([said.into()]).collect()
}

fn decide(book: &mut Book<'_>, asked: &Asked, near: &Neighbours) -> Result<(), Refusal> {
    if asked.command == Command::Enroll {
        return enroll(book);
    }
    if let Command::Consent { .. } = &asked.command {
        return Ok(()); // A view: `observe` has taken it in.
    }
    if let Command::Unmerge = &asked.command {
        return Err(Refusal::new("not_merged", "this customer is not the result of a merge that could be taken back"));
    }
    if book.customer.member.is_none() {
        return Err(Refusal::new("not_a_member", "the customer has not joined the programme; enrol them first"));
    }
    match &asked.command {
        Command::Redeem { reward, quantity } => redeem(book, asked, reward, *quantity, near),
        Command::Adjust { points, reason, .. } => adjust(book, *points, reason, near),
        Command::Hold { points, length, hold: name } => hold(book, asked, *points, *length, name, near),
        Command::Capture { hold, points } => capture(book, asked, hold, *points, near),
        Command::Release { hold } => release(book, asked, hold),
        Command::Undo { redemption } => undo(book, asked, redemption),
        Command::SetTier { tier, until } => set_tier(book, tier, *until),
        Command::Review { activity, approve, .. } => review(book, activity, *approve),
        Command::Fulfill { benefit, order, .. } => fulfill(book, benefit, order),
        Command::Erase | Command::Merge { .. } | Command::Unmerge => {
            Err(Refusal::new("not_supported", "this command is not for one customer alone"))
        }
        Command::Enroll | Command::Consent { .. } => Ok(()),
    }
}

fn enroll(book: &mut Book<'_>) -> Result<(), Refusal> {
    if book.customer.member.is_some() {
        book.note(ALREADY_MEMBER); // Whoever asks a workspace gets the first answer instead.
        return Ok(());
    }
    if !loyalty::may_join(book) {
        return Err(Refusal::new(
            "not_in_pilot",
            "the programme is open to a pilot group only, and this customer is not in it",
        ));
    }
    loyalty::enroll(book, "command");
    Ok(())
}

/// As much of a name as an answer repeats to whoever sent it.
pub fn shown(name: &str) -> String {
    name.chars().take(NAME_SHOWN).collect()
}

fn redeem(book: &mut Book<'_>, asked: &Asked, id: &str, quantity: u32, near: &Neighbours) -> Result<(), Refusal> {
    let edition = book.edition();
    let program = &edition.program;
    let reward = program.reward(id).ok_or_else(|| {
        let hint = did_you_mean(id, program.rewards.iter().map(|reward| &*reward.id));
        Refusal::new("unknown_reward", format!("no reward has the id '{}'{hint}", shown(id)))
    })?;
    let quantity = quantity.max(1);
    let Some(member) = &book.customer.member else { return Ok(()) };
    let level = member.tier.as_ref().map_or(0, |t| t.level);
    if let Some(needed) = reward.tier.filter(|needed| level < *needed && !near.granted) {
        let needed = program.tiers.as_ref().and_then(|tiers| tiers.levels.get(usize::from(needed)));
        let needed = needed.map_or("a higher tier", |level| &level.id);
        return Err(Refusal::new("tier_required", format!("'{id}' is for members who have reached {needed}")));
    }
    let had = member.pieces.get(id).copied().unwrap_or(0);
    if reward.per_member.is_some_and(|max| had.saturating_add(quantity) > max) && !near.granted {
        return Err(Refusal::new(
            "limit_reached",
            format!("a member may have '{id}' {} times", reward.per_member.unwrap_or(0)),
        ));
    }
    if near.stock.is_some_and(|left| left < i64::from(quantity)) && !near.granted {
        return Err(Refusal::new("out_of_stock", format!("of '{id}' {} are left", near.stock.unwrap_or(0).max(0))));
    }
    let cost = reward.points.saturating_mul(i64::from(quantity));
    let lots = spend(book, cost, Account::Spent, Cause::Redeem, near)?;
    if reward.stock.is_some() {
        post_stock(book, id, i64::from(quantity));
    }
    let said = asked.key.as_deref().map_or_else(|| format!("r{}", near.seq), str::to_owned);
    let key = named(book, asked, &said);
    book.record(Fact::Redeemed(Redemption { key, reward: id.into(), quantity, points: cost, lots }));
    Ok(())
}

fn post_stock(book: &mut Book<'_>, reward: &str, pieces: i64) {
    let (from, to, cause) = if pieces > 0 {
        (Account::Shelf, Account::Delivered, Cause::Redeem)
    } else {
        (Account::Delivered, Account::Shelf, Cause::Undo)
    };
    let unit = Unit::Stock(reward.into());
    book.record(Fact::Posted(Posting { unit, from, to, amount: pieces.abs(), lot: None, cause }));
}

/// Takes points from the lots that expire first, or refuses and takes none. What was granted before
/// takes what is there, and what is missing of a payment is owed.
fn spend(
    book: &mut Book<'_>,
    asked: i64,
    to: Account,
    cause: Cause,
    near: &Neighbours,
) -> Result<Vec<(LotId, i64)>, Refusal> {
    let Some(member) = &book.customer.member else { return Ok(Vec::new()) };
    let available = member.wallet.available();
    if available < asked && !near.granted {
        let does = if cause == Cause::Adjust { "takes away" } else { "costs" };
        let message = format!("this {does} {asked} points, {available} are available");
        return Err(Refusal::new("insufficient_points", message).with("asked", asked).with("available", available));
    }
    let lots = member.wallet.earliest_expiring(asked, None);
    for (lot, points) in &lots {
        book.post(Account::Available, to, *points, Some(*lot), cause);
    }
    if to != Account::Held {
        book.post(Account::Arrears, Account::Issued, asked - sum(&lots), None, cause);
    }
    Ok(lots)
}

fn sum(lots: &[(LotId, i64)]) -> i64 {
    lots.iter().map(|(_, points)| points).sum()
}

fn adjust(book: &mut Book<'_>, points: i64, reason: &str, near: &Neighbours) -> Result<(), Refusal> {
    if reason.trim().is_empty() {
        return Err(Refusal::new("invalid", "reason: say in a few words why the balance is corrected"));
    }
    if points.unsigned_abs() > POINTS_MAX.unsigned_abs() {
        return Err(Refusal::new("limit_reached", format!("at most {POINTS_MAX} points at a time")));
    }
    if points > 0 {
        let at = book.at;
        loyalty::grant(book, points, None, at, at, "adjustment".into());
        return Ok(());
    }
    let asked = points.checked_neg().unwrap_or(i64::MAX);
    if asked == 0 {
        return Err(Refusal::new("nothing_to_do", "an adjustment of 0 points changes nothing"));
    }
    spend(book, asked, Account::Reversed, Cause::Adjust, near)?;
    Ok(())
}

/// What something is named that is made now.
fn named(book: &Book<'_>, asked: &Asked, said: &str) -> Box<str> {
    opaque_name(&book.rules.secret, book.customer.root_named(&asked.customer), said)
}

fn hold(
    book: &mut Book<'_>,
    asked: &Asked,
    points: i64,
    length: Span,
    name: &str,
    near: &Neighbours,
) -> Result<(), Refusal> {
    let Some(member) = &book.customer.member else { return Ok(()) };
    let meant = meant(&book.rules.secret, book.customer, asked, name);
    if member.holds.iter().any(|h| meant.contains(&h.hold)) {
        return Err(Refusal::new("hold_exists", format!("a hold named '{name}' exists; choose another name")));
    }
    if length.is_zero() {
        return Err(Refusal::new("invalid", "for: hold for some time, like PT30M"));
    }
    if member.holds.iter().filter(|h| !h.ended).count() >= HOLDS_MAX || points <= 0 {
        return Err(Refusal::new("limit_reached", "at most 64 holds at a time, each of at least one point"));
    }
    let until = book.program().zone.add(book.at, length);
    let lots = spend(book, points, Account::Held, Cause::Hold, near)?;
    let hold = named(book, asked, name);
    book.record(Fact::Held { hold, until, lots });
    Ok(())
}

fn open_hold(book: &Book<'_>, asked: &Asked, name: &str) -> Result<Hold, Refusal> {
    let gone =
        || Refusal::new("hold_expired", format!("no open hold is named '{name}': it was used, freed or has lapsed"));
    let member = book.customer.member.as_ref().ok_or_else(gone)?;
    let meant = meant(&book.rules.secret, book.customer, asked, name);
    let open = |name: &str| member.holds.iter().find(|h| !h.ended && *h.hold == *name);
    meant.iter().find_map(|name| open(name)).cloned().ok_or_else(gone)
}

fn capture(
    book: &mut Book<'_>,
    asked_by: &Asked,
    name: &str,
    points: Option<i64>,
    near: &Neighbours,
) -> Result<(), Refusal> {
    let Hold { hold, lots, at, .. } = open_hold(book, asked_by, name)?;
    let held = sum(&lots);
    let asked = points.unwrap_or(held);
    if (asked > held && !near.granted) || asked <= 0 {
        return Err(Refusal::new(
            "insufficient_points",
            format!("{held} points are set aside, {asked} were asked for"),
        ));
    }
    book.record(Fact::HoldEnded { hold, captured: asked });
    end(book, &lots, asked, at);
    book.post(Account::Arrears, Account::Issued, asked - held, None, Cause::Redeem);
    loyalty::pay_by_hold(book, at);
    Ok(())
}

fn release(book: &mut Book<'_>, asked: &Asked, name: &str) -> Result<(), Refusal> {
    let Hold { hold, lots, at, .. } = open_hold(book, asked, name)?;
    book.record(Fact::HoldEnded { hold, captured: 0 });
    end(book, &lots, 0, at);
    Ok(())
}

/// The captured part of held points is spent; the rest is available again, or lapses if its time
/// is over.
fn end(book: &mut Book<'_>, lots: &[(LotId, i64)], captured: i64, held: Timestamp) {
    let mut left = captured;
    for (lot, amount) in lots {
        let used = left.min(*amount);
        left -= used;
        book.post(Account::Held, Account::Spent, used, Some(*lot), Cause::Redeem);
        book.post(Account::Held, Account::Available, amount - used, Some(*lot), Cause::Release);
        loyalty::take_borne(book, *lot, amount - used, held);
        loyalty::settle(book, *lot);
        loyalty::expire(book, *lot);
    }
}

/// Holds whose time is over are freed.
pub(crate) fn lapse_holds(book: &mut Book<'_>) {
    let now = book.at;
    free_holds(book, |hold| hold.until <= now);
}

/// Sets points free that were set aside, by the holds that are meant.
pub(crate) fn free_holds(book: &mut Book<'_>, is_meant: impl Fn(&Hold) -> bool) {
    let holds = book.customer.member.iter().flat_map(|member| &member.holds);
    let meant: Vec<Hold> = holds.filter(|hold| !hold.ended && is_meant(hold)).cloned().collect();
    for hold in meant {
        book.record(Fact::HoldEnded { hold: hold.hold.clone(), captured: 0 });
        end(book, &hold.lots, 0, hold.at);
    }
}

fn undo(book: &mut Book<'_>, asked: &Asked, said: &str) -> Result<(), Refusal> {
    let unknown = || {
        let message = format!("no redemption of this customer has the key '{}'", shown(said));
        Refusal::new("unknown_redemption", message)
    };
    let member = book.customer.member.as_ref().ok_or_else(unknown)?;
    let meant = meant(&book.rules.secret, book.customer, asked, said);
    let bought = meant.iter().find_map(|key| member.redemption(key)).ok_or_else(unknown)?;
    if bought.undone {
        book.note("already_undone");
        return Ok(());
    }
    let (redemption, spent) = (bought.redemption.clone(), bought.at);
    book.record(Fact::Undone { key: redemption.key });
    // First, or what comes back would fill it.
    loyalty::forgive(book, redemption.points - sum(&redemption.lots), spent);
    for (lot, points) in &redemption.lots {
        loyalty::restore(book, *lot, *points, spent);
    }
    if book.program().reward(&redemption.reward).is_some_and(|r| r.stock.is_some()) {
        post_stock(book, &redemption.reward, -i64::from(redemption.quantity));
    }
    Ok(())
}

fn set_tier(book: &mut Book<'_>, id: &str, until: Until) -> Result<(), Refusal> {
    let level = book.program().level(id);
    let level = level.ok_or_else(|| {
        let levels = book.program().tiers.iter().flat_map(|tiers| &tiers.levels);
        let hint = did_you_mean(id, levels.map(|level| &*level.id));
        Refusal::new("unknown_tier", format!("the programme has no tier '{}'{hint}", shown(id)))
    })?;
    let end = until.end(&book.program().zone);
    if end <= book.at {
        return Err(Refusal::new("invalid", format!("until: {until} is over; name a later day or instant")));
    }
    tier::set(book, level, end);
    Ok(())
}

fn fulfill(book: &mut Book<'_>, benefit: &str, order_id: &str) -> Result<(), Refusal> {
    let order = OrderRef::derive(&book.rules.secret, order_id);
    let unknown = |what: &str| {
        let message = format!("order '{}' of this customer {what} '{}'", shown(order_id), shown(benefit));
        Err(Refusal::new("unknown_benefit", message))
    };
    let Some(record) = book.customer.orders.get(order) else { return unknown("is not known: it cannot bring") };
    if record.fulfilled.iter().any(|known| **known == *benefit) {
        book.note("already_fulfilled");
        return Ok(());
    }
    let Some(benefit) = record.benefits.iter().find(|known| ***known == *benefit).cloned() else {
        return unknown("has not brought, or no longer brings, the benefit");
    };
    book.record(Fact::Fulfilled { benefit, order });
    Ok(())
}

fn review(book: &mut Book<'_>, message_id: &str, approve: bool) -> Result<(), Refusal> {
    let activity = loyalty::activity_key(&book.rules.secret, message_id);
    let unknown = || {
        Refusal::new("unknown_activity", format!("no submission of this customer has the message id '{message_id}'"))
    };
    let member = book.customer.member.as_ref().ok_or_else(unknown)?;
    let submitted: Vec<Activity> = member.activities.iter().filter(|a| a.activity == activity).cloned().collect();
    if submitted.is_empty() {
        return Err(unknown());
    }
    let open: Vec<Activity> = submitted.into_iter().filter(|a| a.approved.is_none()).collect();
    if open.is_empty() {
        return Err(Refusal::new("already_reviewed", "this submission has been decided"));
    }
    if !approve {
        open.into_iter().for_each(|a| book.record(Fact::Reviewed { activity, rule: a.rule, approved: false }));
        return Ok(());
    }
    let mut refusal = unknown();
    let mut approved = 0;
    for submitted in open {
        match approve_one(book, &submitted) {
            Some(Err(over)) => refusal = over, // It stays open, others of the same message are decided.
            Some(Ok(())) => approved += 1,
            None => {}
        }
    }
    if approved > 0 { Ok(()) } else { Err(refusal) }
}

/// Approves what was submitted for one rule; none when there is no such rule any more.
fn approve_one(book: &mut Book<'_>, submitted: &Activity) -> Option<Result<(), Refusal>> {
    let edition = book.edition();
    let rule = edition.program.earn.iter().find(|rule| *rule.id == *submitted.rule)?;
    if !loyalty::within_limit(book, edition, &rule.id, rule.limit, submitted.at) {
        let message = format!("'{}' has paid as often as its limit allows in this period", rule.id);
        return Some(Err(Refusal::new("limit_reached", message)));
    }
    book.record(Fact::Reviewed { activity: submitted.activity, rule: submitted.rule.clone(), approved: true });
    if let crate::program::Gives::Fixed(points) = rule.gives {
        loyalty::grant_fixed(book, points, submitted.at, &rule.id);
    }
    Some(Ok(()))
}
