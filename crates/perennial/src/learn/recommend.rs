//! `learn recommend`: lists for customers, baskets and sessions, each entry with its reason.
//!
//! The recommender tunes itself on a part of the history that it hides from itself, and says how good it was
//! there. Without contexts, `together` lists for every item what is bought with it. Absent on purpose: knobs.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use perennial_learn::recommend::{Columns, Effort, Interactions, Reason, Recommendation, Recommender, Task};

use super::frame::{self, Frame};
use super::orders::{self, Named, Roles};
use super::report::{Bar, Figure, Plot, Report};
use super::{Common, finish, working};

/// Purchases in, lists out.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Who touched what: customer and item, with a time, a basket or session where known.
    #[arg(long, alias = "input")]
    train: PathBuf,
    /// What is asked.
    #[arg(long)]
    task: Asked,
    /// Items per list.
    #[arg(long, default_value_t = 20)]
    top: usize,
    /// The lists: who, item, rank and why.
    #[arg(long)]
    out: PathBuf,
    /// Baskets or sessions to complete: who asks and the items so far, oldest first.
    #[arg(long)]
    context: Option<PathBuf>,
    /// A readable page with figures.
    #[arg(long)]
    report: Option<PathBuf>,
    #[command(flatten)]
    columns: Named,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Asked {
    /// New items for each customer.
    ForYou,
    /// What goes into a basket with the items shown.
    Together,
    /// What each customer buys next, earlier purchases included.
    Again,
    /// The next item of a running session.
    Session,
}

impl Asked {
    fn task(self) -> Task {
        match self {
            Self::ForYou => Task::ForYou,
            Self::Together => Task::Together,
            Self::Again => Task::Again,
            Self::Session => Task::Session,
        }
    }
}

struct Rows {
    users: Vec<String>,
    items: Vec<String>,
    at: Vec<f64>,
    baskets: Vec<String>,
    /// What items are called, where a column says so.
    titles: HashMap<String, String>,
    notes: Vec<String>,
}

/// Baskets larger than this say little about what goes together, and much about time.
const LARGE_BASKET: usize = 200;

/// Reads, trains, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    if arguments.top == 0 {
        return Err("--top 0 asks for empty lists; ask for 1 or more".into());
    }
    if arguments.task == Asked::Session && arguments.context.is_none() {
        return Err("--task session completes running sessions; name their file with --context".into());
    }
    let mut frame = Frame::read(&arguments.train, common.quiet)?;
    let rows = read(&mut frame, &arguments.columns, arguments.task)?;
    let told = |why: perennial_learn::recommend::Error| frame.wrong(&why.to_string());
    let columns = Columns { users: &rows.users, items: &rows.items, at: &rows.at, baskets: &rows.baskets };
    let data = Interactions::read(&columns).map_err(told)?;
    if data.items.len() < 2 {
        return Err(frame.wrong("there is only one item; a recommendation needs a choice of two at least"));
    }
    let bar = working("trying methods", common.quiet);
    let effort = Effort { threads: common.threads.max(1), ..Effort::default() };
    let model = Recommender::train(&data, arguments.task.task(), effort, &mut |trial| {
        bar.set_message("trying methods");
        tracing::debug!(method = trial.settings.name(), value = trial.value, "tried");
    })
    .map_err(told)?;
    let (names, lists) = answer(arguments, common, &model, &rows)?;
    bar.finish_and_clear();
    let pairs = by_item(arguments).then(|| Pairs::count(&rows, &names, &lists));
    write(arguments, &rows, &names, &lists, pairs.as_ref())?;
    let report = tell(arguments, &frame, &rows, &model, &names, &lists, pairs.as_ref());
    finish(&report, &arguments.out, arguments.report.as_deref())
}

/// Whether lists are per item of the shop.
fn by_item(arguments: &Arguments) -> bool {
    arguments.task == Asked::Together && arguments.context.is_none()
}

