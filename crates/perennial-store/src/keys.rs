//! Keys: one per root profile, and the workspace's secrets, in a file of their own.
//!
//! Promise: a key is durable before anything sealed with it is; a destroyed key is overwritten, in
//! the file and in its write-ahead log, and is never made again. Keys lie wrapped by the master key.
//! Limits: what a file system or a drive keeps of overwritten blocks, and copies in older backups,
//! are out of reach; a restore destroys again what was destroyed since (see [`crate::restore`]).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use perennial_core::id::{CustomerId, Secret};
use perennial_core::time::{DAY_MS, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use zeroize::Zeroizing;

use crate::Taken;
use crate::backup::note_erasure;
use crate::failure::{Doing as _, Failure, Trouble};
use crate::memory::{MemoryDisk, Write};
use crate::seal::{Key, KeyName, entropy};
use crate::sqlite::{Layout, Readers, checkpoint_truncate, guard, open};

const LAYOUT: Layout = Layout {
    name: "key store",
    mark: 0x5052_4b31,
    version: 1,
    page_size: 4096,
    synchronous: "FULL",
    cache_kib: 8192,
    schema: "
        -- A destroyed key keeps its row with no wrapped bytes: it is never made again.
        CREATE TABLE keys(name BLOB PRIMARY KEY, wrapped BLOB) WITHOUT ROWID;
        CREATE TABLE kept(name TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
    ",
};

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
    Sqlite { folder: PathBuf, writer: Box<Mutex<Connection>>, readers: Readers, master: Key },
    Memory(MemoryDisk),
}

/// What is known of a key.
#[derive(Clone)]
enum Known {
    Key(Key),
    Destroyed,
}

/// The last keys used, in two halves: when the younger is full, the older is dropped.
#[derive(Default)]
struct Cache {
    young: HashMap<KeyName, Known>,
    old: HashMap<KeyName, Known>,
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
        let writer = open(&path, &LAYOUT)?;
        writer.pragma_update(None, "secure_delete", true).doing("open the key store")?;
        let readers = Readers::new(&path, LAYOUT.name);
        let keys = Self::with(
            Backend::Sqlite { folder: folder.into(), writer: Box::new(Mutex::new(writer)), readers, master },
            taken,
        );
        keys.check_master()?;
        Ok(keys)
    }

    pub(crate) fn memory(disk: &MemoryDisk, taken: Arc<Taken>) -> Self {
        Self::with(Backend::Memory(disk.clone()), taken)
    }

    fn with(backend: Backend, taken: Arc<Taken>) -> Self {
        Self(Arc::new(Shared { cache: Mutex::default(), backend, _taken: taken }))
    }

    /// A text that only the right master key opens tells a wrong one at the start.
    fn check_master(&self) -> Result<(), Failure> {
        const PROBE: &str = "master key check";
        if self.kept(PROBE)?.is_none() {
            self.keep(PROBE, b"fits")?;
        }
        Ok(())
    }

    /// A secret of the workspace, made at its first use and the same ever after.
    pub fn secret(&self, name: &str) -> Result<Secret, Failure> {
        if let Backend::Memory(_) = self.0.backend {
            return Ok(Secret(Secret([0; 16]).digest(&[b"memory store", name.as_bytes()])));
        }
        let row = format!("secret {name}");
        if let Some(bytes) = self.kept(&row)? {
            let bytes = bytes.as_slice().try_into();
            return bytes.map(Secret).map_err(|_| Failure::corrupt("read a secret", "it has a wrong length"));
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
            Backend::Sqlite { writer, master, .. } => {
                let sealed = wrap(master, name.as_bytes(), plain)?;
                let sql = "INSERT INTO kept VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET sealed = excluded.sealed";
                guard(writer).execute(sql, params![name, sealed]).doing("write to the key store")?;
                Ok(())
            }
            Backend::Memory(disk) => disk.write(Write::Keys, |c| {
                c.kept.insert(name.into(), plain.into());
            }),
        }
    }

    /// What was kept under a name.
    pub fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        match &self.0.backend {
            Backend::Sqlite { readers, master, .. } => readers.with(|db| {
                let sql = "SELECT sealed FROM kept WHERE name = ?1";
                let sealed: Option<Vec<u8>> =
                    db.query_row(sql, [name], |row| row.get(0)).optional().doing("read the key store")?;
                sealed.map(|sealed| unwrap(master, name.as_bytes(), &sealed)).transpose()
            }),
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

    /// Whether the key of a root profile was destroyed.
    pub fn is_destroyed(&self, root: CustomerId) -> Result<bool, Failure> {
        Ok(matches!(self.find(KeyName::Root(root))?, Some(Known::Destroyed)))
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
            let known = self.find(*name)?;
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
        names.iter().map(|name| Ok(self.find(*name)?.and_then(key_of))).collect()
    }

    /// The key of a name; `None` when it was destroyed or never made.
    pub(crate) fn get(&self, name: KeyName) -> Result<Option<Key>, Failure> {
        Ok(self.find(name)?.and_then(key_of))
    }

    fn find(&self, name: KeyName) -> Result<Option<Known>, Failure> {
        if let Some(known) = guard(&self.0.cache).get(name) {
            return Ok(Some(known));
        }
        let known = match &self.0.backend {
            Backend::Sqlite { readers, master, .. } => readers.with(|db| read_key(db, master, name))?,
            Backend::Memory(disk) => {
                let found = disk.contents().keys.get(&name).cloned();
                found.map(|key| key.map_or(Known::Destroyed, Known::Key))
            }
        };
        if let Some(known) = &known {
            guard(&self.0.cache).put(name, known.clone());
        }
        Ok(known)
    }

    fn create(&self, names: &[KeyName]) -> Result<(), Failure> {
        let fresh: Vec<(KeyName, Key)> = names.iter().copied().zip(Key::random(names.len())?).collect();
        match &self.0.backend {
            Backend::Sqlite { writer, master, .. } => {
                let mut db = guard(writer);
                write_keys(&mut db, master, &fresh)?;
            }
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
            Backend::Sqlite { writer, .. } => {
                let mut db = guard(writer);
                let tx = db.transaction().doing("destroy keys")?;
                for name in names {
                    let sql = "INSERT INTO keys VALUES(?1, NULL) ON CONFLICT(name) DO UPDATE SET wrapped = NULL";
                    tx.prepare_cached(sql).and_then(|mut s| s.execute([name.bytes()])).doing("destroy keys")?;
                }
                tx.commit().doing("destroy keys")?;
                // The log holds the page as it was; only emptying it overwrites that.
                if !checkpoint_truncate(&db)? {
                    return Err(Failure::new(Trouble::Busy, "destroy keys", "a reader holds the key store"));
                }
            }
            Backend::Memory(disk) => disk.write(Write::Keys, |c| {
                c.keys.extend(names.iter().map(|name| (*name, None)));
            })?,
        }
        let mut cache = guard(&self.0.cache);
        for name in names {
            cache.put(*name, Known::Destroyed);
        }
        Ok(())
    }

    fn days_before(&self, day: KeyName) -> Result<Vec<KeyName>, Failure> {
        let KeyName::Day(end) = day else { return Ok(Vec::new()) };
        let names = match &self.0.backend {
            Backend::Sqlite { readers, .. } => readers.with(|db| {
                let sql = "SELECT name FROM keys WHERE name >= x'03' AND name < ?1 AND wrapped IS NOT NULL";
                let mut statement = db.prepare_cached(sql).doing("list the keys of days")?;
                let rows = statement.query_map([day.bytes()], |row| row.get::<_, [u8; 17]>(0));
                rows.and_then(Iterator::collect::<Result<Vec<_>, _>>).doing("list the keys of days")
            })?,
            Backend::Memory(disk) => {
                let contents = disk.contents();
                contents.keys.iter().filter(|(_, key)| key.is_some()).map(|(name, _)| name.bytes()).collect()
            }
        };
        let days = names.iter().filter_map(KeyName::day_from);
        Ok(days.filter(|name| matches!(name, KeyName::Day(day) if *day < end)).collect())
    }
}

fn key_of(known: Known) -> Option<Key> {
    match known {
        Known::Key(key) => Some(key),
        Known::Destroyed => None,
    }
}

fn read_key(db: &Connection, master: &Key, name: KeyName) -> Result<Option<Known>, Failure> {
    let bytes = name.bytes();
    let mut statement = db.prepare_cached("SELECT wrapped FROM keys WHERE name = ?1").doing("read a key")?;
    let row: Option<Option<Vec<u8>>> = statement.query_row([bytes], |row| row.get(0)).optional().doing("read a key")?;
    match row {
        None => Ok(None),
        Some(None) => Ok(Some(Known::Destroyed)),
        Some(Some(wrapped)) => {
            let plain = Zeroizing::new(unwrap(master, &bytes, &wrapped)?);
            let key = Key::from_slice(&plain).ok_or_else(|| Failure::corrupt("read a key", "it has a wrong length"))?;
            Ok(Some(Known::Key(key)))
        }
    }
}

fn write_keys(db: &mut Connection, master: &Key, fresh: &[(KeyName, Key)]) -> Result<(), Failure> {
    let tx = db.transaction().doing("create keys")?;
    for (name, key) in fresh {
        let wrapped = wrap(master, &name.bytes(), key.bytes())?;
        let mut statement = tx.prepare_cached("INSERT INTO keys VALUES(?1, ?2)").doing("create keys")?;
        statement.execute(params![name.bytes(), wrapped]).doing("create keys")?;
    }
    tx.commit().doing("create keys")
}

/// Seals under the master key: 24 random bytes, then the sealed text.
fn wrap(master: &Key, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut nonce = [0; 24];
    entropy(&mut nonce)?;
    let mut out = nonce.to_vec();
    out.extend(master.seal(nonce, context, plain)?);
    Ok(out)
}

fn unwrap(master: &Key, context: &[u8], wrapped: &[u8]) -> Result<Vec<u8>, Failure> {
    let (nonce, sealed) = wrapped.split_first_chunk::<24>().unwrap_or((&[0; 24], &[]));
    master.open(*nonce, context, sealed).ok_or_else(|| {
        Failure::new(Trouble::MasterKey, "open the key store", "the master key does not open what it holds")
    })
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

fn make_master(path: &Path) -> Result<Key, Failure> {
    let failed = |e: std::io::Error| Failure::io("make the master key", path, &e);
    let mut bytes = Zeroizing::new([0; 32]);
    entropy(&mut *bytes)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(&*bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|f| f.sync_all()).map_err(failed)?;
    }
    Ok(Key::new(*bytes))
}
