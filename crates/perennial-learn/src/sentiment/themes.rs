//! What is a pile of feedback about? Keyphrases that recur, gathered into themes, each with its mood.
//!
//! Candidates are runs of one to three words between function words (as in RAKE, Rose et al. 2010),
//! scored by how many texts hold them and how long they are. Phrases that mostly occur in the same
//! texts, or of which one holds the other, become one theme. A word that only judges ("great", "never")
//! names no theme: what a text is about is asked, its mood is told beside it.

use super::lexicon::Lexicon;
use crate::input::{BadInput, Problem, real};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One theme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Theme {
    /// Its phrases, the most telling first.
    pub phrases: Vec<String>,
    /// The positions of the texts that mention it.
    pub texts: Vec<usize>,
    /// The mean compound sentiment of those texts, between -1 and 1.
    pub mood: f64,
}

const FUNCTION_WORDS: &str = " a about above after again all also am an and any are as at back be because been before being below both but by came can \
cannot come could did do does doing done don't down each else even ever every few first for from further get gets getting give go going got had has have having he her \
here hers him his how i i'd i'll i'm i've if in into is isn't it it's its itself just let like made make many may me might more most much must my myself no \
nor not now of off on once one only or other our ours out over own please put quite really said same say see she should so some still such take than that \
that's the their them then there these they thing things this those though through to too two under until up upon us use used using very was wasn't we well \
went were what when where which while who whom why will with won't would yet you you're your yours ";

/// Finds at most `most` themes.
///
/// # Errors
/// When there are no texts or `most` is zero.
pub fn themes(texts: &[&str], most: usize, lexicon: &Lexicon) -> Result<Vec<Theme>, BadInput> {
    if texts.is_empty() {
        return Err(BadInput::new("texts", Problem::Empty, "give at least one text"));
    }
    if most == 0 {
        return Err(BadInput::range("most", 0.0, "1 or more"));
    }
    let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (i, text) in texts.iter().enumerate() {
        for phrase in candidates(text).into_iter().filter(|phrase| !phrase.split(' ').all(|word| lexicon.judges(word)))
        {
            found.entry(phrase).or_default().insert(i);
        }
    }
    let least = if texts.len() < 20 { 1 } else { 2.max(texts.len() / 500) };
    let mut phrases: Vec<(String, BTreeSet<usize>)> = found.into_iter().filter(|(_, t)| t.len() >= least).collect();
    let score = |p: &(String, BTreeSet<usize>)| real(p.1.len()) * (1.0 + real(p.0.matches(' ').count())).sqrt();
    phrases.sort_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| a.0.cmp(&b.0)));
    phrases.truncate(most * 12);
    Ok(gather(phrases, most, texts, lexicon))
}

/// A text without what is no word of its author: addresses of pages, and signs that markup writes in letters.
fn plain(text: &str) -> String {
    let address = |word: &str| ["http://", "https://", "www."].iter().any(|begin| word.contains(begin));
    let words: Vec<&str> = text.split_whitespace().map(|word| if address(word) { "." } else { word }).collect();
    ["&amp;", "&lt;", "&gt;", "&quot;", "&nbsp;"].iter().fold(words.join(" "), |text, sign| text.replace(sign, "."))
}

/// Runs of one to three content words of a text.
fn candidates(text: &str) -> BTreeSet<String> {
    let lower = plain(&text.to_lowercase());
    let mut out = BTreeSet::new();
    for clause in lower.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == ' ' || c == '-')) {
        let mut run: Vec<&str> = Vec::new();
        for word in clause.split_whitespace().chain(std::iter::once("the")) {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric());
            if word.len() > 1
                && !FUNCTION_WORDS.contains(&format!(" {word} "))
                && !word.chars().all(|c| c.is_ascii_digit())
            {
                run.push(word);
                continue;
            }
            for length in 1..=3.min(run.len()) {
                out.extend(run.windows(length).map(|w| w.join(" ")));
            }
            run.clear();
        }
    }
    out
}

fn gather(phrases: Vec<(String, BTreeSet<usize>)>, most: usize, texts: &[&str], lexicon: &Lexicon) -> Vec<Theme> {
    let mut groups: Vec<(Vec<String>, BTreeSet<usize>)> = Vec::new();
    for (phrase, holders) in phrases {
        let home = groups.iter().position(|(names, all)| {
            let shared = real(all.intersection(&holders).count());
            let smaller = real(all.len().min(holders.len()));
            names.iter().any(|n| contains_words(n, &phrase) || contains_words(&phrase, n))
                || shared > 0.6 * smaller && smaller > 2.0
        });
        match home {
            Some(at) => {
                groups[at].0.push(phrase);
                groups[at].1.extend(holders);
            }
            None if groups.len() < most => groups.push((vec![phrase], holders)),
            None => {}
        }
    }
    let mood =
        |rows: &BTreeSet<usize>| rows.iter().map(|&i| lexicon.score(texts[i]).compound).sum::<f64>() / real(rows.len());
    let mut themes: Vec<Theme> = groups
        .into_iter()
        .map(|(phrases, rows)| Theme {
            phrases: phrases.into_iter().take(6).collect(),
            mood: mood(&rows),
            texts: rows.into_iter().collect(),
        })
        .collect();
    themes.sort_by(|a, b| b.texts.len().cmp(&a.texts.len()).then_with(|| a.phrases.cmp(&b.phrases)));
    themes
}

fn contains_words(long: &str, short: &str) -> bool {
    format!(" {long} ").contains(&format!(" {short} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_markup_name_no_theme() {
        let found = candidates("Lost bag &amp; no answer https://t.co/Ab1 (see www.example.com)");
        assert!(found.contains("lost bag") && found.contains("answer"), "{found:?}");
        assert!(["co", "amp", "https", "www", "example"].iter().all(|odd| !found.contains(*odd)), "{found:?}");
    }

    #[test]
    fn recurring_complaints_and_praise_become_themes_with_a_mood() {
        let texts = [
            "The battery life is terrible and it died",
            "Terrible battery life, I hate it",
            "battery life is bad",
            "I love the screen, great colours",
            "Great screen and a lovely case",
            "the screen is wonderful",
        ];
        let found = themes(&texts, 2, &Lexicon::new()).unwrap();
        assert_eq!(found.len(), 2);
        let battery = found.iter().find(|t| t.phrases.iter().any(|p| p.contains("battery life"))).unwrap();
        let screen = found.iter().find(|t| t.phrases.iter().any(|p| p == "screen")).unwrap();
        assert_eq!((battery.texts.len(), screen.texts.len()), (3, 3));
        assert!(battery.mood < 0.0 && screen.mood > 0.0);
        let judging = ["great", "love", "terrible", "hate", "bad", "wonderful"];
        assert!(found.iter().flat_map(|t| &t.phrases).all(|p| !judging.contains(&p.as_str())), "{found:?}");
        assert!(themes(&[], 2, &Lexicon::new()).is_err());
    }
}
