//! Reconciliation: what was read, and where every row, piece and amount of it went.
//!
//! Promise: exact decimals, no floats. [`Reconciliation::gaps`] is empty exactly when the parts add
//! up to what the files hold; the command fails when it is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use perennial_core::money::Currency;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

/// Rows with their pieces and their money, as the file has them: returns are negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Rows.
    pub rows: u64,
    /// Pieces (or kilograms, or whatever the file counts).
    #[serde(serialize_with = "as_text")]
    pub pieces: Decimal,
    /// Money. Of several currencies the numbers are added up as they stand: a check that no row is lost.
    #[serde(serialize_with = "as_text")]
    pub amount: Decimal,
}

fn as_text<S: Serializer>(n: &Decimal, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&n.normalize())
}

impl Sums {
    /// Adds a row.
    pub fn add(&mut self, rows: u64, pieces: Decimal, amount: Decimal) {
        self.rows += rows;
        self.pieces += pieces;
        self.amount += amount;
    }

    fn plus(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, pieces: self.pieces + other.pieces, amount: self.amount + other.amount }
    }
}

/// Money of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Money {
    /// Orders made.
    pub orders: u64,
    /// These orders in minor units, each order rounded by itself: what the ledger books.
    pub booked_minor: i64,
    /// By how much that differs from the exact sum.
    #[serde(serialize_with = "as_text")]
    pub rounding: Decimal,
    /// What the returned pieces had been sold for: what refunds take back.
    #[serde(serialize_with = "as_text")]
    pub refunded_at_sale_price: Decimal,
}

impl Money {
    /// Adds an order.
    pub(super) fn book(&mut self, currency: Currency, exact: Decimal) {
        let minor = currency.minor(exact).unwrap_or(0);
        self.orders += 1;
        self.booked_minor += minor;
        self.rounding += currency.major(minor) - exact;
    }
}

/// The rows of one file that are not order lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileTotals {
    /// The file's name in the mapping.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Of them, rows equal to an earlier one, which were dropped.
    pub duplicates: u64,
    /// Of them, left out by a declared reason.
    pub skipped: u64,
    /// Of them, in the reject file.
    pub rejected: u64,
    /// Its columns that the mapping does not mention.
    pub unmapped_columns: Vec<String>,
}

/// A row that did not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// Its file's name in the mapping.
    pub file: String,
    /// Its line there.
    pub line: u64,
    /// Why, in one word.
    pub code: String,
    /// The columns at fault; empty when it is the row as a whole.
    pub field: String,
    /// Why, and what would mend it.
    pub reason: String,
}

/// What a sink did with what it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Folded for the first time.
    pub new: u64,
    /// Known already.
    pub duplicates: u64,
    /// Refused.
    pub rejected: u64,
    /// New orders dated before their customer's enrolment: they earn nothing.
    pub before_enrolment: u64,
    /// Points that what is new brought members.
    pub points_granted: i64,
    /// Points that it took back from them; what they owe since is among these.
    pub points_reversed: i64,
    /// Points that it took back on paper only, which the shop bears.
    pub points_waived: i64,
}

impl Taken {
    /// Adds what became of another batch.
    pub fn add(&mut self, other: Self) {
        self.new += other.new;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.before_enrolment += other.before_enrolment;
        self.points_granted += other.points_granted;
        self.points_reversed += other.points_reversed;
        self.points_waived += other.points_waived;
    }
}

