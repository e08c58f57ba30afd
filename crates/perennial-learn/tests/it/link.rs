//! Record linkage on made-up people: laws, error rates, and what people may ask of it.

use std::collections::BTreeMap;

use perennial_learn::link::{Answer, Index, Kind, LinkError, Linkage, Settings, Table, link, link_with};
use perennial_learn::seed::{self, Rng};
use proptest::prelude::*;

const COLUMNS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Made-up people: one to four records each, with typing errors, gaps and swapped names.
struct People {
    rows: Vec<[String; 6]>,
    person: Vec<usize>,
}

fn word(rng: &mut impl Rng, syllables: usize) -> String {
    const SYLLABLES: [&str; 20] = [
        "ba", "ro", "mi", "ten", "gar", "lou", "ski", "van", "del", "mar", "ko", "wil", "son", "ber", "ha", "nak",
        "pet", "li", "chen", "oy",
    ];
    (0..syllables).map(|_| SYLLABLES[seed::below(rng, SYLLABLES.len())]).collect()
}

fn typo(rng: &mut impl Rng, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() > 2 {
        let at = seed::below(rng, letters.len() - 1);
        match seed::below(rng, 3) {
            0 => letters.swap(at, at + 1),
            1 => drop(letters.remove(at)),
            _ => letters[at] = if letters[at].is_ascii_digit() { '7' } else { 'x' },
        }
    }
    letters.into_iter().collect()
}

impl People {
    fn make(count: usize, copies: usize, seed: u64) -> Self {
        let mut rng = seed::generator(seed);
        let given: Vec<String> = (0..60).map(|_| word(&mut rng, 2)).collect();
        let family: Vec<String> = (0..300).map(|_| word(&mut rng, 3)).collect();
        let mut people = Self { rows: Vec::new(), person: Vec::new() };
        for person in 0..count {
            let base = Self::person(&mut rng, &given, &family);
            people.rows.push(base.clone());
            people.person.push(person);
            for _ in 0..seed::below(&mut rng, copies + 1) {
                people.rows.push(Self::copy(&mut rng, &base));
                people.person.push(person);
            }
        }
        people
    }

    fn person(rng: &mut impl Rng, given: &[String], family: &[String]) -> [String; 6] {
        let (first, last) = (&given[seed::below(rng, given.len())], &family[seed::below(rng, family.len())]);
        let born =
            format!("{}-{:02}-{:02}", 1930 + seed::below(rng, 75), 1 + seed::below(rng, 12), 2 + seed::below(rng, 27));
        let town = &family[seed::below(rng, 40)];
        let mail = format!("{first}.{last}{}@mail.example", seed::below(rng, 90));
        [
            first.clone(),
            last.clone(),
            born,
            town.clone(),
            mail,
            format!("+49 30 {}", 1_000_000 + seed::below(rng, 8_000_000)),
        ]
    }

    fn copy(rng: &mut impl Rng, base: &[String; 6]) -> [String; 6] {
        let mut row = base.clone();
        for _ in 0..seed::below(rng, 4) {
            let at = seed::below(rng, 6);
            match seed::below(rng, 6) {
                0 | 1 => row[at].clear(),
                2 => row.swap(0, 1),
                _ => row[at] = typo(rng, &row[at]),
            }
        }
        row
    }

    fn table(&self) -> Table {
        let mut table = Table::new(COLUMNS).unwrap();
        for row in &self.rows {
            table.push(row.iter().map(|value| Some(value.as_str()))).unwrap();
        }
        table
    }

    /// Precision and recall over pairs of the clusters.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn score(&self, clusters: &[u32]) -> (f64, f64) {
        let mut sizes: [BTreeMap<(usize, u32), usize>; 3] = Default::default();
        for (&person, &cluster) in self.person.iter().zip(clusters) {
            for (sizes, key) in sizes.iter_mut().zip([(person, 0), (0, cluster), (person, cluster)]) {
                *sizes.entry(key).or_default() += 1;
            }
        }
        let [truth, found, both] = sizes.map(|sizes| sizes.values().map(|n| n * (n - 1) / 2).sum::<usize>() as f64);
        (both / found.max(1.0), both / truth.max(1.0))
    }
}

