//! Experiments against GrowthBook, scipy and statsmodels.

use crate::{answers, reference_file::check_every_case};

#[test]
fn every_case_of_the_experiments_file_is_met() {
    check_every_case("experiments.json", answers::experiments::answer);
}
