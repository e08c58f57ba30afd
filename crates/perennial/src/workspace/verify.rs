//! Verifying: every invariant, and that a refold of the journal gives the state that is held.

use std::fmt::Write as _;

use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::id::{CustomerId, Secret};
use perennial_core::input::{Entry, Input};
use perennial_core::time::Timestamp;
use perennial_store::{Duplicates, Failure, Seen};

use super::Workspace;
use super::intake::fingerprint;

/// What a verification found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Entries folded again.
    pub entries: u64,
    /// Customers compared.
    pub customers: usize,
    /// What is wrong, in words; empty when nothing is.
    pub faults: Vec<String>,
    /// What is to be known beside it, and is no fault.
    pub notes: Vec<String>,
}

/// Faults that are listed at most.
const FAULTS_MAX: usize = 100;

impl Workspace {
    /// Checks every invariant, folds the journal again from its first entry to compare, and decides
    /// every entry again under the rules of then.
    ///
    /// # Errors
    /// The store's failure.
    pub fn verify(&mut self) -> Result<Findings, Failure> {
        self.ready(self.now)?;
        self.commit()?;
        let mut findings = Findings { entries: self.last_seq(), faults: self.faults()?, ..Findings::default() };
        let (mut unseen, mut clock) = (Unseen::default(), Clock::default());
        let look = |entry: &Entry| {
            clock.look(entry);
            unseen.look(entry, &self.duplicates, &self.secret())
        };
        let mut again = Self::from_journal(&self.journal.reader(), self.state.clone(), self.secret(), look)?;
        findings.faults.extend(clock.faults);
        findings.faults.extend(unseen.told());
        again.next_seq = self.next_seq;
        again.ready(self.now)?; // Both are compared at the same instant, whenever the last entry was written.
        findings.faults.extend(again.audit.take().unwrap_or_default().differences.into_iter().take(FAULTS_MAX));
        again.now = self.now;
        let (mine, theirs) = (self.everybody()?, again.everybody()?);
        if mine != theirs {
            let detail = format!("{} customers are held, a refold gives {}", mine.len(), theirs.len());
            findings.faults.push(detail);
        }
        if self.taken != again.taken {
            findings.faults.push(format!("stock says {:?}, a refold {:?}", self.taken, again.taken));
        }
        if self.erased != again.erased {
            findings.faults.push(format!("of the erased {:?} is held, a refold gives {:?}", self.erased, again.erased));
        }
        for id in mine {
            findings.customers += 1;
            let (held, refolded) = (self.settled(id)?, again.settled(id)?);
            if held != refolded && findings.faults.len() < FAULTS_MAX {
                findings.faults.push(difference(id, held.as_ref(), refolded.as_ref()));
            }
        }
        findings.faults.extend(self.warm.index_faults(&mut again.warm)?);
        Ok(findings)
    }

    /// Everybody does what is due until `now` and follows the programme in force.
    ///
    /// # Errors
    /// The store's failure.
    pub fn catch_up(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.ready(now)?;
        for id in self.everybody()? {
            self.wake(id, self.now)?;
        }
        self.commit()
    }

    /// A customer as of the last entry. The programme in force is taken up as by whoever follows it without an entry,
    /// so nothing is decided, and nothing is written: what is verified may be a backup.
    fn settled(&mut self, id: CustomerId) -> Result<Option<Customer>, Failure> {
        let now = self.now;
        let mut customer = self.warm.get(id)?.cloned();
        if let Some(customer) = &mut customer {
            if customer.adopted < self.rules.latest_version() {
                let seen = self.refill(customer, self.next_seq)?;
                engine::take_up(&self.rules, customer, seen);
            }
            engine::settle(&self.rules, customer, now);
            customer.folded = 0;
        }
        Ok(customer)
    }
}

/// The journal's time, which never goes back.
#[derive(Default)]
struct Clock {
    /// The entry before, and when it was written.
    before: Option<(u64, Timestamp)>,
    faults: Vec<String>,
}

impl Clock {
    fn look(&mut self, entry: &Entry) {
        let now = (entry.seq, entry.recorded_at);
        let Some((seq, at)) = self.before.replace(now).filter(|(_, at)| *at > entry.recorded_at) else { return };
        if self.faults.len() < FAULTS_MAX {
            let fault = format!(
                "entry {}: it was written at {}, and entry {seq} before it at {at}: the journal's time never goes back",
                now.0, now.1
            );
            self.faults.push(fault);
        }
    }
}

/// Messages of the journal that the list of duplicates does not know.
#[derive(Default)]
struct Unseen {
    count: u64,
    /// The entry of the first.
    first: u64,
}

impl Unseen {
    fn look(&mut self, entry: &Entry, duplicates: &Duplicates, secret: &Secret) -> Result<(), Failure> {
        let Some(Input::Event(event)) = entry.input.as_ref().filter(|_| entry.cause.is_none()) else { return Ok(()) };
        let seen = duplicates.seen(fingerprint(secret, event))?;
        // A later entry may have the same message, mended.
        if !matches!(seen, Seen::Perhaps { seq, .. } if seq >= entry.seq) {
            self.first = if self.count == 0 { entry.seq } else { self.first };
            self.count += 1;
        }
        Ok(())
    }

    fn told(self) -> Option<String> {
        let Self { count, first } = self;
        let told = || {
            format!(
                "{count} messages, of entry {first} the first, are not known as seen: `perennial rebuild` mends that"
            )
        };
        (count > 0).then(told)
    }
}

/// Names the part in which two folds differ.
fn difference(id: CustomerId, held: Option<&Customer>, refolded: Option<&Customer>) -> String {
    let (Some(a), Some(b)) = (held, refolded) else { return format!("{id}: is there only once") };
    let parts: [(&str, bool); 13] = [
        ("roots", a.roots == b.roots),
        ("adopted", a.adopted == b.adopted),
        ("identifiers", a.identifiers == b.identifiers),
        ("profile", a.profile == b.profile),
        ("features", a.features == b.features),
        ("cart", a.cart == b.cart),
        ("orders", a.orders == b.orders),
        ("member", a.member == b.member),
        ("segments", a.segments == b.segments),
        ("timers", a.timers == b.timers),
        ("answers", a.answers == b.answers),
        ("scores", a.scores == b.scores),
        ("clock", a.clock == b.clock),
    ];
    let differing: Vec<&str> = parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
    let mut detail = String::new();
    // Parts that hold opaque ids and instants only, and are short, are shown.
    if a.timers != b.timers {
        let (held, refolded) = (a.timers.without(&b.timers), b.timers.without(&a.timers));
        let _ = write!(detail, "; timers held {held:?}, refolded {refolded:?}");
    }
    if a.segments != b.segments {
        let _ = write!(detail, "; segments held {:?}, refolded {:?}", a.segments, b.segments);
    }
    format!("{id}: a refold gives other {}{detail}", differing.join(", "))
}
