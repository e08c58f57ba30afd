//! Inverse: the inverse of a symmetric positive definite matrix in single precision, in place.
//!
//! A blocked symmetric sweep (Goodnight 1979, "A tutorial on the SWEEP operator"): for each
//! block of pivots the remaining lower triangle gets one low-rank update, so that nearly all of
//! the `n^3` flops run in one small kernel, vectorised for the machine at hand. Absent on
//! purpose: the exchange of pivots, which a matrix with a ridge does not need.

#![expect(clippy::inline_always, reason = "vector code must be inlined where the machine's features are known")]

use super::{Error, Halt, parallel};
use pulp::{Arch, Simd, WithSimd};
use std::sync::Mutex;

/// Pivots of one block: the depth of the low-rank update.
const BLOCK: usize = 192;
/// Rows that one call of the kernel keeps in registers; its columns are two vectors.
const ROWS: usize = 6;
/// Rows that a thread takes at a time; a multiple of `ROWS`.
const RUN: usize = 96;

/// Turns the row-major `n x n` matrix `a`, symmetric positive definite, of which the lower
/// triangle is read, into its inverse (both triangles are written).
///
/// Says false, leaving `a` without meaning, when a pivot is not positive.
///
/// # Errors
/// [`Error::CalledOff`], within a block of pivots.
pub(crate) fn invert(a: &mut [f32], n: usize, threads: usize, halt: &Halt) -> Result<bool, Error> {
    assert!(a.len() == n * n);
    for from in (0..n).step_by(BLOCK) {
        halt.check()?;
        let depth = BLOCK.min(n - from);
        if !sweep(a, n, from, depth, threads) {
            return Ok(false);
        }
    }
    mirror_negated(a, n);
    Ok(true)
}

/// Sweeps the pivots `from..from + depth`.
fn sweep(a: &mut [f32], n: usize, from: usize, depth: usize, threads: usize) -> bool {
    let columns = gather(a, n, from, depth);
    let Some(inverse) = invert_block(&columns[from * depth..(from + depth) * depth], depth) else {
        return false;
    };
    let mut scaled = vec![0.0; n * depth];
    update(&mut scaled, depth, &columns, &inverse, depth, &Shape::Full, threads);
    update(a, n, &scaled, &columns, depth, &Shape::Lower, threads);
    put_back(a, n, from, depth, &scaled, &inverse);
    true
}

/// The columns of the block for every row, `n x depth`, negated: the kernel only ever adds.
fn gather(a: &[f32], n: usize, from: usize, depth: usize) -> Vec<f32> {
    let mut columns = vec![0.0; n * depth];
    for k in 0..depth {
        let row = &a[(from + k) * n..];
        for i in 0..from + k {
            columns[i * depth + k] = row[i];
        }
    }
    for i in from..n {
        let wide = depth.min(i - from + 1);
        columns[i * depth..i * depth + wide].copy_from_slice(&a[i * n + from..i * n + from + wide]);
    }
    columns
}

