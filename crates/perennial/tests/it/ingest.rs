//! Hard cases of collecting that need more than one sender or more than one life of the process.

use perennial::wire::Circumstances;
use perennial::wire::segment::{Call, parse};
use perennial::workspace::{Receipt, Status};
use serde_json::{Value, json};

use crate::stage::{Shop, enroll};

/// Sends one message under a name of the test's own choice.
fn send(shop: &mut Shop, source: &str, message_id: &str, order: &str) -> Receipt {
    let properties = json!({ "order_id": order, "subtotal": 100 });
    let call: Value = json!({
        "userId": "ana", "event": "Order Completed", "messageId": message_id, "properties": properties,
    });
    let arrivals = parse(Call::Track, call.to_string().as_bytes(), &Circumstances::live(source, shop.now)).unwrap();
    shop.workspace.take(shop.now, arrivals).unwrap().remove(0)
}

fn orders(shop: &mut Shop) -> i64 {
    shop.customer("ana").orders.standing.count
}

/// Ingest 1.
#[test]
fn a_repetition_counts_once_across_batches_and_restarts() {
    for saved in [false, true] {
        let mut shop = Shop::open();
        shop.ask("ana", "e", enroll()).unwrap();
        let first = send(&mut shop, "web", "m", "A");
        for restarted in [false, true] {
            if restarted {
                saved.then(|| shop.workspace.checkpoint().unwrap());
                shop.reopen();
            }
            let again = send(&mut shop, "web", "m", "A");
            assert_eq!((again.status, again.seq), (Status::Duplicate, first.seq));
        }
        assert_eq!(orders(&mut shop), 1);
        shop.verify();
    }
}

/// Ingest 2.
#[test]
fn another_body_under_a_known_id_is_quarantined_after_a_restart_too() {
    let mut shop = Shop::open();
    send(&mut shop, "web", "m", "A");
    shop.reopen();
    assert_eq!(send(&mut shop, "web", "m", "B").status, Status::Quarantined);
    assert_eq!(orders(&mut shop), 1);
}

/// Ingest 3.
#[test]
fn the_same_id_from_two_senders_is_two_messages() {
    let mut shop = Shop::open();
    assert_eq!(send(&mut shop, "web", "m", "A").status, Status::Accepted);
    assert_eq!(send(&mut shop, "till", "m", "B").status, Status::Accepted);
    assert_eq!(orders(&mut shop), 2);
    for (source, order) in [("web", "A"), ("till", "B")] {
        let receipt = shop.workspace.receipt(Some(source), "m").unwrap().unwrap();
        assert_eq!((&*receipt.source, &*receipt.status), (source, "accepted"));
        assert_eq!(send(&mut shop, source, "m", order).status, Status::Duplicate);
    }
    shop.verify();
}
