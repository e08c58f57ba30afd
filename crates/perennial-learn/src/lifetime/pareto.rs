//! Pareto/NBD: customers who may leave at any moment (Schmittlein, Morrison & Colombo 1987).
//!
//! Promise: the maximum of the published likelihood. The usual Gauss hypergeometric functions are
//! written as the integral over the moment of leaving, which has no awkward corners and gives exact
//! derivatives; 12-point Gauss-Legendre panels in logarithmic time keep it to about 1e-12.

#![allow(clippy::many_single_char_names, reason = "the symbols of the papers")]

use serde::{Deserialize, Serialize};
use statrs::function::gamma::{digamma, ln_gamma};

use super::{Fit, Parameters, Purchases, RepeatBuying, check, fit::fit_grouped, geometric, group::Grouped};
use crate::{
    input::BadInput,
    optimise::Local,
    special::{GAUSS_LEGENDRE_12, trigamma},
};

/// A published Pareto/NBD model: purchase rates ~ Gamma(r, alpha), leaving rates ~ Gamma(s, beta).
///
/// All parameters are positive; `alpha` and `beta` have the unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pareto {
    /// Shape of the purchase rates.
    pub r: f64,
    /// Scale of the purchase rates, in time.
    pub alpha: f64,
    /// Shape of the leaving rates.
    pub s: f64,
    /// Scale of the leaving rates, in time.
    pub beta: f64,
}

/// Fits Pareto/NBD by maximum likelihood.
///
/// Errors name the field when a customer is impossible, and say so when nobody bought again.
pub fn fit(customers: &[Purchases]) -> Result<Fit<Pareto>, BadInput> {
    check(customers)?;
    let [r, alpha, ..] = geometric::start(customers);
    fit_grouped("Pareto/NBD", [r, alpha, 0.5, alpha], customers, likelihood, |[r, alpha, s, beta]| Pareto {
        r,
        alpha,
        s,
        beta,
    })
}

/// ln of (α + τ)^-ρ (β + τ)^-s.
fn ln_surviving(rho: f64, s: f64, of_alpha: f64, of_beta: f64) -> f64 {
    -rho * of_alpha.ln() - s * of_beta.ln()
}

/// Largest decay, in natural logarithms, that one 12-point panel has to follow.
const PANEL_DECAY: f64 = 8.0;
/// Longest panel in logarithmic time.
const PANEL_LENGTH: f64 = 1.2;
/// Decay after which the rest of the integral is below 1e-17 of its start.
const NEGLIGIBLE: f64 = 40.0;

/// Visits nodes τ and weights dτ of a quadrature over `from..to` for integrands that decay like
/// (α + τ)^-ρ (β + τ)^-s.
///
/// Panels are equal in ln(min(α, β) + τ), where the nearest singularity is π away.
fn panels(p: &[f64; 4], rho: f64, from: f64, to: f64, mut visit: impl FnMut(f64, f64)) {
    let [_, alpha, s, beta] = *p;
    let base = alpha.min(beta);
    let rate = |time: f64| (base + time) * (rho / (alpha + time) + s / (beta + time));
    let mut time = from;
    let mut decayed = 0.0;
    while time < to && decayed < NEGLIGIBLE {
        let left = ((base + to) / (base + time)).ln();
        let longest = left.min(PANEL_LENGTH);
        let steepest = rate(time).max(rate((base + time) * longest.exp() - base));
        let length = longest / (longest * steepest / PANEL_DECAY).ceil().max(1.0);
        let (middle, half) = (0.5 * length, 0.5 * length);
        for (node, weight) in GAUSS_LEGENDRE_12 {
            for signed in [-node, node] {
                let after = (base + time) * (middle + half * signed).exp();
                visit(after - base, weight * half * after);
            }
        }
        decayed += length * rate(time);
        time = if length >= left { to } else { (base + time) * length.exp() - base };
    }
}

/// The ways a history can have come about: alive at the end, or left at some moment since the
/// last purchase. Moments are relative to the weight of having survived to the last purchase.
struct Ways {
    alive: f64,
    left: f64,
    ln_scale: f64,
}

fn ways(p: &[f64; 4], c: Purchases) -> Ways {
    let [r, alpha, s, beta] = *p;
    let rho = r + f64::from(c.frequency);
    let ln_scale = ln_surviving(rho, s, alpha + c.recency, beta + c.recency);
    let alive = (ln_surviving(rho, s, alpha + c.age, beta + c.age) - ln_scale).exp();
    let mut left = 0.0;
    panels(p, rho, c.recency, c.age, |time, dt| {
        let (of_alpha, of_beta) = (alpha + time, beta + time);
        left += s * dt / of_beta * (ln_surviving(rho, s, of_alpha, of_beta) - ln_scale).exp();
    });
    Ways { alive, left, ln_scale }
}

