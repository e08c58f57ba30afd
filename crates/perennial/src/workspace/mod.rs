//! A workspace: one business's rules, customers and journal, folded by one writer.
//!
//! Promise: what [`Workspace::take`], [`Workspace::ask`] and [`Workspace::publish`] return is
//! durable; what [`Workspace::fold_in`] and [`Workspace::decide_in`] return is so once what
//! [`Workspace::flush`] was given has been told. When an append fails nothing is acknowledged, memory
//! is dropped and made again from the last checkpoint and the journal.
//! Absent on purpose: clocks, sockets and threads. Instants come with the call; the pump owns the
//! thread.

mod answers;
mod archive;
mod audit;
mod checkpoint;
mod contain;
mod erase;
mod history;
mod identity;
mod intake;
mod models;
pub mod overview;
mod rank;
mod rows;
mod tail;
mod unmerge;
pub mod verify;
mod warm;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use perennial_core::command::{self, Neighbours};
use perennial_core::customer::{Customer, Recorded};
use perennial_core::event::Product;
use perennial_core::fact::{Account, Fact, Outcome, Posting, Unit};
use perennial_core::id::{CustomerId, Identifier, OrderRef, Secret};
use perennial_core::input::{Asked, Command, Entry, Input, Publication, Published, Timer};
use perennial_core::money::Currency;
use perennial_core::program;
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;
use perennial_core::{engine, merge};
use perennial_store::{Appended, Duplicates, Journal, JournalReader, Keys, MemoryDisk, State, Store, Trouble};

pub use answers::{Glimpse, Who};
pub use history::{History, Refused};
pub use intake::{Marked, Receipt, Status};
pub use models::{Held, Mark, Round};
pub(crate) use models::{customers, ordered};
pub use perennial_core::command::Refusal;
pub use perennial_store::Failure;
use warm::Warm;

/// Customers that one call of [`Workspace::advance`] wakes at most.
const WAKE_MAX: usize = 2_048;
/// Timers that one input of one customer may set off, against a loop without end.
const TIMERS_MAX: usize = 10_000;

/// One business's rules, customers and journal.
pub struct Workspace {
    journal: Journal,
    keys: Keys,
    state: State,
    rules: Rules,
    /// Documents of the programme versions, as published.
    sources: Vec<tail::Source>,
    warm: Warm,
    duplicates: Duplicates,
    /// Names of the sources that ever sent anything.
    senders: BTreeSet<Box<str>>,
    in_the_making: Option<checkpoint::InTheMaking>,
    in_flight: Option<checkpoint::InFlight>,
    checkpoint_at: Timestamp,
    /// What is done once a day was last done before the first midnight after this.
    midnight_after: Option<Timestamp>,
    /// The one that is being passed.
    midnight: Option<rank::Midnight>,
    /// Pieces taken of each reward.
    taken: BTreeMap<Box<str>, i64>,
    erased: erase::Erased,
    /// Trained models in force.
    models: models::Models,
    /// Entries whose order has come, and which are still to follow it to its owner. Never in a checkpoint.
    owed: VecDeque<u64>,
    /// How often the messages of entries have come again since this process began, for the latest that have.
    repeats: BTreeMap<u64, u32>,
    /// Entries of the batch at hand, not yet appended.
    batch: Vec<Entry>,
    /// Who waits until that is durable.
    waiting: Vec<Told>,
    /// Who hears what is about to be written.
    herald: Option<Herald>,
    next_seq: u64,
    now: Timestamp,
    /// What of the workspace's own part of the state changed since the last checkpoint.
    changed: tail::Changed,
    /// Set while a journal is verified.
    audit: Option<audit::Audit>,
    /// Set while a journal is verified: where its entries are read.
    origin: Option<(JournalReader, State)>,
    /// An append failed: memory must be made again before anything else.
    broken: bool,
    /// A side of a merge is folded here: what panics is another workspace's to contain.
    apart: bool,
    /// Where tests let a fold panic, and how often.
    #[cfg(test)]
    traps: std::cell::RefCell<BTreeMap<String, u32>>,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The entry that holds it.
    pub seq: u64,
    /// The customer; none when there is none.
    pub customer: Option<CustomerId>,
    /// The key had been used for the same command: this is the first answer again.
    pub replayed: bool,
    /// The key had been used for another command; nothing was done.
    pub key_reused: bool,
    /// The currency of its money, the programme's; none where nothing followed.
    pub currency: Option<Currency>,
    /// What followed, or the refusal.
    pub outcome: Result<Outcome, Refusal>,
}

