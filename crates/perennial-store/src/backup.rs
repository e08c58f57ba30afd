//! Backup while running, and restore that does not bring the erased back.
//!
//! Promise: a backup is a folder that opens by itself; its journal reaches at least as far as its
//! state, and its keys at least as far as its journal. It appears under its name only when it is
//! whole and on the disk. It holds `master.key` when the folder does: keep it as safe as the folder.
//!
//! `erasures.txt` lists the roots whose keys were destroyed, in opaque ids. A restore erases again whoever
//! either folder, or a copy of that file, lists and the restored journal does not know as erased.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial_core::fact::Fact;
use perennial_core::id::CustomerId;
use rusqlite::{Connection, OpenFlags};

use crate::failure::{Doing as _, Failure, Trouble};
use crate::private::{keep_to_owner, make_file, make_folder, private_file};
use crate::{
    Duplicates, Keys, LOCK, Options, State, Store, Taken, discard_duplicates, discard_state, refuse_missing,
    remove_if_there, take, take_to_read,
};

const JOURNAL: &str = "journal.db";
const KEYS: &str = "keys.db";
const STATE: &str = "state.db";
pub(crate) const DUPLICATES: &str = "duplicates.db";
const MASTER: &str = "master.key";
pub(crate) const ERASURES: &str = "erasures.txt";
/// Hashes of the keys that clients call with; without them a restored server would refuse everybody.
const API_KEYS: &str = "api-keys.json";

/// Copies a data folder to a new one, also while a process works on it. Until it ends, the
/// write-ahead logs grow, because copies read a snapshot.
///
/// # Errors
/// When the folder holds no journal and keys, the new one exists, or the disk fails; what was begun
/// is removed. A process that dies leaves it as `TO.partial`, and the next backup overwrites it.
pub fn backup(folder: &Path, to: &Path) -> Result<(), Failure> {
    const DOING: &str = "back up";
    refuse_missing(DOING, folder)?;
    refuse_existing(DOING, to)?;
    refuse_inside(DOING, to, folder)?;
    let partial = beside(to, "partial");
    make_folder(&partial).map_err(|e| Failure::io(DOING, &partial, &e))?;
    let held = Arc::new(take(&partial)?);
    if let Err(failure) = copy_live(folder, &partial).and_then(|()| check_keys(&partial, held)) {
        let _ = remove_folder(&partial); // A disk that is full needs the room.
        return Err(failure);
    }
    move_whole(&partial, to)
}

/// Whether the copy's master key opens its keys. Another copy is looked at: opening one leaves logs beside it, and a
/// backup is to be read where nothing can be written.
fn check_keys(partial: &Path, held: Arc<Taken>) -> Result<(), Failure> {
    let looked_at = partial.join("look");
    std::fs::create_dir(&looked_at).map_err(|e| Failure::io("back up", &looked_at, &e))?;
    for file in [MASTER, KEYS] {
        copy_file(&partial.join(file), &looked_at.join(file))?;
    }
    Keys::open(&looked_at, None, held).map(drop)?;
    remove_folder(&looked_at)?;
    remove_if_there(&partial.join(LOCK)).map_err(|e| Failure::io("back up", partial, &e))
}

fn copy_live(folder: &Path, partial: &Path) -> Result<(), Failure> {
    empty_folder(partial)?;
    // The order is the promise: what depends on the journal before it, what it depends on after. The
    // state comes first: it must not be ahead of the messages that were seen.
    for file in [STATE, DUPLICATES, JOURNAL, KEYS] {
        copy_database(&folder.join(file), &partial.join(file))?;
    }
    for file in [MASTER, ERASURES, API_KEYS] {
        copy_file(&folder.join(file), &partial.join(file))?;
    }
    Ok(())
}

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The last entry of the restored journal.
    pub last_seq: u64,
    /// Roots that were erased and are not known as that to the restored journal: their keys are destroyed again.
    /// The caller appends their erasures.
    pub erased: Vec<CustomerId>,
    /// Where the folder is that was there before.
    pub replaced: Option<PathBuf>,
}

