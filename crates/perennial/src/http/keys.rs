//! Keys: write keys for SDKs, which may only send, and secret keys with scopes for everything else.
//!
//! Promise: a key is shown once, when it is made; only its SHA-256 is kept (keys hold 160 random
//! bits, so there is nothing to guess). Comparisons take the same time for every key.

use std::fmt;
use std::fs::File;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use perennial_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::problem::ApiError;

/// What a secret key may do. Each includes only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// See customers, receipts, the ledger and the stream.
    Read,
    /// Enrol, redeem, hold, consent: what the shop does for its customers.
    Write,
    /// Adjust, review, set tiers, merge, erase: what staff decide.
    Admin,
}

impl Scope {
    /// As the description and the answers call it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// What a key is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Grant {
    /// Sending events; the key's name is their source.
    Write,
    /// The API.
    Secret {
        /// What it may do.
        scopes: Vec<Scope>,
    },
}

/// A key as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Key {
    name: String,
    grant: Grant,
    sha256: String,
    made_at: Timestamp,
}

/// What may be told of a key.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.grant {
            Grant::Write => write!(f, "{}  write key", self.name)?,
            Grant::Secret { scopes } => {
                let words: Vec<&str> = scopes.iter().map(|scope| scope.word()).collect();
                write!(f, "{}  secret key: {}", self.name, words.join(", "))?;
            }
        }
        write!(f, "  made {}", self.made_at)
    }
}

/// The keys of a first start; shown once.
#[derive(Clone, Debug)]
pub struct FirstKeys {
    /// For SDKs; its source is `default`.
    pub write: String,
    /// With all scopes.
    pub secret: String,
}

fn damaged(path: &Path, why: &serde_json::Error) -> io::Error {
    let mend = "put a copy of it back, or remove it: the next start makes new keys and shows them";
    io::Error::other(format!("{}: this is no list of keys ({why}); {mend}", path.display()))
}

