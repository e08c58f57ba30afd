//! Returns: which earlier order a returned piece came from.
//!
//! Rule 33: the customer's latest earlier order with pieces of that product left, several if need
//! be; or the one order that the return names, whoever bought it. Orders in the books count beside those in
//! the files. Pieces without one are rejected as `no_matching_sale`.
//! Invariants: an order never gives back more pieces than it sold; and a return takes back what all its
//! rows say together, so that what an earlier run took back for it is not taken again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use perennial_core::event::Line;
use perennial_core::money::Currency;
use perennial_core::quantity::Quantity;
use perennial_core::time::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

use super::group::{Draft, DraftLine, Gathered};
use super::{Booked, Refused, Sink, SinkError};

/// The code of pieces that nothing sold.
const NO_SALE: &str = "no_matching_sale";

/// A product, pieces of it, and the price of one.
pub(super) type Portion = (u32, Quantity, Decimal);

/// Pieces of one return that came from one order.
pub(super) struct Matched {
    /// The return.
    pub(super) back: u32,
    /// The order.
    pub(super) origin: Origin,
    /// The order's.
    pub(super) currency: Currency,
    /// At the price that they had been sold for.
    pub(super) pieces: Vec<Portion>,
}

/// The order that pieces came from, and which of the return's refunds of it this is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// No earlier run booked it. Those that are booked come first, so that an import that is taken up goes on
    /// behind them.
    pub(super) fresh: bool,
    pub(super) order: Box<str>,
    /// The row names the order.
    pub(super) stated: bool,
    /// From 1: rows that came in later have refunds of their own.
    pub(super) nth: u32,
}

impl Origin {
    /// Of a refund that follows on what earlier runs took back of an order.
    fn next(order: &str, stated: bool, earlier: &[Earlier]) -> Self {
        let before = earlier.iter().filter(|e| *e.origin.order == *order && e.origin.stated == stated).count();
        Self { fresh: true, order: order.into(), stated, nth: u32::try_from(before).unwrap_or(0) + 1 }
    }

    /// The refund's id, by which it is known again.
    pub(super) fn refund_id(&self, back: &Draft) -> String {
        // Its own space of names: a mended row must not collide with what was matched before.
        let stated = if self.stated { "/stated" } else { "" };
        let later = if self.nth > 1 { format!("#{}", self.nth) } else { String::new() };
        format!("{}/{}{stated}{later}", back.id, self.order)
    }
}

/// An order that pieces may come from.
struct Sale {
    id: Box<str>,
    at: Timestamp,
    currency: Currency,
    /// Whose returns it may be matched to when they do not name it.
    people: Vec<u32>,
    first_line: u64,
    /// Those that have not come back.
    lines: Vec<Portion>,
}

/// What an earlier run took back for a return.
struct Earlier {
    origin: Origin,
    /// Those that no row has claimed yet.
    pieces: Vec<Portion>,
}

/// A line of a sale.
struct Place {
    sale: usize,
    line: usize,
}

/// Returns by their customer, and by the order that they name.
#[derive(Default)]
struct Backs {
    by_person: BTreeMap<u32, Vec<u32>>,
    by_order: BTreeMap<Box<str>, Vec<u32>>,
    /// What they bring back.
    products: HashSet<u32>,
}

/// What sales and returns are matched by.
#[derive(Default)]
struct Desk {
    sales: Vec<Sale>,
    by_order: HashMap<Box<str>, usize>,
    earlier: HashMap<u32, Vec<Earlier>>,
    /// Of each customer and product, the latest sale on top.
    shelf: HashMap<(u32, u32), Vec<Place>>,
    matched: Vec<Matched>,
}

