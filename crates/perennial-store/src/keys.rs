//! Keys: one per root profile, and the workspace's secrets, in a file of their own.
//!
//! Promise: a key is durable before anything sealed with it is; a destroyed key is overwritten, in
//! the file and in its write-ahead log, and is never made again. Keys lie wrapped by the master key.
//! Limits: what a file system or a drive keeps of overwritten blocks, and copies in older backups,
//! are out of reach; a restore destroys again what was destroyed since (see [`crate::restore`]).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use perennial_core::id::{CustomerId, Secret};
use perennial_core::time::{DAY_MS, Timestamp};
use zeroize::Zeroizing;

use crate::Taken;
use crate::backup::note_erasure;
use crate::digests::DigestMap;
use crate::failure::{Failure, Trouble};
use crate::keyring::{Keyring, Known};
use crate::memory::{MemoryDisk, Write};
use crate::private::private_file;
use crate::seal::{Key, KeyName, entropy};
use crate::sqlite::guard;

/// Keys in each half of the cache; a key is about 120 bytes there.
const CACHE_HALF: usize = 32_768;
/// Days that rejects can be read.
const REJECT_DAYS: i64 = 30;

/// The key store. Handles are cheap to clone and may be used from any thread.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    cache: Mutex<Cache>,
    backend: Backend,
    _taken: Arc<Taken>,
}

enum Backend {
    Sqlite { folder: PathBuf, ring: Box<Keyring> },
    Memory(MemoryDisk),
}

/// The last keys used, in two halves: when the younger is full, the older is dropped.
#[derive(Default)]
struct Cache {
    young: DigestMap<KeyName, Known>,
    old: DigestMap<KeyName, Known>,
    /// How often keys were destroyed: what was read before may be a key that is no more.
    destroyed: u64,
}

impl Cache {
    fn get(&mut self, name: KeyName) -> Option<Known> {
        if let Some(known) = self.young.get(&name) {
            return Some(known.clone());
        }
        let known = self.old.get(&name)?.clone();
        self.put(name, known.clone());
        Some(known)
    }

    /// Keeps what was read when so often keys had been destroyed, unless one was since.
    fn put_as_of(&mut self, destroyed: u64, name: KeyName, known: Known) {
        if self.destroyed == destroyed {
            self.put(name, known);
        }
    }

    fn destroy(&mut self, names: &[KeyName]) {
        self.destroyed += 1;
        names.iter().for_each(|name| self.put(*name, Known::Destroyed));
    }

    fn put(&mut self, name: KeyName, known: Known) {
        if self.young.len() >= CACHE_HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&name);
        self.young.insert(name, known);
    }
}

impl Keys {
    /// Opens the key store of a folder; makes it, and the master key, at the first start.
    pub(crate) fn open(folder: &Path, master: Option<[u8; 32]>, taken: Arc<Taken>) -> Result<Self, Failure> {
        let path = folder.join("keys.db");
        let master = match master {
            Some(bytes) => Key::new(bytes),
            None => master_key(&folder.join("master.key"), !path.exists())?,
        };
        let ring = Box::new(Keyring::open(&path, master)?);
        Ok(Self::with(Backend::Sqlite { folder: folder.into(), ring }, taken))
    }

    pub(crate) fn memory(disk: &MemoryDisk, taken: Arc<Taken>) -> Self {
        Self::with(Backend::Memory(disk.clone()), taken)
    }

    fn with(backend: Backend, taken: Arc<Taken>) -> Self {
        Self(Arc::new(Shared { cache: Mutex::default(), backend, _taken: taken }))
    }

    /// A secret of the workspace, made at its first use and the same ever after.
    pub fn secret(&self, name: &str) -> Result<Secret, Failure> {
        if let Backend::Memory(_) = self.0.backend {
            return Ok(Secret(Secret([0; 16]).digest(&[b"memory store", name.as_bytes()])));
        }
        let row = format!("secret {name}");
        if let Some(bytes) = self.kept(&row)? {
            let bytes = bytes.as_slice().try_into();
            return bytes.map(Secret).map_err(|_| Failure::corrupt("read a secret (keys.db)", "it has a wrong length"));
        }
        let mut bytes = [0; 16];
        entropy(&mut bytes)?;
        self.keep(&row, &bytes)?;
        Ok(Secret(bytes))
    }

    /// Keeps a small text sealed under the master key: what must survive a deleted state file but
    /// is not in the journal, such as the table of API keys.
    pub fn keep(&self, name: &str, plain: &[u8]) -> Result<(), Failure> {
        match &self.0.backend {
            Backend::Sqlite { ring, .. } => ring.keep(name, plain),
            Backend::Memory(disk) => disk.write(Write::Keys, |c| {
                c.kept.insert(name.into(), plain.into());
            }),
        }
    }

