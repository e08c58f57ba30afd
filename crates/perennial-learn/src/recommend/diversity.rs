//! Diversity: a list whose items do not all say the same.
//!
//! Maximal marginal relevance (Carbonell and Goldstein 1998): the next item is the one with the
//! best score less its likeness to the items already taken.

/// Takes `top` of the candidates, each maximising
/// `relevance * score - (1 - relevance) * likeness to the nearest item already taken`; answers their places.
///
/// Scores are brought to `0..=1` first; `likeness` of two places should lie there too. `relevance` 1 keeps the
/// order, 0 looks at likeness alone. Candidates come best first, as a recommender gives them.
pub fn spread(scores: &[f32], top: usize, relevance: f32, likeness: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let width = (high - low).max(f32::MIN_POSITIVE);
    let mut nearest = vec![0.0f32; scores.len()];
    let mut left: Vec<usize> = (0..scores.len()).collect();
    let mut taken = Vec::new();
    while taken.len() < top && !left.is_empty() {
        let gain = |&at: &usize| relevance * (scores[at] - low) / width - (1.0 - relevance) * nearest[at];
        let mut best = 0;
        for place in 1..left.len() {
            if gain(&left[place]) > gain(&left[best]) {
                best = place;
            }
        }
        let chosen = left.remove(best);
        for &at in &left {
            nearest[at] = nearest[at].max(likeness(chosen, at));
        }
        taken.push(chosen);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(relevance: f32) -> Vec<&'static str> {
        let shop = ["red cup", "blue cup", "rug"];
        let cups = |a: usize, b: usize| f32::from(u8::from(shop[a].ends_with("cup") && shop[b].ends_with("cup")));
        spread(&[3.0, 2.9, 2.0], 2, relevance, cups).into_iter().map(|place| shop[place]).collect()
    }

    #[test]
    fn a_second_cup_gives_way_to_a_rug() {
        assert_eq!(names(1.0), ["red cup", "blue cup"]);
        assert_eq!(names(0.4), ["red cup", "rug"]);
        assert_eq!(names(0.0), ["red cup", "rug"], "where likeness alone counts, the best is taken first");
    }

    #[test]
    fn few_candidates_are_all_taken() {
        assert_eq!(spread(&[1.0, 1.0], 5, 0.5, |_, _| 1.0), [0, 1]);
        assert_eq!(spread(&[], 5, 0.5, |_, _| 1.0), Vec::<usize>::new());
    }
}