/// Total log-likelihood with gradient and Hessian in `[r, alpha, s, beta]`.
fn likelihood(p: &[f64; 4], customers: &Grouped) -> Local<4> {
    let [r, alpha, s, beta] = *p;
    let n = customers.customers;
    let mut total = Local { value: 0.0, gradient: [0.0; 4], hessian: [[0.0; 4]; 4] };
    let (base, slope, bend) = (ln_gamma(r), digamma(r), trigamma(r));
    for block in &customers.blocks {
        let rows = &customers.rows[block.clone()];
        let x = f64::from(rows[0].frequency);
        let weight: f64 = rows.iter().map(|row| row.weight).sum();
        total.value += weight * (ln_gamma(r + x) - base);
        total.gradient[0] += weight * (digamma(r + x) - slope);
        total.hessian[0][0] += weight * (trigamma(r + x) - bend);
        for row in rows {
            let c = Purchases { frequency: row.frequency, recency: row.recency, age: row.age };
            add_customer(p, c, row.weight, &mut total);
        }
    }
    total.value += n * (r * alpha.ln() + s * beta.ln());
    for (g, d) in total.gradient.iter_mut().zip([alpha.ln(), r / alpha, beta.ln(), s / beta]) {
        *g += n * d;
    }
    total.hessian[0][1] += n / alpha;
    total.hessian[1][1] -= n * r / (alpha * alpha);
    total.hessian[2][3] += n / beta;
    total.hessian[3][3] -= n * s / (beta * beta);
    for i in 0..4 {
        for j in 0..i {
            total.hessian[i][j] = total.hessian[j][i];
        }
    }
    total
}

/// Moments of the derivatives of the log weights over the ways of one history.
#[derive(Default)]
struct Moments {
    mass: f64,
    slope: [f64; 4],
    square: [[f64; 4]; 4],
    bend: [f64; 5], // rα, αα, ss, sβ, ββ
}

impl Moments {
    /// Adds one way with its weight, where `left` is 1 for having left then and 0 for being alive.
    fn add(&mut self, weight: f64, rho: f64, s: f64, of_alpha: (f64, f64), of_beta: (f64, f64), left: f64) {
        let (ia, ib) = (1.0 / of_alpha.0, 1.0 / of_beta.0);
        let slope = [-of_alpha.1, -rho * ia, left / s - of_beta.1, -(s + left) * ib];
        self.mass += weight;
        for i in 0..4 {
            let weighted = weight * slope[i];
            self.slope[i] += weighted;
            for (cell, other) in self.square[i].iter_mut().zip(slope).skip(i) {
                *cell += weighted * other;
            }
        }
        let bend = [-ia, rho * ia * ia, -left / (s * s), -ib, (s + left) * ib * ib];
        for (sum, value) in self.bend.iter_mut().zip(bend) {
            *sum += weight * value;
        }
    }
}

fn add_customer(p: &[f64; 4], c: Purchases, n: f64, total: &mut Local<4>) {
    let [r, alpha, s, beta] = *p;
    let rho = r + f64::from(c.frequency);
    let ln_scale = ln_surviving(rho, s, alpha + c.recency, beta + c.recency);
    let mut moments = Moments::default();
    let mut add = |time: f64, weight: f64, left: f64| {
        let (of_alpha, of_beta) = (alpha + time, beta + time);
        let (ln_alpha, ln_beta) = (of_alpha.ln(), of_beta.ln());
        let weight = weight * (-rho * ln_alpha - s * ln_beta - ln_scale).exp();
        let weight = if left > 0.0 { weight * s / of_beta } else { weight };
        moments.add(weight, rho, s, (of_alpha, ln_alpha), (of_beta, ln_beta), left);
    };
    add(c.age, 1.0, 0.0);
    panels(p, rho, c.recency, c.age, |time, dt| add(time, dt, 1.0));
    let share = 1.0 / moments.mass;
    total.value += n * (moments.mass.ln() + ln_scale);
    let slope = moments.slope.map(|g| g * share);
    for i in 0..4 {
        total.gradient[i] += n * slope[i];
        for j in i..4 {
            total.hessian[i][j] += n * (moments.square[i][j] * share - slope[i] * slope[j]);
        }
    }
    let [ra, aa, ss, sb, bb] = moments.bend.map(|b| n * b * share);
    total.hessian[0][1] += ra;
    total.hessian[1][1] += aa;
    total.hessian[2][2] += ss;
    total.hessian[2][3] += sb;
    total.hessian[3][3] += bb;
}

/// (1 - e^(-(s - 1) l)) / (s - 1), continuous at s = 1.
fn leaving_integral(s: f64, l: f64) -> f64 {
    let exponent = (s - 1.0) * l;
    if exponent.abs() < 1e-12 { l } else { -(-exponent).exp_m1() / (s - 1.0) }
}