fn read(frame: &mut Frame, named: &Named, task: Asked) -> Result<Rows, String> {
    let mut roles = Roles::find(frame, named)?;
    let own = |name: &str| frame.header.iter().position(|header| header == name);
    // The shape that scoring scripts write.
    roles.customer = named.customer.is_none().then(|| own("user_id")).flatten().or(roles.customer);
    roles.item = named.item.is_none().then(|| own("item_id")).flatten().or(roles.item);
    roles.order = named.order.is_none().then(|| own("basket")).flatten().or(roles.order);
    roles.date = named.date.is_none().then(|| own("t")).flatten().or(roles.date);
    if matches!(task, Asked::Together | Asked::Session) && roles.order.is_some() && roles.customer.is_none() {
        roles.customer = roles.order;
    }
    let mut notes = vec![roles.told(frame)];
    let user = Roles::need(frame, roles.customer, "customer", "--customer")?;
    let item = Roles::need(frame, roles.item, "item", "--item")?;
    if user == item {
        return Err(frame.wrong("customer and item are the same column; name one with --customer or --item"));
    }
    let basket = if task == Asked::Together && roles.order.is_none() {
        notes.push("No column of orders (see --order): what one customer bought on one day counts as a basket.".into());
        None
    } else {
        roles.order
    };
    notes.extend(orders::tidy(frame, &roles, named)?);
    let known: Vec<bool> = frame.columns[item].iter().map(|text| !text.is_empty()).collect();
    let lost = known.iter().filter(|k| !**k).count();
    if lost > 0 {
        notes.push(format!("{lost} rows without an item are left out."));
        frame.keep(&known);
    }
    if frame.rows() == 0 {
        return Err(frame.wrong("no row names an item; is the right column the item? see --item"));
    }
    let at = match roles.date {
        Some(at) => {
            let (days, how) = orders::dates(frame, at)?;
            notes.extend(how);
            days
        }
        None => Vec::new(),
    };
    let users = frame.columns[user].clone();
    let baskets = match basket {
        Some(at) => frame.columns[at].clone(),
        None if task == Asked::Together && !at.is_empty() => {
            users.iter().zip(&at).map(|(user, at)| format!("{user}\t{:.0}", at.floor())).collect()
        }
        None => Vec::new(),
    };
    let title = frame.named_or_usual(None, &["description", "productname", "itemname", "title", "name"])?;
    let titles = title.filter(|at| *at != item).map_or_else(HashMap::new, |at| {
        frame.columns[item]
            .iter()
            .cloned()
            .zip(frame.columns[at].iter().cloned())
            .filter(|(_, t)| !t.is_empty())
            .collect()
    });
    Ok(Rows { users, items: frame.columns[item].clone(), at, baskets, titles, notes })
}

type Lists = (Vec<String>, Vec<Vec<Recommendation>>);

fn answer(arguments: &Arguments, common: &Common, model: &Recommender, rows: &Rows) -> Result<Lists, String> {
    let threads = common.threads.max(1);
    if let Some(path) = &arguments.context {
        let (names, contexts) = contexts(path, arguments, common)?;
        let lists = model.after_each(&contexts, arguments.top, threads);
        return Ok((names, lists));
    }
    let all = |names: &[String]| {
        let mut seen = std::collections::HashSet::new();
        names.iter().filter(|name| seen.insert(name.as_str())).cloned().collect::<Vec<String>>()
    };
    if by_item(arguments) {
        let items = all(&rows.items);
        let contexts: Vec<Vec<&String>> = items.iter().map(|item| vec![item]).collect();
        let lists = model.after_each(&contexts, arguments.top, threads);
        return Ok((items, lists));
    }
    let users = all(&rows.users);
    let lists = model.for_customers(&users, arguments.top, threads);
    Ok((users, lists))
}