/// The negative inverse of a block, by plain sweeps in double precision.
fn invert_block(block: &[f32], depth: usize) -> Option<Vec<f32>> {
    let mut d: Vec<f64> = block.iter().map(|&value| f64::from(value)).collect();
    let mut pivot_row = vec![0.0; depth];
    for k in 0..depth {
        let pivot = d[k * depth + k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        pivot_row.copy_from_slice(&d[k * depth..(k + 1) * depth]);
        for i in (0..depth).filter(|&i| i != k) {
            let factor = d[i * depth + k] / pivot;
            for (value, &other) in d[i * depth..(i + 1) * depth].iter_mut().zip(&pivot_row) {
                *value -= factor * other;
            }
            d[i * depth + k] = factor;
            d[k * depth + i] = factor;
        }
        d[k * depth + k] = -1.0 / pivot;
    }
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is asked for")]
    Some(d.into_iter().map(|value| value as f32).collect())
}

/// Writes the block's own rows and columns: the scaled columns and the negative inverse.
fn put_back(a: &mut [f32], n: usize, from: usize, depth: usize, scaled: &[f32], inverse: &[f32]) {
    for k in 0..depth {
        let row = &mut a[(from + k) * n..(from + k) * n + from];
        for (i, value) in row.iter_mut().enumerate() {
            *value = -scaled[i * depth + k];
        }
        let own = (from + k) * n + from;
        a[own..own + depth].copy_from_slice(&inverse[k * depth..(k + 1) * depth]);
    }
    for i in from + depth..n {
        let row = &mut a[i * n + from..i * n + from + depth];
        for (value, &new) in row.iter_mut().zip(&scaled[i * depth..]) {
            *value = -new;
        }
    }
}

/// After the last sweep the lower triangle holds the negative inverse.
fn mirror_negated(a: &mut [f32], n: usize) {
    const TILE: usize = 32;
    for top in (0..n).step_by(TILE) {
        for left in (0..=top).step_by(TILE) {
            for i in top..(top + TILE).min(n) {
                for j in left..(left + TILE).min(i + 1) {
                    let value = -a[i * n + j];
                    a[i * n + j] = value;
                    a[j * n + i] = value;
                }
            }
        }
    }
}

/// Which part of the target a low-rank update must reach.
enum Shape {
    Full,
    Lower,
}

/// `target += left * right'`, where `target` has rows of `width`, `left` one row of `depth` for each
/// of them and `right` one row of `depth` for each column.
fn update(target: &mut [f32], width: usize, left: &[f32], right: &[f32], depth: usize, shape: &Shape, threads: usize) {
    let arch = Arch::new();
    let packed = arch.dispatch(Pack { right, depth, width });
    let runs: Vec<Mutex<&mut [f32]>> = target.chunks_mut(RUN * width).map(Mutex::new).collect();
    // The last runs reach furthest in a lower triangle: they go first.
    parallel::runs(runs.len(), 1, threads, |range| {
        let run = runs.len() - 1 - range.start;
        let Ok(mut target) = runs[run].lock() else {
            return;
        };
        let first = run * RUN;
        let rows = target.len() / width;
        let reach = match shape {
            Shape::Full => width,
            Shape::Lower => (first + rows).min(width),
        };
        let left = &left[first * depth..(first + rows) * depth];
        arch.dispatch(Multiply { target: &mut target, width, left, packed: &packed, depth, reach });
    });
}

/// Puts the rows of `right` into panels of two vectors of columns, depth first, padded with zeros.
struct Pack<'a> {
    right: &'a [f32],
    depth: usize,
    width: usize,
}

impl WithSimd for Pack<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let wide = 2 * S::F32_LANES;
        let mut packed = vec![0.0; self.width.div_ceil(wide) * wide * self.depth];
        for (j, row) in self.right.chunks_exact(self.depth).enumerate() {
            let panel = &mut packed[(j / wide) * wide * self.depth..];
            for (k, &value) in row.iter().enumerate() {
                panel[k * wide + j % wide] = value;
            }
        }
        packed
    }
}

/// One run of rows of the update.
struct Multiply<'a> {
    target: &'a mut [f32],
    width: usize,
    left: &'a [f32],
    packed: &'a [f32],
    depth: usize,
    reach: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let wide = 2 * S::F32_LANES;
        let rows = self.left.len() / self.depth;
        let groups = pack_rows(self.left, rows, self.depth);
        for (p, panel) in self.packed.chunks_exact(wide * self.depth).enumerate() {
            let column = p * wide;
            if column >= self.reach {
                break;
            }
            let here = wide.min(self.width - column);
            for (g, group) in groups.chunks_exact(ROWS * self.depth).enumerate() {
                let tile = kernel(simd, group, panel);
                for (r, sums) in tile.iter().enumerate().take(rows - (g * ROWS).min(rows)) {
                    let start = (g * ROWS + r) * self.width + column;
                    add(simd, &mut self.target[start..start + here], sums);
                }
            }
        }
    }
}

