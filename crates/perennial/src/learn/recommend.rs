//! `learn recommend`: lists for customers, baskets and sessions, each entry with its reason.
//!
//! The recommender tunes itself on a part of the history that it hides from itself, and says how good it was
//! there. Without contexts, `together` lists for every item what is bought with it. Absent on purpose: knobs.

mod pairs;
mod tell;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use perennial_learn::recommend::{
    Columns, Effort, Error, Halt, Interactions, Reason, Recommendation, Recommender, Search, Task,
};

use super::frame::Frame;
use super::orders::{Named, Reading, Roles};
use super::page::Page;
use super::words::many;
use super::{Common, Outputs, dates, progress};
use pairs::Pairs;

/// Purchases in, lists out.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  perennial learn recommend --train orders.csv --task together --out together.csv --report together.html\n  \
perennial learn recommend --train orders.csv --task for-you --out for-you.csv\n  \
perennial learn recommend --train orders.csv --task together --context carts.csv --out additions.csv\n\n\
Without --context, together lists for every item of the shop what goes with it; the other tasks list items\n\
for every customer. --context holds baskets or sessions to complete: columns user_id and item_id."
)]
pub struct Arguments {
    /// Who bought what: customer and item, with a time, a basket or session where known.
    #[arg(long, alias = "input", value_name = "ORDERS.csv")]
    train: PathBuf,
    /// What is asked.
    #[arg(long)]
    task: Asked,
    /// Items per list.
    #[arg(long, default_value_t = 20, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1000))]
    top: u16,
    #[command(flatten)]
    outputs: Outputs,
    /// Baskets or sessions to complete: who asks and the items so far, oldest first.
    #[arg(long, value_name = "FILE.csv")]
    context: Option<PathBuf>,
    /// Items to leave out, such as postage.
    #[arg(long, value_delimiter = ',', value_name = "ITEMS")]
    without: Vec<String>,
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

    /// Roughly how many settings are tried, for an estimate of the time.
    fn trials(self) -> u64 {
        match self {
            Self::ForYou => 50,
            Self::Together => 45,
            Self::Again => 35,
            Self::Session => 40,
        }
    }

    /// The length of lists by which methods are compared.
    fn depth(self) -> usize {
        if self == Self::Session { 20 } else { 10 }
    }
}

/// Purchases as columns of one length.
pub(super) struct Bought {
    users: Vec<String>,
    items: Vec<String>,
    at: Vec<f64>,
    baskets: Vec<String>,
    /// What items are called, where a column says so.
    titles: HashMap<String, String>,
    pub(super) reading: Reading,
    /// Whether rows are views of running sessions and not purchases.
    views: bool,
}

/// Reads, trains, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    if arguments.task == Asked::Session && arguments.context.is_none() {
        return Err("--task session completes running sessions; name their file with --context".into());
    }
    let inputs: Vec<&Path> =
        std::iter::once(&arguments.train).chain(&arguments.context).map(PathBuf::as_path).collect();
    let drafts = arguments.outputs.begin(&inputs)?;
    let frame = Frame::read(&arguments.train, common.quiet)?;
    let roles = Roles::find(&frame, &arguments.columns)?;
    let bought = Bought::read(&frame, roles, &arguments.columns, arguments.task, &arguments.without)?;
    let contexts = arguments.context.as_deref().map(|path| contexts(path, &arguments.columns, common)).transpose()?;
    let strange = contexts.as_ref().and_then(|(_, lists)| bought.strange(lists));
    let lists = Lists::make(&frame, &bought, arguments.task, usize::from(arguments.top), contexts, common)?;
    let (header, rows) = lists.table(&bought);
    drafts.csv(&arguments.outputs.out, header, rows)?;
    let mut chapter = lists.chapter(&bought);
    chapter.how.extend(bought.reading.sentences());
    chapter.how.extend(strange);
    let page = Page {
        kind: "Recommendations",
        finding: chapter.finding.clone(),
        source: format!(
            "{}: {}, {}, {}",
            frame.name(),
            many(bought.reading.rows, "row"),
            many(lists.model.users.len(), if arguments.task == Asked::Session { "session" } else { "customer" }),
            many(lists.model.items.len(), "item")
        ),
        chapters: vec![chapter],
        ..Page::default()
    };
    let row =
        if lists.pairs.is_some() { "an item and what goes with it" } else { "one item of a list, with its reason" };
    arguments.outputs.finish(drafts, page, row)
}

