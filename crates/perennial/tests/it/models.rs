//! Models in the product: trained on history, published, asked, and never asked again by a refold.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use crate::stage::verified;
use perennial::commands;
use perennial::models::shelf::{Bought, Found, Kind, Pick, Question, Wanted, Why};
use perennial::models::trainer::{NotNow, Trainer};
use perennial::models::{Progress, Untrained, train};
use perennial::pump::{Clock, Pump};
use perennial::wire::segment::{Call, parse};
use perennial::wire::{Circumstances, catalog};
use perennial::workspace::{Glimpse, Round, Who, Workspace};
use perennial_core::input::{Asked, Command, Input, Published};
use perennial_core::score::{ModelKind, Score};
use perennial_core::time::Timestamp;
use perennial_store::MemoryDisk;
use serde_json::json;

use crate::http::House;

/// Customers of the made-up shop; every third one stops ordering half way.
const CUSTOMERS: u32 = 240;
const DAYS: u32 = 240;
const DAY_MS: i64 = 86_400_000;

fn day(n: u32) -> Timestamp {
    let begin: Timestamp = "2026-01-01T09:00:00Z".parse().unwrap();
    begin.plus_millis(i64::from(n) * DAY_MS)
}

/// The end of the history.
pub(crate) fn end() -> Timestamp {
    day(DAYS)
}

/// A shop of four themes with ten items each; customers keep to one theme and to a rhythm.
pub(crate) fn open_on(disk: &MemoryDisk, customers: u32) -> Workspace {
    with_history(crate::shop::on(disk), customers)
}

fn with_history(mut shop: Workspace, customers: u32) -> Workspace {
    let rhythm = |who: u32| 12 + who * 7 % 25;
    for today in 0..DAYS {
        let silent = |who: &u32| who.is_multiple_of(3) && today > DAYS / 2;
        let coming = (0..customers).filter(|who| (today + who * 5).is_multiple_of(rhythm(*who))).filter(|w| !silent(w));
        let orders: Vec<_> = coming.map(|who| order(who, today)).collect();
        if !orders.is_empty() {
            take(&mut shop, day(today), &orders);
        }
    }
    shop.checkpoint().unwrap();
    shop
}

fn order(who: u32, today: u32) -> serde_json::Value {
    let item = |nth: u32| format!("p{}", (who % 4) * 10 + (today / 3 + nth * (1 + who % 2)) % 10);
    let products: Vec<_> =
        (0..3).map(|nth| json!({"product_id": item(nth), "price": 5 + who % 9, "quantity": 1})).collect();
    json!({"type": "track", "userId": format!("u{who}"), "messageId": format!("m{who}-{today}"),
        "event": "Order Completed", "properties": {"order_id": format!("o{who}-{today}"), "currency": "USD", "products": products}})
}

fn take(shop: &mut Workspace, at: Timestamp, items: &[serde_json::Value]) {
    let body = json!({"batch": items}).to_string();
    shop.take(at, parse(Call::Batch, body.as_bytes(), &Circumstances::live("web", at)).unwrap()).unwrap();
}

fn train_now(shop: &mut Workspace, kind: ModelKind) {
    shop.checkpoint().unwrap();
    let version = shop.model(kind).map_or(1, |held| held.about.version + 1);
    let model = train(kind, (shop.state(), &shop.journal()), version, &Progress::default()).unwrap();
    shop.publish_model(end(), "test", model).unwrap();
    score_everybody(shop);
}

fn score_everybody(shop: &mut Workspace) {
    let mut from = None;
    while let Round::From(mark) = shop.score_some(end(), from.take(), 50).unwrap() {
        from = Some(mark);
    }
}

fn trained(disk: &MemoryDisk) -> Workspace {
    train_both(open_on(disk, CUSTOMERS))
}

fn train_both(mut shop: Workspace) -> Workspace {
    train_now(&mut shop, ModelKind::Value);
    train_now(&mut shop, ModelKind::Clusters);
    shop
}

fn who(n: u32) -> Who {
    format!("u{n}").parse().unwrap()
}

fn scores(shop: &mut Workspace) -> Vec<String> {
    (0..CUSTOMERS)
        .map(|n| {
            let customer = shop.customer(end(), &format!("u{n}").parse().unwrap()).unwrap().unwrap();
            format!("{:?} {:?}", customer.scores, customer.segments)
        })
        .collect()
}

#[test]
fn everybody_is_scored_and_segments_follow_at_once() {
    let mut shop = trained(&MemoryDisk::new());
    let mut at_risk = 0;
    for n in 0..CUSTOMERS {
        let view = shop.glimpse(end(), &who(n)).unwrap().and_then(Glimpse::view).unwrap();
        let (value, cluster) = (view.scores.value.unwrap(), view.scores.cluster.unwrap());
        assert_eq!((value.model, cluster.model), (1, 1));
        assert!(value.reason.starts_with("ordered on "), "{}", value.reason);
        let weights: f64 = cluster.because.iter().map(|part| part.weight).sum();
        assert!((weights - 100.0).abs() < 0.1, "{cluster:?}");
        assert!(cluster.because.is_sorted_by(|a, b| a.weight >= b.weight));
        let money = |json: &serde_json::Value| json.as_f64().unwrap();
        let inside = view.segments.iter().any(|s| s.id == "at-risk");
        assert_eq!(inside, money(&value.p_alive) < 0.5 && money(&value.clv_12m) > 100.0);
        assert_eq!(view.features["p_alive"], value.p_alive);
        assert!(money(&value.clv_12m_low) <= money(&value.clv_12m_high));
        at_risk += u32::from(inside);
        let silent = n.is_multiple_of(3);
        assert!(silent == (money(&value.churn_risk) > 0.6), "u{n}: {value:?}");
    }
    assert!(at_risk < CUSTOMERS, "not everybody is at risk");
}

