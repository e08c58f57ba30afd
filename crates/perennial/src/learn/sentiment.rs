//! `learn sentiment`: the mood of texts, and what they are about.
//!
//! Moods are read by the classifier that ships with the program, which has learnt from reviews; the lexicon's
//! compound score stands beside. With a column of labels another classifier learns those, and its accuracy is told
//! on texts it had not seen. Absent on purpose: moods of languages other than English.

use std::path::PathBuf;

use clap::Args;
use perennial_learn::experiment::wilson;
use perennial_learn::sentiment::{Classifier, Lexicon, Theme, themes};

use super::frame::Frame;
use super::page::{Bar, Chapter, Figure, Page, Plot};
use super::words::{count, figure, many, percent};
use super::{Common, Outputs, in_parallel, working};

/// Texts in, moods out.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  perennial learn sentiment --input reviews.csv --text review --out moods.csv --report moods.html\n  \
perennial learn sentiment --input questions.csv --text question --label topic --out topics.csv\n\n\
Moods of English texts are read without training, by a model that has learnt from reviews. With --label the\n\
program also learns your own labels, in any language, and says how often it is right on texts it had not seen."
)]
pub struct Arguments {
    /// One row per text.
    #[arg(long, value_name = "TEXTS.csv")]
    input: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
    /// The column of texts; the longest texts otherwise.
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// A column of labels to learn from, such as known moods or topics.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// The column that names the text.
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
}

/// Texts that teach a classifier at most; more take long and change little.
const TAUGHT: usize = 20_000;
/// Texts in which themes are looked for at most.
const THEMED: usize = 20_000;
/// A text has a mood where the model holds it for at least three times as likely as the other. On 14,640 tweets
/// to airlines, which no part of it has seen, this names the mood rightly in 64 %, the lexicon in 49 %.
const SURE: f64 = 0.75;
/// Position of the good mood among the labels of the shipped model.
const POSITIVE: usize = 1;
/// Labels shown.
const LABELS: usize = 20;
/// Themes shown.
const THEMES: usize = 12;

/// What was read in each text.
struct Read {
    /// Probability that the text speaks well, in `[0, 1]`.
    positive: Vec<f64>,
    /// The lexicon's score, in `[-1, 1]`.
    compound: Vec<f64>,
}

struct Learnt {
    model: Classifier,
    accuracy: f64,
    commonest: f64,
    held: usize,
    /// How each label fared among the texts left out.
    each: Vec<Fared>,
}

/// How a label fared among texts whose label is known.
struct Fared {
    label: String,
    /// Texts that carry it.
    texts: usize,
    /// Those of them that were given it.
    found: usize,
    /// Texts that were given it.
    said: usize,
}

/// Reads, scores, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let drafts = arguments.outputs.begin(&[&arguments.input])?;
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let at = text_column(&frame, arguments.text.as_deref())?;
    let texts: Vec<&str> = frame.columns[at].iter().map(String::as_str).collect();
    if texts.iter().all(|text| text.is_empty()) {
        return Err(frame.wrong(&format!("`{}` holds no text at all", frame.header[at])));
    }
    let bar = working("reading moods", common.quiet);
    let lexicon = Lexicon::new();
    let read = Read::new(&texts, &lexicon, common.threads());
    let label = arguments.label.as_deref().map(|name| frame.column(name)).transpose()?;
    let learnt = label.map(|label| learn(&frame, &texts, label, &lexicon, common)).transpose()?;
    let guessed = learnt
        .as_ref()
        .map(|learnt| in_parallel(texts.len(), common.threads(), |i| learnt.model.predict(texts[i], &lexicon)));
    bar.finish_and_clear();
    let ids = frame.ids(frame.named_or_usual(arguments.id.as_deref(), "id reviewid textid tweetid")?);
    let mut header = vec!["id", "compound", "mood", "positive"];
    header.extend(learnt.as_ref().map(|_| ["label", "probability"]).into_iter().flatten());
    let rows = (0..texts.len()).map(|i| {
        let (compound, positive) = (read.compound[i], read.positive[i]);
        let mut row =
            vec![ids[i].clone(), format!("{compound:.4}"), mood(positive).to_owned(), format!("{positive:.4}")];
        if let (Some(learnt), Some(guessed)) = (&learnt, &guessed) {
            let found = &guessed[i];
            row.extend([learnt.model.labels[found.label].clone(), format!("{:.4}", found.probabilities[found.label])]);
        }
        row
    });
    drafts.csv(&arguments.outputs.out, &header, rows)?;
    let mut chapter = tell(&texts, &read, learnt.as_ref(), &lexicon).map_err(|why| frame.wrong(&why))?;
    chapter.how.push(format!("Texts: `{}`.", frame.header[at]));
    let page = Page {
        kind: "The mood of texts",
        finding: chapter.finding.clone(),
        source: format!("{}: {} in `{}`", frame.name(), many(texts.len(), "text"), frame.header[at]),
        chapters: vec![chapter],
        ..Page::default()
    };
    arguments.outputs.finish(drafts, page, "a text with its mood")
}

