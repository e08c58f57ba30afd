//! The goals of `perennial-learn`: our program and the public tools on the same files, in one run.
//!
//! A duel is two chains of commands and the figures to read from what they print. Adding a row is
//! adding an entry to [`DUELS`]. The data and the peers' scripts lie outside the repository (see
//! [`shared`]); without them a duel is left out, and without the peer's Python packages its side
//! stays empty, both with a line that says so.

use super::{Plan, Scratch, Table, shared};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Figures of one job, from us and from a peer.
struct Duel {
    /// What `--only=` calls it.
    part: &'static str,
    /// Commands, one after the other; words are parted by blanks. Known in braces: `{perennial}`
    /// (the program), `{examples}` (our examples' folder), `{python}`, `{peers}` (the peers that have
    /// no script among the shared ones), `{bench}`, `{data}` and `{reference}` (shared folders),
    /// `{out}` (a scratch folder of this duel).
    ours: &'static [&'static str],
    /// The peer's commands; none where the bar is a figure of its own.
    peer: &'static [&'static str],
    figures: &'static [Figure],
}

/// One row of the table.
struct Figure {
    what: &'static str,
    bar: &'static str,
    unit: &'static str,
    /// Words that stand in the output one after the other; the number after the last is read.
    ours: &'static [&'static str],
    /// The same for the peer's output; none where it has no such figure.
    peer: &'static [&'static str],
}

/// Every duel, in the order of the table.
const DUELS: &[&[Duel]] = &[RECOMMEND, AGREE, LIFETIME, SEGMENT, LINK, EXPERIMENT, PROPENSITY, FEELINGS];

