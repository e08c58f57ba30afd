//! Segments: scaling, k-means, mixtures, density, hierarchies, their quality, and drift.

use perennial_learn::drift;
use perennial_learn::segment::{
    FeatureWords, KMeans, Mixture, MixtureSettings, Points, Scaling, Stream, calinski_harabasz, choose_k, coverage,
    davies_bouldin, dbscan, explain, hdbscan, silhouette, suggest_names, ward,
};
use perennial_learn::shap;
use proptest::prelude::*;

use super::{any_column, cases, column, finite, number, sound};

/// Two columns of a table of up to so many rows.
fn table(most: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    (0..=most).prop_flat_map(|rows| [column(rows), column(rows)]).prop_map(Vec::from)
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn groups_are_found_or_refused(columns in table(24), k in 0..6usize, scaled: bool) {
        let Some(raw) = sound("points", || Points::from_columns(&columns)) else { return Ok(()) };
        let scaling = sound("scaling", || Scaling::learn_automatically(&raw));
        let points = match scaling.filter(|_| scaled) {
            Some(scaling) => sound("scaled", || scaling.apply(&raw)).expect("the same columns"),
            None => raw,
        };
        finite("scaled", &points);
        if let Some(fit) = sound("k-means", || KMeans::fit(&points, k, 7)) {
            prop_assert!(fit.labels.iter().all(|&label| label < k));
            prop_assert_eq!(fit.model.sizes.iter().sum::<usize>(), points.len());
            let words = ["recency", "spend"].map(FeatureWords::of);
            let names = suggest_names(&fit.model, &words).expect("a word for each column");
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), k, "{:?}", names);
            sound("why", || explain(&fit.model, points.row(0)));
            sound("coverage", || coverage(&fit.model, &points, &fit.labels));
            sound("silhouette", || silhouette(&points, &fit.labels));
            sound("Calinski-Harabasz", || calinski_harabasz(&points, &fit.labels));
            sound("Davies-Bouldin", || davies_bouldin(&points, &fit.labels));
            let mut stream = Stream::from_model(fit.model).with_half_life(5.0).expect("a half-life");
            let _ = stream.push(points.row(0)).expect("a row of the table");
            finite("stream", stream.model());
        }
        if let Some(mixture) = sound("mixture", || Mixture::fit(&points, k, MixtureSettings::default(), 7)) {
            finite("mixture", &(mixture.probabilities(points.row(0)), mixture.bic(&points)));
        }
    }

    #[test]
    fn density_and_hierarchy_answer_or_refuse(columns in table(20), radius in number(), least in 0..6usize) {
        let Some(points) = sound("points", || Points::from_columns(&columns)) else { return Ok(()) };
        sound("DBSCAN", || dbscan(&points, radius, least));
        sound("HDBSCAN", || hdbscan(&points, least, least));
        let tree = ward(&points);
        finite("Ward", &tree);
        prop_assert_eq!(tree.merges.len() + 1, points.len());
        for k in 1..=points.len() {
            let labels = tree.cut(k).expect("a cut within the rows");
            prop_assert_eq!(labels.iter().max(), Some(&(k - 1)));
        }
    }

    #[test]
    fn drift_is_told_or_refused(expected in any_column(12), observed in any_column(12), bins in 0..6usize) {
        sound("stability", || drift::population_stability(&expected, &observed));
        sound("Jensen-Shannon", || drift::jensen_shannon(&expected, &observed));
        if let Some(bins) = sound("bins", || drift::Bins::by_quantiles(&expected, bins)) {
            sound("histogram", || bins.histogram(&observed));
        }
    }

    #[test]
    fn contributions_add_up_or_are_refused(
        values in [number(), number()],
        covers in [1e-3..1e6f64, 1e-3..1e6f64],
        threshold in number(),
        feature in 0..3usize,
        right in 0..4usize,
        rows in any_column(6),
    ) {
        let [a, b] = values;
        let leaf = |at: usize| shap::Node::Leaf { value: values[at], cover: covers[at] };
        let cover = covers[0] + covers[1];
        let split = shap::Node::Split { feature, threshold, left: 1, right, missing_left: true, cover };
        let tree = shap::Tree { nodes: vec![split, leaf(0), leaf(1)] };
        let ensemble = shap::Ensemble { features: 2, base: 0.5, trees: vec![tree] };
        if sound("trees", || ensemble.check()).is_some()
            && let Ok(found) = ensemble.explain(&rows)
        {
            for (row, parts) in rows.chunks_exact(2).zip(&found.rows) {
                let (sum, whole) = (found.bias + parts.iter().sum::<f64>(), ensemble.predict(row));
                prop_assert!((sum - whole).abs() <= 1e-9 * (1.0 + a.abs() + b.abs()), "{} {}", sum, whole);
            }
        }
    }
}

proptest! {
    // Slow: every number of groups, on redrawn customers.
    #![proptest_config(cases(6))]

    #[test]
    fn a_number_of_groups_is_chosen_or_refused(columns in table(24), most in 0..5usize) {
        let Some(raw) = sound("points", || Points::from_columns(&columns)) else { return Ok(()) };
        let Some(scaling) = sound("scaling", || Scaling::learn_automatically(&raw)) else { return Ok(()) };
        let points = scaling.apply(&raw).expect("the same columns");
        if let Some(chosen) = sound("number of groups", || choose_k(&points, most, 3, &mut |_| ())) {
            prop_assert!(chosen.k >= 2 && chosen.k <= most);
        }
    }
}
