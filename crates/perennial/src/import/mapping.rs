//! Mapping files: how somebody else's columns become our calls.
//!
//! [`Source`] is the document as people write it; [`compile`] turns it into a [`Plan`] or into all
//! of its problems at once, each with its path and what would mend it.
//! Absent on purpose: expressions. A condition is a map of columns to simple tests, so that it can
//! be read aloud and never fails on a row.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use perennial_core::id::IdentifierKind;
use perennial_core::money::Currency;
use perennial_core::program::Problem;
use regex::{Regex, RegexBuilder};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;

use super::cleanse::{self, Case, Column, Kind};
use super::document::Document;
use super::shape;
use crate::wire::catalog::{IMPACT, thousandths};

/// A mapping file, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    /// The version of this format: 1.
    pub(super) import: u32,
    /// The import's name: the source of every event, and a part of every message id.
    pub(super) name: String,
    /// What this is, for people.
    #[serde(default)]
    pub(super) about: String,
    /// The currency of amounts, as `GBP`; of single orders, what `orders.currency` says.
    pub(super) currency: Option<String>,
    /// The zone of instants that say none, as `Europe/London`.
    pub(super) time_zone: String,
    /// Who joins the programme.
    #[serde(default)]
    pub(super) enroll: Enroll,
    /// The files, by a name of your choice.
    pub(super) files: BTreeMap<String, FileSource>,
    /// What is known of products.
    pub(super) products: Option<ProductsSource>,
    /// Who the customers are (identify calls).
    pub(super) customers: Option<CustomersSource>,
    /// Lines that make orders (Order Completed and Order Refunded).
    pub(super) orders: Option<OrdersSource>,
    /// Rows that are something else that happened (track calls).
    #[serde(default)]
    pub(super) events: Vec<EventSource>,
}

/// Who joins the programme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Enroll {
    /// Nobody.
    #[default]
    Never,
    /// Everybody with a name, just before the first order.
    FirstOrder,
    /// Whoever has an instant in the column `customers.enrolled_at`, at that instant.
    Column,
}

/// One file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSource {
    /// Below the data folder; a name that ends in `.gz` is unpacked on the way.
    pub(super) path: String,
    /// By the name's ending when absent; said here, it counts whatever the name is.
    pub(super) format: Option<Format>,
    /// One character between values (CSV).
    #[serde(default = "comma")]
    pub(super) delimiter: char,
    /// How letters are stored.
    #[serde(default)]
    pub(super) encoding: Encoding,
    /// What to do with a row that equals an earlier one in all columns.
    #[serde(default)]
    pub(super) exact_duplicates: Duplicates,
    /// How values are cleansed and checked, by column; a column used but not named here is a
    /// trimmed text.
    #[serde(default)]
    pub(super) columns: BTreeMap<String, ColumnSource>,
    /// Rows that are none of our business: left out, counted under their reason, not rejected.
    #[serde(default)]
    pub(super) skip: Vec<SkipSource>,
}

fn comma() -> char {
    ','
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Values between delimiters, names in the first row.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

/// How letters are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// What older Windows programs write in western Europe; includes Latin-1.
    #[serde(rename = "windows_1252")]
    Windows1252,
}

/// What to do with a row that equals an earlier one in all columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Duplicates {
    /// Two equal rows are two sales of the same thing.
    #[default]
    Keep,
    /// Two equal rows are one row, exported twice.
    Drop,
}

/// How one column is cleansed, then checked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnSource {
    /// What its values are.
    #[serde(default, rename = "type")]
    pub(super) kind: KindSource,
    /// Whether white space around values goes; inner runs become one space.
    #[serde(default = "yes")]
    pub(super) trim: bool,
    /// Letter case.
    #[serde(default)]
    pub(super) case: Case,
    /// Texts that mean nothing is known, as `NULL` or `-`.
    #[serde(default)]
    pub(super) empty: Vec<String>,
    /// Texts that stand for others.
    #[serde(default)]
    pub(super) replace: BTreeMap<String, String>,
    /// How instants are written, tried in order, as `%d.%m.%Y %H:%M`; `2024-05-01T10:00` and the like always work.
    #[serde(default)]
    pub(super) formats: Vec<String>,
    /// The zone of these instants, when it is not the import's.
    pub(super) time_zone: Option<String>,
    /// The sign before decimals: `.` or `,`.
    #[serde(default = "point")]
    pub(super) decimal: char,
    /// The sign between thousands: `1.234.567` or `12.34.567`, and elsewhere it is a fault.
    pub(super) thousands: Option<char>,
    /// Round numbers to so many decimals: exports from floating point need it.
    pub(super) decimals: Option<u32>,
    /// A row without a value is rejected.
    #[serde(default)]
    pub(super) required: bool,
    /// A smaller number is rejected.
    pub(super) min: Option<f64>,
    /// A larger number is rejected.
    pub(super) max: Option<f64>,
    /// A text that does not match this regular expression is rejected.
    pub(super) pattern: Option<String>,
    /// A text that is none of these is rejected.
    #[serde(default)]
    pub(super) one_of: Vec<String>,
    /// A longer text is rejected (characters).
    #[serde(default = "default_length")]
    pub(super) max_length: usize,
    /// The file may lack this column altogether.
    #[serde(default)]
    pub(super) may_be_missing: bool,
}

