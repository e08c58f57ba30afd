//! Shares of customers: intervals and exact tests.

use super::distribution::{beta_quantile, normal_cdf, normal_quantile};
use crate::input::{BadInput, Problem, countable, open_unit, real64};
use statrs::function::gamma::ln_gamma;

fn check(field: &str, count: u64, n: u64) -> Result<(), BadInput> {
    if n == 0 {
        return Err(BadInput::new(format!("{field}.n"), Problem::Empty, "wait for the first customers"));
    }
    countable(&format!("{field}.n"), n)?;
    if count > n {
        return Err(BadInput::range(format!("{field}.count"), real64(count), "between 0 and n"));
    }
    Ok(())
}

/// Wilson's score interval (1927) for `count` of `n`.
///
/// # Errors
/// When `n` is zero, `count` exceeds it, or `alpha` lies outside (0, 1).
pub fn wilson(count: u64, n: u64, alpha: f64) -> Result<(f64, f64), BadInput> {
    open_unit("alpha", alpha)?;
    check("wilson", count, n)?;
    let z = -normal_quantile(alpha / 2.0);
    let (p, n) = (real64(count) / real64(n), real64(n));
    let scale = 1.0 + z * z / n;
    let middle = (p + z * z / (2.0 * n)) / scale;
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    Ok(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// Clopper and Pearson's exact interval (1934) for `count` of `n`.
///
/// # Errors
/// As [`wilson`].
pub fn clopper_pearson(count: u64, n: u64, alpha: f64) -> Result<(f64, f64), BadInput> {
    open_unit("alpha", alpha)?;
    check("clopper_pearson", count, n)?;
    let (k, n) = (real64(count), real64(n));
    let lower = if k > 0.0 { beta_quantile(alpha / 2.0, k, n - k + 1.0) } else { 0.0 };
    let upper = if k < n { beta_quantile(1.0 - alpha / 2.0, k + 1.0, n - k) } else { 1.0 };
    Ok((lower, upper))
}

/// Newcombe's interval (1998, method 10) for the difference treatment minus control.
///
/// # Errors
/// As [`wilson`].
pub fn newcombe_difference(control: (u64, u64), treatment: (u64, u64), alpha: f64) -> Result<(f64, f64), BadInput> {
    let (la, ua) = wilson(control.0, control.1, alpha)?;
    let (lb, ub) = wilson(treatment.0, treatment.1, alpha)?;
    let (pa, pb) = (real64(control.0) / real64(control.1), real64(treatment.0) / real64(treatment.1));
    let d = pb - pa;
    Ok((d - (pb - lb).hypot(ua - pa), d + (ub - pb).hypot(pa - la)))
}

/// The pooled z-test of two shares: `(z, two-sided p)`; z is first minus second.
///
/// # Errors
/// When a group is empty, a count exceeds its group, or everybody answered alike.
pub fn proportion_z_test(first: (u64, u64), second: (u64, u64)) -> Result<(f64, f64), BadInput> {
    check("first", first.0, first.1)?;
    check("second", second.0, second.1)?;
    let (n_a, n_b) = (real64(first.1), real64(second.1));
    let pooled = real64(first.0 + second.0) / (n_a + n_b);
    let variance = pooled * (1.0 - pooled) * (1.0 / n_a + 1.0 / n_b);
    if variance <= 0.0 {
        return Err(BadInput::new("count", Problem::Constant, "wait until both answers occur"));
    }
    let z = (real64(first.0) / n_a - real64(second.0) / n_b) / variance.sqrt();
    Ok((z, 2.0 * normal_cdf(-z.abs())))
}

/// Fisher's exact test, two-sided: the total probability of all tables with the same margins that
/// are no more likely than the one seen.
///
/// # Errors
/// As [`proportion_z_test`], except that equal answers give 1.
pub fn fisher_exact(first: (u64, u64), second: (u64, u64)) -> Result<f64, BadInput> {
    check("first", first.0, first.1)?;
    check("second", second.0, second.1)?;
    let (n, yes, drawn) = (first.1 + second.1, first.0 + second.0, first.1);
    let log_choose =
        |n: u64, k: u64| ln_gamma(real64(n) + 1.0) - ln_gamma(real64(k) + 1.0) - ln_gamma(real64(n - k) + 1.0);
    let low = (yes + drawn).saturating_sub(n);
    let high = yes.min(drawn);
    let weight = |k: u64| log_choose(yes, k) + log_choose(n - yes, drawn - k);
    let top = (low..=high).map(weight).fold(f64::NEG_INFINITY, f64::max);
    let seen = weight(first.0);
    let (mut all, mut extreme) = (0.0, 0.0);
    for k in low..=high {
        let log = weight(k);
        all += (log - top).exp();
        if log <= seen + 1e-7 {
            extreme += (log - top).exp();
        }
    }
    Ok((extreme / all).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_intervals_touch_the_ends() {
        assert!(clopper_pearson(0, 10, 0.05).unwrap().0.abs() < 1e-15);
        assert!((clopper_pearson(10, 10, 0.05).unwrap().1 - 1.0).abs() < 1e-15);
        let (_, upper) = clopper_pearson(0, 10, 0.05).unwrap();
        assert!((upper - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-12);
    }

    #[test]
    fn the_lady_tasting_tea() {
        assert!((fisher_exact((3, 4), (1, 4)).unwrap() - 34.0 / 70.0).abs() < 1e-12);
    }
}
