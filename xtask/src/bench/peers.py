#!/usr/bin/env python3
"""Peers of perennial-learn that the shared bench scripts do not time by themselves.

usage: peers.py shap-make BENCH OUT     a LightGBM surrogate of 200,000 x 8 rows, its trees and contributions
       peers.py shap OUT                LightGBM's own contributions, CPU seconds per 1,000 rows
       peers.py kmeans-make BENCH OUT   1,000,000 x 8 rows as little-endian doubles
       peers.py kmeans OUT              scikit-learn's k-means, k = 12, five starts one by one
       peers.py reviews DATA OUT        the labelled sentences of three sites, and banking77 beside them
       peers.py sentiment DIR           VADER, and words + characters + VADER, five folds
       peers.py bandit-make OUT         the rounds of the contextual problem
       peers.py bandit BENCH            LinUCB in numpy on the same rounds
       peers.py cdnow-make DATA OUT     who of CDNOW's customers buys again, from the nine months before
       peers.py uplift-split DATA OUT   the half of the women's e-mail test that the peer holds out
pip install numpy pandas scikit-learn lightgbm vaderSentiment
"""
import json
import statistics
import sys
import time

import numpy as np


def cpu(task, times=1):
    """What a task answers, and the median CPU seconds of some runs."""
    spent, answer = [], None
    for _ in range(times):
        start = time.process_time()
        answer = task()
        spent.append(time.process_time() - start)
    return answer, statistics.median(spent)


def synth(bench, rows, seed):
    sys.path.insert(0, bench)
    from segmentation_bench import synth
    return synth(rows, seed)[0]


def nodes(tree, out):
    """A LightGBM tree in our form: a value at or below a threshold goes left, so ours is the next number."""
    at = len(out)
    out.append(None)
    if "split_feature" not in tree:
        out[at] = {"Leaf": {"value": tree["leaf_value"], "cover": float(tree["leaf_count"])}}
        return at
    left, right = nodes(tree["left_child"], out), nodes(tree["right_child"], out)
    out[at] = {"Split": {"feature": tree["split_feature"], "threshold": float(np.nextafter(tree["threshold"], np.inf)),
                         "left": left, "right": right, "missing_left": bool(tree["default_left"]),
                         "cover": float(tree["internal_count"])}}
    return at


def shap_make(bench, out):
    import lightgbm as lgb
    from sklearn.cluster import KMeans
    table = synth(bench, 200_000, 3)
    label = KMeans(6, n_init=1, random_state=0).fit_predict(table)
    model = lgb.LGBMClassifier(n_estimators=100, num_leaves=31, verbose=-1, random_state=0, n_jobs=1)
    booster = model.fit(table[:50_000], label[:50_000]).booster_
    booster.save_model(f"{out}/surrogate.txt")
    np.save(f"{out}/rows.npy", table[:1_000])
    classes = [{"features": 8, "base": 0.0, "trees": []} for _ in range(6)]
    for i, tree in enumerate(booster.dump_model()["tree_info"]):
        grown = []
        nodes(tree["tree_structure"], grown)
        classes[i % 6]["trees"].append({"nodes": grown})
    found = booster.predict(table[:1_000], pred_contrib=True, num_threads=1).reshape(1_000, 6, 9)
    with open(f"{out}/surrogate.json", "w") as file:
        json.dump({"classes": classes, "rows": table[:1_000].tolist(), "contributions": found.tolist()}, file)


def shap(out):
    import lightgbm as lgb
    booster, table = lgb.Booster(model_file=f"{out}/surrogate.txt"), np.load(f"{out}/rows.npy")
    _, spent = cpu(lambda: booster.predict(table, pred_contrib=True, num_threads=1), 3)
    print(f"LightGBM contributions per 1,000 rows: {spent:.3f} CPU s")


def kmeans_make(bench, out):
    np.ascontiguousarray(synth(bench, 1_000_000, 1)).tofile(f"{out}/rows.f64")


def kmeans(out):
    from sklearn.cluster import KMeans
    table = np.fromfile(f"{out}/rows.f64").reshape(-1, 8)
    runs = [cpu(lambda s=s: KMeans(12, n_init=1, random_state=s).fit(table)) for s in range(5)]
    print(f"k-means: median {statistics.median(r[1] for r in runs):.3f} CPU s")
    print(f"inertia best {min(r[0].inertia_ for r in runs):.3f} worst {max(r[0].inertia_ for r in runs):.3f}")


REVIEWS = "sentiment-5.0.2.tgz"
REVIEWS_SHA256 = "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f"