#[test]
fn what_models_said_survives_refold_restart_and_a_lost_state() {
    let disk = MemoryDisk::new();
    let mut shop = trained(&disk);
    let before = scores(&mut shop);
    assert_eq!(verified(&mut shop, end()).faults, Vec::<String>::new());
    shop.checkpoint().unwrap();
    drop(shop);
    let mut again = Workspace::on_disk(&disk).unwrap();
    assert_eq!(scores(&mut again), before);
    assert_eq!(again.model(ModelKind::Value).unwrap().about.version, 1);
    assert!(!again.owes_scores());
    drop(again);
    disk.delete_state();
    let mut rebuilt = Workspace::on_disk(&disk).unwrap();
    assert_eq!(scores(&mut rebuilt), before);
    assert_eq!(verified(&mut rebuilt, end()).faults, Vec::<String>::new());
}

#[test]
fn a_backup_holds_the_models_and_what_they_said() {
    let home = tempfile::tempdir().unwrap();
    let (folder, backup) = (home.path().join("data"), home.path().join("backup"));
    let mut shop = train_both(with_history(crate::shop::in_folder(&folder), CUSTOMERS));
    shop.checkpoint().unwrap();
    let before = scores(&mut shop);
    commands::backup(&folder, &backup).unwrap();
    // Later than the backup: another order, and another model.
    take(&mut shop, end(), &[order(3, DAYS)]);
    train_now(&mut shop, ModelKind::Value);
    assert_ne!(scores(&mut shop), before);
    drop(shop);
    commands::restore(&backup, &folder, None).unwrap();
    for state in ["as backed up", "made again"] {
        if state == "made again" {
            commands::rebuild(&folder, false).unwrap();
        }
        let mut restored = Workspace::open(&folder).unwrap();
        assert_eq!(restored.model(ModelKind::Value).unwrap().about.version, 1, "{state}");
        assert!(!restored.owes_scores(), "{state}");
        assert_eq!(scores(&mut restored), before, "{state}");
        assert_eq!(verified(&mut restored, end()).faults, Vec::<String>::new(), "{state}");
    }
    // What is in force answers as before.
    let mut restored = Workspace::open(&folder).unwrap();
    take(&mut restored, end(), &[order(3, DAYS)]);
    assert_ne!(scores(&mut restored), before);
    assert_eq!(verified(&mut restored, end()).faults, Vec::<String>::new());
}

#[test]
fn nothing_of_what_models_said_of_an_erased_person_is_left() {
    let home = tempfile::tempdir().unwrap();
    let mut shop = train_both(with_history(crate::shop::in_folder(home.path()), CUSTOMERS));
    let mut dear = order(7, DAYS);
    dear["properties"]["products"][0]["price"] = json!(1234.56); // Like nobody else's.
    take(&mut shop, end(), &[dear]);
    shop.checkpoint().unwrap();
    let said = shop.customer(end(), &"u7".parse().unwrap()).unwrap().unwrap().scores;
    let said: Vec<Vec<u8>> = said.iter().map(|scored| postcard::to_stdvec(scored).unwrap()).collect();
    assert_eq!(said.len(), 2);
    let left = || said.iter().flat_map(|bytes| crate::erase::holds(home.path(), bytes)).collect::<Vec<_>>();
    assert!(!left().is_empty(), "the state holds scores as they are");
    let erase = Asked::new(end(), "test", "u7".parse().unwrap(), None, Command::Erase);
    shop.ask(end(), erase).unwrap().outcome.unwrap();
    shop.checkpoint().unwrap();
    drop(shop);
    assert_eq!(left(), Vec::<String>::new());
    commands::rebuild(home.path(), false).unwrap();
    assert_eq!(left(), Vec::<String>::new());
    let mut shop = Workspace::open(home.path()).unwrap();
    assert!(shop.customer(end(), &"u7".parse().unwrap()).unwrap().is_none());
    assert_eq!(verified(&mut shop, end()).faults, Vec::<String>::new());
}

