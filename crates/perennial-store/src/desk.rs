//! The desk: where entries come together while those before them are being written.
//!
//! Promise: a thread takes all that lies here at once, writes it as one append, tells whoever waits for it
//! in the order they came, and takes what came meanwhile: a slow disk makes large appends, a fast one small
//! and early ones. While whoever brings entries has more at hand they are waited for, because small appends write
//! the same pages again; not when somebody needs them at once, nor longer than [`LINGER`]. What lies here is
//! bounded by [`ENTRIES_MAX`].
//! Absent on purpose: the disk, and what a failure means.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use perennial_core::input::Entry;

use crate::failure::{Failure, Trouble};
use crate::sqlite::guard;

/// While so many entries lie here, whoever brings more waits.
const ENTRIES_MAX: usize = 4_096;
/// When so many entries lie here no more are waited for,
const CROWD: usize = 1_024;
/// nor any longer than this.
const LINGER: Duration = Duration::from_millis(5);
/// As much room as is kept for the next ones.
const ROOM_MAX: usize = 8_192;

/// Called once entries are durable, or have failed and are not.
pub(crate) type Done = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// The way to the thread; it ends, when all is written, with this.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    tray: Mutex<Tray>,
    /// There is something to write, or nothing will come any more.
    brought: Condvar,
    /// There is room, or nothing left to write.
    taken: Condvar,
}

/// What lies on the desk.
#[derive(Default)]
struct Tray {
    entries: Vec<Entry>,
    waiting: Vec<Done>,
    thread: Thread,
    /// How many wait for room, or until all is written: to wake nobody would still ask the system.
    patient: usize,
    /// Whoever brought entries last has more at hand.
    more: bool,
    /// Nothing will come any more.
    closed: bool,
}

/// What the thread does.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Thread {
    /// It tells what became of the last entries, and will look here.
    #[default]
    Awake,
    /// It waits for entries.
    Asleep,
    /// It waits for more entries.
    Lingering,
    /// It writes what it took.
    Writing,
    /// It is no more.
    Gone,
}

impl Tray {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.waiting.is_empty()
    }

    fn is_settled(&self) -> bool {
        self.thread == Thread::Gone || (self.is_empty() && self.thread != Thread::Writing)
    }

    /// Whether more entries are worth waiting for: nobody needs those that are here at once.
    fn may_grow(&self) -> bool {
        self.more && self.entries.len() < CROWD && self.patient == 0 && !self.closed
    }
}

impl Desk {
    /// Starts the thread, which writes with this.
    pub(crate) fn start(write: impl FnMut(&[Entry]) -> Result<(), Failure> + Send + 'static) -> Result<Self, Failure> {
        let shared = Arc::<Shared>::default();
        let of_thread = Gone(shared.clone());
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_on(&of_thread.0, write))
            .map_err(|e| Failure::new(Trouble::Io, "start the journal's thread", e.to_string()))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Lays all entries on the desk; `done` is told what became of them, and `more` are at hand. Waits while
    /// there is no room.
    pub(crate) fn lay(&self, entries: &mut Vec<Entry>, more: bool, done: Done) {
        let mut tray = self.wait_until(|tray| tray.entries.len() < ENTRIES_MAX || tray.thread == Thread::Gone);
        if tray.thread == Thread::Gone {
            drop(tray);
            entries.clear();
            return done(Err(gone()));
        }
        tray.entries.append(entries);
        tray.waiting.push(done);
        tray.more = more;
        if tray.thread == Thread::Asleep || (tray.thread == Thread::Lingering && !tray.may_grow()) {
            self.shared.brought.notify_one();
        }
    }

    /// Waits until everything that was laid here is written, well or not.
    pub(crate) fn wait(&self) {
        drop(self.wait_until(Tray::is_settled));
    }

    /// Whether everything that was laid here is written.
    pub(crate) fn is_settled(&self) -> bool {
        guard(&self.shared.tray).is_settled()
    }

    fn wait_until(&self, holds: impl Fn(&Tray) -> bool) -> MutexGuard<'_, Tray> {
        let mut tray = guard(&self.shared.tray);
        if !holds(&tray) {
            tray.patient += 1;
            if tray.thread == Thread::Lingering {
                self.shared.brought.notify_one();
            }
            tray = wait(&self.shared.taken, tray, holds);
            tray.patient -= 1;
        }
        tray
    }
}

fn wait<'a>(told: &Condvar, tray: MutexGuard<'a, Tray>, holds: impl Fn(&Tray) -> bool) -> MutexGuard<'a, Tray> {
    told.wait_while(tray, |tray| !holds(tray)).unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// What lies here, once something does and is worth an append; none when nothing will come any more.
    fn take(&self, entries: &mut Vec<Entry>) -> Option<Vec<Done>> {
        let mut tray = guard(&self.tray);
        if tray.is_empty() && !tray.closed {
            tray.thread = Thread::Asleep;
            tray = wait(&self.brought, tray, |tray| !tray.is_empty() || tray.closed);
        }
        if tray.is_empty() {
            return None;
        }
        if tray.may_grow() {
            tray.thread = Thread::Lingering;
            let lingered = self.brought.wait_timeout_while(tray, LINGER, |tray| tray.may_grow());
            tray = lingered.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut tray.entries, entries);
        let waiting = std::mem::take(&mut tray.waiting);
        self.turn_to(Thread::Writing, tray);
        Some(waiting)
    }

    fn turn_to(&self, thread: Thread, mut tray: MutexGuard<'_, Tray>) {
        tray.thread = thread;
        if tray.patient > 0 {
            self.taken.notify_all();
        }
    }
}