def reviews(data, out):
    """The UCI's sentences about films are not among the shared sets: a package of npm has them as test data."""
    import hashlib
    import subprocess
    import tarfile
    from pathlib import Path
    data, out = Path(data).resolve(), Path(out).resolve()
    (out / "sentiment").mkdir(exist_ok=True)
    for file in [*(data / "sentiment").glob("*.txt"), data / "banking77"]:
        (out / file.relative_to(data)).symlink_to(file)
    films = out / "sentiment/imdb.txt"
    if films.exists():
        return
    subprocess.run(["npm", "pack", "--silent", "sentiment@5.0.2"], cwd=out, check=True, capture_output=True, timeout=120)
    if hashlib.sha256((out / REVIEWS).read_bytes()).hexdigest() != REVIEWS_SHA256:
        sys.exit(f"{REVIEWS} is another file than the one that was measured")
    with tarfile.open(out / REVIEWS) as package:
        rows = json.load(package.extractfile("package/test/fixtures/imdb.json"))
    films.write_text("".join(f"{row['text'].strip()}\t{row['class']}\n" for row in rows if row["text"]), encoding="utf-8")


def labelled(folder):
    texts, labels = [], []
    for name in ("amazon_cells", "yelp", "imdb"):
        lines = open(f"{folder}/{name}.txt", encoding="utf-8", errors="replace").read().split("\n")
        for text, _, label in (line.rpartition("\t") for line in lines):
            if text and label.strip() in ("0", "1"):
                texts.append(text.strip())
                labels.append(int(label))
    return texts, np.array(labels)


def sentiment(folder):
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_union
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    texts, labels = labelled(folder)
    analyser = SentimentIntensityAnalyzer()
    scores, spent = cpu(lambda: [list(analyser.polarity_scores(text).values()) for text in texts])
    scores, right = np.array(scores), []
    print(f"VADER: {len(texts) / spent:.0f} sentences per CPU second, right in {((scores[:, 3] > 0) == labels).mean():.4f}")
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(texts, labels):
        words = make_union(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
                           TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True))
        seen, unseen = words.fit_transform([texts[i] for i in train]), words.transform([texts[i] for i in test])
        model = LogisticRegression(C=8, max_iter=3000).fit(hstack([seen, csr_matrix(scores[train] * 2)]), labels[train])
        right.append((model.predict(hstack([unseen, csr_matrix(scores[test] * 2)])) == labels[test]).mean())
    print(f"five-fold accuracy {np.mean(right):.4f}")
    intents(f"{folder}/../banking77")


def intents(folder):
    """Words, characters and a linear machine on the questions of banking77."""
    from pathlib import Path

    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC
    if not Path(folder, "train.csv.gz").exists():
        return
    train, test = (pd.read_csv(f"{folder}/{part}.csv.gz") for part in ("train", "test"))
    words = make_union(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
                       TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True))
    model = make_pipeline(words, LinearSVC(C=1)).fit(train.text, train.category)
    print(f"intents accuracy {(model.predict(test.text) == test.category).mean():.4f}")


def bandit_make(out, rounds=10_000):
    arms = np.random.default_rng(123).normal(size=(5, 10))
    arms /= np.linalg.norm(arms, axis=1)[:, None]
    games = []
    for seed in range(3):
        random = np.random.default_rng(1000 + seed)
        context = random.normal(size=(rounds, 10))
        context /= np.linalg.norm(context, axis=1)[:, None]
        worth = 1 / (1 + np.exp(2.5 - 3 * context @ arms.T))
        games.append(np.hstack([context, worth, random.random((rounds, 1))]))
    np.ascontiguousarray(np.vstack(games)).tofile(f"{out}/rounds.f64")


def bandit(bench):
    sys.path.insert(0, bench)
    from bandit_bench import context
    context(10_000, 3)


def cdnow_make(data, out):
    import pandas as pd
    table = pd.read_csv(data, parse_dates=["date"]).sort_values("date", kind="stable")
    end = pd.Timestamp("1997-09-30")
    known = table[table.date <= end].groupby("customer_id")
    frame = pd.DataFrame({
        "recency": (end - known.date.max()).dt.days, "tenure": (end - known.date.min()).dt.days,
        "orders": known.date.nunique(), "spend": known.amount.sum(), "mean_spend": known.amount.mean(),
        "last_spend": known.amount.last()})
    frame["bought"] = frame.index.isin(table[table.date > end].customer_id).astype(int)
    frame.rename_axis("id").reset_index().to_csv(f"{out}/cdnow.csv", index=False)


def uplift_split(data, out):
    import pandas as pd
    from sklearn.model_selection import train_test_split
    table = pd.read_csv(data)
    rows = np.flatnonzero(table.segment.isin(["Womens E-Mail", "No E-Mail"]))
    treated = (table.segment[rows] != "No E-Mail").astype(int)
    _, test = train_test_split(rows, test_size=.5, random_state=42, stratify=treated.astype(str) + table.visit[rows].astype(str))
    half = np.zeros(len(table), int)
    half[test] = 1
    pd.DataFrame({"row": range(len(half)), "test": half}).to_csv(f"{out}/split.csv", index=False)


if __name__ == "__main__":
    known = {f.__name__.replace("_", "-"): f for f in
             (shap_make, shap, kmeans_make, kmeans, reviews, sentiment, bandit_make, bandit, cdnow_make,
              uplift_split)}
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit(__doc__)
    known[sys.argv[1]](*sys.argv[2:])
