//! The pump: order, time and a graceful end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use perennial::pump::{Clock, Pump, Trouble};
use perennial::wire::segment::{Call, parse};
use perennial::wire::{Arrival, Circumstances};
use perennial::workspace::{Glimpse, Status, Who};
use perennial_core::event::Product;
use perennial_core::input::{Asked, Command};
use perennial_core::time::{Span, Timestamp};

use crate::stage::{PROGRAM, Shop, enroll};

fn messages(names: &[&str]) -> Vec<Arrival> {
    let items: Vec<String> =
        names.iter().map(|m| format!(r#"{{"type":"identify","userId":"ana","messageId":"{m}"}}"#)).collect();
    let body = format!(r#"{{"batch":[{}]}}"#, items.join(","));
    parse(Call::Batch, body.as_bytes(), &Circumstances::live("web", Timestamp::EPOCH)).unwrap()
}

#[tokio::test]
async fn time_never_goes_back() {
    let hand = Arc::new(AtomicI64::new(10_000));
    let pump = Pump::start(crate::shop::workspace(), Clock::Manual(hand.clone())).unwrap();
    let handle = pump.handle();
    assert_eq!(handle.now().as_millis(), 10_000);
    hand.store(4_000, Ordering::Relaxed);
    assert_eq!(handle.now().as_millis(), 10_000);
    assert_eq!(handle.call(|_, now| Ok(now.as_millis())).await, Ok(10_000));
    hand.store(11_000, Ordering::Relaxed);
    assert_eq!(handle.now().as_millis(), 11_000);
}

#[tokio::test]
async fn each_sender_gets_the_receipts_of_its_own_messages() {
    let pump = Pump::start(crate::shop::workspace(), Clock::System).unwrap();
    let handle = pump.handle();
    let senders: Vec<_> = (0..20)
        .map(|i| {
            let handle = handle.clone();
            tokio::spawn(async move {
                let (a, b) = (format!("a{i}"), format!("b{i}"));
                let receipts = handle.submit(messages(&[&a, &b, &a]), 100).await.unwrap();
                let ids: Vec<_> = receipts.iter().map(|r| r.message_id.to_string()).collect();
                assert_eq!(ids, [a.clone(), b, a]);
                assert_eq!(receipts[2].status, Status::Duplicate);
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_is_finished_before_the_end() {
    let pump = Pump::start(crate::shop::workspace(), Clock::System).unwrap();
    let handle = pump.handle();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let blocking = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.call(move |_, _| Ok(gate.recv().is_ok())).await })
    };
    tokio::task::yield_now().await;
    let waiting = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.submit(messages(&["m"]), 10).await })
    };
    tokio::task::yield_now().await;
    open.send(()).unwrap();
    let mut workspace = tokio::task::spawn_blocking(move || pump.stop()).await.unwrap().unwrap();
    assert!(blocking.await.unwrap().unwrap());
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    assert!(workspace.receipt(None, "m").unwrap().is_some());
    let late = handle.submit(messages(&["n"]), 10).await;
    assert!(matches!(late, Err(Trouble::Unavailable(_))), "{late:?}");
    assert!(!handle.healthy());
}

#[tokio::test]
async fn a_listener_hears_names_and_no_persons() {
    let pump = Pump::start(crate::shop::workspace(), Clock::System).unwrap();
    let handle = pump.handle();
    let mut notices = handle.listen();
    handle.submit(messages(&["m"]), 10).await.unwrap();
    let notice = serde_json::to_string(&notices.recv().await.unwrap()).unwrap();
    assert!(notice.contains(r#""name":"identify","status":"accepted""#) && !notice.contains("ana"), "{notice}");
    let asked = Asked::new(handle.now(), "test", "ana".parse().unwrap(), None, enroll());
    let answer = handle.ask("enroll", asked).await.unwrap();
    let told = notices.recv().await.unwrap();
    assert_eq!((told.kind, told.customer), ("command", answer.customer.map(|id| id.to_string())));
}

#[tokio::test]
async fn a_listener_hears_what_time_and_publications_bring() {
    let hand = Arc::new(AtomicI64::new(10_000));
    let pump = Pump::start(crate::shop::workspace(), Clock::Manual(hand.clone())).unwrap();
    let handle = pump.handle();
    let ask = async |key: &str, command| {
        let asked = Asked::new(handle.now(), "test", "ana".parse().unwrap(), Some(key.into()), command);
        handle.ask("x", asked).await.unwrap()
    };
    ask("enroll", enroll()).await;
    ask("gift", Command::Adjust { points: 5, reason: "gift".into(), by: "test".into() }).await;
    let hold = Command::Hold { points: 5, length: Span { months: 0, millis: 1_000 }, hold: "till".into() };
    let mut notices = handle.listen();
    let mut heard = async || {
        let notice = tokio::time::timeout(Duration::from_secs(5), notices.recv()).await.expect("news in time").unwrap();
        (notice.kind, notice.name, notice.status)
    };
    ask("hold", hold.clone()).await;
    assert_eq!(heard().await, ("command", "x".into(), "accepted"));
    ask("hold", hold).await;
    assert_eq!(heard().await, ("command", "x".into(), "duplicate"));
    hand.store(20_000, Ordering::Relaxed);
    assert_eq!(heard().await, ("timer", "hold_lapse".into(), "accepted"));
    let shelf = vec![Product { product_id: "cup".into(), ..Product::default() }];
    handle.call(move |workspace, now| Ok(workspace.learn_products(now, "test", shelf).is_ok())).await.unwrap();
    assert_eq!(heard().await, ("publication", "catalogue".into(), "accepted"));
}

#[test]
fn a_glance_shows_what_a_question_is_answered_or_nothing() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.order("ana", "A1", 300, 2);
    let ana = "ana".parse().unwrap();
    let by_id = Who::Id(shop.customer("ana").id);
    let view = |glimpse: Option<Glimpse>| glimpse.and_then(Glimpse::view).map(|v| serde_json::to_value(v).unwrap());
    let asked = |shop: &mut Shop, who: &Who| view(shop.workspace.glimpse(shop.now, who).unwrap());
    for who in [&ana, &by_id] {
        let glance = view(shop.workspace.glance(shop.now, who));
        assert!(glance.is_some());
        assert_eq!(glance, asked(&mut shop, who));
    }
    // Points are due: somebody has to wake her first.
    shop.now = shop.now.plus_millis(20 * 86_400_000);
    assert_eq!(view(shop.workspace.glance(shop.now, &ana)), None);
    let awake = asked(&mut shop, &ana);
    assert_eq!(awake.as_ref().map(|v| &v["points"]["pending"]), Some(&0.into()));
    assert_eq!(view(shop.workspace.glance(shop.now, &ana)), awake);
    // Another programme: she has to follow it first. Nor does memory know her after a restart.
    shop.publish(&PROGRAM.replace("points: 100", "points: 90"));
    assert_eq!(view(shop.workspace.glance(shop.now, &ana)), None);
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    assert_eq!(view(shop.workspace.glance(shop.now, &ana)), None);
    assert!(asked(&mut shop, &ana).is_some());
    assert_eq!(view(shop.workspace.glance(shop.now, &"nobody".parse().unwrap())), None);
}
