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