/// Matches all returns in the order of time.
pub(super) fn match_all(gathered: &mut Gathered<'_>, sink: &mut dyn Sink) -> Result<Vec<Matched>, SinkError> {
    let mut backs = Backs::default();
    let mut desk = Desk::default();
    for (n, draft) in (0u32..).zip(&gathered.orders).filter(|(_, d)| d.is_return && !d.lines.is_empty()) {
        backs.by_person.entry(draft.person).or_default().push(n);
        if let Some(order) = &draft.refers_to {
            backs.by_order.entry(order.clone()).or_default().push(n);
        }
        for line in &draft.lines {
            backs.products.insert(line.product);
            // Only what is ever brought back needs a shelf.
            desk.shelf.entry((draft.person, line.product)).or_default();
        }
    }
    for person in backs.by_person.keys() {
        for booked in sink.orders(&gathered.people[*person as usize].ids)? {
            desk.fetch(gathered, Some(*person), &backs, booked, sink)?;
        }
    }
    for order in backs.by_order.keys() {
        if !desk.by_order.contains_key(order)
            && let Some(booked) = sink.order(order)?
        {
            desk.fetch(gathered, None, &backs, booked, sink)?;
        }
    }
    desk.gather(gathered, &backs);
    gathered.unknown = backs.by_order.keys().filter(|order| !desk.by_order.contains_key(*order)).cloned().collect();
    let sales = desk.sales.iter().enumerate().map(|(n, sale)| (sale.at, false, sale.first_line, n));
    let returns = backs.by_person.values().flatten().map(|n| {
        let back = &gathered.orders[*n as usize];
        (back.at, true, back.first_line, *n as usize)
    });
    let mut all: Vec<_> = sales.chain(returns).collect();
    all.sort_unstable();
    for (_, is_return, _, n) in all {
        match u32::try_from(n) {
            Ok(back) if is_return => desk.take_back(gathered, back),
            _ => desk.put_out(n),
        }
    }
    Ok(desk.matched)
}

impl Desk {
    /// Takes what is left of an order in the books, and what came back of it for these returns. Two customers of the
    /// files may be one in the books.
    fn fetch(
        &mut self,
        gathered: &mut Gathered<'_>,
        person: Option<u32>,
        backs: &Backs,
        booked: Booked,
        sink: &mut dyn Sink,
    ) -> Result<(), SinkError> {
        let known = self.by_order.get(&booked.order_id).copied();
        if booked.refunded {
            let theirs = person.and_then(|person| backs.by_person.get(&person)).into_iter().flatten();
            let naming: Vec<u32> = backs.by_order.get(&booked.order_id).cloned().unwrap_or_default();
            let mut asked: Vec<u32> = theirs.copied().filter(|back| !naming.contains(back)).collect();
            if known.is_none() {
                asked.extend(naming);
            }
            for back in asked {
                let earlier = earlier(gathered, back, &booked.order_id, sink)?;
                self.earlier.entry(back).or_default().extend(earlier);
            }
        }
        if let Some(known) = known {
            self.sales[known].people.extend(person);
            return Ok(());
        }
        let mut gone: HashMap<u32, Quantity> = HashMap::new();
        let mut lines = Vec::new();
        for line in &booked.lines {
            let product = gathered.names.number(&line.product_id);
            lines.push((product, line.bought, line.price));
            add(gone.entry(product).or_default(), line.bought.saturating_sub(line.left));
        }
        // The file knows prices better than to the cent, but only if it speaks of the same goods.
        let draft = gathered.sale(&booked.order_id).map(|n| &gathered.orders[n as usize]);
        if let Some(same) = draft.map(lines_of).filter(|said| goods(said) == goods(&lines)) {
            lines = same;
        }
        for (product, pieces, _) in lines.iter_mut().rev() {
            let Some(gone) = gone.get_mut(product) else { continue };
            take(gone, pieces);
        }
        lines.retain(|(product, ..)| backs.products.contains(product));
        let people = person.into_iter().collect();
        self.add(Sale { id: booked.order_id, at: booked.at, currency: booked.currency, people, first_line: 0, lines });
        Ok(())
    }

    /// Takes the orders of the files that are not in the books.
    fn gather(&mut self, gathered: &Gathered<'_>, backs: &Backs) {
        let sold = gathered.orders.iter().filter(|d| !d.is_return && !d.lines.is_empty());
        for draft in sold.filter(|d| backs.by_person.contains_key(&d.person) || backs.by_order.contains_key(&d.id)) {
            if self.by_order.contains_key(&draft.id) {
                continue;
            }
            self.add(Sale {
                id: draft.id.clone(),
                at: draft.at,
                currency: gathered.currency_of(draft),
                people: vec![draft.person],
                first_line: draft.first_line,
                lines: lines_of(draft),
            });
        }
    }

    fn add(&mut self, sale: Sale) {
        self.by_order.insert(sale.id.clone(), self.sales.len());
        self.sales.push(sale);
    }

