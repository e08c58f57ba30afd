//! Members against comparable non-members: difference in differences and matching.
//!
//! Joining is not random, so both methods lean on an assumption that data cannot prove: parallel
//! trends, or no hidden reason to join. [`balance`] and [`placebo`] show where it is doubtful.
//! Papers: Abadie & Imbens 2006 (matching and its variance); Stuart 2010 (balance).

use crate::input::{BadInput, Problem, finite, open_unit, real, same_length};
use crate::segment::Points;
use serde::{Deserialize, Serialize};
use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::SQRT_2;

/// An effect with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CausalEffect {
    /// The mean effect on members.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The interval's lower end.
    pub lower: f64,
    /// The interval's upper end.
    pub upper: f64,
    /// The two-sided p-value.
    pub p_value: f64,
    /// Members that could be compared.
    pub members: usize,
    /// Non-members that they were compared with.
    pub others: usize,
}

fn effect(estimate: f64, standard_error: f64, alpha: f64, members: usize, others: usize) -> CausalEffect {
    let reach = SQRT_2 * erfc_inv(alpha) * standard_error;
    let p_value = if standard_error > 0.0 { erfc((estimate / standard_error).abs() / SQRT_2) } else { 1.0 };
    CausalEffect {
        estimate,
        standard_error,
        lower: estimate - reach,
        upper: estimate + reach,
        p_value,
        members,
        others,
    }
}

/// One customer before and after the date in question.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BeforeAfter {
    /// Whether the customer joined.
    pub member: bool,
    /// The measure before.
    pub before: f64,
    /// The measure after.
    pub after: f64,
}

/// Difference in differences: members' mean change minus the others' mean change.
///
/// # Errors
/// When `alpha` lies outside (0, 1), a value is not finite, or a group has fewer than two customers.
pub fn difference_in_differences(customers: &[BeforeAfter], alpha: f64) -> Result<CausalEffect, BadInput> {
    open_unit("alpha", alpha)?;
    let change = |member: bool| {
        customers.iter().filter(move |c| c.member == member).map(|c| c.after - c.before).collect::<Vec<_>>()
    };
    let (members, others) = (change(true), change(false));
    let (m, v) = mean_and_variance("members", &members)?;
    let (m_o, v_o) = mean_and_variance("others", &others)?;
    Ok(effect(m - m_o, (v / real(members.len()) + v_o / real(others.len())).sqrt(), alpha, members.len(), others.len()))
}

/// The same comparison between two times before the date: an effect here says that trends were not
/// parallel, and that [`difference_in_differences`] should not be trusted.
///
/// # Errors
/// As [`difference_in_differences`].
pub fn placebo(earlier: &[BeforeAfter], alpha: f64) -> Result<CausalEffect, BadInput> {
    difference_in_differences(earlier, alpha)
}

fn mean_and_variance(field: &str, values: &[f64]) -> Result<(f64, f64), BadInput> {
    finite(field, values)?;
    if values.len() < 2 {
        let problem = Problem::TooFew { found: values.len(), needed: 2 };
        return Err(BadInput::new(field, problem, "wait for more customers in this group"));
    }
    let mean = values.iter().sum::<f64>() / real(values.len());
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / real(values.len() - 1);
    Ok((mean, variance))
}

/// How members are matched.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Matching {
    /// Non-members per member.
    pub neighbours: usize,
    /// Members whose nearest non-member lies further than this (in standard deviations, root mean
    /// square over the features) are left out.
    pub caliper: f64,
    /// The level of the interval.
    pub alpha: f64,
}

impl Default for Matching {
    fn default() -> Self {
        Self { neighbours: 3, caliper: 0.5, alpha: 0.05 }
    }
}

/// The standardised difference of one feature between members and others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// The feature's position.
    pub feature: usize,
    /// Before matching; beyond 0.1 is noteworthy, beyond 0.25 is trouble.
    pub before: f64,
    /// After matching.
    pub after: f64,
}

/// The answer of matching.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matched {
    /// The mean effect on the members that found a match.
    pub effect: CausalEffect,
    /// Members without a comparable non-member; the effect says nothing about them.
    pub unmatched: usize,
    /// How alike the groups are, feature by feature.
    pub balance: Vec<Balance>,
}