fn yes() -> bool {
    true
}

fn point() -> char {
    '.'
}

fn default_length() -> usize {
    1_000
}

impl Default for ColumnSource {
    fn default() -> Self {
        Self {
            kind: KindSource::Text,
            trim: true,
            case: Case::Keep,
            empty: Vec::new(),
            replace: BTreeMap::new(),
            formats: Vec::new(),
            time_zone: None,
            decimal: '.',
            thousands: None,
            decimals: None,
            required: false,
            min: None,
            max: None,
            pattern: None,
            one_of: Vec::new(),
            max_length: default_length(),
            may_be_missing: false,
        }
    }
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindSource {
    /// A text.
    #[default]
    Text,
    /// A whole number.
    Integer,
    /// An exact decimal.
    Decimal,
    /// A date with a time; without one, the start of the day.
    Instant,
    /// A calendar day, as a birthday is.
    Date,
    /// Yes or no.
    Bool,
    /// An e-mail address; becomes lower case.
    Email,
    /// A phone number; digits and a leading plus are kept.
    Phone,
}

/// Rows that are left out.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SkipSource {
    /// Why, in one word: the line of the reconciliation.
    pub(super) reason: String,
    /// Which: tests by column, all of which must hold.
    pub(super) when: BTreeMap<String, TestSource>,
}

/// Tests of one value, all of which must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TestSource {
    /// It is exactly this text.
    pub(super) is: Option<String>,
    /// It is one of these texts.
    pub(super) one_of: Vec<String>,
    /// It begins with this text.
    pub(super) starts_with: Option<String>,
    /// It contains this text, letter case apart.
    pub(super) contains: Option<String>,
    /// It matches this regular expression.
    pub(super) matches: Option<String>,
    /// It is empty, or it is not.
    pub(super) empty: Option<bool>,
    /// It is a number below this one.
    pub(super) below: Option<f64>,
    /// It is a number above this one.
    pub(super) above: Option<f64>,
    /// It is this number.
    pub(super) equals: Option<f64>,
}

/// Product rows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductsSource {
    /// The file.
    pub(super) from: String,
    /// The column of the product id; rows without one say nothing about products.
    pub(super) id: String,
    /// What is known besides, by name: `name: description`.
    #[serde(default)]
    pub(super) about: BTreeMap<String, String>,
    /// Which value stays when rows differ, by name of `about`.
    #[serde(default)]
    pub(super) survivorship: BTreeMap<String, Survivor>,
    /// A column of labels.
    pub(super) tags: Option<TagsSource>,
    /// Columns of impact by unit, for one piece: `waste_kg: saved_waste`.
    #[serde(default)]
    pub(super) impact: BTreeMap<String, String>,
    /// Labels and impact for the products whose row passes tests.
    #[serde(default)]
    pub(super) rules: Vec<ProductRuleSource>,
}

/// A column of labels.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TagsSource {
    /// The column.
    pub(super) column: String,
    /// What stands between two labels.
    pub(super) separator: char,
}

/// Labels and impact for some products.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductRuleSource {
    /// Tests by column, all of which must hold.
    pub(super) when: BTreeMap<String, TestSource>,
    /// Labels given.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// Impact of one piece by unit, from 0 to 1,000,000 with at most three decimals.
    #[serde(default)]
    pub(super) impact: BTreeMap<String, f64>,
}

/// Customer rows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomersSource {
    /// The file.
    pub(super) from: String,
    /// Columns of identifiers by kind: user, email, phone, loyalty, anonymous, or another system's name.
    pub(super) ids: BTreeMap<String, String>,
    /// The column that says when this was stated; the first order's instant when absent.
    pub(super) at: Option<String>,
    /// The column that says when they joined (`enroll: column`).
    pub(super) enrolled_at: Option<String>,
    /// What is known of them, by name: `birthday: date_of_birth`.
    #[serde(default)]
    pub(super) traits: BTreeMap<String, String>,
    /// Which value stays when rows of one customer differ, by trait; `latest` when not said.
    #[serde(default)]
    pub(super) survivorship: BTreeMap<String, Survivor>,
}

/// Which of several values stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Survivor {
    /// The last one stated.
    #[default]
    Latest,
    /// The first one stated.
    First,
    /// The one stated most often; of equals the latest.
    MostCommon,
    /// The longest; of equals the latest.
    Longest,
}

