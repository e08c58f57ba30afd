//! Maximisers shared by the models: damped Newton in a few dimensions, L-BFGS in many.
//!
//! Promise: the value never falls from one accepted step to the next, and every loop has a stated
//! cap. Absent on purpose: constraints. Callers map positive parameters through logarithms.

/// Value and derivatives of a function at one point.
#[derive(Debug, Clone, Copy)]
pub struct Local<const N: usize> {
    /// f(x).
    pub value: f64,
    /// ∂f/∂xᵢ.
    pub gradient: [f64; N],
    /// ∂²f/∂xᵢ∂xⱼ, symmetric.
    pub hessian: [[f64; N]; N],
}

/// Where a maximiser stopped.
#[derive(Debug, Clone, Copy)]
pub struct Maximum<const N: usize> {
    /// The point.
    pub at: [f64; N],
    /// Function and derivatives there.
    pub local: Local<N>,
    /// Times the function was evaluated.
    pub evaluations: usize,
    /// Whether the expected further gain fell below the tolerance.
    pub converged: bool,
}

/// Longest step in any one coordinate (coordinates are logarithms, so a factor of e²).
const LONGEST_STEP: f64 = 2.0;
/// Evaluations after which Newton gives up.
const MOST_EVALUATIONS: usize = 200;

/// Climbs to a maximum by Newton steps with Levenberg-Marquardt damping (Marquardt 1963).
///
/// Stops when the gain that the quadratic model still promises is below `tolerance` (in units of
/// the value). Points with a value or gradient that is not finite are treated as refused.
pub fn newton<const N: usize>(start: [f64; N], tolerance: f64, mut f: impl FnMut(&[f64; N]) -> Local<N>) -> Maximum<N> {
    let mut best = Maximum { at: start, local: f(&start), evaluations: 1, converged: false };
    let mut damping = 0.0_f64;
    while best.evaluations < MOST_EVALUATIONS && best.local.value.is_finite() {
        let Some(step) = damped_step(&best.local, damping) else {
            damping = (damping * 4.0).max(1e-3);
            if damping > 1e12 {
                break;
            }
            continue;
        };
        let promised = gain(&best.local, &step);
        if promised < tolerance {
            best.converged = damping < 1.0;
            break;
        }
        let next: [f64; N] = std::array::from_fn(|i| best.at[i] + step[i]);
        let local = f(&next);
        best.evaluations += 1;
        let won = local.value - best.local.value;
        if won >= 1e-4 * promised && local.gradient.iter().all(|g| g.is_finite()) {
            damping = if won > 0.5 * promised { damping * 0.1 } else { damping };
            damping = if damping < 1e-9 { 0.0 } else { damping };
            (best.at, best.local) = (next, local);
        } else {
            damping = (damping * 8.0).max(1e-3);
            if damping > 1e12 {
                break;
            }
        }
    }
    best
}

/// Solves (-H + damping·|diag H|) step = gradient; nothing if that matrix is not positive definite.
fn damped_step<const N: usize>(local: &Local<N>, damping: f64) -> Option<[f64; N]> {
    let mut matrix = local.hessian.map(|row| row.map(|h| -h));
    for (i, row) in matrix.iter_mut().enumerate() {
        row[i] += damping * (local.hessian[i][i].abs() + 1e-12);
    }
    let factor = cholesky(matrix)?;
    let mut step = solve_cholesky(&factor, local.gradient);
    let longest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
    if !longest.is_finite() {
        return None;
    }
    if longest > LONGEST_STEP {
        step = step.map(|s| s * LONGEST_STEP / longest);
    }
    Some(step)
}

/// What the quadratic model says a step gains.
fn gain<const N: usize>(local: &Local<N>, step: &[f64; N]) -> f64 {
    let mut gain = 0.0;
    for i in 0..N {
        gain += local.gradient[i] * step[i];
        for j in 0..N {
            gain += 0.5 * step[i] * local.hessian[i][j] * step[j];
        }
    }
    gain
}

