//! What BG/NBD and MBG/NBD share: Poisson purchases with gamma-distributed rates, and a
//! beta-distributed chance to leave after a purchase.
//!
//! They differ only in `first`: whether the first purchase already gives a chance to leave.
//! Parameters are `[r, alpha, a, b]` throughout: rate ~ Gamma(r, alpha), leave ~ Beta(a, b).

#![allow(clippy::many_single_char_names, reason = "the symbols of the papers")]

use statrs::function::{
    beta::ln_beta,
    gamma::{digamma, ln_gamma},
};

use super::{Purchases, group::Grouped, group::Row};
use crate::{
    optimise::Local,
    special::{sigmoid, softplus, trigamma},
};

/// When a customer may leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leaves {
    /// After each repeat purchase (BG/NBD).
    AfterRepeat,
    /// After every purchase, the first included (MBG/NBD).
    AfterAny,
}

impl Leaves {
    /// Chances to leave that a customer with `x` repeats met beyond the `x` ones of BG/NBD.
    fn first(self) -> f64 {
        match self {
            Self::AfterRepeat => 0.0,
            Self::AfterAny => 1.0,
        }
    }

    /// Whether a customer with `x` repeats can have left at all.
    fn possible(self, x: u32) -> bool {
        x > 0 || self == Self::AfterAny
    }
}

/// ln of the odds that the customer left right after the last purchase.
fn ln_odds_left(p: &[f64; 4], leaves: Leaves, c: Purchases) -> f64 {
    let [r, alpha, a, b] = *p;
    if !leaves.possible(c.frequency) {
        return f64::NEG_INFINITY;
    }
    let x = f64::from(c.frequency);
    let silent = ((alpha + c.age) / (alpha + c.recency)).ln();
    (a / (b + x - 1.0 + leaves.first())).ln() + (r + x) * silent
}

pub(super) fn p_alive(p: &[f64; 4], leaves: Leaves, c: Purchases) -> f64 {
    sigmoid(-ln_odds_left(p, leaves, c))
}

/// Expected purchases after the end of observation (Fader, Hardie & Lee 2005, eq. 10;
/// Batislam, Denizel & Filiztekin 2007).
pub(super) fn expected_purchases(p: &[f64; 4], leaves: Leaves, c: Purchases, horizon: f64) -> f64 {
    let [r, alpha, a, b] = *p;
    let met = b + f64::from(c.frequency) + leaves.first();
    p_alive(p, leaves, c) * purchases_until_leaving(r + f64::from(c.frequency), a, met, horizon / (alpha + c.age))
}

pub(super) fn expected_purchases_of_new(p: &[f64; 4], leaves: Leaves, age: f64) -> f64 {
    let [r, alpha, a, b] = *p;
    let stayed = b + leaves.first();
    let stays = if leaves == Leaves::AfterAny { b / (a + b) } else { 1.0 };
    stays * purchases_until_leaving(r, a, stayed, age / alpha)
}

/// A living customer's purchase times are not cut short before the next purchase.
pub(super) fn p_purchase_within(p: &[f64; 4], leaves: Leaves, c: Purchases, horizon: f64) -> f64 {
    let [r, alpha, ..] = *p;
    let silence = -(r + f64::from(c.frequency)) * (horizon / (alpha + c.age)).ln_1p();
    p_alive(p, leaves, c) * -silence.exp_m1()
}

/// From here on the series would overflow: its largest term is about e to this.
const STEEP: f64 = 300.0;
/// From here on a beta distribution is a point, to the digits that quadrature could give.
const ALIKE: f64 = 1e9;

