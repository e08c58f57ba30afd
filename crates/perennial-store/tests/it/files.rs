//! What only files can do wrong: other processes, other programs, half of a write, backups.

use std::path::Path;

use perennial_store::{Options, Store, Trouble, backup, restore};

use crate::suite::{customer, entry};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[track_caller]
fn refused(folder: &Path) -> Trouble {
    let failure = Store::open(folder).map(|_| ()).unwrap_err();
    assert!(failure.to_string().contains(failure.remedy()), "{failure}");
    failure.trouble
}

fn refusal(folder: &Path) -> String {
    Store::open(folder).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_folder_belongs_to_one_process() {
    let dir = folder();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(refused(dir.path()), Trouble::InUse);
    let state = store.state.clone();
    drop(store);
    assert_eq!(refused(dir.path()), Trouble::InUse, "one part is enough to hold it");
    drop(state);
    Store::open(dir.path()).unwrap();
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = folder();
    std::fs::write(dir.path().join("journal.db"), "dear diary, ".repeat(1_000)).unwrap();
    assert_eq!(refused(dir.path()), Trouble::Foreign);
    let dir = folder();
    let other = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    other.execute_batch("CREATE TABLE photos(x)").unwrap();
    assert_eq!(refused(dir.path()), Trouble::Foreign);
}

#[test]
fn a_newer_layout_is_not_touched() {
    let dir = folder();
    drop(Store::open(dir.path()).unwrap());
    let db = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert_eq!(refused(dir.path()), Trouble::Newer);
}

#[test]
fn a_start_that_was_cut_off_is_finished_by_the_next() {
    let dir = folder();
    std::fs::write(dir.path().join("journal.db"), "").unwrap();
    std::fs::write(dir.path().join("keys.db"), "").unwrap();
    std::fs::write(dir.path().join("master.key"), [7; 32]).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.journal.append(&[entry(1, 1)]).unwrap();
}

#[test]
fn a_missing_or_wrong_master_key_is_named() {
    let dir = folder();
    drop(Store::open(dir.path()).unwrap());
    let key = dir.path().join("master.key");
    let right = std::fs::read(&key).unwrap();
    std::fs::write(&key, [1; 32]).unwrap();
    assert_eq!(refused(dir.path()), Trouble::MasterKey);
    std::fs::write(&key, [1; 31]).unwrap();
    assert_eq!(refused(dir.path()), Trouble::MasterKey);
    std::fs::remove_file(&key).unwrap();
    assert_eq!(refused(dir.path()), Trouble::MasterKey);
    let options = Options { master_key: Some(right.try_into().unwrap()) };
    Store::open_with(dir.path(), options).unwrap();
}

#[test]
fn a_first_start_that_died_over_the_master_key_is_finished_by_the_next() {
    let dir = folder();
    std::fs::write(dir.path().join("master.new"), [7; 5]).unwrap();
    drop(Store::open(dir.path()).unwrap());
    assert!(!dir.path().join("master.new").exists());
}

#[test]
fn a_journal_without_the_keys_that_it_is_sealed_with_is_not_opened() {
    let (dir, older, other) = (folder(), folder(), folder());
    let mut store = Store::open(dir.path()).unwrap();
    store.journal.append(&[entry(1, 1)]).unwrap();
    drop(store);
    backup(dir.path(), &older.path().join("copy")).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.journal.append(&[entry(2, 2)]).unwrap();
    drop(store);
    let master_key = std::fs::read(dir.path().join("master.key")).unwrap().try_into().unwrap();
    let options = Options { master_key: Some(master_key) };
    drop(Store::open_with(other.path(), options).unwrap());

    let clear = || {
        for file in ["keys.db", "keys.db-wal", "keys.db-shm"] {
            let _ = std::fs::remove_file(dir.path().join(file));
        }
    };
    let swap = |from: &Path| {
        clear();
        std::fs::copy(from.join("keys.db"), dir.path().join("keys.db")).unwrap();
    };
    let right = folder();
    backup(dir.path(), &right.path().join("copy")).unwrap();
    swap(other.path());
    assert!(refusal(dir.path()).contains("neither there nor destroyed"), "keys of another journal");
    swap(&older.path().join("copy"));
    assert!(refusal(dir.path()).contains("neither there nor destroyed"), "keys older than the journal");
    clear();
    assert!(refusal(dir.path()).contains("has a journal, but no keys.db"), "no keys");
    assert!(!dir.path().join("keys.db").exists(), "and none were made");
    swap(&right.path().join("copy"));
    assert_eq!(read_all(dir.path()).unwrap().len(), 2, "with the right ones nothing is lost");
}

#[cfg(unix)]
#[test]
fn the_master_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder();
    drop(Store::open(dir.path()).unwrap());
    let mode = std::fs::metadata(dir.path().join("master.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn edit_journal(folder: &Path, sql: &str) {
    rusqlite::Connection::open(folder.join("journal.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_missing_and_a_changed_entry_are_named() {
    for (sql, name) in [
        ("DELETE FROM entries WHERE seq = 2", "entry 2"),
        ("UPDATE entries SET input = (SELECT input FROM entries WHERE seq = 1) WHERE seq = 3", "entry 3"),
        ("UPDATE entries SET input = x'01' WHERE seq = 3", "entry 3"),
        ("UPDATE entries SET outcome = x'01FF' WHERE seq = 3", "entry 3"),
        ("UPDATE entries SET customer = x'00' WHERE seq = 3", "Blob"),
    ] {
        let dir = folder();
        let mut store = Store::open(dir.path()).unwrap();
        store.journal.append(&[entry(1, 1), entry(2, 1), entry(3, 1)]).unwrap();
        edit_journal(dir.path(), sql);
        let read: Result<Vec<_>, _> = store.journal.reader().iter(1).collect();
        let failure = read.unwrap_err();
        assert_eq!(failure.trouble, Trouble::Corrupt, "{sql}: {failure}");
        assert!(failure.to_string().contains(name), "{sql}: {failure}");
    }
}

#[test]
fn a_state_ahead_of_its_journal_is_not_opened() {
    let dir = folder();
    let store = Store::open(dir.path()).unwrap();
    store.state.checkpoint(perennial_store::Checkpoint { position: 5, ..Default::default() }).unwrap();
    drop(store);
    assert_eq!(refused(dir.path()), Trouble::Lost);
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(file));
    }
    Store::open(dir.path()).unwrap();
}

/// A folder with 200 entries and a checkpoint, closed as by a crash: the logs are still beside the
/// files.
fn crashed() -> tempfile::TempDir {
    let (dir, copy) = (folder(), folder());
    let mut store = Store::open(dir.path()).unwrap();
    for seq in 1..=200 {
        store.journal.append(&[entry(seq, 1)]).unwrap();
    }
    store.state.checkpoint(perennial_store::Checkpoint { position: 20, ..Default::default() }).unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

/// Opens a folder and reads all of its journal.
fn read_all(folder: &Path) -> Result<Vec<perennial_core::input::Entry>, perennial_store::Failure> {
    let store = Store::open(folder)?;
    store.state.customers(None, 10)?;
    store.journal.reader().iter(1).collect()
}

#[test]
fn a_folder_that_a_crash_left_is_restored_with_what_stands_in_its_logs() {
    let (from, home) = (crashed(), folder());
    let to = home.path().join("data");
    assert_eq!(restore(from.path(), &to, None, Options::default()).unwrap().last_seq, 200);
    assert_eq!(read_all(&to).unwrap().len(), 200);
    let open = Store::open(from.path()).unwrap();
    let failure = restore(from.path(), &home.path().join("other"), None, Options::default()).unwrap_err();
    assert_eq!(failure.trouble, Trouble::InUse, "half of what a server writes is no backup");
    drop(open);
}

/// A backup of 200 entries, and a data folder with 200 of its own.
fn backup_and_home() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let home = folder();
    let (copy, data) = (home.path().join("copy"), home.path().join("data"));
    let mut store = Store::open(&data).unwrap();
    store.journal.append(&(1..=200).map(|seq| entry(seq, 1)).collect::<Vec<_>>()).unwrap();
    drop(store);
    backup(&data, &copy).unwrap();
    (home, copy, data)
}

#[test]
fn a_backup_that_could_not_be_read_is_none() {
    let (home, _copy, data) = backup_and_home();
    let to = home.path().join("second");
    let key = std::fs::read(data.join("master.key")).unwrap();
    for damage in [None, Some([7; 32])] {
        std::fs::remove_file(data.join("master.key")).unwrap();
        damage.iter().for_each(|bytes| std::fs::write(data.join("master.key"), bytes).unwrap());
        assert_eq!(backup(&data, &to).unwrap_err().trouble, Trouble::MasterKey);
        std::fs::write(data.join("master.key"), &key).unwrap();
    }
    let other = Store::open(&home.path().join("second.partial")).unwrap(); // As a backup that is being made.
    assert_eq!(backup(&data, &to).unwrap_err().trouble, Trouble::InUse);
    drop(other);
    backup(&data, &to).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&to).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["duplicates.db", "journal.db", "keys.db", "master.key", "state.db"], "and no logs");
    assert_eq!(read_all(&to).unwrap().len(), 200);
    assert!(!home.path().join("second.partial").exists());
}

