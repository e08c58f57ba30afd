//! Orders as an analyst has them: which column is the customer, the date, the amount, the item?
//!
//! Columns are guessed from their names, dates also from their values; a caller may name each. Promise:
//! what was guessed is told; a row without a customer, date or amount is left out and counted; one that
//! cannot be read is an error that names its line. Absent on purpose: currencies and time zones.

use std::collections::BTreeMap;

use clap::Args;

use super::frame::{Frame, plain_name};
use super::{amounts, dates, many};

/// Names for columns that cannot be guessed.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Columns (guessed from their names otherwise)")]
pub(super) struct Named {
    /// The column that says who bought.
    #[arg(long, value_name = "COLUMN")]
    pub(super) customer: Option<String>,
    /// The column that says when.
    #[arg(long, value_name = "COLUMN")]
    pub(super) date: Option<String>,
    /// The column that says what was paid.
    #[arg(long, value_name = "COLUMN")]
    pub(super) amount: Option<String>,
    /// The column that says what was bought.
    #[arg(long, value_name = "COLUMN")]
    pub(super) item: Option<String>,
    /// The column that tells orders, baskets or sessions apart.
    #[arg(long, value_name = "COLUMN")]
    pub(super) order: Option<String>,
    /// Read 1/2/2024 as the first of February where the dates leave it open.
    #[arg(long)]
    pub(super) day_first: bool,
    /// Leave out rows that equal an earlier one in every column.
    #[arg(long)]
    pub(super) drop_duplicates: bool,
}

/// Usual names of columns, without case and punctuation, the likeliest first; English, some German.
const CUSTOMERS: &str = "customerid customer userid user clientid client memberid member householdid custid customernumber customerno shopperid accountid buyerid customeremail email kundennummer kundennr kundenid kunde";
const DATES: &str = "date orderdate orderedat invoicedate createdat purchasedate purchasedat transactiondate transactiontimestamp timestamp datetime time day orderpurchasetimestamp t datum bestelldatum rechnungsdatum";
const AMOUNTS: &str = "amount total ordertotal totalprice totalamount revenue sales salesvalue spend net subtotal value ordervalue linetotal paid dollars betrag umsatz summe gesamtbetrag";
const QUANTITIES: &str = "quantity qty units count lineitemquantity menge anzahl";
const PRICES: &str = "unitprice price itemprice priceperunit lineitemprice einzelpreis preis";
const ITEMS: &str = "itemid item productid product sku stockcode articleid article productname itemname lineitemsku lineitemname asin movieid artistid artikelnummer artikelnr artikel produktname produkt description";
const ORDERS: &str = "orderid order ordernumber orderno invoiceno invoice invoiceid basketid basket transactionid transaction receipt sessionid session bestellnummer bestellnr auftragsnummer auftragsnr rechnungsnummer rechnungsnr bonnummer bonnr";

/// The columns of a table of orders.
#[derive(Debug, Clone, Default)]
pub(super) struct Roles {
    pub(super) customer: Option<usize>,
    pub(super) date: Option<usize>,
    pub(super) amount: Option<usize>,
    quantity: Option<usize>,
    /// The price of one, where there is no amount.
    price: Option<usize>,
    pub(super) item: Option<usize>,
    pub(super) order: Option<usize>,
}

impl Roles {
    /// Finds the columns.
    pub(super) fn find(frame: &Frame, named: &Named) -> Result<Self, String> {
        let find = |name: &Option<String>, usual: &str| frame.named_or_usual(name.as_deref(), usual);
        let mut roles = Self {
            customer: find(&named.customer, CUSTOMERS)?,
            date: find(&named.date, DATES)?,
            amount: find(&named.amount, AMOUNTS)?,
            quantity: find(&None, QUANTITIES)?,
            price: None,
            item: find(&named.item, ITEMS)?,
            order: find(&named.order, ORDERS)?,
        };
        if roles.customer.is_none() {
            let plain = |at: &usize| plain_name(&frame.header[*at]);
            roles.customer = (0..frame.header.len())
                .find(|at| plain(at).contains("customer"))
                .or_else(|| (0..frame.header.len()).find(|at| plain(at) == "id" && Some(*at) != roles.order))
                .or_else(|| {
                    let taken = [roles.date, roles.amount, roles.item, roles.order];
                    (0..frame.header.len()).find(|at| plain(at).ends_with("id") && !taken.contains(&Some(*at)))
                });
        }
        if roles.date.is_none() {
            roles.date = (0..frame.header.len()).find(|&at| dates::looks_like_dates(&frame.columns[at]));
        }
        if roles.amount.is_none() {
            roles.price = find(&None, PRICES)?;
        }
        Ok(roles)
    }

