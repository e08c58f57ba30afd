//! Top: the best few of a dense vector of scores.
//!
//! Ties go to the lower index, so the answer never depends on how the vector was scanned.

/// The `count` best of `scores` with their indices, best first; scores that are not finite
/// (banned items carry negative infinity) are never taken.
pub(crate) fn best(scores: &[f32], count: usize, into: &mut Vec<(u32, f32)>) {
    const RUN: usize = 32;
    into.clear();
    if count == 0 {
        return;
    }
    let mut bar = f32::NEG_INFINITY;
    for (run, chunk) in scores.chunks(RUN).enumerate() {
        if highest(chunk) <= bar {
            continue;
        }
        for (offset, &score) in chunk.iter().enumerate() {
            if score > bar && score.is_finite() {
                insert(into, count, index(run * RUN + offset), score);
                if into.len() == count {
                    bar = into[count - 1].1;
                }
            }
        }
    }
}

/// The highest score of a run; NaN counts as nothing.
#[inline]
fn highest(chunk: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 8];
    let mut parts = chunk.chunks_exact(8);
    for part in &mut parts {
        for (lane, &score) in lanes.iter_mut().zip(part) {
            *lane = if score > *lane { score } else { *lane };
        }
    }
    let rest = parts.remainder().iter();
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |high, &score| if score > high { score } else { high })
}

fn insert(into: &mut Vec<(u32, f32)>, count: usize, item: u32, score: f32) {
    let place = into.partition_point(|&(_, other)| other >= score);
    if into.len() == count {
        into.pop();
    }
    into.insert(place, (item, score));
}

/// An index as it is kept: models hold at most `u32::MAX` items.
#[expect(clippy::cast_possible_truncation, reason = "checked when the interactions are read")]
pub(crate) fn index(position: usize) -> u32 {
    position as u32
}

#[cfg(test)]
mod tests {
    use super::best;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_sorting_everything(scores in prop::collection::vec(-50i16..50, 0..300), count in 0usize..30) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            order.truncate(count);
            let mut got = Vec::new();
            best(&scores, count, &mut got);
            prop_assert_eq!(got.iter().map(|&(item, _)| item as usize).collect::<Vec<_>>(), order);
        }
    }

    #[test]
    fn banned_and_undefined_scores_are_never_taken() {
        let mut got = Vec::new();
        best(&[f32::NAN, 1.0, f32::NEG_INFINITY, f32::INFINITY], 4, &mut got);
        assert_eq!(got, vec![(1, 1.0)]);
    }
}