fn turn_a_byte(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_broken_backup_replaces_nothing_and_says_what_is_broken() {
    for (file, names) in [("journal.db", "entry"), ("master.key", "master key")] {
        let (home, copy, data) = backup_and_home();
        turn_a_byte(&copy.join(file));
        let failure = restore(&copy, &data, None, Options::default()).unwrap_err().to_string();
        assert!(failure.contains("restore ") && failure.contains(names), "{file}: {failure}");
        assert_eq!(read_all(&data).unwrap().len(), 200, "{file}");
        let left = std::fs::read_dir(home.path()).unwrap().count();
        assert_eq!(left, 2, "nothing half restored is left");
    }
}

#[test]
fn a_backup_whose_journal_is_behind_its_state_is_not_restored() {
    let (_home, copy, data) = backup_and_home();
    let store = Store::open(&copy).unwrap();
    store.state.checkpoint(perennial_store::Checkpoint { position: 200, ..Default::default() }).unwrap();
    drop(store);
    let fresh = folder();
    drop(Store::open(fresh.path()).unwrap());
    let _ = std::fs::remove_file(copy.join("journal.db-wal"));
    std::fs::copy(fresh.path().join("journal.db"), copy.join("journal.db")).unwrap();
    let failure = restore(&copy, &data, None, Options::default()).unwrap_err();
    assert!(failure.detail.contains("the journal ends at entry 0, but the state goes to 200"), "{failure}");
    std::fs::write(copy.join("journal.db"), "").unwrap();
    let failure = restore(&copy, &data, None, Options::default()).unwrap_err();
    assert!(failure.detail.contains("no journal.db, or an empty one"), "{failure}");
    assert_eq!(read_all(&data).unwrap().len(), 200, "nothing is replaced");
}

#[test]
fn a_backup_whose_state_is_broken_is_restored_without_it() {
    let (_home, copy, data) = backup_and_home();
    for file in ["state.db", "duplicates.db"] {
        std::fs::write(copy.join(file), "no database").unwrap();
    }
    assert_eq!(restore(&copy, &data, None, Options::default()).unwrap().last_seq, 200);
    assert_eq!(Store::open(&data).unwrap().state.position().unwrap(), 0, "to be folded again");
}

#[test]
fn what_is_left_of_a_torn_log_is_a_whole_beginning() {
    let dir = crashed();
    let log = std::fs::read(dir.path().join("journal.db-wal")).unwrap();
    let whole = read_all(dir.path()).unwrap();
    assert_eq!(whole.len(), 200);
    for part in 0..=16 {
        let dir = crashed();
        std::fs::write(dir.path().join("journal.db-wal"), &log[..log.len() * part / 16]).unwrap();
        match read_all(dir.path()) {
            Ok(entries) => assert_eq!(entries, whole[..entries.len()], "{part} parts of 16"),
            // Without its beginning the journal is behind the state, and that is said.
            Err(failure) => {
                let said = matches!(failure.trouble, Trouble::Lost | Trouble::Corrupt);
                assert!(said, "{part} parts of 16: {failure}");
            }
        }
    }
}

#[test]
fn half_of_a_file_is_never_taken_for_the_whole() {
    for file in ["journal.db", "keys.db", "state.db", "duplicates.db"] {
        for part in 1..8 {
            let dir = crashed();
            drop(Store::open(dir.path()).unwrap()); // The logs go into the files.
            let whole = std::fs::read(dir.path().join(file)).unwrap();
            std::fs::write(dir.path().join(file), &whole[..whole.len() * part / 8]).unwrap();
            match read_all(dir.path()) {
                Ok(entries) => assert_eq!(entries.len(), 200, "{part} parts of 8 of {file}"),
                Err(failure) => {
                    let told = [Trouble::Corrupt, Trouble::Foreign, Trouble::MasterKey, Trouble::Lost];
                    let named = told.contains(&failure.trouble);
                    assert!(named, "{part} parts of 8 of {file}: {failure}");
                }
            }
        }
    }
}

#[test]
fn nothing_personal_is_readable_on_disk() {
    let dir = folder();
    let mut store = Store::open(dir.path()).unwrap();
    store.journal.append(&[entry(1, 1)]).unwrap();
    drop(store);
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|w| w == b"person1"), "the name of the person is on disk");
    }
}

