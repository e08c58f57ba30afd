//! `learn segment`: groups of customers, with a name, a size and, for each customer, a reason.
//!
//! From orders come recency, frequency and spend; from any other table, its columns of numbers. The number
//! of groups is chosen by three witnesses whose evidence is told. Absent on purpose: groups by wish.

use std::path::PathBuf;

use clap::Args;
use perennial_learn::segment::{
    ChosenK, FeatureWords, KMeans, KMeansFit, Points, Scaling, choose_k, explain, silhouette_sampled, suggest_names,
};

use super::frame::{self, Frame, short};
use super::orders::{self, Named, Roles};
use super::report::{Bar, Figure, Plot, Report};
use super::{Common, finish, working};

/// Customers in, groups out.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Orders (customer, date, amount), or one row per customer with columns of numbers.
    #[arg(long)]
    input: PathBuf,
    /// One row per customer.
    #[arg(long)]
    out: PathBuf,
    /// A readable page with figures.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Use these columns of numbers, one row per customer, instead of reading orders.
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// The column that names the customer, with --features.
    #[arg(long)]
    id: Option<String>,
    /// So many groups; chosen from the data otherwise.
    #[arg(long)]
    groups: Option<usize>,
    #[command(flatten)]
    columns: Named,
}

/// Groups tried at most.
const MOST: usize = 8;

struct Customers {
    names: Vec<String>,
    features: Vec<String>,
    columns: Vec<Vec<f64>>,
    notes: Vec<String>,
}

/// Reads, groups, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let mut frame = Frame::read(&arguments.input, common.quiet)?;
    let roles = Roles::find(&frame, &arguments.columns)?;
    let as_orders = arguments.features.is_empty() && roles.customer.is_some() && roles.date.is_some();
    let customers = if as_orders { from_orders(&mut frame, arguments)? } else { from_columns(&frame, arguments)? };
    let customers = vary(&frame, customers)?;
    let bar = working("grouping", common.quiet);
    let told = |why: perennial_learn::input::BadInput| frame.wrong(&why.to_string());
    let raw = Points::from_columns(&customers.columns).map_err(told)?;
    let scaling = Scaling::learn_automatically(&raw).map_err(told)?;
    let points = scaling.apply(&raw).map_err(told)?;
    let chosen = match arguments.groups {
        Some(_) => None,
        None => Some(choose_k(&points, MOST.min(distinct(&points)), common.seed).map_err(told)?),
    };
    let k = arguments.groups.or(chosen.as_ref().map(|c| c.k)).unwrap_or(2);
    let fit = KMeans::fit(&points, k, common.seed).map_err(told)?;
    let words: Vec<FeatureWords> = customers.features.iter().map(|name| FeatureWords::of(name)).collect();
    let names = suggest_names(&fit.model, &words).map_err(told)?;
    let quality = silhouette_sampled(&points, &fit.labels, 2_000, common.seed).ok();
    bar.finish_and_clear();
    let grouped = Grouped { customers: &customers, raw: &raw, points: &points, fit: &fit, names: &names };
    grouped.write(arguments)?;
    let report = grouped.tell(&frame, chosen.as_ref(), quality);
    finish(&report, &arguments.out, arguments.report.as_deref())
}

/// Different rows, as far as it matters for the number of groups.
fn distinct(points: &Points) -> usize {
    let mut rows: Vec<Vec<u64>> = points.rows().take(1_000).map(|r| r.iter().map(|v| v.to_bits()).collect()).collect();
    rows.sort();
    rows.dedup();
    rows.len().saturating_sub(1).max(2)
}

#[expect(clippy::cast_precision_loss, reason = "days and counts")]
fn from_orders(frame: &mut Frame, arguments: &Arguments) -> Result<Customers, String> {
    let history = orders::history(frame, &arguments.columns)?;
    let last = history.occasions.iter().map(|o| o.day).max().unwrap_or(0);
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
    let mut notes = history.notes;
    notes.push("Recency is days since the last purchase, frequency days with a purchase, spend their sum.".into());
    Ok(Customers { names, features, columns, notes })
}

fn from_columns(frame: &Frame, arguments: &Arguments) -> Result<Customers, String> {
    let id = frame.named_or_usual(arguments.id.as_deref(), &["customerid", "id", "userid", "customer", "memberid"])?;
    let mut notes = Vec::new();
    let used = if arguments.features.is_empty() {
        let is_number = |at: &usize| {
            let column = &frame.columns[*at];
            Some(*at) != id && column.iter().all(|t| t.parse::<f64>().is_ok_and(f64::is_finite))
        };
        let used: Vec<usize> = (0..frame.header.len()).filter(is_number).collect();
        notes.push(format!("No customer and date to read orders by; grouped by {} columns of numbers.", used.len()));
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
    let columns = used.iter().map(|&at| orders::numbers(frame, at)).collect::<Result<_, _>>()?;
    let features = used.iter().map(|&at| frame.header[at].clone()).collect();
    Ok(Customers { names: frame.ids(id), features, columns, notes })
}

/// Leaves out features that are the same for everybody.
fn vary(frame: &Frame, mut customers: Customers) -> Result<Customers, String> {
    let varies = |column: &Vec<f64>| column.iter().any(|v| v.to_bits() != column[0].to_bits());
    let flat: Vec<String> =
        customers.features.iter().zip(&customers.columns).filter(|(_, c)| !varies(c)).map(|(n, _)| n.clone()).collect();
    if flat.len() == customers.features.len() {
        return Err(
            frame.wrong(&format!("{} is the same for every customer; give features that differ", flat.join(", ")))
        );
    }
    if !flat.is_empty() {
        customers.notes.push(format!("Left out, the same for everybody: {}.", flat.join(", ")));
        let mut keep = customers.columns.iter().map(varies).collect::<Vec<_>>().into_iter();
        customers.features.retain(|_| keep.next().unwrap_or(false));
        customers.columns.retain(varies);
    }
    Ok(customers)
}

struct Grouped<'a> {
    customers: &'a Customers,
    raw: &'a Points,
    points: &'a Points,
    fit: &'a KMeansFit,
    names: &'a [String],
}

