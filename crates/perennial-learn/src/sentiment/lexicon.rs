//! Lexicon sentiment by the published rules of VADER (Hutto & Gilbert 2014).
//!
//! Words carry a valence; what stands before them strengthens, weakens or turns it; capitals,
//! exclamation marks and "but" matter. The word lists ship with the crate (MIT, see
//! `data/vader/README.md`); the implementation is our own and looks each word up once.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What an intensifier in capitals adds, and a valenced word in capitals.
const CAPITALS: f64 = 0.733;
/// What a negation multiplies by.
const TURNED: f64 = -0.74;
/// What an exclamation mark adds, up to four of them.
const EXCLAMATION: f64 = 0.292;

/// How a sentence sounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The share of negative words, weighted by strength.
    pub negative: f64,
    /// The share of neutral words.
    pub neutral: f64,
    /// The share of positive words, weighted by strength.
    pub positive: f64,
    /// Everything together, between -1 and 1; from 0.05 on a sentence counts as positive, from -0.05 down as negative.
    pub compound: f64,
}

/// The word lists, ready for use; make one and keep it.
#[derive(Debug, Clone)]
pub struct Lexicon {
    words: HashMap<Box<str>, Word, BuildHasherDefault<Mix>>,
    emoji: HashMap<char, &'static str, BuildHasherDefault<Mix>>,
    /// Idioms as sequences of word numbers, with the valence they set.
    idioms: Vec<(Vec<u8>, f64)>,
    /// Phrases that strengthen or weaken what follows.
    phrases: Vec<(Vec<u8>, f64)>,
    marks: Marks,
}

/// What is known of a word.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    valence: Option<f64>,
    boost: f64,
    negates: bool,
    /// A number for words that rules name; zero for all others.
    number: u8,
}

/// The numbers of words that single rules ask for.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    no: u8,
    or: u8,
    nor: u8,
    but: u8,
    least: u8,
    at: u8,
    very: u8,
    never: u8,
    so: u8,
    this: u8,
    without: u8,
    doubt: u8,
    kind: u8,
    of: u8,
}

/// One word of a sentence.
#[derive(Debug, Clone, Copy)]
struct Token {
    word: Word,
    capitals: bool,
}

/// A short multiplicative hash; word lists are fixed, so nobody can choose keys against it.
#[derive(Debug, Clone, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

impl Default for Lexicon {
    fn default() -> Self {
        Self::new()
    }
}

impl Lexicon {
    /// Reads the shipped word lists.
    pub fn new() -> Self {
        let mut lexicon = Self {
            words: HashMap::default(),
            emoji: HashMap::default(),
            idioms: Vec::new(),
            phrases: Vec::new(),
            marks: Marks::default(),
        };
        for (word, valence) in pairs(include_str!("../../data/vader/lexicon.tsv")) {
            lexicon.words.entry(word.into()).or_default().valence = valence.parse().ok();
        }
        for (symbol, description) in pairs(include_str!("../../data/vader/emoji.tsv")) {
            lexicon.emoji.extend(symbol.chars().next().map(|c| (c, description)));
        }
        lexicon.read_rules();
        lexicon.number_marks();
        lexicon
    }

