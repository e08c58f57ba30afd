//! What followed is told in the same words and units wherever it is told.

use perennial::view::CustomerView;
use perennial::wire::segment::Call;
use perennial::workspace::Who;
use perennial_core::orders::ORDERS_MAX;
use serde_json::{Value, json};

use crate::stage::{PROGRAM, Shop, enroll};

fn member_of_a_shop_with_rates() -> Shop {
    let mut shop = Shop::open();
    shop.publish(&format!("{PROGRAM}\nrates: {{ JPY: 0.01 }}\n"));
    shop.ask("ana", "e", enroll()).unwrap();
    shop
}

/// The details of one fact of a message, as its receipt has them.
fn told(shop: &mut Shop, message_id: &str, kind: &str) -> Value {
    let view = shop.workspace.receipt(None, message_id).unwrap().unwrap();
    let fact = view.facts.iter().find(|fact| fact.kind == kind);
    fact.unwrap_or_else(|| panic!("no fact '{kind}' in {:?}", view.facts)).details.clone()
}

fn view(shop: &mut Shop) -> CustomerView {
    let glimpse = shop.workspace.glimpse(shop.now, &"ana".parse().unwrap()).unwrap().unwrap();
    glimpse.view().unwrap()
}

fn send(shop: &mut Shop, event: &str, properties: &Value) -> String {
    let call = json!({ "userId": "ana", "event": event, "properties": properties });
    shop.call(Call::Track, call).message_id.to_string()
}

#[test]
fn receipt_timeline_and_ledger_say_a_posting_in_the_same_words() {
    let mut shop = member_of_a_shop_with_rates();
    let message = send(&mut shop, "Order Completed", &json!({ "order_id": "A", "subtotal": 14.80 }));
    let said = told(&mut shop, &message, "posted");
    let ana: Who = "ana".parse().unwrap();
    let line = shop.workspace.ledger(shop.now, &ana, None, 1).unwrap().unwrap().0.remove(0);
    let line = serde_json::to_value(line).unwrap();
    for field in ["unit", "from", "to", "amount", "lot", "cause"] {
        assert_eq!(said[field], line[field], "{field}");
    }
    let entry = shop.workspace.timeline(shop.now, &ana, None, 1).unwrap().unwrap().remove(0);
    assert!(entry.facts.iter().any(|fact| fact.kind == "posted" && fact.details == said), "{entry:?}");
    let view = view(&mut shop);
    assert_eq!(Value::from(view.points.lots[0].lot.clone()), said["lot"]);
}

#[test]
fn money_of_facts_is_told_as_a_customers_spending_is() {
    let mut shop = member_of_a_shop_with_rates();
    let order = json!({ "order_id": "A", "subtotal": 14.80 });
    let message = send(&mut shop, "Order Completed", &order);
    let view = view(&mut shop);
    let currency = Value::from("EUR");
    let booked = told(&mut shop, &message, "booked");
    assert_eq!((&booked["eligible"], &booked["currency"]), (&view.features["spend"], &currency));
    let year = told(&mut shop, &message, "qualified");
    assert_eq!((&year["spend"], &year["currency"]), (&view.features["spend"], &currency));
}

#[test]
fn an_order_that_names_no_amount_is_told_so() {
    let mut shop = member_of_a_shop_with_rates();
    for (nth, (said, is_told)) in [
        (json!({ "subtota": 100 }), true),
        (json!({ "products": [{ "product_id": "tea", "quantity": 2 }] }), true),
        (json!({ "subtotal": 0 }), false),
        (json!({ "products": [{ "product_id": "tea", "price": 0 }] }), false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut order = said.clone();
        order["order_id"] = json!(format!("N{nth}"));
        let message = send(&mut shop, "Order Completed", &order);
        let view = shop.workspace.receipt(None, &message).unwrap().unwrap();
        let noted = view.facts.iter().any(|fact| fact.kind == "noted" && fact.details == json!("no_amount"));
        assert_eq!(noted, is_told, "{said}: {:?}", view.facts);
    }
}

#[test]
fn an_order_of_nobody_who_is_a_member_says_why_it_earns_nothing() {
    let mut shop = Shop::open();
    let message = send(&mut shop, "Order Completed", &json!({ "order_id": "A", "subtotal": 10 }));
    assert_eq!(told(&mut shop, &message, "noted"), "not_a_member");
    shop.ask("ana", "e", enroll()).unwrap();
    let earlier = json!({ "userId": "ana", "event": "Order Completed", "timestamp": "2020-05-01T12:00:00Z",
        "properties": { "order_id": "B", "subtotal": 10 } });
    let message = shop.call(Call::Track, earlier).message_id.to_string();
    assert_eq!(told(&mut shop, &message, "noted"), "before_joining");
}

#[test]
fn what_comes_back_is_told_in_the_currency_of_its_order_however_old_that_is() {
    let mut shop = member_of_a_shop_with_rates();
    let order = json!({ "order_id": "J", "subtotal": 10_000, "currency": "JPY" });
    let message = send(&mut shop, "Order Completed", &order);
    let booked = told(&mut shop, &message, "booked");
    assert_eq!((&booked["eligible"], &booked["currency"]), (&json!(10_000), &json!("JPY")));
    assert_eq!(told(&mut shop, &message, "qualified")["spend"], 100, "a hundred euros");
    let refund = |id: &str| json!({ "order_id": "J", "refund_id": id, "total": 1_000 });
    let message = send(&mut shop, "Order Refunded", &refund("R1"));
    let first = told(&mut shop, &message, "returned");
    assert_eq!((&first["lines"][0]["net"], &first["currency"]), (&json!(1_000), &json!("JPY")));
    (0..ORDERS_MAX + 2).for_each(|n| shop.order("ana", &format!("later {n}"), 1, 0));
    let message = send(&mut shop, "Order Refunded", &refund("R2"));
    (0..ORDERS_MAX + 2).for_each(|n| shop.order("ana", &format!("later still {n}"), 1, 0));
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    let second = told(&mut shop, &message, "returned");
    assert_eq!((&second["lines"][0]["net"], &second["currency"]), (&json!(1_000), &json!("JPY")));
}
