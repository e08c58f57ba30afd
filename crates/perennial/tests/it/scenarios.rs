//! All scenario files of the repository hold.

use std::path::Path;

use perennial::scenario::{self, Verdict};

#[test]
fn every_scenario_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let files = scenario::find(&[folder]).unwrap();
    let verdicts = scenario::run_all(&files);
    let odd: Vec<String> =
        verdicts.iter().filter(|v| !v.holds() || !v.notes.is_empty()).map(ToString::to_string).collect();
    assert!(odd.is_empty(), "{}", odd.join("\n"));
}

#[test]
fn an_expectation_that_does_not_hold_names_step_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/ecoexplorers.yaml");
    let text = format!(
        "name: wrong\nprogram: {}\nclock: 2026-03-01T09:00:00Z\nsteps:\n  - enroll: {{ customer: ana }}\n  - expect: {{ customer: ana, points: {{ pending: 7 }} }}\n",
        program.display()
    );
    let file = folder.path().join("wrong.yaml");
    std::fs::write(&file, text).unwrap();
    let verdict = scenario::run(&file);
    assert_eq!(verdict.failures.len(), 1);
    assert_eq!((verdict.failures[0].step, &*verdict.failures[0].field), (2, "points.pending"));
}

#[test]
fn the_story_of_the_guide_holds_under_its_programme() {
    let guide = include_str!("../../../../docs/scenarios.md");
    let blocks: Vec<&str> =
        guide.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    let [story, programme] = blocks[..] else { panic!("a story and its programme are printed") };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("two-beans.yaml"), programme).unwrap();
    let file = folder.path().join("story.yaml");
    std::fs::write(&file, story).unwrap();
    let verdict = scenario::run(&file);
    assert!(verdict.holds(), "{verdict}");
}

/// What becomes of a story that goes on like this, under the example's programme.
fn told(story: &str) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/coffee.yaml");
    let text = format!("name: slip\nprogram: {}\nclock: 2026-03-01T09:00:00Z\n{story}\n", program.display());
    let file = folder.path().join("slip.yaml");
    std::fs::write(&file, text).unwrap();
    scenario::run(&file)
}

/// What becomes of a story with these steps after Ana has joined and bought something for 10 euros.
fn told_of(steps: &str) -> Verdict {
    let order =
        "track: { messageId: m1, userId: ana, event: Order Completed, properties: { order_id: A1, subtotal: 10 } }";
    told(&format!("steps:\n  - enroll: {{ customer: ana }}\n  - {order}\n{steps}"))
}

/// Each of these steps is a mistake of the file, and told so.
fn all_told(table: &[(&str, &str)]) {
    for (step, said) in table {
        let verdict = told_of(&format!("  - {step}"));
        let error = verdict.error.as_deref().unwrap_or_default();
        assert!(error.contains(said), "{step}\n{verdict}");
    }
}

/// Each of these steps is in order, and holds.
fn all_hold(steps: &[&str]) {
    for step in steps {
        let verdict = told_of(&format!("  - {step}"));
        assert!(verdict.holds() && verdict.notes.is_empty(), "{step}\n{verdict}");
    }
}

#[test]
fn a_slip_in_a_story_is_told_with_what_to_write() {
    all_told(&[
        ("expct: { customer: ana }", "unknown action 'expct'; did you mean 'expect'?"),
        ("wait: P1D", "step 3: unknown action 'wait'; known: adjust, advance, "),
        ("case: { open: late }", "'case' is not built yet: remove it"),
        ("enroll: { customer: bo, referred_by: ana }", "enroll: 'referred_by' is not built yet"),
        ("enroll: { customer: bo, referral_code: ANA-1 }", "enroll: 'referral_code' is not built yet"),
        ("redeem: { customer: ana, rewrd: espresso }", "redeem: unknown field 'rewrd'; it takes customer, reward"),
        (
            "redeem: { customer: 'email:zz', reward: espresso }",
            "customer: 'email:zz' names nobody; a customer is named",
        ),
        ("expect: { customer: 'email:zz', tier: gold }", "customer: 'email:zz' names nobody; a customer is named"),
        ("redeem: espresso", "redeem: expected a map like { name: value }"),
        ("expect: { customer: ana, teir: gold }", "expect: unknown field 'teir'; did you mean 'tier'?"),
        ("expect: { customer: ana, vouchers: [] }", "expect: 'vouchers' is not built yet"),
        ("expect: { customer: ana, points: { avail: 4 } }", "points: unknown field 'avail'; known: "),
        ("expect: { customer: ana, points: 4 }", "points: expected a map like { name: value }"),
        (
            "track: { userId: ana, event: Order Completed, properties: { order_id: A1, subtotal: 4,50 } }",
            "'50' stands after a comma and has no value: decimals take a point, as 4.50",
        ),
        (
            "track: { userId: ana, event: Survey, propertis: { q: 1 } }",
            "track: unknown field 'propertis'; did you mean 'properties'?",
        ),
        ("batch: [ { type: track, userId: ana, evnt: Survey } ]", "batch: unknown field 'evnt'; did you mean 'event'?"),
        ("identify: { userid: ana }", "identify: unknown field 'userid'; did you mean 'userId'?"),
    ]);
    let programme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/coffee.yaml");
    let told = scenario::run(&programme).to_string();
    assert!(told.contains("this is a programme, not a story"), "{told}");
}

