//! How good is a clustering? Silhouette (Rousseeuw 1987), Calinski & Harabasz (1974), Davies & Bouldin (1979).

use super::points::{Points, squared_distance};
use crate::input::{BadInput, Problem, real, same_length};
use crate::seed::{below, generator};

/// Rows per cluster, after checking that labels fit the rows and name two clusters at least.
fn sizes(points: &Points, labels: &[usize]) -> Result<Vec<usize>, BadInput> {
    same_length("labels", labels.len(), points.len())?;
    let k = labels.iter().max().map_or(0, |m| m + 1);
    let mut sizes = vec![0; k];
    labels.iter().for_each(|&c| sizes[c] += 1);
    if sizes.iter().filter(|s| **s > 0).count() < 2 {
        return Err(BadInput::new("labels", Problem::OneClass, "compare two clusters at least"));
    }
    Ok(sizes)
}

/// The mean silhouette, exactly: between -1 and 1, higher is better. Quadratic time.
///
/// # Errors
/// When the labels' length differs or only one cluster occurs.
pub fn silhouette(points: &Points, labels: &[usize]) -> Result<f64, BadInput> {
    let sizes = sizes(points, labels)?;
    let mut totals = vec![0.0; sizes.len()];
    let mut sum = 0.0;
    for (i, row) in points.rows().enumerate() {
        totals.fill(0.0);
        for (other, &c) in points.rows().zip(labels) {
            totals[c] += squared_distance(row, other).sqrt();
        }
        sum += silhouette_of(&totals, &sizes, labels[i]);
    }
    Ok(sum / real(points.len()))
}

fn silhouette_of(totals: &[f64], sizes: &[usize], own: usize) -> f64 {
    if sizes[own] < 2 {
        return 0.0;
    }
    let inside = totals[own] / real(sizes[own] - 1);
    let outside = (0..sizes.len())
        .filter(|&c| c != own && sizes[c] > 0)
        .map(|c| totals[c] / real(sizes[c]))
        .fold(f64::INFINITY, f64::min);
    let wide = inside.max(outside);
    if wide > 0.0 { (outside - inside) / wide } else { 0.0 }
}

/// The mean silhouette of at most `rows` rows drawn with the seed, within the drawn set.
///
/// # Errors
/// As [`silhouette`].
pub fn silhouette_sampled(points: &Points, labels: &[usize], rows: usize, seed: u64) -> Result<f64, BadInput> {
    same_length("labels", labels.len(), points.len())?;
    if points.len() <= rows {
        return silhouette(points, labels);
    }
    let mut order: Vec<usize> = (0..points.len()).collect();
    let mut rng = generator(seed);
    for i in 0..rows {
        let j = i + below(&mut rng, points.len() - i);
        order.swap(i, j);
    }
    order.truncate(rows);
    let picked: Vec<usize> = order.iter().map(|&i| labels[i]).collect();
    silhouette(&points.pick(&order), &picked)
}

/// Cluster centres and the squared distance of each row to its own.
fn centres(points: &Points, labels: &[usize], sizes: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let d = points.dimensions();
    let mut centres = vec![0.0; sizes.len() * d];
    for (row, &c) in points.rows().zip(labels) {
        centres[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
    centres.iter_mut().enumerate().for_each(|(i, s)| *s /= real(sizes[i / d].max(1)));
    let gaps = points.rows().zip(labels).map(|(row, &c)| squared_distance(row, &centres[c * d..(c + 1) * d])).collect();
    (centres, gaps)
}

/// The variance between clusters over the variance within; higher is better.
///
/// # Errors
/// As [`silhouette`], or when rows equal their centres.
pub fn calinski_harabasz(points: &Points, labels: &[usize]) -> Result<f64, BadInput> {
    let sizes = sizes(points, labels)?;
    let (centres, gaps) = centres(points, labels, &sizes);
    let k = real(sizes.iter().filter(|s| **s > 0).count());
    let within: f64 = gaps.iter().sum();
    let n = real(points.len());
    if within <= 0.0 || n <= k {
        return Err(BadInput::new("labels", Problem::Constant, "compare clusters that vary inside"));
    }
    let mean = points.means();
    let between: f64 =
        centres.chunks_exact(points.dimensions()).zip(&sizes).map(|(c, &s)| real(s) * squared_distance(c, &mean)).sum();
    Ok(between / (k - 1.0) * (n - k) / within)
}

/// The mean over clusters of the worst ratio of widths to separation; lower is better.
///
/// # Errors
/// As [`silhouette`].
pub fn davies_bouldin(points: &Points, labels: &[usize]) -> Result<f64, BadInput> {
    let sizes = sizes(points, labels)?;
    let d = points.dimensions();
    let (centres, gaps) = centres(points, labels, &sizes);
    let mut widths = vec![0.0; sizes.len()];
    gaps.iter().zip(labels).for_each(|(g, &c)| widths[c] += g.sqrt());
    let used: Vec<usize> = (0..sizes.len()).filter(|&c| sizes[c] > 0).collect();
    used.iter().for_each(|&c| widths[c] /= real(sizes[c]));
    let centre = |c: usize| &centres[c * d..(c + 1) * d];
    let worst = |a: usize| {
        let ratios = used
            .iter()
            .filter(|&&b| b != a)
            .map(|&b| (widths[a] + widths[b]) / squared_distance(centre(a), centre(b)).sqrt());
        ratios.fold(0.0, f64::max)
    };
    Ok(used.iter().map(|&a| worst(a)).sum::<f64>() / real(used.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_clustering_beats_a_bad_one_on_every_index() {
        let points = Points::new(vec![0.0, 0.2, 0.1, 9.0, 9.3, 9.1], 1).unwrap();
        let (good, bad) = ([0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1]);
        assert!(silhouette(&points, &good).unwrap() > 0.9 && silhouette(&points, &bad).unwrap() < 0.1);
        assert!(calinski_harabasz(&points, &good).unwrap() > calinski_harabasz(&points, &bad).unwrap());
        assert!(davies_bouldin(&points, &good).unwrap() < davies_bouldin(&points, &bad).unwrap());
        assert!(silhouette(&points, &[0; 6]).is_err() && silhouette(&points, &[0, 1]).is_err());
    }
}