fn linked(people: &People) -> Linkage {
    link(&people.table(), &Settings::default()).unwrap()
}

#[test]
fn people_are_found_and_strangers_are_kept_apart() {
    for (count, seed) in [(400, 3), (2500, 4)] {
        let people = People::make(count, 3, seed);
        let linkage = linked(&people);
        let (precision, recall) = people.score(&linkage.clusters);
        assert!(precision > 0.99, "precision {precision} for {count} people");
        assert!(recall > 0.97, "recall {recall} for {count} people");
        assert_eq!(linkage.model.rules.is_empty(), count == 400, "few pairs are compared without rules");
    }
}

#[test]
fn a_table_without_copies_is_left_as_it_is() {
    let people = People::make(1500, 0, 5);
    let clusters = linked(&people).clusters;
    let joined = clusters.iter().enumerate().filter(|&(row, &cluster)| cluster as usize != row).count();
    assert!(joined <= 3, "{joined} rows were taken for copies");
}

#[test]
fn kinds_and_swaps_are_recognised_without_headers() {
    let linkage = linked(&People::make(800, 2, 6));
    let kinds: Vec<Kind> = linkage.model.plan.iter().map(|comparison| comparison.kind).collect();
    assert_eq!(kinds, [Kind::Name, Kind::Name, Kind::Date, Kind::Name, Kind::Email, Kind::Phone]);
    assert_eq!(linkage.model.plan[0].partner, Some(1));
    assert_eq!(linkage.model.plan[1].partner, Some(0));
}

#[test]
fn a_number_with_its_country_and_one_without_are_the_same_number() {
    let people = People::make(800, 2, 14);
    let mut rng = seed::generator(14);
    let mut table = Table::new(COLUMNS).unwrap();
    for row in &people.rows {
        let mut row = row.clone();
        if seed::below(&mut rng, 2) == 0 {
            row[5] = row[5].replace("+49 30 ", "(030) ");
        }
        table.push(row.iter().map(|value| Some(value.as_str()))).unwrap();
    }
    let linkage = link(&table, &Settings::default()).unwrap();
    assert_eq!(linkage.model.plan[5].home.as_deref(), Some("DE"));
    let mut parts = 0;
    for pair in linkage.pairs.iter().filter(|pair| pair.probability > 0.9) {
        let (left, right) = (&people.rows[pair.left as usize][5], &people.rows[pair.right as usize][5]);
        let written = |row: u32| table.value(row as usize, 5).unwrap_or_default().starts_with('(');
        if left == right && left.len() == 14 && written(pair.left) != written(pair.right) {
            let why = linkage.explain(pair.left as usize, pair.right as usize).unwrap();
            let part = why.parts.iter().find(|part| part.column == "f").unwrap();
            assert_eq!(part.found, "same", "{left}");
            parts += 1;
        }
    }
    assert!(parts > 50, "{parts}");
}

#[test]
fn a_column_made_of_others_is_not_counted_twice() {
    let people = People::make(800, 2, 7);
    let mut table = Table::new(["first", "last", "both", "born"]).unwrap();
    for [first, last, born, ..] in &people.rows {
        let both = format!("{first} {last}");
        table.push([first.as_str(), last, both.as_str(), born].map(Some)).unwrap();
    }
    let plan = link(&table, &Settings::default()).unwrap().model.plan;
    assert_eq!(plan.iter().map(|comparison| comparison.name.as_str()).collect::<Vec<_>>(), ["first", "last", "born"]);
}

