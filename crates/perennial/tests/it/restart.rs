//! What a checkpoint and a restart keep, also when one of them failed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use perennial::commands::Wanted;
use perennial::pump::{Clock, Pump};
use perennial::wire::Circumstances;
use perennial::wire::segment::{Call, parse};
use perennial::workspace::{Status, Workspace};
use perennial_core::fact::{Account, Cause, Fact, Posting, Unit};
use perennial_core::id::{Identifier, LotId};
use perennial_core::input::{Asked, Command};
use perennial_core::time::{DAY_MS, Timestamp};
use perennial_store::{Checkpoint, Fault, MemoryDisk, Store, Trouble, Write};

use crate::stage::{PROGRAM, Shop, verified};

fn at(day: i64) -> Timestamp {
    Timestamp::from_millis(1_772_366_400_000 + day * DAY_MS) // 2026-03-01T12:00:00Z and so many days.
}

fn ask(workspace: &mut Workspace, at: Timestamp, key: &str, command: Command) -> bool {
    let ana: Identifier = "ana".parse().unwrap();
    workspace.ask(at, Asked::new(at, "test", ana, Some(key.into()), command)).unwrap().outcome.is_ok()
}

/// `EcoExplorers` with ana, who has joined, got 1,000 points and bought a bottle.
fn open(disk: &MemoryDisk) -> Workspace {
    let mut workspace = crate::shop::on(disk);
    assert!(ask(&mut workspace, at(0), "e", Command::Enroll));
    assert!(ask(
        &mut workspace,
        at(0),
        "a",
        Command::Adjust { points: 1_000, reason: "a gift".into(), by: "staff".into() }
    ));
    workspace
}

/// The same in a folder `data`, with so many points and nothing bought.
fn in_folder(points: i64) -> (tempfile::TempDir, Workspace) {
    let home = tempfile::tempdir().unwrap();
    let mut workspace = crate::shop::in_folder(&home.path().join("data"));
    assert!(ask(&mut workspace, at(0), "e", Command::Enroll));
    assert!(ask(&mut workspace, at(0), "a", Command::Adjust { points, reason: "a gift".into(), by: "staff".into() }));
    (home, workspace)
}

fn buy(workspace: &mut Workspace, at: Timestamp, key: &str) {
    assert!(ask(workspace, at, key, Command::Redeem { reward: "water-bottle".into(), quantity: 1 }));
}

fn points(workspace: &mut Workspace) -> Option<i64> {
    let customer = workspace.customer(at(1), &"ana".parse().unwrap()).unwrap()?;
    Some(customer.member?.wallet.available())
}

#[test]
fn stock_that_was_taken_stays_taken() {
    let disk = MemoryDisk::new();
    let mut workspace = open(&disk);
    workspace.checkpoint().unwrap();
    buy(&mut workspace, at(0), "r");
    workspace.checkpoint().unwrap();
    drop(workspace);
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    assert_eq!((workspace.stock("water-bottle"), points(&mut workspace)), (Some(499), Some(600)));
}

#[test]
fn a_state_of_another_version_is_made_again_and_loses_nothing() {
    let (home, mut workspace) = in_folder(1_000);
    let folder = home.path().join("data");
    buy(&mut workspace, at(0), "r");
    workspace.checkpoint().unwrap();
    drop(workspace);
    for how in ["start", "rebuild", "layout", "older duplicates", "no duplicates"] {
        let store = Store::open(&folder).unwrap();
        let position = store.state.position().unwrap();
        let workspace = matches!(how, "start" | "rebuild").then(|| vec![1, 2, 3]);
        store.state.checkpoint(Checkpoint { position, workspace, ..Checkpoint::default() }).unwrap();
        drop(store);
        for (older, name, version) in [("layout", "state.db", 2), ("older duplicates", "duplicates.db", 1)] {
            if how == older {
                let _ = std::fs::remove_file(folder.join(format!("{name}-wal"))); // It may hold the first page.
                let mut file = std::fs::read(folder.join(name)).unwrap();
                file[63] = version; // SQLite's `user_version`, the last byte of it.
                std::fs::write(folder.join(name), file).unwrap();
                assert_eq!(Store::open(&folder).err().unwrap().trouble, Trouble::Outdated);
            }
        }
        if how == "no duplicates" {
            std::fs::remove_file(folder.join("duplicates.db")).unwrap();
        }
        if how == "rebuild" {
            perennial::commands::rebuild(&folder, false).unwrap();
        }
        let mut workspace = Workspace::open(&folder).unwrap();
        assert_eq!((workspace.stock("water-bottle"), points(&mut workspace)), (Some(499), Some(600)), "{how}");
        let said = br#"{"type":"track","messageId":"once","userId":"ana","event":"Seen"}"#;
        let said = parse(Call::Track, said, &Circumstances::live("shop", at(0))).unwrap();
        let receipt = workspace.take(at(0), said).unwrap().remove(0);
        assert_eq!(receipt.status == Status::Duplicate, how != "start", "{how}: only the first is new");
        workspace.checkpoint().unwrap();
    }
}