/// E[(1 - (1 + pτ)^-ρ) / p] for p ~ Beta(a, b): purchases of a living customer until the end of
/// a horizon of τ = t / (α + T), with leaving on the way.
///
/// The published Gauss hypergeometric form after Euler's transformation, rearranged so that
/// neither a = 1 nor a + b = 1 divides by zero; by quadrature where the series is slow or alternates.
///
/// Where a and b have run away together, everybody leaves with the same chance a / (a + b).
fn purchases_until_leaving(rho: f64, a: f64, b: f64, tau: f64) -> f64 {
    if tau <= 0.0 {
        return 0.0;
    }
    if a + b > ALIKE {
        let p = a / (a + b);
        return -(-rho * (p * tau).ln_1p()).exp_m1() / p;
    }
    let z = tau / (1.0 + tau);
    let (c, k) = (a + b - 1.0, a + b - 1.0 - rho);
    if z > 0.99 || k < -5.0 || a * tau.ln_1p() > STEEP {
        return by_quadrature(rho, a, b, tau);
    }
    // c · S with S = Σ (k)ₙ (a)ₙ₋₁ zⁿ / ((c)ₙ n!), where c / (c)ₙ = 1 / (c + 1)ₙ₋₁.
    let (mut term, mut sum, mut n) = (k * z, 0.0_f64, 1.0);
    while n < 1e5 {
        sum += term;
        if term.abs() <= 1e-17 * sum.abs() {
            break;
        }
        term *= (k + n) * (a + n - 1.0) * z / ((c + n) * (n + 1.0));
        n += 1.0;
    }
    let power = -tau.ln_1p(); // ln(1 - z)
    let shrunk = (a - 1.0) * power;
    let first = if shrunk.abs() < 1e-12 { -power } else { -shrunk.exp_m1() / (a - 1.0) };
    c * first - shrunk.exp() * sum
}

/// The same expectation by the trapezoid rule after a double-exponential substitution
/// (Takahasi & Mori 1974) of the logit of p, centred on its bulk.
fn by_quadrature(rho: f64, a: f64, b: f64, tau: f64) -> f64 {
    const STEP: f64 = 1.0 / 16.0;
    let (centre, width) = ((a / b).ln(), (1.0 / a + 1.0 / b).sqrt());
    let ln_norm = ln_beta(a, b);
    let at = |w: f64| {
        let y = centre + width * w.sinh();
        let ln_density = -a * softplus(-y) - b * softplus(y) - ln_norm;
        let p = sigmoid(y);
        let bought = if p < 1e-290 { rho * tau } else { -(-rho * (p * tau).ln_1p()).exp_m1() / p };
        ln_density.exp() * bought * width * w.cosh()
    };
    let mut sum = at(0.0);
    for direction in [-1.0, 1.0] {
        for i in 1..=320 {
            let part = at(direction * STEP * f64::from(i));
            sum += part;
            if part < 1e-18 * sum && i > 32 {
                break;
            }
        }
    }
    sum * STEP
}

/// Total log-likelihood with gradient and Hessian in `[r, alpha, a, b]`.
pub(super) fn likelihood(p: &[f64; 4], leaves: Leaves, customers: &Grouped) -> Local<4> {
    let mut total = Local { value: 0.0, gradient: [0.0; 4], hessian: [[0.0; 4]; 4] };
    let anchors = Anchors::at(p);
    for block in &customers.blocks {
        let rows = &customers.rows[block.clone()];
        let x = rows[0].frequency;
        let weight: f64 = rows.iter().map(|r| r.weight).sum();
        add_block_constants(p, leaves, &anchors, f64::from(x), weight, &mut total);
        if leaves.possible(x) {
            add_rows(p, leaves, f64::from(x), rows, &mut total);
        } else {
            add_silent_rows(p, rows, &mut total);
        }
    }
    let [r, alpha, ..] = *p;
    let n = customers.customers;
    total.value += n * r * alpha.ln();
    total.gradient[0] += n * alpha.ln();
    total.gradient[1] += n * r / alpha;
    total.hessian[0][1] += n / alpha;
    total.hessian[1][1] -= n * r / (alpha * alpha);
    for i in 0..4 {
        for j in 0..i {
            total.hessian[i][j] = total.hessian[j][i];
        }
    }
    total
}

/// The same for a single customer.
pub(super) fn likelihood_of_one(p: &[f64; 4], leaves: Leaves, c: Purchases) -> Local<4> {
    let row = Row { frequency: c.frequency, recency: c.recency, age: c.age, weight: 1.0 };
    let mut total =
        Local { value: p[0] * p[1].ln(), gradient: [p[1].ln(), p[0] / p[1], 0.0, 0.0], hessian: [[0.0; 4]; 4] };
    let x = f64::from(c.frequency);
    add_block_constants(p, leaves, &Anchors::at(p), x, 1.0, &mut total);
    if leaves.possible(c.frequency) {
        add_rows(p, leaves, x, &[row], &mut total);
    } else {
        add_silent_rows(p, &[row], &mut total);
    }
    total
}

