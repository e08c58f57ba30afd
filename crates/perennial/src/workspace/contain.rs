//! Containing panics: a fold that breaks a promise of ours is set aside, and everybody else goes on.
//!
//! Promise: whatever panics while an event, a command, a wake-up or an adoption is folded leaves
//! memory sound. It is tried once more on memory made again; then the event becomes a reject record
//! with the code `poison`, the command is refused with it, the wake-up is tried again a day later,
//! and the programme is followed without what it would have brought. Each is an entry, so that a
//! restart meets the same and a mended program can be tried on it.
//! Absent on purpose: guesses at what the fold should have come to.

use std::panic::{AssertUnwindSafe, catch_unwind};

use perennial_core::command::{self, Refusal};
use perennial_core::engine;
use perennial_core::event::Event;
use perennial_core::fact::Fact;
use perennial_core::id::CustomerId;
use perennial_core::input::{Asked, Input, Reject, Timer};
use perennial_core::time::DAY_MS;
use perennial_store::{Failure, Trouble};

use super::intake::{Receipt, Status, fingerprint, reject_of};
use super::{Answer, Workspace, misfit, tail, tell_all, unknown};

/// How often something is folded before it is set aside: the second time in case memory was at fault.
const TRIES: u32 = 2;
/// The code of what was set aside.
pub(super) const POISON: &str = "poison";

impl Workspace {
    /// Does some folding. When it panics or finds itself misused, what it added to the batch is dropped and what was there
    /// before becomes durable, memory is made again, and it is tried once more; none when it panics
    /// every time.
    ///
    /// Whoever calls this must hold no customer and must have added what it decided to the batch.
    pub(super) fn contain<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        if self.apart {
            return work(self).map(Some);
        }
        for _ in 0..TRIES {
            let first = self.next_seq;
            match catch_unwind(AssertUnwindSafe(|| work(self))) {
                Ok(Err(failure)) if failure.trouble == Trouble::Misuse => {
                    tracing::error!(%failure, "our own promise is broken"); // As a panic would break it.
                }
                Ok(done) => return done.map(Some),
                Err(_) => {}
            }
            self.batch.retain(|entry| entry.seq < first);
            self.commit()?;
            self.recover()?;
        }
        Ok(None)
    }

    /// Memory is made again before anything else is done: a failure or a panic went through it. What was
    /// folded and not flushed is lost, and whoever waits for it is told.
    pub(crate) fn distrust(&mut self) {
        self.broken = true;
        self.batch.clear();
        let why = "other work of the same moment failed; send it again";
        tell_all(std::mem::take(&mut self.waiting), &Err(misfit("fold", why)));
    }

    /// An event that cannot be folded becomes a reject record that holds all of it.
    pub(super) fn set_event_aside(&mut self, event: &Event) -> Receipt {
        let reason = "folding this event broke a promise of ours; it is kept, please report it";
        let mut reject = reject_of(event, POISON, "", reason);
        reject.body = serde_json::to_string(event).unwrap_or_default().into();
        self.tell("event");
        self.reject(reject)
    }

    /// The answer that an event set aside gets again, so that a client that repeats itself does not
    /// make memory again each time; none when the reject record is of another sort or message.
    pub(super) fn still_poison(&self, event: &Event, seq: u64, reject: Reject) -> Option<Receipt> {
        let Reject { code, field, reason, body, .. } = reject;
        let secret = self.secret();
        let same = *code == *POISON
            && serde_json::from_str(&body).is_ok_and(|kept| fingerprint(&secret, &kept) == fingerprint(&secret, event));
        let status = Status::Rejected { code, field, reason };
        same.then(|| Receipt { message_id: event.message_id.clone(), status, seq: Some(seq), customer: None })
    }

    /// A command that cannot be folded is refused, and its key remembers that.
    pub(super) fn set_command_aside(&mut self, asked: Asked) -> Result<Answer, Failure> {
        self.tell(asked.command.name());
        let refusal = Refusal::new(POISON, "deciding this broke a promise of ours; nothing was done, please report it");
        let Some(id) = self.owner(&asked.customer)? else {
            return Ok(Answer { outcome: Err(refusal), ..unknown(&asked.customer) });
        };
        self.wake(id, asked.at)?;
        let facts = [Fact::SetAside { again: None }].into_iter().chain(refusal.facts()).collect();
        let seq = self.write_down(id, Input::Command(Box::new(asked)), facts)?;
        Ok(self.answer(seq, id, Err(refusal)))
    }

    /// A wake-up that cannot be folded comes again a day later, when the program may be mended.
    pub(super) fn set_timer_aside(&mut self, id: CustomerId, timer: Timer) -> Result<(), Failure> {
        self.tell("timer");
        let again = Timer { at: self.now.max(timer.at).plus_millis(DAY_MS), ..timer };
        self.write_down(id, Input::Timer(timer), vec![Fact::SetAside { again: Some(again) }])?;
        Ok(())
    }

    /// A version that cannot be adopted is followed all the same, from here on.
    pub(super) fn set_adoption_aside(&mut self, id: CustomerId) -> Result<(), Failure> {
        self.tell("adoption");
        let Some(edition) = self.rules.latest() else { return Ok(()) };
        let (at, version) = (edition.published_at, edition.program.version);
        let Some(mut customer) = self.warm.take(id)? else { return Ok(()) };
        let seen = self.refill(&customer, self.next_seq)?;
        engine::take_up(&self.rules, &mut customer, seen);
        let aside = vec![Fact::SetAside { again: None }];
        customer.folded = self.push(Some(id), Some(id), Input::Adopted { at, version }, aside);
        self.warm.put(customer, true);
        Ok(())
    }

    /// Adds an entry of a customer whose facts are known, as a refold will find it.
    fn write_down(&mut self, id: CustomerId, input: Input, facts: Vec<Fact>) -> Result<u64, Failure> {
        let Some(mut customer) = self.warm.take(id)? else {
            return Err(super::misfit("set something aside", "its customer is not there"));
        };
        engine::replay(&self.rules, &mut customer, tail::instant_of(&input), Some(&input), &facts, |_| None);
        let mut root = id;
        if let Input::Command(asked) = &input {
            command::remember(&mut customer, asked, self.next_seq);
            root = customer.root_of(std::slice::from_ref(&asked.customer));
        }
        let seq = self.push(Some(id), Some(root), input, facts);
        customer.folded = seq;
        self.warm.put(customer, true);
        Ok(seq)
    }

    fn tell(&self, what: &str) {
        tracing::error!(what, entry = self.next_seq, "folding it panicked; it is set aside");
        metrics::counter!("set_aside_total").increment(1);
    }

    /// Panics where a test wants it, as often as it wants.
    #[cfg(test)]
    pub(super) fn spring(&self, here: &str) {
        let mut traps = self.traps.borrow_mut();
        if let Some(left) = traps.get_mut(here).filter(|left| **left > 0) {
            *left -= 1;
            drop(traps);
            panic!("a trap of the tests at {here}");
        }
    }
}

#[cfg(test)]
mod tests;