#[test]
fn a_round_that_was_cut_off_goes_on_after_a_restart() {
    let disk = MemoryDisk::new();
    let mut shop = open_on(&disk, CUSTOMERS);
    let model = train(ModelKind::Value, (shop.state(), &shop.journal()), 1, &Progress::default()).unwrap();
    shop.publish_model(end(), "test", model).unwrap();
    assert!(matches!(shop.score_some(end(), None, 50).unwrap(), Round::From(_)));
    drop(shop);
    let mut again = Workspace::on_disk(&disk).unwrap();
    assert!(again.owes_scores());
    let entries = again.last_seq();
    score_everybody(&mut again);
    assert!(!again.owes_scores());
    let scored = (0..CUSTOMERS)
        .filter(|n| again.glimpse(end(), &who(*n)).unwrap().and_then(Glimpse::view).unwrap().scores.value.is_some());
    assert_eq!(scored.count(), CUSTOMERS as usize);
    let news = again.journal();
    let blocks = (entries + 1..=again.last_seq()).filter_map(|seq| match news.entry(seq).unwrap()?.input? {
        Input::Published(news) => match news.what {
            Published::Scores(rows) => Some(rows.len()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(blocks.collect::<Vec<_>>(), [50, 50, 50, 40, 0], "those who were left, and the end");
    assert_eq!(verified(&mut again, end()).faults, Vec::<String>::new());
}

#[test]
fn an_order_asks_the_models_again_and_the_answer_is_a_fact_of_its_entry() {
    let disk = MemoryDisk::new();
    let mut shop = trained(&disk);
    let alive = |shop: &mut Workspace| {
        let customer = shop.customer(day(DAYS + 20), &"u3".parse().unwrap()).unwrap().unwrap();
        match customer.score(ModelKind::Value).unwrap().score {
            Score::Value { p_alive, .. } => p_alive,
            Score::Cluster { .. } => unreachable!("asked for value"),
        }
    };
    let silent = alive(&mut shop);
    take(&mut shop, day(DAYS + 20), &[order(3, DAYS + 20)]);
    let back = alive(&mut shop);
    assert!(back > silent + 100_000, "{silent} before, {back} after an order");
    let entry = shop.journal().entry(shop.last_seq()).unwrap().unwrap();
    assert_eq!(format!("{:?}", entry.outcome).matches("Scored").count(), 4, "a fact for each of two models");
    assert_eq!(verified(&mut shop, day(DAYS + 21)).faults, Vec::<String>::new());
}

#[test]
fn a_merge_keeps_the_survivors_scores() {
    let disk = MemoryDisk::new();
    let mut shop = trained(&disk);
    let mine = shop.customer(end(), &"u1".parse().unwrap()).unwrap().unwrap().scores;
    let merge = Command::Merge { from: "u2".parse().unwrap() };
    shop.ask(end(), Asked::new(end(), "test", "u1".parse().unwrap(), None, merge)).unwrap().outcome.unwrap();
    assert_eq!(shop.customer(end(), &"u1".parse().unwrap()).unwrap().unwrap().scores, mine);
    assert_eq!(verified(&mut shop, end()).faults, Vec::<String>::new());
    score_everybody(&mut shop);
    train_now(&mut shop, ModelKind::Value);
    let joined = shop.customer(end(), &"u2".parse().unwrap()).unwrap().unwrap();
    assert!(joined.scores[0].basis.orders > mine[0].basis.orders);
    assert_eq!(verified(&mut shop, end()).faults, Vec::<String>::new());
}

#[test]
fn both_sides_of_a_merge_taken_back_are_asked_about_again() {
    let mut shop = trained(&MemoryDisk::new());
    let ask = |shop: &mut Workspace, who: &str, command| {
        shop.ask(end(), Asked::new(end(), "test", who.parse().unwrap(), None, command)).unwrap().outcome.unwrap()
    };
    let orders = |shop: &mut Workspace, who: &str| {
        let customer = shop.customer(end(), &who.parse().unwrap()).unwrap().unwrap();
        customer.scores.iter().map(|scored| scored.basis.orders).collect::<Vec<_>>()
    };
    let before = (orders(&mut shop, "u1"), orders(&mut shop, "u2"));
    ask(&mut shop, "u1", Command::Merge { from: "u2".parse().unwrap() });
    ask(&mut shop, "u2", Command::Unmerge);
    assert_eq!((orders(&mut shop, "u1"), orders(&mut shop, "u2")), before);
    assert_eq!(verified(&mut shop, end()).faults, Vec::<String>::new());
}

#[test]
fn chances_fall_between_trainings_and_only_what_moved_is_written_down() {
    let disk = MemoryDisk::new();
    let mut shop = trained(&disk);
    let alive = |shop: &mut Workspace, n: u32| {
        let customer = shop.customer(end(), &format!("u{n}").parse().unwrap()).unwrap().unwrap();
        let scored = customer.score(ModelKind::Value).unwrap().clone();
        let Score::Value { p_alive, churn_risk, .. } = scored.score else { panic!("{scored:?}") };
        (p_alive, churn_risk, scored.version)
    };
    let round = |shop: &mut Workspace, now: Timestamp| {
        let (before, mut from) = (shop.last_seq(), None);
        while let Round::From(mark) = shop.age_some(now, from.take(), 500).unwrap() {
            from = Some(mark);
        }
        shop.last_seq() - before
    };
    assert_eq!(round(&mut shop, end()), 1, "nobody ordered since, so the round ends as it began");
    let was = alive(&mut shop, 1);
    let later = DAYS + 60;
    take(&mut shop, day(later), &[order(2, later)]);
    assert!(round(&mut shop, day(later)) > 1);
    let is = alive(&mut shop, 1);
    assert!(is.0 < was.0 && is.1 > was.1 && is.2 == was.2, "{was:?} {is:?}");
    assert!(alive(&mut shop, 2).0 > is.0, "who ordered is as alive as one can be");
    assert_eq!(round(&mut shop, day(later)), 1, "nothing has moved since");
    let said: Vec<_> = (1..CUSTOMERS).step_by(7).map(|n| alive(&mut shop, n)).collect();
    assert_eq!(verified(&mut shop, day(later)).faults, Vec::<String>::new());
    drop(shop);
    let mut again = crate::shop::on(&disk);
    assert_eq!((1..CUSTOMERS).step_by(7).map(|n| alive(&mut again, n)).collect::<Vec<_>>(), said);
}

#[test]
fn a_customer_whose_orders_were_all_given_back_is_expected_no_more() {
    let mut shop = trained(&MemoryDisk::new());
    take(&mut shop, end(), &[order(999, DAYS)]);
    let scores = |shop: &mut Workspace| shop.glimpse(end(), &who(999)).unwrap().and_then(Glimpse::view).unwrap().scores;
    let value = |shop: &mut Workspace| scores(shop).value.unwrap();
    assert!(scores(&mut shop).cluster.is_some());
    assert!(value(&mut shop).clv_12m.as_f64().unwrap() > 0.0);
    let cancelled = json!({"type": "track", "userId": "u999", "messageId": "back", "event": "Order Cancelled",
        "properties": {"order_id": format!("o999-{DAYS}")}});
    take(&mut shop, end(), &[cancelled]);
    let now = value(&mut shop);
    let figures = [now.clv_12m, now.clv_12m_high, now.p_alive, now.churn_risk].map(|json| json.as_f64().unwrap());
    assert_eq!((figures, now.reason.as_str()), ([0.0, 0.0, 0.0, 1.0], "no order stands"));
    assert!(scores(&mut shop).cluster.is_none(), "nobody buys like that any more");
    assert_eq!(verified(&mut shop, end()).faults, Vec::<String>::new());
}

#[test]
fn a_thin_history_gives_no_model_and_says_what_is_missing() {
    let shop = open_on(&MemoryDisk::new(), 30);
    for (kind, missing) in [
        (ModelKind::Value, "30 customers have ordered, 200 are needed"),
        (ModelKind::Clusters, "30 customers have ordered, 200 are needed"),
        (ModelKind::Recommend, "it has 30 customers, 50 are needed"),
    ] {
        let why = train(kind, (shop.state(), &shop.journal()), 1, &Progress::default()).unwrap_err();
        assert_eq!(why, Untrained::Thin(missing.into()));
    }
    let called_off = Progress::default();
    called_off.call_off();
    assert_eq!(
        train(ModelKind::Value, (shop.state(), &shop.journal()), 1, &called_off).unwrap_err(),
        Untrained::Cancelled
    );
}

#[test]
fn the_same_history_gives_the_same_model() {
    let shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    for kind in ModelKind::ALL {
        let model = || train(kind, (shop.state(), &shop.journal()), 1, &Progress::default()).unwrap();
        assert_eq!(model(), model(), "{kind:?}");
    }
}

#[test]
fn recommendations_keep_to_what_the_customer_likes_and_hold_no_customer() {
    let disk = MemoryDisk::new();
    let mut shop = open_on(&disk, CUSTOMERS);
    train_now(&mut shop, ModelKind::Recommend);
    let shelf = shop.shelf();
    let history = shop.bought(end(), &who(5)).unwrap().unwrap();
    assert_eq!(shop.bought_at_once(end(), &who(5)), Some(history.clone()));
    assert_eq!(shop.bought_at_once(end(), &"nobody".parse().unwrap()), None);
    let question = |items: &'static [&'static str]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
    let ask = |kind, items: &[String], wanted: &Wanted| {
        shelf.answer(kind, Question { history: &history, items, limit: 5 }, wanted)
    };
    let theme = |found: &Found| found.items.iter().filter(|r| r.item.starts_with("p1") && r.item.len() == 3).count();
    let again = ask(Kind::Again, &[], &Wanted::default());
    assert_eq!((&again.instead, theme(&again)), (&None, 5), "{again:?}");
    let together = ask(Kind::Together, &question(&["p10", "p11"]), &Wanted::default());
    assert!(theme(&together) >= 4, "{together:?}");
    assert!(together.items.iter().all(|r| r.item != "p10" && r.item != "p11"));
    let except = Wanted { except: ["p12".into(), "p13".into()].into(), ..Wanted::default() };
    let session = ask(Kind::Session, &question(&["p10"]), &except);
    assert!(session.items.iter().all(|r| r.item != "p12" && r.item != "p13"));
    let cold =
        shelf.answer(Kind::ForYou, Question { history: &Bought::default(), items: &[], limit: 5 }, &Wanted::default());
    assert_eq!((cold.instead.is_some(), cold.items.len()), (true, 5));
    let entry = shop.journal().entry(shop.model(ModelKind::Recommend).unwrap().seq).unwrap().unwrap();
    let Some(Input::Published(news)) = entry.input else { panic!("no publication") };
    let Published::Model(model) = news.what else { panic!("no model") };
    let id = shop.customer(end(), &"u5".parse().unwrap()).unwrap().unwrap().id;
    assert!(!model.body.windows(16).any(|bytes| bytes == id.0) && !model.body.windows(3).any(|b| b == b"u5\""));
    shop.checkpoint().unwrap();
    drop(shop);
    let again = Workspace::on_disk(&disk).unwrap();
    let same =
        again.shelf().answer(Kind::Again, Question { history: &history, items: &[], limit: 5 }, &Wanted::default());
    assert_eq!(same.items, ask(Kind::Again, &[], &Wanted::default()).items);
}

#[test]
fn an_item_that_is_new_goes_with_what_it_is_ordered_with() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    train_now(&mut shop, ModelKind::Recommend);
    let mut new = order(7, DAYS + 1);
    new["properties"]["products"][0]["product_id"] = json!("brand-new");
    take(&mut shop, day(DAYS + 1), &[new]);
    let items = ["brand-new".to_owned()];
    let question = Question { history: &Bought::default(), items: &items, limit: 5 };
    let found = shop.shelf().answer(Kind::Together, question, &Wanted::default());
    assert_eq!((&found.instead, found.items.len()), (&None, 2), "{found:?}");
}

/// One of sixteen walks through the shop: six items of it, then back to the first. Each item lies on some of them.
fn walk(route: u32) -> [u32; 7] {
    let step = |nth: u32| (route * 11 + nth * [1, 3, 7, 9][route as usize % 4]) % 20;
    [0, 1, 2, 3, 4, 5, 0].map(step)
}

fn look_around(shop: &mut Workspace) {
    for (today, who) in (0..8).flat_map(|today| (0..60).map(move |who| (today, who))) {
        let view = |(nth, item): (i64, u32)| {
            json!({"type": "track", "userId": format!("u{who}"), "messageId": format!("v{who}-{today}-{nth}"),
            "event": "Product Viewed", "properties": {"product_id": format!("p{item}")},
            "timestamp": day(DAYS - 9 + today).plus_millis(nth * 60_000).to_string()})
        };
        let views: Vec<_> = (0..).zip(walk((who + today) % 16)).map(view).collect();
        take(shop, day(DAYS - 8 + today), &views);
    }
}

#[test]
fn a_running_visit_is_answered_by_visits_that_went_alike() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    look_around(&mut shop);
    train_now(&mut shop, ModelKind::Recommend);
    let about = &shop.model(ModelKind::Recommend).unwrap().about;
    let figure = |name: &str| about.figures.iter().find(|(known, _)| **known == *name).unwrap().1;
    assert!(figure("session_hits_of_10") > figure("together_in_sessions_hits_of_10"), "{:?}", about.figures);
    assert!(about.method.contains("V-SKNN"), "{}", about.method);
    let (shelf, journal) = (shop.shelf(), shop.journal());
    let ask = |items: &[&str]| {
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        let question = Question { history: &Bought::default(), items: &items, limit: 5 };
        shelf.answer(Kind::Session, question, &Wanted::default())
    };
    let recall = || shelf.recall(&shelf.owed().unwrap(), &journal, &Progress::default()).unwrap();
    assert!(ask(&["p10"]).instead.unwrap().contains("being read again"));
    recall();
    let names = walk(5).map(|item| format!("p{item}"));
    let names = names.each_ref().map(String::as_str);
    let next = ask(&names[..4]);
    assert_eq!((&next.instead, shelf.owed().is_none()), (&None, true));
    let foretold = next.items.iter().find(|pick| pick.item == names[4]).map(|pick| &pick.why);
    assert_eq!(foretold, Some(&Why::After(names[3].into())), "{next:?}");
    let back = ask(&names[..6]);
    assert!(back.items.iter().any(|pick| pick.item == names[0] && pick.why == Why::Viewed(1)), "{back:?}");
    assert!(ask(&["unheard-of", "p10"]).instead.is_none() && ask(&["unheard-of"]).instead.is_some());
    // Whoever is erased is in no visit any more.
    shop.ask(end(), Asked::new(end(), "test", "u1".parse().unwrap(), None, Command::Erase)).unwrap().outcome.unwrap();
    assert!(ask(&names).instead.is_some() && shelf.owed().is_some());
    recall();
    assert!(ask(&names).instead.is_none());
}

#[test]
fn where_nobody_looks_around_orders_answer_for_a_visit_and_say_so() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    train_now(&mut shop, ModelKind::Recommend);
    let items = ["p10".to_owned()];
    let question = Question { history: &Bought::default(), items: &items, limit: 5 };
    let found = shop.shelf().answer(Kind::Session, question, &Wanted::default());
    let why = "0 visits are known, 200 are needed: what lies in orders with these items";
    assert_eq!((found.instead.as_deref(), shop.shelf().owed().is_none()), (Some(why), true));
    let with = |pick: &Pick| pick.why == Why::With("p10".into());
    assert!(found.items[..4].iter().all(with) && found.items[4].why == Why::Demand, "{found:?}");
}