/// Who asks, and the items so far; rows of one asker need not stand together.
fn contexts(
    path: &std::path::Path,
    arguments: &Arguments,
    common: &Common,
) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
    let frame = Frame::read(path, common.quiet)?;
    let named = &arguments.columns;
    let user = frame.named_or_usual(
        named.customer.as_deref(),
        &["userid", "caseid", "basket", "basketid", "sessionid", "session", "orderid", "customerid"],
    )?;
    let item =
        frame.named_or_usual(named.item.as_deref(), &["itemid", "item", "productid", "sku", "stockcode", "product"])?;
    let user = Roles::need(&frame, user, "basket or session", "--customer")?;
    let item = Roles::need(&frame, item, "item", "--item")?;
    let mut place: HashMap<&str, usize> = HashMap::new();
    let (mut names, mut lists): (Vec<String>, Vec<Vec<String>>) = (Vec::new(), Vec::new());
    for (who, what) in frame.columns[user].iter().zip(&frame.columns[item]) {
        let at = *place.entry(who).or_insert_with(|| {
            names.push(who.clone());
            lists.push(Vec::new());
            lists.len() - 1
        });
        lists[at].push(what.clone());
    }
    Ok((names, lists))
}

/// In how many baskets items and pairs of items are.
struct Pairs {
    single: HashMap<String, usize>,
    both: HashMap<(String, String), usize>,
}

impl Pairs {
    fn count(rows: &Rows, names: &[String], lists: &[Vec<Recommendation>]) -> Self {
        let owners = if rows.baskets.is_empty() { &rows.users } else { &rows.baskets };
        let mut baskets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        owners.iter().zip(&rows.items).for_each(|(owner, item)| baskets.entry(owner).or_default().push(item));
        let mut both: HashMap<(&str, &str), usize> = HashMap::new();
        for (name, list) in names.iter().zip(lists) {
            for found in list {
                both.insert((name, &found.item), 0);
            }
        }
        let mut single: HashMap<String, usize> = HashMap::new();
        for items in baskets.values_mut() {
            items.sort_unstable();
            items.dedup();
            items.iter().for_each(|item| *single.entry((*item).to_owned()).or_default() += 1);
            if items.len() > LARGE_BASKET {
                continue;
            }
            for a in items.iter() {
                for b in items.iter() {
                    if let Some(count) = both.get_mut(&(*a, *b)) {
                        *count += 1;
                    }
                }
            }
        }
        let both = both.into_iter().map(|((a, b), n)| ((a.to_owned(), b.to_owned()), n)).collect();
        Self { single, both }
    }

    fn of(&self, a: &str, b: &str) -> usize {
        self.both.get(&(a.to_owned(), b.to_owned())).copied().unwrap_or(0)
    }
}

fn because(reason: &Reason, rows: &Rows) -> String {
    match reason {
        Reason::BoughtBefore(times) => format!("bought {times} times before"),
        Reason::GoesWith(item) => format!("goes with {}", title(item, rows)),
        Reason::SimilarCustomers => "similar customers took it".into(),
        Reason::Popular => "many take it".into(),
    }
}

fn title<'a>(item: &'a str, rows: &'a Rows) -> &'a str {
    rows.titles.get(item).map_or(item, String::as_str)
}

fn write(
    arguments: &Arguments,
    rows: &Rows,
    names: &[String],
    lists: &[Vec<Recommendation>],
    pairs: Option<&Pairs>,
) -> Result<(), String> {
    let each = names
        .iter()
        .zip(lists)
        .flat_map(|(name, list)| list.iter().enumerate().map(move |(at, found)| (name, at, found)));
    match pairs {
        Some(pairs) => frame::write(
            &arguments.out,
            &["item_id", "goes_with", "rank", "baskets_with_both", "item_title", "goes_with_title"],
            each.map(|(name, at, found)| {
                let both = pairs.of(name, &found.item).to_string();
                [
                    name.clone(),
                    found.item.clone(),
                    (at + 1).to_string(),
                    both,
                    title(name, rows).into(),
                    title(&found.item, rows).into(),
                ]
            }),
        ),
        None => frame::write(
            &arguments.out,
            &["user_id", "item_id", "rank", "reason"],
            each.map(|(name, at, found)| {
                [name.clone(), found.item.clone(), (at + 1).to_string(), because(&found.reason, rows)]
            }),
        ),
    }
}

