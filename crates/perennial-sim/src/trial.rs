//! One shop from its opening to its last step: acts, crashes, retries and comparisons.

use std::collections::{BTreeMap, BTreeSet};

use perennial::workspace::{Failure, PublishError, Receipt, Status, Workspace};
use perennial_core::customer::{Customer, Year};
use perennial_core::event::{Event, Product};
use perennial_core::id::{CustomerId, Identifier};
use perennial_core::input::{Asked, Command, Reject};
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;
use perennial_store::{Fault, MemoryDisk, Trouble, Write};
use rust_decimal::Decimal;

use crate::books::Books;
use crate::dice::Dice;
use crate::oracle::{Balance, Counted, Expected, Oracle, Standing};
use crate::plan::{Edition, FEATURED, IMPACT, Reward, Trade};
use crate::portrait;
use crate::shop::{Act, Message, Shop, arrivals};
use crate::{Finding, Report};

/// 2026-01-05T08:00:00Z.
const OPENING_MS: i64 = 1_767_600_000_000;
/// Steps between two times that everybody is woken: in between they sleep, as customers do whom nobody asks about.
const WAKE_EVERY: u64 = 10;
/// Times that a failed write is tried again before it is called a finding.
const TRIES: usize = 6;
const HOUR_MS: i64 = 3_600_000;
/// Messages set aside that a receipt names.
const CONFLICTS_TOLD: usize = 20;

struct Trial<'a> {
    disk: MemoryDisk,
    workspace: Option<Workspace>,
    shop: Shop,
    /// The time that the workspace knows: never before an entry that is written.
    now: Timestamp,
    trade: Trade,
    /// The programme in force; none before the first.
    edition: Option<Edition>,
    /// None once something happened that it cannot reckon.
    oracle: Option<Oracle>,
    /// Whether that may happen.
    unbound: bool,
    /// Points by their postings alone.
    books: Books,
    dice: Dice,
    /// A checkpoint is on its way to a disk that is slow.
    in_flight: bool,
    /// What was acknowledged: by message id, the body and the entry.
    acknowledged: BTreeMap<Box<str>, (Event, Option<u64>)>,
    people: Vec<Identifier>,
    care: Care,
    report: &'a mut Report,
}

type Held<T = ()> = Result<T, String>;

/// How much attention is paid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Everybody is looked at after every step, asleep as they are, and woken now and then.
    Usual,
    /// Everybody is woken, and everything verified, after every step.
    Close,
    /// As usual, and each step is printed with the entries that it wrote.
    Told,
}

/// Runs one shop. Every fourth one does everything, under `EcoExplorers`; every other of those takes merges back
/// that the oracle cannot reckon, which is silent from then on.
pub(crate) fn run(seed: u64, steps: u64, care: Care, report: &mut Report) -> Result<(), Finding> {
    play(seed, steps, care, report).map(drop)
}

/// Runs one shop; everybody that it knows in the end.
pub(crate) fn customers(seed: u64, steps: u64) -> Result<Vec<Customer>, Finding> {
    let mut report = Report::default();
    let mut trial = play(seed, steps, Care::Usual, &mut report)?;
    let clock = trial.now;
    let mut everybody = || -> Held<Vec<Customer>> {
        let ids = trial.insist(Workspace::everybody)?;
        let known = ids.into_iter().map(|id| trial.insist(|w| w.customer_by_id(clock, id)));
        known.filter_map(Result::transpose).collect()
    };
    everybody().map_err(|what| Finding { seed, step: steps, what })
}

fn play(seed: u64, steps: u64, care: Care, report: &mut Report) -> Result<Trial<'_>, Finding> {
    let trade = if seed % 4 == 3 { Trade::Eco } else { Trade::Corner };
    let mut trial = Trial {
        disk: MemoryDisk::new(),
        workspace: None,
        shop: Shop::new(Timestamp::from_millis(OPENING_MS), trade == Trade::Eco, seed.is_multiple_of(6)),
        now: Timestamp::from_millis(OPENING_MS),
        trade,
        edition: None,
        oracle: Some(Oracle::new(trade)),
        unbound: seed % 8 == 7,
        books: Books::default(),
        dice: Dice::new(seed),
        in_flight: false,
        acknowledged: BTreeMap::new(),
        people: Vec::new(),
        care,
        report,
    };
    let at = |step| move |what| Finding { seed, step, what };
    trial.open().and_then(|()| trial.publish()).and_then(|()| trial.stock_up()).map_err(at(0))?;
    for step in 1..=steps {
        trial.step(step).map_err(at(step))?;
        trial.report.steps += 1;
    }
    trial.verify().map_err(at(steps))?;
    Ok(trial)
}