const RECOMMEND: &[Duel] = &[
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set movielens_1m --data {data} --out {out}",
            "{perennial} learn recommend --task for-you --train {out}/train.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &[
            "{python} {bench}/recsys_baselines.py --set movielens_1m --data {data} --out {out} --algos ease --threads 1 --runs 1",
        ],
        figures: &[
            Figure {
                what: "for you, movielens_1m NDCG@10: EASE",
                bar: ">= .335",
                unit: "",
                ours: NDCG,
                peer: PEER_NDCG,
            },
            Figure { what: "  recall@20", bar: ">= .296", unit: "", ours: RECALL, peer: PEER_RECALL },
        ],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set amazon_beauty --data {data} --out {out}",
            "{perennial} learn recommend --task for-you --train {out}/train.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &[
            "{python} {bench}/recsys_baselines.py --set amazon_beauty --data {data} --out {out} --algos itemknn-bm25 --threads 1 --runs 1",
        ],
        figures: &[Figure {
            what: "for you, amazon_beauty NDCG@10: implicit BM25",
            bar: ">= .058",
            unit: "",
            ours: NDCG,
            peer: PEER_NDCG,
        }],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set amazon_toys --data {data} --out {out}",
            "{perennial} learn recommend --task for-you --train {out}/train.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &[
            "{python} {bench}/recsys_baselines.py --set amazon_toys --data {data} --out {out} --algos itemknn-bm25 --threads 1 --runs 1",
        ],
        figures: &[Figure {
            what: "for you, amazon_toys NDCG@10: implicit BM25",
            bar: ">= .073",
            unit: "",
            ours: NDCG,
            peer: PEER_NDCG,
        }],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set online_retail --data {data} --out {out}",
            "{perennial} learn recommend --task for-you --train {out}/train.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &[
            "{python} {bench}/recsys_baselines.py --set online_retail --data {data} --out {out} --algos als --threads 1 --runs 1",
        ],
        figures: &[
            Figure {
                what: "for you, online_retail NDCG@10: ALS",
                bar: ">= .113",
                unit: "",
                ours: NDCG,
                peer: PEER_NDCG,
            },
            Figure { what: "  recall@20, online_retail", bar: ">= .097", unit: "", ours: RECALL, peer: PEER_RECALL },
        ],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set online_retail_basket --data {data} --out {out}",
            "{perennial} learn recommend --task together --train {out}/train.csv --context {out}/context.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &["{python} {bench}/recsys_baselines.py --set online_retail_basket --data {data} --out {out}"],
        figures: &[Figure {
            what: "together, online_retail NDCG@10: co-count / popularity^b",
            bar: ">= .213",
            unit: "",
            ours: NDCG,
            peer: &["\nco-count / popularity^b {", "'ndcg@10"],
        }],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set complete_journey_basket --data {data} --out {out}",
            "{perennial} learn recommend --task together --train {out}/train.csv --context {out}/context.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &["{python} {bench}/recsys_baselines.py --set complete_journey_basket --data {data} --out {out}"],
        figures: &[Figure {
            what: "together, complete_journey NDCG@10: co-count / popularity^b",
            bar: ">= .112",
            unit: "",
            ours: NDCG,
            peer: &["\nco-count / popularity^b {", "'ndcg@10"],
        }],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set online_retail_repeat --data {data} --out {out}",
            "{perennial} learn recommend --task again --train {out}/train.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &["{python} {bench}/recsys_baselines.py --set online_retail_repeat --data {data} --out {out}"],
        figures: &[Figure {
            what: "again, online_retail NDCG@10: TIFU-kNN form",
            bar: ">= .375",
            unit: "",
            ours: NDCG,
            peer: &["\ndecay + user-kNN (TIFU-kNN form) {", "'ndcg@10"],
        }],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set complete_journey_repeat --data {data} --out {out}",
            "{perennial} learn recommend --task again --train {out}/train.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &["{python} {bench}/recsys_baselines.py --set complete_journey_repeat --data {data} --out {out}"],
        figures: &[Figure {
            what: "again, complete_journey NDCG@10: decay + EASE",
            bar: ">= .515",
            unit: "",
            ours: NDCG,
            peer: &["\ndecay + a * ease(decayed history) {", "'ndcg@10"],
        }],
    },
    Duel {
        part: "recommend",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set retailrocket_sessions --data {data} --out {out}",
            "{perennial} learn recommend --task session --train {out}/train.csv --context {out}/context.csv --out {out}/lists.csv",
            "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
        ],
        peer: &["{python} {bench}/recsys_baselines.py --set retailrocket_sessions --data {data} --out {out}"],
        figures: &[
            Figure {
                what: "session, retailrocket hit rate@20: V-SKNN",
                bar: ">= .565",
                unit: "",
                ours: &["\"hit@20"],
                peer: &["\nvsknn {", "'hit@20"],
            },
            Figure {
                what: "  mean reciprocal rank@20",
                bar: ">= .290",
                unit: "",
                ours: &["\"mrr@20"],
                peer: &["\nvsknn {", "'mrr@20"],
            },
        ],
    },
    Duel {
        part: "training",
        ours: &[
            "{python} {bench}/recsys_eval.py split --set movielens_1m --data {data} --out {out}",
            "{examples}/recommend_bench {out}/train.csv speed",
        ],
        peer: &[
            "{python} {bench}/recsys_baselines.py --set movielens_1m --data {data} --out {out} --algos ease,als --threads 1 --grid {\"ease\":{\"reg\":[300]},\"als\":{\"factors\":[32],\"regularization\":[10.0],\"alpha\":[5.0]}}",
        ],
        figures: &[
            Figure {
                what: "EASE, 3,496 items: training, SciPy with BLAS",
                bar: "ratio <= 1",
                unit: "CPU s",
                ours: &["method=ease ", "fit_cpu_s="],
                peer: &["\nease {", "train_cpu_s"],
            },
            Figure {
                what: "  serving one customer, about 84 weights kept per item",
                bar: "<= .05 ms",
                unit: "ms",
                ours: &["method=ease-84 ", "one_customer_ms="],
                peer: &["\nease {", "lat_ms"],
            },
            Figure {
                what: "  serving all customers",
                bar: ">= 50,000/CPU s",
                unit: "/s",
                ours: &["method=ease-84 ", "customers_per_cpu_s="],
                peer: &["\nease {", "bulk_users_cpu_s"],
            },
            Figure {
                what: "iALS, 32 factors, 15 rounds: training, implicit",
                bar: "<= .9 CPU s",
                unit: "CPU s",
                ours: &["method=ials ", "fit_cpu_s="],
                peer: &["\nals {", "train_cpu_s"],
            },
        ],
    },
];

