//! Duplicates: which messages have been seen, for at least the last 72 million of them.
//!
//! Promise: under 200 MB of memory at any traffic, nothing remembered is missed (also after a
//! restart), and a hit names the entry. That is 7 days at 10 million messages a day; a slower shop
//! remembers longer. No clock is involved, so no clock that jumps can make it forget.
//!
//! Three layers. The last messages lie in an exact map, and in a table of arrival order on disk.
//! When 200,000 have come together they become a *segment*: rows sorted by fingerprint, never
//! changed. [`Filter`]s, two bytes a message, say at once that a message was never seen; only a
//! "perhaps" asks the segments which that filter covers.
//!
//! Beyond that natural keys (order, refund, redemption) decide, which are never forgotten.

mod rows;

use std::collections::VecDeque;
use std::hash::BuildHasherDefault;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use perennial_core::id::Secret;

use crate::Taken;
use crate::digests::DigestMap;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::memory::MemoryDisk;
use crate::sqlite::guard;
pub(crate) use rows::DuplicateContents;
use rows::{Batch, Rows, SavedFilter};

/// Messages that are remembered at least.
const KEEP: usize = 72_000_000;
/// Messages in a segment.
const SEGMENT: usize = if cfg!(any(test, fuzzing)) { 500 } else { 200_000 };
/// Tags of the first filter and of the largest, as powers of two.
const SMALLEST_BITS: u32 = 14;
const LARGEST_BITS: u32 = 22;

/// Names one message: keyed hashes of where it came from and its id, and of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the source and the message id.
    pub id: u64,
    /// Of the body, to tell a repetition from another message under the same id.
    pub body: u32,
}

impl Fingerprint {
    /// The fingerprint of a message. `body` is whatever should be equal in a true repetition.
    pub fn of(secret: &Secret, source: &str, message_id: &str, body: &[u8]) -> Self {
        let id = secret.digest(&[b"message", source.as_bytes(), message_id.as_bytes()]);
        let body = secret.digest(&[b"body", body]);
        let head = id.first_chunk().copied().unwrap_or_default();
        let body = body.first_chunk().copied().unwrap_or_default();
        Self { id: u64::from_le_bytes(head), body: u32::from_le_bytes(body) }
    }
}

/// Whether a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Never, or so long ago that it is forgotten.
    No,
    /// In this entry; two messages share a fingerprint once in some 10^11, so the entry decides
    /// where that matters.
    Perhaps {
        /// The entry.
        seq: u64,
        /// Whether the body was the same; if not, the message is for quarantine.
        same_body: bool,
    },
}

/// Messages by fingerprint: the entry and the body's hash.
type Exact = DigestMap<u64, (u64, u32)>;

/// A remembered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) body: u32,
}

/// The set of messages seen. It belongs to the writer; [`Duplicates::checkpoint`] hands what must be
/// saved to another thread.
pub struct Duplicates {
    /// Messages that are in no segment yet.
    recent: Exact,
    /// Messages of a segment that is being written, and its number.
    closing: Option<(u64, Arc<Exact>)>,
    /// What the next checkpoint saves.
    unsaved: Vec<Mark>,
    /// What was remembered under an id before the latest, since the last checkpoint.
    replaced: Vec<Mark>,
    /// The number of the segment that `recent` will be.
    segment: u64,
    /// The oldest first; the last is open.
    generations: Vec<Generation>,
    shared: Arc<Shared>,
    position: u64,
}

/// A filter and the segments whose messages may be in it.
struct Generation {
    number: u64,
    filter: Arc<Filter>,
    first_segment: u64,
    last_segment: u64,
    changed: bool,
}

struct Shared {
    rows: Rows,
    /// Checkpoints that are gathered but not written.
    queue: Mutex<VecDeque<Arc<Batch>>>,
    /// Held while writing, so that checkpoints reach the disk one by one and in order.
    writing: Mutex<()>,
    /// The last segment that is on disk.
    written: AtomicU64,
    _taken: Arc<Taken>,
}

