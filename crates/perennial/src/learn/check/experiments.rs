//! Answers to `experiments.json`.

use perennial_learn::drift;
use perennial_learn::experiment as e;
use serde_json::{Map, Value, json};

type Input = Map<String, Value>;
type Answer = Result<Value, String>;

/// Answers one case.
pub(super) fn answer(kind: &str, input: &Input) -> Answer {
    match kind {
        "ab" => ab(input),
        "srm" => srm(input),
        "multiple" => multiple(input),
        "power.proportion" => power_proportion(input),
        "power.mean" => power_mean(input),
        "proportion.ztest" => proportion(input),
        "beta_binomial" => beta_binomial(input),
        "confidence_sequence" => confidence_sequence(input),
        "msprt" => msprt(input),
        "psi" => psi(input),
        other => Err(format!("no answer for kind {other}")),
    }
}

fn number(v: &Value, key: &str) -> Result<f64, String> {
    v[key].as_f64().ok_or_else(|| format!("`{key}` is not a number"))
}

fn count(v: &Value, key: &str) -> Result<u64, String> {
    v[key].as_u64().ok_or_else(|| format!("`{key}` is not a count"))
}

fn numbers(v: &Value, key: &str) -> Result<Vec<f64>, String> {
    v[key]
        .as_array()
        .and_then(|a| a.iter().map(Value::as_f64).collect())
        .ok_or_else(|| format!("`{key}` is not a list of numbers"))
}

fn counts(v: &Value, key: &str) -> Result<Vec<u64>, String> {
    v[key]
        .as_array()
        .and_then(|a| a.iter().map(Value::as_u64).collect())
        .ok_or_else(|| format!("`{key}` is not a list of counts"))
}

fn text(why: impl std::fmt::Display) -> String {
    why.to_string()
}

/// A number, or "inf" and "-inf" as the reference files write them.
fn bound(x: f64) -> Value {
    if x.is_finite() {
        json!(x)
    } else if x > 0.0 {
        json!("inf")
    } else {
        json!("-inf")
    }
}

fn mean(v: &Value) -> Result<e::Mean, String> {
    let sum_squares = if v["type"] == "proportion" { number(v, "sum")? } else { number(v, "sum_squares")? };
    Ok(e::Mean { n: count(v, "n")?, sum: number(v, "sum")?, sum_squares })
}

fn statistic(v: &Value) -> Result<e::Statistic, String> {
    Ok(match v["type"].as_str().unwrap_or_default() {
        "proportion" => e::Statistic::Proportion(e::Proportion { n: count(v, "n")?, sum: number(v, "sum")? }),
        "mean" => e::Statistic::Mean(mean(v)?),
        "ratio" => e::Statistic::Ratio(e::Ratio {
            numerator: mean(&v["numerator"])?,
            denominator: mean(&v["denominator"])?,
            sum_of_products: number(v, "sum_of_products")?,
        }),
        "cuped" => e::Statistic::Cuped(e::Cuped {
            post: mean(&v["post"])?,
            pre: mean(&v["pre"])?,
            sum_of_products: number(v, "sum_of_products")?,
        }),
        other => return Err(format!("no statistic of type `{other}`")),
    })
}

fn ab(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let difference = if i["difference"] == "absolute" { e::Difference::Absolute } else { e::Difference::Relative };
    let effect = e::compare(&statistic(&i["a"])?, &statistic(&i["b"])?, difference).map_err(text)?;
    let alpha = i["alpha"].as_f64().unwrap_or(0.05);
    let method = i["method"].as_str().unwrap_or_default();
    let mut out = if method == "bayesian" {
        bayesian(i, &effect, difference, alpha)?
    } else {
        frequentist(i, &effect, method, alpha)?
    };
    if let Some(theta) = effect.theta {
        out["theta"] = json!(theta);
    }
    Ok(out)
}