/// What the shared scorer prints of our lists, and of the peer's in its own words.
const NDCG: &[&str] = &["\"ndcg@10"];
const RECALL: &[&str] = &["\"recall@20"];
const PEER_NDCG: &[&str] = &["\"score\"", "\"ndcg@10"];
const PEER_RECALL: &[&str] = &["\"score\"", "\"recall@20"];

/// A file of reference cases, all of which should agree.
macro_rules! agree {
    ($file:literal, $cases:literal) => {
        Duel {
            part: "check",
            ours: &[concat!("{perennial} learn check {reference}/", $file)],
            peer: &[],
            figures: &[Figure {
                what: concat!($file, ": cases that agree with the public tools"),
                bar: $cases,
                unit: "",
                ours: &[concat!($file, ":")],
                peer: &[],
            }],
        }
    };
}

const AGREE: &[Duel] = &[
    agree!("clv.json", ">= 36"),
    agree!("experiments.json", ">= 151"),
    agree!("linkage.json", ">= 10"),
    agree!("phones.json", ">= 120"),
    agree!("segmentation.json", ">= 18"),
    agree!("sentiment.json", ">= 337"),
    agree!("strings.json", ">= 244"),
    agree!("treeshap.json", ">= 2"),
    agree!("uplift.json", ">= 3"),
];

const LIFETIME: &[Duel] = &[Duel {
    part: "clv",
    ours: &["{examples}/clv_bench {data}/cdnow_summary/cdnow_summary.csv 1000000"],
    peer: &["{python} {bench}/clv_ref.py --summary {data}/cdnow_summary/cdnow_summary.csv --out {out}/clv.json"],
    figures: &[
        Figure {
            what: "BG/NBD on 2,357 customers, fit: lifetimes",
            bar: "<= .002 s",
            unit: "CPU s",
            ours: &["BG/NBD", "fit"],
            peer: &["bgnbd", "fit"],
        },
        Figure {
            what: "BG/NBD on 1,000,000 customers, days: fit",
            bar: "<= .3 s",
            unit: "CPU s",
            ours: &["simulated, days", "BG/NBD", "fit"],
            peer: &[],
        },
    ],
}];

const SEGMENT: &[Duel] = &[
    Duel {
        part: "segment",
        ours: &["{python} {peers} kmeans-make {bench} {out}", "{examples}/segment_bench {out}/rows.f64 8 12 5"],
        peer: &["{python} {peers} kmeans {out}"],
        figures: &[
            Figure {
                what: "k-means 1,000,000 x 8, k = 12: scikit-learn",
                bar: "ratio <= .5",
                unit: "CPU s",
                ours: &["all runs: median"],
                peer: &["k-means: median"],
            },
            Figure {
                what: "  inertia: our worst of five, their best",
                bar: "ratio <= 1.001",
                unit: "",
                ours: &["inertia at worst"],
                peer: &["inertia best"],
            },
            Figure {
                what: "  placing one profile",
                bar: "< 1,000 ns",
                unit: "ns",
                ours: &["assign one by one", "CPU s"],
                peer: &[],
            },
        ],
    },
    Duel {
        part: "shap",
        ours: &["{python} {peers} shap-make {bench} {out}", "{examples}/shap_bench {out}/surrogate.json"],
        peer: &["{python} {peers} shap {out}"],
        figures: &[
            Figure {
                what: "TreeSHAP per 1,000 rows of a surrogate: LightGBM",
                bar: "ratio <= .2",
                unit: "CPU s",
                ours: &["classes:"],
                peer: &["rows:"],
            },
            Figure {
                what: "  largest difference, in millionths",
                bar: "<= 1",
                unit: "",
                ours: &["largest difference"],
                peer: &[],
            },
        ],
    },
];