/// Gamma functions of the bare parameters: ln Γ, digamma, trigamma of r, b and a + b.
struct Anchors {
    r: [f64; 3],
    b: [f64; 3],
    ab: [f64; 3],
}

fn gammas(z: f64) -> [f64; 3] {
    [ln_gamma(z), digamma(z), trigamma(z)]
}

impl Anchors {
    fn at(p: &[f64; 4]) -> Self {
        Self { r: gammas(p[0]), b: gammas(p[3]), ab: gammas(p[2] + p[3]) }
    }
}

/// What all customers with `x` repeats share: the gamma and beta functions. Upper triangle only.
fn add_block_constants(p: &[f64; 4], leaves: Leaves, anchors: &Anchors, x: f64, n: f64, total: &mut Local<4>) {
    let (bought, stayed) = (gammas(p[0] + x), x + leaves.first());
    total.value += n * (bought[0] - anchors.r[0]);
    total.gradient[0] += n * (bought[1] - anchors.r[1]);
    total.hessian[0][0] += n * (bought[2] - anchors.r[2]);
    if stayed > 0.0 {
        let (b, ab) = (gammas(p[3] + stayed), gammas(p[2] + p[3] + stayed));
        total.value += n * (b[0] - ab[0] - anchors.b[0] + anchors.ab[0]);
        total.gradient[2] += n * (anchors.ab[1] - ab[1]);
        total.gradient[3] += n * (b[1] - ab[1] - anchors.b[1] + anchors.ab[1]);
        total.hessian[2][2] += n * (anchors.ab[2] - ab[2]);
        total.hessian[2][3] += n * (anchors.ab[2] - ab[2]);
        total.hessian[3][3] += n * (b[2] - ab[2] - anchors.b[2] + anchors.ab[2]);
    }
}

/// Customers who cannot have left: -r ln(α + T).
fn add_silent_rows(p: &[f64; 4], rows: &[Row], total: &mut Local<4>) {
    let [r, alpha, ..] = *p;
    let (mut logs, mut inverses, mut squares) = (0.0, 0.0, 0.0);
    for row in rows {
        let until_end = alpha + row.age;
        let inverse = 1.0 / until_end;
        logs += row.weight * until_end.ln();
        inverses += row.weight * inverse;
        squares += row.weight * inverse * inverse;
    }
    total.value -= r * logs;
    total.gradient[0] -= logs;
    total.gradient[1] -= r * inverses;
    total.hessian[0][1] -= inverses;
    total.hessian[1][1] += r * squares;
}

