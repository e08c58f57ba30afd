//! The programme at a glance: everybody counts once, however the sums were made.

use perennial::workspace::Workspace;
use perennial::workspace::overview::{OverviewView, Shares};
use perennial_core::input::{Asked, Command};
use perennial_core::time::Timestamp;

const PROGRAM: &str = "
perennial: 1
id: club
name: Club
currency: EUR
time_zone: Europe/Paris
wallets: { points: { cost: 0.02 EUR } }
earn: [{ id: purchase, on: Order Completed, points: 1 per 1.00 }]
";

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn shop() -> Workspace {
    let mut shop = Workspace::memory().unwrap();
    shop.publish(noon(), "test", PROGRAM).unwrap();
    shop
}

fn ask(shop: &mut Workspace, who: &str, command: Command) {
    let customer = who.parse().unwrap();
    let asked = Asked { at: noon(), by: "test".into(), customer, key: None, fingerprint: [0; 16], command };
    shop.ask(noon(), asked).unwrap().outcome.unwrap();
}

fn join(shop: &mut Workspace, who: &str, points: i64) {
    ask(shop, who, Command::Enroll);
    ask(shop, who, Command::Adjust { points, reason: "welcome".into(), by: "test".into() });
}

fn sums(shop: &mut Workspace, shares: &mut Shares) -> OverviewView {
    shop.survey(noon(), shares.seen()).unwrap().sum(shares).unwrap()
}

fn check(view: &OverviewView, members: u64, available: i64, liability: &str) {
    let cost = view.liability.as_ref().map(|l| l.amount.as_str());
    assert_eq!((view.members, view.points.available, cost), (members, available, Some(liability)));
}

#[test]
fn sums_follow_what_moved_before_and_after_a_checkpoint() {
    let (mut shop, mut shares) = (shop(), Shares::default());
    check(&sums(&mut shop, &mut shares), 0, 0, "0.00");
    join(&mut shop, "ana", 100);
    check(&sums(&mut shop, &mut shares), 1, 100, "2.00");
    shop.checkpoint().unwrap();
    join(&mut shop, "ben", 50);
    check(&sums(&mut shop, &mut shares), 2, 150, "3.00");
    // Who asks for the first time gets the same: ana from the checkpoint, ben from memory.
    check(&sums(&mut shop, &mut Shares::default()), 2, 150, "3.00");
}

#[test]
fn somebody_who_was_merged_away_counts_once() {
    let (mut shop, mut shares) = (shop(), Shares::default());
    join(&mut shop, "ana", 100);
    join(&mut shop, "email:ana@example.com", 20);
    check(&sums(&mut shop, &mut shares), 2, 120, "2.40");
    ask(&mut shop, "ana", Command::Merge { from: "email:ana@example.com".parse().unwrap() });
    check(&sums(&mut shop, &mut shares), 1, 120, "2.40");
    check(&sums(&mut shop, &mut Shares::default()), 1, 120, "2.40");
}

#[test]
fn who_is_no_more_is_not_counted_after_a_checkpoint_either() {
    let (mut shop, mut shares) = (shop(), Shares::default());
    join(&mut shop, "ana", 100);
    join(&mut shop, "email:ana@example.com", 20);
    join(&mut shop, "ben", 5);
    shop.checkpoint().unwrap();
    check(&sums(&mut shop, &mut shares), 3, 125, "2.50");
    ask(&mut shop, "ana", Command::Merge { from: "email:ana@example.com".parse().unwrap() });
    ask(&mut shop, "ben", Command::Erase);
    shop.checkpoint().unwrap();
    check(&sums(&mut shop, &mut shares), 1, 120, "2.40");
    ask(&mut shop, "ana", Command::Unmerge);
    shop.checkpoint().unwrap();
    check(&sums(&mut shop, &mut shares), 2, 120, "2.40");
    check(&sums(&mut shop, &mut Shares::default()), 2, 120, "2.40");
}
