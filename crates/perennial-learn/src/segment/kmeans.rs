//! k-means: Lloyd's iteration with Hamerly's bounds (2010), so most rows are not looked at again.
//!
//! [`KMeans::fit`] races many greedy starts on a sample that fits in the cache and finishes the
//! winner on all rows; small sets are their own sample. Results do not depend on the bounds: they
//! only skip distances that cannot matter.

use super::points::{Points, squared_distance};
use super::start::{draw, greedy_plus_plus};
use crate::input::{BadInput, Problem, finite, real, same_length};
use crate::seed::{Rng, below, generator};
use serde::{Deserialize, Serialize};

/// Rows on which starts are raced.
const SAMPLE: usize = 12_000;
/// How many starts are raced.
const STARTS: usize = 10;
/// How many swaps in a row may fail before the winner stands.
const FAILED_SWAPS: usize = 40;
/// Centres handled together, so that a row's distances stay in registers.
const LANES: usize = 4;

/// Centres in the space of the scaled points: the published model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KMeans {
    /// The number of columns.
    pub dimensions: usize,
    /// The centres, row-major: `k * dimensions` values.
    pub centres: Vec<f64>,
    /// Training rows per centre.
    pub sizes: Vec<usize>,
}

/// A model with what was learnt about the training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansFit {
    /// The centres.
    pub model: KMeans,
    /// The cluster of each row.
    pub labels: Vec<usize>,
    /// The sum of squared distances to the centres.
    pub inertia: f64,
    /// Passes over all rows.
    pub iterations: usize,
}

impl KMeans {
    /// Finds `k` groups.
    ///
    /// # Errors
    /// When `k` is zero or there are fewer distinct rows than `k`.
    pub fn fit(points: &Points, k: usize, seed: u64) -> Result<KMeansFit, BadInput> {
        check_k(points, k)?;
        let mut rng = generator(seed);
        let whole = points.len() <= SAMPLE;
        let sample = if whole {
            points.clone()
        } else {
            let picks: Vec<usize> = (0..SAMPLE).map(|_| below(&mut rng, points.len())).collect();
            points.pick(&picks)
        };
        let mut best: Option<KMeansFit> = None;
        for _ in 0..STARTS {
            let start = greedy_plus_plus(&sample, k, &mut rng)?;
            let run = lloyd(&sample, start, 300, 0.0);
            if best.as_ref().is_none_or(|b| run.inertia < b.inertia) {
                best = Some(run);
            }
        }
        let Some(best) = best else { unreachable!("there is at least one start") };
        let best = improve_by_swaps(&sample, best, &mut rng);
        Ok(if whole { best } else { lloyd(points, best.model.centres, 300, 1e-4) })
    }

    /// Runs Lloyd's iteration from given centres until no row changes its cluster.
    ///
    /// # Errors
    /// When `centres` is no multiple of the columns or holds a value that is not finite.
    pub fn fit_from(points: &Points, centres: &[f64]) -> Result<KMeansFit, BadInput> {
        finite("centres", centres)?;
        let d = points.dimensions();
        check_k(points, centres.len() / d)?;
        same_length("centres", centres.len(), centres.len() / d * d)?;
        Ok(lloyd(points, centres.to_vec(), 10_000, 0.0))
    }

    /// The number of groups.
    pub fn k(&self) -> usize {
        self.centres.len() / self.dimensions
    }

    /// One centre.
    pub fn centre(&self, cluster: usize) -> &[f64] {
        &self.centres[cluster * self.dimensions..(cluster + 1) * self.dimensions]
    }

    /// The nearest centre of one scaled row, with the squared distance; ties go to the first.
    pub fn assign(&self, row: &[f64]) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        for (c, centre) in self.centres.chunks_exact(self.dimensions).enumerate() {
            let distance = squared_distance(row, centre);
            if distance < best.1 {
                best = (c, distance);
            }
        }
        best
    }

    /// The nearest centre of every row.
    pub fn assign_all(&self, points: &Points) -> Vec<usize> {
        let table = Table::of(&self.centres, self.dimensions);
        points.rows().map(|row| table.nearest_two(row).0).collect()
    }
}