/// The catalogue of the made-up shop: themes are categories. `p20` to `p29` are lamps; so is one that is new.
fn describe(shop: &mut Workspace, more: &[serde_json::Value]) {
    let themes = ["Tea", "Cups", "Lamps", "Rugs"];
    let product = |n: u32| {
        let theme = themes[n as usize / 10];
        json!({"product_id": format!("p{n}"), "name": format!("{theme} number {n}"), "category": theme, "price": 5 + n % 10})
    };
    let listed: Vec<_> = (0..40).map(product).chain(more.iter().cloned()).collect();
    tell(shop, end(), &listed);
}

fn tell(shop: &mut Workspace, at: Timestamp, products: &[serde_json::Value]) {
    let told = catalog::products(&json!({ "products": products }).to_string()).unwrap();
    shop.learn_products(at, "test", told).unwrap();
}

fn new_lamp() -> serde_json::Value {
    json!({"product_id": "new-lamp", "name": "Lamps for travellers", "category": "Lamps", "price": 9})
}

fn find<'a>(found: &'a Found, item: &str) -> Option<(usize, &'a Pick)> {
    found.items.iter().enumerate().find(|(_, pick)| pick.item == item)
}

#[test]
fn what_is_new_in_the_catalogue_is_recommended_without_a_training() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    describe(&mut shop, &[]);
    train_now(&mut shop, ModelKind::Recommend);
    let shelf = shop.shelf();
    // u2 and u6 keep to lamps, u1 to cups.
    let (lamps, cups) = (shop.bought(end(), &who(6)).unwrap().unwrap(), shop.bought(end(), &who(1)).unwrap().unwrap());
    let ask = |kind, history: &Bought, items: &[&str]| {
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        shelf.answer(kind, Question { history, items: &items, limit: 10 }, &Wanted::default())
    };
    let before = ask(Kind::Similar, &Bought::default(), &["p20"]);
    assert!(
        before.items.iter().all(|pick| !matches!(pick.why, Why::Like(..))),
        "all is known by its orders: {before:?}"
    );
    tell(&mut shop, day(DAYS + 2), &[new_lamp()]);
    let after = ask(Kind::Similar, &Bought::default(), &["p20"]);
    let (place, lamp) = find(&after, "new-lamp").unwrap();
    assert_eq!((place, &lamp.why), (4, &Why::Like("p20".into(), vec!["Lamps".into(), "lamps".into()])), "{lamp:?}");
    let others = |found: &Found| {
        found.items.iter().map(|pick| pick.item.clone()).filter(|i| i != "new-lamp").collect::<Vec<_>>()
    };
    assert_eq!(others(&after)[..], others(&before)[..9], "the others stay as they were");
    assert!(find(&ask(Kind::ForYou, &lamps, &[]), "new-lamp").is_some());
    assert!(find(&ask(Kind::ForYou, &cups, &[]), "new-lamp").is_none());
    // And who looks at it sees its like.
    let beside = ask(Kind::Similar, &Bought::default(), &["new-lamp"]);
    assert!(
        beside.instead.is_none() && beside.items.iter().all(|pick| pick.name.as_deref().unwrap().contains("Lamps"))
    );
    let together = ask(Kind::Together, &Bought::default(), &["new-lamp"]);
    assert!(together.instead.unwrap().contains("described alike") && !together.items.is_empty());
    // Once it was ordered often enough, it is new no more.
    for n in 0..5 {
        let mut order = order(500 + n, DAYS);
        order["properties"]["products"] = json!([{"product_id": "new-lamp", "price": 9, "quantity": 1}]);
        take(&mut shop, end(), &[order]);
    }
    assert!(find(&ask(Kind::Similar, &Bought::default(), &["p20"]), "new-lamp").is_none());
}