#[test]
fn a_damaged_row_names_its_file_and_what_mends_it() {
    let (home, mut workspace) = in_folder(700);
    let folder = home.path().join("data");
    workspace.checkpoint().unwrap();
    drop(workspace);
    for what in ["a customer", "the workspace"] {
        let store = Store::open(&folder).unwrap();
        let (position, own) = (store.state.position().unwrap(), store.state.workspace().unwrap());
        let mut customers = store.state.customers(None, 10).unwrap();
        assert_eq!(customers.len(), 1);
        customers[0].body.truncate(20);
        let damage = match what {
            "a customer" => Checkpoint { position, customers, ..Checkpoint::default() },
            _ => Checkpoint { position, workspace: own.map(|own| own[..20].to_vec()), ..Checkpoint::default() },
        };
        store.state.checkpoint(damage).unwrap();
        drop(store);
        let complaint = perennial::commands::verify(&folder).err().unwrap().0;
        assert!(complaint.contains(&format!("read {what} from state.db: a row is damaged")), "{complaint}");
        assert!(complaint.contains("`perennial rebuild`") && !complaint.contains("backup"), "{complaint}");
        perennial::commands::rebuild(&folder, false).unwrap();
        assert!(perennial::commands::verify(&folder).unwrap().faults.is_empty());
        assert_eq!(points(&mut Workspace::open(&folder).unwrap()), Some(700), "nothing is lost");
    }
}

#[test]
fn looking_into_a_folder_neither_makes_one_nor_writes_into_it() {
    let (home, mut workspace) = in_folder(1_000);
    let typo = home.path().join("typo");
    let complaint = perennial::commands::verify(&typo).err().unwrap().0;
    assert!(complaint.contains("typo is no data folder: it has no journal.db"), "{complaint}");
    assert!(complaint.contains("name the data folder with --folder"), "{complaint}");
    perennial::commands::journal(&typo, &Wanted::default()).unwrap_err();
    perennial::commands::rebuild(&typo, false).unwrap_err();
    perennial::commands::backup(&typo, &home.path().join("copy")).unwrap_err();
    let coffee = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../programs/coffee.yaml"));
    perennial::commands::train(&typo, Some(coffee), &[]).unwrap_err();
    let complaint = perennial::commands::open(&typo, None).err().unwrap().0;
    assert!(complaint.contains("`perennial serve --program FILE` makes a new one"), "{complaint}");
    let wrong = home.path().join("wrong.yaml");
    std::fs::write(&wrong, "perennial: 2").unwrap();
    for file in [&wrong, &home.path().join("absent.yaml")] {
        perennial::commands::open(&typo, Some(file)).err().unwrap();
    }
    assert!(!typo.exists());
    let listing = perennial::commands::journal(&home.path().join("data"), &Wanted::default()).err().unwrap().0;
    assert!(listing.contains("is held by process"), "{listing}");
    let ana = workspace.roots_of(&"ana".parse().unwrap()).unwrap().unwrap();
    assert_eq!(workspace.roots_of(&ana[0].to_string().parse().unwrap()).unwrap(), Some(ana));
    let hold = Command::Hold { points: 10, length: "P1D".parse().unwrap(), hold: "till".into() };
    assert!(ask(&mut workspace, at(0), "h", hold)); // By now it is long over, and nobody has freed it.
    workspace.checkpoint().unwrap();
    let last = workspace.last_seq();
    drop(workspace);
    let of_bea = Wanted { customer: Some("bea".parse().unwrap()), ..Wanted::default() };
    let nobody = perennial::commands::journal(&home.path().join("data"), &of_bea);
    let complaint = nobody.unwrap_err().0;
    assert!(complaint.contains("nobody is known as bea") && complaint.contains("cus_…"), "{complaint}");
    assert!(perennial::commands::verify(&home.path().join("data")).unwrap().faults.is_empty());
    let store = Store::open(&home.path().join("data")).unwrap();
    assert_eq!(store.journal.last_seq(), last, "what is verified may be a backup");
}

