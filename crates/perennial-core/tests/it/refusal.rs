//! Refusals: what a member is told, and what would help.

use perennial_core::command::{self, Neighbours, Refusal};
use perennial_core::customer::Customer;
use perennial_core::id::{CustomerId, Identifier, Secret};
use perennial_core::input::{Asked, Command};
use perennial_core::program;
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;

const SHOP: &str = "
perennial: 1
id: shop
name: Shop
currency: EUR
time_zone: UTC
tiers: { by: spend, levels: [ { id: bronze, from: 0 }, { id: silver, from: 5 }, { id: gold, from: 9 } ] }
rewards: [ { id: espresso, name: Espresso, points: 12 }, { id: jacket, name: Jacket, points: 5, tier: gold } ]
";

/// What a new member is told who asks for this.
fn refused(command: Command) -> String {
    let mut rules = Rules::new(Secret([7; 16]));
    rules.publish(program::compile(SHOP).unwrap(), Timestamp::EPOCH);
    let ana = Identifier::user("ana").unwrap();
    let mut customer = Customer::new(CustomerId::derive(&rules.secret, &ana, 0), Vec::new(), 1);
    let mut ask = |command: Command| {
        let asked = Asked::new(Timestamp::EPOCH, "test", ana.clone(), None, command);
        command::admit(&rules, &mut customer, &asked, &Neighbours::default()).1
    };
    ask(Command::Enroll).unwrap();
    let Refusal { code, message, .. } = ask(command).unwrap_err();
    format!("{code}: {message}")
}

fn redeem(reward: &str) -> Command {
    Command::Redeem { reward: reward.into(), quantity: 1 }
}

#[test]
fn a_refusal_says_what_is_missing_and_what_would_help() {
    let set_tier = |tier: &str| Command::SetTier { tier: tier.into(), until: "2027-06-30".parse().unwrap() };
    for (command, expected) in [
        (redeem("expresso"), "unknown_reward: no reward has the id 'expresso', did you mean 'espresso'?"),
        (redeem("moon"), "unknown_reward: no reward has the id 'moon'"),
        (redeem("jacket"), "tier_required: 'jacket' is for members who have reached gold"),
        (redeem("espresso"), "insufficient_points: this costs 12 points, 0 are available"),
        (
            Command::SetTier { tier: "gold".into(), until: "1969-12-31".parse().unwrap() },
            "invalid: until: 1969-12-31 is over; name a later day or instant",
        ),
        (
            Command::Adjust { points: 5, reason: " ".into(), by: "dora".into() },
            "invalid: reason: say in a few words why the balance is corrected",
        ),
        (set_tier("sliver"), "unknown_tier: the programme has no tier 'sliver', did you mean 'silver'?"),
    ] {
        assert_eq!(refused(command), expected);
    }
}

#[test]
fn of_a_name_without_end_as_much_is_repeated_as_tells_it() {
    let endless = "x".repeat(60_000);
    let expected = format!("unknown_reward: no reward has the id '{}'", "x".repeat(60));
    assert_eq!(refused(redeem(&endless)), expected);
}