#[test]
fn what_lay_in_the_catalogue_for_long_is_not_new() {
    let disk = MemoryDisk::new();
    let mut shop = open_on(&disk, CUSTOMERS);
    let lamp = |id: &str| json!({"product_id": id, "name": "Lamps", "category": "Lamps", "price": 5});
    describe(&mut shop, &[lamp("never-bought")]);
    tell(&mut shop, day(DAYS).plus_millis(DAY_MS / 2), &[lamp("second-page")]);
    train_now(&mut shop, ModelKind::Recommend);
    let new = |shop: &Workspace| {
        let question = Question { history: &Bought::default(), items: &["p20".into()], limit: 15 };
        let found = shop.shelf().answer(Kind::Similar, question, &Wanted::default()).items;
        let mut new: Vec<String> =
            found.into_iter().filter(|pick| matches!(pick.why, Why::Like(..))).map(|pick| pick.item).collect();
        new.sort();
        new
    };
    assert_eq!(new(&shop), [""; 0], "nobody knows how long the first catalogue was there before");
    tell(&mut shop, day(DAYS + 2), &[lamp("spring-lamp")]);
    tell(&mut shop, day(DAYS + 60), &[lamp("summer-lamp")]);
    let both = ["spring-lamp", "summer-lamp"];
    assert_eq!(new(&shop), both);
    // A thing that is described anew is not new again.
    tell(&mut shop, day(DAYS + 61), &[json!({"product_id": "never-bought", "category": "Lamps", "price": 8})]);
    assert_eq!(new(&shop), both);
    drop(shop);
    let mut shop = Workspace::on_disk(&disk).unwrap();
    assert_eq!(new(&shop), both, "folded from the journal");
    shop.checkpoint().unwrap();
    drop(shop);
    let mut shop = Workspace::on_disk(&disk).unwrap();
    assert_eq!(new(&shop), both, "read from the checkpoint");
    tell(&mut shop, day(DAYS + 93), &[json!({"product_id": "rug", "category": "Rugs"})]);
    assert_eq!(new(&shop), ["summer-lamp"], "a season later");
    drop(shop);
    disk.delete_state();
    assert_eq!(new(&Workspace::on_disk(&disk).unwrap()), ["summer-lamp"], "made again");
}

