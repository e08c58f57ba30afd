//! Answers to `segmentation.json`.

use perennial_learn::segment::{self as s, Points, Scaling};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::Desk;

type Input = Value;

/// The data files of the cases, and the centres that later cases refer to.
#[derive(Default)]
pub(super) struct Memory {
    points: BTreeMap<(String, Vec<String>), Points>,
    /// By the case that found them.
    centres: BTreeMap<String, Vec<f64>>,
}

/// The features that a case names, or those after the first column, logged and standardised.
fn load(desk: &mut Desk, file: &str, features: &Value) -> Result<Points, String> {
    let table = desk.table(file)?;
    let named: Vec<String> = match features.as_array() {
        Some(names) => names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        None => table.header.iter().skip(1).cloned().collect(),
    };
    let key = (file.to_owned(), named);
    if let Some(points) = desk.segmentation.points.get(&key) {
        return Ok(points.clone());
    }
    let mut columns = Vec::new();
    for name in &key.1 {
        let at = table.header.iter().position(|header| header == name);
        let at = at.ok_or_else(|| format!("{file} has no column `{name}`"))?;
        columns.push(
            table.columns[at]
                .iter()
                .map(|v| v.parse().map_err(|_| format!("`{v}` is not a number")))
                .collect::<Result<Vec<f64>, _>>()?,
        );
    }
    let raw = Points::from_columns(&columns).map_err(text)?;
    let scaled =
        Scaling::learn(&raw, &vec![true; columns.len()]).and_then(|scaling| scaling.apply(&raw)).map_err(text)?;
    desk.segmentation.points.insert(key, scaled.clone());
    Ok(scaled)
}

fn points(desk: &mut Desk, input: &Input) -> Result<Points, String> {
    let all = load(desk, input["file"].as_str().ok_or("a case lacks its file")?, &input["features"])?;
    if input["row_step"].is_null() || input["max_rows"].is_null() {
        return Ok(all);
    }
    let (step, most) = (whole(&input["row_step"])?, whole(&input["max_rows"])?);
    Ok(all.pick(&(0..all.len()).step_by(step.max(1)).take(most).collect::<Vec<_>>()))
}

fn text(why: impl std::fmt::Display) -> String {
    why.to_string()
}

fn whole(v: &Value) -> Result<usize, String> {
    v.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| format!("{v} is not a count"))
}

fn labels(v: &Value) -> Result<Vec<usize>, String> {
    v.as_array().ok_or("labels are missing")?.iter().map(whole).collect()
}

/// Answers one case.
pub(super) fn answer(desk: &mut Desk, id: &str, kind: &str, input: &Input) -> Result<Value, String> {
    match kind {
        "rfm.preprocess" => Ok(preprocess(&points(desk, input)?)),
        "kmeans.lloyd_from_init" => lloyd(desk, id, input),
        "kmeans.best_inertia" => best_inertia(&points(desk, input)?, input),
        "gmm.em_from_init" => mixture(desk, input),
        "gmm.best_bic" => best_bic(&points(desk, input)?, input),
        "labels.agreement" => agreement(input),
        "dbscan" => dbscan(&points(desk, input)?, input),
        "agglomerative.ward" => ward(&points(desk, input)?, input),
        "hdbscan" => hdbscan(&points(desk, input)?, input),
        other => Err(format!("no answer for kind {other}")),
    }
}

fn preprocess(points: &Points) -> Value {
    let column = |j: usize| points.rows().map(move |r| r[j]);
    let ends = |pick: fn(f64, f64) -> f64, start: f64| {
        (0..points.dimensions()).map(|j| column(j).fold(start, pick)).collect::<Vec<_>>()
    };
    json!({
        "rows": points.len(),
        "first3": points.rows().take(3).collect::<Vec<_>>(),
        "column_min": ends(f64::min, f64::INFINITY),
        "column_max": ends(f64::max, f64::NEG_INFINITY),
    })
}