#[test]
fn a_file_that_is_no_story_is_told_in_our_words() {
    for (story, said) in [
        ("clock: 2026-03-01T09:00:00Z\nsteps: []", "line 4: a name is written twice in one map: keep one of the two"),
        ("steps: []\n---\nname: two", "a file holds one story: take out the line '---'"),
        (&format!("steps:\n{}", "  - { enroll: { customer: ana } }\n".repeat(60_000)), "the file is too long: divide"),
        ("steps: []\ncatalog: none.csv", "none.csv: there is no such file"),
        ("steps: []\ncatalog: 7", "catalog: a list of products, or the name of a CSV file"),
    ] {
        let verdict = told(story);
        assert!(verdict.error.as_deref().unwrap_or_default().contains(said), "{story}\n{verdict}");
    }
}

#[test]
fn an_expectation_that_compares_nothing_is_told() {
    all_told(&[
        ("expect: {}", "expect: compares nothing"),
        ("expect: { customer: ana }", "expect: compares nothing"),
        ("expect: { customer: ana, points: {} }", "points: compares nothing"),
        ("expect: { customer: ana, wallets: { points: {} } }", "wallets.points: compares nothing"),
        ("expect: { customer: ana, segments: {} }", "segments: compares nothing"),
        ("expect: { customer: ana, segments: { in: [] } }", "segments.in: compares nothing"),
        ("expect: { customer: ana, traits: {} }", "traits: compares nothing"),
        ("expect: { customer: ana, no_messages: [] }", "no_messages: compares nothing"),
        ("expect: { stock: {} }", "stock: compares nothing"),
        ("expect: { same_customer: [ana] }", "same_customer: compares nothing; name two customers or more"),
        ("expect: { different_customers: [ana] }", "different_customers: compares nothing"),
        ("expect: { customer: bo, exists: false, badges: [x] }", "'exists: false' stands alone"),
    ]);
}

#[test]
fn an_expectation_of_another_shape_is_told() {
    all_told(&[
        ("expect: { customer: ana, badges: regular }", "badges: expected a list of names"),
        ("expect: { customer: ana, badges: { regular: true } }", "badges: expected a list of names"),
        ("expect: { customer: ana, badges: [7] }", "badges: expected a list of names"),
        ("expect: { customer: ana, segments: { in: regulars } }", "segments.in: expected a list of names"),
        ("expect: { customer: ana, messages: points-expiring }", "messages: expected a list of maps"),
        ("expect: { customer: ana, messages: [ { template: x, count: many } ] }", "messages: count is a whole number"),
        (
            "expect: { customer: ana, messages: [ { template: x, channel: sms } ] }",
            "messages: 'channel' is not built yet",
        ),
        ("expect: { customer: ana, exists: maybe }", "exists: true or false"),
        ("expect: { same_customer: ana }", "same_customer: expected a list of names"),
        (
            "expect: { customer: ana, points: { available: { about: ten } } }",
            "points.available: a map is { about: 12.5",
        ),
        (
            "expect: { customer: ana, points: { available: { about: 9, witin: 1 } } }",
            "points.available: a map is { about: 12.5",
        ),
    ]);
}

#[test]
fn a_name_that_nobody_knows_is_told_even_where_nothing_is_expected() {
    all_told(&[
        (
            "expect: { customer: ana, traits: { emial: null } }",
            "traits: no trait is declared as 'emial'; did you mean 'email'?",
        ),
        (
            "expect: { customer: ana, impact: { tres: 0 } }",
            "impact: no benefit and no product of the catalogue brings 'tres'",
        ),
        ("expect: { customer: ana, next_tier: { nam: null } }", "next_tier: unknown field 'nam'; did you mean 'name'?"),
        ("expect: { customer: ana, segments: { not_in: [regular] } }", "did you mean 'regulars'?"),
        ("expect: { stock: { expresso: null } }", "stock: no reward has the id 'expresso'; did you mean"),
    ]);
    let catalog = "catalog: [ { product_id: cup, impact: { trees: 1 } } ]\nsteps:\n  - enroll: { customer: ana }\n";
    let slip = told(&format!("{catalog}  - expect: {{ customer: ana, impact: {{ tres: 0 }} }}"));
    assert!(slip.to_string().contains("brings 'tres'; did you mean 'trees'?"), "{slip}");
    let meant = told(&format!("{catalog}  - expect: {{ customer: ana, impact: {{ trees: 0 }} }}"));
    assert!(meant.holds(), "{meant}");
}