impl Bought {
    /// Items of contexts that nobody took in the table: lists know nothing of them.
    fn strange(&self, contexts: &[Vec<String>]) -> Option<String> {
        let known: HashSet<&str> = self.items.iter().map(String::as_str).collect();
        let all: BTreeSet<&str> = contexts.iter().flatten().map(String::as_str).collect();
        let mut strange = all.iter().filter(|item| !known.contains(**item)).peekable();
        let first = (*strange.peek()?).to_owned();
        let (strange, all) = (strange.count(), many(all.len(), "item"));
        Some(format!(
            "Of {all} in the contexts, {strange} do not occur in the table (such as `{first}`) and say nothing."
        ))
    }

    /// Reads purchases. Returns are left out, and items named in `without`.
    pub(super) fn read(
        frame: &Frame,
        mut roles: Roles,
        named: &Named,
        task: Asked,
        without: &[String],
    ) -> Result<Self, String> {
        roles.prefer_scorer(frame, named);
        if matches!(task, Asked::Together | Asked::Session) && roles.order.is_some() && roles.customer.is_none() {
            roles.customer = roles.order;
        }
        let user = Roles::need(frame, roles.customer, "customer", "--customer")?;
        let item = Roles::need(frame, roles.item, "item", "--item")?;
        if user == item {
            return Err(frame.wrong("customer and item are the same column; name one with --customer or --item"));
        }
        let (mut reading, mut keep) = Reading::begin(frame, &roles, named);
        let items = &frame.columns[item];
        reading.leave_out(frame, &mut keep, "without an item", |row| items[row].is_empty());
        let returned = roles.returns(frame)?;
        reading.leave_out(frame, &mut keep, "taking something back", |row| returned[row]);
        let unwanted: HashSet<&String> = without.iter().collect();
        reading.leave_out(frame, &mut keep, "of items named by --without", |row| unwanted.contains(&items[row]));
        let mut at = Vec::new();
        if let Some(date) = roles.date {
            let (days, how) = dates::column(frame, date, named.day_first)?;
            reading.assumed.extend(how);
            reading.leave_out(frame, &mut keep, "without a date", |row| days[row].is_nan());
            at = (0..keep.len()).filter(|&row| keep[row]).map(|row| days[row]).collect();
        }
        let rows: Vec<usize> = (0..keep.len()).filter(|&row| keep[row]).collect();
        if rows.is_empty() {
            return Err(frame
                .wrong("no row has a customer and an item; are these the right columns? see --customer and --item"));
        }
        let pick = |at: usize| rows.iter().map(|&row| frame.columns[at][row].clone()).collect::<Vec<String>>();
        let users = pick(user);
        let baskets = match roles.order {
            Some(at) => pick(at),
            None if task == Asked::Together && !at.is_empty() => {
                reading.assumed.push("There is no column of orders (see --order): what one customer bought on one day counts as a basket.".into());
                users.iter().zip(&at).map(|(user, at)| format!("{user}\t{}", dates::floor(*at))).collect()
            }
            None => Vec::new(),
        };
        let titles = titles(frame, item, &rows)?;
        Ok(Self { users, items: pick(item), at, baskets, titles, reading, views: task == Asked::Session })
    }

    /// Items that read like a fee, and how to leave them out: nobody recommends postage.
    fn fees(&self) -> Option<String> {
        let all: BTreeSet<&str> = self.items.iter().map(String::as_str).collect();
        let fees: Vec<&str> = all.into_iter().filter(|item| is_fee(self.title(item))).take(FEES_TOLD).collect();
        let named: Vec<String> = fees
            .iter()
            .map(|item| {
                if self.title(item) == *item { format!("`{item}`") } else { format!("`{item}` ({})", self.title(item)) }
            })
            .collect();
        (!fees.is_empty()).then(|| {
            let (read, them) = if fees.len() == 1 { ("reads", "it") } else { ("read", "them") };
            format!("{} {read} like a fee: leave {them} out with --without {}.", named.join(", "), fees.join(","))
        })
    }