fn frequentist(i: &Value, effect: &e::Effect, method: &str, alpha: f64) -> Answer {
    let side = if method.ends_with("_greater") {
        e::Side::Greater
    } else if method.ends_with("_lesser") {
        e::Side::Less
    } else {
        e::Side::Both
    };
    let r = if method.starts_with("sequential") {
        e::always_valid(effect, side, alpha, i["tuning"].as_f64().unwrap_or(e::DEFAULT_TUNING))
    } else {
        e::welch(effect, side, alpha)
    }
    .map_err(text)?;
    let one_sided = method.starts_with("sequential") && side != e::Side::Both;
    let p_value = if one_sided { as_the_peer_resolves(r.p_value) } else { r.p_value };
    Ok(
        json!({ "expected": r.estimate, "ci": [bound(r.lower), bound(r.upper)], "stddev": r.standard_error, "p_value": p_value }),
    )
}

/// One-sided sequential p-values are exact here; the reference tool finds them by nine bisections of
/// [0.00001, 0.4999] and reports the middle of the last cell, or the upper end when there is none.
fn as_the_peer_resolves(exact: f64) -> f64 {
    const LOW: f64 = 1e-5;
    const HIGH: f64 = 0.4999;
    if exact >= HIGH {
        return HIGH;
    }
    let cell = (HIGH - LOW) / 512.0;
    LOW + cell * (((exact - LOW) / cell).floor().clamp(0.0, 511.0) + 0.5)
}

fn bayesian(i: &Value, effect: &e::Effect, difference: e::Difference, alpha: f64) -> Answer {
    let p = &i["prior"];
    let prior = if p["proper"] == true {
        let scale = if p["type"] == "absolute" { e::PriorScale::Absolute } else { e::PriorScale::Relative };
        e::GaussianPrior::Normal { mean: number(p, "mean")?, variance: number(p, "variance")?, scale }
    } else {
        e::GaussianPrior::Flat
    };
    let mut r = e::gaussian_posterior(effect, difference, prior, alpha).map_err(text)?;
    if i["inverse"] == true {
        r = r.inverted();
    }
    Ok(
        json!({ "chance_to_win": r.chance_to_win, "expected": r.estimate, "ci": [r.lower, r.upper], "stddev": r.standard_deviation, "risk": [r.risk_of_control, r.risk_of_treatment] }),
    )
}

fn srm(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let r = e::sample_ratio(&counts(i, "users")?, &numbers(i, "weights")?).map_err(text)?;
    Ok(json!({ "p_value": r.p_value, "chi2": r.chi2 }))
}

fn multiple(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let (p, alpha) = (numbers(i, "p_values")?, number(i, "alpha")?);
    let mut out = Map::new();
    for (name, adjusted) in [
        ("bonferroni", e::bonferroni(&p, alpha)),
        ("holm", e::holm(&p, alpha)),
        ("fdr_bh", e::benjamini_hochberg(&p, alpha)),
        ("fdr_by", e::benjamini_yekutieli(&p, alpha)),
    ] {
        let a = adjusted.map_err(text)?;
        out.insert(name.into(), json!({ "adjusted": a.p_values, "reject": a.reject }));
    }
    Ok(Value::Object(out))
}

fn alternative(i: &Value) -> e::Alternative {
    match i["alternative"].as_str() {
        Some("larger") => e::Alternative::Larger,
        Some("smaller") => e::Alternative::Smaller,
        _ => e::Alternative::TwoSided,
    }
}

fn power_proportion(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let plan = e::ProportionPlan {
        control: number(i, "p1")?,
        treatment: number(i, "p2")?,
        alpha: number(i, "alpha")?,
        ratio: number(i, "ratio")?,
        alternative: alternative(i),
    };
    let n = e::proportion_sample_size(&plan, number(i, "power")?).map_err(text)?;
    let at = e::proportion_power(&plan, number(i, "at_n")?).map_err(text)?;
    Ok(json!({ "cohens_h": e::cohens_h(plan.control, plan.treatment), "n_control": n, "power_at_n": at }))
}