/// Moves one centre at a time to where the error is (random swap, Fränti 2018): the centres that
/// are missed least are tried first. Repairs starts in which two centres share one group.
fn improve_by_swaps(points: &Points, mut best: KMeansFit, rng: &mut impl Rng) -> KMeansFit {
    let d = points.dimensions();
    let mut failed = 0;
    while failed < FAILED_SWAPS && best.model.k() > 1 {
        let (spared, errors) = spared_most_easily(points, &best.model);
        let total: f64 = errors.iter().sum();
        if total <= 0.0 {
            break;
        }
        let before = best.inertia;
        while failed < FAILED_SWAPS && best.inertia >= before {
            let out = spared[failed % spared.len().min(4)];
            let mut centres = best.model.centres.clone();
            centres[out * d..(out + 1) * d].copy_from_slice(points.row(draw(&errors, total, rng)));
            let run = lloyd(points, centres, 300, 0.0);
            failed += 1;
            if run.inertia < best.inertia * (1.0 - 1e-9) {
                best = run;
                failed = 0;
            }
        }
    }
    best
}

/// The centres, the one that would be missed least first, and each row's squared distance.
fn spared_most_easily(points: &Points, model: &KMeans) -> (Vec<usize>, Vec<f64>) {
    let table = Table::of(&model.centres, model.dimensions);
    let mut missed = vec![0.0; model.k()];
    let mut errors = Vec::with_capacity(points.len());
    for row in points.rows() {
        let (c, first, second) = table.nearest_two(row);
        missed[c] += second - first;
        errors.push(first);
    }
    let mut order: Vec<usize> = (0..model.k()).collect();
    order.sort_by(|&a, &b| missed[a].total_cmp(&missed[b]));
    (order, errors)
}

fn check_k(points: &Points, k: usize) -> Result<(), BadInput> {
    if k == 0 {
        return Err(BadInput::range("k", 0.0, "1 or more"));
    }
    if points.len() < k {
        let problem = Problem::TooFew { found: points.len(), needed: k };
        return Err(BadInput::new("points", problem, "ask for fewer clusters or give more rows"));
    }
    Ok(())
}

/// Centres turned on their side: for each block of centres, dimension by dimension.
struct Table {
    k: usize,
    dimensions: usize,
    blocks: Vec<[f64; LANES]>,
}

impl Table {
    fn of(centres: &[f64], dimensions: usize) -> Self {
        let k = centres.len() / dimensions;
        let mut blocks = Vec::with_capacity(k.div_ceil(LANES) * dimensions);
        for block in 0..k.div_ceil(LANES) {
            for j in 0..dimensions {
                blocks.push(std::array::from_fn(|lane| {
                    let c = block * LANES + lane;
                    if c < k { centres[c * dimensions + j] } else { f64::INFINITY }
                }));
            }
        }
        Self { k, dimensions, blocks }
    }

    /// The nearest centre, its squared distance and the second nearest's.
    #[inline]
    fn nearest_two(&self, row: &[f64]) -> (usize, f64, f64) {
        let (mut best, mut first, mut second) = (0, f64::INFINITY, f64::INFINITY);
        for (b, block) in self.blocks.chunks_exact(self.dimensions).enumerate() {
            let mut distance = [0.0; LANES];
            for (&x, centre) in row.iter().zip(block) {
                for lane in 0..LANES {
                    let gap = x - centre[lane];
                    distance[lane] += gap * gap;
                }
            }
            for (lane, &d) in distance.iter().enumerate() {
                if d < first {
                    (second, first, best) = (first, d, b * LANES + lane);
                } else if d < second {
                    second = d;
                }
            }
        }
        (best.min(self.k - 1), first, second)
    }
}

