//! Answers to cases of uplift metrics.

use perennial_learn::uplift::metrics;
use serde_json::{Value, json};

use super::{numbers, say};

/// Answers one case: the measures of a given ranking.
pub(super) fn answer(input: &Value) -> Result<Value, String> {
    let flags = |key: &str| Ok::<_, String>(numbers(input, key)?.into_iter().map(|v| v > 0.5).collect::<Vec<bool>>());
    let told = metrics::measure(&flags("outcome")?, &flags("treated")?, &numbers(input, "score")?, 0.3).map_err(say)?;
    Ok(json!({ "qini_auc": told.qini_auc, "auuc": told.auuc, "raw_qini": told.raw_qini,
               "uplift_at_30_by_group": told.uplift_at_share_by_group,
               "uplift_at_30_overall": told.uplift_at_share_overall }))
}