impl Trial<'_> {
    fn open(&mut self) -> Held {
        self.workspace = None;
        let mut last = String::new();
        let mut tries = 0;
        while tries < TRIES {
            match Workspace::on_disk(&self.disk) {
                Ok(workspace) => {
                    self.workspace = Some(workspace);
                    return Ok(());
                }
                // The dead process may still have a checkpoint on its way to the disk.
                Err(failure) if failure.trouble == Trouble::InUse => std::thread::yield_now(),
                Err(failure) => {
                    last = failure.to_string();
                    tries += 1;
                }
            }
        }
        Err(format!("the workspace does not open again: {last}"))
    }

    fn crash(&mut self) -> Held {
        self.report.crashes += 1;
        if self.in_flight && self.dice.per_mille(500) {
            // The process dies before or while its checkpoint reaches the disk.
            let write = self.dice.one_of(&[Write::Checkpoint, Write::Duplicates]).copied();
            self.disk.fail_next(write.unwrap_or(Write::Checkpoint), Fault::Before);
        }
        self.workspace = None;
        self.let_land();
        self.open()
    }

    fn crash_and_lose_the_state(&mut self) -> Held {
        self.crash()?; // Until nothing is on its way any more.
        self.workspace = None;
        self.disk.delete_state();
        self.open()
    }

    /// Starts a checkpoint on a disk that is slow: what happens until it lands happens meanwhile.
    fn launch(&mut self) -> Held {
        if self.in_flight {
            return Ok(());
        }
        [Write::Duplicates, Write::Checkpoint].into_iter().for_each(|write| self.disk.hold(write));
        self.in_flight = true;
        self.report.launched += 1;
        let clock = self.now.plus_millis(HOUR_MS); // It is due at any rate.
        self.insist(|w| w.checkpoint_if_due(clock))
    }

    /// The disk has come round.
    fn let_land(&mut self) {
        self.in_flight = false;
        self.disk.let_go();
    }

    /// The machine's clock is set back; what is written already holds it.
    fn set_back(&mut self, by_ms: i64) -> Held {
        self.shop.clock = self.shop.clock.plus_millis(-by_ms);
        let last = self.workspace.as_ref().map(|w| w.journal().entry(w.last_seq())).transpose();
        let last = last.map_err(|failure| failure.to_string())?.flatten();
        self.now = last.map_or(self.shop.clock, |entry| entry.recorded_at.max(self.shop.clock));
        Ok(())
    }

    /// Does something until it works: what fails is tried again, sometimes by a new process.
    fn insist<T>(&mut self, mut act: impl FnMut(&mut Workspace) -> Result<T, Failure>) -> Held<T> {
        let mut last = String::new();
        for _ in 0..TRIES {
            let Some(workspace) = &mut self.workspace else { return Err("the workspace is closed".into()) };
            match act(workspace) {
                Ok(done) => return Ok(done),
                Err(failure) => {
                    last = failure.to_string();
                    self.report.failed_writes += 1;
                    self.let_land(); // Whoever mends it waits for it.
                    if self.dice.per_mille(400) {
                        self.crash()?;
                    }
                }
            }
        }
        Err(format!("it fails again and again: {last}"))
    }

    /// Now and then the next write of some sort fails, before or after it is done.
    fn sabotage(&mut self) {
        if self.dice.per_mille(60) {
            let write = [Write::Append, Write::Append, Write::Keys, Write::Checkpoint, Write::Duplicates];
            let write = self.dice.one_of(&write).copied().unwrap_or(Write::Append);
            let fault = if self.dice.per_mille(500) { Fault::Before } else { Fault::After };
            self.disk.fail_next(write, fault);
        }
    }

    fn step(&mut self, step: u64) -> Held {
        let mut act = self.shop.next(&mut self.dice);
        self.keep_to_what_is_reckoned(&mut act);
        if self.care == Care::Told {
            println!("{step} at {}: {act:?}", self.shop.clock);
        }
        let closely = self.care == Care::Close;
        self.sabotage();
        self.now = self.now.max(self.shop.clock);
        let clock = self.now;
        let look = match act {
            Act::Messages(messages) => self.messages(&messages)?,
            Act::Ask(asked) => self.ask(asked)?,
            Act::Publish => self.publish().map(|()| Vec::new())?,
            Act::Advance => self.wake(clock).map(|()| Vec::new())?,
            Act::Rank => {
                self.let_land();
                self.insist(|w| w.rank(clock))?;
                self.ranked()?;
                self.people.clone()
            }
            Act::Checkpoint => {
                // Waited for, because when another thread is done must not change the story.
                self.let_land();
                self.insist(Workspace::checkpoint).map(|()| Vec::new())?
            }
            Act::Launch => self.launch().map(|()| Vec::new())?,
            Act::Crash { delete_state, back_ms } => {
                if delete_state {
                    self.crash_and_lose_the_state()?;
                } else {
                    self.crash()?;
                }
                self.set_back(back_ms)?;
                self.remembered()?;
                self.people.clone()
            }
            Act::Verify => {
                self.verify()?;
                self.oracle.iter_mut().for_each(|o| o.wake_all(clock));
                Vec::new()
            }
        };
        self.read_on()?;
        self.look_asleep()?;
        // Every other time those whom it touched sleep on: what is due waits for what happens to them next.
        let touched = if step.is_multiple_of(2) { look } else { Vec::new() };
        self.look(&if step.is_multiple_of(WAKE_EVERY) || closely { self.people.clone() } else { touched })?;
        self.faults()?;
        if closely { self.verify() } else { Ok(()) }
    }

    /// A merge is taken back only where the oracle knows what would be without it; where it need not, the
    /// oracle is silent from then on.
    fn keep_to_what_is_reckoned(&mut self, act: &mut Act) {
        if let (Act::Ask(asked), Some(oracle)) = (&mut *act, &self.oracle)
            && matches!(asked.command, Command::Unmerge)
            && !oracle.may_part(&asked.customer)
        {
            if self.unbound {
                self.oracle = None;
            } else {
                *act = Act::Advance;
            }
        }
    }

    fn messages(&mut self, messages: &[Message]) -> Held<Vec<Identifier>> {
        self.report.messages += messages.len() as u64;
        let clock = self.now;
        let arrivals = arrivals(messages);
        let before = self.report.failed_writes;
        let receipts = self.insist(|w| w.take(clock, arrivals.clone()))?;
        let retried = self.report.failed_writes > before;
        if receipts.len() != messages.len() {
            return Err(format!("{} messages, {} receipts", messages.len(), receipts.len()));
        }
        let mut seen = Vec::new();
        let mut beside = Vec::new();
        for (message, receipt) in messages.iter().zip(&receipts) {
            match message {
                Message::Event(event) => {
                    self.received(event, receipt, retried)?;
                    seen.extend(event.ids.iter().cloned());
                }
                Message::Unreadable(reject) => self.garbled(reject, receipt)?,
            }
            if matches!(receipt.status, Status::Quarantined | Status::Rejected { .. }) {
                let id = receipt.message_id.clone();
                beside.push((self.was_folded(&id), id, receipt.seq));
            }
        }
        if retried && !beside.is_empty() {
            // What was rejected may have been so twice, and have woken somebody after the others had come.
            self.wake(clock)?;
        }
        for (was_folded, id, seq) in beside {
            self.keeps_its_receipt(&id, seq, was_folded)?;
        }
        self.meet(&seen);
        Ok(seen)
    }

    /// All that time brings until now.
    fn wake(&mut self, clock: Timestamp) -> Held {
        while self.insist(|w| w.advance(clock))? {}
        self.oracle.iter_mut().for_each(|oracle| oracle.advance(clock));
        Ok(())
    }

    fn was_folded(&self, id: &str) -> bool {
        self.acknowledged.get(id).is_some_and(|(_, seq)| seq.is_some())
    }

    /// What cannot be read is put down, whatever else has its id.
    fn garbled(&mut self, reject: &Reject, receipt: &Receipt) -> Held {
        self.report.unreadable += 1;
        let right = matches!(&receipt.status, Status::Rejected { code, .. } if *code == reject.code);
        if right && receipt.seq.is_some() {
            Ok(())
        } else {
            Err(format!("{reject:?} should be rejected, is {receipt:?}"))
        }
    }

    /// The receipt of an id is that of the message that was folded under it, and names what was set aside after
    /// that; without such a message it is that of what was rejected last.
    fn keeps_its_receipt(&mut self, id: &str, set_aside: Option<u64>, after: bool) -> Held {
        let told = self.insist(|w| w.receipt(Some("shop"), id))?;
        let Some(told) = told else { return Err(format!("message {id} has no receipt")) };
        let status = if self.was_folded(id) { "accepted" } else { "rejected" };
        // The list has an end.
        let is_named = told.conflicts.iter().any(|conflict| Some(conflict.seq) == set_aside);
        if told.status != status || (after && !is_named && told.conflicts.len() < CONFLICTS_TOLD) {
            return Err(format!("message {id} should be {status} beside {set_aside:?}, is {told:?}"));
        }
        Ok(())
    }

    /// What one receipt should say, and what the oracle learns from it.
    fn received(&mut self, event: &Event, receipt: &Receipt, retried: bool) -> Held {
        let id = &event.message_id;
        let wrong = |should: &str| Err(format!("message {id} should be {should}, is {:?}", receipt.status));
        // One that was rejected may come again, mended.
        if let Some((first, Some(seq))) = self.acknowledged.get(id) {
            let same = (&first.body, &first.properties) == (&event.body, &event.properties);
            return match &receipt.status {
                Status::Duplicate if same && receipt.seq == Some(*seq) => Ok(()),
                Status::Quarantined if !same => Ok(()),
                _ => wrong(if same { "a duplicate" } else { "set aside" }),
            };
        }
        let unknown_line = self.oracle.as_ref().map(|o| o.is_unknown_line(event));
        let seq = match &receipt.status {
            // After a failed write the message may have been durable without an answer.
            Status::Accepted if unknown_line != Some(true) => receipt.seq,
            Status::Duplicate if retried && unknown_line != Some(true) => receipt.seq,
            Status::Rejected { code, .. } if &**code == "unknown_line" && unknown_line != Some(false) => None,
            _ => return wrong(if unknown_line == Some(true) { "rejected" } else { "accepted" }),
        };
        if let Some(oracle) = &mut self.oracle {
            if seq.is_some() { oracle.event(event) } else { oracle.rejected(event) }
        }
        self.acknowledged.insert(id.clone(), (event.clone(), seq));
        Ok(())
    }

    fn ask(&mut self, asked: Asked) -> Held<Vec<Identifier>> {
        self.report.commands += 1;
        let clock = self.now;
        let before = self.report.failed_writes;
        let answer = self.insist(|w| w.ask(clock, asked.clone()))?;
        let retried = self.report.failed_writes > before;
        let mut asked = asked;
        asked.at = clock;
        let mut seen = vec![asked.customer.clone()];
        if let Command::Merge { from } = &asked.command {
            self.report.merges += u64::from(answer.outcome.as_ref().is_ok_and(|facts| !facts.is_empty()));
            seen.push(from.clone());
        }
        if asked.command == Command::Unmerge {
            self.report.unmerges += u64::from(answer.outcome.is_ok());
            seen.clone_from(&self.people); // The other side goes by any of their names.
        }
        self.meet(&seen);
        let Some(oracle) = &mut self.oracle else { return Ok(seen) };
        let expected = oracle.ask(clock, &asked);
        let code = answer.outcome.as_ref().err().map(|r| &*r.code);
        let right = match &expected {
            Expected::Again => answer.replayed,
            Expected::KeyReused => answer.key_reused,
            Expected::Done => code.is_none() && (retried || !answer.replayed),
            Expected::Refused(should) => code == Some(should) && (retried || !answer.replayed),
        };
        if right { Ok(seen) } else { Err(format!("{asked:?} should be {expected:?}, is {answer:?}")) }
    }

    fn meet(&mut self, who: &[Identifier]) {
        for name in who {
            if !self.people.contains(name) {
                self.people.push(name.clone());
            }
        }
    }

    /// Puts another version of the programme in force.
    fn publish(&mut self) -> Held {
        let clock = self.now;
        let edition = match &self.edition {
            Some(edition) => edition.next(clock.as_millis(), &mut self.dice),
            None => self.trade.opening(clock.as_millis(), &mut self.dice),
        };
        if self.care == Care::Told {
            println!("  {edition:?}");
        }
        let source = edition.document();
        self.insist(|w| match w.publish(clock, "sim", &source) {
            Ok(_) => Ok(Ok(())),
            Err(PublishError::Failure(failure)) => Err(failure),
            Err(PublishError::Problems(problems)) => Ok(Err(format!("the programme does not compile: {problems:?}"))),
        })??;
        // A publication that was durable but not acknowledged is in force twice, to no effect.
        let version = self.workspace.as_ref().map_or(0, |workspace| workspace.rules().latest_version());
        self.oracle.iter_mut().for_each(|oracle| oracle.publish(&edition, version));
        self.edition = Some(edition);
        Ok(())
    }

    /// What was published as the mark of those at the top.
    fn ranked(&mut self) -> Held {
        let clock = self.now;
        let (Some(workspace), Some(oracle), Some(edition)) = (&self.workspace, &mut self.oracle, &self.edition) else {
            return Ok(());
        };
        let (top, _, _) = edition.ranked();
        let published = workspace.rules().thresholds.get(top).copied().flatten().map(|value| Decimal::new(value, 6));
        let expected = oracle.rank(clock);
        if published == expected {
            return Ok(());
        }
        Err(format!("the top begins at {published:?}, the oracle says {expected:?}"))
    }

    /// The catalogue learns what some products do for the world.
    fn stock_up(&mut self) -> Held {
        let clock = self.now;
        let known = IMPACT.iter().map(|(id, _)| *id).chain(FEATURED);
        let known: BTreeSet<&str> = known.collect();
        let product = |id: &str| {
            let grams = IMPACT.iter().filter(|(known, _)| *known == id).map(|(_, grams)| ("waste_kg".into(), *grams));
            let tags = FEATURED.iter().filter(|known| **known == id).map(|_| "featured-eco".into());
            let (impact, tags) = (grams.collect(), tags.collect());
            Product { product_id: id.into(), tags, impact, ..Product::default() }
        };
        let products: Vec<Product> = known.into_iter().map(product).collect();
        self.insist(|w| w.learn_products(clock, "sim", products.clone())).map(drop)
    }

    /// Posts what is new in the journal to the second set of books.
    fn read_on(&mut self) -> Held {
        let Some(workspace) = &self.workspace else { return Ok(()) };
        for entry in workspace.journal().iter(self.books.read + 1) {
            let entry = entry.map_err(|failure| failure.to_string())?;
            if self.care == Care::Told {
                println!("  {entry:?}");
            }
            self.books.read(&entry)?;
        }
        Ok(())
    }

    /// The same of everybody, and nobody wakes for it.
    fn look_asleep(&mut self) -> Held {
        let Some(workspace) = &mut self.workspace else { return Err("the workspace is closed".into()) };
        let rules = workspace.rules().without_catalog();
        let mut seen: BTreeMap<CustomerId, Option<usize>> = BTreeMap::new();
        for name in &self.people {
            let found = workspace.as_held(name).map_err(|failure| failure.to_string())?;
            let who = self.oracle.as_ref().and_then(|oracle| oracle.who(name));
            if found.is_some_and(|customer| seen.get(&customer.id) == Some(&who)) {
                continue; // Looked at under another name.
            }
            if let Some(customer) = found {
                self.books.compare(customer)?;
                if seen.insert(customer.id, who).is_some() {
                    return Err(format!("{name} is somebody else, the oracle says"));
                }
            }
            let Some(oracle) = &mut self.oracle else { continue };
            let mut otherwise = None;
            if let (Some(customer), Some(who)) = (found, who) {
                oracle.follow(name, customer);
                customer.segments.iter().for_each(|s| oracle.trust(who, &s.segment, s.since.as_millis()));
                otherwise = portrait::differs(customer, &rules, &oracle.portrait(who, customer.clock.as_millis()));
            }
            let (found, expected) = (standing(found, &rules), oracle.standing(name));
            self.report.balances += 1;
            if found != expected {
                return Err(format!("{name} has {found:?} asleep, the oracle says {expected:?}"));
            }
            if let Some(otherwise) = otherwise {
                return Err(format!("{name} asleep: {otherwise}"));
            }
        }
        Ok(())
    }

    /// Compares wallets with their postings, and balances with the oracle's.
    fn look(&mut self, people: &[Identifier]) -> Held {
        let clock = self.now;
        for name in people {
            let found = self.insist(|w| w.customer(clock, name))?;
            self.read_on()?; // Looking lets come what is due.
            found.iter().try_for_each(|customer| self.books.compare(customer))?;
            let (Some(oracle), Some(workspace)) = (&mut self.oracle, &mut self.workspace) else { continue };
            let expected = oracle.awake(clock, name);
            let rules = workspace.rules().without_catalog();
            if let Some(held) = workspace.as_held(name).map_err(|failure| failure.to_string())? {
                oracle.follow(name, held);
            }
            self.report.balances += 1;
            if let (Some(customer), Some(who)) = (&found, oracle.who(name)) {
                let expected = oracle.portrait(who, clock.as_millis());
                let mut top = self.edition.iter().map(|edition| edition.ranked().0);
                let ranks = top.find_map(|top| portrait::ranks_otherwise(customer, top, &expected));
                if let Some(otherwise) = portrait::differs(customer, &rules, &expected).or(ranks) {
                    return Err(format!("{name}: {otherwise}"));
                }
            }
            let found = standing(found.as_ref(), &rules);
            if found != expected {
                return Err(format!("{name} has {found:?}, the oracle says {expected:?}"));
            }
        }
        self.stock()
    }

    fn stock(&mut self) -> Held {
        let (Some(oracle), Some(workspace)) = (&self.oracle, &self.workspace) else { return Ok(()) };
        for Reward { id: reward, stock, .. } in self.edition.iter().flat_map(Edition::rewards) {
            let expected = stock.map(|pieces| pieces - oracle.taken(reward));
            if workspace.stock(reward) != expected {
                return Err(format!(
                    "of {reward} {:?} are left, the oracle says {expected:?}",
                    workspace.stock(reward)
                ));
            }
        }
        Ok(())
    }

    /// After a crash what was acknowledged is there.
    fn remembered(&mut self) -> Held {
        let ids: Vec<Box<str>> =
            self.acknowledged.iter().filter(|(_, (_, s))| s.is_some()).map(|(i, _)| i.clone()).collect();
        for _ in 0..5 {
            let Some(id) = self.dice.one_of(&ids).cloned() else { return Ok(()) };
            let receipt = self.insist(|w| w.receipt(Some("shop"), &id))?;
            if receipt.is_none_or(|receipt| receipt.status != "accepted") {
                return Err(format!("message {id} was acknowledged and is forgotten"));
            }
        }
        Ok(())
    }

    fn faults(&mut self) -> Held {
        let faults = self.insist(Workspace::faults)?;
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    fn verify(&mut self) -> Held {
        self.report.verifications += 1;
        let clock = self.now;
        let findings = self.insist(|w| w.catch_up(clock).and_then(|()| w.verify()))?;
        // Nothing that was read before has changed since.
        self.read_on()?;
        let read = std::mem::take(&mut self.books);
        self.read_on()?;
        if read != self.books {
            return Err("the journal says something else than it did".into());
        }
        if findings.faults.is_empty() { Ok(()) } else { Err(findings.faults.join("; ")) }
    }
}