fn tell(
    arguments: &Arguments,
    frame: &Frame,
    rows: &Rows,
    model: &Recommender,
    names: &[String],
    lists: &[Vec<Recommendation>],
    pairs: Option<&Pairs>,
) -> Report {
    let depth = if arguments.task == Asked::Session { 20 } else { 10 };
    let mut notes = vec![format!(
        "{}: {} rows, {} customers, {} items.",
        frame.name(),
        rows.users.len(),
        model.users.len(),
        model.items.len()
    )];
    notes.extend(rows.notes.iter().cloned());
    let blend: Vec<String> =
        model.choice.blend.iter().map(|(s, w)| format!("{} ({:.0} %)", s.name(), 100.0 * w)).collect();
    notes.push(format!("Chosen out of {} trials: {}.", model.choice.trials.len(), blend.join(", ")));
    notes.push(format!(
        "Validation: NDCG@{depth} {:.4} on {} questions hidden from training (1 is perfect, 0 finds nothing).",
        model.choice.value, model.choice.questions
    ));
    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    for trial in &model.choice.trials {
        let value = best.entry(trial.settings.name()).or_insert(0.0);
        *value = value.max(trial.value);
    }
    let mut best: Vec<(&str, f64)> = best.into_iter().collect();
    best.sort_by(|a, b| b.1.total_cmp(&a.1));
    let leader = best.first().map_or("nothing", |b| b.0);
    let trials = Figure {
        title: format!("Alone, {leader} does best on hidden purchases"),
        note: format!("NDCG@{depth} of each method's best settings on {} hidden questions.", model.choice.questions),
        plot: Plot::Bars(
            best.iter().map(|(name, value)| Bar { label: (*name).into(), value: *value, interval: None }).collect(),
        ),
        head: ["method", "NDCG"].map(String::from).to_vec(),
        rows: best.iter().map(|(name, value)| vec![(*name).to_owned(), format!("{value:.4}")]).collect(),
    };
    let finding = match pairs {
        Some(_) => format!("What is bought together, for each of {} items.", names.len()),
        None => format!("Lists of {} items for {} customers or contexts.", arguments.top, names.len()),
    };
    let examples = match pairs {
        Some(pairs) => together(rows, names, lists, pairs),
        None => examples(rows, names, lists),
    };
    Report { finding, notes, figures: vec![examples, trials] }
}

/// The strongest pair of each of the items bought most often.
fn together(rows: &Rows, names: &[String], lists: &[Vec<Recommendation>], pairs: &Pairs) -> Figure {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(pairs.single.get(&names[i]).copied().unwrap_or(0)));
    let rows_of: Vec<Vec<String>> = order
        .iter()
        .take(25)
        .filter_map(|&i| {
            let list: Vec<&str> = lists[i].iter().take(3).map(|found| title(&found.item, rows)).collect();
            let first = lists[i].first()?;
            Some(vec![
                title(&names[i], rows).to_owned(),
                pairs.single.get(&names[i]).copied().unwrap_or(0).to_string(),
                list.join("; "),
                pairs.of(&names[i], &first.item).to_string(),
            ])
        })
        .collect();
    Figure {
        title: "Bought together, for the items bought most".into(),
        note: "An item, the baskets it is in, the three that go with it best, and the baskets with the first of them."
            .into(),
        plot: Plot::None,
        head: ["item", "baskets", "goes with", "baskets with both"].map(String::from).to_vec(),
        rows: rows_of,
    }
}

fn examples(rows: &Rows, names: &[String], lists: &[Vec<Recommendation>]) -> Figure {
    let step = names.len().div_ceil(10).max(1);
    let some = names.iter().zip(lists).step_by(step).flat_map(|(name, list)| {
        list.iter()
            .take(3)
            .map(|found| vec![name.clone(), title(&found.item, rows).to_owned(), because(&found.reason, rows)])
    });
    Figure {
        title: "Some lists, with reasons".into(),
        note: "The first three of a list, for customers spread over the table.".into(),
        plot: Plot::None,
        head: ["who", "item", "why"].map(String::from).to_vec(),
        rows: some.collect(),
    }
}