/// Puts a backup in the place of a data folder, which is moved aside if it is there. Whoever was erased since
/// the backup, as the two folders and the file `also` list, loses their key in it too, and its state is left to be
/// folded again.
///
/// # Errors
/// When the backup is not whole: every entry of its journal is read with its key before anything is
/// moved. What is there stays as it is then.
pub fn restore(from: &Path, to: &Path, also: Option<&Path>, options: Options) -> Result<Restored, Failure> {
    const DOING: &str = "restore";
    refuse_missing(DOING, from)?;
    if from.canonicalize().ok().is_some_and(|from| to.canonicalize().is_ok_and(|to| from == to)) {
        let detail = format!("{} is the data folder itself, and no backup", from.display());
        return Err(Failure::new(Trouble::Absent, DOING, detail));
    }
    let _whole = if has_logs(from) { take_to_read(from)? } else { None };
    let held = if to.exists() { Some(take(to)?) } else { None };
    let lists: Vec<PathBuf> =
        [to, from].map(|folder| folder.join(ERASURES)).into_iter().chain(also.map(Path::to_owned)).collect();
    if let Some(missing) = also.filter(|file| !file.exists()) {
        return Err(Failure::io(DOING, missing, &std::io::ErrorKind::NotFound.into()));
    }
    let listed = erasures_in(&lists)?;
    let partial = beside(to, "restoring");
    remove_folder(&partial)?;
    let prepared = copy_all(from, &partial).and_then(|()| finish(&partial, options, listed));
    let (last_seq, erased) = prepared.map_err(|failure| {
        let _ = remove_folder(&partial); // Half a backup is worth nothing, and it holds keys.
        Failure { doing: format!("restore {}: {}", from.display(), failure.doing).into(), ..failure }
    })?;
    let replaced = if held.is_some() { Some(move_aside(to)?) } else { None };
    move_whole(&partial, to)?;
    drop(held);
    Ok(Restored { last_seq, erased, replaced })
}

/// Whether a process has, or had, these files open: what it wrote last may stand in their logs only. A
/// backup has none until somebody looks into it.
fn has_logs(folder: &Path) -> bool {
    [JOURNAL, KEYS].iter().any(|file| folder.join(format!("{file}-wal")).exists())
}

fn copy_all(from: &Path, partial: &Path) -> Result<(), Failure> {
    make_folder(partial).map_err(|e| Failure::io("restore", partial, &e))?;
    for file in [JOURNAL, KEYS, MASTER, ERASURES, API_KEYS, STATE, DUPLICATES] {
        copy_file(&from.join(file), &partial.join(file))?;
        let log = format!("{file}-wal");
        copy_file(&from.join(&log), &partial.join(&log))?;
    }
    Ok(())
}

/// Reads all of what was copied, which proves it whole, and destroys what must stay destroyed: the last entry, and
/// who is listed as erased and is not that to the journal.
fn finish(
    folder: &Path,
    options: Options,
    mut listed: BTreeSet<CustomerId>,
) -> Result<(u64, Vec<CustomerId>), Failure> {
    discard_what_cannot_be_read(folder)?;
    let store = Store::open_with(folder, options)?;
    for entry in store.journal.reader().iter(1) {
        for fact in entry?.outcome {
            if let Fact::Erased { roots } = fact {
                listed.retain(|root| !roots.contains(root));
            }
        }
    }
    for root in &listed {
        store.keys.destroy(*root)?;
    }
    let last = store.journal.last_seq();
    drop(store);
    if !listed.is_empty() {
        discard_state(folder)?; // It still holds the person: it is folded again instead.
    }
    Ok((last, listed.into_iter().collect()))
}

/// A state or a list of duplicates that cannot be read is made again from the journal. One that is ahead of
/// the journal can be read, and tells that the journal is cut.
fn discard_what_cannot_be_read(folder: &Path) -> Result<(), Failure> {
    let taken = Arc::new(take(folder)?);
    let state = State::open(&folder.join(STATE), taken.clone()).and_then(|state| state.position());
    let duplicates = Duplicates::open(&folder.join(DUPLICATES), taken);
    let (no_state, no_duplicates) = (state.is_err(), duplicates.is_err());
    drop(duplicates);
    if no_state || no_duplicates {
        discard_state(folder)?; // Whoever folds the journal again remembers its messages, too.
    }
    if no_duplicates {
        discard_duplicates(folder)?;
    }
    Ok(())
}

