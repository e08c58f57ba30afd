//! The key file: wrapped keys, written in order of arrival and sorted later, off the writer's path.
//!
//! New keys are appended to `recent` (and held in a map); when 20,000 have come together they become a
//! sorted *run* ([`crate::runs`]).
//!
//! Invariant: a name is in `recent` or in one live run, and whatever run holds it, also one that is
//! being built or taken down, [`Keyring::destroy`] overwrites it there.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use zeroize::Zeroizing;

use crate::failure::{Doing as _, Failure, Trouble};
use crate::runs::{Runs, begin, give_up_building, new_run};
use crate::seal::{Key, KeyName, entropy};
use crate::sqlite::{Layout, Readers, WAIT, checkpoint_passive, checkpoint_truncate, guard, open};

pub(crate) const LAYOUT: Layout = Layout {
    name: "key store",
    mark: 0x5052_4b31,
    version: 1,
    older: Trouble::Corrupt,
    page_size: 4096,
    synchronous: "FULL",
    cache_kib: 4096,
    schema: "
        -- A destroyed key keeps its row with no wrapped bytes: it is never made again.
        CREATE TABLE recent(n INTEGER PRIMARY KEY, name BLOB NOT NULL, wrapped BLOB);
        CREATE TABLE runs(run INTEGER PRIMARY KEY, level INTEGER NOT NULL, state TEXT NOT NULL);
        CREATE TABLE sorted(run INTEGER NOT NULL, name BLOB NOT NULL, wrapped BLOB, PRIMARY KEY(run, name)) WITHOUT ROWID;
        CREATE TABLE kept(name TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
    ",
};

/// How long the log waits for readers to be emptied.
const MOMENT: Duration = Duration::from_millis(50);
/// Keys that become a run.
const RUN: usize = 20_000;

/// What is known of a key.
#[derive(Clone)]
pub(crate) enum Known {
    /// It is there.
    Key(Key),
    /// It was there.
    Destroyed,
}

pub(crate) struct Keyring {
    master: Key,
    writer: Mutex<Connection>,
    /// Sorts and merges, without an `fsync` of its own: nothing is lost if that is undone.
    tidier: Mutex<Connection>,
    readers: Readers,
    walkers: Readers,
    recent: Mutex<HashMap<KeyName, Known>>,
    run_size: usize,
    runs: Mutex<Runs>,
    /// The log may hold keys as they were before they were destroyed.
    unpurged: AtomicBool,
}

impl Keyring {
    pub(crate) fn open(path: &Path, master: Key) -> Result<Self, Failure> {
        const DOING: &str = "open the key store";
        let (writer, tidier) = (open(path, &LAYOUT)?, open(path, &LAYOUT)?);
        for db in [&writer, &tidier] {
            db.pragma_update(None, "secure_delete", true).doing(DOING)?;
        }
        tidier.pragma_update(None, "synchronous", "NORMAL").doing(DOING)?;
        give_up_building(&writer).doing(DOING)?;
        let (readers, walkers) = (Readers::new(path, LAYOUT.name), Readers::walking(path, LAYOUT.name));
        let (writer, tidier, recent) = (writer.into(), tidier.into(), Mutex::default());
        let runs = Runs::new("name", "wrapped").into();
        let unpurged = AtomicBool::new(true); // Perhaps a crash came before.
        let ring = Self { master, writer, tidier, readers, walkers, recent, run_size: RUN, runs, unpurged };
        ring.probe()?;
        *guard(&ring.recent) = ring.load_recent()?;
        ring.purge()?;
        Ok(ring)
    }

    /// A text that only the right master key opens tells a wrong one at the start.
    fn probe(&self) -> Result<(), Failure> {
        const PROBE: &str = "master key check";
        match self.sealed(PROBE)? {
            None => self.keep(PROBE, b"fits"),
            Some(sealed) if unwrap(&self.master, PROBE.as_bytes(), &sealed).is_some() => Ok(()),
            Some(_) => Err(Failure::new(
                Trouble::MasterKey,
                "open the key store (keys.db)",
                "the master key does not open what it holds",
            )),
        }
    }

    fn load_recent(&self) -> Result<HashMap<KeyName, Known>, Failure> {
        const DOING: &str = "read the recent keys";
        let rows: Vec<([u8; 17], Option<Vec<u8>>)> = self.readers.with(|db| {
            let mut statement = db.prepare("SELECT name, wrapped FROM recent ORDER BY n").doing(DOING)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
            rows.and_then(Iterator::collect).doing(DOING)
        })?;
        let known = |(name, wrapped): ([u8; 17], Option<Vec<u8>>)| {
            let name = KeyName::from_bytes(&name).ok_or_else(|| Failure::corrupt(DOING, "a name cannot be read"))?;
            Ok((name, known(&self.master, name, wrapped.as_deref())?))
        };
        rows.into_iter().map(known).collect()
    }

    pub(crate) fn keep(&self, name: &str, plain: &[u8]) -> Result<(), Failure> {
        let sealed = wrap(&self.master, name.as_bytes(), plain)?;
        let sql = "INSERT INTO kept VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET sealed = excluded.sealed";
        guard(&self.writer).execute(sql, params![name, sealed]).doing("write to the key store")?;
        Ok(())
    }

    pub(crate) fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let opened = |sealed: Vec<u8>| unwrap(&self.master, name.as_bytes(), &sealed).ok_or_else(damaged);
        self.sealed(name)?.map(opened).transpose()
    }

    fn sealed(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.readers.with(|db| {
            let found = db.query_row("SELECT sealed FROM kept WHERE name = ?1", [name], |row| row.get(0));
            found.optional().doing("read the key store")
        })
    }

    /// What is known of a key. Whoever walks through the journal asks for all of them.
    pub(crate) fn find(&self, name: KeyName, walks: bool) -> Result<Option<Known>, Failure> {
        if let Some(known) = guard(&self.recent).get(&name) {
            return Ok(Some(known.clone()));
        }
        let sql = "SELECT s.wrapped FROM runs r CROSS JOIN sorted s ON s.run = r.run AND s.name = ?1
                   WHERE r.state = 'live' LIMIT 1";
        let readers = if walks { &self.walkers } else { &self.readers };
        let row: Option<Option<Vec<u8>>> = readers.with(|db| {
            let mut statement = db.prepare_cached(sql).doing("read a key")?;
            statement.query_row([name.bytes()], |row| row.get(0)).optional().doing("read a key")
        })?;
        row.map(|wrapped| known(&self.master, name, wrapped.as_deref())).transpose()
    }

    /// Writes new keys in one transaction; durable on return.
    pub(crate) fn create(&self, fresh: &[(KeyName, Key)]) -> Result<(), Failure> {
        const DOING: &str = "create keys";
        let mut db = guard(&self.writer);
        let tx = begin(&mut db, DOING)?;
        {
            let mut statement = tx.prepare_cached("INSERT INTO recent(name, wrapped) VALUES(?1, ?2)").doing(DOING)?;
            for (name, key) in fresh {
                let wrapped = wrap(&self.master, &name.bytes(), key.bytes())?;
                statement.execute(params![name.bytes(), wrapped]).doing(DOING)?;
            }
        }
        tx.commit().doing(DOING)?;
        let known = fresh.iter().map(|(name, key)| (*name, Known::Key(key.clone())));
        guard(&self.recent).extend(known);
        Ok(())
    }

    /// Overwrites keys wherever they lie, durably, though the log holds them until [`Keyring::purge`].
    pub(crate) fn destroy(&self, names: &[KeyName]) -> Result<(), Failure> {
        const DOING: &str = "destroy keys";
        let mut db = guard(&self.writer);
        let tx = begin(&mut db, DOING)?;
        let mut unsorted = Vec::new();
        for name in names {
            let run = |sql| tx.prepare_cached(sql).and_then(|mut s| s.execute([name.bytes()])).doing(DOING);
            let recent = run("UPDATE recent SET wrapped = NULL WHERE name = ?1")?;
            let sorted = run("UPDATE sorted SET wrapped = NULL WHERE run IN (SELECT run FROM runs) AND name = ?1")?;
            if recent + sorted == 0 {
                run("INSERT INTO recent(name) VALUES(?1)")?;
            }
            if recent > 0 || sorted == 0 || guard(&self.recent).contains_key(name) {
                unsorted.push((*name, Known::Destroyed));
            }
        }
        tx.commit().doing(DOING)?;
        guard(&self.recent).extend(unsorted);
        self.unpurged.store(true, Ordering::Release);
        Ok(())
    }

    /// Empties the log where it may hold destroyed keys: only that overwrites them. Whoever reads or sorts is
    /// waited for no longer than a moment, because new keys wait meanwhile; `false` when it is to be tried again.
    pub(crate) fn purge(&self) -> Result<bool, Failure> {
        const DOING: &str = "purge the key store";
        let Ok(db) = self.tidier.try_lock() else { return Ok(!self.unpurged.load(Ordering::Acquire)) };
        if !self.unpurged.swap(false, Ordering::AcqRel) {
            return Ok(true);
        }
        db.busy_timeout(MOMENT).doing(DOING)?;
        let emptied = checkpoint_truncate(&db);
        let patient = db.busy_timeout(WAIT).doing(DOING);
        if !matches!(emptied, Ok(true)) {
            self.unpurged.store(true, Ordering::Release);
        }
        patient.and(emptied)
    }

    /// Names of keys that exist, from a first one on.
    pub(crate) fn names_from(&self, first: [u8; 17]) -> Result<Vec<KeyName>, Failure> {
        const DOING: &str = "list keys";
        let sql = "SELECT name FROM recent WHERE wrapped IS NOT NULL AND name >= ?1
                   UNION SELECT name FROM sorted WHERE run IN (SELECT run FROM runs WHERE state = 'live')
                   AND name >= ?1 AND wrapped IS NOT NULL";
        let names: Vec<[u8; 17]> = self.readers.with(|db| {
            let mut statement = db.prepare_cached(sql).doing(DOING)?;
            let rows = statement.query_map([first], |row| row.get(0));
            rows.and_then(Iterator::collect).doing(DOING)
        })?;
        Ok(names.iter().filter_map(KeyName::from_bytes).collect())
    }

    /// Sorts and merges what has come together and copies the log into the file. For a thread that
    /// has time.
    pub(crate) fn tidy(&self) -> Result<(), Failure> {
        let mut db = guard(&self.tidier);
        if guard(&self.recent).len() >= self.run_size {
            self.sort_recent(&mut db)?;
        }
        guard(&self.runs).tidy(&mut db)?;
        checkpoint_passive(&db)
    }

    fn sort_recent(&self, db: &mut Connection) -> Result<(), Failure> {
        const DOING: &str = "sort the recent keys";
        let tx = begin(db, DOING)?;
        let moved: Vec<[u8; 17]> = {
            let mut statement = tx.prepare_cached("SELECT name FROM recent").doing(DOING)?;
            let rows = statement.query_map([], |row| row.get(0));
            rows.and_then(Iterator::collect).doing(DOING)?
        };
        let run = new_run(&tx, 0, "live")?;
        tx.execute("INSERT INTO sorted SELECT ?1, name, wrapped FROM recent ORDER BY name", [run]).doing(DOING)?;
        tx.execute("DELETE FROM recent", []).doing(DOING)?;
        tx.commit().doing(DOING)?;
        // Exactly those that moved: others may have come since.
        let mut recent = guard(&self.recent);
        for name in moved.iter().filter_map(KeyName::from_bytes) {
            recent.remove(&name);
        }
        recent.shrink_to(self.run_size);
        Ok(())
    }
}