/// Order rows, one a line of an order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrdersSource {
    /// The file.
    pub(super) from: String,
    /// The column of the order id; rows with the same one are one order.
    pub(super) id: String,
    /// The column of the instant; the earliest line's counts.
    pub(super) at: String,
    /// Columns of identifiers by kind.
    pub(super) customer: BTreeMap<String, String>,
    /// Who bought when no identifier is there: an anonymous customer of this name, in which
    /// `{order}` stands for the order id. Absent: such rows are rejected.
    pub(super) without_customer: Option<String>,
    /// The column of the order's currency, as `CHF`. Where no row of an order says one, it is the mapping's.
    pub(super) currency: Option<String>,
    /// What a row says about its line.
    pub(super) line: LineSource,
    /// The column of the order's shipping, the same on all lines.
    pub(super) shipping: Option<String>,
    /// The column of the order's tax, the same on all lines.
    pub(super) tax: Option<String>,
    /// Further properties of the order, from its first row.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
    /// What becomes of an order when one of its lines is rejected.
    #[serde(default)]
    pub(super) incomplete: Incomplete,
    /// Rows that bring something back.
    pub(super) returns: Option<ReturnsSource>,
}

/// A line of an order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LineSource {
    /// The column of the product id.
    pub(super) product_id: String,
    /// The column of the pieces; one when absent.
    pub(super) quantity: Option<String>,
    /// Rows sold by weight, volume or length, where the quantity is not a number of pieces: tests by
    /// column, all of which must hold. Such a line is one piece.
    #[serde(default)]
    pub(super) by_measure: BTreeMap<String, TestSource>,
    /// The column of one piece's price before `discounts`. Either this or `amount`.
    pub(super) price: Option<String>,
    /// The column of what the whole line cost, after all discounts.
    pub(super) amount: Option<String>,
    /// Columns of what was taken off the line.
    #[serde(default)]
    pub(super) discounts: Vec<String>,
    /// What lines say of their product, of what `products.about` names: rules ask the line for its `category`,
    /// `brand` and `name`.
    #[serde(default)]
    pub(super) about: Vec<String>,
}

/// What becomes of an order when one of its lines is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Incomplete {
    /// All its lines wait in the reject file, so that it can be mended and fed again whole.
    #[default]
    Hold,
    /// It comes in without that line.
    DropLine,
}

/// Rows that bring something back.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReturnsSource {
    /// Which rows: tests by column, all of which must hold.
    pub(super) when: BTreeMap<String, TestSource>,
    /// The column that names the order they refer to. Where it is empty or absent, the pieces are
    /// matched to the customer's latest earlier order that has pieces of the product left.
    pub(super) order: Option<String>,
}

/// Rows that are track calls.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventSource {
    /// The file.
    pub(super) from: String,
    /// The event's name.
    pub(super) event: String,
    /// The column of the instant.
    pub(super) at: String,
    /// Columns of identifiers by kind.
    pub(super) customer: BTreeMap<String, String>,
    /// Columns that tell two such events apart; the whole row when absent.
    #[serde(default)]
    pub(super) key: Vec<String>,
    /// Properties by name.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
}

/// A compiled mapping: columns are indices of their file's `columns`.
#[derive(Debug)]
pub struct Plan {
    /// The import's name.
    pub name: Box<str>,
    /// What it brings in, for people.
    pub about: Box<str>,
    /// The currency of orders that say none.
    pub currency: Currency,
    pub(super) fingerprint: [u8; 16],
    pub(super) enroll: Enroll,
    pub(super) files: Vec<File>,
    pub(super) products: Option<Products>,
    pub(super) customers: Option<Customers>,
    pub(super) orders: Option<Orders>,
    pub(super) events: Vec<Events>,
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) name: Box<str>,
    pub(super) path: String,
    pub(super) format: Option<Format>,
    pub(super) delimiter: u8,
    pub(super) encoding: Encoding,
    pub(super) duplicates: Duplicates,
    pub(super) columns: Vec<Column>,
    /// Those that hold the names of customers, orders or products.
    pub(super) names: Vec<usize>,
    /// Some event knows its rows only by their content.
    pub(super) tells_rows_apart: bool,
    pub(super) skip: Vec<(Box<str>, When)>,
}

/// Tests that must all hold: column and test.
pub(super) type When = Vec<(usize, Test)>;
/// Columns by the name they get.
pub(super) type Named = Vec<(Box<str>, usize)>;
/// Columns of identifiers, the strongest first.
pub(super) type Ids = Vec<(IdentifierKind, usize)>;

#[derive(Debug)]
pub(super) enum Test {
    OneOf(Vec<Box<str>>),
    StartsWith(Box<str>),
    Contains(String),
    Matches(Regex),
    Empty(bool),
    Below(Decimal),
    Above(Decimal),
    Equals(Decimal),
}