/// Customers who are alive or left after their last purchase:
/// A + ln(1 + e^D) with A = -ρ ln(α + T) and D = ln a - ln(b + x - 1) + ρ ln((α + T) / (α + tₓ)).
fn add_rows(p: &[f64; 4], leaves: Leaves, x: f64, rows: &[Row], total: &mut Local<4>) {
    let [r, alpha, a, b] = *p;
    let (rho, chances) = (r + x, b + x - 1.0 + leaves.first());
    let odds = (a / chances).ln();
    let mut value = 0.0;
    let [mut s_end, mut s_inv, mut s_inv2] = [0.0; 3]; // of A
    let [mut s_w, mut s_wl, mut s_wd, mut s_wd2] = [0.0; 4]; // of D, weighted by P(left)
    let [mut s_v, mut s_vl, mut s_vd, mut s_vll, mut s_vld, mut s_vdd] = [0.0; 6]; // by P(left) P(alive)
    for row in rows {
        let (end, last) = (alpha + row.age, alpha + row.recency);
        let (inv_end, inv_last) = (1.0 / end, 1.0 / last);
        let (ln_end, silent) = (end.ln(), (end * inv_last).ln());
        let d = odds + rho * silent;
        let shrunk = (-d.abs()).exp();
        let minor = shrunk / (1.0 + shrunk);
        let left = if d > 0.0 { 1.0 - minor } else { minor };
        let n = row.weight;
        value += n * (d.max(0.0) + shrunk.ln_1p() - rho * ln_end);
        s_end += n * ln_end;
        s_inv += n * inv_end;
        s_inv2 += n * inv_end * inv_end;
        let w = n * left;
        let slope = inv_end - inv_last;
        s_w += w;
        s_wl += w * silent;
        s_wd += w * slope;
        s_wd2 += w * (inv_last * inv_last - inv_end * inv_end);
        let v = w * (1.0 - left);
        let (vl, vd) = (v * silent, v * slope);
        s_v += v;
        s_vl += vl;
        s_vd += vd;
        s_vll += vl * silent;
        s_vld += vl * slope;
        s_vdd += vd * slope;
    }
    let (da, db) = (1.0 / a, -1.0 / chances);
    total.value += value;
    let g = &mut total.gradient;
    g[0] += s_wl - s_end;
    g[1] += rho * (s_wd - s_inv);
    g[2] += s_w * da;
    g[3] += s_w * db;
    let h = &mut total.hessian;
    h[0][0] += s_vll;
    h[0][1] += s_wd - s_inv + rho * s_vld;
    h[0][2] += da * s_vl;
    h[0][3] += db * s_vl;
    h[1][1] += rho * (s_inv2 + s_wd2) + rho * rho * s_vdd;
    h[1][2] += rho * da * s_vd;
    h[1][3] += rho * db * s_vd;
    h[2][2] += da * da * (s_v - s_w);
    h[2][3] += da * db * s_v;
    h[3][3] += db * db * (s_v + s_w);
}

/// A start that knows the scale of time: the pooled purchase rate.
pub(super) fn start(customers: &[Purchases]) -> [f64; 4] {
    let bought: f64 = customers.iter().map(|c| f64::from(c.frequency)).sum();
    let observed: f64 = customers.iter().map(|c| c.age).sum();
    [0.5, 0.5 * observed / bought, 0.8, 2.0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::{fit::derivatives, made_up};

    #[test]
    fn stated_derivatives_are_those_of_the_likelihood() {
        let grouped = Grouped::of(made_up::customers(60, 5).into_iter());
        for leaves in [Leaves::AfterRepeat, Leaves::AfterAny] {
            for at in [[0.4, 4.0, 0.8, 2.5], [3.0, 20.0, 0.1, 0.7]] {
                derivatives::hold(at, |p| likelihood(p, leaves, &grouped));
            }
        }
    }

    #[test]
    fn the_series_and_the_quadrature_agree() {
        for (rho, a, b, tau) in [
            (0.24, 0.79, 2.4, 3.0),
            (5.0, 1.0, 2.0, 0.7),
            (2.5, 0.3, 0.7, 9.0),
            (40.0, 2.0, 60.0, 1.0),
            (0.5, 3.0, 0.2, 50.0),
        ] {
            let (series, integral) = (purchases_until_leaving(rho, a, b, tau), by_quadrature(rho, a, b, tau));
            assert!((series / integral - 1.0).abs() < 1e-9, "{rho} {a} {b} {tau}: {series} {integral}");
        }
    }

    #[test]
    fn without_leaving_purchases_grow_linearly() {
        let (rho, tau) = (3.0, 200.0);
        let purchases = purchases_until_leaving(rho, 1e-9, 5.0, tau);
        assert!((purchases / (rho * tau) - 1.0).abs() < 1e-5, "{purchases}");
    }

    #[test]
    fn purchases_stay_finite_where_customers_leave_alike() {
        let (rho, tau, p): (f64, f64, f64) = (3.0, 2.5, 0.2);
        let point = -(-rho * (p * tau).ln_1p()).exp_m1() / p;
        for strength in [1e3, 1e4, 1e6, 1e8, 1e10, 1e13] {
            let found = purchases_until_leaving(rho, p * strength, (1.0 - p) * strength, tau);
            assert!((found / point - 1.0).abs() < 3.0 / strength + 1e-6, "{strength}: {found} {point}");
        }
    }
}