/// Where everything went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// The import's name.
    pub name: String,
    /// Of all amounts of the order file; of several currencies their names, as `CHF + EUR`.
    pub currency: String,
    /// Each file.
    pub files: Vec<FileTotals>,
    /// The order file as a whole.
    pub read: Sums,
    /// Different order ids in it, returns and what is left out included.
    pub order_ids_read: u64,
    /// Different named customers in it.
    pub customers_read: u64,
    /// Its rows that became lines of orders.
    pub sold: Sums,
    /// Its rows, or parts of rows, that were matched to an earlier order.
    pub returned: Sums,
    /// Left out, by the reason declared in the mapping.
    pub skipped: BTreeMap<String, Sums>,
    /// In the reject file, by code. `no_matching_sale` holds the pieces that came back without a sale.
    pub rejected: BTreeMap<String, Sums>,
    /// Of the rows that were matched in full, those in the reject file all the same: with other rows of their return,
    /// because all of them say together how many pieces came back.
    pub returned_and_kept: u64,
    /// Equal to an earlier row.
    pub duplicates: Sums,
    /// Of customers outside the limit that was asked for.
    pub not_selected: Sums,
    /// Orders made.
    pub orders: u64,
    /// Refund events made: one for each return and order it was matched to.
    pub refunds: u64,
    /// The money of orders and refunds, by currency.
    pub by_currency: BTreeMap<Currency, Money>,
    /// Customers with a name.
    pub customers: u64,
    /// Customers without one.
    pub anonymous: u64,
    /// Customers enrolled.
    pub enrolled: u64,
    /// Customers whom the programme did not let in, by its reason.
    pub not_enrolled: BTreeMap<String, u64>,
    /// Products brought in.
    pub products: u64,
    /// Track calls made.
    pub events: u64,
    /// Values that contradicted each other and were settled by survivorship, by trait.
    pub settled: BTreeMap<String, u64>,
    /// What the receiving side did.
    pub taken: Taken,
    /// A few rows that did not come in, for whoever asked for no reject file.
    #[serde(skip)]
    pub first_rejects: Vec<RejectedRow>,
}

impl Reconciliation {
    /// Rows in the reject files.
    pub fn rejected_rows(&self) -> u64 {
        self.files.iter().map(|file| file.rejected).sum()
    }

    /// Where the parts do not add up to the whole; empty when all is well.
    pub fn gaps(&self) -> Vec<String> {
        let others = self.skipped.values().chain(self.rejected.values());
        let parts = others.fold(Sums::default(), |sum, part| sum.plus(*part));
        let parts = [self.sold, self.returned, self.duplicates, self.not_selected].into_iter().fold(parts, Sums::plus);
        let mut gaps = Vec::new();
        if parts.rows != self.read.rows {
            gaps.push(format!("{} rows were read, {} are accounted for", self.read.rows, parts.rows));
        }
        if parts.pieces != self.read.pieces {
            gaps.push(format!("{} pieces were read, {} are accounted for", self.read.pieces, parts.pieces));
        }
        if parts.amount != self.read.amount {
            gaps.push(format!("{} {} was read, {} is accounted for", self.read.amount, self.currency, parts.amount));
        }
        gaps
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let mut out = format!("Reconciliation of {}\n", self.name);
        if self.read.rows > 0 {
            self.write_lines(&mut out);
        }
        self.write_counts(&mut out);
        for gap in self.gaps() {
            let _ = writeln!(out, "GAP: {gap}");
        }
        out
    }

    fn write_lines(&self, out: &mut String) {
        let mut line = |name: &str, s: Sums| {
            let (pieces, amount) = (grouped(s.pieces), grouped(s.amount));
            let _ = writeln!(out, "  {name:<38}{:>12}{pieces:>18}{amount:>20}", grouped(s.rows.into()));
        };
        line("order file as read", self.read);
        line("= lines of orders", self.sold);
        line("+ returns matched to a sale", self.returned);
        self.skipped.iter().for_each(|(reason, s)| line(&format!("+ left out: {reason}"), *s));
        self.rejected.iter().for_each(|(code, s)| line(&format!("+ rejected: {code}"), *s));
        line("+ exact duplicates", self.duplicates);
        line("+ customers outside the limit", self.not_selected);
        let head = format!("  {:<38}{:>12}{:>18}{:>20}\n", "", "rows", "pieces", self.currency);
        let at = out.find('\n').map_or(0, |i| i + 1);
        out.insert_str(at, &head);
    }

