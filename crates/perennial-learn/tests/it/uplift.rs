//! Uplift metrics against independently computed values.

use perennial_learn::uplift::metrics;
use serde_json::{Value, json};

use crate::reference::{hold, load, numbers, shared};

#[test]
fn every_uplift_case_is_met() {
    let Some(shared) = shared() else { return };
    let file = load(&shared.join("reference/uplift.json"));
    let met = hold(&file, |_, case| evaluate(&case["input"]));
    println!("{met} uplift cases met");
}

/// One case of kind `uplift.metrics`.
fn evaluate(input: &Value) -> Value {
    let flags = |key: &str| numbers(&input[key]).into_iter().map(|v| v > 0.5).collect::<Vec<bool>>();
    let (outcome, treated, score) = (flags("outcome"), flags("treated"), numbers(&input["score"]));
    let told = metrics::measure(&outcome, &treated, &score, 0.3).expect("an experiment");
    json!({ "qini_auc": told.qini_auc, "auuc": told.auuc, "raw_qini": told.raw_qini,
            "uplift_at_30_by_group": told.uplift_at_share_by_group,
            "uplift_at_30_overall": told.uplift_at_share_overall })
}