fn known(master: &Key, name: KeyName, wrapped: Option<&[u8]>) -> Result<Known, Failure> {
    let Some(wrapped) = wrapped else { return Ok(Known::Destroyed) };
    let plain = Zeroizing::new(unwrap(master, &name.bytes(), wrapped).ok_or_else(damaged)?);
    Key::from_slice(&plain).map(Known::Key).ok_or_else(damaged)
}

/// The master key fits, or the file would not have been opened.
fn damaged() -> Failure {
    Failure::corrupt("read the key store (keys.db)", "a key in it is damaged")
}

/// Seals under the master key: 24 random bytes, then the sealed text.
fn wrap(master: &Key, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut nonce = [0; 24];
    entropy(&mut nonce)?;
    let mut out = nonce.to_vec();
    let header = out.len();
    out.extend_from_slice(plain);
    master.seal(nonce, context, &mut out, header)?;
    Ok(out)
}

/// What [`wrap`] sealed; nothing when the key does not fit or the bytes are damaged.
fn unwrap(master: &Key, context: &[u8], wrapped: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = wrapped.split_first_chunk::<24>()?;
    let mut text = sealed.to_vec();
    let length = master.open(*nonce, context, &mut text)?.len();
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests {
    use perennial_core::id::{CustomerId, Secret};

    use super::*;

    const SMALL: u32 = 1_000;

    /// A key file that sorts sooner than the real one.
    fn small(path: &Path) -> Keyring {
        Keyring { run_size: SMALL as usize, ..Keyring::open(path, Key::new([9; 32])).unwrap() }
    }

    fn name(n: u32) -> KeyName {
        KeyName::Root(CustomerId(Secret([1; 16]).digest(&[&n.to_le_bytes()])))
    }

    fn fill(ring: &Keyring, numbers: std::ops::Range<u32>) -> Vec<[u8; 32]> {
        let keys = Key::random(numbers.len()).unwrap();
        let bytes = keys.iter().map(|key| *key.bytes()).collect();
        let fresh: Vec<_> = numbers.map(name).zip(keys).collect();
        ring.create(&fresh).unwrap();
        bytes
    }

    fn key(ring: &Keyring, n: u32) -> Option<[u8; 32]> {
        match ring.find(name(n), false).unwrap() {
            Some(Known::Key(key)) => Some(*key.bytes()),
            _ => None,
        }
    }

    #[test]
    fn keys_are_found_through_sorting_merging_and_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.db");
        let open = || small(&path);
        let ring = open();
        let step = SMALL;
        let mut keys = Vec::new();
        for round in 0..9 {
            keys.extend(fill(&ring, round * step..(round + 1) * step));
            if round == 4 {
                ring.destroy(&[name(3), name(4 * step + 1)]).unwrap();
            }
            ring.tidy().unwrap();
        }
        (0..60).for_each(|_| ring.tidy().unwrap());
        keys.extend(fill(&ring, 9 * step..9 * step + 10));
        assert_eq!(guard(&ring.recent).len(), 10);
        let counts = |ring: &Keyring| -> (i64, i64) {
            let sql = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM sorted)";
            ring.readers.with(|db| Ok(db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap())).unwrap()
        };
        assert_eq!(counts(&ring), (2, i64::from(9 * step)), "eight runs became one");
        drop(ring);
        let ring = open();
        for (n, bytes) in (0..).zip(&keys).step_by(97) {
            assert_eq!(key(&ring, n), Some(*bytes), "{n}");
        }
        for gone in [3, 4 * step + 1] {
            assert!(matches!(ring.find(name(gone), gone % 2 == 0).unwrap(), Some(Known::Destroyed)), "{gone}");
        }
        assert!(ring.find(name(u32::MAX), true).unwrap().is_none());
    }

    #[test]
    fn an_interrupted_merge_is_cleared_and_a_key_destroyed_in_it_stays_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.db");
        let ring = small(&path);
        fill(&ring, 0..SMALL);
        ring.tidy().unwrap();
        {
            let db = guard(&ring.tidier);
            let target = new_run(&db, 1, "building").unwrap();
            db.execute("INSERT INTO sorted SELECT ?1, name, wrapped FROM sorted LIMIT 500", [target]).unwrap();
        }
        let all: Vec<KeyName> = (0..SMALL).map(name).collect();
        ring.destroy(&all).unwrap();
        let left = |ring: &Keyring, sql: &str| -> i64 {
            ring.readers.with(|db| Ok(db.query_row(sql, [], |row| row.get(0)).unwrap())).unwrap()
        };
        assert_eq!(left(&ring, "SELECT count(*) FROM sorted WHERE wrapped IS NOT NULL"), 0);
        drop(ring);
        let ring = small(&path);
        (0..3).for_each(|_| ring.tidy().unwrap());
        assert_eq!(left(&ring, "SELECT count(*) FROM runs"), 1);
        assert!(key(&ring, 0).is_none());
    }
}
