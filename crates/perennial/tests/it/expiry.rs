//! Points lapse by the clock, whatever happens to the job that looks for them.

use perennial::wire::segment::Call;
use perennial_core::input::Command;
use perennial_store::{Fault, Write};
use serde_json::json;

use crate::stage::{PROGRAM, Shop, enroll};

const YEAR_MS: i64 = 400 * 86_400_000;

fn adjust(points: i64) -> Command {
    Command::Adjust { points, reason: "welcome".into(), by: "test".into() }
}

/// Hard case 32: more members than one round of the job wakes, and the second round fails.
#[test]
fn a_job_that_dies_half_way_goes_on_where_it_was() {
    const MEMBERS: usize = 2_100;
    let mut shop = Shop::open();
    let names: Vec<String> = (0..MEMBERS).map(|n| format!("member-{n}")).collect();
    for name in &names {
        shop.ask(name, "e", enroll()).unwrap();
        shop.ask(name, "a", adjust(7)).unwrap();
    }
    shop.now = shop.now.plus_millis(YEAR_MS);
    assert!(shop.workspace.advance(shop.now).unwrap(), "a round is not enough");
    shop.disk.fail_next(Write::Append, Fault::Before);
    shop.workspace.advance(shop.now).unwrap_err();
    shop.reopen();
    while shop.workspace.advance(shop.now).unwrap() {}
    for name in &names {
        let totals = shop.customer(name).member.unwrap().wallet.totals();
        assert_eq!((totals.expired, totals.available), (7, 0), "{name}");
    }
    let lapsed = shop.workspace.journal().iter(1).map(Result::unwrap).flat_map(|e| e.outcome);
    let lapsed = lapsed.filter(|f| format!("{f:?}").contains("cause: Expire")).count();
    assert_eq!(lapsed, MEMBERS, "each lot lapses once");
    shop.verify();
}

/// Hard case 33: nobody has looked for days, and a member spends.
#[test]
fn availability_follows_time_and_not_the_job() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.ask("ana", "a", adjust(100)).unwrap();
    shop.now = shop.now.plus_millis(YEAR_MS);
    let mug = Command::Redeem { reward: "mug".into(), quantity: 1 };
    assert_eq!(shop.ask("ana", "mug", mug), Err("insufficient_points".into()));
    let totals = shop.customer("ana").member.unwrap().wallet.totals();
    assert_eq!((totals.expired, totals.spent), (100, 0));
}

/// Rule 2: approving what was submitted more than a year ago grants points of that day, and their time is over.
/// Nobody need look for that.
#[test]
fn what_is_approved_too_late_lapses_at_once() {
    let mut shop = Shop::open();
    let earn = "earn: [{ id: help, on: Activity Submitted, points: 15, review: required }, ";
    shop.publish(&PROGRAM.replace("earn: [", earn));
    shop.ask("ana", "e", enroll()).unwrap();
    let submitted = shop.call(Call::Track, json!({ "userId": "ana", "event": "Activity Submitted" }));
    shop.days(400);
    let approve = Command::Review { activity: submitted.message_id, approve: true, reason: None };
    shop.ask("ana", "r", approve).unwrap();
    let held = shop.workspace.as_held(&"ana".parse().unwrap()).unwrap().unwrap().clone();
    let totals = held.member.unwrap().wallet.totals();
    assert_eq!((totals.expired, totals.available), (15, 0));
    shop.verify();
}
