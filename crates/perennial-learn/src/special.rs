//! Special functions that the models share and statrs lacks.
//!
//! Each states its range and error; arguments outside the range give NaN, never a panic.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

/// Trigamma, the second derivative of ln Γ, for `x > 0`; relative error below 1e-13.
///
/// Recurrence up to 8 or more, then the asymptotic series (Abramowitz & Stegun 6.4.12).
pub fn trigamma(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return f64::NAN;
    }
    let (mut x, mut below) = (x, 0.0);
    while x < 10.0 {
        below += 1.0 / (x * x);
        x += 1.0;
    }
    let inv = 1.0 / (x * x);
    let tail = inv
        * (1.0 / 6.0
            - inv * (1.0 / 30.0 - inv * (1.0 / 42.0 - inv * (1.0 / 30.0 - inv * (5.0 / 66.0 - inv * 691.0 / 2730.0)))));
    below + (1.0 + 0.5 / x + tail) / x
}

/// ln(1 + eˣ) without overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Σ ln(1 + eˣ) over many x, with one logarithm for eight of them.
pub fn sum_softplus(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut product, mut held) = (0.0, 1.0_f64, 0);
    for x in values {
        // Eight factors of at most 2 cannot overflow.
        sum += x.max(0.0);
        product *= 1.0 + (-x.abs()).exp();
        held += 1;
        if held == 8 {
            sum += product.ln();
            (product, held) = (1.0, 0);
        }
    }
    sum + product.ln()
}

/// The logistic function 1 / (1 + e⁻ˣ), in (0, 1).
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// ln(p / (1 - p)) with `p` kept at least 1e-12 away from 0 and 1.
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    (p / (1.0 - p)).ln()
}

/// Nodes and weights of the 12-point Gauss-Legendre rule on [-1, 1], positive half
/// (Abramowitz & Stegun, table 25.4).
pub const GAUSS_LEGENDRE_12: [(f64, f64); 6] = [
    (0.125_233_408_511_468_9, 0.249_147_045_813_402_77),
    (0.367_831_498_998_180_2, 0.233_492_536_538_354_8),
    (0.587_317_954_286_617_4, 0.203_167_426_723_065_92),
    (0.769_902_674_194_304_7, 0.160_078_328_543_346_22),
    (0.904_117_256_370_474_9, 0.106_939_325_995_318_43),
    (0.981_560_634_246_719_3, 0.047_175_336_386_511_83),
];

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::function::gamma::digamma;

    #[test]
    fn trigamma_meets_known_values_and_the_slope_of_digamma() {
        let pi2 = std::f64::consts::PI.powi(2);
        assert!((trigamma(1.0) - pi2 / 6.0).abs() < 1e-14);
        assert!((trigamma(0.5) - pi2 / 2.0).abs() < 1e-13);
        for x in [0.03, 0.7, 4.2, 55.0, 3000.0] {
            let h = x * 1e-4;
            let slope = (digamma(x + h) - digamma(x - h)) / (2.0 * h);
            assert!((trigamma(x) / slope - 1.0).abs() < 1e-6, "{x}");
        }
        assert!(trigamma(0.0).is_nan());
    }

    #[test]
    fn softplus_and_sigmoid_stay_finite_far_out() {
        assert_eq!(softplus(800.0), 800.0);
        assert_eq!(softplus(-800.0), 0.0);
        let many: Vec<f64> = (-30..30).map(|i| f64::from(i) * 1.3).collect();
        let one_by_one: f64 = many.iter().map(|&x| softplus(x)).sum();
        assert!((sum_softplus(many.into_iter()) - one_by_one).abs() < 1e-9);
        assert!((sigmoid(-3.0) + sigmoid(3.0) - 1.0).abs() < 1e-15);
        assert!((logit(sigmoid(1.7)) - 1.7).abs() < 1e-12);
    }

    #[test]
    fn the_gauss_rule_is_exact_for_degree_23() {
        let even: f64 = GAUSS_LEGENDRE_12.iter().map(|(x, w)| 2.0 * w * x.powi(22)).sum();
        assert!((even - 2.0 / 23.0).abs() < 1e-14);
    }
}
