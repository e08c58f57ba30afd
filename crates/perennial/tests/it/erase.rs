//! Erasure on real files: nothing of the person is left in any of them, the books balance, and
//! neither a restart, a rebuild nor an older backup brings anybody back.

use std::path::{Path, PathBuf};

use perennial::commands;
use perennial::wire::segment::{Call, parse};
use perennial::wire::{Arrival, Circumstances};
use perennial::workspace::overview::{PointSums, Shares};
use perennial::workspace::{Status, Workspace};
use perennial_core::input::{Asked, Command};
use perennial_core::time::Timestamp;
use serde_json::{Value, json};

use crate::stage::{Shop, enroll, verified};

const PROGRAM: &str = include_str!("../../../../programs/ecoexplorers.yaml");
/// Words that only the person's own events hold.
const PERSONAL: [&str; 4] = ["ana-unique", "Anastasia", "secret-tent", "unique-trail"];

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn open(folder: &Path) -> Workspace {
    let mut workspace = Workspace::open(folder).unwrap();
    if workspace.program_source().is_none() {
        workspace.publish(noon(), "test", PROGRAM).unwrap();
    }
    workspace
}

fn arrivals(messages: &Value) -> Vec<Arrival> {
    let body = json!({ "batch": messages }).to_string();
    parse(Call::Batch, body.as_bytes(), &Circumstances::live("web", noon())).unwrap()
}

fn ask(workspace: &mut Workspace, who: &str, command: Command) -> Result<(), String> {
    let asked = Asked::new(noon(), "test", who.parse().unwrap(), None, command);
    workspace.ask(noon(), asked).unwrap().outcome.map(drop).map_err(|refusal| refusal.code.to_string())
}

/// A life: a profile of two names, a member, an order of which a piece comes back, a cart.
fn live(workspace: &mut Workspace) {
    let enrol = || Command::Enroll;
    let visit = json!([
        { "type": "page", "anonymousId": "ana-unique-phone", "messageId": "v", "name": "unique-trail" },
        { "type": "identify", "userId": "ana-unique", "anonymousId": "ana-unique-phone", "messageId": "i",
          "traits": { "email": "ana-unique@example.com", "name": "Anastasia" } },
    ]);
    workspace.take(noon(), arrivals(&visit)).unwrap();
    ask(workspace, "ana-unique", enrol()).unwrap();
    ask(workspace, "ben", enrol()).unwrap();
    let shop = json!([
        { "type": "track", "userId": "ana-unique", "event": "Order Completed", "messageId": "o", "properties": {
            "order_id": "ana-unique-1", "currency": "USD", "subtotal": 300,
            "products": [{ "product_id": "secret-tent", "price": 100, "quantity": 3 }] } },
        { "type": "track", "userId": "ana-unique", "event": "Order Refunded", "messageId": "r", "properties": {
            "order_id": "ana-unique-1", "products": [{ "product_id": "secret-tent", "quantity": 2 }] } },
        { "type": "track", "userId": "ben", "event": "Order Completed", "messageId": "b", "properties": {
            "order_id": "ben-1", "currency": "USD", "subtotal": 40 } },
    ]);
    workspace.take(noon(), arrivals(&shop)).unwrap();
    // More orders than are kept warm, in a currency that earns nothing.
    let old: Vec<Value> = (0..300)
        .map(|n| {
            json!({ "type": "track", "userId": "ana-unique", "event": "Order Completed", "messageId": format!("e{n}"),
                "properties": { "order_id": format!("ana-unique-e{n}"), "currency": "EUR",
                    "products": [{ "product_id": "secret-tent", "price": 9, "quantity": 1 }] } })
        })
        .collect();
    workspace.take(noon(), arrivals(&json!(old))).unwrap();
    let free = Command::Release { hold: "secret-tent".into() };
    assert_eq!(ask(workspace, "ana-unique", free), Err("hold_expired".into()), "whose words name what was asked for");
    ask(workspace, "ana-unique", Command::Adjust { points: 425, reason: "sorry".into(), by: "test".into() }).unwrap();
    let aside = Command::Hold { points: 1, length: "P1D".parse().unwrap(), hold: "ana-unique-basket".into() };
    let free = Command::Release { hold: "ana-unique-basket".into() };
    for command in [aside, free] {
        ask(workspace, "ana-unique", command).unwrap();
    }
    let bottle = Command::Redeem { reward: "water-bottle".into(), quantity: 1 };
    let bottle = Asked::new(noon(), "test", "ana-unique".parse().unwrap(), Some("red-ana-unique".into()), bottle);
    workspace.ask(noon(), bottle).unwrap().outcome.unwrap();
    ask(workspace, "ana-unique", Command::Undo { redemption: "red-ana-unique".into() }).unwrap();
}

