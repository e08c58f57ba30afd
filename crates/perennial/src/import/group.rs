//! Grouping: rows become orders, customers, products and events, whatever order they come in.
//!
//! Promise: what is kept of a row is small (an order line is about 50 bytes and its share of its order; names are stored once)
//! and the number of rows is capped, so that memory is bounded by the cap.
//! Absent on purpose: output. Nothing leaves here before all rows are known, because returns look
//! back, contradictions are settled over the whole file, and inputs go out in the order of time.

use std::collections::{BTreeSet, HashMap, HashSet};

use perennial_core::event::Product;
use perennial_core::id::{CustomerId, IDENTIFIER_MAX, Identifier, IdentifierKind, Word};
use perennial_core::money::Currency;
use perennial_core::packed::Packed;
use perennial_core::quantity::Quantity;
use perennial_core::time::Timestamp;
use perennial_core::value::{Properties, Value};
use rust_decimal::Decimal;

use super::Refused;
use super::cleanse::{Bad, Cell, Meaning, holds, shown};
use super::mapping::{Customers, Events, Ids, Incomplete, Named, Orders, Plan, Products, Survivor};
use super::reconcile::Reconciliation;
use super::rejects::Rejects;
use crate::wire::catalog::{IMPACT, thousandths};

/// Longest id that becomes part of a message id.
const LONGEST_ID: usize = 200;
/// Different values of one trait that are weighed against each other.
const MOST_CANDIDATES: usize = 64;
/// The code of what waits for a row of its customer.
const CUSTOMER_HELD: &str = "customer_held";
/// Identifiers kept of one customer.
const MOST_IDS: usize = 16;

/// Everything that the files said.
pub(super) struct Gathered<'p> {
    pub(super) plan: &'p Plan,
    pub(super) names: Names,
    pub(super) people: Vec<Person>,
    pub(super) orders: Vec<Draft>,
    pub(super) events: Vec<DraftEvent>,
    pub(super) rejects: Vec<Rejects>,
    pub(super) totals: Reconciliation,
    by_id: HashMap<Identifier, u32>,
    /// Orders and returns by their id.
    by_order: [HashMap<Box<str>, u32>; 2],
    held: HashSet<Box<str>>,
    /// Rejected rows that say since when somebody is a member.
    faulty: Vec<Faulty>,
    /// Rows that describe a customer, behind the first one, where they may have to wait.
    more_rows: HashMap<u32, Vec<u64>>,
    /// Orders that returns name and that are neither booked nor in the files.
    pub(super) unknown: HashSet<Box<str>>,
    catalogue: HashMap<Box<str>, DraftProduct>,
    /// What lines say of their product, by its number.
    pub(super) said: HashMap<u32, Packed>,
    repeated: HashMap<[u8; 16], u32>,
    seen_orders: HashSet<Box<str>>,
    seen_customers: HashSet<Box<str>>,
    /// Currencies that rows of orders name, whatever became of these rows.
    seen_currencies: BTreeSet<Currency>,
    now: Timestamp,
    /// Every instant is moved by so much.
    shift_ms: i64,
}

const WEEK_MS: i64 = 7 * 86_400_000;

/// Product ids, each stored once.
#[derive(Default)]
pub(super) struct Names {
    texts: Vec<Box<str>>,
    index: HashMap<Box<str>, u32>,
}

impl Names {
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(n) = self.index.get(text) {
            return *n;
        }
        let n = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.index.insert(text.into(), n);
        n
    }

    pub(super) fn text(&self, n: u32) -> &str {
        self.texts.get(n as usize).map_or("", |t| t)
    }
}

/// A customer in the making.
pub(super) struct Person {
    pub(super) ids: Vec<Identifier>,
    pub(super) anonymous: bool,
    /// The first line of the customer file that describes them.
    pub(super) line: Option<u64>,
    /// When the customer file says that it was stated.
    pub(super) stated_at: Option<Timestamp>,
    pub(super) enrolled_at: Option<Timestamp>,
    traits: Vec<Candidates>,
}

/// An order or a return in the making.
pub(super) struct Draft {
    pub(super) id: Box<str>,
    pub(super) at: Timestamp,
    pub(super) person: u32,
    pub(super) is_return: bool,
    /// What its rows say; see [`Gathered::currency_of`].
    currency: Option<Currency>,
    pub(super) first_line: u64,
    pub(super) lines: Vec<DraftLine>,
    pub(super) discount: Decimal,
    pub(super) shipping: Option<Decimal>,
    pub(super) tax: Option<Decimal>,
    pub(super) properties: Properties,
    /// The order that a return refers to by name.
    pub(super) refers_to: Option<Box<str>>,
}

