//! The journal's tail: folding what the last checkpoint does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use perennial_core::command;
use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::fact::Fact;
use perennial_core::feature::Seen as Feature;
use perennial_core::id::{CustomerId, Identifier};
use perennial_core::input::{Entry, Input, Publication, Published};
use perennial_core::program;
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;
use perennial_core::unmerge;
use perennial_store::{Failure, JournalReader, State, Trouble};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::erase::Erased;
use super::rows::{self, ENCODING};
use super::{Workspace, unmerge as side};
use crate::models::newcomers::Arrivals;

/// A programme version, as it was published.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Source {
    /// The entry that published it.
    pub(super) seq: u64,
    /// The document.
    pub(super) text: Box<str>,
}

/// Parts of the workspace's own state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Thresholds, stock, senders, who was erased, which models are in force.
    pub(super) counters: bool,
    /// Programmes or the catalogue.
    pub(super) published: bool,
}

/// What a checkpoint keeps of what was published: as large as the catalogue, and written when that changed.
#[derive(Serialize, Deserialize)]
struct Shelved {
    sources: Vec<(Timestamp, Source)>,
    catalog: Vec<perennial_core::event::Product>,
    arrivals: Arrivals,
}

/// The small rest of the workspace's own part, which may change with every event.
#[derive(Default, Serialize, Deserialize)]
struct Counters {
    thresholds: Vec<(Box<str>, Option<i64>)>,
    taken: Vec<(Box<str>, i64)>,
    senders: BTreeSet<Box<str>>,
    erased: Erased,
    /// Entries that published the models in force, and whether everybody was scored since.
    models: Vec<(u64, bool)>,
    midnight_after: Option<Timestamp>,
}

pub(super) fn encode(workspace: &Workspace) -> Result<Vec<u8>, Failure> {
    let Workspace { rules, sources, models, .. } = workspace;
    let dates = (1..=rules.latest_version()).filter_map(|v| rules.edition(v).map(|e| e.published_at));
    pack(&Shelved {
        sources: dates.zip(sources.iter().cloned()).collect(),
        catalog: rules.catalog.iter().cloned().collect(),
        arrivals: models.arrivals(),
    })
}

pub(super) fn encode_counters(workspace: &Workspace) -> Result<Vec<u8>, Failure> {
    let Workspace { rules, taken, senders, erased, models, midnight_after, .. } = workspace;
    pack(&Counters {
        thresholds: rules.thresholds.iter().map(|(k, v)| (k.clone(), *v)).collect(),
        taken: taken.iter().map(|(k, v)| (k.clone(), *v)).collect(),
        senders: senders.clone(),
        erased: *erased,
        models: models.kept(),
        midnight_after: *midnight_after,
    })
}

fn pack(part: &impl Serialize) -> Result<Vec<u8>, Failure> {
    postcard::to_extend(part, vec![ENCODING]).map_err(|e| super::misfit("encode the workspace", &e.to_string()))
}

fn unpack<T: DeserializeOwned>(part: &[u8]) -> Result<T, Failure> {
    let Some((&ENCODING, body)) = part.split_first() else { return Err(rows::outdated(READ)) };
    postcard::from_bytes(body).map_err(|e| rows::unreadable(READ, &e))
}

const READ: &str = "read the workspace from state.db";

fn corrupt(detail: impl Into<Box<str>>) -> Failure {
    Failure { trouble: Trouble::Corrupt, doing: "read the workspace".into(), detail: detail.into() }
}

/// Puts a publication in force.
pub(super) fn publish(
    rules: &mut Rules,
    sources: &mut Vec<Source>,
    seq: u64,
    news: &Publication,
) -> Result<(), Failure> {
    match &news.what {
        Published::Program { source, .. } => {
            let program = program::compile_published(source).map_err(|problems| {
                corrupt(problems.first().map_or_else(|| "the programme does not compile".into(), ToString::to_string))
            })?;
            rules.publish(program, news.at);
            sources.push(Source { seq, text: source.clone() });
        }
        Published::Catalog(products) => rules.learn_products(products),
        Published::Threshold { segment, value } => drop(rules.thresholds.insert(segment.clone(), *value)),
        Published::Model(_) | Published::Scores(_) => {} // Not rules: the workspace holds models, customers their scores.
    }
    Ok(())
}

