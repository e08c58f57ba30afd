//! Orders as an analyst has them: which column is the customer, the date, the amount, the item?
//!
//! Columns are guessed from their names, dates also from their values; a caller may name each. Promise:
//! what was guessed is told; a row without a customer is left out and counted; a date or amount that
//! cannot be read is an error that names its line. Absent on purpose: currencies and time zones.

use std::collections::BTreeMap;

use clap::Args;
use perennial_learn::recommend::parse_time;

use super::frame::{Frame, plain_name};

/// Names for columns that cannot be guessed.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct Named {
    /// The column of customers.
    #[arg(long)]
    pub(super) customer: Option<String>,
    /// The column of dates.
    #[arg(long)]
    pub(super) date: Option<String>,
    /// The column of amounts paid.
    #[arg(long)]
    pub(super) amount: Option<String>,
    /// The column of items.
    #[arg(long)]
    pub(super) item: Option<String>,
    /// The column of orders, baskets or sessions.
    #[arg(long)]
    pub(super) order: Option<String>,
    /// Leave out rows that equal an earlier one in every column.
    #[arg(long)]
    pub(super) drop_duplicates: bool,
}

const CUSTOMERS: [&str; 16] = [
    "customerid",
    "customer",
    "userid",
    "user",
    "clientid",
    "client",
    "memberid",
    "member",
    "householdid",
    "custid",
    "customernumber",
    "customerno",
    "shopperid",
    "accountid",
    "customeremail",
    "email",
];
const DATES: [&str; 15] = [
    "date",
    "orderdate",
    "orderedat",
    "invoicedate",
    "createdat",
    "purchasedate",
    "purchasedat",
    "transactiondate",
    "transactiontimestamp",
    "timestamp",
    "datetime",
    "time",
    "day",
    "orderpurchasetimestamp",
    "t",
];
const AMOUNTS: [&str; 16] = [
    "amount",
    "total",
    "ordertotal",
    "totalprice",
    "totalamount",
    "revenue",
    "sales",
    "salesvalue",
    "spend",
    "net",
    "subtotal",
    "value",
    "ordervalue",
    "linetotal",
    "paid",
    "dollars",
];
const QUANTITIES: [&str; 4] = ["quantity", "qty", "units", "count"];
const PRICES: [&str; 4] = ["unitprice", "price", "itemprice", "priceperunit"];
const ITEMS: [&str; 14] = [
    "itemid",
    "item",
    "productid",
    "product",
    "sku",
    "stockcode",
    "articleid",
    "article",
    "productname",
    "itemname",
    "asin",
    "movieid",
    "artistid",
    "description",
];
const ORDERS: [&str; 14] = [
    "orderid",
    "order",
    "ordernumber",
    "orderno",
    "invoiceno",
    "invoice",
    "invoiceid",
    "basketid",
    "basket",
    "transactionid",
    "transaction",
    "receipt",
    "sessionid",
    "session",
];

/// The columns of a table of orders.
#[derive(Debug, Clone, Default)]
pub(super) struct Roles {
    pub(super) customer: Option<usize>,
    pub(super) date: Option<usize>,
    pub(super) amount: Option<usize>,
    /// Quantity and price of one, where there is no amount.
    product: Option<(usize, usize)>,
    pub(super) item: Option<usize>,
    pub(super) order: Option<usize>,
}

impl Roles {
    /// Finds the columns.
    pub(super) fn find(frame: &Frame, named: &Named) -> Result<Self, String> {
        let find = |name: &Option<String>, usual: &[&str]| frame.named_or_usual(name.as_deref(), usual);
        let mut roles = Self {
            customer: find(&named.customer, &CUSTOMERS)?,
            date: find(&named.date, &DATES)?,
            amount: find(&named.amount, &AMOUNTS)?,
            product: None,
            item: find(&named.item, &ITEMS)?,
            order: find(&named.order, &ORDERS)?,
        };
        if roles.customer.is_none() {
            let plain = |at: &usize| plain_name(&frame.header[*at]);
            roles.customer = (0..frame.header.len())
                .find(|at| plain(at).contains("customer"))
                .or_else(|| (0..frame.header.len()).find(|at| plain(at) == "id" && Some(*at) != roles.order));
        }
        if roles.date.is_none() {
            roles.date = (0..frame.header.len()).find(|&at| looks_like_dates(&frame.columns[at]));
        }
        if roles.amount.is_none() {
            roles.product = find(&None, &QUANTITIES)?.zip(find(&None, &PRICES)?);
            roles.amount = if roles.product.is_none() { find(&None, &PRICES)? } else { None };
        }
        Ok(roles)
    }

