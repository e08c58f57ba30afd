//! Experiments: from sufficient statistics to an interval that survives peeking.
//!
//! A variant is a handful of sums ([`Statistic`]) that merge in any order, so a day's tallies add
//! up to a read-out without going back to the customers. [`compare`] turns two of them into an
//! [`Effect`]; a method turns the effect into a [`Readout`]. The default method is
//! [`Method::Sequential`]: its interval holds at all times at once, so a shopkeeper may look daily.
//!
//! Promise: equal to the published formulas; each file names its paper.
//! Absent on purpose: raw rows (except for streams and heterogeneity) and any decision to stop.

mod bayes;
mod distribution;
mod effect;
mod fixed;
mod group_sequential;
mod heterogeneity;
mod multiple;
mod power;
mod proportion;
mod sequential;
mod srm;
mod statistic;
mod stratify;

pub use bayes::{BetaContest, BetaPosterior, GaussianPrior, Posterior, PriorScale, beta_contest, gaussian_posterior};
pub use effect::{Difference, Effect, compare};
pub use fixed::welch;
pub use group_sequential::{Boundary, Spending, group_sequential_bounds};
pub use heterogeneity::{Heterogeneity, SubgroupEffect, honest_split};
pub use multiple::{Adjusted, benjamini_hochberg, benjamini_yekutieli, bonferroni, holm};
pub use power::{
    Alternative, MeanPlan, ProportionPlan, cohens_h, mean_detectable, mean_power, mean_sample_size, proportion_power,
    proportion_sample_size,
};
pub use proportion::{clopper_pearson, fisher_exact, newcombe_difference, proportion_z_test, wilson};
pub use sequential::{ConfidenceSequence, DEFAULT_TUNING, MixtureTest, always_valid};
pub use srm::{SampleRatio, SequentialSampleRatio, sample_ratio};
pub use statistic::{Cuped, Mean, Proportion, Ratio, Statistic, pooled_theta};
pub use stratify::{Stratum, post_stratify};

use crate::input::BadInput;
use serde::{Deserialize, Serialize};

/// Which side of zero a test looks at. The effect is treatment minus control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The effect differs from zero.
    Both,
    /// The effect is positive: the interval is open to the right.
    Greater,
    /// The effect is negative: the interval is open to the left.
    Less,
}

/// How an effect becomes an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Method {
    /// Asymptotic confidence sequence: valid at every look; tightest near `tuning` customers.
    Sequential {
        /// The number of customers at which the interval should be tightest.
        tuning: f64,
    },
    /// Welch's t-test: valid at one look that was planned beforehand.
    FixedHorizon,
}

impl Default for Method {
    fn default() -> Self {
        Self::Sequential { tuning: DEFAULT_TUNING }
    }
}

/// What an experiment says about one measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Readout {
    /// The effect, in units of the measure or as a share of the control's mean.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The interval's lower end; minus infinity for [`Side::Less`].
    pub lower: f64,
    /// The interval's upper end; infinity for [`Side::Greater`].
    pub upper: f64,
    /// The p-value, always valid for a sequential method.
    pub p_value: f64,
}

/// Reads out treatment against control by the given method at level `alpha`.
///
/// # Errors
/// When `alpha` lies outside (0, 1), a sample has fewer than two customers, nothing varies, or a
/// relative effect is asked for and the control's mean is zero.
pub fn read_out(
    control: &Statistic,
    treatment: &Statistic,
    difference: Difference,
    side: Side,
    method: Method,
    alpha: f64,
) -> Result<Readout, BadInput> {
    let effect = compare(control, treatment, difference)?;
    match method {
        Method::Sequential { tuning } => always_valid(&effect, side, alpha, tuning),
        Method::FixedHorizon => welch(&effect, side, alpha),
    }
}
