//! Lifetime: repeat buying, money, contracts and survival.

use perennial_learn::lifetime::{
    Purchases, RepeatBuying, bgnbd, contract, covariates, fit_best, gamma_gamma, mbgnbd, pareto,
    range::Outlook,
    summary::{Bought, Period, hold_out, summarise},
    survival,
    value::{Horizon, discounted},
};
use proptest::prelude::*;

use super::{any_column, cases, column, finite, number, sound};

/// A history that may be impossible, or lie at the edge of what is possible.
fn customer() -> impl Strategy<Value = Purchases> {
    let sane = (0..9u32, 0.0..1.0f64, 0.5..80.0f64).prop_map(|(frequency, share, age)| Purchases {
        frequency,
        recency: if frequency == 0 { 0.0 } else { (age * share).max(1e-3) },
        age,
    });
    let at_the_end =
        (1..2_000u32, 1e-3..1e4f64).prop_map(|(frequency, age)| Purchases { frequency, recency: age, age });
    let any = (prop_oneof![0..5u32, Just(u32::MAX)], number(), number())
        .prop_map(|(frequency, recency, age)| Purchases { frequency, recency, age });
    let large = (0..3u32, prop::sample::select(vec![1e30, 1e90, 1e300])).prop_map(|(frequency, age)| Purchases {
        frequency,
        recency: if frequency == 0 { 0.0 } else { age / 2.0 },
        age,
    });
    prop_oneof![30 => sane, 6 => at_the_end, 1 => any, 1 => large]
}

fn customers() -> impl Strategy<Value = Vec<Purchases>> {
    prop_oneof![
        3 => prop::collection::vec(customer(), 0..30),
        1 => (customer(), 1..20usize).prop_map(|(one, times)| vec![one; times]),
    ]
}

/// Whatever a fitted model says of anybody is a number, and a chance is a chance.
fn speaks(what: &str, model: &(impl RepeatBuying + std::fmt::Debug), prior: f64, asked: &[Purchases]) {
    let horizon = Horizon { periods: 12, length: 4.345, discount: 0.01 };
    for &one in asked {
        let chances = [model.p_alive(one), model.p_purchase_within(one, 52.0)];
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{what} {model:?} {one:?}: {chances:?}");
        let counts = [
            model.expected_purchases(one, 52.0),
            model.expected_purchases_of_new(52.0),
            discounted(model, one, 10.0, horizon),
        ];
        finite(what, &(counts, one, format!("{model:?}").len()));
        assert!(counts.iter().all(|count| *count >= -1e-6), "{what} {model:?} {one:?}: {counts:?}");
        finite(what, &model.next_purchase(one, 0.5));
        let outlook = Outlook::of(model, prior, one, 52.0);
        assert!(outlook.quantile(0.1) <= outlook.quantile(0.9), "{what} {model:?} {one:?}");
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn models_of_repeat_buying_answer_or_refuse(customers in customers()) {
        if let Some(fit) = sound("BG/NBD", || bgnbd::fit(&customers)) {
            speaks("BG/NBD", &fit.model, fit.model.r, &customers);
        }
        if let Some(fit) = sound("MBG/NBD", || mbgnbd::fit(&customers)) {
            speaks("MBG/NBD", &fit.model, fit.model.r, &customers);
        }
        if let Some(fit) = sound("Pareto/NBD", || pareto::fit(&customers)) {
            speaks("Pareto/NBD", &fit.model, fit.model.r, &customers);
        }
        sound("the best of them", || fit_best(&customers));
    }

    #[test]
    fn covariates_answer_or_refuse((customers, values) in customers().prop_flat_map(|customers| {
        let rows = customers.len();
        (Just(customers), column(rows))
    })) {
        let covariate = covariates::Covariate { name: "age".into(), values };
        sound("covariates", || covariates::fit(&customers, std::slice::from_ref(&covariate)));
    }

    #[test]
    fn money_answers_or_refuses(rows in prop::collection::vec((0..6u32, prop_oneof![8 => 0.01..500.0f64, 1 => number()]), 0..30)) {
        let spends: Vec<gamma_gamma::Spend> =
            rows.iter().map(|&(frequency, mean)| gamma_gamma::Spend { frequency, mean }).collect();
        if let Some(fit) = sound("Gamma-Gamma", || gamma_gamma::fit(&spends))
            && fit.model.population_mean().is_finite()
        {
            spends.iter().filter(|spend| spend.mean > 0.0 || spend.frequency == 0).for_each(|&spend| {
                finite("expected spend", &(fit.model.expected_spend(spend), spend, fit.model));
            });
        }
        finite("correlation", &gamma_gamma::correlation(&spends));
    }

    #[test]
    fn purchases_are_summed_up_or_refused(
        rows in prop::collection::vec((0..5u64, prop_oneof![6 => 0..400i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)], number()), 0..20),
        until in prop_oneof![6 => 0..400i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)],
    ) {
        let purchases: Vec<Bought> =
            rows.into_iter().map(|(customer, day, amount)| Bought { customer, day, amount }).collect();
        let period = Period { until, follow_until: Some(until.saturating_add(30)), days_per_unit: 7.0 };
        sound("summary", || summarise(&purchases, period));
    }

    #[test]
    fn contracts_and_survival_answer_or_refuse(
        rows in prop::collection::vec((prop_oneof![8 => 0..12u32, 1 => Just(u32::MAX)], any::<bool>()), 0..25),
        times in any_column(25),
    ) {
        let renewals: Vec<contract::Renewals> = rows.iter().map(|&(met, ended)| contract::Renewals { met, ended }).collect();
        if let Some(fit) = sound("contract", || contract::fit(&renewals)) {
            finite("contract", &(fit.model.survival(24), fit.model.churn_risk(3), fit.model.discounted_periods(2, 0.01, 24)));
        }
        let left: Vec<bool> = (0..times.len()).map(|row| row % 3 == 0).collect();
        let member: Vec<bool> = (0..times.len()).map(|row| row % 2 == 0).collect();
        if let Some(curve) = sound("survival", || survival::kaplan_meier(&times, &left, 0.95)) {
            finite("survival", &(curve.at(3.0), curve.churn_risk(1.0, 2.0), curve.mean_until(10.0), curve.median()));
        }
        sound("log rank", || survival::log_rank(&times, &left, &member));
    }
}

#[test]
fn a_foretelling_that_does_not_vary_has_no_correlation() {
    let found = hold_out(&[1.0, 1.0], &[2, 2]).expect("columns of one length");
    assert!(found.correlation.is_nan() && (found.mae - 1.0).abs() < 1e-12);
}