/// A line in the making; quantity and amount have the file's own signs.
#[derive(Clone, Copy)]
pub(super) struct DraftLine {
    pub(super) line: u64,
    pub(super) product: u32,
    pub(super) pieces: Quantity,
    pub(super) quantity: Decimal,
    pub(super) amount: Decimal,
}

/// A track call in the making.
pub(super) struct DraftEvent {
    pub(super) line: u64,
    pub(super) kind: usize,
    pub(super) person: u32,
    pub(super) at: Timestamp,
    pub(super) key: [u8; 16],
    pub(super) properties: Properties,
}

/// A rejected row of the customer file.
struct Faulty {
    ids: Vec<Identifier>,
    line: u64,
    /// When they joined, if that can be read.
    joined: Option<Timestamp>,
}

#[derive(Default)]
struct DraftProduct {
    tags: Vec<Word>,
    impact: Vec<(Word, i64)>,
    about: Vec<Candidates>,
}

/// The different values that rows gave for one thing.
#[derive(Default)]
struct Candidates(Vec<Candidate>);

struct Candidate {
    text: Box<str>,
    value: Value,
    count: u32,
    first: (Timestamp, u64),
    last: (Timestamp, u64),
}

impl Candidates {
    fn say(&mut self, cell: &Cell, when: (Timestamp, u64)) {
        let Some(text) = cell.text() else { return };
        if let Some(known) = self.0.iter_mut().find(|c| *c.text == *text) {
            known.count = known.count.saturating_add(1);
            known.first = known.first.min(when);
            known.last = known.last.max(when);
            return;
        }
        if self.0.len() >= MOST_CANDIDATES
            && let Some(oldest) = (0..self.0.len()).min_by_key(|i| self.0[*i].last)
        {
            self.0.swap_remove(oldest);
        }
        // Nearly always the only one; room for more would be most of a catalogue's memory.
        self.0.reserve_exact(1);
        self.0.push(Candidate { text: text.into(), value: value(cell), count: 1, first: when, last: when });
    }

    fn survivor(&self, rule: Survivor) -> Option<&Value> {
        let all = self.0.iter();
        let chosen = match rule {
            Survivor::Latest => all.max_by_key(|c| c.last),
            Survivor::First => all.min_by_key(|c| c.first),
            Survivor::MostCommon => all.max_by_key(|c| (c.count, c.last)),
            Survivor::Longest => all.max_by_key(|c| (c.text.chars().count(), c.last)),
        };
        chosen.map(|c| &c.value)
    }
}

fn value(cell: &Cell) -> Value {
    match cell.value {
        Meaning::Nothing => Value::Null,
        Meaning::Number(n) => Value::Number(n),
        Meaning::Bool(b) => Value::Bool(b),
        Meaning::At(at) => Value::Text(at.to_string().into()),
        Meaning::Text => Value::Text(cell.text.as_str().into()),
    }
}

fn properties(named: &Named, cells: &[Cell]) -> Properties {
    let filled = named.iter().filter(|(_, column)| !cells[*column].is_empty());
    Properties(filled.map(|(name, column)| (name.clone(), value(&cells[*column]))).collect())
}

/// What a row moves, with the file's own signs; what cannot be read moves nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Moved {
    pub(super) quantity: Decimal,
    pub(super) amount: Decimal,
    discount: Decimal,
}

fn bad(code: &'static str, field: &str, reason: impl Into<String>) -> Bad {
    Bad { code, field: field.into(), reason: reason.into() }
}

impl<'p> Gathered<'p> {
    pub(super) fn new(plan: &'p Plan, now: Timestamp, shift_weeks: i32) -> Self {
        let totals = Reconciliation {
            name: plan.name.to_string(),
            currency: plan.currency.to_string(),
            ..Reconciliation::default()
        };
        Self {
            plan,
            names: Names::default(),
            people: Vec::new(),
            orders: Vec::new(),
            events: Vec::new(),
            rejects: plan.files.iter().map(|_| Rejects::default()).collect(),
            totals,
            by_id: HashMap::new(),
            by_order: [HashMap::new(), HashMap::new()],
            held: HashSet::new(),
            faulty: Vec::new(),
            more_rows: HashMap::new(),
            unknown: HashSet::new(),
            catalogue: HashMap::new(),
            said: HashMap::new(),
            repeated: HashMap::new(),
            seen_orders: HashSet::new(),
            seen_customers: HashSet::new(),
            seen_currencies: BTreeSet::new(),
            now,
            shift_ms: i64::from(shift_weeks) * WEEK_MS,
        }
    }

    /// The instant that a cell holds.
    fn at(&self, cell: &Cell) -> Option<Timestamp> {
        cell.at().map(|at| at.plus_millis(self.shift_ms))
    }