    /// What was kept under a name.
    pub fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        match &self.0.backend {
            Backend::Sqlite { ring, .. } => ring.kept(name),
            Backend::Memory(disk) => Ok(disk.contents().kept.get(name).cloned()),
        }
    }

    /// Destroys the key of a root profile for ever: nothing sealed with it can be read again.
    /// Calling it again is harmless. `Erased` must be in the journal before (rule 29).
    pub fn destroy(&self, root: CustomerId) -> Result<(), Failure> {
        if let Backend::Sqlite { folder, .. } = &self.0.backend
            && !self.is_destroyed(root)?
        {
            note_erasure(folder, root)?;
        }
        self.destroy_named(&[KeyName::Root(root)])
    }

    /// The roots whose keys were destroyed, as the folder lists them.
    pub fn erasures(&self) -> Result<BTreeSet<CustomerId>, Failure> {
        match &self.0.backend {
            Backend::Sqlite { folder, .. } => crate::backup::erasures(folder),
            Backend::Memory(_) => Ok(BTreeSet::new()),
        }
    }

    /// Whether the key of a root profile was destroyed.
    pub fn is_destroyed(&self, root: CustomerId) -> Result<bool, Failure> {
        Ok(matches!(self.find(KeyName::Root(root), false)?, Some(Known::Destroyed)))
    }

    /// Destroys the keys of days more than 30 days before `now`: rejects of then become unreadable.
    pub fn destroy_old_days(&self, now: Timestamp) -> Result<(), Failure> {
        let oldest = KeyName::day_of(now.plus_millis(-REJECT_DAYS * DAY_MS));
        let stale = self.days_before(oldest)?;
        if stale.is_empty() { Ok(()) } else { self.destroy_named(&stale) }
    }

    /// The keys of these names, in their order, made where they are missing: durable on return, in
    /// one transaction. `None` for a key that was destroyed.
    pub(crate) fn ensure(&self, names: &[KeyName]) -> Result<Vec<Option<Key>>, Failure> {
        let mut found = Vec::with_capacity(names.len());
        let mut missing = Vec::new();
        for name in names {
            let known = self.find(*name, false)?;
            if known.is_none() {
                missing.push(*name);
            }
            found.push(known);
        }
        if missing.is_empty() {
            return Ok(found.into_iter().map(|known| known.and_then(key_of)).collect());
        }
        missing.sort_unstable();
        missing.dedup();
        self.create(&missing)?;
        names.iter().map(|name| Ok(self.find(*name, false)?.and_then(key_of))).collect()
    }

    /// The key of a name that something was sealed with; `None` when it was destroyed.
    ///
    /// # Errors
    /// When it was never made here: these are the keys of another journal, or they are lost.
    pub(crate) fn get(&self, name: KeyName) -> Result<Option<Key>, Failure> {
        known_or_lost(self.find(name, false)?)
    }

    /// As [`Keys::get`], for whoever walks through the journal: what is read does not stay mapped.
    pub(crate) fn get_on_a_walk(&self, name: KeyName) -> Result<Option<Key>, Failure> {
        known_or_lost(self.find(name, true)?)
    }

    fn find(&self, name: KeyName, walks: bool) -> Result<Option<Known>, Failure> {
        let as_of = {
            let mut cache = guard(&self.0.cache);
            if let Some(known) = cache.get(name) {
                return Ok(Some(known));
            }
            cache.destroyed
        };
        let known = match &self.0.backend {
            Backend::Sqlite { ring, .. } => ring.find(name, walks)?,
            Backend::Memory(disk) => {
                let found = disk.contents().keys.get(&name).cloned();
                found.map(|key| key.map_or(Known::Destroyed, Known::Key))
            }
        };
        if let Some(known) = &known {
            guard(&self.0.cache).put_as_of(as_of, name, known.clone());
        }
        Ok(known)
    }

    fn create(&self, names: &[KeyName]) -> Result<(), Failure> {
        let fresh: Vec<(KeyName, Key)> = names.iter().copied().zip(Key::random(names.len())?).collect();
        match &self.0.backend {
            Backend::Sqlite { ring, .. } => ring.create(&fresh)?,
            Backend::Memory(disk) => disk.write(Write::Keys, |c| {
                c.keys.extend(fresh.iter().map(|(name, key)| (*name, Some(key.clone()))));
            })?,
        }
        let mut cache = guard(&self.0.cache);
        for (name, key) in fresh {
            cache.put(name, Known::Key(key));
        }
        Ok(())
    }

    fn destroy_named(&self, names: &[KeyName]) -> Result<(), Failure> {
        match &self.0.backend {
            Backend::Sqlite { ring, .. } => ring.destroy(names)?,
            Backend::Memory(disk) => disk.write(Write::Keys, |c| {
                c.keys.extend(names.iter().map(|name| (*name, None)));
            })?,
        }
        guard(&self.0.cache).destroy(names);
        let _ = self.purge(); // If somebody is in the way, the next checkpoint tries again.
        Ok(())
    }

    /// Overwrites what the key store's log holds of destroyed keys, where that is still to be done. For a thread
    /// that has time, now and then.
    ///
    /// # Errors
    /// [`Trouble::Busy`] when a reader is in the way; the disk's.
    pub fn purge(&self) -> Result<(), Failure> {
        match &self.0.backend {
            Backend::Sqlite { ring, .. } if !ring.purge()? => {
                Err(Failure::new(Trouble::Busy, "purge the key store (keys.db)", "a reader holds it"))
            }
            _ => Ok(()),
        }
    }

    /// Sorts the keys of new customers and copies the log into the file, off the writer's path.
    pub(crate) fn tidy(&self) -> Result<(), Failure> {
        match &self.0.backend {
            Backend::Sqlite { ring, .. } => ring.tidy(),
            Backend::Memory(_) => Ok(()),
        }
    }

    fn days_before(&self, day: KeyName) -> Result<Vec<KeyName>, Failure> {
        let KeyName::Day(end) = day else { return Ok(Vec::new()) };
        let names = match &self.0.backend {
            Backend::Sqlite { ring, .. } => ring.names_from(KeyName::Day(i64::MIN).bytes())?,
            Backend::Memory(disk) => {
                let contents = disk.contents();
                contents.keys.iter().filter(|(_, key)| key.is_some()).map(|(name, _)| *name).collect()
            }
        };
        Ok(names.into_iter().filter(|name| matches!(name, KeyName::Day(day) if *day < end)).collect())
    }
}

