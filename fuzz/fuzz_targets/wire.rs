//! Bodies of the Segment API: whatever arrives is an event, a reject that names its remedy, or malformed as a whole.
//!
//! The first byte chooses the call, the rest is the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perennial::wire::segment::{self, BATCH_MAX, Call, EVENT_MAX, MESSAGE_ID_MAX};
use perennial::wire::{Arrival, Circumstances};
use perennial_core::event::Event;
use perennial_core::time::Timestamp;

const NAMES: [&str; 8] = ["identify", "track", "page", "screen", "group", "alias", "merge", "batch"];
/// 1 January 2026, noon.
const NOW: Timestamp = Timestamp::from_millis(1_767_268_800_000);

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let Some(call) = Call::of_path(NAMES[usize::from(first) % NAMES.len()]) else { return };
    let from = Circumstances::live("web", NOW);
    let arrivals = segment::parse(call, body, &from);
    assert_eq!(arrivals, segment::parse(call, body, &from), "the same bytes are read the same");
    match arrivals {
        Err(fault) => assert!(!fault.code.is_empty() && !fault.reason.is_empty()),
        Ok(arrivals) => {
            assert!(arrivals.len() <= BATCH_MAX);
            assert!(call == Call::Batch || arrivals.len() == 1, "one call is one arrival");
            arrivals.iter().for_each(check);
        }
    }
});

fn check(arrival: &Arrival) {
    match arrival {
        Arrival::Event(event) => keeps(event),
        Arrival::Reject(reject) => {
            assert!(!reject.code.is_empty() && !reject.reason.is_empty());
            assert!(reject.body.len() <= EVENT_MAX);
        }
    }
}

/// An event that was taken has an id of bounded length and lies in the journal as it was read.
fn keeps(event: &Event) {
    assert!(!event.message_id.is_empty() && event.message_id.len() <= MESSAGE_ID_MAX);
    let bytes = postcard::to_stdvec(event).expect("what was read can be written");
    let again: Event = postcard::from_bytes(&bytes).expect("and what was written can be read");
    assert_eq!(&again, event);
}