impl Pareto {
    fn array(&self) -> [f64; 4] {
        [self.r, self.alpha, self.s, self.beta]
    }
}

impl Parameters for Pareto {
    const NAMES: &'static [&'static str] = &["r", "alpha", "s", "beta"];

    fn values(&self) -> Vec<f64> {
        self.array().to_vec()
    }

    fn with(&self, values: &[f64]) -> Self {
        Self { r: values[0], alpha: values[1], s: values[2], beta: values[3] }
    }
}

impl RepeatBuying for Pareto {
    fn log_likelihood(&self, customers: &[Purchases]) -> f64 {
        let Self { r, alpha, s, beta } = *self;
        let one = |c: &Purchases| {
            let ways = ways(&self.array(), *c);
            let x = f64::from(c.frequency);
            ln_gamma(r + x) - ln_gamma(r)
                + r * alpha.ln()
                + s * beta.ln()
                + ways.ln_scale
                + (ways.alive + ways.left).ln()
        };
        customers.iter().map(one).sum()
    }

    fn p_alive(&self, customer: Purchases) -> f64 {
        let ways = ways(&self.array(), customer);
        ways.alive / (ways.alive + ways.left)
    }

    fn expected_purchases(&self, customer: Purchases, horizon: f64) -> f64 {
        let rho = self.r + f64::from(customer.frequency);
        let until = self.beta + customer.age;
        let lasting = until * leaving_integral(self.s, (horizon / until).ln_1p());
        self.p_alive(customer) * rho / (self.alpha + customer.age) * lasting
    }

    fn expected_purchases_of_new(&self, age: f64) -> f64 {
        self.r / self.alpha * self.beta * leaving_integral(self.s, (age / self.beta).ln_1p())
    }

    fn p_purchase_within(&self, customer: Purchases, horizon: f64) -> f64 {
        let rho = self.r + f64::from(customer.frequency);
        let (alpha, beta) = (self.alpha + customer.age, self.beta + customer.age);
        let shifted = [rho, alpha, self.s, beta];
        let mut chance = 0.0;
        panels(&shifted, rho, 0.0, horizon, |time, dt| {
            let ln_silent = -rho * (time / alpha).ln_1p() - self.s * (time / beta).ln_1p();
            chance += dt * rho / (alpha + time) * ln_silent.exp();
        });
        self.p_alive(customer) * chance.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::{fit::derivatives, made_up};

    #[test]
    fn stated_derivatives_are_those_of_the_likelihood() {
        let grouped = Grouped::of(made_up::customers(40, 5).into_iter());
        for at in [[0.55, 10.6, 0.6, 11.7], [2.0, 3.0, 0.2, 30.0], [0.3, 40.0, 1.5, 2.0]] {
            derivatives::hold(at, |p| likelihood(p, &grouped));
        }
    }

    #[test]
    fn the_integral_meets_its_closed_form_when_both_scales_are_equal() {
        // α = β: ∫ (α + τ)^-(ρ+s+1) dτ is elementary.
        let model = Pareto { r: 0.7, alpha: 6.0, s: 0.9, beta: 6.0 };
        for (frequency, recency, age) in [(0, 0.0, 30.0), (3, 12.0, 40.0), (80, 1.0, 39.0)] {
            let c = Purchases { frequency, recency, age };
            let power = 0.7 + f64::from(frequency) + 0.9;
            let ratio = ((6.0 + age) / (6.0 + recency)).ln() * power;
            let left = 0.9 / power * -(-ratio).exp_m1();
            let alive = (-ratio).exp();
            let want = alive / (alive + left);
            assert!((model.p_alive(c) / want - 1.0).abs() < 1e-11, "{c:?}");
        }
    }

    #[test]
    fn buying_soon_is_what_the_rates_say() {
        let model = Pareto { r: 0.55, alpha: 10.6, s: 1.0, beta: 11.7 };
        let c = Purchases { frequency: 4, recency: 30.0, age: 39.0 };
        let (soon, bought) = (model.p_purchase_within(c, 1e-3), model.expected_purchases(c, 1e-3));
        assert!((soon / bought - 1.0).abs() < 1e-3);
        assert!(model.p_purchase_within(c, 1e5) < model.p_alive(c));
        assert!(model.next_purchase(c, 0.4).is_some());
    }

    #[test]
    fn a_fit_is_higher_than_its_neighbours() {
        let customers = made_up::customers(600, 19);
        let fitted = fit(&customers).unwrap();
        for i in 0..4 {
            let mut values = fitted.model.values();
            values[i] *= 1.1;
            assert!(fitted.model.with(&values).log_likelihood(&customers) < fitted.log_likelihood);
        }
    }
}