/// Whatever is damaged in them would be forgotten or counted twice, without a customer being different.
#[test]
fn a_verification_looks_through_the_indexes() {
    let (home, mut workspace) = in_folder(5_000);
    let folder = home.path().join("data");
    for n in 0..300 {
        let body = serde_json::json!({ "userId": "ana", "event": "Order Completed", "messageId": format!("m{n}"),
            "properties": { "order_id": format!("o{n}"), "currency": "USD", "subtotal": 10 } });
        let from = Circumstances::live("web", at(0));
        workspace.take(at(0), parse(Call::Track, body.to_string().as_bytes(), &from).unwrap()).unwrap();
        let gift = Command::Adjust { points: 1, reason: "a gift".into(), by: "staff".into() };
        assert!(ask(&mut workspace, at(0), &format!("a{n}"), gift));
    }
    workspace.checkpoint().unwrap();
    drop(workspace);
    let verify = || perennial::commands::verify(&folder).unwrap().faults;
    assert_eq!(verify(), [""; 0]);
    for (file, damage, told) in [
        ("state.db", "DELETE FROM identifiers", "names that do not lead"),
        ("state.db", "DELETE FROM sorted WHERE substr(key, 1, 1) = x'00'", "orders that are somebody else's"),
        ("state.db", "DELETE FROM sorted WHERE substr(key, 1, 1) = x'02'", "not found under their keys"),
        ("state.db", "UPDATE customers SET archived = 0", "old orders"),
        ("state.db", "UPDATE customers SET head = 0", "timelines"),
        ("state.db", "UPDATE postings SET amount = amount * 2 WHERE seq > 100", "postings in the table"),
        ("state.db", "DELETE FROM postings WHERE seq < 100", "postings in the table"),
        ("state.db", "UPDATE customers SET next_due = NULL", "not woken when they should be"),
        ("duplicates.db", "DELETE FROM recent", "not known as seen"),
    ] {
        let db = rusqlite::Connection::open(folder.join(file)).unwrap();
        assert!(db.execute(damage, []).unwrap() > 0, "{damage}");
        drop(db);
        let faults = verify();
        assert!(faults.iter().any(|fault| fault.contains(told)), "{damage}: {faults:?}");
        perennial::commands::rebuild(&folder, false).unwrap();
        assert_eq!(verify(), [""; 0], "after {damage}");
    }
}

#[test]
fn a_verification_sees_where_the_journals_time_goes_back() {
    let (home, mut workspace) = in_folder(5_000);
    let folder = home.path().join("data");
    for n in 0..5 {
        let gift = Command::Adjust { points: 1, reason: "a gift".into(), by: "staff".into() };
        assert!(ask(&mut workspace, at(n), &format!("a{n}"), gift));
    }
    workspace.checkpoint().unwrap();
    let last = workspace.last_seq();
    drop(workspace);
    assert_eq!(perennial::commands::verify(&folder).unwrap().faults, [""; 0]);
    let db = rusqlite::Connection::open(folder.join("journal.db")).unwrap();
    let middle = last - 2;
    db.execute(
        "UPDATE entries SET recorded_at = recorded_at - 90000000 WHERE seq = ?1",
        [i64::try_from(middle).unwrap()],
    )
    .unwrap();
    drop(db);
    let faults = perennial::commands::verify(&folder).unwrap().faults;
    assert!(faults[0].starts_with(&format!("entry {middle}: it was written at ")), "{faults:?}");
    assert_eq!(faults.len(), 1, "{faults:?}");
}

#[test]
fn a_rebuild_that_fails_leaves_everything_as_it_was() {
    let (home, mut workspace) = in_folder(700);
    let folder = home.path().join("data");
    workspace.checkpoint().unwrap();
    drop(workspace);
    let state = std::fs::read(folder.join("state.db")).unwrap();
    let key = std::fs::read(folder.join("master.key")).unwrap();
    std::fs::write(folder.join("master.key"), [7; 32]).unwrap();
    let complaint = perennial::commands::rebuild(&folder, false).err().unwrap().0;
    assert!(complaint.contains("master key"), "{complaint}");
    std::fs::write(folder.join("master.key"), key).unwrap();
    // An entry that no program of ours has written.
    let mut store = Store::open(&folder).unwrap();
    let last = store.journal.last_seq();
    let mut entry = store.journal.reader().entry(last).unwrap().unwrap();
    let owner = entry.customer.unwrap();
    let posting = Posting {
        unit: Unit::Points,
        from: Account::Pending,
        to: Account::Available,
        amount: 5,
        lot: Some(LotId { owner, number: 1 }),
        cause: Cause::Activate,
    };
    (entry.seq, entry.outcome) = (last + 1, vec![Fact::Posted(posting)]);
    store.journal.append(&[entry]).unwrap();
    drop(store);
    for complaint in [
        perennial::commands::rebuild(&folder, false).err().unwrap().0,
        perennial::commands::verify(&folder).err().unwrap().0,
    ] {
        assert!(complaint.contains(&format!("entry {} cannot be folded again", last + 1)), "{complaint}");
    }
    assert!(std::fs::read(folder.join("state.db")).unwrap() == state);
}

