//! Trains a recommender on a table and writes a list for every customer or context.
//!
//! `recommend_bench TRAIN.csv for-you|together|again|session OUT.csv [CONTEXT.csv]`: columns
//! `user_id,item_id[,t][,basket]` in, `user_id,item_id,rank` out, as the scorer of the benches reads.
//!
//! `recommend_bench TRAIN.csv speed [FOLDER]`: CPU seconds of one thread to train EASE (whole and pruned)
//! and iALS (32 factors, 15 rounds), and to serve one customer and all of them, each the fastest of
//! three; the lists go to FOLDER as `ease.csv`, `ease-128.csv`, `ease-96.csv` and `ials.csv`.

use perennial_learn::recommend::{
    Choice, Columns, Effort, Halt, Interactions, Recommendation, Recommender, Settings, Task, als::Als, ease::Ease,
    parse_time,
};
use std::{io::Write, time::Instant};

#[derive(Default)]
struct Table {
    users: Vec<String>,
    items: Vec<String>,
    at: Vec<f64>,
    baskets: Vec<String>,
}

fn read(path: &str) -> Table {
    let mut reader = csv::Reader::from_path(path).expect("a readable table");
    let head = reader.headers().expect("a header").clone();
    let find = |name: &str| head.iter().position(|column| column == name);
    let (user, item) = (find("user_id").expect("column user_id"), find("item_id").expect("column item_id"));
    let (at, basket) = (find("t"), find("basket"));
    let mut table = Table::default();
    for row in reader.records() {
        let row = row.expect("a row of the table");
        table.users.push(row[user].to_owned());
        table.items.push(row[item].to_owned());
        table.at.extend(at.map(|at| parse_time(&row[at]).expect("a time")));
        table.baskets.extend(basket.map(|basket| row[basket].to_owned()));
    }
    table
}

/// The contexts in the order of their rows: who asks, and the items, oldest first.
fn contexts(path: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let table = read(path);
    let (mut names, mut items): (Vec<String>, Vec<Vec<String>>) = (Vec::new(), Vec::new());
    for (user, item) in table.users.into_iter().zip(table.items) {
        if names.last() != Some(&user) {
            names.push(user);
            items.push(Vec::new());
        }
        items.last_mut().expect("a context").push(item);
    }
    (names, items)
}

fn write(path: &str, names: &[String], lists: &[Vec<Recommendation>]) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).expect("a writable file"));
    writeln!(out, "user_id,item_id,rank").expect("room on the disk");
    for (name, list) in names.iter().zip(lists) {
        for (place, found) in list.iter().enumerate() {
            writeln!(out, "{name},{},{}", found.item, place + 1).expect("room on the disk");
        }
    }
}

/// CPU seconds that this thread has used.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds: f64 = text.split(' ').next().and_then(|part| part.parse().ok()).expect("a number");
    nanoseconds * 1e-9
}

fn speed(data: &Interactions, folder: Option<&String>) {
    let users: Vec<u32> = (0..data.users.len()).filter_map(|user| u32::try_from(user).ok()).collect();
    let names: Vec<String> = users.iter().map(|&user| data.users.name(user).to_owned()).collect();
    let ease = |keep| Settings::Ease(Ease { keep, ..Ease::default() });
    let methods = [
        ("ease", ease(usize::MAX)),
        ("ease-96", ease(96)),
        ("ease-84", ease(84)),
        ("ease-72", ease(72)),
        ("ials", Settings::Als(Als::default())),
    ];
    for (name, settings) in methods {
        let (mut fit, mut bulk, mut one) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        let model = Recommender::fit(data, Task::ForYou, Choice::only(settings), 1, &Halt::default()).expect("a model");
        for _ in 0..3 {
            let start = cpu();
            Recommender::fit(data, Task::ForYou, Choice::only(settings), 1, &Halt::default()).expect("a model");
            let trained = cpu();
            model.rank_customers(&users, 20, 1);
            let served = cpu();
            users.iter().for_each(|&user| drop(model.rank_customers(&[user], 20, 1)));
            let end = cpu();
            (fit, bulk, one) = (fit.min(trained - start), bulk.min(served - trained), one.min(end - served));
        }
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let all = users.len() as f64;
        println!(
            "method={name} fit_cpu_s={fit:.3} one_customer_ms={:.4} customers_per_cpu_s={:.0}",
            one / all * 1e3,
            all / bulk
        );
        if let Some(folder) = folder {
            write(&format!("{folder}/{name}.csv"), &names, &model.for_customers(&names, 20, 1));
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let task = match args[2].as_str() {
        "for-you" | "speed" => Task::ForYou,
        "together" => Task::Together,
        "again" => Task::Again,
        "session" => Task::Session,
        other => panic!("unknown task {other}"),
    };
    let start = Instant::now();
    let seconds = || start.elapsed().as_secs_f64();
    let table = read(&args[1]);
    let columns = Columns { users: &table.users, items: &table.items, at: &table.at, baskets: &table.baskets };
    let data = Interactions::read(&columns).expect("good columns");
    println!("{:6.2} s read {} rows", seconds(), data.len());
    if args[2] == "speed" {
        return speed(&data, args.get(3));
    }
    let effort = Effort { threads: 2, ..Effort::default() };
    let model = Recommender::train(&data, task, effort, &mut |trial| {
        println!("{:6.2} s {:.5} {:?}", seconds(), trial.value, trial.settings);
    })
    .expect("a trained model");
    println!("{:6.2} s blend {:.5} on {} questions", seconds(), model.choice.value, model.choice.questions);
    for (settings, weight) in &model.choice.blend {
        println!("    {weight:.3} {settings:?}");
    }
    if let Some(path) = args.get(4) {
        let (names, items) = contexts(path);
        write(&args[3], &names, &model.after_each(&items, 20, 2));
    } else {
        let names: Vec<String> = (0..data.users.len())
            .filter_map(|user| u32::try_from(user).ok())
            .map(|user| data.users.name(user).to_owned())
            .collect();
        write(&args[3], &names, &model.for_customers(&names, 20, 2));
    }
    println!("{:6.2} s done", seconds());
}