/// Notes that a root is erased, durably, before its key is destroyed.
pub(crate) fn note_erasure(folder: &Path, root: CustomerId) -> Result<(), Failure> {
    let path = folder.join(ERASURES);
    let failed = |e: std::io::Error| Failure::io("note an erasure", &path, &e);
    let mut file = private_file().create(true).read(true).append(true).open(&path).map_err(failed)?;
    // A crash may have cut the last line: a new one does not continue it.
    let begin = if ends_a_line(&mut file).map_err(failed)? { "" } else { "\n" };
    file.write_all(format!("{begin}{root}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn ends_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The roots that a folder lists as erased.
pub(crate) fn erasures(folder: &Path) -> Result<BTreeSet<CustomerId>, Failure> {
    erasures_in(&[folder.join(ERASURES)])
}

/// The roots that lists of erasures name together; those that are not there name nobody.
///
/// A line that was cut by a crash is written again, whole, when the next start finishes the erasure. Any other
/// that cannot be read may mean somebody whom a restore would bring back: it is told instead.
fn erasures_in(lists: &[PathBuf]) -> Result<BTreeSet<CustomerId>, Failure> {
    const DOING: &str = "read the list of erasures";
    let mut listed = BTreeSet::new();
    let mut unread = Vec::new();
    for path in lists.iter().filter(|path| path.exists()) {
        let bytes = std::fs::read(path).map_err(|e| Failure::io(DOING, path, &e))?;
        for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines().map(str::trim)) {
            match line.parse::<CustomerId>() {
                Ok(root) => drop(listed.insert(root)),
                Err(_) => unread.push((path, number, line.to_owned())),
            }
        }
    }
    let is_whole_elsewhere = |cut: &str| listed.iter().any(|root| root.to_string().starts_with(cut));
    match unread.iter().find(|(_, _, line)| !line.is_empty() && !is_whole_elsewhere(line)) {
        None => Ok(listed),
        Some((path, number, _)) => {
            let detail =
                format!("line {number} of {} is no id, and whoever it meant might be brought back", path.display());
            Err(Failure::corrupt(DOING, detail))
        }
    }
}

fn copy_database(from: &Path, to: &Path) -> Result<(), Failure> {
    let doing = format!("back up {}", from.display());
    if !from.exists() {
        return Ok(()); // Not written yet, and made again from the journal.
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(from, flags).doing(&doing)?;
    let name = to.to_str().ok_or_else(|| Failure::misuse(&*doing, "the path is not valid Unicode"))?;
    make_file(to).map_err(|e| Failure::io(&doing, to, &e))?;
    db.execute("VACUUM INTO ?1", [name]).doing(&doing)?;
    File::open(to).and_then(|f| f.sync_all()).map_err(|e| Failure::io(&doing, to, &e))
}

/// Copies a file, if it exists, to the disk; the copy is its owner's alone.
fn copy_file(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = match std::fs::copy(from, to) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other,
    };
    copied
        .and_then(|_| {
            let copy = File::open(to)?;
            keep_to_owner(&copy)?;
            copy.sync_all()
        })
        .map_err(|e| Failure::io(&format!("copy {}", from.display()), to, &e))
}

fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(suffix);
    folder.with_file_name(name)
}

/// Empties the folder of a backup that was begun, but for the mark that this process has on it.
fn empty_folder(folder: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::io("remove what was left", folder, &e);
    for file in std::fs::read_dir(folder).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        if path.is_dir() {
            remove_folder(&path)?;
        } else if path.file_name().is_none_or(|name| name != LOCK) {
            std::fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(())
}

fn refuse_existing(doing: &str, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        return Err(Failure::new(Trouble::Place, doing, format!("{} exists already", to.display())));
    }
    Ok(())
}

/// A copy inside of what it protects would be lost with it.
fn refuse_inside(doing: &str, to: &Path, folder: &Path) -> Result<(), Failure> {
    let mut above = to.ancestors().skip(1).map(|up| if up.as_os_str().is_empty() { Path::new(".") } else { up });
    let there = above.find_map(|up| up.canonicalize().ok());
    if there.is_some_and(|there| folder.canonicalize().is_ok_and(|folder| there.starts_with(folder))) {
        return Err(Failure::new(Trouble::Place, doing, format!("{} lies in the data folder", to.display())));
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Failure::io("remove what was left", folder, &e)),
        _ => Ok(()),
    }
}

/// Gives a finished folder its name, durably.
fn move_whole(partial: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::io("give the folder its name", to, &e);
    File::open(partial).and_then(|f| f.sync_all()).map_err(failed)?;
    std::fs::rename(partial, to).map_err(failed)?;
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|f| f.sync_all()).map_err(failed)
}

fn move_aside(to: &Path) -> Result<PathBuf, Failure> {
    let free = (1..1_000).map(|n| beside(to, &format!("replaced-{n}"))).find(|path| !path.exists());
    let Some(aside) = free else {
        return Err(Failure::new(Trouble::Foreign, "restore", "too many replaced folders lie beside it"));
    };
    std::fs::rename(to, &aside).map_err(|e| Failure::io("move the old folder aside", to, &e))?;
    Ok(aside)
}