fn text_column(frame: &Frame, named: Option<&str>) -> Result<usize, String> {
    let usual = "text review reviewtext comment feedback message body tweet sentence kommentar bewertung";
    if let Some(at) = frame.named_or_usual(named, usual)? {
        return Ok(at);
    }
    let words = |at: &usize| frame.columns[*at].iter().take(200).map(|t| t.split_whitespace().count()).sum::<usize>();
    let longest = (0..frame.header.len()).max_by_key(words).unwrap_or(0);
    if words(&longest) < 2 * frame.rows().min(200) {
        return Err(frame.wrong(&format!("which column holds the texts? {}", frame.name_it("--text"))));
    }
    Ok(longest)
}

impl Read {
    fn new(texts: &[&str], lexicon: &Lexicon, threads: usize) -> Self {
        let model = Classifier::shipped();
        let both = in_parallel(texts.len(), threads, |i| {
            (model.predict(texts[i], lexicon).probabilities[POSITIVE], lexicon.score(texts[i]).compound)
        });
        let (positive, compound) = both.into_iter().unzip();
        Self { positive, compound }
    }
}

fn mood(positive: f64) -> &'static str {
    match positive {
        p if p >= SURE => "positive",
        p if p <= 1.0 - SURE => "negative",
        _ => "neutral",
    }
}

/// Every fifth labelled text is left out once to measure, then all teach.
#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn learn(frame: &Frame, texts: &[&str], label: usize, lexicon: &Lexicon, common: &Common) -> Result<Learnt, String> {
    let labels = &frame.columns[label];
    let known: Vec<usize> = (0..texts.len()).filter(|&i| !labels[i].is_empty() && !texts[i].is_empty()).collect();
    let step = known.len().div_ceil(TAUGHT).max(1);
    let known: Vec<usize> = known.into_iter().step_by(step).collect();
    let train = |rows: &[usize]| {
        let (texts, labels): (Vec<&str>, Vec<&str>) = rows.iter().map(|&i| (texts[i], labels[i].as_str())).unzip();
        Classifier::train(&texts, &labels, common.seed)
            .map_err(|why| frame.wrong(&why.to_string().replace("`labels`", &format!("`{}`", frame.header[label]))))
    };
    // A fixed mixing of the row number, so that sorted files are left out evenly.
    let out = |i: usize| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 0xff < 51;
    let (held, taught): (Vec<usize>, Vec<usize>) = known.iter().partition(|&&i| out(i));
    let trial = train(&taught)?;
    let guessed: Vec<&str> =
        held.iter().map(|&i| trial.labels[trial.predict(texts[i], lexicon).label].as_str()).collect();
    let fared = |name: &String| Fared {
        label: name.clone(),
        texts: held.iter().filter(|&&i| labels[i] == *name).count(),
        found: held.iter().zip(&guessed).filter(|&(&i, said)| labels[i] == *name && said == name).count(),
        said: guessed.iter().filter(|said| *said == name).count(),
    };
    let mut each: Vec<Fared> = trial.labels.iter().map(fared).collect();
    each.sort_by(|a, b| b.texts.cmp(&a.texts).then_with(|| a.label.cmp(&b.label)));
    let right: usize = each.iter().map(|fared| fared.found).sum();
    let most = each.first().map_or(0, |fared| fared.texts);
    let n = held.len().max(1) as f64;
    Ok(Learnt { model: train(&known)?, accuracy: right as f64 / n, commonest: most as f64 / n, held: held.len(), each })
}