fn lloyd(desk: &mut Desk, id: &str, input: &Input) -> Result<Value, String> {
    let points = self::points(desk, input)?;
    let rows = labels(&input["init_rows"])?;
    if rows.is_empty() || rows.iter().any(|&row| row >= points.len()) {
        return Err("`init_rows` are not rows of the file".into());
    }
    let start = points.pick(&rows);
    let fit = s::KMeans::fit_from(&points, start.values()).map_err(text)?;
    desk.segmentation.centres.insert(id.to_owned(), fit.model.centres.clone());
    Ok(json!({
        "centres": fit.model.centres.chunks_exact(points.dimensions()).collect::<Vec<_>>(),
        "inertia": fit.inertia,
        "sizes": fit.model.sizes,
        "labels_first50": fit.labels.iter().take(50).collect::<Vec<_>>(),
        "silhouette": s::silhouette(&points, &fit.labels).map_err(text)?,
        "calinski_harabasz": s::calinski_harabasz(&points, &fit.labels).map_err(text)?,
        "davies_bouldin": s::davies_bouldin(&points, &fit.labels).map_err(text)?,
    }))
}

/// The case's expected object is a bar; the worst of five runs must come below it.
fn best_inertia(points: &Points, input: &Input) -> Result<Value, String> {
    let mut worst = 0.0_f64;
    for seed in 0..5 {
        worst = worst.max(s::KMeans::fit(points, whole(&input["k"])?, seed).map_err(text)?.inertia);
    }
    Ok(json!({ "max_allowed_inertia": worst }))
}

/// For information: the floor on covariances makes this another model than the reference tool's.
fn best_bic(points: &Points, input: &Input) -> Result<Value, String> {
    let m = s::Mixture::fit(points, whole(&input["k"])?, s::MixtureSettings::default(), 1).map_err(text)?;
    Ok(json!({ "info_bic": m.bic(points), "info_mean_log_likelihood": m.mean_log_likelihood(points) }))
}

fn mixture(desk: &mut Desk, input: &Input) -> Result<Value, String> {
    let points = self::points(desk, input)?;
    let from = input["means_from"].as_str().ok_or("`means_from` is missing")?;
    let from = from.strip_suffix(" centres").unwrap_or(from);
    let means =
        desk.segmentation.centres.get(from).ok_or_else(|| format!("no case `{from}` before this one gave centres"))?;
    let settings = s::MixtureSettings {
        covariance_floor: input["reg_covar"].as_f64().ok_or("reg_covar is missing")?,
        iterations: whole(&input["iterations"])?,
        tolerance: f64::NEG_INFINITY,
    };
    let m = s::Mixture::fit_from(&points, means, settings).map_err(text)?;
    Ok(
        json!({ "weights": m.weights, "means": m.means.chunks_exact(points.dimensions()).collect::<Vec<_>>(), "mean_log_likelihood": m.mean_log_likelihood(&points), "bic": m.bic(&points), "aic": m.aic(&points) }),
    )
}

fn agreement(input: &Input) -> Result<Value, String> {
    let a = s::agreement(&labels(&input["a"])?, &labels(&input["b"])?).map_err(text)?;
    Ok(json!({ "ari": a.ari, "ami": a.ami, "nmi": a.nmi, "homogeneity": a.homogeneity, "v_measure": a.v_measure }))
}

fn dbscan(points: &Points, input: &Input) -> Result<Value, String> {
    let eps = input["eps"].as_f64().ok_or("eps is missing")?;
    let d = s::dbscan(points, eps, whole(&input["min_samples"])?).map_err(text)?;
    let noise = d.labels.iter().filter(|l| l.is_none()).count();
    Ok(json!({ "clusters": d.clusters, "noise": noise, "core": d.core.iter().filter(|c| **c).count() }))
}

fn sorted_sizes(labels: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    labels.for_each(|l| *sizes.entry(l).or_default() += 1);
    let mut sizes: Vec<usize> = sizes.into_values().collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

fn ward(points: &Points, input: &Input) -> Result<Value, String> {
    let labels = s::ward(points).cut(whole(&input["k"])?).map_err(text)?;
    Ok(json!({ "sizes_sorted": sorted_sizes(labels.into_iter()) }))
}

fn hdbscan(points: &Points, input: &Input) -> Result<Value, String> {
    let h = s::hdbscan(points, whole(&input["min_cluster_size"])?, whole(&input["min_samples"])?).map_err(text)?;
    let noise = h.labels.iter().filter(|l| l.is_none()).count();
    Ok(
        json!({ "clusters": h.stabilities.len(), "info_noise": noise, "info_sizes_sorted": sorted_sizes(h.labels.iter().flatten().copied()) }),
    )
}