#[derive(Debug)]
pub(super) struct Products {
    pub(super) file: usize,
    pub(super) id: usize,
    pub(super) about: Vec<(Box<str>, usize, Survivor)>,
    pub(super) tags: Option<(usize, char)>,
    pub(super) impact: Named,
    pub(super) rules: Vec<ProductRule>,
}

#[derive(Debug)]
pub(super) struct ProductRule {
    pub(super) when: When,
    pub(super) tags: Vec<Box<str>>,
    pub(super) impact: Vec<(Box<str>, i64)>,
}

#[derive(Debug)]
pub(super) struct Customers {
    pub(super) file: usize,
    pub(super) ids: Ids,
    pub(super) at: Option<usize>,
    pub(super) enrolled_at: Option<usize>,
    pub(super) traits: Vec<(Box<str>, usize, Survivor)>,
}

#[derive(Debug)]
pub(super) struct Orders {
    pub(super) file: usize,
    pub(super) id: usize,
    pub(super) at: usize,
    pub(super) customer: Ids,
    pub(super) without_customer: Option<Box<str>>,
    pub(super) currency: Option<usize>,
    pub(super) product: usize,
    pub(super) quantity: Option<usize>,
    pub(super) by_measure: When,
    pub(super) price: Option<usize>,
    pub(super) amount: Option<usize>,
    pub(super) discounts: Vec<usize>,
    pub(super) about: Vec<Box<str>>,
    pub(super) shipping: Option<usize>,
    pub(super) tax: Option<usize>,
    pub(super) properties: Named,
    pub(super) incomplete: Incomplete,
    pub(super) returns: Option<When>,
    pub(super) returned_order: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Events {
    pub(super) file: usize,
    pub(super) name: Box<str>,
    pub(super) at: usize,
    pub(super) customer: Ids,
    pub(super) key: Vec<usize>,
    pub(super) properties: Named,
}

/// The JSON Schema of mapping files, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Source).to_value()
}

/// Reads a mapping document.
///
/// # Errors
/// All problems of the document at once, in the order of its lines.
pub fn compile(text: &str) -> Result<Plan, Vec<Problem>> {
    let document = Document::read(text).map_err(|problem| vec![problem])?;
    compile_document(&document, super::digest(&[text.as_bytes()])).map_err(|mut problems| {
        for problem in &mut problems {
            if problem.line == 0 {
                problem.line = document.line_of(&problem.path);
            }
            if problem.path.is_empty() {
                problem.path.push_str("the mapping");
            }
        }
        problems.sort_by_key(|problem| problem.line);
        problems
    })
}

fn compile_document(document: &Document, fingerprint: [u8; 16]) -> Result<Plan, Vec<Problem>> {
    let (value, mut problems) = (document.value(), document.doubles());
    let schema = schema();
    problems.extend(shape::check(&schema, &value));
    let Some(document) = shape::fitted(&schema, value) else { return Err(problems) };
    let source: Source = match serde_json::from_value(document) {
        Ok(source) => source,
        Err(e) if problems.is_empty() => return Err(one("", e.to_string())),
        Err(_) => return Err(problems),
    };
    let mut make = Compiler { problems: Vec::new(), files: Vec::new() };
    let plan = make.plan(&source, fingerprint);
    make.problems.retain(|problem| !problems.iter().any(|first| follows(problem, first)));
    problems.extend(make.problems);
    match plan {
        Some(plan) if problems.is_empty() => Ok(plan),
        _ => Err(problems),
    }
}

/// Whether a problem of meaning may be there only for one of shape, which was left out of the document:
/// it is at the same place, or right above it, or it speaks of it.
fn follows(problem: &Problem, first: &Problem) -> bool {
    let above = first.path.rsplit_once(['.', '[']).map_or("", |(above, _)| above);
    let below = problem.path.strip_prefix(&*first.path);
    let at_it = below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let spoken_of = if first.path.contains('.') { first.path.clone() } else { format!("'{}:", first.path) };
    at_it || problem.path == above || problem.message.contains(&spoken_of)
}

fn one(path: &str, message: String) -> Vec<Problem> {
    vec![Problem { path: path.to_owned(), line: 0, message }]
}

/// Properties of an order that it has fields for, and what fills these: beside them the same name would say
/// something that nobody reads.
const FILLED: [(&[&str], &str); 7] = [
    (&["currency"], "from the column that 'orders.currency' names; say it there"),
    (&["order_id", "orderId"], "from 'orders.id'; leave this out"),
    (&["products"], "from the rows, as 'orders.line' says; leave this out"),
    (
        &["subtotal", "revenue", "total"],
        "with the sum of its lines, as 'orders.line' says; leave this out, or name it otherwise",
    ),
    (&["discount"], "from 'orders.line.discounts'; say it there, or name this otherwise"),
    (&["shipping", "tax"], "from the columns that 'orders.shipping' and 'orders.tax' name; say it there"),
    (&["paid_with_points"], "by calls only, and imports do not know it; name this otherwise"),
];