    /// What a row of the order file moves.
    pub(super) fn moved(&self, file: usize, cells: &[Cell]) -> Option<Moved> {
        let orders = self.plan.orders.as_ref().filter(|o| o.file == file)?;
        let quantity = match orders.quantity {
            Some(column) => cells[column].number().unwrap_or_default(),
            None => Decimal::ONE,
        };
        let discount: Decimal = orders.discounts.iter().filter_map(|c| cells[*c].number()).sum();
        let amount = match (orders.price, orders.amount) {
            (Some(price), _) => {
                let sign = if quantity.is_sign_negative() { -Decimal::ONE } else { Decimal::ONE };
                cells[price].number().unwrap_or_default() * quantity - discount * sign
            }
            (None, Some(amount)) => cells[amount].number().unwrap_or_default(),
            (None, None) => Decimal::ZERO,
        };
        Some(Moved { quantity, amount, discount })
    }

    /// Counts which orders and customers the order file names, whatever becomes of the row.
    pub(super) fn sight(&mut self, file: usize, cells: &[Cell]) {
        let Some(orders) = self.plan.orders.as_ref().filter(|o| o.file == file) else { return };
        let customer = orders.customer.iter().find_map(|(_, column)| cells[*column].text());
        for (seen, name) in [(&mut self.seen_orders, cells[orders.id].text()), (&mut self.seen_customers, customer)] {
            if let Some(name) = name.filter(|name| !seen.contains(*name)) {
                seen.insert(name.into());
            }
        }
        self.seen_currencies.extend(self.said_currency(orders, cells).ok().flatten());
        self.totals.order_ids_read = self.seen_orders.len() as u64;
        self.totals.customers_read = self.seen_customers.len() as u64;
    }

    /// Takes a valid row in. `digest` tells it from other rows.
    pub(super) fn row(&mut self, file: usize, line: u64, cells: &[Cell], digest: [u8; 16]) -> Result<(), Bad> {
        let plan = self.plan;
        for (kind, event) in plan.events.iter().enumerate().filter(|(_, e)| e.file == file) {
            self.event(kind, event, line, cells, digest)?;
        }
        if let Some(customers) = plan.customers.as_ref().filter(|c| c.file == file) {
            self.customer(customers, line, cells)?;
        }
        if let Some(products) = plan.products.as_ref().filter(|p| p.file == file) {
            self.product(products, line, cells)?;
        }
        // Last, because a line that is counted as sold must not be rejected afterwards.
        if let Some(orders) = plan.orders.as_ref().filter(|o| o.file == file) {
            self.order_line(orders, line, cells)?;
        }
        Ok(())
    }

    /// A row that was rejected: its order may have to wait with it, and all that its customer did. Without faults
    /// the whole row is in doubt.
    pub(super) fn hold(&mut self, file: usize, line: u64, cells: &[Cell], bads: Option<&[Bad]>) {
        if let Some(orders) = self.plan.orders.as_ref().filter(|o| o.file == file)
            && let Some(id) = cells[orders.id].text()
        {
            self.held.insert(id.into());
        }
        let Some(customers) = self.plan.customers.as_ref().filter(|c| c.file == file) else { return };
        let Some(column) = customers.enrolled_at else { return };
        let name = self.column(file, column);
        let readable = bads.is_some_and(|bads| bads.iter().all(|bad| *bad.field != *name));
        let joined = self.at(&cells[column]).filter(|_| readable);
        let ids = identifiers(&customers.ids, cells);
        if !ids.is_empty() && (joined.is_some() || !readable) {
            self.faulty.push(Faulty { ids, line, joined });
        }
    }

    /// The currency that a row names, if it names one.
    fn said_currency(&self, o: &Orders, cells: &[Cell]) -> Result<Option<Currency>, Bad> {
        let Some((column, text)) = o.currency.and_then(|column| Some((column, cells[column].text()?))) else {
            return Ok(None);
        };
        let unread = |_| {
            let reason = format!(
                "{} is not a currency code of three letters like EUR; write one, or nothing for {}",
                shown(text),
                self.plan.currency
            );
            bad("bad_currency", self.column(o.file, column), reason)
        };
        text.parse().map(Some).map_err(unread)
    }

    /// The currency of an order's amounts.
    pub(super) fn currency_of(&self, draft: &Draft) -> Currency {
        draft.currency.unwrap_or(self.plan.currency)
    }

    /// The currencies of the orders to be booked.
    pub(super) fn currencies(&self) -> BTreeSet<Currency> {
        let sold = self.orders.iter().filter(|draft| !draft.is_return && !draft.lines.is_empty());
        sold.map(|draft| self.currency_of(draft)).collect()
    }

