//! A customer as the state's row: a body, and apart from it the complete blocks of long lists, which
//! are written when they change.

use std::ops::Range;

use perennial_core::blocks::NUMBERS;
use perennial_core::customer::Customer;
use perennial_core::time::Timestamp;
use perennial_store::{CustomerRow, Failure, Parts, Trouble};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version byte of encoded customers and of the workspace's own part: one for both, so that whoever
/// reads the workspace knows that the customers can be read.
pub(super) const ENCODING: u8 = 23;
/// A customer as a row, no more of it than needed; `scratch` is left larger for the next one. What is
/// taken of the customer's lists must be written.
pub(super) fn encode(
    customer: &mut Customer,
    next_due: Option<Timestamp>,
    scratch: &mut Vec<u8>,
) -> Result<CustomerRow, Failure> {
    customer.orders.pack();
    let mut parts = Parts::default();
    let (mut next, mut is_new) = (0, false);
    for (number, list) in customer.lists() {
        let changes = list.take_changes();
        is_new = changes.gone == (0..NUMBERS);
        if is_new {
            // So is whatever stands before it, with lists that are no more.
            add(&mut parts.gone, part(next, 0)..part(number, 0));
        }
        add(&mut parts.gone, part(number, changes.gone.start)..part(number, changes.gone.end));
        for block in changes.changed {
            let write = |there| list.write(block, there).map_err(|e| unwritable(&e));
            parts.bodies.push((part(number, block), pack_with(scratch, write)?));
        }
        next = number + 1;
    }
    if is_new {
        add(&mut parts.gone, part(next, 0)..u32::MAX);
    }
    let body = pack(&[ENCODING], customer, scratch)?;
    Ok(CustomerRow { id: customer.id, next_due, body, parts })
}

/// Adds a range to those before it, of which the last may end where it begins.
fn add(ranges: &mut Vec<Range<u32>>, range: Range<u32>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// Lets a customer take the place of whatever is written under the id.
pub(super) fn renew(customer: &mut Customer) {
    customer.lists().into_iter().for_each(|(_, list)| list.renew());
}

fn pack(prefix: &[u8], what: &impl Serialize, scratch: &mut Vec<u8>) -> Result<Vec<u8>, Failure> {
    pack_with(scratch, |mut there| {
        there.extend_from_slice(prefix);
        postcard::to_extend(what, there).map_err(|e| unwritable(&e))
    })
}

/// What `write` puts behind nothing, in as much room as it needs.
fn pack_with(
    scratch: &mut Vec<u8>,
    write: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<u8>, Failure> {
    scratch.clear();
    *scratch = write(std::mem::take(scratch))?;
    Ok(scratch.as_slice().into())
}

fn unwritable(why: &postcard::Error) -> Failure {
    super::misfit("encode a customer", &why.to_string())
}

/// The number of a block: a list's number, and of which its blocks' ones follow each other.
const fn part(list: u32, number: u32) -> u32 {
    list * NUMBERS + number
}

const READ_A_CUSTOMER: &str = "read a customer from state.db";

/// The customer of a row.
///
/// # Errors
/// When another version wrote it, or it is damaged.
pub(super) fn decode(row: &CustomerRow) -> Result<Customer, Failure> {
    let Some((&ENCODING, body)) = row.body.split_first() else { return Err(outdated(READ_A_CUSTOMER)) };
    let mut customer: Customer = unpack(body)?;
    let mut bodies = row.parts.bodies.iter().rev().peekable();
    for (number, list) in customer.lists().into_iter().rev() {
        while let Some((block, body)) = bodies.next_if(|(block, _)| *block >= part(number, 0)) {
            if *block < part(number, NUMBERS) {
                list.read(body).map_err(|e| unreadable(READ_A_CUSTOMER, &e))?;
            }
        }
    }
    if customer.was_read() { Ok(customer) } else { Err(damaged(READ_A_CUSTOMER, "a part of a row is missing")) }
}

fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    postcard::from_bytes(body).map_err(|e| unreadable(READ_A_CUSTOMER, &e))
}

/// Another version wrote what is to be read.
pub(super) fn outdated(doing: &str) -> Failure {
    Failure { trouble: Trouble::Outdated, doing: doing.into(), detail: "another version wrote the state".into() }
}

/// What is written cannot be read; `doing` names the file, by which the failure knows what mends it.
pub(super) fn unreadable(doing: &str, why: &postcard::Error) -> Failure {
    damaged(doing, &format!("a row is damaged ({why})"))
}

fn damaged(doing: &str, detail: &str) -> Failure {
    Failure { trouble: Trouble::Corrupt, doing: doing.into(), detail: detail.into() }
}