/// What is known of a row: its cluster, and bounds on the distance to it and to any other.
#[derive(Clone, Copy)]
struct Known {
    cluster: u32,
    upper: f64,
    lower: f64,
}

struct Lloyd<'a> {
    points: &'a Points,
    centres: Vec<f64>,
    sums: Vec<f64>,
    sizes: Vec<usize>,
    known: Vec<Known>,
}

fn lloyd(points: &Points, centres: Vec<f64>, limit: usize, tolerance: f64) -> KMeansFit {
    let spread: f64 = points.variances().iter().sum::<f64>() / real(points.dimensions());
    let mut state = Lloyd::first_pass(points, centres);
    let mut iterations = 1;
    let mut moved_rows = points.len();
    while iterations < limit {
        let shifts = state.move_centres();
        let total: f64 = shifts.iter().map(|s| s * s).sum();
        if moved_rows == 0 || total <= tolerance * spread {
            break;
        }
        moved_rows = state.pass(&shifts);
        iterations += 1;
    }
    state.finish(iterations)
}

impl<'a> Lloyd<'a> {
    fn first_pass(points: &'a Points, centres: Vec<f64>) -> Self {
        let d = points.dimensions();
        let table = Table::of(&centres, d);
        let k = table.k;
        let mut state = Self {
            points,
            sums: vec![0.0; k * d],
            sizes: vec![0; k],
            known: Vec::with_capacity(points.len()),
            centres,
        };
        for row in points.rows() {
            let (c, first, second) = table.nearest_two(row);
            state.sizes[c] += 1;
            state.sums[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(s, v)| *s += v);
            state.known.push(Known { cluster: as_label(c), upper: first.sqrt(), lower: second.sqrt() });
        }
        state
    }

    /// Moves each centre to its rows' mean and answers how far each went; an empty one stays.
    fn move_centres(&mut self) -> Vec<f64> {
        let d = self.points.dimensions();
        let mut shifts = Vec::with_capacity(self.sizes.len());
        for (c, &size) in self.sizes.iter().enumerate() {
            let mut shift = 0.0;
            if size > 0 {
                for j in c * d..(c + 1) * d {
                    let mean = self.sums[j] / real(size);
                    shift += (mean - self.centres[j]).powi(2);
                    self.centres[j] = mean;
                }
            }
            shifts.push(shift.sqrt());
        }
        shifts
    }

    /// Half the distance from each centre to its nearest neighbour.
    fn half_gaps(&self) -> Vec<f64> {
        let d = self.points.dimensions();
        let centre = |c: usize| &self.centres[c * d..(c + 1) * d];
        let k = self.sizes.len();
        (0..k)
            .map(|a| {
                let others = (0..k).filter(|&b| b != a).map(|b| squared_distance(centre(a), centre(b)));
                0.5 * others.fold(f64::INFINITY, f64::min).sqrt()
            })
            .collect()
    }

    /// Looks again at the rows whose bounds do not settle them; answers how many changed cluster.
    fn pass(&mut self, shifts: &[f64]) -> usize {
        let d = self.points.dimensions();
        let table = Table::of(&self.centres, d);
        let gaps = self.half_gaps();
        let far = furthest_shifts(shifts);
        let mut changed = 0;
        for (row, known) in self.points.rows().zip(&mut self.known) {
            let c = known.cluster as usize;
            known.upper += shifts[c];
            known.lower -= if c == far.0 { far.2 } else { far.1 };
            let safe = gaps[c].max(known.lower);
            if known.upper < safe {
                continue;
            }
            known.upper = squared_distance(row, &self.centres[c * d..(c + 1) * d]).sqrt();
            if known.upper < safe {
                continue;
            }
            let (now, first, second) = table.nearest_two(row);
            (known.upper, known.lower) = (first.sqrt(), second.sqrt());
            if now != c {
                changed += 1;
                known.cluster = as_label(now);
                self.sizes[c] -= 1;
                self.sizes[now] += 1;
                for (j, v) in row.iter().enumerate() {
                    self.sums[c * d + j] -= v;
                    self.sums[now * d + j] += v;
                }
            }
        }
        changed
    }