/// What the features of the newest programme remember of a customer: taken over where the
/// definition is unchanged, else filled in from the customer's own `history`.
pub(super) fn refill(
    rules: &Rules,
    customer: &Customer,
    history: impl FnOnce() -> Result<Vec<Entry>, Failure>,
) -> Result<Vec<Feature>, Failure> {
    let Some(new) = rules.latest() else { return Ok(Vec::new()) };
    let old = rules.edition(customer.adopted);
    let known = |feature| {
        let old = old?;
        let at = old.program.features.iter().position(|f| f == feature)?;
        customer.features.get(at).cloned()
    };
    let mut seen: Vec<Option<Feature>> = new.program.features.iter().map(known).collect();
    if seen.iter().all(Option::is_some) {
        return Ok(seen.into_iter().flatten().collect());
    }
    let history = history()?;
    // A definition that panics on some history begins empty, live and in every refold.
    let filled = catch_unwind(|| {
        // Who was merged lived apart until then, with a wallet of their own.
        let mut apart: BTreeMap<CustomerId, Customer> = BTreeMap::new();
        let blank = |id| Customer::new(id, new.blank_features(), new.program.version);
        for entry in &history {
            let id = entry.customer.unwrap_or(customer.id);
            let mut fresh = apart.remove(&id).unwrap_or_else(|| blank(id));
            let gone = |from| apart.remove(&from);
            engine::replay(rules, &mut fresh, instant(entry), entry.input.as_ref(), &entry.outcome, gone);
            apart.insert(id, fresh);
        }
        apart.remove(&customer.id).map_or_else(|| new.blank_features(), |whole| whole.features)
    });
    let filled = filled.unwrap_or_else(|_| new.blank_features());
    Ok(seen.iter_mut().zip(filled).map(|(known, fresh)| known.take().unwrap_or(fresh)).collect())
}

/// All durable entries of customers, in journal order, for readers beside the writer: they find those that no
/// checkpoint holds by reading the journal's tail.
fn history(journal: &JournalReader, state: &State, customers: &[CustomerId]) -> Result<Vec<Entry>, Failure> {
    let position = state.position()?;
    let mut entries = read_all(journal, &numbers(state, customers)?)?;
    for entry in journal.iter(position + 1) {
        let entry = entry?;
        if is_of(&entry, customers) {
            entries.push(entry);
        }
    }
    entries.sort_by_key(|e| e.seq);
    entries.dedup_by_key(|e| e.seq);
    Ok(entries)
}

/// The numbers of customers' entries that the last checkpoint holds.
fn numbers(state: &State, customers: &[CustomerId]) -> Result<Vec<u64>, Failure> {
    let mut numbers = Vec::new();
    for root in customers {
        let mut before = None;
        loop {
            let page = state.timeline(*root, before, 1_000)?;
            let Some(last) = page.last() else { break };
            before = Some(*last);
            numbers.extend(page);
        }
    }
    Ok(numbers)
}

fn read_all(journal: &JournalReader, numbers: &[u64]) -> Result<Vec<Entry>, Failure> {
    numbers.iter().filter_map(|seq| journal.entry(*seq).transpose()).collect()
}

fn is_of(entry: &Entry, customers: &[CustomerId]) -> bool {
    entry.customer.is_some_and(|customer| customers.contains(&customer))
}

/// The durable history of customers as their own.
pub(super) fn own_history_of(
    journal: &JournalReader,
    state: &State,
    customers: &[CustomerId],
) -> Result<Vec<Entry>, Failure> {
    unmerge::own_history(history(journal, state, customers)?, |seq| journal.entry(seq))
}

/// The instant an entry is folded at.
pub(super) fn instant(entry: &Entry) -> Timestamp {
    entry.input.as_ref().map_or(entry.recorded_at, instant_of)
}

/// The instant an input is folded at.
pub(super) fn instant_of(input: &Input) -> Timestamp {
    match input {
        Input::Event(event) => event.at,
        Input::Command(asked) => asked.at,
        Input::Timer(timer) => timer.at,
        Input::Joined { at } | Input::Adopted { at, .. } => *at,
        Input::Published(news) => news.at,
        Input::Reject(reject) => reject.received_at,
    }
}

impl Workspace {
    /// What the features of the newest programme remember of a customer, from the entries before a
    /// position: a refold meets the later ones itself.
    pub(super) fn refill(&self, customer: &Customer, before: u64) -> Result<Vec<Feature>, Failure> {
        refill(&self.rules, customer, || self.own_history(&customer.roots, before, None))
    }