#[test]
fn an_explanation_adds_up_to_the_probability() {
    let people = People::make(500, 3, 8);
    let linkage = linked(&people);
    for pair in linkage.pairs.iter().step_by(17) {
        let why = linkage.explain(pair.left as usize, pair.right as usize).unwrap();
        let sum = why.prior_bits + why.parts.iter().map(|part| part.weight_bits).sum::<f64>();
        assert!((sum - why.total_bits).abs() < 1e-9);
        assert!((why.probability - pair.probability).abs() < 1e-4, "{why:?} for {pair:?}");
        let back = linkage.explain(pair.right as usize, pair.left as usize).unwrap();
        assert!((back.total_bits - why.total_bits).abs() < 1e-9, "the order of rows does not matter");
    }
}

#[test]
fn stated_error_rates_are_kept() {
    let people = People::make(2500, 3, 9);
    let linkage = linked(&people);
    let is_true = |left: u32, right: u32| people.person[left as usize] == people.person[right as usize];
    for rates in linkage.error_rates(&[0.1, 0.5, 0.9]) {
        let said: Vec<bool> = linkage
            .pairs
            .iter()
            .filter(|pair| pair.probability >= rates.threshold)
            .map(|pair| is_true(pair.left, pair.right))
            .collect();
        assert_eq!(said.len(), rates.pairs);
        #[expect(clippy::cast_precision_loss, reason = "counts are small")]
        let wrong = said.iter().filter(|&&right| !right).count() as f64 / said.len() as f64;
        assert!((wrong - rates.false_share).abs() < 0.02, "{rates:?}, measured {wrong}");
        assert!(rates.missed_share < 0.05, "{rates:?}");
    }
    let strict = linkage.threshold_for(0.0005);
    assert!(linkage.error_rates(&[strict])[0].false_share <= 0.0005);
    assert!(linkage.threshold_for(0.2) <= strict);
}

#[test]
fn a_chain_does_not_join_strangers() {
    let mut table = People::make(600, 2, 10).table();
    let rows = u32::try_from(table.rows()).unwrap();
    let ends = [
        ["mirola", "vandelson", "1950-03-04", "tenko", "mirola.v@mail.example", "+49 30 1111111"],
        ["mirola", "vandelson", "", "", "", ""],
        ["mirola", "vandelson", "1999-11-27", "gargar", "m.mirola@post.example", "+49 30 9999222"],
    ];
    for row in ends {
        table.push(row.map(Some)).unwrap();
    }
    let clusters = link(&table, &Settings::default()).unwrap().clusters;
    let at = |place: u32| clusters[(rows + place) as usize];
    assert_ne!(at(0), at(2), "the ends differ in everything but the name");
}

#[test]
fn a_new_record_is_found_with_the_probability_of_its_pair() {
    for count in [300, 2500] {
        let people = People::make(count, 3, 11);
        let linkage = linked(&people);
        let index = Index::new(&linkage);
        let mut checked = 0;
        for pair in linkage.pairs.iter().filter(|pair| pair.probability > 0.9).step_by(41) {
            let row = &people.rows[pair.left as usize];
            let found = index.find(&row.each_ref().map(|value| Some(value.as_str())), 10).unwrap();
            let same = found.iter().find(|found| found.row == pair.right);
            let same = same.unwrap_or_else(|| panic!("row {} was not found from {}", pair.right, pair.left));
            assert!((same.probability - pair.probability).abs() < 1e-4);
            assert!(found.windows(2).all(|two| two[0].probability >= two[1].probability));
            checked += 1;
        }
        assert!(checked > 3);
        assert!(index.find(&[None; 6], 5).unwrap().iter().all(|found| found.probability < 0.1));
        assert!(matches!(index.find(&[None], 5), Err(LinkError::WrongWidth { given: 1, expected: 6, .. })));
    }
}

