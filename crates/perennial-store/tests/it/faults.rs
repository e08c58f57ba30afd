//! The switches of the memory store: every write can fail, before or after it reached the disk.

use perennial_store::{Checkpoint, Fault, Fingerprint, MemoryDisk, Seen, Store, Trouble, Write};

use crate::suite::{customer, entry};

fn disk() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::new();
    let store = Store::on(&disk).unwrap();
    (disk, store)
}

#[test]
fn an_append_that_fails_before_the_disk_leaves_nothing() {
    let (disk, mut store) = disk();
    store.journal.append(&[entry(1, 1)]).unwrap();
    disk.fail_next(Write::Append, Fault::Before);
    let failure = store.journal.append(&[entry(2, 1), entry(3, 2)]).unwrap_err();
    assert!(failure.may_pass());
    assert_eq!(store.journal.last_seq(), 1);
    store.journal.append(&[entry(2, 3)]).unwrap();
    assert_eq!(store.journal.reader().read(1, 9).unwrap(), [entry(1, 1), entry(2, 3)]);
}

#[test]
fn an_append_that_fails_after_the_disk_is_there_and_says_so() {
    let (disk, mut store) = disk();
    disk.fail_next(Write::Append, Fault::After);
    store.journal.append(&[entry(1, 1)]).unwrap_err();
    assert_eq!(store.journal.last_seq(), 1);
    drop(store);
    let store = Store::on(&disk).unwrap();
    assert_eq!(store.journal.reader().read(1, 9).unwrap(), [entry(1, 1)]);
}

#[test]
fn without_its_keys_nothing_is_appended() {
    for fault in [Fault::Before, Fault::After] {
        let (disk, mut store) = disk();
        disk.fail_next(Write::Keys, fault);
        store.journal.append(&[entry(1, 1)]).unwrap_err();
        assert_eq!(store.journal.last_seq(), 0);
        store.journal.append(&[entry(1, 1)]).unwrap();
        assert_eq!(store.journal.reader().entry(1).unwrap(), Some(entry(1, 1)));
    }
}

#[test]
fn a_failed_checkpoint_leaves_the_state_as_it_was() {
    let (disk, mut store) = disk();
    store.journal.append(&[entry(1, 1)]).unwrap();
    disk.fail_next(Write::Checkpoint, Fault::Before);
    let checkpoint = Checkpoint { position: 1, workspace: Some(vec![1]), ..Checkpoint::default() };
    store.state.checkpoint(checkpoint.clone()).unwrap_err();
    assert_eq!((store.state.position().unwrap(), store.state.workspace().unwrap()), (0, None));
    store.state.checkpoint(checkpoint).unwrap();
    assert_eq!(store.state.position().unwrap(), 1);
}

#[test]
fn what_a_failed_save_of_duplicates_leaves_is_saved_by_the_next() {
    let (disk, mut store) = disk();
    store.journal.append(&[entry(1, 1), entry(2, 1)]).unwrap();
    let message = |id| Fingerprint { id, body: 1 };
    store.duplicates.remember(message(10), 1);
    disk.fail_next(Write::Duplicates, Fault::Before);
    store.duplicates.checkpoint(1).write().unwrap_err();
    store.duplicates.remember(message(20), 2);
    store.duplicates.checkpoint(2).write().unwrap();
    drop(store);
    let store = Store::on(&disk).unwrap();
    for (id, seq) in [(10, 1), (20, 2)] {
        assert_eq!(store.duplicates.seen(message(id)).unwrap(), Seen::Perhaps { seq, same_body: true });
    }
}

#[test]
fn an_interrupted_destruction_is_finished_by_the_next() {
    let (disk, mut store) = disk();
    store.journal.append(&[entry(1, 1)]).unwrap();
    disk.fail_next(Write::Keys, Fault::Before);
    store.keys.destroy(customer(1)).unwrap_err();
    assert!(!store.keys.is_destroyed(customer(1)).unwrap());
    store.keys.destroy(customer(1)).unwrap();
    assert_eq!(store.journal.reader().entry(1).unwrap().unwrap().input, None);
}

#[test]
fn a_memory_disk_is_open_once_and_its_state_can_be_deleted() {
    let (disk, mut store) = disk();
    assert_eq!(Store::on(&disk).map(|_| ()).unwrap_err().trouble, Trouble::InUse);
    store.journal.append(&[entry(1, 1)]).unwrap();
    store.state.checkpoint(Checkpoint { position: 1, ..Checkpoint::default() }).unwrap();
    drop(store);
    disk.delete_state();
    let store = Store::on(&disk).unwrap();
    assert_eq!((store.journal.last_seq(), store.state.position().unwrap()), (1, 0));
}