fn write_on(shared: &Shared, mut write: impl FnMut(&[Entry]) -> Result<(), Failure>) {
    let mut entries = Vec::new();
    while let Some(waiting) = shared.take(&mut entries) {
        let written = write(&entries);
        // Before it is told: whoever hears of it finds it settled.
        shared.turn_to(Thread::Awake, guard(&shared.tray));
        waiting.into_iter().for_each(|done| done(written.clone()));
        entries.clear();
        entries.shrink_to(ROOM_MAX);
    }
}

fn gone() -> Failure {
    Failure::new(Trouble::Io, "append to the journal", "its thread has ended; start the server again")
}

/// Lets nobody wait for a thread that is no more, also when it panicked.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut tray = guard(&self.0.tray);
        tray.entries.clear();
        let waiting = std::mem::take(&mut tray.waiting);
        self.0.turn_to(Thread::Gone, tray);
        waiting.into_iter().for_each(|done| done(Err(gone())));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        guard(&self.shared.tray).closed = true;
        self.shared.brought.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // It panicked: who waited was told.
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use perennial_core::time::Timestamp;

    use super::*;

    fn entry(seq: u64) -> Entry {
        let at = Timestamp::EPOCH;
        Entry { seq, recorded_at: at, customer: None, root: None, cause: None, input: None, outcome: Vec::new() }
    }

    /// A desk whose thread shows the numbers of what it took, and writes when it is let.
    fn desk() -> (Desk, Receiver<Vec<u64>>, Sender<Result<(), Failure>>) {
        let (show, shown) = channel();
        let (let_go, go) = channel();
        let write = move |entries: &[Entry]| {
            show.send(entries.iter().map(|entry| entry.seq).collect()).unwrap();
            go.recv().unwrap()
        };
        (Desk::start(write).unwrap(), shown, let_go)
    }

    fn lay(desk: &Desk, seqs: &[u64], told: &Sender<(u64, bool)>) {
        let (told, first) = (told.clone(), seqs[0]);
        let done = move |done: Result<(), Failure>| told.send((first, done.is_ok())).unwrap();
        desk.lay(&mut seqs.iter().copied().map(entry).collect(), false, Box::new(done));
    }

    #[test]
    fn what_comes_while_the_disk_is_busy_is_one_append_and_everybody_is_told_in_turn() {
        let (desk, shown, go) = desk();
        let (tell, told) = channel();
        lay(&desk, &[1, 2], &tell);
        assert_eq!(shown.recv().unwrap(), [1, 2]);
        lay(&desk, &[3], &tell);
        lay(&desk, &[4, 5], &tell);
        assert!(!desk.is_settled() && told.try_recv().is_err());
        go.send(Ok(())).unwrap();
        assert_eq!(shown.recv().unwrap(), [3, 4, 5]);
        assert_eq!(told.recv().unwrap(), (1, true));
        go.send(Err(gone())).unwrap();
        desk.wait();
        assert!(desk.is_settled());
        assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [(3, false), (4, false)]);
    }

    #[test]
    fn nothing_that_somebody_needs_at_once_waits_for_company() {
        let tray = |entries: u64, more| Tray { entries: (0..entries).map(entry).collect(), more, ..Tray::default() };
        assert!(tray(1, true).may_grow());
        assert!(!tray(1, false).may_grow() && !tray(CROWD as u64, true).may_grow());
        assert!(!Tray { patient: 1, ..tray(1, true) }.may_grow() && !Tray { closed: true, ..tray(1, true) }.may_grow());
    }

    #[test]
    fn what_lies_on_the_desk_is_written_before_it_is_cleared_away() {
        let (desk, shown, go) = desk();
        let (tell, told) = channel();
        lay(&desk, &[1], &tell);
        shown.recv().unwrap();
        lay(&desk, &[2], &tell);
        [Ok(()), Ok(())].into_iter().for_each(|done| go.send(done).unwrap());
        drop(desk);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(1, true), (2, true)]);
    }

    #[test]
    fn who_brings_too_much_waits_until_some_of_it_is_taken() {
        let (desk, shown, go) = desk();
        let (tell, _told) = channel();
        lay(&desk, &[0], &tell);
        shown.recv().unwrap();
        let (all, more) = ((1..=ENTRIES_MAX as u64).collect::<Vec<_>>(), ENTRIES_MAX as u64 + 1);
        lay(&desk, &all, &tell);
        std::thread::scope(|scope| {
            let late = scope.spawn(|| lay(&desk, &[more], &tell));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!late.is_finished());
            go.send(Ok(())).unwrap();
            assert_eq!(shown.recv().unwrap(), all);
            late.join().unwrap();
        });
        [Ok(()), Ok(())].into_iter().for_each(|done| go.send(done).unwrap());
        assert_eq!(shown.recv().unwrap(), [more]);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_gone() {
        let (desk, shown, go) = desk();
        let (tell, told) = channel();
        lay(&desk, &[1], &tell);
        shown.recv().unwrap();
        lay(&desk, &[2], &tell);
        drop(go); // The thread finds nobody who lets it write, and panics.
        desk.wait();
        lay(&desk, &[3], &tell);
        let mut told: Vec<_> = told.iter().take(2).collect();
        told.sort_unstable();
        assert_eq!(told, [(2, false), (3, false)]);
    }
}
