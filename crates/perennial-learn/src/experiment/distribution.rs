//! The few distributions that experiments need, to about twelve digits.

use statrs::function::{beta::beta_reg, gamma::ln_gamma};
use std::f64::consts::{PI, SQRT_2};

/// The standard normal density.
pub(super) fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// P(Z <= x), accurate in both tails.
pub(super) fn normal_cdf(x: f64) -> f64 {
    let upper = 0.5 * erfc(x.abs() / SQRT_2);
    if x > 0.0 { 1.0 - upper } else { upper }
}

/// The complementary error function for x >= 0, to the last digits: the all-positive series near
/// zero and the continued fraction beyond (Abramowitz & Stegun 7.1.6 and 7.1.14). The library's
/// version has ten digits, which is too few for an interval.
fn erfc(x: f64) -> f64 {
    let square = (-x * x).exp();
    if x < 2.3 {
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while term > 1e-17 * sum {
            term *= 2.0 * x * x / (2.0 * k + 1.0);
            sum += term;
            k += 1.0;
        }
        return 1.0 - 2.0 / PI.sqrt() * square * sum;
    }
    let fraction = (1..=80).rev().fold(x, |below, k| x + 0.5 * f64::from(k) / below);
    square / (PI.sqrt() * fraction)
}

/// The x with P(Z <= x) = p, for p in (0, 1).
pub(super) fn normal_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    solve_increasing(normal_cdf, p, -40.0, 0.1)
}

/// P(T <= t) for Student's t with `df` degrees of freedom (any positive real).
pub(super) fn student_cdf(t: f64, df: f64) -> f64 {
    if !df.is_finite() || df > 1e12 {
        return normal_cdf(t);
    }
    let tail = 0.5 * beta_reg(0.5 * df, 0.5, df / (df + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The t with P(T <= t) = p, for p in (0, 1).
pub(super) fn student_quantile(p: f64, df: f64) -> f64 {
    if p > 0.5 {
        return -student_quantile(1.0 - p, df);
    }
    let mut far = -4.0;
    while student_cdf(far, df) > p && far > -1e300 {
        far *= 4.0;
    }
    solve_increasing(|t| student_cdf(t, df), p, far, 0.1)
}

/// P(T <= t) for the non-central t: the normal probability averaged over the scale
/// `s = sqrt(chi2 / df)`, by Simpson's rule over fourteen standard deviations of `s`.
pub(super) fn noncentral_student_cdf(t: f64, df: f64, shift: f64) -> f64 {
    const PANELS: usize = 1200;
    if df > 1e12 {
        return normal_cdf(t - shift);
    }
    let spread = 14.0 / (2.0 * df).sqrt();
    let (low, high) = ((1.0 - spread).max(1e-12), 1.0 + spread);
    let constant = 2.0f64.ln() + 0.5 * df * (0.5 * df).ln() - ln_gamma(0.5 * df);
    let integrand = |s: f64| {
        let log_density = constant + (df - 1.0) * s.ln() - 0.5 * df * s * s;
        log_density.exp() * normal_cdf(t * s - shift)
    };
    simpson(integrand, low, high, PANELS).clamp(0.0, 1.0)
}

/// The quantile of a Beta(a, b) distribution.
pub(super) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    solve_increasing(|x| beta_reg(a, b, x), p, 0.0, 1.0)
}

/// The density of Beta(a, b) at x inside (0, 1).
pub(super) fn beta_density(x: f64, a: f64, b: f64) -> f64 {
    let constant = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
    (constant + (a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p()).exp()
}

/// Simpson's rule with `panels` (even) panels.
pub(super) fn simpson(f: impl Fn(f64) -> f64, low: f64, high: f64, panels: usize) -> f64 {
    let step = (high - low) / crate::input::real(panels);
    let inner: f64 =
        (1..panels).map(|i| f(low + step * crate::input::real(i)) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    (f(low) + inner + f(high)) * step / 3.0
}

/// The x in [low, high] where the increasing `f` reaches `target`: bisection with secant steps
/// (the Illinois form of false position), to the last bits of x.
pub(super) fn solve_increasing(f: impl Fn(f64) -> f64, target: f64, mut low: f64, mut high: f64) -> f64 {
    let (mut f_low, mut f_high) = (f(low) - target, f(high) - target);
    for round in 0..200 {
        let width = high - low;
        if width.abs() <= 1e-15 * low.abs().max(high.abs()) {
            break;
        }
        let secant = high - f_high * width / (f_high - f_low);
        let inside = secant > low && secant < high && round % 3 != 2;
        let x = if inside { secant } else { 0.5 * (low + high) };
        let fx = f(x) - target;
        if fx == 0.0 {
            return x;
        }
        if fx < 0.0 {
            (low, f_low) = (x, fx);
            f_high *= 0.5;
        } else {
            (high, f_high) = (x, fx);
            f_low *= 0.5;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_invert_their_distributions() {
        let z = normal_quantile(0.975);
        assert!((z - 1.959_963_984_540_054).abs() < 1e-12, "{z}");
        assert!((student_quantile(0.975, 3.0) - 3.182_446_305_284_263).abs() < 1e-11);
        assert!((beta_quantile(0.5, 2.0, 2.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_non_central_t_with_no_shift_is_student() {
        for t in [-2.0, 0.3, 1.7] {
            assert!((noncentral_student_cdf(t, 12.0, 0.0) - student_cdf(t, 12.0)).abs() < 1e-10);
        }
    }
}
