//! A customer as the state store keeps it: whatever decodes is encoded so that it decodes the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perennial_core::customer::Customer;

fuzz_target!(|data: &[u8]| {
    let Ok(customer) = postcard::from_bytes::<Customer>(data) else { return };
    let bytes = postcard::to_stdvec(&customer).expect("what was decoded can be encoded");
    let again: Customer = postcard::from_bytes(&bytes).expect("and decoded again");
    assert_eq!(postcard::to_stdvec(&again).expect("and encoded again"), bytes);
    let _ = customer.faults();
});