#[test]
fn what_is_not_there_can_be_expected() {
    all_hold(&[
        "expect: { customer: ana, messages: [] }",
        "expect: { customer: ana, messages: [ { template: points-expiring, count: 0 } ] }",
        "expect: { customer: ana, badges: [], traits: { email: null } }",
        "expect: { customer: bo, exists: false }",
        "expect: { customer: ana, exists: true, consents: { whatever: null } }",
        "expect: { customer: ana, points: { available: { about: 9, within: 1 } } }",
    ]);
    let nobody = told_of("  - expect: { customer: nobody, tier: gold }").to_string();
    assert!(nobody.contains("customer: expected somebody known as 'nobody', found nobody"), "{nobody}");
    let queued = "  - publish: { patch: { wallets: { points: { expires: { remind: P30D } } } } }\n  \
        - track: { userId: ana, event: Order Completed, properties: { order_id: B, subtotal: 5 } }\n  - advance: P1Y";
    let some = told_of(&format!("{queued}\n  - expect: {{ customer: ana, messages: [] }}")).to_string();
    assert!(some.contains("messages: expected none, found points-expiring"), "{some}");
    let typo = told_of("  - expect: { different_customers: [ana, an] }").to_string();
    assert!(typo.contains("different_customers: expected ana, an, found cus_"), "{typo}");
}

#[test]
fn a_reject_that_no_step_expects_is_noted() {
    let verdict = told_of("  - track: { userId: ana, event: Order Completed, properties: { subtotal: 4 } }");
    assert!(verdict.holds(), "{verdict}");
    let said = "slip.yaml, step 3: rejected: missing_field (properties.order_id is missing";
    assert!(verdict.to_string().contains(said), "{verdict}");
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&json["notes"][0]["step"], &json["notes"][0]["code"]), (&3.into(), &"missing_field".into()), "{json}");
    assert!(json["notes"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{json}");
    let other = told_of(
        "  - track: { userId: ana, event: Order Completed, properties: { subtotal: 4 } }\n    rejected: conflict",
    );
    assert!(
        !other.holds() && other.to_string().contains("rejected: expected conflict, found missing_field"),
        "{other}"
    );
}

#[test]
fn another_message_under_the_same_id_is_a_conflict() {
    let again =
        "track: { messageId: m1, userId: ana, event: Order Completed, properties: { order_id: B, subtotal: 5 } }";
    let noted = told_of(&format!("  - {again}\n  - expect: {{ customer: ana, points: {{ available: 10 }} }}"));
    assert!(noted.holds(), "{noted}");
    assert_eq!((noted.notes[0].step, &*noted.notes[0].code, &*noted.notes[0].field), (3, "conflict", "messageId"));
    all_hold(&[&format!("{again}\n    rejected: conflict")]);
    all_told(&[
        (
            "track: { messageId: step-4, userId: ana, event: Visit }",
            "messageId: 'step-4' is what a later step is called",
        ),
        ("batch: [ { type: track, messageId: step-3.2, userId: ana, event: Visit } ]", "messageId: 'step-3.2' is what"),
    ]);
    all_hold(&["track: { messageId: step-3, userId: ana, event: Visit }"]);
}

#[test]
fn a_programme_that_does_not_compile_can_be_expected() {
    let broken = "publish: { patch: { earn: [ { id: p, on: Order Completed, points: many } ] } }";
    let after = "  - publish: { patch: { name: Corner } }\n  - expect: { customer: ana, points: { available: 10 } }";
    let held = told_of(&format!("  - {broken}\n    refused: invalid_program\n{after}"));
    assert!(held.holds(), "{held}");
    let unexpected = told_of(&format!("  - {broken}"));
    assert!(unexpected.error.is_some_and(|e| e.contains("the programme does not compile: earn[0].points")));
    let other = told_of(&format!("  - {broken}\n    refused: invalid")).to_string();
    assert!(
        other.contains("refused: expected invalid, found invalid_program (the programme does not compile"),
        "{other}"
    );
    let fine = told_of("  - publish: { patch: { name: Corner } }\n    refused: invalid_program").to_string();
    assert!(fine.contains("refused: expected invalid_program, found done"), "{fine}");
}

#[test]
fn what_is_said_of_a_product_is_checked() {
    for (product, said) in [
        ("{ product_id: cup, price: abc }", "catalog[0].price: must be a number like 19.90"),
        ("{ product_id: cup, zzz: 5 }", "catalog[0]: unknown field 'zzz'; known: "),
        ("{ product_id: cup, catgory: Cups }", "catalog[0]: unknown field 'catgory'; did you mean 'category'?"),
        ("{ product_id: cup, tags: nice }", "catalog[0].tags: must be a list"),
        ("{ name: Cup }", "catalog[0].product_id is missing"),
        ("cup", "catalog[0]: expected a map like { product_id: bottle }"),
    ] {
        let verdict = told(&format!("catalog: [ {product} ]\nsteps: []"));
        assert!(verdict.error.as_deref().unwrap_or_default().contains(said), "{product}\n{verdict}");
    }
}
