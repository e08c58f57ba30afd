//! The journal's format: what was appended is read back the same, and damage is refused, not believed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perennial_core::id::CustomerId;
use perennial_core::input::{Entry, Input};
use perennial_core::time::Timestamp;
use perennial_store::fuzzing::Lying;

fuzz_target!(|data: &[u8]| {
    garbage(data);
    let [damage, person, rest @ ..] = data else { return };
    let Ok((input, rest)) = postcard::take_from_bytes::<Input>(rest) else { return };
    let outcome = postcard::from_bytes(rest).unwrap_or_default();
    let ana = (person % 2 == 0).then_some(CustomerId([0xaa; 16]));
    let recorded_at = Timestamp::from_millis(1_767_268_800_000);
    let entry = Entry { seq: 1, recorded_at, customer: ana, root: ana, cause: None, input: Some(input), outcome };
    let mut lying = Lying::write(&entry).expect("what was decoded can be written");
    assert_eq!(lying.read().expect("what was written can be read"), entry);
    lying.damage_input(usize::from(*damage));
    assert!(lying.read().is_err(), "a damaged input is not believed");
});

/// Bytes that nobody wrote are an entry or a reason, and what is an entry is read the same again.
fn garbage(data: &[u8]) {
    let nothing = vec![1, 0];
    let _ = Lying::of(Some(data.to_vec()), nothing).read();
    if let Ok(entry) = Lying::of(None, data.to_vec()).read() {
        // What is said of the person lies sealed behind the input, and there is none: it is gone.
        let once = again(&entry);
        assert_eq!(again(&once), once);
    }
}

fn again(entry: &Entry) -> Entry {
    Lying::write(entry).and_then(|row| row.read()).expect("an outcome that was read can be written")
}