const WORDS: [(&str, &str); 4] = [
    (
        "mood",
        "Positive where the model holds that for at least three times as likely as negative, negative where it is the other way round, neutral between.",
    ),
    ("positive", "The probability, by the model of reviews, that a text speaks well of a thing. Made for English."),
    (
        "compound score",
        "What the words of a text say together by the lexicon alone, from -1 (worst) to 1 (best) (Hutto and Gilbert 2014).",
    ),
    ("theme", "Words that come together in many texts; a text may have several."),
];

fn tell(texts: &[&str], read: &Read, learnt: Option<&Learnt>, lexicon: &Lexicon) -> Result<Chapter, String> {
    let moods = moods(&read.positive);
    let told = match learnt {
        Some(learnt) => learnt.told(),
        None => "No validation: there are no labels to check against (see --label).".into(),
    };
    let finding = format!("{:.0} % of texts are positive, {:.0} % negative", moods[0].value, moods[2].value);
    let mut figures = vec![Figure {
        title: balance(&moods, texts.len()).to_owned(),
        note: "Per cent of texts in each mood, with 95 % intervals.".into(),
        sample: many(texts.len(), "text"),
        head: ["mood", "per cent", "low", "high"].map(String::from).to_vec(),
        rows: moods
            .iter()
            .map(|b| {
                let (low, high) = b.interval.unwrap_or_default();
                vec![b.label.clone(), figure(b.value), figure(low), figure(high)]
            })
            .collect(),
        plot: Plot::Bars(moods.into()),
        unit: " %",
    }];
    figures.extend(learnt.map(Learnt::figure));
    figures.extend(themed(texts, &read.positive, lexicon)?);
    let how = vec![CHOSEN.to_owned()];
    Ok(Chapter { name: "Moods", finding, told: vec![told], figures, words: WORDS.to_vec(), how })
}

/// Which model read the texts.
const CHOSEN: &str = "Chosen: moods by the shipped model of English reviews, which has learnt from 2,000 sentences \
                      about products and restaurants; compound scores by the lexicon.";

/// Which mood is the commoner, where chance does not explain the difference.
#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn balance([positive, _, negative]: &[Bar; 3], texts: usize) -> &'static str {
    let (good, bad) = (positive.value / 100.0, negative.value / 100.0);
    let error = ((good + bad - (good - bad).powi(2)) / texts as f64).sqrt();
    match good - bad {
        more if more > 1.96 * error => "Positive texts outnumber negative ones",
        more if more < -1.96 * error => "Negative texts outnumber positive ones",
        _ => "Neither positive nor negative texts clearly prevail",
    }
}

/// The share of each mood with its interval.
#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn moods(positive: &[f64]) -> [Bar; 3] {
    let n = positive.len() as f64;
    ["positive", "neutral", "negative"].map(|name| {
        let count = positive.iter().filter(|p| mood(**p) == name).count();
        // None found is not none there: the interval of Wilson stays honest at 0 and 100 %.
        let interval = wilson(count as u64, positive.len() as u64, 0.05).ok();
        let interval = interval.map(|(low, high)| (100.0 * low, 100.0 * high));
        Bar { label: name.into(), value: 100.0 * count as f64 / n, interval }
    })
}

