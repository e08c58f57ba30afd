//! The trained model that ships with the crate: does an English review speak well or ill of a thing?
//!
//! It has learnt what a lexicon does not know: "stopped working after a week" has no word of feeling
//! in it. Promise: plain numbers in a file beside the lexicon, written by [`encode`] from a model of
//! two labels; where they come from and on what terms is said there.
//! Absent on purpose: other languages and subjects. Train a [`Classifier`] on sentences of your own.

use super::classifier::{Classifier, LEXICON_FEATURES};

/// Numbers per piece of text: its hash (eight bytes), rarity and weight (four bytes each).
const PIECE_BYTES: usize = 16;
/// What stands before and after the pieces: sharpness; the lexicon's weights and the intercept.
const OTHER_BYTES: usize = 8 + 4 * (LEXICON_FEATURES + 1);

impl Classifier {
    /// The shipped model of review sentences; its labels are `negative` and `positive`.
    pub fn shipped() -> Self {
        decode(include_bytes!("../../data/reviews/model.bin"), ["negative", "positive"])
            .expect("the shipped file is whole")
    }

    /// The numbers of a model with two labels, as the shipped file holds them; nothing for a model
    /// with more labels.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let [weights] = self.weights.as_slice() else {
            return None;
        };
        let mut bytes = self.sharpness.to_le_bytes().to_vec();
        self.keys.iter().for_each(|key| bytes.extend(key.to_le_bytes()));
        self.rarity.iter().chain(weights).for_each(|number| bytes.extend(number.to_le_bytes()));
        Some(bytes)
    }
}

/// The model whose numbers these are; nothing when their count does not fit.
fn decode(bytes: &[u8], labels: [&str; 2]) -> Option<Classifier> {
    let pieces = bytes.len().checked_sub(OTHER_BYTES)? / PIECE_BYTES;
    if bytes.len() != pieces * PIECE_BYTES + OTHER_BYTES {
        return None;
    }
    let (sharpness, rest) = bytes.split_first_chunk::<8>()?;
    let (keys, rest) = rest.split_at(8 * pieces);
    let mut numbers = rest.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
    Some(Classifier {
        labels: labels.map(str::to_owned).to_vec(),
        keys: keys.as_chunks::<8>().0.iter().map(|eight| u64::from_le_bytes(*eight)).collect(),
        rarity: numbers.by_ref().take(pieces).collect(),
        weights: vec![numbers.collect()],
        sharpness: f64::from_le_bytes(*sharpness),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::Lexicon;

    #[test]
    fn a_model_survives_its_file() {
        let texts: Vec<String> =
            (0..20).map(|i| format!("{} number {i}", ["fine thing", "poor thing"][i % 2])).collect();
        let labels: Vec<&str> = (0..20).map(|i| ["positive", "negative"][i % 2]).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let model = Classifier::train_small(&texts, &labels, 50, 1).unwrap();
        assert_eq!(model.keys.len(), 50);
        let bytes = model.encode().unwrap();
        let again = decode(&bytes, ["negative", "positive"]).unwrap();
        assert_eq!(again, model);
        assert_eq!(decode(&bytes[1..], ["a", "b"]), None);
    }

    #[test]
    fn the_shipped_model_knows_what_the_lexicon_does_not() {
        let (model, lexicon) = (Classifier::shipped(), Lexicon::new());
        let said = |text: &str| model.labels[model.predict(text, &lexicon).label].clone();
        let cases = [
            ("It stopped working after a week.", "negative"),
            ("The waiter ignored us for half an hour.", "negative"),
            ("I had to send it back.", "negative"),
            ("Will not buy from this shop again.", "negative"),
            ("Not worth the money.", "negative"),
            ("Works exactly as described.", "positive"),
            ("Delicious food and friendly staff!", "positive"),
            ("I will be back soon.", "positive"),
            ("The battery lasts for days.", "positive"),
            ("Highly recommended.", "positive"),
        ];
        let right = cases.iter().filter(|(text, label)| said(text) == *label).count();
        let by_lexicon =
            cases.iter().filter(|(text, label)| (lexicon.score(text).compound > 0.0) == (*label == "positive"));
        assert!(right >= 9 && right > by_lexicon.count(), "{right} of {}", cases.len());
    }
}