#[test]
fn what_does_not_fit_is_never_offered() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    train_now(&mut shop, ModelKind::Recommend);
    let shelf = shop.shelf();
    let ask = |kind, history: &Bought, items: &[&str]| {
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        shelf.answer(kind, Question { history, items: &items, limit: 9 }, &Wanted::default())
    };
    let nothing = Bought::default();
    let bought = shop.bought(end(), &who(5)).unwrap().unwrap();
    let first = ask(Kind::Together, &nothing, &["p10"]).items[0].item.clone();
    let plain = ask(Kind::ForYou, &bought, &[]).items;
    let [fresh, other] = [&plain[0].item, &plain[1].item];
    // From now on the first fits p19 only, the second clashes with what they have, the third fits what they have.
    let fits = json!({"product_id": first, "fits": ["p19"]});
    let clash = json!({"product_id": fresh, "not_with": ["p11"]});
    let theirs = json!({"product_id": other, "fits": ["p12", "unheard-of"]});
    let told = catalog::products(&json!({"products": [fits, clash, theirs]}).to_string()).unwrap();
    shop.learn_products(end(), "test", told).unwrap();
    for kind in [Kind::Together, Kind::Similar, Kind::Session] {
        assert!(find(&ask(kind, &nothing, &["p10"]), &first).is_none(), "{kind:?}");
        assert!(find(&ask(kind, &nothing, &["p10", "p19"]), &first).is_some(), "{kind:?}");
    }
    let for_you = ask(Kind::ForYou, &bought, &[]);
    assert!(find(&for_you, fresh).is_none() && find(&for_you, other).is_some(), "{for_you:?}");
    assert!(find(&ask(Kind::ForYou, &nothing, &[]), other).is_none(), "a stranger has nothing that it fits");
}

#[test]
fn only_what_is_wanted_is_recommended() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    describe(&mut shop, &[]);
    tell(&mut shop, day(DAYS + 2), &[new_lamp()]);
    train_now(&mut shop, ModelKind::Recommend);
    let told = json!({"products": [
        {"product_id": "p21", "name": "Lamps", "category": "Lamps > Oil", "price": 30, "in_stock": false},
        {"product_id": "p22", "name": "Lamps", "category": "Lamps > Oil", "price": 31, "in_stock": true},
        {"product_id": "p23", "name": "Lamps", "category": "Lamps > Oil", "price": 32, "stock": 3}]});
    shop.learn_products(end(), "test", catalog::products(&told.to_string()).unwrap()).unwrap();
    let items = ["p20".to_owned()];
    let history = shop.bought(end(), &who(6)).unwrap().unwrap();
    let ask = |kind, wanted: Wanted| {
        let found = shop.shelf().answer(kind, Question { history: &history, items: &items, limit: 40 }, &wanted);
        let mut items: Vec<String> = found.items.into_iter().map(|pick| pick.item).collect();
        items.sort();
        items
    };
    for kind in [Kind::Similar, Kind::Together, Kind::Trending, Kind::Session] {
        let has = |wanted: Wanted, item: &str| ask(kind, wanted).iter().any(|found| found == item);
        let any = Wanted { in_stock: Some(false), ..Wanted::default() };
        assert!(!has(Wanted::default(), "p21") && has(any, "p21") && has(Wanted::default(), "p24"), "{kind:?}");
        let known = Wanted { in_stock: Some(true), ..Wanted::default() };
        assert_eq!(ask(kind, known), ["p22", "p23"], "{kind:?}");
        let oil = Wanted { category: Some("Lamps > Oil".into()), ..Wanted::default() };
        assert_eq!(ask(kind, oil), ["p22", "p23"], "{kind:?}");
        let lamps = ask(kind, Wanted { category: Some("Lamps".into()), ..Wanted::default() });
        assert!(lamps.len() >= 8 && lamps.iter().all(|item| item.starts_with("p2") || item == "new-lamp"), "{kind:?}");
        let band = Wanted { from: Some(31.0), to: Some(31.5), ..Wanted::default() };
        assert_eq!(ask(kind, band), ["p22"], "{kind:?}");
        assert!(!has(Wanted { except: ["p22".into()].into(), ..Wanted::default() }, "p22"), "{kind:?}");
    }
    assert!(ask(Kind::Similar, Wanted::default()).contains(&"new-lamp".to_owned()));
    assert!(!ask(Kind::Similar, Wanted { proven: true, ..Wanted::default() }).contains(&"new-lamp".to_owned()));
}