impl Learnt {
    /// How often each label is recognised.
    #[expect(clippy::cast_precision_loss, reason = "counts of texts")]
    fn figure(&self) -> Figure {
        let shown = self.each.iter().filter(|fared| fared.texts > 0).take(LABELS);
        let bar = |fared: &Fared| {
            let interval = wilson(fared.found as u64, fared.texts as u64, 0.05).ok();
            Bar {
                label: format!("{} ({})", fared.label, count(fared.texts)),
                value: 100.0 * fared.found as f64 / fared.texts as f64,
                interval: interval.map(|(low, high)| (100.0 * low, 100.0 * high)),
            }
        };
        let bars: Vec<Bar> = shown.clone().map(bar).collect();
        let share = |of: usize, all: usize| if all > 0 { percent(of as f64 / all as f64) } else { String::new() };
        let rows = shown.map(|fared| {
            let (texts, said) = (count(fared.texts), count(fared.said));
            vec![fared.label.clone(), texts, share(fared.found, fared.texts), said, share(fared.found, fared.said)]
        });
        let weakest = bars.iter().min_by(|a, b| a.value.total_cmp(&b.value));
        let all = self.each.iter().filter(|fared| fared.texts > 0).count();
        let cut = if all > LABELS { format!(" The {LABELS} commonest of {all} labels.") } else { String::new() };
        Figure {
            title: weakest.map_or("No label was left out".into(), |bar| {
                let name = bar.label.rsplit_once(" (").map_or(bar.label.as_str(), |(name, _)| name);
                format!(
                    "Of your labels, \"{name}\" is the hardest to tell: {} are recognised",
                    percent(bar.value / 100.0)
                )
            }),
            note: format!(
                "Per cent of the texts with a label that the classifier gives it, their number in brackets, with 95 % intervals. The table also says how often it is right when it gives the label.{cut}"
            ),
            sample: format!("{} left out", many(self.held, "text")),
            rows: rows.collect(),
            plot: Plot::Bars(bars),
            unit: " %",
            head: ["label", "texts", "recognised", "given", "right when given"].map(String::from).to_vec(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of texts")]
    fn told(&self) -> String {
        let half = 1.96 * (self.accuracy * (1.0 - self.accuracy) / self.held.max(1) as f64).sqrt();
        format!(
            "Validation: the classifier of {} is right for {} ({} to {}) of {} left out; always saying the commonest label would be right for {}.",
            many(self.model.labels.len(), "label"),
            percent(self.accuracy),
            percent((self.accuracy - half).max(0.0)),
            percent((self.accuracy + half).min(1.0)),
            many(self.held, "text"),
            percent(self.commonest)
        )
    }
}

/// What the texts are about, and the mood in which they say it.
fn themed(texts: &[&str], positive: &[f64], lexicon: &Lexicon) -> Result<Option<Figure>, String> {
    let step = texts.len().div_ceil(THEMED).max(1);
    let some: Vec<usize> = (0..texts.len()).filter(|&i| !texts[i].is_empty()).step_by(step).collect();
    let said: Vec<&str> = some.iter().map(|&i| texts[i]).collect();
    let mut found = themes(&said, THEMES, lexicon).map_err(|why| why.to_string())?;
    found.retain(|theme| !theme.phrases.is_empty());
    let mut found: Vec<(Theme, Bar)> = found
        .into_iter()
        .map(|theme| {
            let bar = well_spoken(&theme, |at| positive[some[at]]);
            (theme, bar)
        })
        .collect();
    found.sort_by(|a, b| a.1.value.total_cmp(&b.1.value));
    let Some((worst, _)) = found.first() else { return Ok(None) };
    let row = |(theme, bar): &(Theme, Bar)| {
        vec![theme.phrases.join(", "), count(theme.texts.len()), format!("{:.0}", bar.value)]
    };
    Ok(Some(Figure {
        title: format!("The mood is lowest where \"{}\" is mentioned", worst.phrases[0]),
        note: "Mean probability of speaking well, in per cent, of the texts that mention a theme, their number in brackets, with 95 % intervals.".into(),
        sample: many(said.len(), "text"),
        head: ["phrases", "texts", "positive"].map(String::from).to_vec(),
        rows: found.iter().map(row).collect(),
        plot: Plot::Dots(found.into_iter().map(|(_, bar)| bar).collect()),
        unit: " %",
    }))
}

/// The mean probability of speaking well among the texts of a theme, in per cent, with its interval.
#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn well_spoken(theme: &Theme, positive: impl Fn(usize) -> f64) -> Bar {
    let n = theme.texts.len() as f64;
    let mean = theme.texts.iter().map(|&at| positive(at)).sum::<f64>() / n.max(1.0);
    let squares = theme.texts.iter().map(|&at| (positive(at) - mean).powi(2)).sum::<f64>();
    let half = 1.96 * (squares / (n - 1.0).max(1.0) / n.max(1.0)).sqrt();
    Bar {
        label: format!("{} ({})", theme.phrases[0], count(theme.texts.len())),
        value: 100.0 * mean,
        interval: Some((100.0 * (mean - half).max(0.0), 100.0 * (mean + half).min(1.0))),
    }
}
