//! `learn segment`: groups of customers, with a name, a size and, for each customer, a reason.
//!
//! From orders come recency, frequency and spend; from any other table, its columns of numbers. The number
//! of groups is chosen by three witnesses whose evidence is told. Absent on purpose: groups by wish.

mod tell;

use std::path::PathBuf;

use clap::Args;
use perennial_learn::input::BadInput;
use perennial_learn::segment::{
    ChosenK, FeatureWords, KMeans, KMeansFit, Points, Scaling, choose_k, explain, silhouette_sampled, suggest_names,
};

use super::frame::Frame;
use super::orders::{self, History, Named, Roles};
use super::page::Page;
use super::words::{figure, many, short};
use super::{Common, Outputs, amounts, shares, working};

/// Customers in, groups out.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  perennial learn segment --input orders.csv --out segments.csv --report segments.html\n  \
perennial learn segment --input customers.csv --features age,visits,spend --out segments.csv\n\n\
From orders, customers are grouped by recency (days since the last purchase), frequency (days with a\n\
purchase) and spend. Each customer's row says why it is in its group and not in the next nearest."
)]
pub struct Arguments {
    /// Orders (customer, date, amount), or one row per customer with columns of numbers.
    #[arg(long, value_name = "TABLE.csv")]
    input: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
    /// Group by these columns of numbers, one row per customer, instead of reading orders.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    features: Vec<String>,
    /// The column that names the customer, with --features.
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// So many groups; chosen from the data otherwise.
    #[arg(long, value_name = "NUMBER")]
    groups: Option<usize>,
    #[command(flatten)]
    columns: Named,
}

/// Groups tried at most.
const MOST: usize = 8;

/// Customers with their features.
pub(super) struct Customers {
    pub(super) names: Vec<String>,
    features: Vec<String>,
    columns: Vec<Vec<f64>>,
    /// Whether the features are recency, frequency and spend.
    of_orders: bool,
    notes: Vec<String>,
}

/// Reads, groups, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let drafts = arguments.outputs.begin(&[&arguments.input])?;
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let roles = Roles::find(&frame, &arguments.columns)?;
    let (customers, source) = if arguments.features.is_empty() && roles.customer.is_some() && roles.date.is_some() {
        let history = orders::history(&frame, &roles, &arguments.columns)?;
        let mut customers = Customers::of_orders(&history);
        customers.notes.extend(history.reading.sentences());
        (customers, history.source(&frame))
    } else {
        let customers = Customers::of_columns(&frame, arguments)?;
        let source = format!("{}: {}", frame.name(), many(frame.rows(), "row"));
        (customers, source)
    };
    let groups = Groups::of(customers, arguments.groups, common).map_err(|why| frame.wrong(&why))?;
    let names: Vec<&str> = groups.customers.features.iter().map(String::as_str).collect();
    let header: Vec<&str> = ["customer_id", "segment", "segment_name", "reason"].into_iter().chain(names).collect();
    let rows = (0..groups.len()).map(|row| {
        let name = groups.customers.names[row].clone();
        let features = groups.raw.row(row).iter().map(|value| short(*value));
        std::iter::once(name).chain(groups.cells(row)).chain(features).collect::<Vec<_>>()
    });
    drafts.csv(&arguments.outputs.out, &header, rows)?;
    let chapter = groups.chapter(None);
    let page = Page {
        kind: "Groups of customers",
        finding: chapter.finding.clone(),
        source,
        chapters: vec![chapter],
        ..Page::default()
    };
    arguments.outputs.finish(drafts, page, "a customer with the group and the reason")
}