impl Duplicates {
    pub(crate) fn open(path: &Path, taken: Arc<Taken>) -> Result<Self, Failure> {
        Self::restore(Rows::open(path)?, taken)
    }

    pub(crate) fn memory(disk: &MemoryDisk, taken: Arc<Taken>) -> Result<Self, Failure> {
        Self::restore(Rows::Memory(disk.clone()), taken)
    }

    fn restore(rows: Rows, taken: Arc<Taken>) -> Result<Self, Failure> {
        let saved = rows.load()?;
        let written = AtomicU64::new(saved.segment - 1);
        let shared =
            Arc::new(Shared { rows, queue: Mutex::default(), writing: Mutex::default(), written, _taken: taken });
        let generations = saved.filters.iter().map(Generation::read).collect::<Result<_, _>>()?;
        let mut set = Self {
            recent: Exact::default(),
            closing: None,
            unsaved: Vec::new(),
            replaced: Vec::new(),
            segment: saved.segment,
            generations,
            shared,
            position: saved.position,
        };
        for mark in saved.recent {
            set.note(mark);
        }
        Ok(set)
    }

    /// The last entry that was saved; the caller remembers again what the journal has after it. It
    /// is 0 when the file was deleted: then as much of the journal as shall be told apart.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether a message was seen. Touches the disk only for what was, or seems to have been.
    pub fn seen(&self, message: Fingerprint) -> Result<Seen, Failure> {
        let closing = self.closing.as_ref().and_then(|(_, map)| map.get(&message.id));
        if let Some((seq, body)) = self.recent.get(&message.id).or(closing) {
            return Ok(Seen::Perhaps { seq: *seq, same_body: *body == message.body });
        }
        for generation in self.generations.iter().rev().filter(|g| g.filter.contains(message.id)) {
            let segments = generation.first_segment..=generation.last_segment.min(self.segment);
            if let Some(mark) = self.shared.rows.find(message.id, segments)? {
                return Ok(Seen::Perhaps { seq: mark.seq, same_body: mark.body == message.body });
            }
        }
        Ok(Seen::No)
    }

    /// Remembers a message and the entry it became. The latest one under an id counts: a message that
    /// was rejected may come again, mended.
    pub fn remember(&mut self, message: Fingerprint, seq: u64) {
        let mark = Mark { id: message.id, seq, body: message.body };
        if self.note(mark) {
            self.unsaved.push(mark);
        }
    }

    /// Forgets what was remembered of entries after `seq`, because their append failed. What they had
    /// taken the place of counts again.
    pub fn forget_after(&mut self, seq: u64) {
        self.recent.retain(|_, (at, _)| *at <= seq);
        self.unsaved.retain(|mark| mark.seq <= seq);
        for mark in std::mem::take(&mut self.replaced).into_iter().filter(|mark| mark.seq <= seq) {
            self.note(mark);
        }
    }

    /// Gathers what is new up to an entry. Quick: the writing is [`DuplicatesCheckpoint::write`],
    /// for another thread. What a failed write leaves is written by the next one.
    pub fn checkpoint(&mut self, position: u64) -> DuplicatesCheckpoint {
        self.settle();
        self.replaced.clear(); // What is saved was appended.
        let mut batch = Batch { position, marks: std::mem::take(&mut self.unsaved), close: None, ..Batch::default() };
        if self.recent.len() >= SEGMENT && self.closing.is_none() {
            // The next one will be as long: growing would move it again and again.
            let next = Exact::with_capacity_and_hasher(self.recent.len(), BuildHasherDefault::default());
            let closing = (self.segment, Arc::new(std::mem::replace(&mut self.recent, next)));
            batch.close = Some(closing.clone());
            batch.filters = self.generations.iter_mut().filter(|g| g.changed).map(Generation::save).collect();
            self.closing = Some(closing);
            self.segment += 1;
            self.drop_oldest();
        }
        batch.oldest_generation = self.generations.first().map_or(0, |g| g.number);
        batch.oldest_segment = self.generations.first().map_or(0, |g| g.first_segment);
        self.position = position;
        guard(&self.shared.queue).push_back(Arc::new(batch));
        DuplicatesCheckpoint(self.shared.clone())
    }

