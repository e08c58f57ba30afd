//! Sentiment against vaderSentiment; intents against banking77.

use crate::{answers, reference_file::check_every_case};
use perennial_learn::sentiment::Lexicon;

#[test]
fn every_case_of_the_sentiment_file_is_met() {
    let lexicon = Lexicon::new();
    check_every_case("sentiment.json", |kind, input| answers::sentiment::answer(&lexicon, kind, input));
}