impl Workspace {
    /// Opens the workspace of a folder; the last checkpoint and the journal's tail make its memory,
    /// or the whole journal, when another version wrote the checkpoint.
    ///
    /// # Errors
    /// When the folder is in use, damaged or out of reach.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        match Store::open(folder).and_then(Self::on) {
            Err(failure) if failure.trouble == Trouble::Outdated => {
                tracing::info!(reason = %failure.detail, "the journal is folded again from its beginning");
                perennial_store::discard_state(folder)?;
                Self::on(Self::store_without_state(folder)?)
            }
            opened => opened,
        }
    }

    /// As [`Workspace::open`], of a folder that is there.
    ///
    /// # Errors
    /// Those of the store; also when the folder holds no journal and keys.
    pub fn open_existing(folder: &Path) -> Result<Self, Failure> {
        perennial_store::refuse_missing("open the data folder", folder)?;
        Self::open(folder)
    }

    /// The list of messages stays if it can be read: it knows those of the erased, too.
    fn store_without_state(folder: &Path) -> Result<Store, Failure> {
        match Store::open(folder) {
            Err(failure) if failure.trouble == Trouble::Outdated => {
                perennial_store::discard_duplicates(folder)?;
                Store::open(folder)
            }
            opened => opened,
        }
    }

    /// A workspace that lives as long as its handle.
    ///
    /// # Errors
    /// Those of the store.
    pub fn memory() -> Result<Self, Failure> {
        Self::on(Store::memory())
    }

    /// A workspace on a memory disk, which outlives it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn on_disk(disk: &MemoryDisk) -> Result<Self, Failure> {
        Self::on(Store::on(disk)?)
    }

    /// A workspace on an open store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn on(store: Store) -> Result<Self, Failure> {
        let (known, folded) = (store.duplicates.position(), store.state.position()?);
        if known < folded {
            let detail = format!("the list of duplicates goes to entry {known}, the state to {folded}");
            return Err(Failure {
                trouble: Trouble::Outdated,
                doing: "open the workspace".into(),
                detail: detail.into(),
            });
        }
        let secret = store.keys.secret("workspace")?;
        let mut workspace = Self {
            journal: store.journal,
            keys: store.keys,
            warm: Warm::new(store.state.clone()),
            state: store.state,
            rules: Rules::new(secret),
            sources: Vec::new(),
            duplicates: store.duplicates,
            senders: BTreeSet::new(),
            in_the_making: None,
            in_flight: None,
            checkpoint_at: Timestamp::EPOCH,
            midnight_after: None,
            midnight: None,
            taken: BTreeMap::new(),
            erased: erase::Erased::default(),
            models: models::Models::default(),
            owed: VecDeque::new(),
            repeats: BTreeMap::new(),
            batch: Vec::new(),
            waiting: Vec::new(),
            herald: None,
            next_seq: 1,
            now: Timestamp::EPOCH,
            changed: tail::Changed::default(),
            audit: None,
            origin: None,
            broken: true,
            apart: false,
            #[cfg(test)]
            traps: std::cell::RefCell::default(),
        };
        workspace.recover()?;
        Ok(workspace)
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The document of the programme in force.
    pub fn program_source(&self) -> Option<&str> {
        self.sources.last().map(|source| &*source.text)
    }

    /// Reads the journal while the writer goes on.
    pub fn journal(&self) -> JournalReader {
        self.journal.reader()
    }

    /// Reads the last checkpoint while the writer goes on.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The keys and secrets of the workspace.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The last entry that is durable.
    pub fn last_seq(&self) -> u64 {
        self.journal.last_seq()
    }

    /// The workspace's time: that of the last entry, or the last it was told, if later.
    pub fn latest(&self) -> Timestamp {
        self.now
    }

    /// Pieces left of a reward; none when there is no limit.
    pub fn stock(&self, reward: &str) -> Option<i64> {
        let stock = self.rules.latest()?.program.reward(reward)?.stock?;
        Some(stock - self.taken.get(reward).copied().unwrap_or(0))
    }

    pub(crate) fn secret(&self) -> Secret {
        self.rules.secret
    }

    /// Puts a programme in force: checked, journalled, and adopted by everybody at their next input.
    ///
    /// # Errors
    /// The problems of a document that does not compile, or the store's failure.
    pub fn publish(&mut self, now: Timestamp, by: &str, source: &str) -> Result<u32, PublishError> {
        self.ready(now)?;
        self.check(source)?;
        let version = self.rules.latest_version() + 1;
        self.publication(by, Published::Program { version, source: source.into() })?;
        Ok(version)
    }

    /// Whether a programme could be published now.
    ///
    /// # Errors
    /// What is wrong with it, or the store's failure.
    pub fn check(&self, source: &str) -> Result<(), PublishError> {
        let program = program::compile(source).map_err(PublishError::Problems)?;
        let problems = self.rules.latest().map_or_else(Vec::new, |now| program.unlike(&now.program, source));
        if problems.is_empty() || !self.knows_anybody()? {
            return Ok(()); // Before anybody is there, it is another beginning.
        }
        Err(PublishError::Problems(problems))
    }

    /// Adds products to the catalogue; answers how many of them were news.
    ///
    /// # Errors
    /// The store's failure.
    pub fn learn_products(&mut self, now: Timestamp, by: &str, products: Vec<Product>) -> Result<usize, Failure> {
        self.ready(now)?;
        let news: Vec<Product> =
            products.into_iter().filter(|p| self.rules.catalog.get(&p.product_id) != Some(p)).collect();
        for chunk in news.chunks(1_000) {
            self.publication(by, Published::Catalog(chunk.to_vec()))?;
        }
        Ok(news.len())
    }

    /// All customers, in the order of their ids.
    ///
    /// # Errors
    /// The store's failure.
    pub fn everybody(&mut self) -> Result<Vec<CustomerId>, Failure> {
        self.warm.everybody()
    }

    fn publication(&mut self, by: &str, what: Published) -> Result<(), Failure> {
        let publication = Publication { at: self.now, by: by.into(), what };
        let seq = self.push(None, None, Input::Published(Box::new(publication.clone())), Vec::new());
        self.commit()?; // Nobody is told of rules that may be gone after a crash.
        self.note_published(&publication);
        self.put_in_force(seq, &publication)
    }

    /// Decides a command. Refusals are answers too, and as durable.
    ///
    /// # Errors
    /// The store's failure; nothing has happened then.
    pub fn ask(&mut self, now: Timestamp, asked: Asked) -> Result<Answer, Failure> {
        let answer = self.decide_in(now, asked)?;
        self.commit()?;
        Ok(answer)
    }

    /// As [`Workspace::ask`], but the answer is durable only with the next [`Workspace::flush`].
    ///
    /// # Errors
    /// The store's failure; nothing that was not flushed has happened then.
    pub fn decide_in(&mut self, now: Timestamp, mut asked: Asked) -> Result<Answer, Failure> {
        self.ready(now)?;
        asked.at = self.now;
        let answer = self.decide(asked);
        self.broken |= answer.is_err(); // What it had begun is not to be written.
        answer
    }

    /// Tells once everything folded so far is durable, or why it is not, on another thread or on this
    /// one; with the next [`Workspace::flush`] at the earliest.
    pub fn when_durable(&mut self, told: impl FnOnce(&Result<(), Failure>) + Send + 'static) {
        self.waiting.push(Box::new(told));
    }

    /// Begins to make durable what was folded; what comes next can be folded meanwhile. Where `more` is at hand,
    /// it may become durable together with that.
    pub fn flush(&mut self, more: bool) {
        let mut waiting = std::mem::take(&mut self.waiting);
        if let Some(tell) = self.herald.as_ref().and_then(|herald| herald(&self.batch)) {
            waiting.push(Box::new(move |done| {
                if done.is_ok() {
                    tell();
                }
            }));
        }
        self.warm.settled(&self.batch); // Should it fail, memory is made again without it.
        self.journal.begin(&mut self.batch, more, move |done| tell_all(waiting, &done));
    }

    /// Whether somebody waits for what was folded and not flushed.
    pub fn owes_answers(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether everything flushed is durable, or has failed.
    pub fn is_settled(&self) -> bool {
        self.journal.is_settled()
    }

    /// Shows every append to the journal that was tried, before those are told who wait for it.
    pub fn watch_appends(&self, watch: impl Fn(&Appended<'_>) + Send + 'static) {
        self.journal.watch(watch);
    }

    /// Shows every batch before it is written; what comes back is done once that is durable.
    pub fn herald(&mut self, herald: impl Fn(&[Entry]) -> Option<Box<dyn FnOnce() + Send>> + Send + 'static) {
        self.herald = Some(Box::new(herald));
    }

    /// Waits until everything flushed is durable.
    ///
    /// # Errors
    /// The store's failure; memory is made again before anything else is done.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.journal.wait().inspect_err(|_| self.broken = true)
    }

    /// Reads the journal, with everything flushed in it.
    fn settled_journal(&self) -> Result<JournalReader, Failure> {
        self.journal.wait()?;
        Ok(self.journal.reader())
    }

    fn decide(&mut self, asked: Asked) -> Result<Answer, Failure> {
        self.let_owed_in()?;
        match self.contain(|workspace| workspace.try_decide(asked.clone()))? {
            Some(answer) => Ok(answer),
            None => self.set_command_aside(asked),
        }
    }

    fn try_decide(&mut self, asked: Asked) -> Result<Answer, Failure> {
        if self.rules.latest().is_none() && asked.command != Command::Erase {
            return Ok(untold(Refusal::new("no_programme", "publish a programme first")));
        }
        if let Command::Merge { from } = &asked.command {
            let from = from.clone();
            return self.merge_by_hand(asked, &from);
        }
        let mut made = Vec::new();
        let id = match self.owner(&asked.customer)? {
            Some(id) if matches!(asked.command, Command::Erase) => return self.erase(id, asked),
            Some(id) => {
                self.wake(id, asked.at)?;
                id
            }
            None if self.is_erased(&asked.customer)? => return Ok(erase::erased_already()),
            None if may_be_new(&asked) => self.create(&asked.customer, &mut made)?,
            None => return Ok(unknown(&asked.customer)),
        };
        let Some(customer) = self.warm.take(id)? else { return Ok(unknown(&asked.customer)) };
        if let Some(first) = self.first_answer(&customer, &asked)? {
            let (seq, same) = (first.seq, first.fingerprint == asked.fingerprint);
            self.warm.put(customer, false);
            return if same { self.repeat(id, seq) } else { Ok(reused(id, seq)) };
        }
        if asked.command == Command::Unmerge
            && let Some(parting) = self.parting(&customer, &asked, self.next_seq)?
        {
            self.warm.put(customer, false);
            return self.part(parting, &asked);
        }
        self.warm.put(customer, false);
        self.recall_asked(id, &asked, &mut made)?;
        let Some(mut customer) = self.warm.take(id)? else { return Ok(unknown(&asked.customer)) };
        let near = Neighbours { stock: self.stock_for(&asked.command), seq: self.next_seq, granted: false };
        let (facts, result) = command::admit(&self.rules, &mut customer, &asked, &near);
        #[cfg(test)]
        self.spring(asked.command.name());
        let root = customer.root_of(std::slice::from_ref(&asked.customer));
        made.extend(facts);
        self.count_stock(&made);
        let seq = self.push(Some(id), Some(root), Input::Command(Box::new(asked)), made.clone());
        customer.was_folded(seq, &made);
        self.warm.put(customer, true);
        self.wake_overdue(id)?; // What was submitted long ago may be approved, and lapses at once.
        if made.iter().any(is_second_enrolment)
            && let Some(first) = self.enrolled_in(id)?
        {
            return self.repeat(id, first);
        }
        Ok(self.answer(seq, id, result.map(|()| made)))
    }

    /// Fetches what a command is about and has left this customer's lists.
    fn recall_asked(&mut self, id: CustomerId, asked: &Asked, made: &mut Vec<Fact>) -> Result<(), Failure> {
        match &asked.command {
            Command::Undo { redemption } => {
                let Some(customer) = self.warm.get(id)? else { return Ok(()) };
                let names = command::meant(&self.rules.secret, customer, asked, redemption);
                names.iter().try_for_each(|name| self.recall_redemption(id, name, made))
            }
            Command::Fulfill { order, .. } => {
                let order = OrderRef::derive(&self.secret(), order);
                if self.warm.order_owner(order)? == Some(id) { self.recall_order(id, order, made) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// The answer already given to this key, however long ago.
    fn first_answer(&self, customer: &Customer, asked: &Asked) -> Result<Option<Recorded>, Failure> {
        if let Some(first) = command::answered(customer, asked) {
            return Ok(Some(first.clone()));
        }
        for key in command::keys_of(customer, asked) {
            if let Some(first) = self.warm.old_answer(&customer.roots, &key)? {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    fn stock_for(&self, command: &Command) -> Option<i64> {
        if let Command::Redeem { reward, .. } = command { self.stock(reward) } else { None }
    }

    /// The entry in which a member joined.
    fn enrolled_in(&mut self, id: CustomerId) -> Result<Option<u64>, Failure> {
        Ok(self.warm.get(id)?.and_then(|customer| customer.member.as_ref()).map(|member| member.enrolled_in))
    }

    /// What was answered for the first time.
    fn answer(&self, seq: u64, id: CustomerId, outcome: Result<Outcome, Refusal>) -> Answer {
        let currency = self.currency();
        Answer { seq, customer: Some(id), replayed: false, key_reused: false, currency, outcome }
    }

    /// The first answer again: from the batch at hand or from the journal.
    fn repeat(&mut self, id: CustomerId, seq: u64) -> Result<Answer, Failure> {
        let entry = self.entry(seq)?;
        let facts = entry.map(|e| e.outcome).unwrap_or_default();
        if facts.iter().any(is_second_enrolment)
            && let Some(first) = self.enrolled_in(id)?.filter(|first| *first != seq)
        {
            return self.repeat(id, first);
        }
        let outcome = Refusal::told_by(&facts).map_or(Ok(facts), Err);
        Ok(Answer { replayed: true, ..self.answer(seq, id, outcome) })
    }

    fn merge_by_hand(&mut self, asked: Asked, from: &Identifier) -> Result<Answer, Failure> {
        let Some(into) = self.owner(&asked.customer)? else { return Ok(unknown(&asked.customer)) };
        let Some(survivor) = self.warm.get(into)?.cloned() else { return Ok(unknown(&asked.customer)) };
        if let Some(first) = self.first_answer(&survivor, &asked)? {
            let same = first.fingerprint == asked.fingerprint;
            return if same { self.repeat(into, first.seq) } else { Ok(reused(into, first.seq)) };
        }
        let Some(other) = self.owner(from)? else { return Ok(unknown(from)) };
        if into == other {
            return Ok(self.answer(0, into, Ok(Vec::new())));
        }
        let at = asked.at;
        let seq = self.join(into, other, at, Input::Command(Box::new(asked)))?;
        let facts = self.batch.iter().find(|e| e.seq == seq).map(|e| e.outcome.clone()).unwrap_or_default();
        Ok(self.answer(seq, into, Ok(facts)))
    }

    /// Makes `other` part of `into`, in an entry of its own.
    fn join(&mut self, into: CustomerId, other: CustomerId, at: Timestamp, input: Input) -> Result<u64, Failure> {
        self.wake(into, at)?;
        self.wake(other, at)?;
        let (Some(mut survivor), Some(gone)) = (self.warm.take(into)?, self.warm.take(other)?) else {
            return Err(misfit("merge two customers", "one of them is not there"));
        };
        self.warm.redirect(&gone, into, self.secret());
        let facts = merge::merge(&self.rules, &mut survivor, *gone, at);
        #[cfg(test)]
        self.spring("merge");
        if let Input::Command(asked) = &input {
            command::remember(&mut survivor, asked, self.next_seq);
        }
        let seq = self.push(Some(into), Some(into), input, facts);
        survivor.folded = seq;
        self.warm.put(survivor, true);
        self.wake_overdue(into)?;
        Ok(seq)
    }

    /// A customer by reference, with everything due until now done.
    ///
    /// # Errors
    /// The store's failure.
    pub fn customer(&mut self, now: Timestamp, who: &Identifier) -> Result<Option<Customer>, Failure> {
        self.ready(now)?;
        match self.owner(who)? {
            Some(id) => self.customer_by_id(now, id),
            None => Ok(None),
        }
    }

    /// A customer by our id; the id of a customer that was merged away finds the survivor.
    ///
    /// # Errors
    /// The store's failure.
    pub fn customer_by_id(&mut self, now: Timestamp, id: CustomerId) -> Result<Option<Customer>, Failure> {
        self.ready(now)?;
        self.let_all_in()?;
        let id = self.warm.survivor(id)?;
        self.wake(id, self.now)?;
        self.commit()?;
        let mut seen = self.warm.get(id)?.cloned();
        if let Some(customer) = &mut seen {
            engine::settle(&self.rules, customer, self.now);
        }
        Ok(seen)
    }

    /// A customer by reference, as they are held: nothing that is due is done for this, and no programme is
    /// taken up.
    ///
    /// # Errors
    /// The store's failure.
    pub fn as_held(&mut self, who: &Identifier) -> Result<Option<&Customer>, Failure> {
        self.ready(self.now)?;
        match self.owner(who)? {
            Some(id) => self.warm.get(id),
            None => Ok(None),
        }
    }

    /// The customer with an open or ended hold of this name, among the warm ones.
    pub fn hold_owner(&self, hold: &str) -> Option<Identifier> {
        self.warm.find(|customer| {
            let names = command::names_of(&self.rules.secret, &customer.roots, hold);
            customer.member.iter().flat_map(|member| &member.holds).any(|open| names.contains(&open.hold))
        })
    }

    /// Fires what is due until `now`, for up to 2,048 customers; says whether more is due.
    ///
    /// # Errors
    /// The store's failure.
    pub fn advance(&mut self, now: Timestamp) -> Result<bool, Failure> {
        self.ready(now)?;
        self.let_all_in()?;
        let due = self.warm.due(now, WAKE_MAX)?;
        for (_, id) in &due {
            self.wake(*id, now)?;
        }
        self.commit()?;
        Ok(due.len() >= WAKE_MAX)
    }

    /// The next instant at which anybody wakes.
    ///
    /// # Errors
    /// The store's failure.
    pub fn next_due(&mut self) -> Result<Option<Timestamp>, Failure> {
        Ok(self.warm.due(Timestamp::NEVER, 1)?.first().map(|(at, _)| *at))
    }

    /// Fires a customer's timers that are due at `at`, in their order.
    fn wake(&mut self, id: CustomerId, at: Timestamp) -> Result<(), Failure> {
        self.adopt(id)?;
        for _ in 0..TIMERS_MAX {
            let Some(timer) = self.warm.get(id)?.and_then(|c| c.timers.first().copied()) else { return Ok(()) };
            if timer.at > at {
                return Ok(());
            }
            self.fire(id, timer)?;
        }
        Ok(())
    }

    /// Timers that an input implies and that are already due fire at once (rule 2).
    fn wake_overdue(&mut self, id: CustomerId) -> Result<(), Failure> {
        let clock = self.warm.get(id)?.map(|c| c.clock.min(self.now));
        clock.map_or(Ok(()), |clock| self.wake(id, clock))
    }

    fn fire(&mut self, id: CustomerId, timer: Timer) -> Result<(), Failure> {
        match self.contain(|workspace| workspace.try_fire(id, timer))? {
            Some(()) => Ok(()),
            None => self.set_timer_aside(id, timer),
        }
    }

    fn try_fire(&mut self, id: CustomerId, timer: Timer) -> Result<(), Failure> {
        let Some(mut customer) = self.warm.take(id)? else { return Ok(()) };
        let (before, clock) = (customer.segments.clone(), customer.clock);
        let facts = engine::fire(&self.rules, &mut customer, timer, self.now);
        #[cfg(test)]
        self.spring(&format!("{:?}", timer.kind));
        if facts.is_empty() && customer.segments == before {
            // It is not in the journal, so a refold does not come by this instant.
            customer.clock = clock;
        } else {
            customer.folded = self.push(Some(id), Some(id), Input::Timer(timer), facts);
        }
        self.warm.put(customer, true);
        Ok(())
    }

    /// Follows the newest programme version: features that are new or changed are filled in from
    /// the customer's own history.
    fn adopt(&mut self, id: CustomerId) -> Result<(), Failure> {
        let latest = self.rules.latest_version();
        let behind = self.warm.get(id)?.is_some_and(|c| c.adopted < latest);
        if !behind {
            return Ok(());
        }
        match self.contain(|workspace| workspace.try_adopt(id))? {
            Some(()) => Ok(()),
            None => self.set_adoption_aside(id),
        }
    }

    fn try_adopt(&mut self, id: CustomerId) -> Result<(), Failure> {
        let Some(mut customer) = self.warm.take(id)? else { return Ok(()) };
        let seen = self.refill(&customer, self.next_seq)?;
        let before = customer.segments.clone();
        let facts = engine::adopt(&self.rules, &mut customer, seen);
        #[cfg(test)]
        self.spring("adopt");
        if !facts.is_empty() || customer.segments != before {
            let latest = self.rules.latest_version();
            let at = self.rules.latest().map_or(self.now, |e| e.published_at);
            customer.folded = self.push(Some(id), Some(id), Input::Adopted { at, version: latest }, facts);
        }
        self.warm.put(customer, true);
        Ok(())
    }

    /// Adds an entry to the batch; its position.
    fn push(
        &mut self,
        customer: Option<CustomerId>,
        root: Option<CustomerId>,
        input: Input,
        outcome: Vec<Fact>,
    ) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let entry = Entry { seq, recorded_at: self.now, customer, root, cause: None, input: Some(input), outcome };
        self.warm.index(&entry);
        self.batch.push(entry);
        seq
    }

    /// Makes the batch durable, or makes memory again without it.
    fn commit(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() && self.waiting.is_empty() {
            return Ok(());
        }
        self.flush(false);
        self.settle()
    }

    /// Time passes, and what a failed append left behind is mended.
    fn ready(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.now = self.now.max(now);
        if self.broken || self.journal.has_failed() { self.recover() } else { Ok(()) }
    }

    /// Memory from the last checkpoint and the journal's tail.
    fn recover(&mut self) -> Result<(), Failure> {
        let secret = self.rules.secret;
        self.journal.resume();
        if let Some(flight) = self.in_flight.take() {
            let _ = flight.ended(); // What it did not write is in the journal.
        }
        self.distrust();
        self.in_the_making = None;
        self.warm = Warm::new(self.state.clone());
        self.rules = Rules::new(secret);
        self.sources.clear();
        self.taken.clear();
        self.erased = erase::Erased::default();
        self.models.clear();
        self.senders.clear();
        self.owed.clear();
        self.duplicates.forget_after(self.journal.last_seq());
        self.refold()?;
        // Time does not go back over a restart, even if the machine's clock was set back.
        let last = self.journal.reader().entry(self.journal.last_seq())?.map(|entry| entry.recorded_at);
        self.now = last.map_or(self.now, |at| at.max(self.now));
        self.midnight_after = self.midnight_after.or(last);
        self.next_seq = self.journal.last_seq() + 1;
        self.broken = false;
        Ok(())
    }

    /// Entries that the last checkpoint does not cover.
    pub fn behind(&self) -> u64 {
        self.warm.behind()
    }

    /// What is wrong, in words; empty when nothing is. Checks every warm customer.
    ///
    /// # Errors
    /// The store's failure.
    pub fn faults(&mut self) -> Result<Vec<String>, Failure> {
        let mut faults = Vec::new();
        for id in self.everybody()? {
            if let Some(customer) = self.warm.get(id)? {
                faults.extend(customer.faults().into_iter().map(|f| format!("{id}: {f}")));
            }
        }
        faults.extend(self.taken.iter().filter(|(_, n)| **n < 0).map(|(r, n)| format!("of {r} {n} were taken")));
        Ok(faults)
    }
}

/// Why a programme was not published.
#[derive(Debug)]
pub enum PublishError {
    /// It does not compile.
    Problems(Vec<program::Problem>),
    /// The store failed.
    Failure(Failure),
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// An answer and no entry: what it repeats of a name is written down nowhere, and its key may ask anew.
fn untold(refusal: Refusal) -> Answer {
    Answer { seq: 0, customer: None, replayed: false, key_reused: false, currency: None, outcome: Err(refusal) }
}

/// Whoever enrols a member is told the first answer (rule 5).
fn is_second_enrolment(fact: &Fact) -> bool {
    matches!(fact, Fact::Noted(code) if **code == *command::ALREADY_MEMBER)
}

/// Whether a command brings whom nobody knows. One of our own ids that nobody has is a slip of the pen: nobody could
/// be found by it again.
fn may_be_new(asked: &Asked) -> bool {
    matches!(asked.command, Command::Enroll | Command::Consent { .. }) && asked.customer.as_own_id().is_none()
}

fn unknown(who: &Identifier) -> Answer {
    let name = command::shown(&who.to_string());
    let message = format!("nobody is known as '{name}'; check the reference, or enrol them first");
    untold(Refusal::new("unknown_customer", message))
}

fn reused(id: CustomerId, seq: u64) -> Answer {
    let message = "this idempotency key was used for another command; choose a new key";
    let refusal = Refusal::new("idempotency_key_reused", message);
    Answer { seq, customer: Some(id), replayed: false, key_reused: true, currency: None, outcome: Err(refusal) }
}

/// Looks at a batch that is about to be written, and says what to do once it is.
type Herald = Box<dyn Fn(&[Entry]) -> Option<Box<dyn FnOnce() + Send>> + Send>;

/// Told once what somebody waits for is durable, or why it is not.
type Told = Box<dyn FnOnce(&Result<(), Failure>) + Send>;

fn tell_all(waiting: Vec<Told>, done: &Result<(), Failure>) {
    waiting.into_iter().for_each(|told| told(done));
}

fn misfit(doing: &str, detail: &str) -> Failure {
    Failure { trouble: Trouble::Misuse, doing: doing.into(), detail: detail.into() }
}

/// Pieces of rewards that a posting moves off the shelf; negative when they come back.
fn pieces(posting: &Posting) -> Option<(&str, i64)> {
    let Unit::Stock(reward) = &posting.unit else { return None };
    Some((reward, if posting.from == Account::Shelf { posting.amount } else { -posting.amount }))
}

/// The order a booking fact is about.
fn booked(fact: &Fact) -> Option<OrderRef> {
    if let Fact::Booked(booking) = fact { Some(booking.order) } else { None }
}