fn points(workspace: &mut Workspace) -> PointSums {
    let mut shares = Shares::default();
    workspace.survey(noon(), shares.seen()).unwrap().sum(&mut shares).unwrap().points
}

#[track_caller]
fn gone(folder: &Path) {
    let mut workspace = open(folder);
    let findings = verified(&mut workspace, noon());
    assert!(findings.faults.is_empty(), "{:?}", findings.faults);
    for name in ["ana-unique", "email:ana-unique@example.com", "anonymous:ana-unique-phone"] {
        assert!(workspace.customer(noon(), &name.parse().unwrap()).unwrap().is_none(), "{name}");
    }
    let sums = points(&mut workspace);
    assert_eq!((sums.granted, sums.pending, sums.reversed, sums.forfeited), (765, 40, 200, 525));
    let late = json!([{ "type": "track", "userId": "ana-unique", "event": "Late", "messageId": "late" }]);
    let receipt = &workspace.take(noon(), arrivals(&late)).unwrap()[0];
    assert!(matches!(&receipt.status, Status::Rejected { code, .. } if **code == *"erased"), "{receipt:?}");
    workspace.checkpoint().unwrap();
}

#[track_caller]
pub(crate) fn holds(folder: &Path, word: impl AsRef<[u8]>) -> Vec<String> {
    let word = word.as_ref();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let with = files.filter(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(word.len()).any(|window| window == word)
    });
    with.map(|path| path.display().to_string()).collect()
}

#[track_caller]
fn nothing_is_left(folder: &Path) {
    for word in PERSONAL {
        assert_eq!(holds(folder, word), Vec::<String>::new(), "'{word}' is still there");
    }
}

#[test]
fn nothing_of_an_erased_person_is_left_and_nothing_brings_them_back() {
    let home = tempfile::tempdir().unwrap();
    let (folder, backup) = (home.path().join("data"), home.path().join("backup"));
    let mut workspace = open(&folder);
    live(&mut workspace);
    workspace.checkpoint().unwrap();
    assert!(!holds(&folder, "ana-unique").is_empty(), "the state holds profiles as they are");
    commands::backup(&folder, &backup).unwrap();

    ask(&mut workspace, "ana-unique", Command::Erase).unwrap();
    assert_eq!(ask(&mut workspace, "ana-unique", Command::Erase), Err("erased".into()));
    workspace.checkpoint().unwrap();
    drop(workspace);
    nothing_is_left(&folder);
    gone(&folder);
    commands::rebuild(&folder, false).unwrap();
    gone(&folder);
    commands::restore(&backup, &folder, None).unwrap();
    gone(&folder);
}

#[test]
fn points_set_aside_that_a_refund_took_meanwhile_are_not_given_up_too() {
    let mut workspace = Workspace::memory().unwrap();
    let source = "{ perennial: 1, id: shop, name: Shop, currency: EUR, time_zone: UTC, earn: [ { id: goods, on: Order Completed, \
        points: 1 per 1.00 } ], wallets: { points: { refunds: { policy: within_balance } } } }";
    workspace.publish(noon(), "test", source).unwrap();
    ask(&mut workspace, "ana", Command::Enroll).unwrap();
    let said = |event: &str, message: &str| {
        arrivals(&json!([{ "type": "track", "userId": "ana", "event": event, "messageId": message,
            "properties": { "order_id": "A", "currency": "EUR", "subtotal": 80 } }]))
    };
    workspace.take(noon(), said("Order Completed", "o")).unwrap();
    let aside = Command::Hold { points: 50, length: "P1D".parse().unwrap(), hold: "till".into() };
    ask(&mut workspace, "ana", aside).unwrap();
    workspace.take(noon(), said("Order Refunded", "r")).unwrap();
    ask(&mut workspace, "ana", Command::Erase).unwrap();
    let sums = points(&mut workspace);
    assert_eq!((sums.granted, sums.reversed, sums.forfeited), (80, 80, 0));
    assert!(verified(&mut workspace, noon()).faults.is_empty());
}