    fn write_money(&self, out: &mut String) {
        if self.by_currency.len() > 1 {
            let _ = writeln!(
                out,
                "  the amounts above are numbers of several currencies added up: they show that no row is lost, and are no sum of money"
            );
        }
        for (currency, money) in &self.by_currency {
            let _ = writeln!(
                out,
                "  {currency}: {} booked with {} in minor units (rounding of single orders: {}); refunds of what was sold for {}",
                counted(money.orders, "order", "orders"),
                grouped(money.booked_minor.into()),
                money.rounding.normalize(),
                grouped(money.refunded_at_sale_price),
            );
        }
    }

    fn write_counts(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "  {}, {}, {} named and {} anonymous customers, {} enrolled, {}, {}",
            counted(self.orders, "order", "orders"),
            counted(self.refunds, "refund", "refunds"),
            grouped(self.customers.into()),
            grouped(self.anonymous.into()),
            grouped(self.enrolled.into()),
            counted(self.products, "product", "products"),
            counted(self.events, "other event", "other events"),
        );
        let ids = counted(self.order_ids_read, "order id", "order ids");
        let people = counted(self.customers_read, "customer", "customers");
        let _ = writeln!(out, "  the order file names {ids} and {people}");
        self.write_money(out);
        let points = |n: i64| grouped(n.into());
        let t = self.taken;
        let _ = writeln!(
            out,
            "  points of what is new: {} granted, {} reversed, {} waived",
            points(t.points_granted),
            points(t.points_reversed),
            points(t.points_waived)
        );
        for file in self.files.iter().filter(|f| f.rows > 0) {
            let _ = writeln!(
                out,
                "  file {}: {} rows, {} duplicates, {} left out, {} rejected; columns not mapped: {}",
                file.name,
                file.rows,
                file.duplicates,
                file.skipped,
                file.rejected,
                listed(&file.unmapped_columns)
            );
        }
        if self.returned_and_kept > 0 {
            let n = grouped(self.returned_and_kept.into());
            let _ = writeln!(
                out,
                "  of the rejected rows, counted as matched above: {n}; they came in, and are fed again with the other rows of their return"
            );
        }
        if t.before_enrolment > 0 {
            let n = grouped(t.before_enrolment.into());
            let _ = writeln!(out, "  orders dated before their customer's enrolment, which earn nothing: {n}");
        }
        for (code, n) in &self.not_enrolled {
            let _ = writeln!(out, "  not enrolled: {} ({code})", grouped((*n).into()));
        }
        for (name, n) in &self.settled {
            let _ = writeln!(out, "  {n} contradictions about {name} settled");
        }
        let _ = writeln!(out, "  taken: {} new, {} known already, {} rejected", t.new, t.duplicates, t.rejected);
    }
}

/// How many of something.
fn counted(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", grouped(n.into()), if n == 1 { one } else { more })
}

/// Names that a table shows.
const MOST_NAMES: usize = 30;

/// Some names, and how many there are besides.
fn listed(names: &[String]) -> String {
    let short = |name: &String| name.chars().take(60).collect::<String>();
    let shown = names.iter().take(MOST_NAMES).map(short).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".into(),
        n if n > MOST_NAMES => format!("{shown} and {} more", n - MOST_NAMES),
        _ => shown,
    }
}

/// `1234567.5` as `1,234,567.5`.
fn grouped(n: Decimal) -> String {
    let plain = n.normalize().to_string();
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |d| ("-", d));
    let mut out = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_piece_is_a_gap() {
        let mut r = Reconciliation::default();
        r.read.add(2, 5.into(), "9.999".parse().unwrap());
        r.sold.add(1, 3.into(), "9.99".parse().unwrap());
        r.rejected.entry("bad_date".into()).or_default().add(1, 2.into(), "0.009".parse().unwrap());
        assert!(r.gaps().is_empty(), "{:?}", r.gaps());
        r.sold.pieces += Decimal::ONE;
        assert_eq!(r.gaps(), ["5 pieces were read, 6 are accounted for"]);
    }

    #[test]
    fn numbers_are_grouped_for_people() {
        assert_eq!(grouped("-1234567.5".parse().unwrap()), "-1,234,567.5");
        assert_eq!(grouped("123.450".parse().unwrap()), "123.45");
    }
}
