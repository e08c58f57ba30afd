//! Diversity: a list whose items do not all say the same.
//!
//! Maximal marginal relevance (Carbonell and Goldstein 1998): the next item is the one with the
//! best score less its likeness to the items already taken.

use super::recommender::Recommendation;

/// Takes `top` of the candidates, each maximising
/// `relevance * score - (1 - relevance) * likeness to the nearest item already taken`.
///
/// Scores are brought to `0..=1` first; `likeness` should lie there too. `relevance` 1 keeps the order,
/// 0 looks at likeness alone. Candidates come best first, as a recommender gives them.
pub fn spread(
    candidates: &[Recommendation],
    top: usize,
    relevance: f32,
    likeness: impl Fn(&str, &str) -> f32,
) -> Vec<Recommendation> {
    let high = candidates.iter().map(|found| found.score).fold(f32::NEG_INFINITY, f32::max);
    let low = candidates.iter().map(|found| found.score).fold(f32::INFINITY, f32::min);
    let width = (high - low).max(f32::MIN_POSITIVE);
    let mut nearest = vec![0.0f32; candidates.len()];
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    let mut taken = Vec::new();
    while taken.len() < top && !left.is_empty() {
        let gain = |&at: &usize| relevance * (candidates[at].score - low) / width - (1.0 - relevance) * nearest[at];
        let mut best = 0;
        for place in 1..left.len() {
            if gain(&left[place]) > gain(&left[best]) {
                best = place;
            }
        }
        let chosen = left.remove(best);
        for &at in &left {
            nearest[at] = nearest[at].max(likeness(&candidates[chosen].item, &candidates[at].item));
        }
        taken.push(candidates[chosen].clone());
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::Reason;

    fn list() -> Vec<Recommendation> {
        let scored = [("red cup", 3.0), ("blue cup", 2.9), ("rug", 2.0)];
        scored.map(|(item, score)| Recommendation { item: item.to_owned(), score, reason: Reason::Popular }).to_vec()
    }

    fn names(relevance: f32) -> Vec<String> {
        let cups = |a: &str, b: &str| {
            if a.ends_with("cup") && b.ends_with("cup") { 1.0 } else { 0.0 }
        };
        spread(&list(), 2, relevance, cups).into_iter().map(|found| found.item).collect()
    }

    #[test]
    fn a_second_cup_gives_way_to_a_rug() {
        assert_eq!(names(1.0), ["red cup", "blue cup"]);
        assert_eq!(names(0.4), ["red cup", "rug"]);
    }
}