/// Written beside and moved into place, so that a crash leaves the old file or the new one. Whoever owned the old one
/// owns the new one: the server, as a rule, which has to read it.
fn write(path: &Path, keys: &[Key]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let file = perennial_store::private_file().write(true).create(true).truncate(true).open(&beside)?;
    serde_json::to_writer_pretty(&file, keys)?;
    #[cfg(unix)]
    if let Ok(old) = std::fs::metadata(path) {
        std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn unusable(path: &Path, error: &io::Error) -> io::Error {
    let mend = "look at the disk, also whether it is full, and at the permissions of the data folder";
    io::Error::new(error.kind(), format!("{}: {error}; {mend}", path.display()))
}

/// Waits until no other process changes the file, which may be another one by then.
fn lock(path: &Path) -> io::Result<File> {
    for _ in 0..LOCK_TRIES {
        let file = File::open(path)?;
        if file.try_lock().is_ok() && is_still(&file, path) {
            return Ok(file);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "another process has been changing it for seconds"))
}

#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    matches!((file.metadata(), std::fs::metadata(path)), (Ok(locked), Ok(found)) if locked.ino() == found.ino())
}

#[cfg(not(unix))]
fn is_still(_: &File, _: &Path) -> bool {
    true // A file that is open cannot be replaced.
}

const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

fn read(path: &Path) -> io::Result<Vec<Key>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| damaged(path, &e)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// Most keys of one installation.
const KEYS_MAX: usize = 1_000;

/// Characters of a key's name.
const NAME_MAX: usize = 64;

/// How long what another process has changed may go unseen.
const LOOK_EVERY: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// The keys of this installation.
pub struct KeyRing {
    path: Option<PathBuf>,
    keys: RwLock<Vec<Key>>,
    looked: Mutex<Looked>,
}

/// When the file was last looked at, when it had been written then and how long it was.
struct Looked {
    at: Instant,
    written: Option<(SystemTime, u64)>,
}

impl Looked {
    fn now(path: Option<&Path>) -> Self {
        let found = path.and_then(|path| std::fs::metadata(path).ok());
        let written = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        Self { at: Instant::now(), written }
    }
}

impl KeyRing {
    /// Reads the keys of a file; makes the first two when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not a list of keys.
    pub fn open(path: &Path, now: Timestamp) -> io::Result<(Self, Option<FirstKeys>)> {
        let is_first = !path.exists();
        let ring = Self::of(path)?;
        let first = if is_first { Some(ring.make_first(now)?) } else { None };
        Ok((ring, first))
    }

    /// The keys of a file that a first start has made; none are made here.
    ///
    /// # Errors
    /// When there are none yet, or the file cannot be read or is not a list of keys.
    pub fn existing(path: &Path) -> io::Result<Self> {
        if !path.exists() {
            let why = format!("{}: there are no keys yet; the first `perennial serve` makes them", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        Self::of(path)
    }

    fn of(path: &Path) -> io::Result<Self> {
        let looked = Mutex::new(Looked::now(Some(path))); // What is written from here on is news.
        Ok(Self { path: Some(path.to_owned()), keys: RwLock::new(read(path)?), looked })
    }

    /// Every key in a line: its name, what it is good for, since when.
    pub fn lines(&self) -> Vec<String> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).iter().map(Key::to_string).collect()
    }

    /// Keys that are kept nowhere.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn in_memory(now: Timestamp) -> io::Result<(Self, FirstKeys)> {
        let looked = Mutex::new(Looked::now(None));
        let ring = Self { path: None, keys: RwLock::new(Vec::new()), looked };
        let first = ring.make_first(now)?;
        Ok((ring, first))
    }

    /// Both at once: a start that is cut off leaves two keys or none.
    fn make_first(&self, now: Timestamp) -> io::Result<FirstKeys> {
        let scopes = vec![Scope::Read, Scope::Write, Scope::Admin];
        let [write, secret] = self.add_all([("default", Grant::Write), ("first", Grant::Secret { scopes })], now)?;
        Ok(FirstKeys { write, secret })
    }

    /// Makes a key and returns it, this once.
    ///
    /// # Errors
    /// When the name is taken or none, there are too many keys, or the file cannot be written.
    pub fn add(&self, name: &str, grant: Grant, now: Timestamp) -> io::Result<String> {
        let is_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.chars().count() > NAME_MAX || !name.chars().all(is_name) {
            let why = format!("'{name}' is no name of a key: letters, digits, '-', '_' and '.', at most {NAME_MAX}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.add_all([(name, grant)], now).map(|[token]| token)
    }

    fn add_all<const N: usize>(&self, wanted: [(&str, Grant); N], now: Timestamp) -> io::Result<[String; N]> {
        self.change(|keys| {
            let mut tokens = [const { String::new() }; N];
            for ((name, grant), place) in wanted.into_iter().zip(&mut tokens) {
                if keys.len() >= KEYS_MAX || keys.iter().any(|key| key.name == name) {
                    let why = format!("a key named '{name}' exists, or there are {KEYS_MAX} keys");
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
                }
                *place = random_token(if grant == Grant::Write { "wk_" } else { "sk_" })?;
                let sha256 = hex(&Sha256::digest(place.as_bytes()));
                keys.push(Key { name: name.into(), grant, sha256, made_at: now });
            }
            Ok(tokens)
        })
    }

    /// Withdraws a key; whether there was one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn revoke(&self, name: &str) -> io::Result<bool> {
        self.change(|keys| {
            let before = keys.len();
            keys.retain(|key| key.name != name);
            Ok(keys.len() < before)
        })
    }

    /// Changes the keys as they are by now, one process at a time.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Key>) -> io::Result<T>) -> io::Result<T> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else { return change(&mut keys) };
        let _locked = if path.exists() { Some(lock(path).map_err(|error| unusable(path, &error))?) } else { None };
        let mut next = read(path)?;
        let done = change(&mut next)?;
        write(path, &next).map_err(|error| unusable(path, &error))?;
        *keys = next;
        Ok(done)
    }

    fn find(&self, token: &str) -> Option<(String, Grant)> {
        self.look_again();
        let hash = hex(&Sha256::digest(token.as_bytes()));
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for key in keys.iter() {
            if bool::from(key.sha256.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some((key.name.clone(), key.grant.clone()));
            }
        }
        found
    }

    /// Keys that another process has made or withdrawn count within a second. A file that cannot be read changes
    /// nothing: nobody is locked out by half an edit.
    fn look_again(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = self.path.as_deref().filter(|_| looked.at.elapsed() >= LOOK_EVERY) else { return };
        let now = Looked::now(Some(path));
        let is_news = now.written.is_some() && now.written != looked.written;
        *looked = now;
        if !is_news {
            return;
        }
        match read(path) {
            Ok(keys) => *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys,
            Err(error) => tracing::error!(%error, "the keys stay as they were"),
        }
    }

    /// The source that a write key stands for.
    pub fn source(&self, token: &str) -> Option<String> {
        self.find(token).filter(|(_, grant)| *grant == Grant::Write).map(|(name, _)| name)
    }

    /// The name of the secret key of a request, if it may do this.
    ///
    /// # Errors
    /// `invalid_key` without a known key, `not_authorised` when its scopes do not reach.
    pub fn authorise(&self, headers: &HeaderMap, scope: Scope) -> Result<String, ApiError> {
        let key = tokens(headers).into_iter().find_map(|token| self.find(&token));
        match key {
            Some((name, Grant::Secret { scopes })) if scopes.contains(&scope) => Ok(name),
            Some((_, Grant::Secret { .. })) => {
                let word = scope.word();
                Err(ApiError::new("not_authorised", format!("This takes a secret key with the scope '{word}'.")))
            }
            _ => Err(ApiError::new("invalid_key", "Send a secret key as 'Authorization: Bearer sk_...'.")),
        }
    }
}