/// How a customer of the workspace stands.
fn standing(customer: Option<&Customer>, rules: &Rules) -> Standing {
    let Some(customer) = customer else { return Standing::Nobody };
    let Some(member) = &customer.member else { return Standing::Visitor };
    let ladder = rules.edition(customer.adopted).and_then(|edition| edition.program.tiers.as_ref());
    let held = member.tier.as_ref().filter(|_| ladder.is_some());
    let totals = member.wallet.totals();
    let of_year = |year: &Year| Counted { points: year.points, spend: year.spend };
    let counted = member.years.iter().map(|(year, counted)| (i64::from(*year), of_year(counted)));
    let counted = counted.filter(|(_, counted)| *counted != Counted::default());
    let mut marks: Vec<Box<str>> = member.milestones.iter().map(|reached| reached.milestone.clone()).collect();
    marks.sort();
    Standing::Member(Balance {
        pending: totals.pending,
        available: member.wallet.available(),
        held: totals.held,
        spent: totals.spent,
        expired: totals.expired,
        arrears: member.wallet.arrears,
        tier: held.map_or_else(Box::default, |t| t.tier.clone()),
        tier_until: held.map_or(Timestamp::NEVER, |t| t.until).as_millis(),
        impact: member.impact.get("waste_kg").copied().unwrap_or(0),
        trees: member.impact.get("trees").copied().unwrap_or(0),
        years: counted.collect(),
        marks,
    })
}