#[test]
fn a_various_list_does_not_say_the_same_ten_times() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    describe(&mut shop, &[]);
    // One customer with two themes, and little of the second.
    let mut mixed = Bought::default();
    ["p0", "p1", "p2", "p3", "p4", "p20"].iter().for_each(|item| mixed.push(item, 1.0));
    train_now(&mut shop, ModelKind::Recommend);
    let ask = |diversity| {
        let question = Question { history: &mixed, items: &[], limit: 5 };
        shop.shelf().answer(Kind::ForYou, question, &Wanted { diversity, ..Wanted::default() })
    };
    let themes = |found: &Found| {
        let theme = |pick: &Pick| pick.name.as_deref().unwrap().split(' ').next().unwrap().to_owned();
        found.items.iter().map(theme).collect::<std::collections::BTreeSet<_>>().len()
    };
    let (plain, various, most) = (ask(0.0), ask(0.5), ask(1.0));
    assert_eq!((plain.items.len(), various.items.len(), most.items.len()), (5, 5, 5));
    assert!(themes(&plain) < themes(&various) && themes(&most) == 4, "{plain:?} {various:?} {most:?}");
    assert_eq!(plain.items[0], various.items[0], "the best stays the first");
}

#[test]
fn a_shop_without_a_model_goes_by_its_catalogue() {
    let mut shop = crate::shop::on(&MemoryDisk::new());
    describe(&mut shop, &[new_lamp()]);
    let mut history = Bought::default();
    history.push("new-lamp", 1.0);
    let ask = |kind, items: &[String]| {
        shop.shelf().answer(kind, Question { history: &history, items, limit: 5 }, &Wanted::default())
    };
    let for_you = ask(Kind::ForYou, &[]);
    assert_eq!(for_you.instead.as_deref(), Some("no model is trained yet: what is described alike"));
    let lamp = |pick: &Pick| matches!(&pick.why, Why::Like(to, _) if to == "new-lamp") && pick.item.starts_with("p2");
    assert!(for_you.items.len() == 5 && for_you.items.iter().all(lamp), "{for_you:?}");
    assert_eq!(ask(Kind::Similar, &["new-lamp".into()]).items, for_you.items);
}