    fn read_rules(&mut self) {
        for line in include_str!("../../data/vader/rules.tsv").lines() {
            let mut parts = line.split('\t');
            let (Some(kind), Some(words), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let value: f64 = value.parse().unwrap_or(0.0);
            match kind {
                "negates" => self.words.entry(words.into()).or_default().negates = true,
                "boosts" if words.contains(' ') => {
                    let phrase = words.split(' ').map(|w| self.number(w)).collect();
                    self.phrases.push((phrase, value));
                }
                "boosts" => self.words.entry(words.into()).or_default().boost = value,
                "idiom" if words.contains(' ') => {
                    let idiom = words.split(' ').map(|w| self.number(w)).collect();
                    self.idioms.push((idiom, value));
                }
                _ => {}
            }
        }
    }

    /// Gives a word its number, or finds the one it has.
    fn number(&mut self, word: &str) -> u8 {
        let next = self.words.values().map(|w| w.number).max().unwrap_or(0) + 1;
        let entry = self.words.entry(word.into()).or_default();
        if entry.number == 0 {
            entry.number = next;
        }
        entry.number
    }

    fn number_marks(&mut self) {
        self.marks = Marks {
            no: self.number("no"),
            or: self.number("or"),
            nor: self.number("nor"),
            but: self.number("but"),
            least: self.number("least"),
            at: self.number("at"),
            very: self.number("very"),
            never: self.number("never"),
            so: self.number("so"),
            this: self.number("this"),
            without: self.number("without"),
            doubt: self.number("doubt"),
            kind: self.number("kind"),
            of: self.number("of"),
        };
    }

    /// Whether a word judges or negates rather than names a thing; `word` in lower case.
    pub(super) fn judges(&self, word: &str) -> bool {
        self.words.get(word).is_some_and(|known| known.valence.is_some() || known.negates)
    }

    /// Scores a sentence; an empty one is all zeros.
    pub fn score(&self, text: &str) -> Scores {
        if text.is_ascii() {
            return self.score_plain(text.trim());
        }
        self.score_plain(self.spell_out_emoji(text).trim())
    }

    fn spell_out_emoji(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        let mut after_space = true;
        for c in text.chars() {
            if let Some(description) = self.emoji.get(&c) {
                if !after_space {
                    out.push(' ');
                }
                out.push_str(description);
                after_space = false;
            } else {
                out.push(c);
                after_space = c == ' ';
            }
        }
        out
    }

    fn score_plain(&self, text: &str) -> Scores {
        let tokens = self.tokens(text);
        let capitals = tokens.iter().filter(|t| t.capitals).count();
        let mixed = capitals > 0 && capitals < tokens.len();
        let mut valences: Vec<f64> = (0..tokens.len()).map(|i| self.valence(&tokens, i, mixed)).collect();
        self.weigh_but(&tokens, &mut valences);
        summarise(&valences, text)
    }

    fn tokens(&self, text: &str) -> Vec<Token> {
        let mut lower = String::with_capacity(32);
        let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
        for raw in text.split_whitespace() {
            let bare = raw.trim_matches(|c: char| c.is_ascii_punctuation());
            // What is left of an emoticon is too short to be a word.
            let item = if bare.len() <= 2 || bare.chars().nth(2).is_none() { raw } else { bare };
            lower.clear();
            if item.is_ascii() {
                lower.push_str(item);
                lower.make_ascii_lowercase();
            } else {
                lower.push_str(&item.to_lowercase());
            }
            let mut word = self.words.get(lower.as_str()).copied().unwrap_or_default();
            word.negates |= lower.len() >= 3 && lower.contains("n't");
            tokens.push(Token { word, capitals: is_upper(item) });
        }
        tokens
    }

    fn valence(&self, tokens: &[Token], i: usize, mixed: bool) -> f64 {
        let (marks, own) = (&self.marks, tokens[i].word);
        let is = |back: usize, mark: u8| i >= back && tokens[i - back].word.number == mark;
        let next = tokens.get(i + 1).map(|t| t.word);
        let kind_of = own.number == marks.kind && next.is_some_and(|n| n.number == marks.of);
        let Some(listed) = own.valence.filter(|_| own.boost == 0.0 && !kind_of) else {
            return 0.0;
        };
        let mut valence = listed;
        if own.number == marks.no && next.is_some_and(|n| n.valence.is_some()) {
            valence = 0.0;
        }
        if is(1, marks.no) || is(2, marks.no) || (is(3, marks.no) && (is(1, marks.or) || is(1, marks.nor))) {
            valence = listed * TURNED;
        }
        if tokens[i].capitals && mixed {
            valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        for back in 1..=3.min(i) {
            let before = tokens[i - back];
            if before.word.valence.is_some() {
                continue;
            }
            valence += boost(before, valence, mixed) * [1.0, 0.95, 0.9][back - 1];
            valence = self.turn(tokens, i, back, valence);
            if back == 3 {
                valence = self.idioms(tokens, i, valence);
            }
        }
        let least = is(1, marks.least) && tokens[i - 1].word.valence.is_none();
        if least && !is(2, marks.at) && !is(2, marks.very) {
            valence *= TURNED;
        }
        valence
    }

    /// Negation by the word `back` places before; "never so" strengthens, "without doubt" keeps.
    fn turn(&self, tokens: &[Token], i: usize, back: usize, valence: f64) -> f64 {
        let marks = &self.marks;
        let at = |b: usize| tokens[i - b].word.number;
        let emphatic = |b: usize| at(b) == marks.so || at(b) == marks.this;
        let (strengthens, keeps) = match back {
            2 => (at(2) == marks.never && emphatic(1), at(2) == marks.without && at(1) == marks.doubt),
            3 => (
                (at(3) == marks.never && emphatic(2)) || emphatic(1),
                at(3) == marks.without && (at(2) == marks.doubt || at(1) == marks.doubt),
            ),
            _ => (false, false),
        };
        if strengthens {
            valence * 1.25
        } else if !keeps && tokens[i - back].word.negates {
            valence * TURNED
        } else {
            valence
        }
    }

    /// Idioms that end at or before the word, then those that begin with it, then phrases that boost.
    fn idioms(&self, tokens: &[Token], i: usize, mut valence: f64) -> f64 {
        let matches = |from: usize, words: &[u8]| {
            from + words.len() <= tokens.len()
                && words.iter().enumerate().all(|(j, w)| tokens[from + j].word.number == *w)
        };
        let find = |from: usize, length: usize| {
            self.idioms.iter().find(|(w, _)| w.len() == length && matches(from, w)).map(|(_, v)| *v)
        };
        let ending = [(i - 1, 2), (i - 2, 3), (i - 2, 2), (i - 3, 3), (i - 3, 2)];
        if let Some(set) = ending.into_iter().find_map(|(from, length)| find(from, length)) {
            valence = set;
        }
        for length in [2, 3] {
            valence = find(i, length).unwrap_or(valence);
        }
        for (from, length) in [(i - 3, 3), (i - 3, 2), (i - 2, 2)] {
            let boosts = self.phrases.iter().find(|(w, _)| w.len() == length && matches(from, w));
            valence += boosts.map_or(0.0, |(_, v)| *v);
        }
        valence
    }

    /// What stands before the first "but" counts half, what follows half as much again. As published,
    /// a value is changed at the first place where it occurs.
    fn weigh_but(&self, tokens: &[Token], valences: &mut [f64]) {
        let Some(but) = tokens.iter().position(|t| t.word.number == self.marks.but) else {
            return;
        };
        for i in 0..valences.len() {
            let value = valences[i];
            #[expect(clippy::float_cmp, reason = "the rule looks for the very same value")]
            let Some(first) = valences.iter().position(|v| *v == value) else {
                continue;
            };
            match first.cmp(&but) {
                std::cmp::Ordering::Less => valences[first] *= 0.5,
                std::cmp::Ordering::Greater => valences[first] *= 1.5,
                std::cmp::Ordering::Equal => {}
            }
        }
    }
}

fn pairs(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().filter_map(|line| line.split_once('\t'))
}

fn is_upper(item: &str) -> bool {
    let mut upper = false;
    for c in item.chars() {
        if c.is_lowercase() {
            return false;
        }
        upper |= c.is_uppercase();
    }
    upper
}

fn boost(before: Token, valence: f64, mixed: bool) -> f64 {
    let mut boost = before.word.boost;
    if boost == 0.0 {
        return 0.0;
    }
    if valence < 0.0 {
        boost = -boost;
    }
    if before.capitals && mixed {
        boost += if valence > 0.0 { CAPITALS } else { -CAPITALS };
    }
    boost
}

/// What exclamation and question marks add to the strength.
fn emphasis(text: &str) -> f64 {
    let (mut exclamations, mut questions) = (0u8, 0u8);
    for b in text.bytes() {
        exclamations = exclamations.saturating_add(u8::from(b == b'!'));
        questions = questions.saturating_add(u8::from(b == b'?'));
    }
    let asked = match questions {
        0 | 1 => 0.0,
        2 | 3 => f64::from(questions) * 0.18,
        _ => 0.96,
    };
    f64::from(exclamations.min(4)) * EXCLAMATION + asked
}

fn summarise(valences: &[f64], text: &str) -> Scores {
    if valences.is_empty() {
        return Scores { negative: 0.0, neutral: 0.0, positive: 0.0, compound: 0.0 };
    }
    let (mut positive, mut negative, mut neutral, mut sum) = (0.0, 0.0, 0.0, 0.0);
    for &v in valences {
        sum += v;
        if v > 0.0 {
            positive += v + 1.0;
        } else if v < 0.0 {
            negative += 1.0 - v;
        } else {
            neutral += 1.0;
        }
    }
    let marks = emphasis(text);
    if sum > 0.0 {
        sum += marks;
    } else if sum < 0.0 {
        sum -= marks;
    }
    if positive > negative {
        positive += marks;
    } else if positive < negative {
        negative += marks;
    }
    let total = positive + negative + neutral;
    let digits = |x: f64, scale: f64| (x * scale).round_ties_even() / scale;
    Scores {
        negative: digits(negative / total, 1e3),
        neutral: digits(neutral / total, 1e3),
        positive: digits(positive / total, 1e3),
        compound: digits((sum / (sum * sum + 15.0).sqrt()).clamp(-1.0, 1.0), 1e4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compound(text: &str) -> f64 {
        Lexicon::new().score(text).compound
    }

    #[test]
    fn what_stands_before_a_word_changes_it() {
        assert!(compound("The food was very good") > compound("The food was good"));
        assert!(compound("The food was not good") < 0.0);
        assert!(compound("The food was GOOD") > compound("The food was good"));
        assert!(compound("It was good, but the service was horrible") < 0.0);
        assert!(compound("Great!!!") > compound("Great"));
        assert!(compound("I love it 💘") > compound("I love it"));
        assert!(compound("").abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn any_text_gets_scores_in_range(text in "\\PC{0,80}") {
            let s = Lexicon::new().score(&text);
            prop_assert!((-1.0..=1.0).contains(&s.compound));
            let sum = s.negative + s.neutral + s.positive;
            prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 2e-3);
        }
    }
}
