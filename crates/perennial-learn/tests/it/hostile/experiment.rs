//! Experiments: statistics, sequences, powers, bandits, other people's policies, causes.

use perennial_learn::bandit::{Arms, LinearArms, choose, with_floor};
use perennial_learn::causal::{BeforeAfter, Matching, difference_in_differences, match_members};
use perennial_learn::experiment::{
    Alternative, BetaPosterior, ConfidenceSequence, Cuped, Difference, GaussianPrior, Mean, MeanPlan, Method,
    MixtureTest, PriorScale, Proportion, ProportionPlan, Ratio, SequentialSampleRatio, Side, Spending, Statistic,
    benjamini_hochberg, beta_contest, clopper_pearson, compare, fisher_exact, gaussian_posterior,
    group_sequential_bounds, holm, honest_split, mean_detectable, mean_power, mean_sample_size, newcombe_difference,
    proportion_power, proportion_sample_size, proportion_z_test, read_out, sample_ratio, wilson,
};
use perennial_learn::off_policy::{Predicted, Round, doubly_robust, inverse_propensity, self_normalised};
use perennial_learn::seed::generator;
use perennial_learn::segment::Points;
use proptest::prelude::*;

use super::{any_column, cases, column, finite, number, sound};

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..2_000u64, 1 => Just(u64::MAX), 1 => Just(1 << 53)]
}

fn mean() -> impl Strategy<Value = Mean> {
    prop_oneof![
        5 => any_column(12).prop_map(|values| Mean::of(&values)),
        1 => (count(), number(), number()).prop_map(|(n, sum, sum_squares)| Mean { n, sum, sum_squares }),
    ]
}

fn statistic() -> impl Strategy<Value = Statistic> {
    prop_oneof![
        (count(), number()).prop_map(|(n, sum)| Statistic::Proportion(Proportion { n, sum })),
        (1..2_000u32, 0.0..1.0f64).prop_map(|(n, share)| {
            Statistic::Proportion(Proportion { n: u64::from(n), sum: (f64::from(n) * share).round() })
        }),
        mean().prop_map(Statistic::Mean),
        (mean(), mean(), number()).prop_map(|(numerator, denominator, sum_of_products)| {
            Statistic::Ratio(Ratio { numerator, denominator, sum_of_products })
        }),
        (mean(), mean(), number()).prop_map(|(post, pre, sum_of_products)| Statistic::Cuped(Cuped {
            post,
            pre,
            sum_of_products
        })),
    ]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![5 => 0.0..1.0f64, 1 => number()]
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn an_experiment_is_read_out_or_refused(control in statistic(), treatment in statistic(), alpha in share(), prior in number()) {
        for difference in [Difference::Relative, Difference::Absolute] {
            let Some(effect) = sound("effect", || compare(&control, &treatment, difference)) else { continue };
            for method in [Method::default(), Method::FixedHorizon] {
                sound("read-out", || read_out(&control, &treatment, difference, Side::Both, method, alpha));
                if let Ok(found) = read_out(&control, &treatment, difference, Side::Greater, method, alpha) {
                    finite("one side", &(found.estimate, found.lower, found.p_value));
                    prop_assert!((0.0..=1.0).contains(&found.p_value));
                }
            }
            let normal = GaussianPrior::Normal { mean: 0.0, variance: prior, scale: PriorScale::Relative };
            for prior in [GaussianPrior::Flat, normal] {
                sound("posterior", || gaussian_posterior(&effect, difference, prior, alpha));
            }
        }
    }

    #[test]
    fn counts_are_compared_or_refused(a in count(), n in count(), b in count(), m in count(), alpha in share()) {
        sound("Wilson", || wilson(a, n, alpha));
        sound("Clopper-Pearson", || clopper_pearson(a, n, alpha));
        sound("Newcombe", || newcombe_difference((a, n), (b, m), alpha));
        sound("z test", || proportion_z_test((a, n), (b, m)));
        if n < 1 << 20 && m < 1 << 20 {
            sound("Fisher", || fisher_exact((a, n), (b, m)));
        }
        sound("sample ratio", || sample_ratio(&[a, b], &[1.0, alpha]));
        if let Some(mut watch) = sound("sequential ratio", || SequentialSampleRatio::new(&[1.0, alpha])) {
            finite("sequential ratio", &watch.add(&[a.min(1000), b.min(1000)]));
        }
    }

}

