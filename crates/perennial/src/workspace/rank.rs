//! What is due once a day: ranked segments (rule 4), and the end of old rejects.
//!
//! Promise: everybody is read from the state's rows by another thread, a slice at a time, so that
//! intake goes on meanwhile; the writer only publishes what came out. A midnight counts as passed
//! once its thresholds are in the journal: one that a crash cuts off is made up for at the next start.
//! Absent on purpose: ranking again in a refold or a verification. Thresholds are facts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use perennial_core::customer::Customer;
use perennial_core::input::Published;
use perennial_core::program::SegmentRule;
use perennial_core::rules::Rules;
use perennial_core::scope::View;
use perennial_core::segment;
use perennial_core::time::Timestamp;
use perennial_store::{Failure, JournalReader, State};

use super::{Workspace, rows, tail};
use crate::background::{self, Haste};

/// Rows read at once.
const SLICE: usize = 1_000;
/// Between two tries.
const RETRY_MS: i64 = 60_000;

/// The threshold of each ranked segment.
type Thresholds = Vec<(Box<str>, Option<i64>)>;

/// A midnight that is being passed.
pub(super) struct Midnight {
    /// When it was noticed: the instant that everybody is ranked at.
    at: Timestamp,
    /// The last entry then: ranking begins when a checkpoint holds it.
    since: u64,
    reading: Option<Reading>,
    /// After a failure: not before this instant.
    again_at: Timestamp,
}

/// Everybody is being read by another thread.
struct Reading {
    /// The programme that says by what they are ranked.
    version: u32,
    called_off: Arc<AtomicBool>,
    /// None once it was waited for.
    thread: Option<JoinHandle<Result<Thresholds, Failure>>>,
}

impl Reading {
    fn begin(question: Question) -> Result<Self, Failure> {
        let called_off = Arc::new(AtomicBool::new(false));
        let (version, told) = (question.rules.latest_version(), called_off.clone());
        let thread = background::spawn("ranking", Haste::Soon, move || question.answer(&told));
        let thread = thread.map_err(|e| super::misfit("rank segments", &e.to_string()))?;
        Ok(Self { version, called_off, thread: Some(thread) })
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn ended(mut self) -> Result<Thresholds, Failure> {
        let died = || super::misfit("rank segments", "the thread died");
        self.thread.take().ok_or_else(died)?.join().map_err(|_| died())?
    }
}

impl Drop for Reading {
    /// Whoever lets the workspace go lets the store go too.
    fn drop(&mut self) {
        self.called_off.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // Nobody asks any longer.
        }
    }
}

/// All that ranking needs; nothing of it is the writer's.
struct Question {
    rules: Rules,
    journal: JournalReader,
    state: State,
    at: Timestamp,
}

impl Question {
    /// Reads everybody once, in the order of their ids.
    fn answer(&self, called_off: &AtomicBool) -> Result<Thresholds, Failure> {
        let Some(edition) = self.rules.latest() else { return Ok(Vec::new()) };
        let ranked = edition.program.segments.iter().filter_map(|segment| match &segment.rule {
            SegmentRule::Top { share_ppm, by } => Some((&segment.id, *share_ppm, by, Vec::new())),
            SegmentRule::When(_) => None,
        });
        let mut ranked: Vec<_> = ranked.collect();
        let mut after = None;
        while !called_off.load(Ordering::Relaxed) {
            let rows = self.state.customers(after, SLICE)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            for row in &rows {
                let customer = self.as_of_now(rows::decode(row)?)?;
                let view = View::of(&edition.program, &customer);
                ranked.iter_mut().for_each(|(.., by, values)| values.extend(segment::ranked_value(&view, by)));
            }
        }
        let thresholds = ranked.into_iter().map(|(id, share, _, values)| (&**id, segment::threshold(values, share)));
        Ok(thresholds.map(|(id, value)| (id.into(), value)).collect())
    }