#[test]
fn answers_decide_and_are_not_asked_again() {
    let people = People::make(500, 3, 12);
    let table = people.table();
    let before = link(&table, &Settings::default()).unwrap();
    let sure = before.pairs.iter().find(|pair| pair.probability > 0.999).unwrap();
    let questions = before.questions(5);
    assert!(questions.iter().all(|question| (0.02..=0.98).contains(&question.probability) && question.alike > 0));
    let mut answers = vec![Answer { left: sure.right, right: sure.left, same: false }];
    answers.extend(questions.iter().map(|question| Answer { left: question.left, right: question.right, same: true }));
    let after = link_with(&table, &Settings::default(), &answers).unwrap();
    assert_ne!(after.clusters[sure.left as usize], after.clusters[sure.right as usize]);
    for question in &questions {
        assert_eq!(after.clusters[question.left as usize], after.clusters[question.right as usize]);
        assert!(
            !after.questions(1000).iter().any(|again| (again.left, again.right) == (question.left, question.right))
        );
    }
}

#[test]
fn bad_input_is_refused_with_the_remedy() {
    let settings = Settings::default();
    let mut table = Table::new(["name"]).unwrap();
    assert_eq!(link(&table, &settings).unwrap_err(), LinkError::TooFewRows { rows: 0 });
    for _ in 0..3 {
        table.push([Some("same")]).unwrap();
    }
    let error = link(&table, &settings).unwrap_err();
    assert_eq!(error, LinkError::NothingToCompare);
    assert!(error.to_string().contains("add a column"));
    table.push([Some("other")]).unwrap();
    assert_eq!(link(&table, &Settings { threshold: 1.0, ..settings }).unwrap_err(), LinkError::BadThreshold);
    assert_eq!(link(&table, &Settings { threshold: f64::NAN, ..settings }).unwrap_err(), LinkError::BadThreshold);
    let answer = |left, right, same| Answer { left, right, same };
    assert_eq!(link_with(&table, &settings, &[answer(1, 1, true)]).unwrap_err(), LinkError::SameRow { row: 1 });
    assert_eq!(
        link_with(&table, &settings, &[answer(1, 9, true)]).unwrap_err(),
        LinkError::NoSuchRow { row: 9, rows: 4 }
    );
    let split = [answer(1, 2, true), answer(2, 1, false)];
    assert_eq!(link_with(&table, &settings, &split).unwrap_err(), LinkError::Contradiction { left: 1, right: 2 });
}

#[test]
fn the_same_table_gives_the_same_answer_and_the_model_is_plain_data() {
    let people = People::make(1200, 2, 13);
    let (one, two) = (linked(&people), linked(&people));
    assert_eq!(one.pairs, two.pairs);
    assert_eq!(one.clusters, two.clusters);
    let text = serde_json::to_string(&one.model).unwrap();
    let back: perennial_learn::link::Model = serde_json::from_str(&text).unwrap();
    assert_eq!((&back.plan, &back.rules), (&one.model.plan, &one.model.rules));
    assert!((back.weights.prior / one.model.weights.prior - 1.0).abs() < 1e-12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_table_gets_an_answer(rows in prop::collection::vec(prop::array::uniform3("[a-c0-2@. +-]{0,6}|\\PC{0,8}|nan|19[0-9]{2}-0[1-9]-1[0-9]"), 2..40)) {
        let mut table = Table::new(["x", "y", "z"]).unwrap();
        for row in &rows {
            table.push(row.each_ref().map(|value| Some(value.as_str()))).unwrap();
        }
        let Ok(linkage) = link(&table, &Settings::default()) else { return Ok(()) };
        prop_assert_eq!(linkage.clusters.len(), rows.len());
        for (row, &label) in linkage.clusters.iter().enumerate() {
            prop_assert!(label as usize <= row);
            prop_assert_eq!(linkage.clusters[label as usize], label);
        }
        for pair in &linkage.pairs {
            prop_assert!(pair.left < pair.right && (0.0..=1.0).contains(&pair.probability));
        }
        let index = Index::new(&linkage);
        prop_assert!(index.find(&rows[0].each_ref().map(|value| Some(value.as_str())), 3).unwrap().len() <= 3);
    }
}