#[test]
fn a_destroyed_key_leaves_no_trace_in_the_files() {
    let dir = folder();
    let mut store = Store::open(dir.path()).unwrap();
    store.journal.append(&[entry(1, 1)]).unwrap();
    let wrapped: Vec<u8> = rusqlite::Connection::open(dir.path().join("keys.db"))
        .unwrap()
        .query_row("SELECT wrapped FROM recent", [], |row| row.get(0))
        .unwrap();
    store.keys.destroy(customer(1)).unwrap();
    for file in ["keys.db", "keys.db-wal"] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        assert!(!bytes.windows(wrapped.len()).any(|w| w == wrapped), "{file} still holds the key");
    }
}

#[test]
fn a_backup_is_made_while_running_and_opens_by_itself() {
    let dir = folder();
    let (home, copy) = (dir.path().join("home"), dir.path().join("copy"));
    let mut store = Store::open(&home).unwrap();
    let secret = store.keys.secret("identifiers").unwrap();
    store.journal.append(&[entry(1, 1), entry(2, 2)]).unwrap();
    std::fs::write(home.join("api-keys.json"), "[]").unwrap();
    assert_eq!(backup(dir.path(), &copy).unwrap_err().trouble, Trouble::Absent, "not a data folder");
    backup(&home, &copy).unwrap();
    assert_eq!(backup(&home, &copy).unwrap_err().trouble, Trouble::Place, "it is there already");
    for inside in ["copy", "not/there/yet"] {
        let refused = backup(&home, &home.join(inside)).unwrap_err();
        assert_eq!(refused.trouble, Trouble::Place, "it would be lost with what it protects");
    }
    assert_eq!(std::fs::read_to_string(copy.join("api-keys.json")).unwrap(), "[]");
    store.journal.append(&[entry(3, 2)]).unwrap();
    let copy = Store::open(&copy).unwrap();
    assert_eq!(copy.journal.reader().read(1, 9).unwrap(), vec![entry(1, 1), entry(2, 2)]);
    assert!(copy.keys.secret("identifiers").unwrap() == secret);
}