proptest! {
    // Slow at the edges: integrals over distributions without a bound.
    #![proptest_config(cases(20))]

    #[test]
    fn beliefs_are_weighed_or_refused(values in [share(), share(), share(), share()]) {
        let [a, b, c, d] = values;
        let of = |alpha: f64, beta: f64| BetaPosterior { alpha, beta };
        sound("beta contest", || beta_contest(of(a * 50.0, b * 50.0), of(c * 50.0, d)));
    }

    #[test]
    fn plans_answer_or_refuse(values in [share(), share(), share(), share()], n in number(), side in 0..3usize) {
        let alternative = [Alternative::TwoSided, Alternative::Larger, Alternative::Smaller][side];
        let [control, treatment, alpha, power] = values;
        let ratio = if n > 0.0 { n } else { 1.0 };
        let plan = ProportionPlan { control, treatment, alpha, ratio, alternative };
        sound("power of shares", || proportion_power(&plan, n));
        sound("size for shares", || proportion_sample_size(&plan, power));
        let plan = MeanPlan { effect: treatment, alpha, ratio, alternative };
        sound("power of means", || mean_power(&plan, n));
        sound("size for means", || mean_sample_size(&plan, power));
        sound("effect to detect", || mean_detectable(&plan, n, power));
    }

}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn corrections_and_looks_answer_or_refuse(values in any_column(8), alpha in share(), looks in any_column(5)) {
        sound("Holm", || holm(&values, alpha));
        sound("Benjamini-Hochberg", || benjamini_hochberg(&values, alpha));
        sound("looks", || group_sequential_bounds(&looks, Spending::OBrienFleming, alpha));
        if let Some(mut sequence) = sound("sequence", || ConfidenceSequence::tightest_at(alpha, 100.0)) {
            let taken = values.iter().filter(|value| sequence.push(**value).is_ok()).count();
            if taken > 0 {
                finite("sequence", &(sequence.mean(), sequence.half_width()));
            }
        }
        if let Some(test) = sound("mixture test", || MixtureTest::new(2.0, alpha)) {
            sound("mixture test", || test.path(&values, &values));
        }
    }

    #[test]
    fn bandits_answer_or_refuse(rewards in any_column(12), floor in number(), arms in 0..4usize) {
        let mut rng = generator(3);
        if let Some(mut play) = sound("arms", || Arms::new(arms)) {
            rewards.iter().enumerate().for_each(|(at, &reward)| drop(play.reward(at % 5, reward)));
            finite("means", &play.means());
            prop_assert!(play.thompson(&mut rng) < arms && play.kl_ucb() < arms);
            let _ = play.top_two(0.5, &mut rng).map(|arm| assert!(arm < arms));
            if let Ok(chances) = play.probabilities(floor, 50, &mut rng) {
                finite("chances", &chances);
                prop_assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                let _ = choose(&chances, &mut rng).expect("chances that add up");
            }
        }
        sound("floor", || with_floor(&rewards, floor));
        let _ = choose(&rewards, &mut rng);
        if let Some(mut play) = sound("linear arms", || LinearArms::new(arms, 2, floor)) {
            for (at, pair) in rewards.chunks_exact(2).enumerate() {
                let _ = play.reward(pair, at % arms, pair[0]);
                if let Ok(arm) = play.lin_ucb(pair) {
                    prop_assert!(arm < arms);
                }
                let _ = play.lin_ts(pair, &mut rng);
                if let Ok(expected) = play.expected(&[1.0, 0.5]) {
                    finite("expected", &expected);
                }
            }
        }
    }

    #[test]
    fn other_policies_are_valued_or_refused(rows in prop::collection::vec((share(), share(), number()), 0..12), cap in number()) {
        let rounds: Vec<Round> = rows
            .iter()
            .map(|&(logged_probability, target_probability, reward)| Round { logged_probability, target_probability, reward })
            .collect();
        let predicted: Vec<Predicted> =
            rows.iter().map(|row| Predicted { logged_action: row.2, target_policy: row.2 }).collect();
        sound("IPS", || inverse_propensity(&rounds, cap));
        sound("SNIPS", || self_normalised(&rounds, cap));
        sound("doubly robust", || doubly_robust(&rounds, &predicted, cap));
    }

    #[test]
    fn causes_are_told_or_refused((columns, members, alpha) in (0..24usize).prop_flat_map(|rows| {
        ([column(rows), column(rows)], prop::collection::vec(any::<bool>(), rows), share())
    })) {
        let [before, after] = &columns;
        let customers: Vec<BeforeAfter> = (0..members.len())
            .map(|row| BeforeAfter { member: members[row], before: before[row], after: after[row] })
            .collect();
        sound("differences", || difference_in_differences(&customers, alpha));
        if let Ok(points) = Points::from_columns(std::slice::from_ref(before)) {
            sound("matching", || match_members(&points, &members, after, Matching { alpha, ..Matching::default() }));
        }
    }

    #[test]
    fn differences_between_groups_are_told_or_refused((feature, outcome, treated) in prop_oneof![Just(41usize), 40..60usize, 0..40usize].prop_flat_map(|rows| {
        (column(rows), column(rows), prop::collection::vec(any::<bool>(), rows))
    })) {
        sound("honest split", || honest_split(std::slice::from_ref(&feature), &treated, &outcome, 5));
    }
}