impl Customers {
    /// Recency, frequency and spend.
    #[expect(clippy::cast_precision_loss, reason = "days and counts")]
    pub(super) fn of_orders(history: &History) -> Self {
        let (_, last) = history.span();
        let (mut names, mut columns) = (Vec::new(), vec![Vec::new(); if history.has_amounts { 3 } else { 2 }]);
        for rows in history.occasions.chunk_by(|a, b| a.customer == b.customer) {
            names.push(history.names[usize::try_from(rows[0].customer).unwrap_or(0)].clone());
            let latest = rows.iter().map(|o| o.day).max().unwrap_or(last);
            columns[0].push((last - latest) as f64);
            columns[1].push(rows.len() as f64);
            if let Some(spend) = columns.get_mut(2) {
                spend.push(rows.iter().map(|o| o.amount).sum());
            }
        }
        let features = ["recency", "frequency", "spend"].iter().take(columns.len()).map(|n| (*n).into()).collect();
        let notes = vec![
            "Recency is days since the last purchase, frequency days with a purchase, spend the sum of what was paid."
                .into(),
        ];
        Self { names, features, columns, of_orders: true, notes }
    }

    fn of_columns(frame: &Frame, arguments: &Arguments) -> Result<Self, String> {
        let id = frame.named_or_usual(arguments.id.as_deref(), "customerid id userid customer memberid")?;
        let mut notes = Vec::new();
        let used = if arguments.features.is_empty() {
            let used = number_columns(frame, id);
            notes.push(format!(
                "There are no customers and dates to read orders by; grouped by {} of numbers.",
                many(used.len(), "column")
            ));
            used
        } else {
            frame.all_of(&arguments.features)?
        };
        if used.is_empty() {
            return Err(frame.wrong(&format!(
                "there is nothing to group by: name the columns of orders with --customer and --date, or columns of numbers with --features; the columns are {}",
                frame.listed()
            )));
        }
        let mut columns = Vec::new();
        for &at in &used {
            let (values, told) = amounts::column(frame, at)?;
            notes.extend(told);
            columns.push(values);
        }
        let whole: Vec<usize> = (0..frame.rows()).filter(|&row| columns.iter().all(|c| !c[row].is_nan())).collect();
        if whole.is_empty() {
            return Err(frame.wrong("no row has a number in every feature; leave out the emptiest with --features"));
        }
        if let Some(first) = (0..frame.rows()).find(|&row| columns.iter().any(|c| c[row].is_nan())) {
            let lost = many(frame.rows() - whole.len(), "row");
            notes.push(format!(
                "{lost} without a number in a feature (the first in line {}) left out.",
                frame.line(first)
            ));
        }
        let names = frame.ids(id);
        let columns = columns.iter().map(|column| whole.iter().map(|&row| column[row]).collect()).collect();
        let features = used.iter().map(|&at| frame.header[at].clone()).collect();
        Ok(Self {
            names: whole.iter().map(|&row| names[row].clone()).collect(),
            features,
            columns,
            of_orders: false,
            notes,
        })
    }

    /// Leaves out features that are the same for everybody.
    fn vary(mut self) -> Result<Self, String> {
        let varies = |column: &Vec<f64>| column.iter().any(|v| v.to_bits() != column[0].to_bits());
        let flat: Vec<String> =
            self.features.iter().zip(&self.columns).filter(|(_, c)| !varies(c)).map(|(n, _)| n.clone()).collect();
        if flat.len() == self.features.len() {
            return Err(match self.names.len() {
                1 => "there is only one customer; groups need more".into(),
                _ => format!(
                    "`{}` {} the same for every customer; give features that differ",
                    flat.join("`, `"),
                    if flat.len() == 1 { "is" } else { "are" }
                ),
            });
        }
        if !flat.is_empty() {
            self.notes.push(format!("Left out, the same for everybody: {}.", flat.join(", ")));
            let mut keep = self.columns.iter().map(varies).collect::<Vec<_>>().into_iter();
            self.features.retain(|_| keep.next().unwrap_or(false));
            self.columns.retain(varies);
        }
        Ok(self)
    }
}

/// Columns that hold numbers only.
fn number_columns(frame: &Frame, id: Option<usize>) -> Vec<usize> {
    let is_number = |at: &usize| {
        let (mark, _) = amounts::mark(&frame.columns[*at], frame.semicolons);
        Some(*at) != id && frame.columns[*at].iter().all(|text| amounts::read(text, mark).is_some())
    };
    (0..frame.header.len()).filter(is_number).collect()
}