impl Grouped<'_> {
    /// Groups, the largest first.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by_key(|&g| std::cmp::Reverse(self.fit.model.sizes[g]));
        order
    }

    fn write(&self, arguments: &Arguments) -> Result<(), String> {
        let order = self.order();
        let mut header: Vec<&str> = vec!["customer_id", "segment", "segment_name", "reason"];
        header.extend(self.customers.features.iter().map(String::as_str));
        let rows = (0..self.points.len()).map(|row| {
            let label = self.fit.labels[row];
            let number = order.iter().position(|&g| g == label).unwrap_or(0) + 1;
            let mut out = vec![
                self.customers.names[row].clone(),
                number.to_string(),
                self.names[label].clone(),
                self.reason(row),
            ];
            out.extend(self.raw.row(row).iter().map(|v| short(*v)));
            out
        });
        frame::write(&arguments.out, &header, rows)
    }

    /// The feature that speaks most for a customer's group, against the next nearest.
    fn reason(&self, row: usize) -> String {
        let Ok(why) = explain(&self.fit.model, self.points.row(row)) else { return "the only group".into() };
        let best =
            (0..why.per_feature.len()).max_by(|&a, &b| why.per_feature[a].total_cmp(&why.per_feature[b])).unwrap_or(0);
        let (feature, value) = (&self.customers.features[best], self.raw.row(row)[best]);
        format!("{feature} {} is nearer to this group than to \"{}\"", short(value), self.names[why.next])
    }

    /// The median of a feature in a group.
    fn median(&self, group: usize, feature: usize) -> f64 {
        let rows = (0..self.points.len()).filter(|&row| self.fit.labels[row] == group);
        let mut values: Vec<f64> = rows.map(|row| self.raw.row(row)[feature]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    fn tell(&self, frame: &Frame, chosen: Option<&ChosenK>, quality: Option<f64>) -> Report {
        let n = self.points.len();
        let order = self.order();
        let share = |g: usize| 100.0 * self.fit.model.sizes[g] as f64 / n as f64;
        let mut notes = vec![format!("{}: {n} customers.", frame.name())];
        notes.extend(self.customers.notes.iter().cloned());
        if let Some(c) = chosen {
            notes.push(format!(
                "Chosen: {} groups (silhouette says {}, gap {}, stability {}).",
                c.k, c.by_silhouette, c.by_gap, c.by_stability
            ));
            if let Some(e) = c.evidence.iter().find(|e| e.k == c.k) {
                notes.push(format!("Validation: when customers are drawn anew, the same groups come back (adjusted Rand index {:.2}; 1 is the same, 0 is chance).", e.stability));
            }
        }
        if let Some(q) = quality {
            notes.push(format!(
                "Mean silhouette {q:.2}: {}.",
                if q > 0.5 {
                    "groups lie clearly apart"
                } else if q > 0.25 {
                    "groups touch"
                } else {
                    "groups run into one another; take their borders as convention"
                }
            ));
        }
        let bars =
            order.iter().map(|&g| Bar { label: self.names[g].clone(), value: share(g), interval: None }).collect();
        let mut head: Vec<String> = ["segment", "customers", "per cent"].map(String::from).to_vec();
        head.extend(self.customers.features.iter().map(|f| format!("median {f}")));
        let rows = order
            .iter()
            .map(|&g| {
                let mut row = vec![self.names[g].clone(), self.fit.model.sizes[g].to_string(), short(share(g))];
                row.extend((0..self.customers.features.len()).map(|f| short(self.median(g, f))));
                row
            })
            .collect();
        let largest = order[0];
        let sizes = Figure {
            title: format!(
                "The largest group, \"{}\", holds {:.0} % of customers",
                self.names[largest],
                share(largest)
            ),
            note: format!("Per cent of {n} customers; the table gives each group's typical customer."),
            plot: Plot::Bars(bars),
            head,
            rows,
        };
        let mut figures = vec![sizes];
        figures.extend((0..self.customers.features.len()).map(|f| self.centres(f, &order)));
        Report { finding: format!("{n} customers fall into {} groups.", self.names.len()), notes, figures }
    }

    /// How far each group lies from the average customer in one feature.
    fn centres(&self, feature: usize, order: &[usize]) -> Figure {
        let name = &self.customers.features[feature];
        let at = |g: usize| self.fit.model.centre(g)[feature];
        let top = order.iter().copied().max_by(|&a, &b| at(a).total_cmp(&at(b))).unwrap_or(0);
        let bars: Vec<Bar> =
            order.iter().map(|&g| Bar { label: self.names[g].clone(), value: at(g), interval: None }).collect();
        let rows =
            order.iter().map(|&g| vec![self.names[g].clone(), short(at(g)), short(self.median(g, feature))]).collect();
        Figure {
            title: format!("\"{}\" has the highest {name}", self.names[top]),
            note: format!("{name}: the group's centre against the average customer, in standard deviations."),
            plot: Plot::Bars(bars),
            head: ["segment".to_owned(), "standard deviations from average".to_owned(), format!("median {name}")]
                .to_vec(),
            rows,
        }
    }
}