#[test]
fn an_erased_name_however_it_is_written_keeps_nobody_else_out() {
    let home = tempfile::tempdir().unwrap();
    let mut workspace = open(home.path());
    live(&mut workspace);
    ask(&mut workspace, "ana-unique", Command::Erase).unwrap();
    let shop = json!([
        { "type": "identify", "userId": "eve", "messageId": "1", "traits": { "email": " Ana-Unique@Example.COM" } },
        { "type": "alias", "userId": "eve", "messageId": "2", "previousId": "ana-unique-phone" },
        { "type": "alias", "userId": "ana-unique", "messageId": "3", "previousId": "eve-phone" },
        { "type": "track", "userId": "ben", "event": "Review", "messageId": "4" },
        { "type": "alias", "userId": "eve", "messageId": "5", "previousId": "ana-unique" },
    ]);
    let receipts = workspace.take(noon(), arrivals(&shop)).unwrap();
    let told = receipts.iter().map(|receipt| match &receipt.status {
        Status::Accepted => "accepted",
        Status::Rejected { code, field, .. } if **code == *"erased" => field,
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), ["accepted", "previousId", "userId", "accepted", "previousId"]);
    let eve = workspace.customer(noon(), &"eve".parse().unwrap()).unwrap().unwrap();
    let names: Vec<String> = eve.identifiers.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!((names, eve.profile.traits.len()), (vec!["eve".to_owned()], 0), "the rest of it is used");
    workspace.checkpoint().unwrap();
    drop(workspace);
    nothing_is_left(home.path());
}

#[test]
fn what_waited_for_the_order_of_somebody_erased_waits_no_longer() {
    let home = tempfile::tempdir().unwrap();
    let mut workspace = open(home.path());
    let shop = json!([
        { "type": "track", "userId": "eve", "event": "Order Refunded", "messageId": "r",
          "properties": { "order_id": "o" } },
        { "type": "track", "userId": "ana-unique", "event": "Order Completed", "messageId": "o",
          "properties": { "order_id": "o", "subtotal": 9 } },
    ]);
    workspace.take(noon(), arrivals(&shop)).unwrap();
    ask(&mut workspace, "ana-unique", Command::Erase).unwrap();
    for _ in 0..2 {
        let findings = verified(&mut workspace, noon());
        assert!(findings.faults.is_empty(), "{:?}", findings.faults);
        workspace.checkpoint().unwrap();
        drop(workspace);
        commands::rebuild(home.path(), false).unwrap();
        workspace = open(home.path());
    }
}

/// A folder with somebody who was erased after the backup beside it was made.
fn erased_since_the_backup(home: &Path) -> (PathBuf, PathBuf) {
    let (folder, backup) = (home.join("data"), home.join("backup"));
    let mut workspace = open(&folder);
    live(&mut workspace);
    workspace.checkpoint().unwrap();
    commands::backup(&folder, &backup).unwrap();
    ask(&mut workspace, "ana-unique", Command::Erase).unwrap();
    workspace.checkpoint().unwrap();
    (folder, backup)
}

#[test]
fn on_another_machine_the_list_of_erasures_forgets_again_whoever_was_erased() {
    let home = tempfile::tempdir().unwrap();
    let (folder, backup) = erased_since_the_backup(home.path());
    let other = home.path().join("other");
    commands::restore(&backup, &other, Some(&folder.join("erasures.txt"))).unwrap();
    gone(&other);
}

/// A crash cut a line of the list; what comes after it is on a line of its own, and nobody is passed over in silence.
#[test]
fn a_torn_line_of_the_list_of_erasures_hides_nobody() {
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("data/erasures.txt");
    std::fs::create_dir(home.path().join("data")).unwrap();
    std::fs::write(&list, "0123abc").unwrap();
    let (folder, backup) = erased_since_the_backup(home.path());
    let other = home.path().join("other");
    let refused = commands::restore(&backup, &other, Some(&list)).unwrap_err().0;
    assert!(refused.contains("line 1 of") && refused.contains("erasures.txt is no id"), "{refused}");
    assert!(refused.contains("complete the line"), "{refused}");
    assert!(!other.exists(), "nothing is restored");
    drop(commands::open(&folder, None).unwrap()); // A server starts all the same.
    // What was cut is whole further down, once the start after the crash has finished the erasure.
    let text = std::fs::read_to_string(&list).unwrap();
    let erased = text.lines().nth(1).unwrap();
    std::fs::write(&list, format!("{}\n{erased}\n", &erased[..7])).unwrap();
    std::fs::write(backup.join("erasures.txt"), &erased[..9]).unwrap();
    commands::restore(&backup, &other, Some(&list)).unwrap();
    gone(&other);
}