const LINK: &[Duel] = &[
    Duel {
        part: "link",
        ours: &["{examples}/link_bench {data}/febrl/febrl3.csv --id rec_id"],
        peer: &["{python} {bench}/linkage_bench.py --set febrl3 --tool splink --data {data}/linkage"],
        figures: &[Figure {
            what: "FEBRL 3 at the default threshold, pair F1: Splink",
            bar: ">= .998",
            unit: "",
            ours: &["pairs at 0.5", "F1"],
            peer: &["at_0_5", "f1"],
        }],
    },
    Duel {
        part: "link",
        ours: &["{examples}/link_bench {data}/linkage/fake_1000.csv"],
        peer: &["{python} {bench}/linkage_bench.py --set fake1000 --tool splink --data {data}/linkage"],
        figures: &[Figure {
            what: "fake_1000 at the default threshold, pair F1: Splink",
            bar: ">= .92",
            unit: "",
            ours: &["pairs at 0.5", "F1"],
            peer: &["at_0_5", "f1"],
        }],
    },
    Duel {
        part: "link",
        ours: &["{examples}/link_bench {data}/linkage/historical50k.csv.gz"],
        peer: &["{python} {bench}/linkage_bench.py --set historical50k --tool splink --data {data}/linkage"],
        figures: &[Figure {
            what: "historical 50k, cluster pair F1: Splink",
            bar: ">= .87",
            unit: "",
            ours: &["own clusters", "F1"],
            peer: &["clusters_0_95", "pair_f1"],
        }],
    },
    Duel {
        part: "link-million",
        ours: &[
            "{python} {bench}/linkage_synth.py 1000000 7 {out}/persons.csv",
            "{examples}/link_bench {out}/persons.csv --lookup",
        ],
        peer: &["{python} {bench}/linkage_bench.py --set CSV:{out}/persons.csv --tool splink"],
        figures: &[
            Figure {
                what: "1,000,000 records, reading included: Splink",
                bar: "<= 6 s",
                unit: "CPU s",
                ours: &["cpu"],
                peer: &["total_s"],
            },
            Figure { what: "  memory", bar: "<= 1,000 MB", unit: "MB", ours: &["peak"], peer: &["peak_mb"] },
            Figure {
                what: "  cluster pair F1",
                bar: "-",
                unit: "",
                ours: &["own clusters", "F1"],
                peer: &["clusters_0_95", "pair_f1"],
            },
            Figure {
                what: "  one new person against them, median",
                bar: "< 1 ms",
                unit: "ms",
                ours: &["look-up takes"],
                peer: &[],
            },
        ],
    },
];

const EXPERIMENT: &[Duel] = &[
    Duel {
        part: "bandit",
        ours: &["{python} {peers} bandit-make {out}", "{examples}/bandit_bench 10000 3 {out}/rounds.f64"],
        peer: &["{python} {peers} bandit {bench}"],
        figures: &[
            Figure {
                what: "contextual bandit, regret of 10,000 rounds: LinUCB",
                bar: "ratio <= 1",
                unit: "",
                ours: &["B LinUCB", "regret"],
                peer: &["B LinUCB", "regret"],
            },
            Figure {
                what: "  decisions with their updates per CPU second",
                bar: ">= 1,000,000",
                unit: "1/s",
                ours: &["B LinUCB", "games,"],
                peer: &["B LinUCB", "+-", ", "],
            },
        ],
    },
    Duel {
        part: "uplift",
        ours: &[
            "{python} {peers} uplift-split {data}/growth/hillstrom.csv.gz {out}",
            "{examples}/uplift_bench {data}/growth/hillstrom.csv.gz womens {out}/split.csv",
        ],
        peer: &["{python} {bench}/uplift_bench.py bench {data}/growth/hillstrom.csv.gz"],
        figures: &[
            Figure {
                what: "Hillstrom women's mail, normalised Qini: X-learner",
                bar: ">= .055",
                unit: "",
                ours: &["automatic", "Qini"],
                peer: &["womens", "x_learner", "qini_auc"],
            },
            Figure { what: "  its interval from", bar: "-", unit: "", ours: &["automatic", "("], peer: &[] },
            Figure { what: "  to", bar: "-", unit: "", ours: &["automatic", " to "], peer: &[] },
        ],
    },
];

