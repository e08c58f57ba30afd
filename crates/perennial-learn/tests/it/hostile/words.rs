//! Words: any text in names, records, phones and feedback.

use perennial_learn::link::{Index, Settings, Table, link};
use perennial_learn::sentiment::{Classifier, Lexicon, themes};
use perennial_learn::{phone, text};
use proptest::prelude::*;
use std::sync::LazyLock;

use super::{cases, finite, sound};

static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::new);

/// Text as it comes: blank, odd, long, or from a small stock so that records repeat.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["Ann", "ann", "Anne Smith", "O'Neil", "", "n/a", "1980-02-30", "1980-02-03", "31/12/99", "+44 20 7946 0958", "a@b.c", "00000", "NaN", "1e308", "\u{1f600}"]).prop_map(str::to_owned),
        2 => "\\PC{0,14}",
        1 => "[a-z]{1,3}( [a-z]{1,3}){0,3}",
        1 => (0..400usize).prop_map(|length| "é".repeat(length)),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn likenesses_lie_between_nought_and_one(a in any_text(), b in any_text()) {
        for (name, likeness) in [
            ("Jaro", text::jaro(&a, &b)),
            ("Jaro-Winkler", text::jaro_winkler(&a, &b)),
            ("indel", text::indel_ratio(&a, &b)),
            ("token sort", text::token_sort_ratio(&a, &b)),
            ("token set", text::token_set_ratio(&a, &b)),
        ] {
            prop_assert!((0.0..=1.0).contains(&likeness) || (0.0..=100.0).contains(&likeness), "{} {}", name, likeness);
        }
        prop_assert_eq!(text::levenshtein(&a, &b), text::levenshtein(&b, &a));
        prop_assert!(text::damerau_levenshtein(&a, &b) <= text::osa(&a, &b));
        let _ = (text::soundex(&a), phone::read(&a, Some("GB")), phone::e164(&a, None), phone::home([a.as_str(), &b].into_iter()));
    }

    #[test]
    fn a_mood_is_a_number(text in any_text(), more in any_text()) {
        let scores = LEXICON.score(&format!("{text} not good!!! {more}"));
        finite("mood", &scores);
        prop_assert!((-1.0..=1.0).contains(&scores.compound));
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn records_are_linked_or_refused(
        rows in prop::collection::vec([any_text(), any_text(), any_text()], 0..24),
        empty: bool,
        threshold in prop_oneof![4 => 0.01..0.99f64, 1 => prop::sample::select(vec![0.0, 1.0, f64::NAN])],
    ) {
        let mut table = Table::new(["name", "born", "phone"]).expect("three names");
        for [name, born, phone] in &rows {
            table.push([Some(name.as_str()), Some(born.as_str()).filter(|_| !empty), Some(phone.as_str())]).expect("three values");
        }
        let settings = Settings { threshold, ..Settings::default() };
        let found = sound("linkage", || link(&table, &settings).map(|found| (found.pairs.clone(), found.clusters.clone(), found.error_rates(&[0.5]), found.questions(5))));
        if found.is_some() {
            let linkage = link(&table, &settings).expect("it was linked before");
            let explained: Vec<_> = linkage.pairs.iter().map(|pair| linkage.explain(pair.left as usize, pair.right as usize).expect("a pair")).collect();
            finite("explanation", &explained);
            for why in &explained {
                let sum = why.prior_bits + why.parts.iter().map(|part| part.weight_bits).sum::<f64>();
                prop_assert!((sum - why.total_bits).abs() < 1e-6, "{:?}", why);
            }
            let asked = Index::new(&linkage).find(&[Some("Ann"), None, Some("\u{1f600}")], 3).expect("three values");
            prop_assert!(asked.iter().all(|found| (0.0..=1.0).contains(&found.probability)));
        }
    }

    #[test]
    fn texts_are_learnt_or_refused(texts in prop::collection::vec(any_text(), 0..20), classes in 1..4usize, most in 0..4usize) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let labels: Vec<String> = (0..texts.len()).map(|at| format!("label {}", at % classes)).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        if let Some(model) = sound("classifier", || Classifier::train(&texts, &labels, 3)) {
            for text in texts.iter().chain(&["", "never seen"]) {
                let found = model.predict(text, &LEXICON);
                finite("prediction", &found);
                prop_assert!((found.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6);
            }
        }
        sound("themes", || themes(&texts, most, &LEXICON));
    }
}
