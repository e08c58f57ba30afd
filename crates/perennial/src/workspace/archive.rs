//! Orders that have left their customers' lists, as the bytes of one customer's archive: each record
//! behind its length (four bytes, little-endian). A record begins with its order's name, so that one is
//! found without reading the others.

use perennial_core::id::OrderRef;
use perennial_core::orders::PackedRecord;

/// Bytes of a length.
const LENGTH: usize = 4;

/// Adds a record.
pub(super) fn add(archive: &mut Vec<u8>, record: &PackedRecord) {
    put(archive, record.bytes());
}

fn put(archive: &mut Vec<u8>, record: &[u8]) {
    let length = u32::try_from(record.len()).expect("a record has few lines");
    archive.extend(length.to_le_bytes());
    archive.extend_from_slice(record);
}

/// The bytes of an order's record as it left last.
pub(super) fn find(archive: &[u8], order: OrderRef) -> Option<&[u8]> {
    records(archive).filter(|record| record.starts_with(&order.0)).last()
}

/// All records with the names of their orders.
pub(super) fn named(archive: &[u8]) -> impl Iterator<Item = (OrderRef, &[u8])> {
    records(archive).filter_map(|record| Some((OrderRef(*record.first_chunk()?), record)))
}

/// All records of orders that `wanted` answers for, as an archive of their own.
pub(super) fn some_of(archive: &[u8], wanted: impl Fn(OrderRef) -> bool) -> Vec<u8> {
    let mut some = Vec::new();
    named(archive).filter(|(order, _)| wanted(*order)).for_each(|(_, record)| put(&mut some, record));
    some
}

/// Damaged bytes end it early.
fn records(mut archive: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = archive.split_first_chunk::<LENGTH>()?;
        let (record, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        archive = rest;
        Some(record)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use perennial_core::fact::{BookedLine, Booking};
    use perennial_core::orders;
    use perennial_core::time::Timestamp;

    use super::*;

    fn record(name: u8, at: i64) -> PackedRecord {
        let lines = vec![BookedLine::default(); name.into()];
        let (order, recalled, rules) = (OrderRef([name; 16]), Vec::new(), Arc::default());
        let booking = Booking { order, version: 1, eligible: 0, earns: true, lines, recalled, paid_points: 0, rules };
        let at = Timestamp::from_millis(at);
        let record = orders::record(&booking, None, (at, at), "USD".parse().unwrap());
        PackedRecord::read(&postcard::to_stdvec(&record).unwrap()).unwrap()
    }

    #[test]
    fn an_order_is_found_as_it_left_last() {
        let mut archive = Vec::new();
        for (name, at) in [(1, 10), (2, 20), (3, 30), (2, 40)] {
            add(&mut archive, &record(name, at));
        }
        let found = |archive: &[u8], name: u8| {
            find(archive, OrderRef([name; 16])).map(|record| PackedRecord::read(record).unwrap())
        };
        assert_eq!(found(&archive, 2), Some(record(2, 40)));
        assert_eq!(found(&archive, 3), Some(record(3, 30)));
        assert_eq!(found(&archive, 4), None);
        let some = some_of(&archive, |order| order != OrderRef([3; 16]));
        assert_eq!(
            (found(&some, 1), found(&some, 2), found(&some, 3)),
            (Some(record(1, 10)), Some(record(2, 40)), None)
        );
    }

    #[test]
    fn damaged_bytes_are_nobodys_order() {
        let mut archive = Vec::new();
        add(&mut archive, &record(1, 10));
        for end in 0..archive.len() {
            assert_eq!(find(&archive[..end], OrderRef([1; 16])), None);
        }
        archive[..LENGTH].fill(0xff);
        assert_eq!(find(&archive, OrderRef([1; 16])), None);
    }
}
