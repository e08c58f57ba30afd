//! A pilot with a share of customers: who is in follows from who they are, and stays when it grows.

use perennial_core::command::{self, Neighbours};
use perennial_core::customer::Customer;
use perennial_core::id::{CustomerId, Identifier, Secret};
use perennial_core::input::{Asked, Command};
use perennial_core::program;
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;

const CUSTOMERS: usize = 5_000;

/// Which of many customers may join with a share.
fn who_may_join(share: &str) -> Vec<bool> {
    let text = format!(
        "perennial: 1\nid: club\nname: Club\ncurrency: EUR\ntime_zone: UTC\npilot: {{ share: {share}, salt: spring }}\n"
    );
    let mut rules = Rules::new(Secret([7; 16]));
    rules.publish(program::compile(&text).unwrap(), Timestamp::EPOCH);
    let may_join = |n: usize| {
        let name = Identifier::user(&format!("customer-{n}")).unwrap();
        let mut customer = Customer::new(CustomerId::derive(&rules.secret, &name, 0), Vec::new(), 1);
        let enroll = Command::Enroll;
        let asked = Asked::new(Timestamp::EPOCH, "test", name, None, enroll);
        command::admit(&rules, &mut customer, &asked, &Neighbours::default()).1.is_ok()
    };
    (0..CUSTOMERS).map(may_join).collect()
}

#[test]
fn widening_a_pilot_keeps_whoever_was_in_it() {
    let [tenth, half] = ["10%", "50%"].map(who_may_join);
    assert!(tenth.iter().zip(&half).all(|(early, late)| !early || *late));
    // Five standard deviations of a fair draw around 500 and 2,500.
    let count = |draw: &[bool]| draw.iter().filter(|is_in| **is_in).count();
    assert!((394..=606).contains(&count(&tenth)), "{}", count(&tenth));
    assert!((2_323..=2_677).contains(&count(&half)), "{}", count(&half));
}
