//! Sessions: what comes next in a visit, from the visits that went alike.
//!
//! V-SKNN (Ludewig and Jannach 2018, "Evaluation of session-based recommendation algorithms"):
//! past sessions that share items with this one, the latest views counting most, vote for their
//! own items. Items of the running session may be recommended again.

use super::interactions::{Case, Histories};
use serde::{Deserialize, Serialize};

/// Settings of the session neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionNeighbours {
    /// Sessions that vote.
    pub nearest: usize,
    /// The latest sessions looked at per item of the running one.
    pub sample: usize,
    /// Exponent of the inverse document frequency of a recommended item.
    pub rarity: f32,
    /// What a view `b` before the last one counts when sessions are compared: `memory^b`.
    pub memory: f32,
    /// A vote counts `1 / s^steps` when the latest shared view lies `s` views back.
    pub steps: f32,
    /// A vote for an item `d` views away from the shared view counts `1 / d^nearness`.
    pub nearness: f32,
}

impl Default for SessionNeighbours {
    fn default() -> Self {
        Self { nearest: 100, sample: 1000, rarity: 0.5, memory: 0.8, steps: 0.5, nearness: 0.5 }
    }
}

/// Past sessions, ready to vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    how: SessionNeighbours,
    starts: Vec<usize>,
    items: Vec<u32>,
    item_starts: Vec<usize>,
    /// Sessions of each item, ascending, each once, with the place of the item's last view.
    places: Vec<(u32, u32)>,
    rarity: Vec<f32>,
}

/// A past session that went like the running one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Like {
    session: u32,
    vote: f32,
    /// Where the latest shared view stands in the past session.
    place: u32,
    /// How many views back it stands in the running one.
    back: u32,
}

impl Sessions {
    /// Keeps all sessions; later ones must have higher numbers.
    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    pub(crate) fn fit(histories: &Histories, items: usize, how: &SessionNeighbours) -> Self {
        let postings = histories.postings(items);
        let mut item_starts = vec![0];
        let mut places = Vec::with_capacity(histories.items.len());
        let mut rarity = Vec::with_capacity(items);
        for item in 0..items {
            let begin = places.len();
            for &(session, place) in postings.of(item) {
                let place = place - super::top::index(histories.starts[session as usize]);
                match places[begin..].last_mut() {
                    Some((last, at)) if *last == session => *at = place,
                    _ => places.push((session, place)),
                }
            }
            let idf = (histories.len() as f32 / (places.len() - begin).max(1) as f32).ln().max(0.0);
            rarity.push(idf.powf(how.rarity));
            item_starts.push(places.len());
        }
        Self {
            how: *how,
            starts: histories.starts.clone(),
            items: histories.items.clone(),
            item_starts,
            places,
            rarity,
        }
    }

    /// Adds the votes to `scores`.
    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        for like in self.neighbours(case) {
            for (other, &item) in self.views(like.session).iter().enumerate() {
                scores[item as usize] += like.vote * self.nearness(other, like.place) * self.rarity[item as usize];
            }
        }
    }

    fn views(&self, session: u32) -> &[u32] {
        &self.items[self.starts[session as usize]..self.starts[session as usize + 1]]
    }

    /// What a view counts beside the shared one.
    #[expect(clippy::cast_precision_loss, reason = "sessions are short")]
    fn nearness(&self, view: usize, shared: u32) -> f32 {
        let apart = view.abs_diff(shared as usize).max(1);
        if self.how.nearness > 0.0 { (apart as f32).powf(-self.how.nearness) } else { 1.0 }
    }

    /// The view of the running session through which a past one speaks most for an item.
    pub(crate) fn reason(&self, case: &Case, near: &[Like], item: u32) -> Option<u32> {
        let mut best: Option<(u32, f32)> = None;
        for like in near {
            let views = self.views(like.session).iter().enumerate().filter(|(_, other)| **other == item);
            let voice = views.map(|(view, _)| self.nearness(view, like.place)).fold(0.0, f32::max) * like.vote;
            if voice > best.map_or(0.0, |(_, most)| most) {
                best = Some((case.items[case.items.len() - 1 - like.back as usize], voice));
            }
        }
        best.map(|(shared, _)| shared)
    }

    /// The sessions that vote.
    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    pub(crate) fn neighbours(&self, case: &Case) -> Vec<Like> {
        let mut touched: Vec<(u32, u32, f32, u32)> = Vec::new();
        let mut seen = Vec::new();
        for (back, &item) in case.items.iter().rev().enumerate() {
            if seen.contains(&item) {
                continue;
            }
            seen.push(item);
            let back = super::top::index(back);
            let weight = self.how.memory.powf(back as f32);
            let places = &self.places[self.item_starts[item as usize]..self.item_starts[item as usize + 1]];
            let latest = &places[places.len().saturating_sub(self.how.sample)..];
            touched.extend(latest.iter().map(|&(session, place)| (session, back, weight, place)));
        }
        touched.sort_unstable_by_key(|&(session, back, ..)| (session, back));
        let mut votes: Vec<Like> = Vec::new();
        for shared in touched.chunk_by(|a, b| a.0 == b.0) {
            let (session, back, _, place) = shared[0];
            let length = self.starts[session as usize + 1] - self.starts[session as usize];
            let alike: f32 = shared.iter().map(|touch| touch.2).sum();
            let vote = alike / (length as f32).sqrt() / ((back + 1) as f32).powf(self.how.steps);
            votes.push(Like { session, vote, place, back });
        }
        if votes.len() > self.how.nearest && self.how.nearest > 0 {
            votes.select_nth_unstable_by(self.how.nearest - 1, |a, b| {
                b.vote.total_cmp(&a.vote).then(b.session.cmp(&a.session))
            });
            votes.truncate(self.how.nearest);
        }
        votes.sort_unstable_by_key(|like| like.session);
        votes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::interactions::{Owner, table};

    fn fitted() -> Sessions {
        let visit = |who, items: [&'static str; 3]| [(who, items[0], 1.0), (who, items[1], 1.0), (who, items[2], 1.0)];
        let data =
            table(&[visit("1", ["a", "b", "c"]), visit("2", ["a", "b", "a"]), visit("3", ["d", "e", "d"])].concat());
        let how = SessionNeighbours { rarity: 0.0, ..SessionNeighbours::default() };
        Sessions::fit(&Histories::group(&data, Owner::Basket, false), 5, &how)
    }

    fn scores(views: &[u32]) -> Vec<f32> {
        let mut scores = vec![0.0; 5];
        fitted().score(&Case::of_session(views), &mut scores);
        scores
    }

    #[test]
    fn the_reason_is_the_shared_view_that_leads_there() {
        let case = Case::of_session(&[3, 1]);
        let (fitted, near) = (fitted(), fitted().neighbours(&case));
        let because = |item| fitted.reason(&case, &near, item);
        assert_eq!([because(2), because(4)], [Some(1), Some(3)], "c came with b, e with d");
        assert_eq!(fitted.reason(&case, &[], 2), None);
    }

    #[test]
    fn visits_that_share_views_vote_also_for_what_was_seen_before() {
        let after = scores(&[0, 1]);
        assert!(after[2] > 0.0, "c followed a and b");
        assert!(after[0] > after[2], "a came back after b, and was beside it");
        assert!(after[3].abs() + after[4].abs() < 1e-9, "no shared view, no vote");
    }

    #[test]
    fn the_latest_view_counts_most() {
        let after = scores(&[3, 1]);
        assert!(after[0] > after[4], "b is later than d: {after:?}");
    }
}