/// Each unit's nearest units of some group, with distances in standard deviations.
struct Search<'a> {
    scaled: &'a Points,
    group: Vec<usize>,
}

impl Search<'_> {
    fn nearest(&self, unit: usize, count: usize) -> Vec<(f64, usize)> {
        let row = self.scaled.row(unit);
        let mut best: Vec<(f64, usize)> = Vec::with_capacity(count + 1);
        for &other in self.group.iter().filter(|&&o| o != unit) {
            let square: f64 = row.iter().zip(self.scaled.row(other)).map(|(a, b)| (a - b) * (a - b)).sum();
            if best.len() < count || square < best[best.len() - 1].0 {
                best.insert(best.partition_point(|b| b.0 <= square), (square, other));
                best.truncate(count);
            }
        }
        let d = real(self.scaled.dimensions());
        best.iter().map(|&(s, o)| ((s / d).sqrt(), o)).collect()
    }
}

/// Compares each member with the nearest non-members (with replacement).
///
/// `features` describe customers before they could join; `outcome` comes after.
///
/// # Errors
/// When lengths differ, a value is not finite, `alpha` or `neighbours` is out of range, a group has
/// fewer than two customers or nobody finds a match.
pub fn match_members(
    features: &Points,
    member: &[bool],
    outcome: &[f64],
    settings: Matching,
) -> Result<Matched, BadInput> {
    same_length("member", member.len(), features.len())?;
    same_length("outcome", outcome.len(), features.len())?;
    finite("outcome", outcome)?;
    open_unit("alpha", settings.alpha)?;
    let j = settings.neighbours;
    let of = |side: bool| (0..member.len()).filter(|&i| member[i] == side).collect::<Vec<_>>();
    let (members, others) = (of(true), of(false));
    if j == 0 || j > others.len() {
        return Err(BadInput::range("neighbours", real(j), "between 1 and the number of non-members"));
    }
    if members.len() < 2 || others.len() < 2 {
        return Err(BadInput::new("member", Problem::OneClass, "give two members and two others at least"));
    }
    let scaled = standardise(features);
    let search = Search { scaled: &scaled, group: others.clone() };
    let mut used = vec![0.0; member.len()];
    let mut gains = Vec::new();
    let mut matched = Vec::new();
    for &i in &members {
        let near = search.nearest(i, j);
        if near[0].0 > settings.caliper {
            continue;
        }
        near.iter().for_each(|&(_, o)| used[o] += 1.0);
        gains.push(outcome[i] - near.iter().map(|&(_, o)| outcome[o]).sum::<f64>() / real(j));
        matched.push(i);
    }
    if gains.len() < 2 {
        let problem = Problem::TooFew { found: gains.len(), needed: 2 };
        return Err(BadInput::new("matched members", problem, "widen the caliper or drop features"));
    }
    let n = real(gains.len());
    let estimate = gains.iter().sum::<f64>() / n;
    let own: f64 = gains.iter().map(|g| (g - estimate).powi(2)).sum();
    let reuse: f64 = others
        .iter()
        .filter(|&&o| used[o] > 1.0)
        .map(|&o| used[o] * (used[o] - 1.0) / real(j * j) * local_variance(&search, o, outcome))
        .sum();
    let touched = others.iter().filter(|&&o| used[o] > 0.0).count();
    Ok(Matched {
        effect: effect(estimate, (own + reuse).sqrt() / n, settings.alpha, gains.len(), touched),
        unmatched: members.len() - gains.len(),
        balance: balance(&scaled, &members, &others, &matched, &used),
    })
}

/// The outcome's variance around one non-member, from its two nearest fellows.
fn local_variance(search: &Search<'_>, unit: usize, outcome: &[f64]) -> f64 {
    let near = search.nearest(unit, 2);
    let count = real(near.len().max(1));
    let mean = near.iter().map(|&(_, o)| outcome[o]).sum::<f64>() / count;
    count / (count + 1.0) * (outcome[unit] - mean).powi(2)
}