#[cfg(unix)]
fn rights(path: &std::path::Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

/// The state holds people in plain text.
#[cfg(unix)]
#[test]
fn only_its_owner_may_look_into_a_folder_or_a_copy_of_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder();
    let [home, copy, other] = ["home", "copy", "other"].map(|name| dir.path().join(name));
    let is_private = |folder: &std::path::Path| {
        assert_eq!(rights(folder), 0o700, "{}", folder.display());
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(rights(&path), 0o600, "{}", path.display());
        }
    };
    let mut store = Store::open(&home).unwrap();
    store.journal.append(&[entry(1, 1), entry(2, 2)]).unwrap();
    store.state.checkpoint(perennial_store::Checkpoint { position: 2, ..Default::default() }).unwrap();
    store.keys.destroy(customer(2)).unwrap();
    is_private(&home);
    backup(&home, &copy).unwrap();
    is_private(&copy);
    // As on a medium that cannot be written.
    for file in std::fs::read_dir(&copy).unwrap() {
        std::fs::set_permissions(file.unwrap().path(), std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o555)).unwrap();
    let restored = restore(&copy, &other, None, Options::default()).unwrap();
    assert_eq!(restored.last_seq, 2);
    is_private(&other);
    assert_eq!(Store::open(&other).unwrap().journal.reader().read(1, 9).unwrap()[0], entry(1, 1));
    // What has rights has them on purpose.
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o750)).unwrap();
    drop(Store::open(&other).unwrap());
    assert_eq!(rights(&other), 0o750);
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_restore_does_not_bring_the_erased_back() {
    let dir = folder();
    let (home, copy) = (dir.path().join("home"), dir.path().join("copy"));
    let mut store = Store::open(&home).unwrap();
    store.journal.append(&[entry(1, 1), entry(2, 2)]).unwrap();
    backup(&home, &copy).unwrap();
    assert_eq!(restore(&copy, &home, None, Options::default()).unwrap_err().trouble, Trouble::InUse);
    store.keys.destroy(customer(1)).unwrap();
    drop(store);
    let restored = restore(&copy, &home, None, Options::default()).unwrap();
    assert_eq!((restored.last_seq, &restored.erased[..]), (2, &[customer(1)][..]));
    assert!(restored.replaced.unwrap().is_dir());
    let store = Store::open(&home).unwrap();
    let read = store.journal.reader().read(1, 9).unwrap();
    assert_eq!((read[0].input.is_none(), &read[1]), (true, &entry(2, 2)));
    assert!(store.keys.is_destroyed(customer(1)).unwrap());
    drop(store);
    let again = restore(&copy, &home, None, Options::default()).unwrap();
    assert_eq!(again.erased, [customer(1)], "also the next time");
}