    /// Columns called as scoring scripts write them come first, where none is named.
    pub(super) fn prefer_scorer(&mut self, frame: &Frame, named: &Named) {
        let own = |named: &Option<String>, name: &str, found: Option<usize>| match named {
            Some(_) => found,
            None => frame.header.iter().position(|header| header == name).or(found),
        };
        self.customer = own(&named.customer, "user_id", self.customer);
        self.item = own(&named.item, "item_id", self.item);
        self.order = own(&named.order, "basket", self.order);
        self.date = own(&named.date, "t", self.date);
    }

    /// What was taken for what.
    pub(super) fn taken(&self, frame: &Frame) -> Vec<(&'static str, String)> {
        let name = |at: usize| format!("`{}`", frame.header[at]);
        let product = self.price.map(|price| match self.quantity {
            Some(quantity) => format!("{} times {}", name(quantity), name(price)),
            None => name(price),
        });
        let each = [
            ("customer", self.customer.map(name)),
            ("date", self.date.map(name)),
            ("amount", self.amount.map(name).or(product)),
            ("item", self.item.map(name)),
            ("order", self.order.map(name)),
        ];
        each.into_iter().filter_map(|(role, column)| Some((role, column?))).collect()
    }

    /// What was taken for what, in one sentence.
    fn told(&self, frame: &Frame) -> String {
        let parts: Vec<String> = self.taken(frame).iter().map(|(role, column)| format!("{role} {column}")).collect();
        format!("Columns: {}.", parts.join(", "))
    }

    /// A role that a command cannot do without.
    pub(super) fn need(frame: &Frame, at: Option<usize>, what: &str, option: &str) -> Result<usize, String> {
        at.ok_or_else(|| frame.wrong(&format!("which column is the {what}? {}", frame.name_it(option))))
    }

    /// The amounts, gaps as NaN, if there are any.
    fn amounts(&self, frame: &Frame, reading: &mut Reading) -> Result<Option<Vec<f64>>, String> {
        let mut read = |at| {
            let (values, told) = amounts::column(frame, at)?;
            reading.assumed.extend(told);
            Ok::<_, String>(values)
        };
        let Some(at) = self.amount.or(self.price) else { return Ok(None) };
        let mut values = read(at)?;
        if let Some(quantity) = self.quantity.filter(|_| self.amount.is_none()) {
            values.iter_mut().zip(read(quantity)?).for_each(|(price, quantity)| *price *= quantity);
        }
        Ok(Some(values))
    }

    /// Which rows take something back: pieces below one, or money below nothing.
    pub(super) fn returns(&self, frame: &Frame) -> Result<Vec<bool>, String> {
        let Some(at) = self.quantity.or(self.amount) else { return Ok(vec![false; frame.rows()]) };
        let least = if self.quantity.is_some() { f64::MIN_POSITIVE } else { 0.0 };
        Ok(amounts::column(frame, at)?.0.into_iter().map(|value| value < least).collect())
    }
}

/// How a table was read: which column is what, what had to be assumed, and what was left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Rows of the table.
    pub(super) rows: usize,
    /// What was taken for what.
    pub(super) columns: String,
    pub(super) assumed: Vec<String>,
    /// How many of what, and why.
    pub(super) left_out: Vec<(usize, &'static str, String)>,
}

impl Reading {
    /// Begins with the rows that count so far: those with a customer, and repeated ones only once when
    /// that is asked for.
    pub(super) fn begin(frame: &Frame, roles: &Roles, named: &Named) -> (Self, Vec<bool>) {
        let mut reading = Self { rows: frame.rows(), columns: roles.told(frame), ..Self::default() };
        let mut keep = vec![true; frame.rows()];
        if let Some(at) = roles.customer {
            reading.leave_out(frame, &mut keep, "without a customer", |row| frame.columns[at][row].is_empty());
        }
        let repeated = frame.repeated();
        let copies = repeated.iter().filter(|r| **r).count();
        if named.drop_duplicates {
            reading.leave_out(frame, &mut keep, "equal to an earlier one", |row| repeated[row]);
        } else if copies > 0 {
            reading.assumed.push(format!("{} {} an earlier one in every column and {} as sales; if the export doubled them, say --drop-duplicates.", many(copies, "row"), if copies == 1 { "repeats" } else { "repeat" }, if copies == 1 { "counts" } else { "count" }));
        }
        (reading, keep)
    }

