//! A customer as the state's row: a body, and apart from it the complete blocks of long lists, which
//! are written when they change.

use perennial_core::blocks::{Blocks, NUMBERS};
use perennial_core::customer::Customer;
use perennial_core::time::Timestamp;
use perennial_store::{CustomerRow, Failure, Parts, Trouble};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version byte of encoded customers and of the workspace's own part: one for both, so that whoever
/// reads the workspace knows that the customers can be read.
pub(super) const ENCODING: u8 = 9;
/// Which list a part is a block of, in the upper bits of its number.
const ORDERS: u32 = 0;
const LOTS: u32 = 1;
const LIST_BITS: u32 = 28;

/// A customer as a row, no more of it than needed; `scratch` is left larger for the next one. What is
/// taken of the customer's blocks must be written.
pub(super) fn encode(
    customer: &mut Customer,
    next_due: Option<Timestamp>,
    scratch: &mut Vec<u8>,
) -> Result<CustomerRow, Failure> {
    let mut parts = Parts::default();
    take_parts(ORDERS, customer.orders.list(), scratch, &mut parts)?;
    match &mut customer.member {
        Some(member) => take_parts(LOTS, &mut member.wallet.lots, scratch, &mut parts)?,
        None => parts.gone.push(part(LOTS, 0)..part(LOTS, NUMBERS)),
    }
    let body = pack(&[ENCODING], customer, scratch)?;
    Ok(CustomerRow { id: customer.id, next_due, body, parts })
}

/// Lets a customer take the place of whatever is written under the id.
pub(super) fn renew(customer: &mut Customer) {
    customer.orders.list().renew();
    customer.member.iter_mut().for_each(|member| member.wallet.lots.renew());
}

fn take_parts<T: Serialize>(
    list: u32,
    blocks: &mut Blocks<T>,
    scratch: &mut Vec<u8>,
    parts: &mut Parts,
) -> Result<(), Failure> {
    let changes = blocks.take_changes();
    if !changes.gone.is_empty() {
        parts.gone.push(part(list, changes.gone.start)..part(list, changes.gone.end));
    }
    for number in changes.changed {
        parts.bodies.push((part(list, number), pack(&[], &blocks.block(number), scratch)?));
    }
    Ok(())
}

fn pack(prefix: &[u8], what: &impl Serialize, scratch: &mut Vec<u8>) -> Result<Vec<u8>, Failure> {
    scratch.clear();
    scratch.extend_from_slice(prefix);
    *scratch = postcard::to_extend(what, std::mem::take(scratch))
        .map_err(|e| super::misfit("encode a customer", &e.to_string()))?;
    Ok(scratch.as_slice().into())
}

const fn part(list: u32, number: u32) -> u32 {
    (list << LIST_BITS) | number
}

const READ_A_CUSTOMER: &str = "read a customer from state.db";

/// The customer of a row.
///
/// # Errors
/// When another version wrote it, or it is damaged.
pub(super) fn decode(row: &CustomerRow) -> Result<Customer, Failure> {
    let Some((&ENCODING, body)) = row.body.split_first() else { return Err(outdated(READ_A_CUSTOMER)) };
    let mut customer: Customer = unpack(body)?;
    for (number, body) in row.parts.bodies.iter().rev() {
        match (number >> LIST_BITS, &mut customer.member) {
            (ORDERS, _) => customer.orders.list().fill(unpack(body)?),
            (LOTS, Some(member)) => member.wallet.lots.fill(unpack(body)?),
            _ => {}
        }
    }
    let whole = customer.orders.list().is_whole() && customer.member.iter().all(|m| m.wallet.lots.is_whole());
    if whole { Ok(customer) } else { Err(damaged(READ_A_CUSTOMER, "a part of a row is missing")) }
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