/// Rows in groups of `ROWS`, depth first, padded with zeros.
#[inline(always)]
fn pack_rows(left: &[f32], rows: usize, depth: usize) -> Vec<f32> {
    let mut packed = vec![0.0; rows.div_ceil(ROWS) * ROWS * depth];
    for (i, row) in left.chunks_exact(depth).enumerate() {
        let group = &mut packed[(i / ROWS) * ROWS * depth..];
        for (k, &value) in row.iter().enumerate() {
            group[k * ROWS + i % ROWS] = value;
        }
    }
    packed
}

/// The products of `ROWS` rows with two vectors of columns, summed over the depth in registers.
#[inline(always)]
fn kernel<S: Simd>(simd: S, group: &[f32], panel: &[f32]) -> [[S::f32s; 2]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
    let (vectors, _) = S::as_simd_f32s(panel);
    let (pairs, _) = vectors.as_chunks::<2>();
    let (columns, _) = group.as_chunks::<ROWS>();
    for (values, [low, high]) in columns.iter().zip(pairs) {
        for (sum, &value) in sums.iter_mut().zip(values) {
            let value = simd.splat_f32s(value);
            sum[0] = simd.mul_add_f32s(value, *low, sum[0]);
            sum[1] = simd.mul_add_f32s(value, *high, sum[1]);
        }
    }
    sums
}

#[inline(always)]
fn add<S: Simd>(simd: S, target: &mut [f32], sums: &[S::f32s; 2]) {
    if target.len() == 2 * S::F32_LANES {
        let (vectors, _) = S::as_mut_simd_f32s(target);
        vectors[0] = simd.add_f32s(vectors[0], sums[0]);
        vectors[1] = simd.add_f32s(vectors[1], sums[1]);
    } else {
        let mut flat = [0.0; 64];
        let (vectors, _) = S::as_mut_simd_f32s(&mut flat[..2 * S::F32_LANES]);
        vectors.copy_from_slice(sums);
        for (value, sum) in target.iter_mut().zip(flat) {
            *value += sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Halt, invert};
    use crate::seed;

    /// A made-up matrix `X'X + ridge` and its product with the computed inverse.
    fn worst_error(n: usize, threads: usize) -> f32 {
        let mut rng = seed::generator(3);
        let mut a = vec![0.0f32; n * n];
        for _ in 0..2 * n {
            let row: Vec<f32> = (0..n).map(|_| if seed::below(&mut rng, 5) == 0 { 1.0 } else { 0.0 }).collect();
            for i in 0..n {
                for j in 0..n {
                    a[i * n + j] += row[i] * row[j];
                }
            }
        }
        for i in 0..n {
            a[i * n + i] += 20.0;
        }
        let before = a.clone();
        assert_eq!(invert(&mut a, n, threads, &Halt::default()), Ok(true));
        let mut worst = 0.0f32;
        for i in 0..n {
            for j in 0..n {
                let product: f32 = (0..n).map(|k| before[i * n + k] * a[k * n + j]).sum();
                worst = worst.max((product - if i == j { 1.0 } else { 0.0 }).abs());
            }
        }
        worst
    }

    #[test]
    fn the_product_with_the_inverse_is_the_identity() {
        for n in [1, 5, 96, 192, 193, 250] {
            assert!(worst_error(n, 2) < 2e-5, "n = {n}");
        }
    }

    #[test]
    fn an_inverse_that_is_called_off_ends_before_its_next_block() {
        let halt = Halt::default();
        halt.call_off();
        assert_eq!(invert(&mut [1.0], 1, 1, &halt), Err(Error::CalledOff));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        assert_eq!(invert(&mut [1.0, 2.0, 2.0, 1.0], 2, 1, &Halt::default()), Ok(false));
    }
}