    fn title<'a>(&'a self, item: &'a str) -> &'a str {
        self.titles.get(item).map_or(item, String::as_str)
    }

    fn because(&self, reason: &Reason) -> String {
        match reason {
            Reason::BoughtBefore(1) if self.views => "viewed once in this session".into(),
            Reason::BoughtBefore(times) if self.views => format!("viewed {times} times in this session"),
            Reason::GoesWith(item) if self.views => format!("sessions with {} went on to it", self.title(item)),
            Reason::SimilarCustomers if self.views => "similar sessions went on to it".into(),
            Reason::Popular if self.views => "many view it".into(),
            Reason::BoughtBefore(1) => "bought once before".into(),
            Reason::BoughtBefore(times) => format!("bought {times} times before"),
            Reason::GoesWith(item) => format!("goes with {}", self.title(item)),
            Reason::SimilarCustomers => "similar customers took it".into(),
            Reason::Popular => "many take it".into(),
        }
    }
}

/// Items that read like a fee and are named, at most.
const FEES_TOLD: usize = 6;
/// Last words of what a shop charges for and nobody chooses.
const FEES: [&str; 12] = [
    "postage", "shipping", "delivery", "carriage", "freight", "handling", "fee", "fees", "charge", "charges",
    "versand", "porto",
];

/// Whether a title of a few words ends in one of a fee.
fn is_fee(title: &str) -> bool {
    let words: Vec<String> = title.split_whitespace().map(str::to_lowercase).collect();
    words.len() <= 3 && words.last().is_some_and(|last| FEES.contains(&last.as_str()))
}

/// What items are called, where a column says so.
fn titles(frame: &Frame, item: usize, rows: &[usize]) -> Result<HashMap<String, String>, String> {
    let title = frame
        .named_or_usual(None, "description productname itemname lineitemname title name artikelname bezeichnung")?;
    let Some(at) = title.filter(|at| *at != item) else { return Ok(HashMap::new()) };
    let mut titles = HashMap::new();
    for &row in rows.iter().filter(|&&row| !frame.columns[at][row].is_empty()) {
        titles.entry(frame.columns[item][row].clone()).or_insert_with(|| frame.columns[at][row].clone());
    }
    Ok(titles)
}

/// A trained recommender and its lists.
pub(super) struct Lists {
    asked: Asked,
    top: usize,
    pub(super) model: Recommender,
    /// Who or what each list is for.
    names: Vec<String>,
    entries: Vec<Vec<Recommendation>>,
    /// Counts behind lists for items.
    pairs: Option<Pairs>,
}

type Contexts = (Vec<String>, Vec<Vec<String>>);

