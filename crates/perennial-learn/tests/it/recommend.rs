//! Recommenders, from a table to a list with reasons.

use perennial_learn::recommend::{
    Columns, Effort, Error, Halt, Interactions, Reason, Recommender, Search, Settings, Task,
};

/// A made-up table: customers like even or odd items; baskets hold an item and its partner.
struct Shop {
    users: Vec<String>,
    items: Vec<String>,
    at: Vec<f64>,
    baskets: Vec<String>,
}

fn shop() -> Shop {
    shop_of(8)
}

/// A shop whose customers turn between so many pairs of items.
fn shop_of(variety: u32) -> Shop {
    let mut shop = Shop { users: vec![], items: vec![], at: vec![], baskets: vec![] };
    for customer in 0..60u32 {
        for visit in 0..8u32 {
            // Steps through 20 items of one taste, each customer from elsewhere; pairs 2k, 2k + 2.
            let first = (customer * 7 + visit % variety * 3) % 10;
            for partner in 0..2 {
                shop.users.push(format!("customer {customer}"));
                shop.items.push(format!("item {}", (first * 2 + partner) * 2 + customer % 2));
                shop.at.push(f64::from(visit * 10 + customer % 10));
                shop.baskets.push(format!("basket {customer} {visit}"));
            }
        }
    }
    shop
}

fn train(shop: &Shop, task: Task, threads: usize) -> Recommender {
    let columns = Columns { users: &shop.users, items: &shop.items, at: &shop.at, baskets: &shop.baskets };
    let data = Interactions::read(&columns).expect("good columns");
    Recommender::train(&data, task, Effort { questions: 200, threads }, &mut |_| ()).expect("a model")
}

/// What a search tries before it is called off after `trials`; without, all of it.
fn tried(task: Task, items_only: bool, trials: usize) -> (Vec<Settings>, Result<usize, Error>) {
    let shop = shop();
    let columns = Columns { users: &shop.users, items: &shop.items, at: &shop.at, baskets: &shop.baskets };
    let data = Interactions::read(&columns).expect("good columns");
    let halt = Halt::default();
    let search = Search {
        effort: Effort { questions: 50, threads: 1 },
        items_only,
        keep: items_only.then_some(40),
        halt: halt.clone(),
    };
    let mut seen = Vec::new();
    let found = Recommender::choose(&data, task, &search, &mut |trial| {
        seen.push(trial.settings);
        if seen.len() == trials {
            halt.call_off();
        }
    });
    (seen, found.map(|choice| choice.blend.len()))
}

#[test]
fn a_search_that_is_called_off_tries_nothing_more() {
    for task in [Task::ForYou, Task::Together, Task::Again, Task::Session] {
        let (seen, found) = tried(task, false, 2);
        assert_eq!((seen.len(), found), (2, Err(Error::CalledOff)), "{task:?}");
    }
}

#[test]
fn a_search_for_methods_that_know_items_only_tries_no_others_and_keeps_few_weights() {
    let carries =
        |how: &Settings| matches!(how, Settings::Crowd { .. } | Settings::NextBasket(_) | Settings::Sessions(_));
    for task in [Task::Again, Task::Session] {
        assert!(tried(task, false, 0).0.iter().any(carries), "{task:?}");
        let (seen, found) = tried(task, true, 0);
        assert!(!seen.iter().any(carries) && found.is_ok_and(|methods| methods > 0), "{task:?}: {seen:?}");
    }
    let (seen, _) = tried(Task::Together, true, 0);
    let weights = |how: &Settings| if let Settings::Baskets(how) = how { Some(how.keep) } else { None };
    assert_eq!(seen.iter().filter_map(weights).max(), Some(40));
}

fn parity(item: &str) -> u32 {
    item.trim_start_matches("item ").parse::<u32>().expect("a number") % 2
}

#[test]
fn a_customer_is_recommended_new_items_of_their_own_taste() {
    let shop = shop();
    let model = train(&shop, Task::ForYou, 1);
    for customer in 0..10u32 {
        let name = format!("customer {customer}");
        let own: Vec<&String> =
            shop.users.iter().zip(&shop.items).filter(|(user, _)| **user == name).map(|(_, item)| item).collect();
        let list = model.for_customer(&name, 3);
        assert_eq!(list.len(), 3);
        for found in &list {
            assert!(!own.contains(&&found.item), "{} is not new", found.item);
            assert_eq!(parity(&found.item), customer % 2);
        }
        if let Reason::GoesWith(item) = &list[0].reason {
            assert!(own.contains(&item));
        }
    }
}

#[test]
fn the_partner_of_a_basket_comes_first_and_says_why() {
    let model = train(&shop(), Task::Together, 1);
    let list = model.after(&["item 12"], 5);
    assert_eq!(list[0].item, "item 14");
    assert_eq!(list[0].reason, Reason::GoesWith("item 12".to_owned()));
    assert!(list.iter().all(|found| found.item != "item 12"));
}

#[test]
fn buying_again_recommends_what_was_bought_before() {
    let shop = shop_of(3);
    let model = train(&shop, Task::Again, 1);
    let list = model.for_customer("customer 4", 5);
    assert!(matches!(list[0].reason, Reason::BoughtBefore(_)));
    assert!(shop.users.iter().zip(&shop.items).any(|(user, item)| user == "customer 4" && *item == list[0].item));
}

#[test]
fn a_session_is_continued() {
    let model = train(&shop(), Task::Session, 1);
    let list = model.after(&["item 8"], 2);
    assert!(list.iter().any(|found| found.item == "item 10"), "{list:?}");
}

#[test]
fn threads_change_nothing() {
    let shop = shop();
    for task in [Task::ForYou, Task::Again] {
        let (one, two) = (train(&shop, task, 1), train(&shop, task, 3));
        assert_eq!(one, two);
        let names: Vec<String> = (0..60).map(|customer| format!("customer {customer}")).collect();
        let all = one.for_customers(&names, 7, 2);
        assert_eq!(all[11], two.for_customer(&names[11], 7));
    }
}

#[test]
fn a_published_model_answers_as_before() {
    let model = train(&shop(), Task::ForYou, 1);
    let text = serde_json::to_string(&model).expect("plain data");
    let again: Recommender = serde_json::from_str(&text).expect("the same shape");
    let names = |model: &Recommender| -> Vec<String> {
        model.for_customer("customer 3", 10).into_iter().map(|found| found.item).collect()
    };
    assert_eq!(names(&again), names(&model));
}

#[test]
fn a_stranger_gets_what_is_popular_and_filters_hold() {
    let model = train(&shop(), Task::ForYou, 1);
    let list = model.for_customer("nobody", 4);
    assert_eq!(list.len(), 4);
    assert!(list.iter().all(|found| found.reason == Reason::Popular));
    let odd = model.for_customer_among("customer 2", 4, &|item| parity(item) == 1);
    assert!(odd.iter().all(|found| parity(&found.item) == 1));
}

#[test]
fn a_table_that_is_too_small_is_refused_with_a_remedy() {
    let one = ["a".to_owned()];
    let columns = Columns { users: &one, items: &one, at: &[], baskets: &[] };
    let data = Interactions::read(&columns).expect("one row is a table");
    for task in [Task::ForYou, Task::Together, Task::Again, Task::Session] {
        let error = Recommender::train(&data, task, Effort::default(), &mut |_| ()).expect_err("nothing to learn from");
        assert_eq!(error, Error::Empty("held-out questions"));
        assert!(error.to_string().contains("more rows"));
    }
    assert_eq!(Interactions::read(&Columns::default()).expect_err("no row"), Error::Empty("interactions"));
}