/// The number of groups to use. Two halves tell a shopkeeper little: where more groups come back as
/// reliably when customers are drawn anew, so many are taken.
fn useful(chosen: &ChosenK) -> usize {
    if chosen.k > 2 { chosen.k } else { chosen.by_stability.max(2) }
}

/// Different rows, as far as it matters for the number of groups.
fn distinct(points: &Points) -> usize {
    let mut rows: Vec<Vec<u64>> = points.rows().take(1_000).map(|r| r.iter().map(|v| v.to_bits()).collect()).collect();
    rows.sort();
    rows.dedup();
    rows.len()
}

/// Customers in groups.
pub(super) struct Groups {
    pub(super) customers: Customers,
    raw: Points,
    points: Points,
    fit: KMeansFit,
    /// Names of the groups as the model numbers them.
    names: Vec<String>,
    /// Groups, the largest first.
    order: Vec<usize>,
    chosen: Option<ChosenK>,
    quality: Option<f64>,
}

impl Groups {
    /// Groups customers into `wanted` groups, or as many as the data show.
    pub(super) fn of(customers: Customers, wanted: Option<usize>, common: &Common) -> Result<Self, String> {
        let seed = common.seed;
        let customers = customers.vary()?;
        let told = |why: BadInput| why.to_string();
        let raw = Points::from_columns(&customers.columns).map_err(told)?;
        let scaling = Scaling::learn_automatically(&raw).map_err(told)?;
        let points = scaling.apply(&raw).map_err(told)?;
        let different = distinct(&points);
        if different < 4 && wanted.is_none() {
            return Err(format!(
                "there are only {} that differ; groups need four at least",
                many(different, "customer")
            ));
        }
        if let Some(groups) = wanted.filter(|&groups| groups < 2 || groups > different) {
            return Err(format!(
                "--groups {groups} does not fit; give 2 to {different}, as many as there are different customers"
            ));
        }
        let chosen = if wanted.is_some() {
            None
        } else {
            let bar = shares("trying numbers of groups", common.quiet);
            let most = MOST.min(different - 1);
            Some(choose_k(&points, most, seed, &mut |share| bar.reach(share)).map_err(told)?)
        };
        let bar = working("grouping everybody", common.quiet);
        let k = wanted.or(chosen.as_ref().map(useful)).unwrap_or(2);
        let fit = KMeans::fit(&points, k, seed).map_err(told)?;
        let words: Vec<FeatureWords> = customers.features.iter().map(|name| FeatureWords::of(name)).collect();
        let names = suggest_names(&fit.model, &words).map_err(told)?;
        let quality = silhouette_sampled(&points, &fit.labels, 2_000, seed).ok();
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by_key(|&g| std::cmp::Reverse(fit.model.sizes[g]));
        bar.finish_and_clear();
        Ok(Self { customers, raw, points, fit, names, order, chosen, quality })
    }

    /// How many groups there are.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    pub(super) fn len(&self) -> usize {
        self.fit.labels.len()
    }

    /// Number, name and reason of a customer's group, for a table.
    pub(super) fn cells(&self, row: usize) -> Vec<String> {
        let label = self.fit.labels[row];
        let number = self.order.iter().position(|&g| g == label).unwrap_or(0) + 1;
        vec![number.to_string(), self.names[label].clone(), self.reason(row)]
    }

    /// The feature that speaks most for a customer's group, against the next nearest.
    fn reason(&self, row: usize) -> String {
        let Ok(why) = explain(&self.fit.model, self.points.row(row)) else { return "the only group".into() };
        let best =
            (0..why.per_feature.len()).max_by(|&a, &b| why.per_feature[a].total_cmp(&why.per_feature[b])).unwrap_or(0);
        let (feature, value) = (&self.customers.features[best], self.raw.row(row)[best]);
        format!("{feature} {} is nearer to this group than to \"{}\"", figure(value), self.names[why.next])
    }
}
