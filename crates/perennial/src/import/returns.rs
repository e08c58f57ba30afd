//! Returns: which earlier order a returned piece came from.
//!
//! Rule 33: the customer's latest earlier order with pieces of that product left, several if need
//! be. Pieces without one are rejected as `no_matching_sale`.
//! Invariant: an order never gives back more pieces than it sold.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::{Decimal, RoundingStrategy};

use super::group::{Draft, DraftLine, Gathered};
use super::rejects::Reject;

/// Pieces of one return that came from one order.
pub(super) struct Matched {
    /// The return.
    pub(super) back: u32,
    /// The order, by its place or, when only the file names it, by its id.
    pub(super) order: Origin,
    /// Product, pieces, and what they had been sold for.
    pub(super) pieces: Vec<(u32, u32, Decimal)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Found(u32),
    Stated(Box<str>),
}

/// Pieces of a sold line that have not come back.
struct Left {
    order: u32,
    pieces: u32,
    price: Decimal,
}

type Shelf = HashMap<(u32, u32), Vec<Left>>;

/// Matches all returns in the order of time; unmatched pieces are rejected.
pub(super) fn match_all(gathered: &mut Gathered<'_>) -> Vec<Matched> {
    let mut order: Vec<u32> =
        (0u32..).zip(&gathered.orders).filter(|(_, d)| !d.lines.is_empty()).map(|(n, _)| n).collect();
    order.sort_by_key(|n| {
        let d = &gathered.orders[*n as usize];
        (d.at, d.is_return, d.first_line)
    });
    // Only what is ever brought back needs a shelf.
    let mut shelf = Shelf::new();
    for draft in gathered.orders.iter().filter(|d| d.is_return) {
        draft.lines.iter().for_each(|line| _ = shelf.entry((draft.person, line.product)).or_default());
    }
    let mut matched = Vec::new();
    for n in order {
        if gathered.orders[n as usize].is_return {
            take_back(gathered, &mut shelf, n, &mut matched);
        } else {
            put_out(&gathered.orders[n as usize], n, &mut shelf);
        }
    }
    matched
}

fn put_out(draft: &Draft, n: u32, shelf: &mut Shelf) {
    for line in &draft.lines {
        if let Some(stack) = shelf.get_mut(&(draft.person, line.product)) {
            stack.push(Left { order: n, pieces: line.pieces, price: unit_price(line) });
        }
    }
}

/// What one piece of a line cost, to a millionth.
pub(super) fn unit_price(line: &DraftLine) -> Decimal {
    let price = line.amount.abs() / Decimal::from(line.pieces.max(1));
    price.round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero).normalize()
}

fn take_back(gathered: &mut Gathered<'_>, shelf: &mut Shelf, n: u32, matched: &mut Vec<Matched>) {
    let draft = &mut gathered.orders[n as usize];
    let lines = std::mem::take(&mut draft.lines);
    let (person, stated) = (draft.person, draft.refers_to.clone());
    let mut by_order: BTreeMap<Origin, Vec<(u32, u32, Decimal)>> = BTreeMap::new();
    for line in &lines {
        let wanted = line.pieces;
        let mut open = wanted;
        if let Some(id) = &stated {
            let taken = std::mem::take(&mut open);
            by_order.entry(Origin::Stated(id.clone())).or_default().push((line.product, taken, unit_price(line)));
        }
        let stack = shelf.entry((person, line.product)).or_default();
        while open > 0
            && let Some(latest) = stack.last_mut()
        {
            let taken = open.min(latest.pieces);
            open -= taken;
            latest.pieces -= taken;
            by_order.entry(Origin::Found(latest.order)).or_default().push((line.product, taken, latest.price));
            if latest.pieces == 0 {
                stack.pop();
            }
        }
        settle(gathered, line, wanted - open);
    }
    matched.extend(by_order.into_iter().map(|(order, pieces)| Matched { back: n, order, pieces }));
    gathered.orders[n as usize].lines = lines;
}

/// Books what was matched of a returned line, and rejects the rest of it.
fn settle(gathered: &mut Gathered<'_>, line: &DraftLine, matched: u32) {
    if matched == line.pieces {
        return gathered.totals.returned.add(1, line.quantity, line.amount);
    }
    let Some(orders) = gathered.plan.orders.as_ref() else { return };
    let file = &gathered.plan.files[orders.file];
    let share = Decimal::from(matched) / Decimal::from(line.pieces.max(1));
    let part = |whole: Decimal| (whole * share).round_dp(6).normalize();
    let (pieces, amount) = (part(line.quantity), part(line.amount));
    gathered.totals.returned.add(0, pieces, amount);
    let rest = line.quantity - pieces;
    gathered.totals.rejected.entry("no_matching_sale".into()).or_default().add(1, rest, line.amount - amount);
    let column = orders.quantity.map(|c| file.columns[c].name.clone());
    let unmatched = line.pieces - matched;
    let reason = format!("{unmatched} of {} pieces came back without an earlier sale to this customer", line.pieces);
    let reject = Reject {
        code: "no_matching_sale",
        field: column.clone().unwrap_or_default(),
        reason: reason.into(),
        instead: column.filter(|_| matched > 0).map(|name| (name, rest.normalize().to_string().into())),
    };
    gathered.rejects[orders.file].by_line.insert(line.line, reject);
}