#[test]
fn a_block_of_scores_is_no_longer_where_no_checkpoint_holds_anybody_yet() {
    let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
    let model = train(ModelKind::Value, (shop.state(), &shop.journal()), 1, &Progress::default()).unwrap();
    shop.publish_model(end(), "test", model).unwrap();
    let call =
        |n| json!({"type": "track", "userId": format!("u{n}"), "messageId": format!("call {n}"), "event": "Call"});
    take(&mut shop, end(), &(0..CUSTOMERS).map(call).collect::<Vec<_>>());
    let entries = shop.last_seq();
    score_everybody(&mut shop);
    let journal = shop.journal();
    let blocks: Vec<usize> = (entries + 1..=shop.last_seq())
        .filter_map(|seq| match journal.entry(seq).unwrap()?.input? {
            Input::Published(news) => {
                if let Published::Scores(rows) = news.what {
                    Some(rows.len())
                } else {
                    None
                }
            }
            _ => None,
        })
        .collect();
    assert_eq!(blocks, [50, 50, 50, 50, 40, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_was_cut_short_is_taken_up_by_the_next_look() {
    let workspace = tokio::task::spawn_blocking(|| {
        let mut shop = open_on(&MemoryDisk::new(), CUSTOMERS);
        for kind in [ModelKind::Value, ModelKind::Clusters] {
            let model = train(kind, (shop.state(), &shop.journal()), 1, &Progress::default()).unwrap();
            shop.publish_model(end(), "test", model).unwrap();
        }
        assert!(matches!(shop.score_some(end(), None, 50).unwrap(), Round::From(_)));
        shop
    });
    let hand = Arc::new(AtomicI64::new(end().as_millis()));
    let pump = Pump::start(workspace.await.unwrap(), Clock::Manual(hand)).unwrap();
    let owes = || async { pump.handle().call(|workspace, _| Ok(workspace.owes_scores())).await.unwrap() };
    assert!(owes().await);
    Trainer::new(pump.handle()).look().await;
    assert!(!owes().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_trains_by_its_rhythm_and_one_at_a_time() {
    let workspace = tokio::task::spawn_blocking(|| open_on(&MemoryDisk::new(), CUSTOMERS)).await.unwrap();
    let hand = Arc::new(AtomicI64::new(end().as_millis()));
    let pump = Pump::start(workspace, Clock::Manual(hand)).unwrap();
    let trainer = Arc::new(Trainer::new(pump.handle()));
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let keeping = tokio::spawn(trainer.clone().keep(stopping));
    let value = || async { trainer.standing().await.unwrap().remove(0) };
    let mut tries = 0;
    while value().await.model.is_none() {
        assert!(value().await.refused.is_none() && tries < 600, "the first training gave no model");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, second) = tokio::join!(trainer.train(ModelKind::Value), trainer.train(ModelKind::Clusters));
    assert!(matches!(second, Err(NotNow::Busy(_))), "{second:?}");
    assert_eq!(value().await.next, Some(end().plus_millis(7 * DAY_MS)));
    stop.send_replace(true);
    keeping.await.unwrap();
}

#[tokio::test]
async fn where_nobody_has_ordered_a_training_waits_for_no_checkpoint() {
    let pump = Pump::start(crate::shop::on(&MemoryDisk::new()), Clock::System).unwrap();
    let trainer = Trainer::new(pump.handle());
    trainer.train(ModelKind::Value).await.unwrap();
    let refused = trainer.standing().await.unwrap().remove(0).refused.map(|(_, why)| why);
    assert_eq!(refused, Some(Untrained::Thin("nobody has ordered yet".into())));
}

/// A server over the made-up shop.
async fn serve(customers: u32) -> House {
    let disk = MemoryDisk::new();
    let kept = disk.clone();
    let workspace = tokio::task::spawn_blocking(move || open_on(&disk, customers)).await.unwrap();
    House::over(workspace, kept, end(), 64 * 1024 * 1024)
}

async fn wait_for(house: &House, kind: usize, status: &str) -> serde_json::Value {
    for _ in 0..600 {
        let model = house.get("/v1/models").await.json()[kind].clone();
        if model["status"] == status && model["progress"].is_null() {
            return model;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} did not come: {}", status, house.get("/v1/models").await.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_trained_by_the_api_and_told_with_their_figures() {
    let house = serve(CUSTOMERS).await;
    let begun = house.command("/v1/models/value/train", "k", json!({})).await;
    assert_eq!((begun.status.as_u16(), begun.json()[0]["kind"].as_str()), (202, Some("value")));
    let model = wait_for(&house, 0, "trained").await;
    assert_eq!(
        (&model["version"], &model["customers"], &model["why_not"]),
        (&json!(1), &json!(CUSTOMERS), &json!(null))
    );
    assert!(
        model["validation"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["name"] == "orders_foretold" && f["value"].as_f64().unwrap() > 0.0)
    );
    assert_eq!(model["next_training"], end().plus_millis(7 * DAY_MS).to_string());
    let customer = house.get("/v1/customers/u1").await.json();
    assert_eq!(customer["scores"]["value"]["model"], 1);
    assert_eq!(customer["features"]["clv_12m"], customer["scores"]["value"]["clv_12m"]);
    house.command("/v1/models/mood/train", "k", json!({})).await.check(404, "unknown_model");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_trainings_asked_for_at_once_one_begins() {
    let house = serve(CUSTOMERS).await;
    let ask = |key| house.command("/v1/models/clusters/train", key, json!({}));
    let (one, other) = tokio::join!(ask("one"), ask("other"));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409]);
    if one.status.is_success() { &other } else { &one }.check(409, "training_underway");
    assert_eq!(wait_for(&house, 1, "trained").await["version"], 1);
    house.call_off("/v1/models/clusters/train").await.check(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_always_gets_a_list_and_is_told_what_it_is() {
    let house = serve(100).await;
    let before = house.get("/v1/recommendations/trending").await.json();
    assert_eq!((&before["model"], before["items"].as_array().unwrap().len()), (&json!(null), 10), "{before}");
    assert!(before["instead"].as_str().unwrap().contains("no model is trained yet"));
    house.command("/v1/models/recommend/train", "k", json!({})).await;
    wait_for(&house, 2, "trained").await;
    let again = house.get("/v1/recommendations/again?customer=u5&limit=3").await.json();
    assert_eq!((&again["model"]["version"], &again["instead"]), (&json!(1), &json!(null)));
    assert_eq!(again["items"].as_array().unwrap().len(), 3);
    assert_eq!(again["items"][0]["reason"]["code"], "bought_before");
    let stranger = house.get("/v1/recommendations/for-you?customer=nobody").await.json();
    assert!(stranger["instead"].as_str().unwrap().contains("no order of this customer"), "{stranger}");
    let beside = house.get("/v1/recommendations/together?items=p10,p11&seen=p12&limit=4").await.json();
    assert!(beside["items"].as_array().unwrap().iter().all(|i| i["item"] != "p12" && i["item"] != "p10"));
    for kind in
        ["for-you?customer=u5", "similar?item=p10", "together?item=p10", "session?item=p10", "again?customer=u5"]
    {
        let list = house.get(&format!("/v1/recommendations/{kind}")).await.json();
        let reasons: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["reason"]).collect();
        let traced = |reason: &&&serde_json::Value| reason["item"].is_string();
        assert!(reasons.iter().all(|r| !r["text"].as_str().unwrap().is_empty()), "{kind}: {list}");
        assert!(reasons.iter().all(|r| traced(&r) || r["code"] == "in_demand"), "{kind}: {list}");
        // u5 has all of their theme already, so that nothing but demand speaks for what is new to them.
        assert!(kind.starts_with("for-you") || reasons.iter().filter(traced).count() > 2, "{kind}: {list}");
    }
    house.get("/v1/recommendations/for-you").await.check(400, "missing_field");
    house.get("/v1/recommendations/together").await.check(400, "missing_field");
    house.get("/v1/recommendations/nonsense").await.check(400, "bad_parameter");
    house.get("/v1/recommendations/again?customer=a:b:c:%00").await.check(400, "bad_reference");
}