/// The lower Cholesky factor, or nothing when the matrix is not positive definite.
pub fn cholesky<const N: usize>(matrix: [[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let rest = matrix[i][j] - dot;
            if i == j {
                if rest.is_nan() || rest <= matrix[i][i].abs() * 1e-14 {
                    return None;
                }
                lower[i][i] = rest.sqrt();
            } else {
                lower[i][j] = rest / lower[j][j];
            }
        }
    }
    Some(lower)
}

/// Solves L Lᵀ x = b.
pub fn solve_cholesky<const N: usize>(lower: &[[f64; N]; N], b: [f64; N]) -> [f64; N] {
    let mut x = b;
    for i in 0..N {
        let dot: f64 = (0..i).map(|k| lower[i][k] * x[k]).sum();
        x[i] = (x[i] - dot) / lower[i][i];
    }
    for i in (0..N).rev() {
        let dot: f64 = (i + 1..N).map(|k| lower[k][i] * x[k]).sum();
        x[i] = (x[i] - dot) / lower[i][i];
    }
    x
}

/// The inverse of a symmetric positive definite matrix, or nothing when it is not one.
pub fn inverse<const N: usize>(matrix: [[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let lower = cholesky(matrix)?;
    let mut inverse = [[0.0; N]; N];
    for (position, row) in inverse.iter_mut().enumerate() {
        let unit = std::array::from_fn(|i| if i == position { 1.0 } else { 0.0 });
        *row = solve_cholesky(&lower, unit);
    }
    Some(inverse)
}

/// Factors and solves a dense symmetric positive definite system of any size, in place.
///
/// `matrix` is `n × n` row by row, of which the lower triangle is read and overwritten; `b` becomes
/// the solution. Answers false, leaving `b` undefined, when the matrix is not positive definite.
pub fn solve_dense(matrix: &mut [f64], b: &mut [f64]) -> bool {
    let n = b.len();
    for i in 0..n {
        for j in 0..=i {
            let (upper, lower) = matrix.split_at(i * n);
            let own = &lower[..=i];
            let other = if j < i { &upper[j * n..=j * n + j] } else { own };
            let dot: f64 = own[..j].iter().zip(&other[..j]).map(|(x, y)| x * y).sum();
            let rest = own[j] - dot;
            if i != j {
                matrix[i * n + j] = rest / matrix[j * n + j];
            } else if rest > 0.0 {
                matrix[i * n + i] = rest.sqrt();
            } else {
                return false;
            }
        }
    }
    for i in 0..n {
        let dot: f64 = matrix[i * n..i * n + i].iter().zip(&b[..i]).map(|(x, y)| x * y).sum();
        b[i] = (b[i] - dot) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        b[i] /= matrix[i * n + i];
        let value = b[i];
        for k in 0..i {
            b[k] -= matrix[i * n + k] * value;
        }
    }
    true
}

/// Where L-BFGS stopped.
#[derive(Debug, Clone)]
pub struct Peak {
    /// The point.
    pub at: Vec<f64>,
    /// The value there.
    pub value: f64,
    /// Whether the gradient became small rather than the evaluations running out.
    pub converged: bool,
}

/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 8;

/// Climbs to a maximum with limited-memory BFGS (Nocedal 1980) and a backtracking line search.
///
/// `f` writes the gradient into its second argument and answers the value. Stops when the largest
/// gradient entry is below `tolerance` or after `most` evaluations.
pub fn lbfgs(start: Vec<f64>, tolerance: f64, most: usize, mut f: impl FnMut(&[f64], &mut [f64]) -> f64) -> Peak {
    let n = start.len();
    let mut gradient = vec![0.0; n];
    let value = f(&start, &mut gradient);
    let mut peak = Peak { at: start, value, converged: false };
    let (mut pairs, mut evaluations) = (Vec::<(Vec<f64>, Vec<f64>, f64)>::new(), 1);
    while evaluations < most && peak.value.is_finite() {
        if gradient.iter().all(|g| g.abs() < tolerance) {
            peak.converged = true;
            break;
        }
        let direction = two_loop(&pairs, &gradient);
        let slope = dot(&direction, &gradient);
        let mut length = if pairs.is_empty() { 1.0 / norm(&direction).max(1.0) } else { 1.0 };
        let mut trial = vec![0.0; n];
        let mut trial_gradient = vec![0.0; n];
        let reached = loop {
            for i in 0..n {
                trial[i] = peak.at[i] + length * direction[i];
            }
            let value = f(&trial, &mut trial_gradient);
            evaluations += 1;
            if value.is_finite() && value >= peak.value + 1e-4 * length * slope {
                break Some(value);
            }
            length *= 0.4;
            if length < 1e-12 || evaluations >= most {
                break None;
            }
        };
        let Some(value) = reached else {
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let moved: Vec<f64> = trial.iter().zip(&peak.at).map(|(t, a)| t - a).collect();
        let bent: Vec<f64> = gradient.iter().zip(&trial_gradient).map(|(a, t)| a - t).collect();
        let curvature = dot(&moved, &bent);
        if curvature > 1e-12 * norm(&moved) * norm(&bent) {
            if pairs.len() == MEMORY {
                pairs.remove(0);
            }
            pairs.push((moved, bent, 1.0 / curvature));
        }
        (peak.at, peak.value, gradient) = (trial, value, trial_gradient);
    }
    peak
}

/// The L-BFGS direction: the remembered inverse curvature times the gradient.
fn two_loop(pairs: &[(Vec<f64>, Vec<f64>, f64)], gradient: &[f64]) -> Vec<f64> {
    let mut direction = gradient.to_vec();
    let mut shares = Vec::with_capacity(pairs.len());
    for (moved, bent, inverse) in pairs.iter().rev() {
        let share = inverse * dot(moved, &direction);
        direction.iter_mut().zip(bent).for_each(|(d, b)| *d -= share * b);
        shares.push(share);
    }
    if let Some((_, bent, inverse)) = pairs.last() {
        let scale = 1.0 / (inverse * dot(bent, bent));
        for d in &mut direction {
            *d *= scale;
        }
    }
    for ((moved, bent, inverse), share) in pairs.iter().zip(shares.iter().rev()) {
        let back = share - inverse * dot(bent, &direction);
        direction.iter_mut().zip(moved).for_each(|(d, m)| *d += back * m);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hill(x: &[f64; 2]) -> Local<2> {
        // -(1 - x)² - 100 (y - x²)², Rosenbrock's valley upside down
        let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
        Local {
            value: -a * a - 100.0 * b * b,
            gradient: [2.0 * a + 400.0 * x[0] * b, -200.0 * b],
            hessian: [[-2.0 + 400.0 * b - 800.0 * x[0] * x[0], 400.0 * x[0]], [400.0 * x[0], -200.0]],
        }
    }

    #[test]
    fn newton_and_lbfgs_climb_rosenbrocks_valley() {
        let top = newton([-1.2, 1.0], 1e-14, hill);
        assert!(top.converged && (top.at[0] - 1.0).abs() < 1e-6, "{top:?}");
        let peak = lbfgs(vec![-1.2, 1.0], 1e-8, 500, |x, g| {
            let local = hill(&[x[0], x[1]]);
            g.copy_from_slice(&local.gradient);
            local.value
        });
        assert!(peak.converged && (peak.at[1] - 1.0).abs() < 1e-6, "{peak:?}");
    }

    #[test]
    fn dense_and_small_solvers_agree_with_the_matrix() {
        let m = [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]];
        let mut flat: Vec<f64> = m.iter().flatten().copied().collect();
        let mut x = vec![1.0, 2.0, 3.0];
        assert!(solve_dense(&mut flat, &mut x));
        let inv = inverse(m).unwrap();
        for i in 0..3 {
            let back: f64 = (0..3).map(|j| m[i][j] * x[j]).sum();
            assert!((back - [1.0, 2.0, 3.0][i]).abs() < 1e-12);
            let by_inverse: f64 = (0..3).map(|j| inv[i][j] * [1.0, 2.0, 3.0][j]).sum();
            assert!((by_inverse - x[i]).abs() < 1e-12);
        }
        assert!(inverse([[1.0, 2.0], [2.0, 1.0]]).is_none());
    }
}