    /// What was taken for what, in one sentence.
    pub(super) fn told(&self, frame: &Frame) -> String {
        let name = |at: usize| format!("`{}`", frame.header[at]);
        let one = |what: &str, at: Option<usize>| at.map(|at| format!("{what} {}", name(at)));
        let product = self.product.map(|(q, p)| format!("amount {} times {}", name(q), name(p)));
        let parts = [
            one("customer", self.customer),
            one("date", self.date),
            one("amount", self.amount).or(product),
            one("item", self.item),
            one("order", self.order),
        ];
        format!("Columns: {}.", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }

    /// A role that a command cannot do without.
    pub(super) fn need(frame: &Frame, at: Option<usize>, what: &str, option: &str) -> Result<usize, String> {
        at.ok_or_else(|| {
            frame.wrong(&format!(
                "which column is the {what}? name it with {option}; the columns are {}",
                frame.listed()
            ))
        })
    }

    /// The amounts, if there are any.
    pub(super) fn amounts(&self, frame: &Frame) -> Result<Option<Vec<f64>>, String> {
        if let Some(at) = self.amount {
            return numbers(frame, at).map(Some);
        }
        let Some((quantity, price)) = self.product else { return Ok(None) };
        let pairs = numbers(frame, quantity)?.into_iter().zip(numbers(frame, price)?);
        Ok(Some(pairs.map(|(q, p)| q * p).collect()))
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
    pub(super) notes: Vec<String>,
}

/// Reads a table of orders as histories of customers.
pub(super) fn history(frame: &mut Frame, named: &Named) -> Result<History, String> {
    let roles = Roles::find(frame, named)?;
    let mut notes = vec![roles.told(frame)];
    notes.extend(tidy(frame, &roles, named)?);
    let customer = Roles::need(frame, roles.customer, "customer", "--customer")?;
    let date = Roles::need(frame, roles.date, "date", "--date")?;
    let (days, how) = dates(frame, date)?;
    notes.extend(how);
    let amounts = roles.amounts(frame)?;
    let mut numbers_of: BTreeMap<&str, u64> = BTreeMap::new();
    for name in &frame.columns[customer] {
        numbers_of.insert(name, 0);
    }
    numbers_of.values_mut().zip(0..).for_each(|(number, at)| *number = at);
    let mut sums: BTreeMap<(u64, i64), f64> = BTreeMap::new();
    for (row, name) in frame.columns[customer].iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "days")]
        let day = days[row].floor() as i64;
        *sums.entry((numbers_of[name.as_str()], day)).or_default() += amounts.as_ref().map_or(1.0, |a| a[row]);
    }
    let before = sums.len();
    let occasions: Vec<Occasion> = sums
        .into_iter()
        .filter(|(_, amount)| *amount > 0.0)
        .map(|((customer, day), amount)| Occasion { customer, day, amount })
        .collect();
    if occasions.len() < before {
        notes.push(format!(
            "{} days on which a customer's refunds outweighed purchases are left out.",
            before - occasions.len()
        ));
    }
    if occasions.is_empty() {
        return Err(frame.wrong("no purchase has a positive amount; is the right column the amount? see --amount"));
    }
    let names = numbers_of.into_keys().map(str::to_owned).collect();
    Ok(History { names, occasions, has_amounts: amounts.is_some(), notes })
}