    /// The history of customers up to an entry, as their own: un-merges have replaced parts of it.
    /// `last` is an entry that is not written yet.
    pub(super) fn own_history(
        &self,
        customers: &[CustomerId],
        before: u64,
        last: Option<&Entry>,
    ) -> Result<Vec<Entry>, Failure> {
        let mut entries = match &self.origin {
            Some((journal, state)) => history(journal, state, customers)?,
            None => self.history(customers)?,
        };
        // Who is decided apart has what was folded so far, and steps without a number of their own have an earlier one.
        entries.retain(|e| e.seq < before || self.apart);
        entries.extend(last.cloned());
        unmerge::own_history(entries, |seq| self.entry(seq))
    }

    /// All entries of customers, in journal order. Memory knows the numbers of those that no checkpoint holds,
    /// so that nobody reads the journal's tail for them.
    fn history(&self, customers: &[CustomerId]) -> Result<Vec<Entry>, Failure> {
        let journal = self.settled_journal()?;
        let mut known = self.warm.recent(customers);
        known.extend(numbers(&self.state, customers)?);
        known.sort_unstable();
        known.dedup(); // What a checkpoint on its way holds may be there already.
        let mut entries = read_all(&journal, &known)?;
        entries.extend(self.batch.iter().filter(|entry| is_of(entry, customers)).cloned());
        Ok(entries)
    }

    /// An entry of the journal or of the batch at hand.
    pub(super) fn entry(&self, seq: u64) -> Result<Option<Entry>, Failure> {
        let at = self.batch.partition_point(|e| e.seq < seq);
        match (self.batch.get(at).filter(|e| e.seq == seq), &self.origin) {
            (Some(entry), _) => Ok(Some(entry.clone())),
            (None, Some((journal, _))) => journal.entry(seq),
            (None, None) => self.settled_journal()?.entry(seq),
        }
    }

    /// Counts the pieces that facts took off the shelf.
    pub(super) fn count_stock(&mut self, facts: &[Fact]) {
        for fact in facts {
            if let Fact::Posted(posting) = fact
                && let Some((reward, pieces)) = super::pieces(posting)
            {
                *self.taken.entry(reward.into()).or_default() += pieces;
                self.changed.counters = true;
            }
        }
    }

    /// Makes memory from the last checkpoint and the journal after it.
    pub(super) fn refold(&mut self) -> Result<(), Failure> {
        let (shelved, counters) = (self.state.workspace()?, self.state.counters()?);
        if shelved.is_some() || counters.is_some() {
            self.take_over(shelved.as_deref(), counters.as_deref())?;
        }
        let from = self.state.position()? + 1;
        for entry in self.journal.reader().ahead(from)? {
            self.refold_contained(&entry?)?;
        }
        Ok(())
    }

    /// An entry that breaks a promise of ours is damaged, or a program wrote it that has one mended.
    pub(super) fn refold_contained(&mut self, entry: &Entry) -> Result<(), Failure> {
        let folded = catch_unwind(AssertUnwindSafe(|| self.refold_entry(entry)));
        folded.unwrap_or_else(|_| Err(corrupt(format!("entry {} cannot be folded again", entry.seq))))
    }

    /// Takes over what the last checkpoint holds of the workspace.
    fn take_over(&mut self, shelved: Option<&[u8]>, counters: Option<&[u8]>) -> Result<(), Failure> {
        let shelved: Option<Shelved> = shelved.map(unpack).transpose()?;
        let counters: Counters = counters.map(unpack).transpose()?.unwrap_or_default();
        let mut arrivals = None;
        if let Some(shelved) = shelved {
            for (at, source) in shelved.sources {
                let what = Published::Program { version: 0, source: source.text };
                publish(&mut self.rules, &mut self.sources, source.seq, &Publication { at, by: "".into(), what })?;
            }
            self.rules.learn_products(&shelved.catalog);
            arrivals = Some(shelved.arrivals);
        }
        self.rules.thresholds = counters.thresholds.into_iter().collect();
        self.taken = counters.taken.into_iter().collect();
        self.senders = counters.senders;
        self.erased = counters.erased;
        self.midnight_after = self.midnight_after.max(counters.midnight_after);
        self.take_models_over(&counters.models, arrivals)
    }

    /// The next checkpoint writes what a publication changed.
    pub(super) fn note_published(&mut self, news: &Publication) {
        self.changed.counters = true;
        self.changed.published |= matches!(news.what, Published::Program { .. } | Published::Catalog(_));
    }

