//! Trains a recommender on a table and writes lists, or measures how fast it trains and serves.

use perennial_learn::recommend::{Columns, Interactions, Task, parse_time};
use std::time::Instant;

struct Table { users: Vec<String>, items: Vec<String>, at: Vec<f64>, baskets: Vec<String> }

fn read(path: &str) -> Table {
    let mut reader = csv::Reader::from_path(path).expect("a readable table");
    let head = reader.headers().expect("a header").clone();
    let find = |name: &str| head.iter().position(|column| column == name);
    let (user, item, at, basket) = (find("user_id").expect("user_id"), find("item_id").expect("item_id"), find("t"), find("basket"));
    let mut table = Table { users: vec![], items: vec![], at: vec![], baskets: vec![] };
    for row in reader.records() {
        let row = row.expect("a row");
        table.users.push(row[user].to_owned());
        table.items.push(row[item].to_owned());
        if let Some(at) = at { table.at.push(parse_time(&row[at]).expect("a time")); }
        if let Some(basket) = basket { table.baskets.push(row[basket].to_owned()); }
    }
    table
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let task = match args[2].as_str() { "for-you" => Task::ForYou, "together" => Task::Together, "again" => Task::Again, _ => Task::Session };
    let start = Instant::now();
    let table = read(&args[1]);
    let data = Interactions::read(&Columns { users: &table.users, items: &table.items, at: &table.at, baskets: &table.baskets }).expect("good");
    eprintln!("read {:.2}s", start.elapsed().as_secs_f64());
    let choice = perennial_learn::recommend::try_choose(&data, task, 2000, 2, &mut |trial| println!("{:6.2}s {:.5} {:?}", start.elapsed().as_secs_f64(), trial.value, trial.settings)).expect("chosen");
    println!("blend {:?} {:.5} of {} questions; {:.1}s", choice.blend, choice.value, choice.questions, start.elapsed().as_secs_f64());
}
