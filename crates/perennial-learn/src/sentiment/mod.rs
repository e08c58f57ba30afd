//! Sentiment and themes of what customers write.
//!
//! [`Lexicon`] scores a sentence by VADER's published rules without any training; [`Classifier`]
//! learns from labelled sentences (sentiment with two labels, intents with many), and one that has
//! learnt from reviews ships with the crate ([`Classifier::shipped`]); [`themes`] says what a pile of
//! feedback is about.
//!
//! Absent on purpose: languages other than English in the lexicon; the classifier takes any.

mod classifier;
mod lexicon;
mod shipped;
mod themes;

pub use classifier::{Classifier, Prediction};
pub use lexicon::{Lexicon, Scores};
pub use themes::{Theme, themes};
