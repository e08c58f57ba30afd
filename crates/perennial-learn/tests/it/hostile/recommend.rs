//! Recommenders: any table of interactions, for every task.

use perennial_learn::recommend::{Columns, Effort, Interactions, Recommender, Task, parse_time};
use proptest::prelude::*;

use super::{cases, finite, number, sound};

fn rows() -> impl Strategy<Value = Vec<(u8, u8, f64, u8)>> {
    let at = prop_oneof![8 => 0.0..400.0f64, 1 => number()];
    let wild = prop::collection::vec((0..6u8, 0..9u8, at, 0..12u8), 0..60);
    // One customer, one item, or one and the same row.
    let narrow = (0..3u8, 0..3u8, 1..20u8)
        .prop_map(|(users, items, rows)| (0..rows).map(|row| (row % (users + 1), row % (items + 1), 1.0, 0)).collect());
    prop_oneof![3 => wild, 1 => narrow]
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn lists_are_made_or_refused(rows in rows(), timed: bool, basketed: bool, task in 0..4usize, top in 0..5usize) {
        let task = [Task::ForYou, Task::Together, Task::Again, Task::Session][task];
        // Names that collide but for case and blanks stay apart; the empty name is a name.
        let user = |n: u8| ["", "a", "A", "a ", "ä", "\u{0}"][usize::from(n) % 6].to_owned();
        let users: Vec<String> = rows.iter().map(|row| user(row.0)).collect();
        let items: Vec<String> = rows.iter().map(|row| format!("i{}", row.1)).collect();
        let at: Vec<f64> = rows.iter().filter(|_| timed).map(|row| row.2).collect();
        let baskets: Vec<String> = rows.iter().filter(|_| basketed).map(|row| row.3.to_string()).collect();
        let columns = Columns { users: &users, items: &items, at: &at, baskets: &baskets };
        let Ok(data) = Interactions::read(&columns) else { return Ok(()) };
        let effort = Effort { questions: 20, threads: 1 };
        if let Some(model) = sound("recommender", || Recommender::train(&data, task, effort, &mut |_| ())) {
            let mut lists = model.for_customers(&users, top, 1);
            lists.push(model.for_customer("nobody", top));
            lists.push(model.after(&["i1", "i1", "unknown"], top));
            lists.push(model.after::<&str>(&[], top));
            lists.push(model.after_history(&[("i2", 1e300), ("i1", -1e300)], top, &|_| true));
            finite("lists", &lists);
            for list in &lists {
                let mut names: Vec<&str> = list.iter().map(|found| found.item.as_str()).collect();
                prop_assert!(names.len() <= top);
                names.sort_unstable();
                prop_assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", list);
                prop_assert!(list.windows(2).all(|pair| pair[0].score >= pair[1].score), "{:?}", list);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_time_is_read_or_not(text in "[-+0-9TZ:. /eE]{0,24}|\\PC{0,12}") {
        finite("time", &parse_time(&text));
    }
}