    fn put_out(&mut self, n: usize) {
        let sale = &self.sales[n];
        for (line, (product, ..)) in sale.lines.iter().enumerate() {
            for person in &sale.people {
                if let Some(stack) = self.shelf.get_mut(&(*person, *product)) {
                    stack.push(Place { sale: n, line });
                }
            }
        }
    }

    fn take_back(&mut self, gathered: &Gathered<'_>, n: u32) {
        let draft = &gathered.orders[n as usize];
        let mut earlier = self.earlier.remove(&n).unwrap_or_default();
        let mut found: BTreeMap<Origin, Vec<Portion>> = BTreeMap::new();
        for line in &draft.lines {
            let mut open = line.pieces;
            let mut part = |origin: Origin, taken: Quantity, price: Decimal| {
                if !taken.is_zero() {
                    found.entry(origin).or_default().push((line.product, taken, price));
                }
            };
            for Earlier { origin, pieces } in &mut earlier {
                for (_, left, price) in pieces.iter_mut().filter(|(product, ..)| *product == line.product) {
                    part(origin.clone(), take(&mut open, left), *price);
                }
            }
            if let Some(order) = &draft.refers_to {
                let lines = self.by_order.get(order).map(|sale| &mut self.sales[*sale].lines);
                let same = lines.into_iter().flatten().rev().filter(|(product, ..)| *product == line.product);
                for (_, left, price) in same {
                    part(Origin::next(order, true, &earlier), take(&mut open, left), *price);
                }
                continue; // No other order is meant.
            }
            let stack = self.shelf.entry((draft.person, line.product)).or_default();
            while !open.is_zero()
                && let Some(latest) = stack.last()
            {
                let sale = &mut self.sales[latest.sale];
                let (_, left, price) = &mut sale.lines[latest.line];
                part(Origin::next(&sale.id, false, &earlier), take(&mut open, left), *price);
                if left.is_zero() {
                    stack.pop();
                }
            }
        }
        for (origin, pieces) in found {
            let sale = self.by_order.get(&origin.order).map(|sale| self.sales[*sale].currency);
            let currency = sale.unwrap_or(gathered.plan.currency);
            self.matched.push(Matched { back: n, origin, currency, pieces });
        }
    }
}

fn add(sum: &mut Quantity, pieces: Quantity) {
    *sum = sum.saturating_add(pieces);
}

/// Moves as many pieces as both have.
fn take(open: &mut Quantity, left: &mut Quantity) -> Quantity {
    let taken = (*open).min(*left);
    (*open, *left) = (open.saturating_sub(taken), left.saturating_sub(taken));
    taken
}

/// What earlier runs took back of an order for a return.
fn earlier(
    gathered: &mut Gathered<'_>,
    back: u32,
    order: &str,
    sink: &mut dyn Sink,
) -> Result<Vec<Earlier>, SinkError> {
    let mut all = Vec::new();
    for stated in [false, true] {
        for nth in 1.. {
            let origin = Origin { fresh: false, order: order.into(), stated, nth };
            let refund_id = origin.refund_id(&gathered.orders[back as usize]);
            let id = format!("{}:refund:{refund_id}", gathered.plan.name);
            let Some(refund) = sink.refund(&gathered.plan.name, &id)? else { break };
            let names = &mut gathered.names;
            let piece = |line: &Line| (names.number(&line.product_id), line.quantity, line.price.unwrap_or_default());
            all.push(Earlier { origin, pieces: refund.lines.iter().map(piece).collect() });
        }
    }
    Ok(all)
}

fn lines_of(draft: &Draft) -> Vec<Portion> {
    draft.lines.iter().map(|line| (line.product, line.pieces, unit_price(line))).collect()
}

/// Pieces by product.
fn goods(lines: &[Portion]) -> BTreeMap<u32, Quantity> {
    let mut sums = BTreeMap::new();
    lines.iter().for_each(|(product, pieces, _)| add(sums.entry(*product).or_default(), *pieces));
    sums
}

/// What one piece of a line cost, to a millionth.
pub(super) fn unit_price(line: &DraftLine) -> Decimal {
    let price = line.amount.abs() / Decimal::from(line.pieces);
    price.round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero).normalize()
}