impl Lists {
    /// Trains and answers: the contexts where there are any; otherwise every item of the shop for
    /// `together`, and every customer for the other tasks.
    pub(super) fn make(
        frame: &Frame,
        bought: &Bought,
        asked: Asked,
        top: usize,
        contexts: Option<Contexts>,
        common: &Common,
    ) -> Result<Self, String> {
        let told = |why: Error| {
            match why {
            Error::Empty(_) => frame.wrong("there are too few purchases to hide some and to foretell them from the rest; give a longer history, or check --customer, --item and --order"),
            why => frame.wrong(&why.to_string()),
        }
        };
        let columns = Columns { users: &bought.users, items: &bought.items, at: &bought.at, baskets: &bought.baskets };
        let data = Interactions::read(&columns).map_err(told)?;
        if data.items.len() < 2 {
            return Err(frame.wrong("there is only one item; a recommendation needs a choice of two at least"));
        }
        let bar = progress("trying methods", asked.trials(), common.quiet);
        let threads = common.threads();
        let search = Search { effort: Effort { threads, ..Effort::default() }, ..Search::default() };
        let choice = Recommender::choose(&data, asked.task(), &search, &mut |trial| {
            bar.inc(1);
            if bar.length().is_some_and(|length| length <= bar.position()) {
                bar.inc_length(5);
            }
            tracing::debug!(method = trial.settings.name(), value = trial.value, "tried");
        })
        .map_err(told)?;
        bar.finish_and_clear();
        let bar = super::working("training on everything", common.quiet);
        let model = Recommender::fit(&data, asked.task(), choice, threads, &Halt::default()).map_err(told)?;
        bar.finish_and_clear();
        let by_item = asked == Asked::Together && contexts.is_none();
        let (names, lists) = match contexts {
            Some((names, contexts)) => {
                (names, in_parts(&contexts, common.quiet, |part| model.after_each(part, top, threads)))
            }
            None if by_item => {
                let items = each(&bought.items);
                let contexts: Vec<Vec<&String>> = items.iter().map(|item| vec![item]).collect();
                let lists = in_parts(&contexts, common.quiet, |part| model.after_each(part, top, threads));
                (items, lists)
            }
            None => {
                let users = each(&bought.users);
                let lists = in_parts(&users, common.quiet, |part| model.for_customers(part, top, threads));
                (users, lists)
            }
        };
        let pairs = by_item.then(|| Pairs::count(bought, &names, &lists));
        Ok(Self { asked, top, model, names, entries: lists, pairs })
    }

    /// The lists as a table: its header and rows.
    pub(super) fn table<'a>(
        &'a self,
        bought: &'a Bought,
    ) -> (&'static [&'static str], Box<dyn Iterator<Item = Vec<String>> + 'a>) {
        let entries =
            self.names.iter().zip(&self.entries).enumerate().flat_map(|(owner, (name, list))| {
                list.iter().enumerate().map(move |(at, found)| (owner, name, at, found))
            });
        let rank = |at: usize| (at + 1).to_string();
        match &self.pairs {
            Some(pairs) => (
                &[
                    "item_id",
                    "goes_with",
                    "rank",
                    "baskets_with_both",
                    "share_of_baskets",
                    "times_more_than_chance",
                    "item_title",
                    "goes_with_title",
                ],
                Box::new(entries.map(move |(owner, name, at, found)| {
                    let pair = pairs.of(owner, at);
                    vec![
                        name.clone(),
                        found.item.clone(),
                        rank(at),
                        pair.both.to_string(),
                        format!("{:.4}", pair.share()),
                        format!("{:.2}", pair.lift()),
                        bought.title(name).into(),
                        bought.title(&found.item).into(),
                    ]
                })),
            ),
            None => (
                &["user_id", "item_id", "rank", "reason"],
                Box::new(entries.map(move |(_, name, at, found)| {
                    vec![name.clone(), found.item.clone(), rank(at), bought.because(&found.reason)]
                })),
            ),
        }
    }
}

/// Lists that are made between two steps of a bar.
const PART: usize = 1_024;

/// Makes lists part by part, so that a bar can tell how far they are.
fn in_parts<T>(
    asked: &[T],
    quiet: bool,
    answer: impl Fn(&[T]) -> Vec<Vec<Recommendation>>,
) -> Vec<Vec<Recommendation>> {
    let bar = progress("writing lists", asked.len() as u64, quiet);
    let mut lists = Vec::with_capacity(asked.len());
    for part in asked.chunks(PART) {
        lists.extend(answer(part));
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    lists
}

/// Names in the order of their first appearance.
fn each(names: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    names.iter().filter(|name| seen.insert(name.as_str())).cloned().collect()
}

/// Who asks, and the items so far; rows of one asker need not stand together.
fn contexts(path: &Path, named: &Named, common: &Common) -> Result<Contexts, String> {
    let frame = Frame::read(path, common.quiet)?;
    let user = frame.named_or_usual(
        named.customer.as_deref(),
        "userid caseid basket basketid sessionid session orderid customerid",
    )?;
    let item = frame.named_or_usual(named.item.as_deref(), "itemid item productid sku stockcode product")?;
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
