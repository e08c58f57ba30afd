//! Welch's t-test (1947): valid at one look that was planned beforehand.

use super::distribution::{student_cdf, student_quantile};
use super::{Effect, Readout, Side};
use crate::input::{BadInput, open_unit};

/// Tests an effect at level `alpha` with Satterthwaite's degrees of freedom.
///
/// # Errors
/// When `alpha` lies outside (0, 1).
pub fn welch(effect: &Effect, side: Side, alpha: f64) -> Result<Readout, BadInput> {
    open_unit("alpha", alpha)?;
    let (e, se, df) = (effect.estimate, effect.standard_error, effect.degrees_of_freedom);
    let t = e / se;
    let reach = |tail: f64| -student_quantile(tail, df) * se;
    let (lower, upper, p_value) = match side {
        Side::Both => (e - reach(alpha / 2.0), e + reach(alpha / 2.0), 2.0 * student_cdf(-t.abs(), df)),
        Side::Greater => (e - reach(alpha), f64::INFINITY, student_cdf(-t, df)),
        Side::Less => (f64::NEG_INFINITY, e + reach(alpha), student_cdf(t, df)),
    };
    Ok(Readout { estimate: e, standard_error: se, lower, upper, p_value })
}