    /// Says of which currencies the amounts of the order file are.
    pub(super) fn name_currencies(&mut self) {
        let mut all = std::mem::take(&mut self.seen_currencies);
        all.extend(self.orders.iter().map(|draft| self.currency_of(draft)));
        if !all.is_empty() {
            let names: Vec<_> = all.iter().map(Currency::code).collect();
            self.totals.currency = names.join(" + ");
        }
    }

    /// The order in the files that has an id.
    pub(super) fn sale(&self, id: &str) -> Option<u32> {
        self.by_order[0].get(id).copied().filter(|n| !self.orders[*n as usize].lines.is_empty())
    }

    /// The column at fault when the books refuse something.
    pub(super) fn field(&self, file: usize, code: &str, customer: &Ids, own: usize) -> &'p str {
        let about_the_customer = matches!(code, "erased" | "no_identifier");
        let named = customer.first().filter(|_| about_the_customer);
        self.column(file, named.map_or(own, |(_, column)| *column))
    }

    /// Rejects the rows of an order that the books refuse.
    pub(super) fn refuse_order(&mut self, n: u32, refused: &Refused) {
        let Some(o) = self.plan.orders.as_ref() else { return };
        let field = self.field(o.file, &refused.code, &o.customer, o.id);
        let code = || refused.code.clone().into_string();
        for line in std::mem::take(&mut self.orders[n as usize].lines) {
            self.rejects[o.file].add(line.line, code(), field, refused.reason.clone());
            self.totals.rejected.entry(code()).or_default().add(1, line.quantity, line.amount);
        }
    }

    /// Rejects the row of an event that the books refuse.
    pub(super) fn refuse_event(&mut self, n: u32, refused: &Refused) {
        let event = &self.events[n as usize];
        let e = &self.plan.events[event.kind];
        let field = self.field(e.file, &refused.code, &e.customer, *e.key.first().unwrap_or(&e.at));
        self.rejects[e.file].add(event.line, refused.code.clone().into_string(), field, refused.reason.clone());
    }

    /// Rejects the first row that describes a customer whom the books refuse, if there is one.
    pub(super) fn refuse_person(&mut self, n: u32, refused: &Refused) {
        let (Some(c), Some(line)) = (self.plan.customers.as_ref(), self.people[n as usize].line) else { return };
        let field = self.field(c.file, &refused.code, &c.ids, c.ids.first().map_or(0, |(_, column)| *column));
        self.rejects[c.file].add(line, refused.code.clone().into_string(), field, refused.reason.clone());
    }

    fn column(&self, file: usize, column: usize) -> &'p str {
        &self.plan.files[file].columns[column].name
    }

    fn order_line(&mut self, o: &Orders, line: u64, cells: &[Cell]) -> Result<(), Bad> {
        let id = self.id(o.file, o.id, cells)?;
        let at = self.instant(o.file, o.at, cells)?;
        let product = cells[o.product]
            .text()
            .ok_or_else(|| bad("missing", self.column(o.file, o.product), "a line of an order needs a product id"))?;
        let price = o.price.or(o.amount).unwrap_or(o.id);
        if cells[price].is_empty() {
            return Err(bad("missing", self.column(o.file, price), "a line of an order needs a price"));
        }
        let is_return = o.returns.as_ref().is_some_and(|when| holds(when, cells));
        let moved = self.moved(o.file, cells).unwrap_or_default();
        if !is_return {
            self.check_sale(o, &moved, cells)?;
        }
        let ids = match identifiers(&o.customer, cells) {
            ids if !ids.is_empty() => ids,
            _ => vec![self.nobody(o, id, cells)?],
        };
        let known = self.by_order[usize::from(is_return)].get(id).copied();
        if let Some(draft) = known.map(|n| &self.orders[n as usize])
            && !ids.contains(&self.people[draft.person as usize].ids[0])
        {
            let owner = self.people[draft.person as usize].ids[0].to_string();
            let field = self.column(o.file, o.customer.first().map_or(o.id, |(_, column)| *column));
            return Err(bad(
                "conflict",
                field,
                format!("order {id} belongs to {owner} by its line {}", draft.first_line),
            ));
        }
        let currency = self.said_currency(o, cells)?;
        let other = known.and_then(|n| self.orders[n as usize].currency).filter(|_| currency.is_some());
        if let (Some(column), Some(other)) = (o.currency, other.filter(|other| currency != Some(*other))) {
            let reason =
                format!("another line of order {id} says {other}; an order has one currency, so mend one of them");
            return Err(bad("conflict", self.column(o.file, column), reason));
        }
        let by_measure = !o.by_measure.is_empty() && holds(&o.by_measure, cells);
        let (quantity, amount) = (moved.quantity, moved.amount);
        let drafted = DraftLine {
            line,
            product: self.names.number(product),
            pieces: pieces(quantity, by_measure),
            quantity,
            amount,
        };
        let n = match known {
            Some(n) => n,
            None => self.open(o, id, is_return, at, line, ids, cells),
        };
        let draft = &mut self.orders[n as usize];
        draft.at = draft.at.min(at);
        draft.currency = draft.currency.or(currency);
        draft.discount += moved.discount;
        draft.lines.push(drafted);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // one call site; a struct for it would only rename them
    fn open(
        &mut self,
        o: &Orders,
        id: &str,
        is_return: bool,
        at: Timestamp,
        line: u64,
        ids: Vec<Identifier>,
        cells: &[Cell],
    ) -> u32 {
        let n = u32::try_from(self.orders.len()).unwrap_or(u32::MAX);
        let refers_to = o.returned_order.and_then(|column| cells[column].text()).filter(|_| is_return);
        let person = self.person(ids);
        self.orders.push(Draft {
            id: id.into(),
            at,
            person,
            is_return,
            currency: None,
            first_line: line,
            lines: Vec::new(),
            discount: Decimal::ZERO,
            shipping: o.shipping.and_then(|column| cells[column].number()),
            tax: o.tax.and_then(|column| cells[column].number()),
            properties: properties(&o.properties, cells),
            refers_to: refers_to.map(Into::into),
        });
        self.by_order[usize::from(is_return)].insert(id.into(), n);
        n
    }

    fn check_sale(&self, o: &Orders, moved: &Moved, cells: &[Cell]) -> Result<(), Bad> {
        let quantity = self.column(o.file, o.quantity.unwrap_or(o.id));
        let field = self.column(o.file, o.price.or(o.amount).unwrap_or(o.id));
        if o.quantity.is_some_and(|column| cells[column].is_empty()) {
            return Err(bad("missing", quantity, "a line of an order needs a quantity"));
        }
        if moved.quantity.is_sign_negative() && !moved.quantity.is_zero() {
            return Err(bad(
                "negative_quantity",
                quantity,
                "is below zero on a sale; describe returns under orders.returns",
            ));
        }
        if moved.amount.is_sign_negative() && !moved.amount.is_zero() {
            return Err(bad("negative_amount", field, "the line costs less than nothing"));
        }
        if moved.quantity.is_zero() && moved.amount.is_zero() {
            return Err(bad("nothing_sold", quantity, "neither pieces nor money; leave such rows out with 'skip'"));
        }
        Ok(())
    }

    fn id<'c>(&self, file: usize, column: usize, cells: &'c [Cell]) -> Result<&'c str, Bad> {
        let name = self.column(file, column);
        let id = cells[column].text().ok_or_else(|| bad("missing", name, "a line of an order needs an order id"))?;
        if id.len() > LONGEST_ID {
            return Err(bad("too_long", name, format!("an id has at most {LONGEST_ID} bytes")));
        }
        Ok(id)
    }

    fn instant(&self, file: usize, column: usize, cells: &[Cell]) -> Result<Timestamp, Bad> {
        let name = self.column(file, column);
        let at = self.at(&cells[column]).ok_or_else(|| bad("missing", name, "needs an instant"))?;
        if at > self.now {
            return Err(bad(
                "in_future",
                name,
                format!("{at} is later than the import itself; is the date format right?"),
            ));
        }
        Ok(at)
    }

    /// The anonymous customer of an order that names nobody.
    fn nobody(&self, o: &Orders, id: &str, cells: &[Cell]) -> Result<Identifier, Bad> {
        let remedy = "names no customer; say 'without_customer: \"invoice:{order}\"' to bring it in without one";
        let name = o.without_customer.as_ref().map(|template| template.replace("{order}", id));
        name.and_then(|name| Identifier::new(IdentifierKind::Anonymous, &name))
            .ok_or_else(|| self.nobody_named("no_customer", o.file, &o.customer, cells, remedy))
    }

    /// The columns that should name somebody name nobody: why, if something stands there.
    fn nobody_named(&self, code: &'static str, file: usize, ids: &Ids, cells: &[Cell], otherwise: &str) -> Bad {
        let field = |column: usize| self.column(file, column);
        match ids.iter().find_map(|(kind, column)| Some((kind, *column, cells[*column].text()?))) {
            Some((kind, column, text)) => bad(code, field(column), format!("{} {}", shown(text), no_name(kind, text))),
            None => bad(code, ids.first().map_or("", |(_, column)| field(*column)), otherwise),
        }
    }

    fn person(&mut self, ids: Vec<Identifier>) -> u32 {
        let known = ids.first().and_then(|id| self.by_id.get(id)).copied();
        if let Some(n) = known {
            let person = &mut self.people[n as usize];
            for id in ids.into_iter().skip(1) {
                if person.ids.len() < MOST_IDS && !person.ids.contains(&id) {
                    person.ids.push(id);
                }
            }
            return n;
        }
        let n = u32::try_from(self.people.len()).unwrap_or(u32::MAX);
        if let Some(strongest) = ids.first() {
            self.by_id.insert(strongest.clone(), n);
        }
        let anonymous = ids.iter().all(|id| id.kind == IdentifierKind::Anonymous);
        self.people.push(Person { ids, anonymous, line: None, stated_at: None, enrolled_at: None, traits: Vec::new() });
        n
    }

    fn customer(&mut self, c: &Customers, line: u64, cells: &[Cell]) -> Result<(), Bad> {
        let ids = identifiers(&c.ids, cells);
        if ids.is_empty() {
            // The order file may have rows without a person; a file of people may not.
            let of_orders = self.plan.orders.as_ref().is_some_and(|o| o.file == c.file);
            let nobody = || self.nobody_named("no_identifier", c.file, &c.ids, cells, "recognises nobody");
            return if of_orders { Ok(()) } else { Err(nobody()) };
        }
        let at = c.at.and_then(|column| self.at(&cells[column]));
        let enrolled_at = c.enrolled_at.and_then(|column| self.at(&cells[column]));
        if let (Some(column), true) = (c.enrolled_at, enrolled_at.is_some_and(|at| at > self.now)) {
            return Err(bad("in_future", self.column(c.file, column), "is later than the import itself"));
        }
        let n = self.person(ids);
        let person = &mut self.people[n as usize];
        let apart = self.plan.orders.as_ref().is_none_or(|o| o.file != c.file);
        if person.line.is_some() && c.enrolled_at.is_some() && apart {
            self.more_rows.entry(n).or_default().push(line);
        }
        person.line.get_or_insert(line);
        person.traits.resize_with(c.traits.len(), Candidates::default);
        let when = (at.unwrap_or(Timestamp::EPOCH), line);
        for (candidates, (_, column, _)) in person.traits.iter_mut().zip(&c.traits) {
            candidates.say(&cells[*column], when);
        }
        person.stated_at = [person.stated_at, at].into_iter().flatten().min();
        person.enrolled_at = [person.enrolled_at, enrolled_at].into_iter().flatten().min();
        Ok(())
    }

    fn product(&mut self, p: &Products, line: u64, cells: &[Cell]) -> Result<(), Bad> {
        let Some(id) = cells[p.id].text() else { return Ok(()) };
        let mut impact = Vec::new();
        for (unit, column) in &p.impact {
            let Some(n) = cells[*column].number() else { continue };
            let field = self.column(p.file, *column);
            let exact = thousandths(n).ok_or_else(|| bad("out_of_range", field, format!("impact is {IMPACT}")))?;
            impact.push((unit, exact));
        }
        if !self.catalogue.contains_key(id) {
            self.catalogue.insert(id.into(), DraftProduct::default());
        }
        let Some(product) = self.catalogue.get_mut(id) else { return Ok(()) };
        product.about.resize_with(p.about.len(), Candidates::default);
        for (candidates, (_, column, _)) in product.about.iter_mut().zip(&p.about) {
            candidates.say(&cells[*column], (Timestamp::EPOCH, line));
        }
        for (unit, n) in impact {
            set(&mut product.impact, unit, n);
        }
        if let Some((column, separator)) = p.tags {
            let tags = cells[column].text.split(separator).map(str::trim).filter(|t| !t.is_empty());
            tags.for_each(|tag| label(&mut product.tags, tag));
        }
        for rule in p.rules.iter().filter(|rule| holds(&rule.when, cells)) {
            rule.tags.iter().for_each(|tag| label(&mut product.tags, tag));
            rule.impact.iter().for_each(|(unit, n)| set(&mut product.impact, unit, *n));
        }
        Ok(())
    }

    fn event(&mut self, kind: usize, e: &Events, line: u64, cells: &[Cell], digest: [u8; 16]) -> Result<(), Bad> {
        let at = self.instant(e.file, e.at, cells)?;
        let ids = identifiers(&e.customer, cells);
        if ids.is_empty() {
            return Err(self.nobody_named("no_customer", e.file, &e.customer, cells, "names no customer"));
        }
        let mut parts: Vec<&[u8]> = vec![e.name.as_bytes()];
        let strongest = ids[0].to_string();
        if e.key.is_empty() {
            parts.push(&digest);
        } else {
            parts.push(strongest.as_bytes());
            parts.extend(e.key.iter().map(|column| cells[*column].text.as_bytes()));
        }
        let first = super::digest(&parts);
        let nth = self.repeated.entry(first).or_default();
        *nth += 1;
        let key = if *nth == 1 || !e.key.is_empty() { first } else { super::digest(&[&first, &nth.to_le_bytes()]) };
        let person = self.person(ids);
        self.events.push(DraftEvent { line, kind, person, at, key, properties: properties(&e.properties, cells) });
        Ok(())
    }

    /// Sends orders of which a line was rejected to the reject file, whole; returns whatever the policy says,
    /// because what a return brings back is told by all its rows together.
    pub(super) fn resolve_held(&mut self) {
        let Some(o) = self.plan.orders.as_ref() else { return };
        let field = self.column(o.file, o.id);
        let held = std::mem::take(&mut self.held);
        let waits = |draft: &&mut Draft| o.incomplete == Incomplete::Hold || draft.is_return;
        for draft in self.orders.iter_mut().filter(waits).filter(|draft| held.contains(&draft.id)) {
            for line in draft.lines.drain(..) {
                let reason = "another line of this order was rejected; mend that one and feed all of them together";
                self.rejects[o.file].add(line.line, "order_held", field, reason);
                self.totals.rejected.entry("order_held".into()).or_default().add(1, line.quantity, line.amount);
            }
        }
    }

    /// Sends all rows of a customer to the reject file of whom a row was rejected that says since when they are a
    /// member: orders that come in before that would be a stranger's, and earn nothing for good.
    pub(super) fn resolve_customers(&mut self) {
        let Some(c) = self.plan.customers.as_ref() else { return };
        let (plan, waiting) = (self.plan, self.waiting());
        let person = |n: u32| waiting.get(n as usize).copied().flatten();
        let reason = |line: u64| {
            let file = &plan.files[c.file].name;
            format!(
                "line {line} of file '{file}' says since when this customer is a member, and was rejected; \
                 mend that one and feed all rows of this customer together"
            )
        };
        if let Some(o) = &plan.orders {
            let field = self.column(o.file, o.customer.first().map_or(o.id, |(_, column)| *column));
            for draft in &mut self.orders {
                let Some(faulty) = person(draft.person) else { continue };
                for line in draft.lines.drain(..) {
                    self.rejects[o.file].add(line.line, CUSTOMER_HELD, field, reason(faulty));
                    let sums = self.totals.rejected.entry(CUSTOMER_HELD.into()).or_default();
                    sums.add(1, line.quantity, line.amount);
                }
            }
        }
        for event in std::mem::take(&mut self.events) {
            match person(event.person) {
                Some(faulty) => {
                    let e = &plan.events[event.kind];
                    let field = self.column(e.file, e.customer.first().map_or(e.at, |(_, column)| *column));
                    self.rejects[e.file].add(event.line, CUSTOMER_HELD, field, reason(faulty));
                }
                None => self.events.push(event),
            }
        }
        let field = self.column(c.file, c.ids.first().map_or(0, |(_, column)| *column));
        let apart = plan.orders.as_ref().is_none_or(|o| o.file != c.file);
        for n in (0u32..).take(self.people.len()) {
            let Some(faulty) = person(n) else { continue };
            let person = &mut self.people[n as usize];
            person.traits.clear();
            person.enrolled_at = None;
            let more = self.more_rows.remove(&n).unwrap_or_default();
            for line in person.line.into_iter().chain(more).filter(|_| apart) {
                self.rejects[c.file].add(line, CUSTOMER_HELD, field, reason(faulty));
            }
        }
    }

    /// By person, the rejected row that they wait for: one that may say that they joined sooner than their other rows.
    /// Who shares a name with such a person is that person.
    fn waiting(&mut self) -> Vec<Option<u64>> {
        let mut names: HashMap<Identifier, u64> = HashMap::new();
        for Faulty { ids, line, joined } in std::mem::take(&mut self.faulty) {
            let known = ids.first().and_then(|id| self.by_id.get(id));
            let known = known.and_then(|n| self.people[*n as usize].enrolled_at);
            if known.zip(joined).is_none_or(|(known, joined)| joined < known) {
                ids.into_iter().for_each(|id| _ = names.entry(id).or_insert(line));
            }
        }
        let mut before = 0;
        let mut waiting = Vec::new();
        while names.len() > before {
            before = names.len();
            waiting = self.people.iter().map(|p| p.ids.iter().find_map(|id| names.get(id)).copied()).collect();
            for (person, line) in self.people.iter().zip(&waiting) {
                let Some(line) = line else { continue };
                person.ids.iter().for_each(|id| _ = names.entry(id.clone()).or_insert(*line));
            }
        }
        waiting
    }

    /// Keeps a fair sample of named customers: those with the smallest keyed hash.
    pub(super) fn limit(&mut self, customers: usize) {
        let mut named: Vec<([u8; 16], u32)> = Vec::new();
        for (n, person) in (0u32..).zip(&self.people).filter(|(_, p)| !p.anonymous) {
            named.push((super::digest(&[b"sample", person.ids[0].to_string().as_bytes()]), n));
        }
        named.sort_unstable();
        named.truncate(customers);
        let kept: HashSet<u32> = named.into_iter().map(|(_, n)| n).collect();
        for draft in self.orders.iter_mut().filter(|d| !kept.contains(&d.person)) {
            for line in draft.lines.drain(..) {
                self.totals.not_selected.add(1, line.quantity, line.amount);
            }
        }
        self.events.retain(|event| kept.contains(&event.person));
        for (n, person) in (0u32..).zip(&mut self.people) {
            if !kept.contains(&n) {
                person.traits.clear();
                person.enrolled_at = None;
            }
        }
    }

    /// The traits that survive, settled where rows differ.
    pub(super) fn traits(&mut self, person: usize) -> Properties {
        let Some(c) = self.plan.customers.as_ref() else { return Properties::default() };
        let mut out = Vec::new();
        for (candidates, (name, _, rule)) in self.people[person].traits.iter().zip(&c.traits) {
            if candidates.0.len() > 1 {
                *self.totals.settled.entry(name.to_string()).or_default() += 1;
            }
            if let Some(value) = candidates.survivor(*rule) {
                out.push((name.clone(), value.clone()));
            }
        }
        Properties(out)
    }

    /// The catalogue, by product id.
    pub(super) fn catalogue(&mut self) -> Vec<Product> {
        let Some(p) = self.plan.products.as_ref() else { return Vec::new() };
        let finish = |(product_id, draft): (Box<str>, DraftProduct)| {
            let about = draft.about.iter().zip(&p.about);
            let about = about.filter_map(|(c, (name, _, rule))| Some((name.clone(), c.survivor(*rule)?.clone())));
            Product {
                product_id,
                tags: draft.tags.into(),
                impact: draft.impact.into(),
                about: Properties(about.collect()),
            }
        };
        let mut products: Vec<Product> = std::mem::take(&mut self.catalogue).into_iter().map(finish).collect();
        products.sort_by(|a, b| a.product_id.cmp(&b.product_id));
        self.say_on_lines(&products);
        products
    }

    fn say_on_lines(&mut self, products: &[Product]) {
        let Some(names) = self.plan.orders.as_ref().map(|orders| &orders.about).filter(|names| !names.is_empty())
        else {
            return;
        };
        for product in products {
            let about = product.about.iter().filter(|(name, _)| names.iter().any(|said| **said == **name));
            let about = Properties(about.map(|(name, value)| (name.into(), value.clone())).collect());
            self.said.insert(self.names.number(&product.product_id), Packed::from(&about));
        }
    }
}