    /// Windows have moved on since the customer was last folded, and the programme may be another one.
    fn as_of_now(&self, mut customer: Customer) -> Result<Customer, Failure> {
        if customer.adopted < self.rules.latest_version() {
            let history = || tail::own_history_of(&self.journal, &self.state, &customer.roots);
            customer.features = tail::refill(&self.rules, &customer, history)?;
        }
        customer.clock = customer.clock.max(self.at);
        Ok(customer)
    }
}

impl Workspace {
    /// Ranks the ranked segments over everybody and publishes the thresholds (rule 4).
    ///
    /// # Errors
    /// The store's failure.
    pub fn rank(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.ready(now)?;
        if !self.has_ranked() {
            return Ok(());
        }
        self.commit()?;
        self.settle()?;
        if self.state.position()? < self.journal.last_seq() {
            self.checkpoint()?; // Else nothing has happened since, as on most days of a story.
        }
        let thresholds = self.question(self.now).answer(&AtomicBool::new(false))?;
        self.publish_thresholds(thresholds)
    }

    /// Does what is due once a day, when a local midnight has passed since the last time, or since
    /// the last entry of an earlier run: the keys of old rejects are destroyed, and segments ranked.
    /// Ranking takes a while; call it again until [`Workspace::is_passing_midnight`] says no.
    ///
    /// # Errors
    /// The store's failure; it is tried again a minute later.
    pub fn pass_midnight(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.ready(now)?;
        let Some(edition) = self.rules.latest() else { return Ok(()) };
        let last = *self.midnight_after.get_or_insert(now);
        if self.midnight.is_none() && edition.program.zone.next_midnight(last) <= now {
            self.keys.destroy_old_days(now)?;
            self.midnight = Some(Midnight { at: now, since: self.journal.last_seq(), reading: None, again_at: now });
        }
        let Some(mut midnight) = self.midnight.take() else { return Ok(()) };
        if midnight.again_at > now {
            self.midnight = Some(midnight);
            return Ok(());
        }
        let passed = self.go_on(&mut midnight);
        if let Ok(true) = passed {
            self.midnight_after = Some(midnight.at);
            self.changed.counters = true;
        } else {
            midnight.again_at = if passed.is_err() { now.plus_millis(RETRY_MS) } else { now };
            self.midnight = Some(midnight);
        }
        passed.map(drop)
    }

    /// Whether a midnight is being passed.
    pub fn is_passing_midnight(&self) -> bool {
        self.midnight.is_some()
    }

    /// One look at a midnight; whether it is passed.
    fn go_on(&mut self, midnight: &mut Midnight) -> Result<bool, Failure> {
        if !self.has_ranked() {
            return Ok(true);
        }
        match midnight.reading.take() {
            None if self.state.position()? >= midnight.since => {
                midnight.reading = Some(Reading::begin(self.question(midnight.at))?);
                Ok(false)
            }
            Some(reading) if !reading.is_finished() => {
                midnight.reading = Some(reading);
                Ok(false)
            }
            // Another programme has come meanwhile: once more, by that one.
            Some(reading) if reading.version != self.rules.latest_version() => Ok(false),
            Some(reading) => self.publish_thresholds(reading.ended()?).map(|()| true),
            None => Ok(false), // Until the next checkpoint.
        }
    }

    fn has_ranked(&self) -> bool {
        let ranked = |rule: &SegmentRule| matches!(rule, SegmentRule::Top { .. });
        self.rules.latest().is_some_and(|e| e.program.segments.iter().any(|s| ranked(&s.rule)))
    }

    fn question(&self, at: Timestamp) -> Question {
        let rules = self.rules.without_catalog();
        Question { rules, journal: self.journal.reader(), state: self.state.clone(), at }
    }

    fn publish_thresholds(&mut self, thresholds: Thresholds) -> Result<(), Failure> {
        for (segment, value) in thresholds {
            if self.rules.thresholds.get(&segment) != Some(&value) {
                self.publication("ranking", Published::Threshold { segment, value })?;
            }
        }
        Ok(())
    }
}