    /// Bytes of memory in use, but for the allocator's own.
    pub fn memory_bytes(&self) -> usize {
        let filters: usize = self.generations.iter().map(|g| g.filter.bytes()).sum();
        let maps = self.recent.capacity() + self.closing.as_ref().map_or(0, |(_, map)| map.capacity());
        filters + maps * 8 / 7 * 25 + (self.unsaved.capacity() + self.replaced.capacity()) * size_of::<Mark>()
    }

    /// How many messages the filters know.
    pub fn len(&self) -> usize {
        self.generations.iter().map(|g| g.filter.len()).sum()
    }

    /// Whether no message was ever seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a message where it is found at once; `false` when its id is there already.
    fn note(&mut self, mark: Mark) -> bool {
        if self.recent.get(&mark.id).is_some_and(|(seq, _)| *seq >= mark.seq) {
            return false;
        }
        if let Some((seq, body)) = self.recent.insert(mark.id, (mark.seq, mark.body)) {
            self.replaced.push(Mark { seq, body, ..mark });
        }
        let segment = self.segment;
        let open = self.open_generation();
        Arc::make_mut(&mut open.filter).insert(mark.id);
        open.last_segment = segment;
        open.changed = true;
        true
    }

    /// The generation that takes new messages; twice as large as the last one, up to a size.
    fn open_generation(&mut self) -> &mut Generation {
        let full = self.generations.last().is_none_or(|g| g.filter.is_full());
        if full {
            let number = self.generations.last().map_or(1, |g| g.number + 1);
            let steps = u32::try_from(number - 1).unwrap_or(u32::MAX).min(LARGEST_BITS - SMALLEST_BITS);
            self.generations.push(Generation {
                number,
                filter: Arc::new(Filter::with_bits(SMALLEST_BITS + steps)),
                first_segment: self.segment,
                last_segment: self.segment,
                changed: true,
            });
        }
        let last = self.generations.len() - 1;
        &mut self.generations[last]
    }

    /// Frees the map of a segment that is on disk by now.
    fn settle(&mut self) {
        let written = self.shared.written.load(Ordering::Acquire);
        self.closing.take_if(|(segment, _)| *segment <= written);
    }

    fn drop_oldest(&mut self) {
        while self.generations.first().is_some_and(|oldest| self.len() - oldest.filter.len() >= KEEP) {
            self.generations.remove(0);
        }
    }
}

impl Generation {
    fn read(saved: &SavedFilter) -> Result<Self, Failure> {
        let filter = Filter::from_bytes(&saved.bytes)
            .ok_or_else(|| Failure::corrupt(rows::LOADING, format!("filter {} is damaged", saved.number)))?;
        Ok(Self {
            number: saved.number,
            filter: Arc::new(filter),
            first_segment: saved.first_segment,
            last_segment: saved.last_segment,
            changed: false,
        })
    }

    fn save(&mut self) -> rows::FilterSnapshot {
        self.changed = false;
        rows::FilterSnapshot {
            number: self.number,
            first_segment: self.first_segment,
            last_segment: self.last_segment,
            filter: self.filter.clone(),
        }
    }
}

/// What a checkpoint of the duplicates will write, for the thread that writes it.
pub struct DuplicatesCheckpoint(Arc<Shared>);

impl DuplicatesCheckpoint {
    /// Writes everything that was gathered, each checkpoint in one transaction.
    pub fn write(&self) -> Result<(), Failure> {
        let _writing = guard(&self.0.writing);
        loop {
            // The queue is free while the disk works: the writer may gather the next one.
            let Some(batch) = guard(&self.0.queue).front().cloned() else { return Ok(()) };
            self.0.rows.write(&batch)?;
            if let Some((segment, _)) = &batch.close {
                self.0.written.store(*segment, Ordering::Release);
            }
            guard(&self.0.queue).pop_front();
        }
    }
}
