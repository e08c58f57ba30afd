//! `learn sentiment`: the mood of texts, and what they are about.
//!
//! The lexicon needs no training; with a column of labels a classifier is trained and its accuracy told on
//! texts it had not seen. Absent on purpose: languages other than English in the lexicon.

use std::path::PathBuf;

use clap::Args;
use perennial_learn::sentiment::{Classifier, Lexicon, themes};

use super::frame::{self, Frame};
use super::report::{Bar, Figure, Plot, Report};
use super::{Common, finish, in_parallel, working};

/// Texts in, moods out.
#[derive(Args, Debug)]
pub struct Arguments {
    /// One row per text.
    #[arg(long)]
    input: PathBuf,
    /// The mood of each text.
    #[arg(long)]
    out: PathBuf,
    /// The column of texts; the longest texts otherwise.
    #[arg(long)]
    text: Option<String>,
    /// A column of labels to learn from, such as known moods or topics.
    #[arg(long)]
    label: Option<String>,
    /// The column that names the text.
    #[arg(long)]
    id: Option<String>,
    /// A readable page with figures.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Texts that teach a classifier at most; more take long and change little.
const TAUGHT: usize = 20_000;
/// Texts in which themes are looked for at most.
const THEMED: usize = 20_000;
/// From here on a compound score is a mood (Hutto & Gilbert 2014).
const MOOD: f64 = 0.05;

struct Learnt {
    model: Classifier,
    accuracy: f64,
    commonest: f64,
    held: usize,
}

/// Reads, scores, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let at = text_column(&frame, arguments.text.as_deref())?;
    let texts: Vec<&str> = frame.columns[at].iter().map(String::as_str).collect();
    if texts.iter().all(|text| text.is_empty()) {
        return Err(frame.wrong(&format!("`{}` holds no text at all", frame.header[at])));
    }
    let bar = working("reading moods", common.quiet);
    let lexicon = Lexicon::new();
    let scores = in_parallel(texts.len(), common.threads, |i| lexicon.score(texts[i]).compound);
    let label = arguments.label.as_deref().map(|name| frame.column(name)).transpose()?;
    let learnt = label.map(|label| learn(&frame, &texts, label, &lexicon, common)).transpose()?;
    let guessed = learnt
        .as_ref()
        .map(|learnt| in_parallel(texts.len(), common.threads, |i| learnt.model.predict(texts[i], &lexicon)));
    bar.finish_and_clear();
    let ids = frame.ids(frame.named_or_usual(arguments.id.as_deref(), &["id", "reviewid", "textid", "tweetid"])?);
    let mut header = vec!["id", "compound", "mood"];
    header.extend(learnt.as_ref().map(|_| ["label", "probability"]).into_iter().flatten());
    let rows = (0..texts.len()).map(|i| {
        let mut row = vec![ids[i].clone(), format!("{:.4}", scores[i]), mood(scores[i]).to_owned()];
        if let (Some(learnt), Some(guessed)) = (&learnt, &guessed) {
            let found = &guessed[i];
            row.extend([learnt.model.labels[found.label].clone(), format!("{:.4}", found.probabilities[found.label])]);
        }
        row
    });
    frame::write(&arguments.out, &header, rows)?;
    let report = tell(&frame, at, &texts, &scores, learnt.as_ref(), &lexicon)?;
    finish(&report, &arguments.out, arguments.report.as_deref())
}

fn text_column(frame: &Frame, named: Option<&str>) -> Result<usize, String> {
    let usual = ["text", "review", "reviewtext", "comment", "feedback", "message", "body", "tweet", "sentence"];
    if let Some(at) = frame.named_or_usual(named, &usual)? {
        return Ok(at);
    }
    let words = |at: &usize| frame.columns[*at].iter().take(200).map(|t| t.split_whitespace().count()).sum::<usize>();
    let longest = (0..frame.header.len()).max_by_key(words).unwrap_or(0);
    if words(&longest) < 2 * frame.rows().min(200) {
        return Err(frame
            .wrong(&format!("which column holds the texts? name it with --text; the columns are {}", frame.listed())));
    }
    Ok(longest)
}

