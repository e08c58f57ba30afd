//! Erasure: the person is forgotten, the books still balance.
//!
//! Promise: every point that could still be used is given up by a posting that says so, arrears are
//! borne by the shop, and the facts name nobody. What then is left of the customer is one sum of
//! points by where they went ([`remains`]).
//! Absent on purpose: keys, indexes and rows. Destroying and removing them is the workspace's part.

use crate::command;
use crate::customer::Customer;
use crate::engine::Book;
use crate::fact::{Account, Cause, Fact, Outcome};
use crate::ledger::Buckets;
use crate::rules::Rules;
use crate::time::Timestamp;

/// Gives up what the customer still holds, and says what followed.
pub fn erase(rules: &Rules, customer: &mut Customer, at: Timestamp) -> Outcome {
    let Some(mut book) = Book::open(rules, customer, at) else { return Vec::new() };
    forfeit(&mut book);
    let arrears = book.customer.member.as_ref().map_or(0, |m| m.wallet.arrears);
    book.post(Account::Waived, Account::Arrears, arrears, None, Cause::Erase);
    let roots = book.customer.roots.clone();
    book.record(Fact::Erased { roots });
    book.close()
}

fn forfeit(book: &mut Book<'_>) {
    command::free_holds(book, |_| true); // So that what is owed, and refunds that the shop bore, are settled from them.
    let lots = book.customer.member.iter().flat_map(|m| &m.wallet.lots);
    let open: Vec<_> = lots.map(|lot| (lot.id, lot.buckets)).collect();
    for (lot, holds) in open {
        for (account, points) in [(Account::Pending, holds.pending), (Account::Available, holds.available)] {
            book.post(account, Account::Forfeited, points, Some(lot), Cause::Erase);
        }
    }
}

/// What stays of an erased customer in the books: points by where they went; none of somebody who
/// never was a member.
pub fn remains(customer: &Customer) -> Buckets {
    customer.member.as_ref().map(|m| m.wallet.totals()).unwrap_or_default()
}