/// Leaves out rows without a customer, and repeated rows when asked to.
pub(super) fn tidy(frame: &mut Frame, roles: &Roles, named: &Named) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    let repeated = frame.repeated();
    let copies = repeated.iter().filter(|r| **r).count();
    let keep: Vec<bool> = (0..frame.rows())
        .map(|row| {
            let known = roles.customer.is_none_or(|at| !frame.columns[at][row].is_empty());
            known && !(named.drop_duplicates && repeated[row])
        })
        .collect();
    let unknown = roles.customer.map_or(0, |at| frame.columns[at].iter().filter(|text| text.is_empty()).count());
    if unknown > 0 {
        notes.push(format!("{unknown} rows without a customer are left out."));
    }
    match (copies, named.drop_duplicates) {
        (0, _) => {}
        (_, true) => notes.push(format!("{copies} rows that repeat an earlier one are left out.")),
        (_, false) => notes.push(format!("{copies} rows repeat an earlier one in every column; they count as sales (--drop-duplicates leaves them out).")),
    }
    frame.keep(&keep);
    if frame.rows() == 0 {
        return Err(frame.wrong("no row names a customer; is the right column the customer? see --customer"));
    }
    Ok(notes)
}

/// A column of numbers, as people write amounts.
pub(super) fn numbers(frame: &Frame, at: usize) -> Result<Vec<f64>, String> {
    let one = |(row, text): (usize, &String)| {
        number(text).ok_or_else(|| {
            let (name, line) = (&frame.header[at], Frame::line(row));
            frame.wrong(&format!("`{name}` in line {line} is `{text}`, not a number; correct or leave out that row"))
        })
    };
    frame.columns[at].iter().enumerate().map(one).collect()
}

/// Reads `12.5`, `1,234.50`, `12,50`, `$ 3`, `-4 EUR`.
pub(super) fn number(text: &str) -> Option<f64> {
    if let Ok(value) = text.parse::<f64>() {
        return value.is_finite().then_some(value);
    }
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || ".,-".contains(*c)).collect();
    if text.chars().filter(|c| c.is_alphabetic()).count() > 3 {
        return None;
    }
    let plain = match (digits.rfind('.'), digits.rfind(',')) {
        (Some(dot), Some(comma)) if comma > dot => digits.replace('.', "").replace(',', "."),
        (None, Some(comma)) if digits.len() - comma <= 3 => digits.replace(',', "."),
        _ => digits.replace(',', ""),
    };
    plain.parse().ok().filter(|v: &f64| v.is_finite())
}

/// A column of dates as days since 1970, and what had to be assumed to read them.
pub(super) fn dates(frame: &Frame, at: usize) -> Result<(Vec<f64>, Option<String>), String> {
    let column = &frame.columns[at];
    let form = Form::of(column);
    let one = |(row, text): (usize, &String)| {
        form.read(text).ok_or_else(|| {
            let (name, line) = (&frame.header[at], Frame::line(row));
            let what = if text.is_empty() { "empty".into() } else { format!("`{text}`, not a date we can read") };
            frame.wrong(&format!("`{name}` in line {line} is {what}; write dates as 2026-01-31"))
        })
    };
    let days: Vec<f64> = column.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    let told = match form {
        Form::Slashed { day_first: true, .. } => Some("Dates are read with the day first.".into()),
        Form::Slashed { day_first: false, .. } => Some("Dates are read with the month first.".into()),
        _ => None,
    };
    Ok((days, told))
}

/// How a column writes dates.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// `2026-01-31`, with or without a time; or plain numbers, which count days.
    Iso,
    /// `20260131`.
    Compact,
    /// Seconds (or milliseconds) since 1970.
    Seconds(f64),
    /// `1/31/2026` or `31.1.2026`.
    Slashed { by: char, day_first: bool },
}

