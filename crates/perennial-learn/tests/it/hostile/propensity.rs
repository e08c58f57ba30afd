//! Propensities and uplift: trees, logistic regression, calibration, curves.

use perennial_learn::boosting::{self, Loss};
use perennial_learn::calibrate;
use perennial_learn::logistic;
use perennial_learn::propensity;
use perennial_learn::table::{Column, Table, stratified_folds};
use perennial_learn::uplift::{self, metrics};
use proptest::prelude::*;

use super::{cases, column, finite, number, sound};

/// A column of a table: numbers with gaps, or words.
fn feature(rows: usize) -> impl Strategy<Value = Vec<f64>> {
    (column(rows), prop::collection::vec(prop::bool::weighted(0.1), rows)).prop_map(|(values, gaps)| {
        values
            .into_iter()
            .zip(gaps)
            .map(|(value, gap)| if gap || value.is_infinite() { f64::NAN } else { value })
            .collect()
    })
}

/// Two columns of numbers, one of words, a label and an outcome.
fn table(rows: std::ops::Range<usize>) -> impl Strategy<Value = (Table, Vec<bool>, Vec<f64>)> {
    rows.prop_flat_map(|rows| {
        let words = prop::collection::vec(prop::sample::select(vec!["", "red", "blue", "red "]), rows);
        let label = prop_oneof![
            4 => prop::collection::vec(any::<bool>(), rows),
            1 => any::<bool>().prop_map(move |all| vec![all; rows]),
            1 => (0..rows.max(1)).prop_map(move |one| (0..rows).map(|row| row == one).collect::<Vec<_>>()),
        ];
        (feature(rows), feature(rows), words, label, column(rows))
    })
    .prop_filter_map("a table", |(a, b, words, label, outcome)| {
        let columns = vec![Column::numbers("a", a), Column::numbers("b", b), Column::categories("c", words)];
        Some((Table::new(columns).ok()?, label, outcome))
    })
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn a_propensity_is_learnt_or_refused((table, label, outcome) in table(1..90)) {
        if let Some(trained) = sound("propensity", || propensity::fit(&table, &label, 3)) {
            let chances = trained.model.probabilities(&table).expect("the same columns");
            prop_assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{:?}", chances);
        }
        let class: Vec<usize> = label.iter().map(|&yes| usize::from(yes)).collect();
        let fold = stratified_folds(&class, 2, 3);
        if let Some(fitted) = sound("logistic regression", || logistic::fit(&table, &label, &fold)) {
            finite("log-odds", &fitted.model.answers(&table).expect("the same columns"));
        }
        let least = boosting::Settings { least_rows: 2.0, most_trees: 12, ..boosting::Settings::default() };
        if let Some(grown) = sound("boosting", || boosting::fit(&table, &outcome, Loss::Squared, &fold, least, 3)) {
            finite("trees", &grown.ensemble.answers(&table).expect("the same columns"));
        }
    }

    #[test]
    fn scores_are_calibrated_or_refused((score, label) in (0..40usize).prop_flat_map(|rows| {
        (column(rows), prop::collection::vec(any::<bool>(), rows))
    }), bars in 0..6usize) {
        for (name, found) in [
            ("Platt", sound("Platt", || calibrate::platt(&score, &label))),
            ("isotonic", sound("isotonic", || calibrate::isotonic(&score, &label))),
        ] {
            let Some(found) = found else { continue };
            let mut sorted = score.clone();
            sorted.sort_by(f64::total_cmp);
            let chances: Vec<f64> = sorted.iter().map(|score| found.probability(*score)).collect();
            prop_assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{} {:?}", name, found);
            prop_assert!(chances.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12), "{} {:?}", name, found);
        }
        sound("AUC", || calibrate::auc(&score, &label));
        sound("log loss", || calibrate::log_loss(&score, &label));
        sound("reliability", || calibrate::reliability(&score, &label, bars));
        sound("Brier", || calibrate::brier(&score, &label));
    }

    #[test]
    fn a_ranking_of_effects_is_measured_or_refused((score, outcome, treated) in (0..40usize).prop_flat_map(|rows| {
        (column(rows), prop::collection::vec(any::<bool>(), rows), prop::collection::vec(any::<bool>(), rows))
    }), share in number()) {
        if let Ok(found) = metrics::measure(&outcome, &treated, &score, share) {
            prop_assert!(!found.qini_auc.is_infinite() && !found.auuc.is_infinite(), "{:?}", found);
            finite("Qini", &found.raw_qini);
        }
        sound("Qini curve", || metrics::qini_curve(&outcome, &treated, &score));
        if let Ok(found) = metrics::intervals(&outcome, &treated, &score, 20, 0.95, 3) {
            prop_assert!(found.iter().all(|range| range.low.is_nan() || range.low <= range.high), "{:?}", found);
        }
    }
}

proptest! {
    // Slow: six learners, three folds.
    #![proptest_config(cases(3))]

    #[test]
    fn effects_are_learnt_or_refused((table, label, outcome) in table(110..130), yes_or_no: bool) {
        let treated: Vec<bool> = (0..label.len()).map(|row| row % 2 == 0).collect();
        let outcome = if yes_or_no { label.iter().map(|&yes| f64::from(u8::from(yes))).collect() } else { outcome };
        if let Some(trained) = sound("uplift", || uplift::fit(&table, &treated, &outcome, 3, 1, &|_| ()).map(|t| (t.effect, t.report))) {
            finite("uplift", &trained.0.uplift(&table).expect("the same columns"));
        }
    }
}