const PROPENSITY: &[Duel] = &[
    Duel {
        part: "propensity",
        ours: &[
            "{python} {peers} cdnow-make {data}/cdnow_summary/cdnow_sample_transactions.csv {out}",
            "{python} {bench}/propensity_bench.py folds {out}/cdnow.csv 0 {out}/folds.csv --target bought",
            "{examples}/propensity_bench {out}/cdnow.csv {out}/folds.csv bought 3",
        ],
        peer: &[
            "{python} {bench}/propensity_bench.py frame {out}/cdnow.csv {out}/folds.csv --target bought --tools lgbm",
        ],
        figures: &[Figure {
            what: "CDNOW, who buys again, untuned, AUC: LightGBM tuned",
            bar: ">= .764",
            unit: "",
            ours: &["\nAUC"],
            peer: &["lgbm_tuned", "auc_mean"],
        }],
    },
    Duel {
        part: "propensity",
        ours: &["{examples}/propensity_bench {data}/telco/telco_churn.csv {data}/telco/folds.csv Churn 3"],
        peer: &[
            "{python} {bench}/propensity_bench.py telco {data}/telco/telco_churn.csv {data}/telco/folds.csv --tools logit,lgbm",
        ],
        figures: &[
            Figure {
                what: "Telco churn, untuned, AUC: LightGBM tuned",
                bar: ">= .850",
                unit: "",
                ours: &["\nAUC"],
                peer: &["lgbm_tuned", "auc_mean"],
            },
            Figure {
                what: "  fit of four fifths",
                bar: "<= .1 s",
                unit: "CPU s",
                ours: &["median fit"],
                peer: &["lgbm_tuned", "fit_s_median"],
            },
        ],
    },
];

const FEELINGS: &[Duel] = &[Duel {
    part: "sentiment",
    ours: &["{python} {peers} reviews {data} {out}", "{examples}/sentiment_bench {out}"],
    peer: &["{python} {peers} sentiment {out}/sentiment"],
    figures: &[
        Figure {
            what: "sentiment, five folds over three sites: words, characters and VADER",
            bar: ">= .868",
            unit: "",
            ours: &["five-fold accuracy"],
            peer: &["five-fold accuracy"],
        },
        Figure {
            what: "  lexicon, sentences per CPU second: VADER",
            bar: ">= 500,000",
            unit: "1/s",
            ours: &["lexicon:", "CPU s\n"],
            peer: &["VADER:"],
        },
        Figure {
            what: "  intents of banking77, unseen questions: words and characters",
            bar: ">= .90",
            unit: "",
            ours: &["intent right in"],
            peer: &["intents accuracy"],
        },
    ],
}];

/// Runs the duels whose part is wanted.
pub(super) fn run(plan: &Plan, table: &mut Table, wanted: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let duels: Vec<&Duel> = DUELS.iter().copied().flatten().filter(|duel| wanted(duel.part)).collect();
    let Some(shared) = shared(plan) else {
        if !duels.is_empty() {
            println!("perennial-learn: left out; set PERENNIAL_SHARED to the folder that holds data and peers");
        }
        return Ok(());
    };
    for duel in duels {
        fight(plan, table, &shared, duel)?;
    }
    Ok(())
}