fn standardise(features: &Points) -> Points {
    let (means, variances) = (features.means(), features.variances());
    let values = features.rows().flat_map(|r| {
        r.iter()
            .zip(means.iter().zip(&variances))
            .map(|(x, (m, v))| if *v > 0.0 { (x - m) / v.sqrt() } else { 0.0 })
            .collect::<Vec<_>>()
    });
    Points::new(values.collect(), features.dimensions()).unwrap_or_else(|_| features.clone())
}

/// Standardised differences before (members and others) and after (matched and their matches).
fn balance(scaled: &Points, members: &[usize], others: &[usize], matched: &[usize], used: &[f64]) -> Vec<Balance> {
    let mean = |rows: &[usize], j: usize| rows.iter().map(|&i| scaled.row(i)[j]).sum::<f64>() / real(rows.len());
    let total: f64 = others.iter().map(|&o| used[o]).sum();
    (0..scaled.dimensions())
        .map(|j| {
            let weighted = others.iter().map(|&o| used[o] * scaled.row(o)[j]).sum::<f64>() / total;
            Balance { feature: j, before: mean(members, j) - mean(others, j), after: mean(matched, j) - weighted }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};

    /// Big spenders join more often; joining itself adds `gain`.
    fn shop(seed: u64, gain: f64) -> (Points, Vec<bool>, Vec<f64>) {
        let mut rng = generator(seed);
        let (mut features, mut member, mut outcome) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..800 {
            let (spend, noise) = (uniform(&mut rng), uniform(&mut rng));
            let joins = uniform(&mut rng) < 0.2 + 0.4 * spend;
            features.extend([spend, noise]);
            member.push(joins);
            outcome.push(5.0 * spend + uniform(&mut rng) + if joins { gain } else { 0.0 });
        }
        (Points::new(features, 2).unwrap(), member, outcome)
    }

    #[test]
    fn matching_removes_what_joining_did_not_cause() {
        let (x, member, y) = shop(1, 1.0);
        let found = match_members(&x, &member, &y, Matching::default()).unwrap();
        assert!(found.effect.lower < 1.0 && 1.0 < found.effect.upper, "{:?}", found.effect);
        assert!(found.balance[0].before > 0.25 && found.balance[0].after.abs() < 0.05);
    }

    #[test]
    fn without_an_effect_few_intervals_leave_zero() {
        let misses = (0..20)
            .filter(|&s| {
                let (x, member, y) = shop(50 + s, 0.0);
                match_members(&x, &member, &y, Matching::default()).unwrap().effect.p_value < 0.05
            })
            .count();
        assert!(misses <= 4, "{misses} of 20");
    }

    #[test]
    fn differences_remove_what_was_there_before() {
        let mut rng = generator(3);
        let customers: Vec<BeforeAfter> = (0..2000)
            .map(|i| {
                let member = i % 3 == 0;
                let level = if member { 9.0 } else { 4.0 };
                let before = level + uniform(&mut rng);
                BeforeAfter { member, before, after: before + uniform(&mut rng) + if member { 0.5 } else { 0.0 } }
            })
            .collect();
        let e = difference_in_differences(&customers, 0.05).unwrap();
        assert!((e.estimate - 0.5).abs() < 0.05 && e.lower > 0.4 && e.p_value < 1e-6);
        assert!(difference_in_differences(&customers[..1], 0.05).is_err());
    }

    #[test]
    fn a_placebo_date_tells_trends_that_were_never_parallel() {
        let mut rng = generator(6);
        let mut earlier = |drift: f64| -> Vec<BeforeAfter> {
            (0..600)
                .map(|i| {
                    let member = i % 2 == 0;
                    let before = 3.0 + uniform(&mut rng);
                    let own = if member { drift } else { 0.0 };
                    BeforeAfter { member, before, after: before + own + uniform(&mut rng) }
                })
                .collect()
        };
        let (parallel, apart) = (placebo(&earlier(0.0), 0.05).unwrap(), placebo(&earlier(0.3), 0.05).unwrap());
        assert!(parallel.lower < 0.0 && 0.0 < parallel.upper, "{parallel:?}");
        assert!(apart.lower > 0.0 && apart.p_value < 1e-3, "{apart:?}");
    }
}