/// The keys that a request's headers may carry: `Bearer`, `Basic` with or without the colon.
pub fn tokens(headers: &HeaderMap) -> Vec<String> {
    let Some(text) = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()) else { return Vec::new() };
    let Some((scheme, rest)) = text.trim().split_once(' ') else { return Vec::new() };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return vec![rest.to_owned()];
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Vec::new();
    }
    let decoded = STANDARD.decode(rest).or_else(|_| STANDARD_NO_PAD.decode(rest)).ok();
    let Some(user) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else { return Vec::new() };
    let (name, password) = user.split_once(':').unwrap_or((&user, ""));
    [name, password].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn random_token(prefix: &str) -> io::Result<String> {
    let mut bytes = [0u8; 20];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{prefix}{}", hex(&bytes)))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(four.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn keys_come_in_all_the_forms_that_clients_use() {
        for (value, expected) in [
            ("Basic d2tfdGVzdDo=", vec!["wk_test"]),
            ("basic d2tfdGVzdA==", vec!["wk_test"]),
            ("Basic d2tfdGVzdA", vec!["wk_test"]),
            ("Bearer wk_test", vec!["wk_test"]),
            ("Basic ???", vec![]),
            ("wk_test", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(tokens(&headers(value)), expected, "{value}");
        }
    }

    #[test]
    fn first_keys_are_shown_once_and_never_stored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let (_, first) = KeyRing::open(&path, Timestamp::EPOCH).unwrap();
        let first = first.unwrap();
        let stored = std::fs::read_to_string(&path).unwrap();
        assert!(!stored.contains(&first.write) && !stored.contains(&first.secret));
        let (ring, again) = KeyRing::open(&path, Timestamp::EPOCH).unwrap();
        assert!(again.is_none());
        assert_eq!(ring.source(&first.write).as_deref(), Some("default"));
        assert_eq!(ring.source(&first.secret), None, "a secret key sends no events");
        assert!(ring.authorise(&headers(&format!("Bearer {}", first.secret)), Scope::Admin).is_ok());
        assert_eq!(
            ring.authorise(&headers(&format!("Bearer {}", first.write)), Scope::Read).unwrap_err().code(),
            "invalid_key"
        );
    }

    #[test]
    fn half_of_a_key_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        drop(KeyRing::open(&path, Timestamp::EPOCH).unwrap());
        let whole = std::fs::read(&path).unwrap();
        for part in 0..8 {
            let half = &whole[..whole.len() * part / 8];
            std::fs::write(&path, half).unwrap();
            let failure = KeyRing::open(&path, Timestamp::EPOCH).map(|_| ()).unwrap_err().to_string();
            assert!(failure.contains("keys.json") && failure.contains("remove it"), "{failure}");
            assert_eq!(std::fs::read(&path).unwrap(), half);
        }
    }

    #[test]
    fn what_another_process_does_to_keys_is_known_to_the_one_that_serves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        assert!(KeyRing::existing(&path).map(|_| ()).unwrap_err().to_string().contains("perennial serve"));
        let (serving, _) = KeyRing::open(&path, Timestamp::EPOCH).unwrap();
        let others: Vec<_> = (0..8)
            .map(|n| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let other = KeyRing::existing(&path).unwrap();
                    other.add(&format!("till-{n}"), Grant::Write, Timestamp::EPOCH).unwrap();
                    assert!(n % 2 == 0 || other.revoke(&format!("till-{n}")).unwrap());
                })
            })
            .collect();
        others.into_iter().for_each(|other| other.join().unwrap());
        let other = KeyRing::existing(&path).unwrap();
        assert_eq!(other.lines().len(), 2 + 4, "{:?}", other.lines());
        let token = other.add("till", Grant::Write, Timestamp::EPOCH).unwrap();
        assert_eq!(serving.source(&token).as_deref(), Some("till"));
        assert!(other.lines().iter().any(|line| line.starts_with("till  write key")), "{:?}", other.lines());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, "half an edi").unwrap();
        assert!(other.revoke("till").is_err(), "what cannot be read is not written over");
        assert_eq!(serving.source(&token).as_deref(), Some("till"), "nobody is locked out");
        std::fs::write(&path, whole).unwrap();
        assert!(other.revoke("till").unwrap());
        assert_eq!(serving.source(&token), None);
        for name in ["", "a b", "a/b", &"x".repeat(65)] {
            assert!(other.add(name, Grant::Write, Timestamp::EPOCH).is_err(), "{name}");
        }
    }

    #[test]
    fn scopes_reach_no_further_than_they_say() {
        let (ring, _) = KeyRing::in_memory(Timestamp::EPOCH).unwrap();
        let token = ring.add("till", Grant::Secret { scopes: vec![Scope::Read] }, Timestamp::EPOCH).unwrap();
        let bearer = headers(&format!("Bearer {token}"));
        assert_eq!(ring.authorise(&bearer, Scope::Read).unwrap(), "till");
        assert_eq!(ring.authorise(&bearer, Scope::Write).unwrap_err().code(), "not_authorised");
        assert!(ring.revoke("till").unwrap());
        assert_eq!(ring.authorise(&bearer, Scope::Read).unwrap_err().code(), "invalid_key");
    }
}