fn power_mean(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let plan = e::MeanPlan {
        effect: number(i, "delta")? / number(i, "sd")?,
        alpha: number(i, "alpha")?,
        ratio: number(i, "ratio")?,
        alternative: alternative(i),
    };
    let (power, at_n) = (number(i, "power")?, number(i, "at_n")?);
    let n = e::mean_sample_size(&plan, power).map_err(text)?;
    let at = e::mean_power(&plan, at_n).map_err(text)?;
    let mde = e::mean_detectable(&plan, at_n, power).map_err(text)?;
    Ok(json!({ "n_control": n, "power_at_n": at, "mde_sd_units_at_n": mde }))
}

/// An interval of a share, from its count, its whole and alpha.
type Interval = fn(u64, u64, f64) -> Result<(f64, f64), perennial_learn::input::BadInput>;

#[expect(clippy::many_single_char_names, reason = "the symbols of the field")]
fn proportion(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let (k, n, alpha) = (counts(i, "count")?, counts(i, "nobs")?, number(i, "alpha")?);
    let (&[k0, k1], &[n0, n1]) = (k.as_slice(), n.as_slice()) else {
        return Err("two groups are needed".into());
    };
    let (z, p) = e::proportion_z_test((k0, n0), (k1, n1)).map_err(text)?;
    let pair = |(low, high): (f64, f64)| json!([low, high]);
    let newcombe = e::newcombe_difference((k0, n0), (k1, n1), alpha).map_err(text)?;
    let fisher = e::fisher_exact((k0, n0), (k1, n1)).map_err(text)?;
    let each = |f: Interval| -> Answer {
        Ok(json!([pair(f(k0, n0, alpha).map_err(text)?), pair(f(k1, n1, alpha).map_err(text)?)]))
    };
    Ok(
        json!({ "z": z, "p_value": p, "diff_ci_newcombe": pair(newcombe), "wilson": each(e::wilson)?, "clopper_pearson": each(e::clopper_pearson)?, "fisher_p": fisher }),
    )
}

fn beta_binomial(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let a = e::BetaPosterior { alpha: number(i, "a_alpha")?, beta: number(i, "a_beta")? };
    let b = e::BetaPosterior { alpha: number(i, "b_alpha")?, beta: number(i, "b_beta")? };
    let c = e::beta_contest(a, b).map_err(text)?;
    Ok(
        json!({ "p_b_beats_a": c.chance_to_win, "expected_loss_choose_b": c.loss_of_treatment, "expected_loss_choose_a": c.loss_of_control }),
    )
}

fn confidence_sequence(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let at = counts(i, "at")?;
    let mut sequence = e::ConfidenceSequence::new(number(i, "alpha")?, number(i, "rho")?).map_err(text)?;
    let (mut means, mut widths) = (Vec::new(), Vec::new());
    for (t, x) in (1u64..).zip(numbers(i, "stream")?) {
        sequence.push(x).map_err(text)?;
        if at.contains(&t) {
            means.push(sequence.mean());
            widths.push(sequence.half_width());
        }
    }
    Ok(json!({ "mean": means, "half_width": widths }))
}

fn msprt(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let test = e::MixtureTest::new(number(i, "variance_sum")?, number(i, "tau2")?).map_err(text)?;
    let path = test.path(&numbers(i, "a")?, &numbers(i, "b")?).map_err(text)?;
    let pick: Option<Vec<f64>> =
        counts(i, "at")?.into_iter().map(|t| path.get(usize::try_from(t).ok()?.checked_sub(1)?).copied()).collect();
    Ok(json!({ "p_value": pick.ok_or("`at` lies outside the stream")? }))
}

fn psi(i: &Input) -> Answer {
    let i = &Value::Object(i.clone());
    let (expected, observed) = (numbers(i, "expected")?, numbers(i, "observed")?);
    let psi = drift::population_stability(&expected, &observed).map_err(text)?;
    let js = drift::jensen_shannon(&expected, &observed).map_err(text)?;
    Ok(json!({ "psi": psi, "js_divergence_nats": js }))
}