#[test]
fn a_restore_that_was_cut_off_is_made_up_for_at_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    let (folder, backup) = erased_since_the_backup(home.path());
    // All that the store does of it; the program ends before it enters the erasure.
    perennial_store::restore(&backup, &folder, None, perennial_store::Options::default()).unwrap();
    drop(commands::open(&folder, None).unwrap());
    gone(&folder);
}

#[test]
fn what_a_rebuild_that_was_cut_off_put_aside_keeps_nobody() {
    let home = tempfile::tempdir().unwrap();
    let mut workspace = open(home.path());
    live(&mut workspace);
    workspace.checkpoint().unwrap();
    drop(workspace);
    // All that a rebuild does of it before the program ends.
    drop(perennial_store::Aside::put(home.path(), false).unwrap());
    assert!(!holds(home.path(), "ana-unique").is_empty());
    let mut workspace = commands::open(home.path(), None).unwrap();
    ask(&mut workspace, "ana-unique", Command::Erase).unwrap();
    workspace.checkpoint().unwrap();
    drop(workspace);
    nothing_is_left(home.path());
    gone(home.path());
}

#[test]
fn an_erasure_while_a_backup_is_made_is_not_undone_by_it() {
    let home = tempfile::tempdir().unwrap();
    let (folder, backup) = erased_since_the_backup(home.path());
    // What is copied last is of after the erasure, what is copied first of before it.
    for file in ["keys.db", "erasures.txt"] {
        std::fs::copy(folder.join(file), backup.join(file)).unwrap();
    }
    let other = home.path().join("other");
    commands::restore(&backup, &other, None).unwrap();
    gone(&other);
    drop(commands::open(&backup, None).unwrap());
    gone(&backup);
}

#[test]
fn a_crash_before_the_checkpoint_does_not_undo_an_erasure() {
    let home = tempfile::tempdir().unwrap();
    let mut workspace = open(home.path());
    live(&mut workspace);
    workspace.checkpoint().unwrap();
    ask(&mut workspace, "ana-unique", Command::Erase).unwrap();
    drop(workspace); // As a crash: no checkpoint holds it.
    gone(home.path());
}

#[test]
fn who_tells_of_somebody_elses_refund_is_not_kept_with_the_orders_owner() {
    let folder = tempfile::tempdir().unwrap();
    let mut workspace = open(folder.path());
    ask(&mut workspace, "ben", Command::Enroll).unwrap();
    let refund = |order: &str, id: &str| {
        json!({ "type": "track", "userId": "ana-unique", "event": "Order Refunded", "messageId": id,
            "context": { "traits": { "name": "Anastasia" } }, "properties": { "order_id": order, "total": 5 } })
    };
    let order = |id: &str| {
        json!({ "type": "track", "userId": "ben", "event": "Order Completed", "messageId": format!("of {id}"),
            "properties": { "order_id": id, "currency": "USD", "subtotal": 40 } })
    };
    let told =
        json!([refund("early", "r1"), order("early"), order("late"), refund("late", "r2"), refund("late", "r2")]);
    let receipts = workspace.take(noon(), arrivals(&told)).unwrap();
    assert!(matches!(receipts[4].status, Status::Duplicate), "{receipts:?}");
    let ben = workspace.customer(noon(), &"ben".parse().unwrap()).unwrap().unwrap().id;
    let entries: Vec<_> = workspace.journal().iter(1).map(Result::unwrap).filter(|e| e.customer == Some(ben)).collect();
    let returned = entries.iter().filter(|entry| format!("{:?}", entry.outcome).contains("Returned"));
    assert_eq!(returned.count(), 2, "both refunds are his");
    for entry in &entries {
        let kept = format!("{entry:?}");
        assert!(PERSONAL.iter().all(|word| !kept.contains(word)), "{kept}");
    }
    let findings = verified(&mut workspace, noon());
    assert!(findings.faults.is_empty(), "{:?}", findings.faults);
}

#[test]
fn who_speaks_of_somebody_elses_order_leaves_nothing_of_themselves_there() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.order("ana", "A", 10, 0);
    let tells = json!({
        "userId": "bo", "event": "Order Updated", "properties": { "order_id": "A", "subtotal": 10 },
        "context": { "traits": { "email": "bo@example.com" }, "ip": "203.0.113.7" },
    });
    shop.call(Call::Track, tells);
    let entries = shop.workspace.journal().iter(1).map(|entry| format!("{:?}", entry.unwrap()));
    let written = entries.collect::<String>();
    assert!(
        written.contains("OrderUpdated") && !written.contains("bo@example.com") && !written.contains("203.0.113.7")
    );
    shop.verify();
}
