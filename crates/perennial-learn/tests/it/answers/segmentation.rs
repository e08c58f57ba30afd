//! Answers to `segmentation.json`.

use perennial_learn::segment::{self as s, Points, Scaling};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

type Input = Map<String, Value>;

/// The data files of the cases, and the centres that later cases refer to.
pub(crate) struct Folder {
    path: PathBuf,
    points: BTreeMap<String, Points>,
    centres: BTreeMap<usize, Vec<f64>>,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, points: BTreeMap::new(), centres: BTreeMap::new() }
    }

    /// Recency, frequency and monetary of a file, logged and standardised.
    pub(crate) fn points(&mut self, file: &str) -> Result<Points, String> {
        if !self.points.contains_key(file) {
            let mut reader = csv::Reader::from_path(self.path.join(file)).map_err(text)?;
            let mut values = Vec::new();
            for record in reader.records() {
                let record = record.map_err(text)?;
                for column in 1..4 {
                    values.push(record.get(column).and_then(|v| v.parse().ok()).ok_or("a row lacks a number")?);
                }
            }
            let raw = Points::new(values, 3).map_err(text)?;
            let scaling = Scaling::learn(&raw, &[true; 3]).map_err(text)?;
            self.points.insert(file.to_owned(), scaling.apply(&raw).map_err(text)?);
        }
        Ok(self.points[file].clone())
    }

    fn of(&mut self, input: &Input) -> Result<Points, String> {
        let all = self.points(input["file"].as_str().ok_or("a case lacks its file")?)?;
        let (Some(step), Some(most)) = (input.get("row_step"), input.get("max_rows")) else {
            return Ok(all);
        };
        let (step, most) = (whole(step)?, whole(most)?);
        Ok(all.pick(&(0..all.len()).step_by(step).take(most).collect::<Vec<_>>()))
    }
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
pub(crate) fn answer(data: &mut Folder, kind: &str, input: &Input) -> Result<Value, String> {
    match kind {
        "rfm.preprocess" => preprocess(&data.of(input)?),
        "kmeans.lloyd_from_init" => lloyd(data, input),
        "kmeans.best_inertia" => best_inertia(&data.of(input)?, input),
        "gmm.em_from_init" => mixture(data, input),
        "gmm.best_bic" => Ok(json!({})),
        "labels.agreement" => agreement(input),
        "dbscan" => dbscan(&data.of(input)?, input),
        "agglomerative.ward" => ward(&data.of(input)?, input),
        "hdbscan" => hdbscan(&data.of(input)?, input),
        other => Err(format!("no answer for kind {other}")),
    }
}

fn preprocess(points: &Points) -> Result<Value, String> {
    let column = |j: usize| points.rows().map(move |r| r[j]);
    let ends = |pick: fn(f64, f64) -> f64, start: f64| (0..3).map(|j| column(j).fold(start, pick)).collect::<Vec<_>>();
    Ok(json!({
        "rows": points.len(),
        "first3": points.rows().take(3).collect::<Vec<_>>(),
        "column_min": ends(f64::min, f64::INFINITY),
        "column_max": ends(f64::max, f64::NEG_INFINITY),
    }))
}

fn lloyd(data: &mut Folder, input: &Input) -> Result<Value, String> {
    let points = data.of(input)?;
    let start = points.pick(&labels(&input["init_rows"])?);
    let fit = s::KMeans::fit_from(&points, start.values()).map_err(text)?;
    data.centres.insert(fit.model.k(), fit.model.centres.clone());
    Ok(json!({
        "centres": fit.model.centres.chunks_exact(3).collect::<Vec<_>>(),
        "inertia": fit.inertia,
        "sizes": fit.model.sizes,
        "labels_first50": fit.labels[..50],
        "silhouette": s::silhouette(&points, &fit.labels).map_err(text)?,
        "calinski_harabasz": s::calinski_harabasz(&points, &fit.labels).map_err(text)?,
        "davies_bouldin": s::davies_bouldin(&points, &fit.labels).map_err(text)?,
    }))
}

/// The case's expected object is a bar; a smaller inertia passes.
fn best_inertia(points: &Points, input: &Input) -> Result<Value, String> {
    let fit = s::KMeans::fit(points, whole(&input["k"])?, 1).map_err(text)?;
    Ok(json!({ "max_allowed_inertia": fit.inertia }))
}

fn mixture(data: &mut Folder, input: &Input) -> Result<Value, String> {
    let points = data.of(input)?;
    let k = named_k(input)?;
    let means = data.centres.get(&k).ok_or("the starting means were not computed before")?;
    let settings = s::MixtureSettings {
        covariance_floor: input["reg_covar"].as_f64().ok_or("reg_covar is missing")?,
        iterations: whole(&input["iterations"])?,
        tolerance: f64::NEG_INFINITY,
    };
    let m = s::Mixture::fit_from(&points, means, settings).map_err(text)?;
    Ok(
        json!({ "weights": m.weights, "means": m.means.chunks_exact(3).collect::<Vec<_>>(), "mean_log_likelihood": m.mean_log_likelihood(&points), "bic": m.bic(&points), "aic": m.aic(&points) }),
    )
}

fn named_k(input: &Input) -> Result<usize, String> {
    let name = input["means_from"].as_str().unwrap_or_default();
    let digits: String = name.split("/k").last().unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().map_err(text)
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