/// Counts what was matched and taken back, and rejects the rest. All rows of a return that bring back one
/// product are rejected together: fed again, they say together how many pieces came back.
pub(super) fn settle(gathered: &mut Gathered<'_>, matched: &[Matched], refused: &HashMap<usize, &Refused>) {
    let mut taken: HashMap<(u32, u32), Quantity> = HashMap::new();
    let mut why: HashMap<(u32, u32), &Refused> = HashMap::new();
    for (n, m) in matched.iter().enumerate() {
        for (product, pieces, _) in &m.pieces {
            match refused.get(&n) {
                Some(refused) => _ = why.insert((m.back, *product), refused),
                None => add(taken.entry((m.back, *product)).or_default(), *pieces),
            }
        }
    }
    let returns: Vec<u32> = (0u32..).zip(&gathered.orders).filter(|(_, d)| d.is_return).map(|(n, _)| n).collect();
    for n in returns {
        let lines = std::mem::take(&mut gathered.orders[n as usize].lines);
        let mut short: HashMap<u32, Short> = HashMap::new();
        for line in &lines {
            let there = taken.entry((n, line.product)).or_default();
            let mut left = line.pieces;
            let here = take(&mut left, there);
            let Short { open, all, matched } = short.entry(line.product).or_default();
            add(open, left);
            add(all, line.pieces);
            *matched += u64::from(left.is_zero());
            let code = why.get(&(n, line.product)).map_or(NO_SALE, |refused| &*refused.code);
            count(gathered, line, here, code);
        }
        for line in &lines {
            let Short { open, all, .. } = short.get(&line.product).copied().unwrap_or_default();
            if !open.is_zero() {
                reject(gathered, n, line, (open, all), why.get(&(n, line.product)).copied());
            }
        }
        let kept = short.values().filter(|short| !short.open.is_zero()).map(|short| short.matched);
        gathered.totals.returned_and_kept += kept.sum::<u64>();
        gathered.orders[n as usize].lines = lines;
    }
}

/// What a return says of one product.
#[derive(Clone, Copy, Default)]
struct Short {
    /// Pieces that were not taken back.
    open: Quantity,
    /// Pieces that came back.
    all: Quantity,
    /// Rows of which every piece was taken back.
    matched: u64,
}

/// Divides a returned line between what was taken back and what was not.
fn count(gathered: &mut Gathered<'_>, line: &DraftLine, taken: Quantity, code: &str) {
    if taken == line.pieces {
        return gathered.totals.returned.add(1, line.quantity, line.amount);
    }
    let share = Decimal::from(taken) / Decimal::from(line.pieces);
    let part = |whole: Decimal| (whole * share).round_dp(6).normalize();
    let (pieces, amount) = (part(line.quantity), part(line.amount));
    gathered.totals.returned.add(0, pieces, amount);
    let rest = gathered.totals.rejected.entry(code.into()).or_default();
    rest.add(1, line.quantity - pieces, line.amount - amount);
}

fn reject(
    gathered: &mut Gathered<'_>,
    n: u32,
    line: &DraftLine,
    (open, all): (Quantity, Quantity),
    refused: Option<&Refused>,
) {
    let Some(orders) = gathered.plan.orders.as_ref() else { return };
    let named = gathered.orders[n as usize].refers_to.as_deref();
    let (code, reason) = if let Some(refused) = refused {
        (refused.code.clone().into_string().into(), refused.reason.clone())
    } else {
        let why = match named {
            Some(order) if gathered.unknown.contains(order) => {
                format!(
                    "came back of order '{order}', which is neither booked nor among those that these files bring in"
                )
            }
            Some(order) => format!("came back that order '{order}' does not have, or that came back of it before"),
            None => {
                "came back without an earlier sale to this customer, in these files or among their booked orders".into()
            }
        };
        let remedy = "bring the sale in, then feed all rows of this return again as they are";
        (Cow::Borrowed(NO_SALE), format!("{open} of {all} pieces {why}; {remedy}").into())
    };
    let own = match (&*code, named) {
        ("unknown_line", _) => orders.product,
        (NO_SALE, Some(_)) => orders.returned_order.unwrap_or(orders.id),
        _ => orders.quantity.unwrap_or(orders.id),
    };
    let field = gathered.field(orders.file, &code, &orders.customer, own);
    gathered.rejects[orders.file].add(line.line, code, field, reason);
}
