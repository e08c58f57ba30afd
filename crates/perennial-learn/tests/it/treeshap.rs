//! TreeSHAP against xgboost.

use crate::{answers, reference_file::check_every_case};

#[test]
fn every_case_of_the_treeshap_file_is_met() {
    check_every_case("treeshap.json", answers::treeshap::answer);
}