/// Compiled expressions larger than this are refused: a pattern must not eat the memory.
const REGEX_BYTES: usize = 1 << 20;

struct Compiler {
    problems: Vec<Problem>,
    files: Vec<File>,
}

impl Compiler {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), line: 0, message: message.into() });
    }

    fn plan(&mut self, s: &Source, fingerprint: [u8; 16]) -> Option<Plan> {
        if s.import != 1 {
            self.problem("import", format!("version {} is not known; this program reads 1", s.import));
        }
        let name_fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if s.name.is_empty() || s.name.len() > 60 || !s.name.chars().all(name_fits) {
            self.problem("name", "use 1 to 60 letters, digits, '-', '_' or '.'");
        }
        let zone = self.zone("time_zone", &s.time_zone);
        let currency = self.currency(s);
        for (name, file) in &s.files {
            let file = self.file(name, file, &zone);
            self.files.push(file);
        }
        if s.files.is_empty() {
            self.problem("files", "name at least one file");
        }
        let products = s.products.as_ref().and_then(|p| self.products(p));
        let customers = s.customers.as_ref().and_then(|c| self.customers(c, s.enroll));
        let orders = s.orders.as_ref().and_then(|o| self.orders(o));
        self.said_of_lines(s);
        let events: Vec<_> = s.events.iter().enumerate().filter_map(|(i, e)| self.event(i, e)).collect();
        if s.orders.is_none() && s.customers.is_none() && s.products.is_none() && s.events.is_empty() {
            self.problem("", "nothing to bring in; add orders, customers, products or events");
        }
        if s.enroll == Enroll::Column && s.customers.as_ref().is_none_or(|c| c.enrolled_at.is_none()) {
            self.problem("enroll", "'column' needs customers.enrolled_at: the column that says when they joined");
        }
        let files = std::mem::take(&mut self.files);
        Some(Plan {
            name: s.name.as_str().into(),
            about: s.about.trim().into(),
            currency: currency?,
            fingerprint,
            enroll: s.enroll,
            files,
            products,
            customers,
            orders,
            events,
        })
    }

    fn currency(&mut self, s: &Source) -> Option<Currency> {
        match s.currency.as_deref().map(str::parse::<Currency>) {
            Some(Ok(currency)) => Some(currency),
            Some(Err(e)) => {
                self.problem("currency", e.to_string());
                None
            }
            None if s.orders.is_some() => {
                self.problem("currency", "orders have amounts; say in which currency, as 'currency: EUR'");
                None
            }
            None => Some(Currency::NONE),
        }
    }

    fn zone(&mut self, path: &str, name: &str) -> TimeZone {
        TimeZone::get(name).unwrap_or_else(|_| {
            self.problem(path, format!("'{name}' is not a time zone; use a name like Europe/London"));
            TimeZone::UTC
        })
    }

    fn file(&mut self, name: &str, f: &FileSource, zone: &TimeZone) -> File {
        let at = format!("files.{name}");
        if !f.delimiter.is_ascii() || matches!(f.delimiter, '"' | '\n' | '\r') {
            self.problem(format!("{at}.delimiter"), "use one ASCII character such as ',' ';' or a tab (\"\\t\")");
        }
        let climbs = std::path::Path::new(&f.path).components().any(|c| c == std::path::Component::ParentDir);
        if f.path.is_empty() || f.path.starts_with('/') || climbs {
            self.problem(format!("{at}.path"), "name a file below the data folder, without '..' or a leading '/'");
        }
        let mut file = File {
            name: name.into(),
            path: f.path.clone(),
            format: f.format,
            delimiter: u8::try_from(f.delimiter).unwrap_or(b','),
            encoding: f.encoding,
            duplicates: f.exact_duplicates,
            columns: Vec::new(),
            names: Vec::new(),
            tells_rows_apart: false,
            skip: Vec::new(),
        };
        for (column, spec) in &f.columns {
            let compiled = self.column(&format!("{at}.columns.{column}"), column, spec, zone);
            file.columns.push(compiled);
        }
        self.files.push(file);
        let index = self.files.len() - 1;
        for (i, skip) in f.skip.iter().enumerate() {
            let path = format!("{at}.skip[{i}].when");
            let when = self.when(&path, index, &skip.when);
            self.files[index].skip.push((skip.reason.as_str().into(), when));
        }
        self.files.swap_remove(index)
    }

    fn column(&mut self, at: &str, name: &str, c: &ColumnSource, zone: &TimeZone) -> Column {
        let zone = match &c.time_zone {
            Some(own) => self.zone(&format!("{at}.time_zone"), own),
            None => zone.clone(),
        };
        if !matches!(c.decimal, '.' | ',') {
            self.problem(format!("{at}.decimal"), "use '.' or ','");
        }
        match c.thousands {
            Some(sign) if sign == c.decimal => {
                self.problem(format!("{at}.thousands"), "the sign between thousands cannot be the one before decimals");
            }
            Some(sign) if sign.is_alphanumeric() || matches!(sign, '-' | '+') => {
                self.problem(format!("{at}.thousands"), "use a sign such as '.' ',' a blank or an apostrophe");
            }
            _ => {}
        }
        if c.decimals.is_some_and(|d| d > 6) {
            self.problem(format!("{at}.decimals"), "at most 6");
        }
        let numeric = matches!(c.kind, KindSource::Integer | KindSource::Decimal);
        if !numeric && (c.min.is_some() || c.max.is_some() || c.decimals.is_some()) {
            self.problem(format!("{at}.type"), "min, max and decimals need 'type: integer' or 'type: decimal'");
        }
        if !matches!(c.kind, KindSource::Instant | KindSource::Date) && !c.formats.is_empty() {
            self.problem(format!("{at}.type"), "formats need 'type: instant' or 'type: date'");
        }
        for (i, format) in c.formats.iter().enumerate() {
            if let Err(why) = cleanse::check_format(format) {
                self.problem(format!("{at}.formats[{i}]"), why);
            }
        }
        if let (Some(min), Some(max)) = (c.min, c.max)
            && min > max
        {
            self.problem(format!("{at}.min"), format!("{min} is above max, {max}: no number is both"));
        }
        let kind = match c.kind {
            KindSource::Text => Kind::Text,
            KindSource::Integer => Kind::Number { whole: true },
            KindSource::Decimal => Kind::Number { whole: false },
            KindSource::Instant => Kind::Instant,
            KindSource::Date => Kind::Date,
            KindSource::Bool => Kind::Bool,
            KindSource::Email => Kind::Email,
            KindSource::Phone => Kind::Phone,
        };
        let mut column = Column::new(name, kind, zone, c);
        column.pattern = c.pattern.as_ref().and_then(|p| self.regex(&format!("{at}.pattern"), p));
        column.min = c.min.and_then(|n| self.number(&format!("{at}.min"), n));
        column.max = c.max.and_then(|n| self.number(&format!("{at}.max"), n));
        column
    }

    fn regex(&mut self, at: &str, pattern: &str) -> Option<Regex> {
        match RegexBuilder::new(pattern).size_limit(REGEX_BYTES).build() {
            Ok(regex) => Some(regex),
            Err(e) => {
                let last = e.to_string().lines().last().unwrap_or_default().to_owned();
                self.problem(at, format!("not a regular expression: {last}"));
                None
            }
        }
    }

    fn number(&mut self, at: &str, n: f64) -> Option<Decimal> {
        let exact = n.to_string().parse().ok();
        if exact.is_none() {
            self.problem(at, "not a number that can be held exactly");
        }
        exact
    }

    /// The index of a file by its name.
    fn from(&mut self, at: &str, name: &str) -> Option<usize> {
        let index = self.files.iter().position(|f| &*f.name == name);
        if index.is_none() {
            let known = self.files.iter().map(|f| &*f.name).collect();
            let hint = shape::suggestion(name, known);
            self.problem(format!("{at}.from"), format!("no file '{name}' under files; {hint}"));
        }
        index
    }

    /// The index of a column, which is declared as a trimmed text when the file does not name it.
    fn col(&mut self, file: usize, name: &str) -> usize {
        let columns = &mut self.files[file].columns;
        if let Some(index) = columns.iter().position(|c| &*c.name == name) {
            return index;
        }
        columns.push(Column::new(name, Kind::Text, TimeZone::UTC, &ColumnSource::default()));
        columns.len() - 1
    }

    /// A column of names, by which something is known again.
    fn name(&mut self, file: usize, name: &str) -> usize {
        let index = self.col(file, name);
        self.files[file].names.push(index);
        index
    }

    /// A column that must be of a kind.
    fn typed(&mut self, at: &str, file: usize, name: &str, kinds: &[Kind], remedy: &str) -> usize {
        let index = self.col(file, name);
        if !kinds.contains(&self.files[file].columns[index].kind) {
            let file = self.files[file].name.clone();
            self.problem(at, format!("column '{name}' must be {remedy}; say so at files.{file}.columns.{name}.type"));
        }
        index
    }

    fn instant(&mut self, at: &str, file: usize, name: &str) -> usize {
        self.typed(at, file, name, &[Kind::Instant], "an instant")
    }

    fn amount(&mut self, at: &str, file: usize, name: &str) -> usize {
        self.typed(at, file, name, &[Kind::Number { whole: false }, Kind::Number { whole: true }], "a decimal")
    }

    fn named(&mut self, file: usize, map: &BTreeMap<String, String>) -> Named {
        map.iter().map(|(name, column)| (name.as_str().into(), self.col(file, column))).collect()
    }

    fn ids(&mut self, at: &str, file: usize, map: &BTreeMap<String, String>) -> Ids {
        if map.is_empty() {
            self.problem(at, "say which column recognises the customer, as 'user: customer_id'");
        }
        let mut ids: Ids = Vec::new();
        for (kind, column) in map {
            let sound = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if !sound {
                self.problem(format!("{at}.{kind}"), "a kind of identifier is written in lower case letters and '_'");
            }
            let kind = match kind.as_str() {
                "user" => IdentifierKind::User,
                "email" => IdentifierKind::Email,
                "phone" => IdentifierKind::Phone,
                "loyalty" => IdentifierKind::Loyalty,
                "anonymous" => IdentifierKind::Anonymous,
                other => IdentifierKind::External(other.into()),
            };
            ids.push((kind, self.name(file, column)));
        }
        ids.sort();
        ids
    }

    fn when(&mut self, at: &str, file: usize, map: &BTreeMap<String, TestSource>) -> When {
        let mut all = Vec::new();
        if map.is_empty() {
            self.problem(at, "name at least one column with a test");
        }
        for (name, test) in map {
            let column = self.col(file, name);
            let path = format!("{at}.{name}");
            let before = all.len();
            let numeric = test.below.is_some() || test.above.is_some() || test.equals.is_some();
            if numeric && !matches!(self.files[file].columns[column].kind, Kind::Number { .. }) {
                self.problem(&path, "below, above and equals need a column of 'type: integer' or 'type: decimal'");
            }
            self.tests(&path, test, |t| all.push((column, t)));
            if all.len() == before {
                self.problem(
                    &path,
                    "say what to test: is, one_of, starts_with, contains, matches, empty, below, above, equals",
                );
            }
        }
        all
    }

    fn tests(&mut self, at: &str, test: &TestSource, mut push: impl FnMut(Test)) {
        if let Some(text) = &test.is {
            push(Test::OneOf(vec![text.as_str().into()]));
        }
        if !test.one_of.is_empty() {
            push(Test::OneOf(test.one_of.iter().map(|t| t.as_str().into()).collect()));
        }
        if let Some(text) = &test.starts_with {
            push(Test::StartsWith(text.as_str().into()));
        }
        if let Some(text) = &test.contains {
            push(Test::Contains(text.to_lowercase()));
        }
        if let Some(regex) = test.matches.as_ref().and_then(|p| self.regex(&format!("{at}.matches"), p)) {
            push(Test::Matches(regex));
        }
        if let Some(empty) = test.empty {
            push(Test::Empty(empty));
        }
        if let Some(n) = test.below.and_then(|n| self.number(at, n)) {
            push(Test::Below(n));
        }
        if let Some(n) = test.above.and_then(|n| self.number(at, n)) {
            push(Test::Above(n));
        }
        if let Some(n) = test.equals.and_then(|n| self.number(at, n)) {
            push(Test::Equals(n));
        }
    }

    fn products(&mut self, p: &ProductsSource) -> Option<Products> {
        let file = self.from("products", &p.from)?;
        self.survivors("products", p.about.keys(), &p.survivorship);
        let mut rules = Vec::new();
        for (i, rule) in p.rules.iter().enumerate() {
            let at = format!("products.rules[{i}]");
            let when = self.when(&format!("{at}.when"), file, &rule.when);
            let mut impact = Vec::new();
            for (unit, n) in &rule.impact {
                match self.number(&at, *n).and_then(thousandths) {
                    Some(n) => impact.push((unit.as_str().into(), n)),
                    None => self.problem(format!("{at}.impact.{unit}"), format!("use {IMPACT}")),
                }
            }
            rules.push(ProductRule { when, tags: rule.tags.iter().map(|t| t.as_str().into()).collect(), impact });
        }
        let mut impact = Vec::new();
        for (unit, column) in &p.impact {
            impact.push((unit.as_str().into(), self.amount(&format!("products.impact.{unit}"), file, column)));
        }
        let tags = p.tags.as_ref().map(|t| (self.col(file, &t.column), t.separator));
        Some(Products {
            file,
            id: self.name(file, &p.id),
            about: self.surviving(file, &p.about, &p.survivorship),
            tags,
            impact,
            rules,
        })
    }

    fn survivors<'a>(&mut self, at: &str, known: impl Iterator<Item = &'a String>, said: &BTreeMap<String, Survivor>) {
        let known: Vec<&str> = known.map(String::as_str).collect();
        for name in said.keys().filter(|n| !known.contains(&n.as_str())) {
            let hint = shape::suggestion(name, known.clone());
            self.problem(format!("{at}.survivorship.{name}"), format!("nothing is called '{name}'; {hint}"));
        }
    }

    fn surviving(
        &mut self,
        file: usize,
        map: &BTreeMap<String, String>,
        rules: &BTreeMap<String, Survivor>,
    ) -> Vec<(Box<str>, usize, Survivor)> {
        let rule = |name: &String| rules.get(name).copied().unwrap_or_default();
        map.iter().map(|(name, column)| (name.as_str().into(), self.col(file, column), rule(name))).collect()
    }

    fn customers(&mut self, c: &CustomersSource, enroll: Enroll) -> Option<Customers> {
        let file = self.from("customers", &c.from)?;
        self.survivors("customers", c.traits.keys(), &c.survivorship);
        if c.enrolled_at.is_some() && enroll != Enroll::Column {
            self.problem("customers.enrolled_at", "is read only with 'enroll: column'; add that, or leave this out");
        }
        Some(Customers {
            file,
            ids: self.ids("customers.ids", file, &c.ids),
            at: c.at.as_ref().map(|name| self.instant("customers.at", file, name)),
            enrolled_at: c.enrolled_at.as_ref().map(|name| self.instant("customers.enrolled_at", file, name)),
            traits: self.surviving(file, &c.traits, &c.survivorship),
        })
    }

    fn orders(&mut self, o: &OrdersSource) -> Option<Orders> {
        let file = self.from("orders", &o.from)?;
        let line = &o.line;
        if line.price.is_some() == line.amount.is_some() {
            self.problem("orders.line", "say either price (of one piece) or amount (of the whole line)");
        }
        if o.without_customer.as_ref().is_some_and(|t| !t.contains("{order}")) {
            self.problem("orders.without_customer", "must contain {order}, or all of them would be one person");
        }
        for name in o.properties.keys() {
            if let Some((_, remedy)) = FILLED.iter().find(|(filled, _)| filled.contains(&name.as_str())) {
                self.problem(
                    format!("orders.properties.{name}"),
                    format!("the order's own '{name}' is filled {remedy}"),
                );
            }
        }
        let mut amount = |at: &str, name: &Option<String>| name.as_ref().map(|name| self.amount(at, file, name));
        let price = amount("orders.line.price", &line.price);
        let total = amount("orders.line.amount", &line.amount);
        let quantity = amount("orders.line.quantity", &line.quantity);
        let (shipping, tax) = (amount("orders.shipping", &o.shipping), amount("orders.tax", &o.tax));
        let discounts = line.discounts.iter().map(|name| self.amount("orders.line.discounts", file, name)).collect();
        let by_measure = if line.by_measure.is_empty() {
            Vec::new()
        } else {
            self.when("orders.line.by_measure", file, &line.by_measure)
        };
        Some(Orders {
            file,
            by_measure,
            id: self.name(file, &o.id),
            at: self.instant("orders.at", file, &o.at),
            customer: self.ids("orders.customer", file, &o.customer),
            without_customer: o.without_customer.as_deref().map(Into::into),
            currency: o
                .currency
                .as_ref()
                .map(|name| self.typed("orders.currency", file, name, &[Kind::Text], "a text")),
            product: self.name(file, &line.product_id),
            quantity,
            price,
            amount: total,
            discounts,
            about: line.about.iter().map(|name| name.as_str().into()).collect(),
            shipping,
            tax,
            properties: self.named(file, &o.properties),
            incomplete: o.incomplete,
            returns: o.returns.as_ref().map(|r| self.when("orders.returns.when", file, &r.when)),
            returned_order: o.returns.as_ref().and_then(|r| r.order.as_ref()).map(|name| self.name(file, name)),
        })
    }

    /// Lines say what is known of their product, and of that only what rules can ask for.
    fn said_of_lines(&mut self, s: &Source) {
        let said = s.orders.iter().flat_map(|orders| &orders.line.about);
        let known = |name: &String| s.products.as_ref().is_some_and(|products| products.about.contains_key(name));
        for name in said {
            if !["category", "brand", "name"].contains(&name.as_str()) {
                self.problem("orders.line.about", format!("'{name}': rules ask for category, brand or name"));
            } else if !known(name) {
                self.problem("orders.line.about", format!("'{name}' is nothing that products.about says"));
            }
        }
    }

    fn event(&mut self, i: usize, e: &EventSource) -> Option<Events> {
        let at = format!("events[{i}]");
        let file = self.from(&at, &e.from)?;
        let typed = ["Order", "Product", "Cart"].iter().any(|word| e.event.starts_with(word));
        if e.event.is_empty() || typed {
            self.problem(
                format!("{at}.event"),
                "name an event of your own; orders and refunds come in through 'orders'",
            );
        }
        self.files[file].tells_rows_apart |= e.key.is_empty();
        Some(Events {
            file,
            name: e.event.as_str().into(),
            at: self.instant(&format!("{at}.at"), file, &e.at),
            customer: self.ids(&format!("{at}.customer"), file, &e.customer),
            key: e.key.iter().map(|name| self.col(file, name)).collect(),
            properties: self.named(file, &e.properties),
        })
    }
}