fn mood(compound: f64) -> &'static str {
    match compound {
        v if v >= MOOD => "positive",
        v if v <= -MOOD => "negative",
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
    let right = held.iter().filter(|&&i| trial.labels[trial.predict(texts[i], lexicon).label] == labels[i]).count();
    let most = trial.labels.iter().map(|name| held.iter().filter(|&&i| labels[i] == *name).count()).max().unwrap_or(0);
    let n = held.len().max(1) as f64;
    Ok(Learnt { model: train(&known)?, accuracy: right as f64 / n, commonest: most as f64 / n, held: held.len() })
}

#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn tell(
    frame: &Frame,
    at: usize,
    texts: &[&str],
    scores: &[f64],
    learnt: Option<&Learnt>,
    lexicon: &Lexicon,
) -> Result<Report, String> {
    let n = scores.len() as f64;
    let share = |name: &str| scores.iter().filter(|s| mood(**s) == name).count() as f64 / n;
    let moods = ["positive", "neutral", "negative"].map(|name| {
        let p = share(name);
        let half = 1.96 * (p * (1.0 - p) / n).sqrt();
        Bar {
            label: name.into(),
            value: 100.0 * p,
            interval: Some((100.0 * (p - half).max(0.0), 100.0 * (p + half).min(1.0))),
        }
    });
    let mut notes = vec![format!("{}: {} texts in `{}`.", frame.name(), scores.len(), frame.header[at])];
    notes.push(
        "Chosen: a lexicon of English moods; a compound score from -1 to 1, positive from 0.05 and negative to -0.05."
            .into(),
    );
    match learnt {
        Some(l) => {
            let half = 1.96 * (l.accuracy * (1.0 - l.accuracy) / l.held.max(1) as f64).sqrt();
            notes.push(format!("Validation: the classifier of {} labels is right in {:.3} ({:.3} to {:.3}) of {} texts left out; always saying the commonest label in {:.3}.", l.model.labels.len(), l.accuracy, l.accuracy - half, (l.accuracy + half).min(1.0), l.held, l.commonest));
        }
        None => notes.push("No validation: there are no labels to check against (see --label).".into()),
    }
    let step = texts.len().div_ceil(THEMED).max(1);
    let some: Vec<&str> = texts.iter().copied().filter(|t| !t.is_empty()).step_by(step).collect();
    let found = themes(&some, 12, lexicon).map_err(|why| frame.wrong(&why.to_string()))?;
    let rows =
        found.iter().map(|t| vec![t.phrases.join(", "), t.texts.len().to_string(), format!("{:.2}", t.mood)]).collect();
    let worst = found
        .iter()
        .min_by(|a, b| a.mood.total_cmp(&b.mood))
        .and_then(|t| t.phrases.first())
        .map_or("nothing", String::as_str);
    let figures = vec![
        Figure {
            title: format!("{:.0} % of texts are positive, {:.0} % negative", moods[0].value, moods[2].value),
            note: format!("Per cent of {} texts, with 95 % intervals.", scores.len()),
            head: ["mood", "per cent", "low", "high"].map(String::from).to_vec(),
            rows: moods
                .iter()
                .map(|b| {
                    let (low, high) = b.interval.unwrap_or_default();
                    vec![b.label.clone(), format!("{:.1}", b.value), format!("{low:.1}"), format!("{high:.1}")]
                })
                .collect(),
            plot: Plot::Bars(moods.into()),
        },
        Figure {
            title: format!("The mood is lowest where \"{worst}\" is mentioned"),
            note: format!("Themes of {} texts: mean compound score of the texts that mention them.", some.len()),
            plot: Plot::Bars(
                found
                    .iter()
                    .map(|t| Bar {
                        label: t.phrases.first().cloned().unwrap_or_default(),
                        value: t.mood,
                        interval: None,
                    })
                    .collect(),
            ),
            head: ["phrases", "texts", "mood"].map(String::from).to_vec(),
            rows,
        },
    ];
    Ok(Report { finding: figures[0].title.clone() + ".", notes, figures })
}