    fn finish(mut self, iterations: usize) -> KMeansFit {
        // Sums were kept by adding and subtracting; the published centres are fresh means.
        let d = self.points.dimensions();
        self.sums.fill(0.0);
        for (row, known) in self.points.rows().zip(&self.known) {
            let c = known.cluster as usize;
            self.sums[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        self.move_centres();
        let inertia = self.points.rows().zip(&self.known).map(|(row, known)| {
            let c = known.cluster as usize;
            squared_distance(row, &self.centres[c * d..(c + 1) * d])
        });
        KMeansFit {
            inertia: inertia.sum(),
            labels: self.known.iter().map(|known| known.cluster as usize).collect(),
            model: KMeans { dimensions: d, centres: self.centres, sizes: self.sizes },
            iterations,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are fewer clusters than 2^32")]
fn as_label(cluster: usize) -> u32 {
    cluster as u32
}

/// The centre that moved most, its shift, and the next largest shift.
fn furthest_shifts(shifts: &[f64]) -> (usize, f64, f64) {
    let (mut at, mut first, mut second) = (0, 0.0, 0.0);
    for (c, &s) in shifts.iter().enumerate() {
        if s > first {
            (at, second, first) = (c, first, s);
        } else if s > second {
            second = s;
        }
    }
    (at, first, second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::uniform;
    use proptest::prelude::*;

    fn plain_lloyd(points: &Points, mut centres: Vec<f64>) -> Vec<f64> {
        let d = points.dimensions();
        for _ in 0..200 {
            let model = KMeans { dimensions: d, centres: centres.clone(), sizes: vec![] };
            let mut sums = vec![0.0; centres.len()];
            let mut sizes = vec![0.0; model.k()];
            for row in points.rows() {
                let c = model.assign(row).0;
                sizes[c] += 1.0;
                (0..d).for_each(|j| sums[c * d + j] += row[j]);
            }
            for i in 0..centres.len() {
                if sizes[i / d] > 0.0 {
                    centres[i] = sums[i] / sizes[i / d];
                }
            }
        }
        centres
    }

    proptest! {
        #[test]
        fn bounds_never_change_the_result(values in prop::collection::vec(-5.0..5.0f64, 60..180), k in 1usize..7) {
            let points = Points::new(values[..values.len() / 3 * 3].to_vec(), 3).unwrap();
            let start = points.values()[..k * 3].to_vec();
            let fast = KMeans::fit_from(&points, &start).unwrap();
            for (a, b) in fast.model.centres.iter().zip(plain_lloyd(&points, start)) {
                prop_assert!((a - b).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn separate_groups_are_found_and_a_new_row_is_placed() {
        let mut rng = generator(3);
        let mut values = Vec::new();
        for i in 0..900 {
            let centre = f64::from(i % 3) * 10.0;
            values.extend([centre + uniform(&mut rng), -centre + uniform(&mut rng)]);
        }
        let fit = KMeans::fit(&Points::new(values, 2).unwrap(), 3, 1).unwrap();
        assert_eq!(fit.model.sizes, vec![300; 3]);
        let (c, _) = fit.model.assign(&[10.4, -9.6]);
        assert!((fit.model.centre(c)[0] - 10.5).abs() < 0.1);
    }

    #[test]
    fn more_groups_than_distinct_rows_are_refused() {
        let same = Points::new(vec![1.0; 20], 2).unwrap();
        assert_eq!(KMeans::fit(&same, 2, 0).unwrap_err().field(), "distinct rows");
        assert!(KMeans::fit(&same, 0, 0).is_err() && KMeans::fit(&same, 11, 0).is_err());
    }
}