fn fight(plan: &Plan, table: &mut Table, shared: &Path, duel: &Duel) -> Result<(), String> {
    let scratch = Scratch::new(duel.part)?;
    let chain = |commands: &[&str]| -> Result<String, String> {
        let mut said = String::new();
        for command in commands {
            said = step(&words(plan, shared, &scratch, command))?;
        }
        Ok(said)
    };
    eprintln!("{}", duel.figures.first().map_or(duel.part, |figure| figure.what));
    let ours = match chain(duel.ours) {
        Ok(said) => said,
        Err(why) => {
            println!("{}: left out: {why}", duel.part);
            return Ok(());
        }
    };
    let theirs = if duel.peer.is_empty() { None } else { Some(chain(duel.peer)) };
    if let Some(Err(why)) = &theirs {
        println!("{}: the peer was not run: {why}", duel.part);
    }
    let theirs = theirs.and_then(Result::ok);
    for row in duel.figures {
        let ours = number_after(&ours, row.ours).ok_or_else(|| format!("{}: no figure of ours", row.what))?;
        let theirs = theirs.as_deref().filter(|_| !row.peer.is_empty()).and_then(|said| number_after(said, row.peer));
        table.put(row.what, row.bar, row.unit, ours, theirs);
    }
    Ok(())
}

fn words(plan: &Plan, shared: &Path, scratch: &Scratch, command: &str) -> Vec<String> {
    let python = std::env::var("PERENNIAL_PYTHON").unwrap_or_else(|_| "python3".into());
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let known = [
        ("{perennial}", path(plan.programs.join("perennial"))),
        ("{examples}", path(plan.programs.join("examples"))),
        ("{python}", python),
        ("{peers}", path(plan.root.join("xtask/src/bench/peers.py"))),
        ("{bench}", path(shared.join("bench"))),
        ("{data}", path(shared.join("data"))),
        ("{reference}", path(shared.join("reference"))),
        ("{out}", scratch.text()),
    ];
    let fill = |word: &str| known.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value));
    command.split_whitespace().map(fill).collect()
}

/// Runs one command; numerical libraries get one thread, as ours do, and choose their own kernels.
fn step(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("an empty command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove("OPENBLAS_CORETYPE").env_remove("OPENBLAS_L2_SIZE");
    for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NTHREADS"] {
        command.env(threads, "1");
    }
    command.env("BENCH_CLOCK", "cpu");
    let ran = command.output().map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    if ran.status.success() {
        return Ok(said);
    }
    let wrong = String::from_utf8_lossy(&ran.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), wrong.lines().last().unwrap_or("failed")))
}

/// The number after some words that follow each other in a text.
fn number_after(text: &str, words: &[&str]) -> Option<f64> {
    let mut rest = text;
    for word in words {
        rest = &rest[rest.find(word)? + word.len()..];
    }
    let rest = rest.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '-' && c != '.');
    let end = rest.find(|c: char| !c.is_ascii_digit() && !"-+.e".contains(c)).unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number_after;

    #[test]
    fn a_figure_is_read_after_its_words() {
        let said = r#"ease {"params": {"reg": 300}, "score": {"users": 9, "ndcg@10": 0.3314, "recall@20": 2.5e-1}}"#;
        assert_eq!(number_after(said, &["score", "ndcg@10"]), Some(0.3314));
        assert_eq!(number_after(said, &["\"recall@20"]), Some(0.25));
        assert_eq!(number_after("fit=0.45 s; 12,000", &["fit"]), Some(0.45));
        assert_eq!(number_after(said, &["als"]), None);
        assert_eq!(number_after("B regret 156.8 +- 6.6, 9573 rounds/s", &["B", "+-", ", "]), Some(9573.0));
    }
}