impl Form {
    fn of(column: &[String]) -> Self {
        let first = column.iter().find(|text| !text.is_empty()).map_or("", String::as_str);
        if let Ok(value) = first.parse::<f64>() {
            return match value {
                v if (1.9e7..2.2e7).contains(&v) && first.len() == 8 => Self::Compact,
                v if v > 1e11 => Self::Seconds(86_400_000.0),
                v if v > 1e8 => Self::Seconds(86_400.0),
                _ => Self::Iso,
            };
        }
        let Some(by) =
            ['/', '.'].into_iter().find(|by| first.split([' ', 'T']).next().unwrap_or("").matches(*by).count() == 2)
        else {
            return Self::Iso;
        };
        let part = |text: &String, at: usize| text.split(by).nth(at).and_then(|p| p.trim().parse::<u32>().ok());
        let day_first = match (
            column.iter().any(|t| part(t, 0).is_some_and(|p| p > 12)),
            column.iter().any(|t| part(t, 1).is_some_and(|p| p > 12)),
        ) {
            (true, _) => true,
            (_, true) => false,
            _ => by == '.',
        };
        Self::Slashed { by, day_first }
    }

    fn read(self, text: &str) -> Option<f64> {
        match self {
            Self::Iso => parse_time(text.split('+').next().unwrap_or(text)).filter(|_| !text.is_empty()),
            Self::Compact if text.len() == 8 && text.is_ascii() => {
                parse_time(&format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]))
            }
            Self::Compact => None,
            Self::Seconds(per_day) => text.parse::<f64>().ok().filter(|v| v.is_finite()).map(|v| v / per_day),
            Self::Slashed { by, day_first } => {
                let (date, time) = text.split_once(' ').unwrap_or((text, "0:0"));
                let parts: Vec<&str> = date.split(by).collect();
                let &[a, b, c] = parts.as_slice() else { return None };
                if a.len() == 4 {
                    return parse_time(&format!("{a}-{b}-{c} {time}"));
                }
                let (day, month) = if day_first { (a, b) } else { (b, a) };
                let year = if c.len() == 2 { format!("20{c}") } else { c.to_owned() };
                let time: String = time.chars().filter(|c| c.is_ascii_digit() || *c == ':').collect();
                parse_time(&format!("{year}-{month}-{day} {time}"))
            }
        }
    }
}

fn looks_like_dates(column: &[String]) -> bool {
    let form = Form::of(column);
    let mut some = column.iter().filter(|text| !text.is_empty()).take(50).peekable();
    some.peek().is_some() && some.all(|text| text.parse::<f64>().is_err() && form.read(text).is_some())
}

/// Whole days since 1970-01-01 of a date written as `2026-01-31`.
#[expect(clippy::cast_possible_truncation, reason = "days")]
pub(super) fn days_since_1970(text: &str) -> Option<i64> {
    parse_time(text).map(|days| days.floor() as i64)
}

/// The date of a day since 1970-01-01, as `2026-01-31`.
pub(super) fn date_of(day: i64) -> String {
    let at = jiff::Timestamp::from_second(day.saturating_mul(86_400));
    at.map_or_else(|_| day.to_string(), |at| at.to_string().chars().take(10).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, value) in
            [("12.5", 12.5), ("1,234.50", 1234.5), ("12,50", 12.5), ("$3", 3.0), ("1.234,5 EUR", 1234.5), ("-4", -4.0)]
        {
            assert_eq!(number(text), Some(value), "{text}");
        }
        assert_eq!(number("twelve"), None);
        assert_eq!(number("NaN"), None);
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        let read = |texts: &[&str]| {
            let column: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
            let form = Form::of(&column);
            column.iter().map(|text| form.read(text).map(|d| date_of(d.floor() as i64))).collect::<Vec<_>>()
        };
        let day = |text: &str| Some(text.to_owned());
        assert_eq!(read(&["12/1/2010 8:26", "12/13/2010 9:00"]), [day("2010-12-01"), day("2010-12-13")]);
        assert_eq!(read(&["01.02.2011", "03.02.2011"]), [day("2011-02-01"), day("2011-02-03")]);
        assert_eq!(read(&["19970131"]), [day("1997-01-31")]);
        assert_eq!(read(&["1326412800"]), [day("2012-01-13")]);
        assert_eq!(read(&["2026-01-31T23:59:59Z", "soon", ""]), [day("2026-01-31"), None, None]);
    }
}