#[test]
fn a_journal_that_was_cut_is_not_taken_for_the_whole() {
    let (home, mut workspace) = in_folder(700);
    let folder = home.path().join("data");
    let backup = home.path().join("backup");
    perennial::commands::backup(&folder, &backup).unwrap();
    buy(&mut workspace, at(0), "r");
    workspace.checkpoint().unwrap();
    drop(workspace);
    for file in ["journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(folder.join(file));
    }
    std::fs::copy(backup.join("journal.db"), folder.join("journal.db")).unwrap();
    for complaint in [
        perennial::commands::verify(&folder).err().unwrap().0,
        perennial::commands::rebuild(&folder, false).err().unwrap().0,
    ] {
        assert!(complaint.contains("but the state goes to") && complaint.contains("restore the last backup"));
    }
    perennial::commands::rebuild(&folder, true).unwrap();
    assert!(perennial::commands::verify(&folder).unwrap().faults.is_empty());
    std::fs::remove_file(folder.join("journal.db")).unwrap();
    let complaint = perennial::commands::open(&folder, None).err().unwrap().0;
    assert!(complaint.contains("has a state, but no journal.db"), "{complaint}");
    assert!(!folder.join("journal.db").exists(), "it gets no empty one");
}

#[test]
fn an_order_that_earns_by_a_merge_earns_also_when_it_is_older_than_the_last_256() {
    let mut workspace = crate::shop::workspace();
    let order = |who: &str, name: &str, day: i64| {
        let body = serde_json::json!({ "userId": who, "event": "Order Completed", "messageId": name,
            "properties": { "order_id": name, "currency": "USD", "subtotal": 10 } });
        let from = Circumstances::live("web", at(day));
        parse(Call::Track, body.to_string().as_bytes(), &from).unwrap()
    };
    let asked = |who: &str, command| Asked::new(at(0), "test", who.parse().unwrap(), None, command);
    let enroll = || Command::Enroll;
    workspace.ask(at(0), asked("bea", enroll())).unwrap();
    workspace.take(at(1), order("ana", "before-ana-joined", 1)).unwrap();
    workspace.ask(at(2), asked("ana", enroll())).unwrap();
    for n in 0..256 {
        workspace.take(at(3), order("bea", &format!("b{n}"), 3)).unwrap();
    }
    workspace.ask(at(4), asked("ana", Command::Merge { from: "bea".parse().unwrap() })).unwrap();
    let customer = workspace.customer(at(4), &"ana".parse().unwrap()).unwrap().unwrap();
    assert_eq!(customer.member.unwrap().wallet.totals().granted, 257 * 10);
    assert!(verified(&mut workspace, at(4)).faults.is_empty());
}

#[test]
fn a_checkpoint_that_failed_takes_nothing_with_it() {
    for write in [Write::Checkpoint, Write::Duplicates] {
        for fault in [Fault::Before, Fault::After] {
            let disk = MemoryDisk::new();
            let mut workspace = open(&disk);
            buy(&mut workspace, at(0), "r");
            disk.fail_next(write, fault);
            workspace.checkpoint().unwrap_err();
            workspace.checkpoint().unwrap(); // As the last one before the end.
            drop(workspace);
            let mut workspace = Workspace::on_disk(&disk).unwrap();
            assert_eq!((workspace.stock("water-bottle"), points(&mut workspace)), (Some(499), Some(600)));
            assert!(verified(&mut workspace, at(1)).faults.is_empty());
        }
    }
}

#[test]
fn time_does_not_go_back_over_a_restart() {
    let disk = MemoryDisk::new();
    let mut workspace = open(&disk);
    buy(&mut workspace, at(30), "r");
    workspace.checkpoint().unwrap();
    drop(workspace);
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    buy(&mut workspace, at(2), "s"); // The machine's clock was set back.
    let last = workspace.journal().entry(workspace.last_seq()).unwrap().unwrap();
    assert_eq!(last.recorded_at, at(30));
    assert!(verified(&mut workspace, at(2)).faults.is_empty());
    // What arrives is dated by the same time, so that nobody's order is booked before they joined.
    let clock = Clock::Manual(Arc::new(AtomicI64::new(at(2).as_millis())));
    assert_eq!(Pump::start(workspace, clock).unwrap().handle().now(), at(30));
}

#[test]
fn a_merge_of_two_who_had_not_followed_the_newest_programme_comes_out_the_same_again() {
    let mut shop = Shop::open();
    for who in ["ana", "bo"] {
        (0..3).for_each(|n| shop.order(who, &format!("{who} {n}"), 10, 0));
    }
    let spend = "features: { spend_30d: { sum: order.eligible, on: Order Completed, within: P30D }, ";
    shop.publish(&PROGRAM.replace("features: { ", spend));
    shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
    shop.verify();
}