    /// Leaves out the rows that `wrong` names, and counts them.
    pub(super) fn leave_out(&mut self, frame: &Frame, keep: &mut [bool], why: &str, wrong: impl Fn(usize) -> bool) {
        let mut count = 0;
        let mut first = 0;
        for row in (0..keep.len()).filter(|&row| wrong(row)) {
            if keep[row] {
                first = if count == 0 { frame.line(row) } else { first };
                count += 1;
                keep[row] = false;
            }
        }
        if count > 0 {
            self.left_out.push((count, "row", format!("{why} (the first in line {first})")));
        }
    }

    /// What was left out, in sentences.
    pub(super) fn left(&self) -> Vec<String> {
        let one = |(count, what, why): &(usize, &str, String)| {
            format!("{} {why} {} left out.", many(*count, what), if *count == 1 { "is" } else { "are" })
        };
        self.left_out.iter().map(one).collect()
    }

    /// Everything in sentences.
    pub(super) fn sentences(&self) -> Vec<String> {
        std::iter::once(self.columns.clone()).chain(self.assumed.iter().cloned()).chain(self.left()).collect()
    }
}

/// What one customer bought on one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Occasion {
    pub(super) customer: u64,
    pub(super) day: i64,
    pub(super) amount: f64,
}

/// Customers and their occasions, in order of customer and day.
#[derive(Debug)]
pub(super) struct History {
    pub(super) names: Vec<String>,
    pub(super) occasions: Vec<Occasion>,
    pub(super) has_amounts: bool,
    pub(super) reading: Reading,
}

/// Reads a table of orders as histories of customers.
pub(super) fn history(frame: &Frame, roles: &Roles, named: &Named) -> Result<History, String> {
    let customer = Roles::need(frame, roles.customer, "customer", "--customer")?;
    let date = Roles::need(frame, roles.date, "date", "--date")?;
    let (mut reading, mut keep) = Reading::begin(frame, roles, named);
    let (days, how) = dates::column(frame, date, named.day_first)?;
    reading.assumed.extend(how);
    reading.leave_out(frame, &mut keep, "without a date", |row| days[row].is_nan());
    let amounts = roles.amounts(frame, &mut reading)?;
    if let Some(amounts) = &amounts {
        reading.leave_out(frame, &mut keep, "without an amount", |row| amounts[row].is_nan());
    }
    let rows: Vec<usize> = (0..keep.len()).filter(|&row| keep[row]).collect();
    if rows.is_empty() {
        return Err(frame.wrong("no row has a customer, a date and an amount; are these the right columns? see --customer, --date, --amount"));
    }
    let mut sums: BTreeMap<(&str, i64), f64> = BTreeMap::new();
    for &row in &rows {
        let key = (frame.columns[customer][row].as_str(), dates::floor(days[row]));
        *sums.entry(key).or_default() += amounts.as_ref().map_or(1.0, |amounts| amounts[row]);
    }
    let before = sums.len();
    sums.retain(|_, amount| *amount > 0.0);
    if sums.len() < before {
        let why = "on which a customer's refunds, or gifts, outweighed purchases".into();
        reading.left_out.push((before - sums.len(), "day", why));
    }
    if sums.is_empty() {
        return Err(frame.wrong("no purchase has a positive amount; is the right column the amount? see --amount"));
    }
    let mut names: Vec<String> = Vec::new();
    let occasions = sums.into_iter().map(|((name, day), amount)| {
        if names.last().is_none_or(|last| last != name) {
            names.push(name.to_owned());
        }
        Occasion { customer: names.len() as u64 - 1, day, amount }
    });
    let occasions = occasions.collect();
    Ok(History { names, occasions, has_amounts: amounts.is_some(), reading })
}

impl History {
    /// First and last day of all.
    pub(super) fn span(&self) -> (i64, i64) {
        let days = || self.occasions.iter().map(|o| o.day);
        (days().min().unwrap_or(0), days().max().unwrap_or(0))
    }

    /// The file, how much was in it, and its period.
    pub(super) fn source(&self, frame: &Frame) -> String {
        let (rows, customers) = (many(self.reading.rows, "row"), many(self.names.len(), "customer"));
        format!("{}: {rows}, {customers}, {}", frame.name(), self.period())
    }

    /// The period in words.
    pub(super) fn period(&self) -> String {
        let (first, last) = self.span();
        format!("{} to {}", dates::date_of(first), dates::date_of(last))
    }
}
