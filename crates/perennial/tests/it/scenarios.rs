//! All scenario files of the repository hold.

use std::path::Path;

use perennial::scenario;

#[test]
fn every_scenario_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let files = scenario::find(&[folder]).unwrap();
    let broken: Vec<String> =
        scenario::run_all(&files).iter().filter(|v| !v.holds()).map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
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

/// What a story says when it has these steps, under the example's programme.
fn told_of(steps: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/coffee.yaml");
    let text = format!("name: slip\nprogram: {}\nclock: 2026-03-01T09:00:00Z\nsteps:\n{steps}\n", program.display());
    let file = folder.path().join("slip.yaml");
    std::fs::write(&file, text).unwrap();
    scenario::run(&file).to_string()
}

#[test]
fn a_slip_in_a_story_is_told_with_what_to_write() {
    let enrolled = "  - enroll: { customer: ana }\n";
    for (steps, said) in [
        ("  - expct: { customer: ana }", "unknown action 'expct'; did you mean 'expect'?"),
        ("  - expect: { customer: ana, teir: gold }", "expect: unknown field 'teir'; did you mean 'tier'?"),
        ("  - expect: { customer: ana, points: { avail: 4 } }", "points: unknown field 'avail'; known: "),
        ("  - expect: { customer: ana, points: 4 }", "points: expected a map like { name: value }"),
        (
            "  - track: { userId: ana, event: Order Completed, properties: { order_id: A1, subtotal: 4,50 } }",
            "'50' stands after a comma and has no value: decimals take a point, as 4.50",
        ),
        (
            "  - track: { userId: ana, evnt: Order Completed }",
            "step 2: track: expected accepted, found rejected: missing_field (event: ",
        ),
    ] {
        let told = told_of(&format!("{enrolled}{steps}"));
        assert!(told.contains(said), "{steps}\n{told}");
    }
    let programme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/coffee.yaml");
    let told = scenario::run(&programme).to_string();
    assert!(told.contains("this is a programme, not a story"), "{told}");
}