    fn refold_entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.now = self.now.max(entry.recorded_at);
        if let (Some(audit), None, Some(root)) = (&mut self.audit, &entry.input, entry.root) {
            audit.unreadable.insert(root);
        }
        match &entry.input {
            Some(Input::Published(news)) => {
                self.note_published(news);
                self.put_in_force(entry.seq, news)?;
                if let Published::Scores(rows) = &news.what {
                    self.refold_scores(entry.seq, news.at, rows)?;
                }
            }
            Some(Input::Event(event)) if entry.cause.is_none() => self.remember_event(event, entry.seq),
            Some(Input::Reject(reject)) => self.remember_reject(reject, entry.cause, entry.seq),
            _ => {}
        }
        if let Some(id) = entry.customer
            && self.warm.get(id)?.is_none_or(|c| c.folded < entry.seq)
        {
            self.refold_customer(entry, id)?;
        }
        let event = match &entry.input {
            Some(Input::Event(event)) => Some(Some(&**event)),
            None if entry.customer.is_some() && !side::parts(entry) => Some(None), // An event, if a cause is told.
            _ => None,
        };
        if let Some(event) = event {
            // Before it is indexed, as it was then: the index says at once that nothing waits for a new order.
            let waited = self.follow_order(event, &entry.outcome, entry.seq)?;
            self.owed.extend(waited);
            entry.cause.into_iter().for_each(|waited| self.warm.comes_in(waited, entry.seq));
        }
        self.settle_owed(entry)?;
        self.warm.index(entry);
        self.warm.settled(std::slice::from_ref(entry));
        self.count_stock(&entry.outcome);
        Ok(())
    }

    pub(super) fn refold_customer(&mut self, entry: &Entry, id: CustomerId) -> Result<(), Failure> {
        if side::parts(entry) {
            if self.audit.is_some() {
                self.part_again(entry, id)?;
            }
            return self.refold_side(entry, id);
        }
        let mut customer = self.warm.take(id)?.unwrap_or_else(|| {
            let (features, version) =
                self.rules.latest().map_or((Vec::new(), 0), |e| (e.blank_features(), e.program.version));
            Box::new(Customer::new(id, features, version))
        });
        self.follow_latest(&mut customer, entry.seq)?;
        for fact in &entry.outcome {
            match fact {
                Fact::Recalled { order } => {
                    self.warm.old_order(*order)?.into_iter().for_each(|record| customer.orders.fetched(record));
                    self.warm.came_back(*order, id);
                }
                Fact::RedemptionRecalled { key } => {
                    self.warm.fetch_redemption(&mut customer, key)?;
                }
                _ => {}
            }
        }
        self.name(&mut customer, entry);
        self.decide_again(entry, &customer);
        let mut merged = Vec::new();
        for fact in &entry.outcome {
            if let Fact::Merged { from } = fact
                && let Some(mut gone) = self.warm.take(*from)?
            {
                self.follow_latest(&mut gone, entry.seq)?; // As both sides did before they were merged.
                self.warm.redirect(&gone, id, self.secret());
                merged.push(*gone);
            }
        }
        let gone = |from: CustomerId| merged.iter().find(|c| c.id == from).cloned();
        engine::replay(&self.rules, &mut customer, instant(entry), entry.input.as_ref(), &entry.outcome, gone);
        if let Some(Input::Command(asked)) = &entry.input {
            command::remember(&mut customer, asked, entry.seq);
        }
        if entry.outcome.iter().any(|fact| matches!(fact, Fact::Parted(_))) {
            customer.parted.push(entry.seq);
        }
        customer.was_folded(entry.seq, &entry.outcome);
        self.warm.put(customer, true);
        self.bury(id, &entry.outcome, entry.seq)
    }

    /// Follows the newest programme version, as it stood before an entry, without deciding anything.
    pub(super) fn follow_latest(&self, customer: &mut Customer, before: u64) -> Result<(), Failure> {
        if customer.adopted < self.rules.latest_version() {
            let seen = self.refill(customer, before)?;
            engine::take_up(&self.rules, customer, seen);
        }
        Ok(())
    }

    /// Identifiers that an entry linked: their hashes are facts, their values are in the input.
    pub(super) fn name(&mut self, customer: &mut Customer, entry: &Entry) {
        if !entry.outcome.iter().any(|fact| matches!(fact, Fact::Linked(_))) {
            return; // As most do not.
        }
        let said: Vec<Identifier> = match &entry.input {
            Some(Input::Event(event)) => event.ids.clone(),
            Some(Input::Command(asked)) => vec![asked.customer.clone()],
            _ => Vec::new(),
        };
        let secret = self.secret();
        let root = customer.root_of(&said);
        for fact in &entry.outcome {
            let Fact::Linked(hash) = fact else { continue };
            self.warm.link(*hash, customer.id);
            let name = said.iter().find(|id| id.hashed(&secret) == *hash);
            name.into_iter().for_each(|name| customer.identifiers.push((name.clone(), root)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use perennial_core::input::{Asked, Command};
    use perennial_core::time::Timestamp;

    use super::Changed;
    use crate::wire::Circumstances;
    use crate::wire::segment::{Call, parse};
    use crate::workspace::Workspace;

    const COFFEE: &str = include_str!("../../../../programs/coffee.yaml");

    fn pings(workspace: &mut Workspace, at: Timestamp, of: impl Iterator<Item = (String, u32)>) {
        let said: Vec<String> = of
            .map(|(who, n)| format!(r#"{{"type":"track","event":"Ping","userId":"{who}","messageId":"{who}-{n}"}}"#))
            .collect();
        for some in said.chunks(2_000) {
            let body = format!(r#"{{"batch":[{}]}}"#, some.join(","));
            let batch = parse(Call::Batch, body.as_bytes(), &Circumstances::live("shop", at)).unwrap();
            workspace.take(at, batch).unwrap();
        }
    }

    #[test]
    fn following_a_version_reads_the_customers_own_entries_however_long_the_journals_tail() {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut workspace = Workspace::memory().unwrap();
        workspace.publish(at, "test", COFFEE).unwrap();
        let many = |who: u32| (format!("known{who}"), 0);
        pings(&mut workspace, at, (0..40).map(many));
        workspace.checkpoint().unwrap();
        pings(&mut workspace, at, (0..40).map(|who| (format!("known{who}"), 1)));
        pings(&mut workspace, at, (0..20_000).map(|n| (format!("busy{}", n % 5), n)));
        let began = Instant::now();
        assert!(workspace.journal().iter(1).count() > 20_000);
        let whole_tail = began.elapsed();
        let fresh = format!("{COFFEE}\nfeatures: {{ pings: {{ count: Ping, within: P30D }} }}\n");
        workspace.publish(at, "test", &fresh).unwrap();
        let began = Instant::now();
        pings(&mut workspace, at, (0..40).map(|who| (format!("known{who}"), 2)));
        let took = began.elapsed();
        assert!(took < whole_tail * 8, "forty took {took:?}, reading the tail once takes {whole_tail:?}");
        let customer = workspace.customer(at, &"known7".parse().unwrap()).unwrap().unwrap();
        let feature = &workspace.rules().latest().unwrap().program.features[0];
        assert_eq!(format!("{:?}", customer.features[0].value(feature, at)), "Number(3)");
    }

    #[test]
    fn what_is_redeemed_has_the_catalogue_written_no_more() {
        const PROGRAM: &str = "{ perennial: 1, id: c, name: C, currency: EUR, time_zone: UTC,
            rewards: [{ id: mug, name: Mug, points: 1, stock: 5 }] }";
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let disk = perennial_store::MemoryDisk::new();
        let mut workspace = Workspace::on_disk(&disk).unwrap();
        workspace.publish(at, "test", PROGRAM).unwrap();
        let bottle = serde_json::from_str(r#"{ "product_id": "bottle" }"#).unwrap();
        workspace.learn_products(at, "test", vec![bottle]).unwrap();
        assert!(workspace.changed.published);
        let ask = |workspace: &mut Workspace, command| {
            let asked = Asked::new(at, "test", "ana".parse().unwrap(), None, command);
            workspace.ask(at, asked).unwrap().outcome.unwrap();
        };
        ask(&mut workspace, Command::Enroll);
        ask(&mut workspace, Command::Adjust { points: 9, reason: "welcome".into(), by: "test".into() });
        workspace.checkpoint().unwrap();
        assert_eq!(workspace.changed, Changed::default());
        ask(&mut workspace, Command::Redeem { reward: "mug".into(), quantity: 2 });
        assert_eq!(workspace.changed, Changed { counters: true, published: false });
        workspace.checkpoint().unwrap();
        drop(workspace);
        let workspace = Workspace::on_disk(&disk).unwrap();
        assert_eq!((workspace.stock("mug"), workspace.rules.catalog.iter().count()), (Some(3), 1));
        assert_eq!(workspace.changed, Changed::default(), "the state says it all");
    }
}
