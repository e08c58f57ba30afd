//! Names for groups, from the centre in words: "recent, very frequent", "long ago, low spend".

use super::kmeans::KMeans;
use crate::input::{BadInput, same_length};
use serde::{Deserialize, Serialize};

/// What a shopkeeper calls the two ends of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureWords {
    /// Said when the centre lies low: "recent".
    pub low: String,
    /// Said when the centre lies high: "long ago".
    pub high: String,
}

impl FeatureWords {
    /// "low `feature`" and "high `feature`"; recency, frequency and spend have their own words.
    pub fn of(feature: &str) -> Self {
        let (low, high) = match feature.to_lowercase().as_str() {
            "recency" | "days_since_last_order" => ("recent".to_owned(), "not seen for long".to_owned()),
            "frequency" | "orders" => ("few orders".to_owned(), "frequent".to_owned()),
            "monetary" | "spend" | "revenue" => ("low spend".to_owned(), "high spend".to_owned()),
            "age" | "tenure" => ("new".to_owned(), "long-standing".to_owned()),
            other => {
                let plain = other.replace('_', " ");
                (format!("low {plain}"), format!("high {plain}"))
            }
        };
        Self { low, high }
    }
}

/// From here on a centre's distance from the population's mean, in standard deviations, is worth a word.
const NOTABLE: f64 = 0.35;
/// From here on it is worth a "very".
const STRIKING: f64 = 1.25;

/// Suggests one name per group, the most telling feature first. The model's points must be
/// standardised, so that zero is the population's mean. Names differ: a third feature or a number
/// is added where two groups sound alike.
///
/// # Errors
/// When there is not one pair of words per feature.
pub fn suggest_names(model: &KMeans, words: &[FeatureWords]) -> Result<Vec<String>, BadInput> {
    same_length("words", words.len(), model.dimensions)?;
    let parts: Vec<Vec<String>> = (0..model.k()).map(|c| telling(model.centre(c), words)).collect();
    let take = |c: usize, n: usize| parts[c].iter().take(n).cloned().collect::<Vec<_>>().join(", ");
    let mut names: Vec<String> = Vec::with_capacity(parts.len());
    for c in 0..parts.len() {
        let clash = |n: usize| (0..parts.len()).any(|o| o != c && take(o, n) == take(c, n));
        let length = (2..=words.len().max(2)).find(|&n| !clash(n)).unwrap_or(words.len());
        let mut name = take(c, length);
        let again =
            names.iter().filter(|n| n.trim_end_matches(|ch: char| ch.is_ascii_digit() || ch == ' ') == name).count();
        if again > 0 {
            name = format!("{name} {}", again + 1);
        }
        names.push(name);
    }
    Ok(names)
}

fn telling(centre: &[f64], words: &[FeatureWords]) -> Vec<String> {
    let mut order: Vec<usize> = (0..centre.len()).filter(|&j| centre[j].abs() >= NOTABLE).collect();
    order.sort_by(|&a, &b| centre[b].abs().total_cmp(&centre[a].abs()));
    if order.is_empty() {
        return vec!["average".to_owned()];
    }
    order
        .into_iter()
        .map(|j| {
            let word = if centre[j] < 0.0 { &words[j].low } else { &words[j].high };
            if centre[j].abs() >= STRIKING { format!("very {word}") } else { word.clone() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_stands_out_and_differ() {
        let centres = vec![-1.3, 1.7, 0.1, 0.7, -0.8, -0.7, 0.1, 0.1, 0.0, 0.2, 0.0, 0.1];
        let model = KMeans { dimensions: 3, centres, sizes: vec![1; 4] };
        let words = ["recency", "frequency", "basket_size"].map(FeatureWords::of);
        let names = suggest_names(&model, &words).unwrap();
        assert_eq!(names[0], "very frequent, very recent");
        assert_eq!(names[1], "few orders, not seen for long");
        assert_eq!((names[2].as_str(), names[3].as_str()), ("average", "average 2"));
    }
}