/// Why a text is no name of a customer.
fn no_name(kind: &IdentifierKind, text: &str) -> String {
    match kind {
        _ if text.len() > IDENTIFIER_MAX => format!("is longer than {IDENTIFIER_MAX} bytes"),
        IdentifierKind::Email if !text.contains('@') => "is no e-mail address".into(),
        IdentifierKind::User if text.trim().parse::<CustomerId>().is_ok() => {
            "looks like an id of Perennial's own; name the account as your shop does".into()
        }
        IdentifierKind::Phone if text.bytes().filter(u8::is_ascii_digit).count() < 4 => "is no phone number".into(),
        _ => "is a placeholder and names nobody, as are 0, -1, null, undefined, none, nan and anonymous".into(),
    }
}

fn identifiers(ids: &Ids, cells: &[Cell]) -> Vec<Identifier> {
    ids.iter().filter_map(|(kind, column)| Identifier::new(kind.clone(), cells[*column].text()?)).collect()
}

/// Pieces of a line; one where the quantity says nothing of the kind.
fn pieces(quantity: Decimal, by_measure: bool) -> Quantity {
    let said = Quantity::of(quantity.abs()).filter(|said| !said.is_zero() && !by_measure);
    said.unwrap_or(Quantity::ONE)
}

fn set(impact: &mut Vec<(Word, i64)>, unit: &str, n: i64) {
    match impact.iter_mut().find(|(known, _)| **known == *unit) {
        Some((_, old)) => *old = n,
        None => impact.push((unit.into(), n)),
    }
}

fn label(tags: &mut Vec<Word>, tag: &str) {
    if tags.len() < 50 && !tags.iter().any(|t| **t == *tag) {
        tags.push(tag.into());
    }
}