fn key_of(known: Known) -> Option<Key> {
    match known {
        Known::Key(key) => Some(key),
        Known::Destroyed => None,
    }
}

/// Destroyed keys leave a row behind, so that one which is not there was lost.
fn known_or_lost(known: Option<Known>) -> Result<Option<Key>, Failure> {
    const LOST: &str = "the journal is sealed with keys that are neither there nor destroyed";
    known.map(key_of).ok_or_else(|| Failure::corrupt("find a key (keys.db)", LOST))
}

/// Reads the master key, or makes it when the key store is new too.
fn master_key(path: &Path, may_make: bool) -> Result<Key, Failure> {
    match File::open(path) {
        Ok(file) => read_master(file, path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && may_make => make_master(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let detail = format!("{} is missing, but keys wrapped by it exist", path.display());
            Err(Failure::new(Trouble::MasterKey, "open the key store", detail))
        }
        Err(e) => Err(Failure::io("read the master key", path, &e)),
    }
}

fn read_master(file: File, path: &Path) -> Result<Key, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    file.take(64).read_to_end(&mut bytes).map_err(|e| Failure::io("read the master key", path, &e))?;
    Key::from_slice(&bytes).ok_or_else(|| {
        let detail = format!("{} has {} bytes instead of 32", path.display(), bytes.len());
        Failure::new(Trouble::MasterKey, "read the master key", detail)
    })
}

/// Written beside and moved into place: a start on a full disk leaves no half of a key.
fn make_master(path: &Path) -> Result<Key, Failure> {
    let failed = |e: std::io::Error| Failure::io("make the master key", path, &e);
    let beside = path.with_extension("new");
    let mut bytes = Zeroizing::new([0; 32]);
    entropy(&mut *bytes)?;
    let mut file = private_file().write(true).create(true).truncate(true).open(&beside).map_err(failed)?;
    file.write_all(&*bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|f| f.sync_all()).map_err(failed)?;
    }
    Ok(Key::new(*bytes))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rusqlite::Connection;

    use super::*;

    const ANA: CustomerId = CustomerId([7; 16]);

    fn keys(folder: &Path) -> Keys {
        Keys::open(folder, None, Arc::new(Taken::Memory(MemoryDisk::new()))).unwrap()
    }

    #[test]
    fn a_key_that_was_read_before_it_was_destroyed_is_not_kept_after() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path());
        let name = KeyName::Root(ANA);
        keys.ensure(&[name]).unwrap();
        let as_of = guard(&keys.0.cache).destroyed;
        let read = keys.find(name, false).unwrap().unwrap();
        keys.destroy(ANA).unwrap();
        guard(&keys.0.cache).put_as_of(as_of, name, read); // The reader was slower than the writer.
        assert!(keys.is_destroyed(ANA).unwrap());
        assert!(keys.get(name).unwrap().is_none());
    }

    #[test]
    fn whoever_reads_neither_keeps_a_destroyed_key_usable_nor_holds_the_writer_up() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path());
        keys.ensure(&[KeyName::Root(ANA)]).unwrap();
        let reader = Connection::open(folder.path().join("keys.db")).unwrap();
        reader.execute_batch("BEGIN").unwrap();
        let rows: i64 = reader.query_row("SELECT count(*) FROM recent", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
        let began = Instant::now();
        keys.destroy(ANA).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(keys.is_destroyed(ANA).unwrap());
        assert_eq!(keys.purge().unwrap_err().trouble, Trouble::Busy);
        reader.execute_batch("ROLLBACK").unwrap();
        keys.purge().unwrap();
        assert_eq!(std::fs::metadata(folder.path().join("keys.db-wal")).unwrap().len(), 0, "nothing of it is left");
        keys.purge().unwrap();
    }
}
