//! Effect: parts that are written well and could never do anything.
//!
//! Promise: what is said here is so whatever customers do; and it is said of new documents only, for a
//! programme that is in force stays in force.

use crate::event::{ORDER_CANCELLED, ORDER_COMPLETED, ORDER_REFUNDED, ORDER_UPDATED};
use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::document::Node;
use super::lower::Names;
use super::problem::{Path, Problems};
use super::source::{self, PointsGiven, Source};
use super::{ExpiryFrom, PointsPolicy, Program, SegmentRule, TierBy, phrase, possible};

/// Names under which points are granted that no earning rule gives.
const RESERVED: [&str; 2] = ["adjustment", "undo"];
/// The most that a limit may allow: each time is remembered.
const LIMIT_MAX: u32 = 10_000;

/// Adds what could never have an effect.
pub(super) fn check(source: &Source, document: &Node, program: &Program, names: &Names, problems: &mut Problems) {
    let mut effect = Effect { document, problems };
    effect.titles(source);
    effect.join(source);
    effect.pilot(source, program, names);
    effect.points(&program.points);
    for (at, rule) in source.earn.iter() {
        effect.earns(&section("earn").at(at), rule);
    }
    effect.levels(source);
    effect.benefits(source);
    effect.rewards(source);
    effect.badges(source);
}

struct Effect<'a> {
    document: &'a Node,
    problems: &'a mut Problems,
}

/// The path of a section.
fn section(name: &str) -> Path {
    Path::default().key(name)
}

impl Effect<'_> {
    fn titles(&mut self, source: &Source) {
        self.title(&section("name"), &source.name);
        for (at, reward) in source.rewards.iter() {
            self.title(&section("rewards").at(at).key("name"), &reward.name);
        }
        for (id, benefit) in &source.benefits {
            let path = section("benefits").key(id);
            match benefit {
                source::Benefit::Promise(text) => self.title(&path, text),
                source::Benefit::Granted(granted) => {
                    self.title(&path.key("name"), granted.name.as_deref().unwrap_or_default());
                }
            }
        }
    }

    fn title(&mut self, path: &Path, text: &str) {
        if let Some(unseen) = text.chars().find(|c| c.is_control()) {
            let message = format!("a name is one line to read, and {unseen:?} is none of its letters: take it out");
            self.problems.add(path, message);
        }
    }

    fn join(&mut self, source: &Source) {
        if let Some(source::Join::On(join)) = &source.join
            && join.on.0.is_empty()
        {
            let message =
                "no event is named, so nobody joins by one: name some, like [Loyalty Joined], or remove 'join'";
            self.problems.add(&section("join").key("on"), message);
        }
    }

    /// Whoever may join is no member yet.
    fn pilot(&mut self, source: &Source, program: &Program, names: &Names) {
        let Some(id) = source.pilot.as_ref().and_then(|pilot| pilot.segment.as_deref()) else { return };
        let Some(segment) = program.segments.iter().find(|segment| &*segment.id == id) else { return };
        let is_open = match &segment.rule {
            SegmentRule::When(condition) => possible::holds_for_strangers(condition, names),
            SegmentRule::Top { by, .. } => !possible::is_of_members(by),
        };
        if !is_open {
            let message = format!(
                "only members are ever in '{id}', and nobody becomes one: choose a segment that asks nothing of \
                 membership, level, points or impact"
            );
            self.problems.add(&section("pilot").key("segment"), message);
        }
    }

    fn points(&mut self, points: &PointsPolicy) {
        let Some(expires) = &points.expires else { return };
        if let Some(idle) = expires.after_inactivity
            && (points.pending == idle || phrase::is_longer(points.pending, idle))
        {
            let message = format!(
                "points of an order wait {}, and those of somebody's only order would lapse before they can be spent: \
                 write more than that",
                points.pending
            );
            self.problems.add(&section("wallets").key("points").key("expires").key("after_inactivity"), message);
        }
        let counted = expires.from == ExpiryFrom::Earned && expires.after_inactivity.is_none();
        let too_late = points.pending == expires.after || phrase::is_longer(points.pending, expires.after);
        if counted && too_late {
            let message = format!(
                "points of an order wait {} and would lapse before they can be spent: write more than that, or count \
                 from: available",
                points.pending
            );
            self.problems.add(&section("wallets").key("points").key("expires").key("after"), message);
        }
    }

    fn earns(&mut self, path: &Path, rule: &source::EarnRule) {
        match rule.on.0.as_str() {
            on @ (ORDER_UPDATED | ORDER_REFUNDED | ORDER_CANCELLED) => {
                let message = format!(
                    "'{on}' earns nothing: an order earns when it is completed, so write 'on: Order Completed', or \
                     an event of your own"
                );
                self.problems.add(&path.key("on"), message);
            }
            ORDER_COMPLETED if rule.points.is_some() => self.pays_at_once(path, rule),
            _ => {}
        }
        if let Some(PointsGiven::Rate(rate)) = &rule.points {
            self.rate(&path.key("points"), &rate.0);
        }
        if RESERVED.contains(&rule.id.0.as_str()) {
            let message = format!("'{0}' is what points of an {0} are called: choose another id", rule.id.0);
            self.problems.add(&path.key("id"), message);
        }
        let limit = match &rule.limit {
            Some(source::Limit::Ever(count)) => Some(*count),
            Some(source::Limit::Per(text)) => phrase::limit(&text.0).ok().map(|limit| limit.count),
            None => None,
        };
        if limit.is_some_and(|count| count > LIMIT_MAX) {
            let message = format!("nobody is counted further than {LIMIT_MAX}: write a smaller limit, or none");
            self.problems.add(&path.key("limit"), message);
        }
    }

    fn pays_at_once(&mut self, path: &Path, rule: &source::EarnRule) {
        if rule.review.is_some() {
            let message =
                "an order earns at once and is not reviewed: remove 'review', or listen to an event of your own";
            self.problems.add(&path.key("review"), message);
        }
        if rule.unique_by.is_some() {
            let message = "an order counts once by its own id: remove 'unique_by', or write a 'limit' like 1 per day";
            self.problems.add(&path.key("unique_by"), message);
        }
    }

    /// At a higher rate, orders of a thousand give all that one can give.
    fn rate(&mut self, path: &Path, written: &str) {
        let most = Decimal::from(phrase::MOST / 1_000);
        if phrase::numbers_of_rate(written).is_some_and(|(points, per)| per > Decimal::ZERO && points > per * most) {
            let message = format!("'{written}' is beyond what wallets hold: write {most} per 1.00 or less");
            self.problems.add(path, message);
        }
    }

    /// Points come from rules and milestones; a wrong one is one all the same.
    fn levels(&mut self, source: &Source) {
        let Some(tiers) = source.tiers.as_ref().filter(|tiers| tiers.by == TierBy::PointsEarned) else { return };
        let part = |name: &str| self.document.get(name).into_iter().flat_map(Node::items);
        let earns = part("earn").any(|rule| rule.get("points").is_some());
        let grants = part("milestones").filter_map(|m| m.get("grant")).any(|grant| grant.get("points").is_some());
        if tiers.levels.0.len() > 1 && !earns && !grants {
            let message = "no rule and no milestone gives points, so nobody rises: write one, or levels by: spend";
            self.problems.add(&section("tiers").key("by"), message);
        }
    }

    fn benefits(&mut self, source: &Source) {
        let levels = self.document.get("tiers").and_then(|tiers| tiers.get("levels"));
        let named = |id: &str| {
            let benefits = levels.iter().flat_map(|levels| levels.items()).filter_map(|level| level.get("benefits"));
            benefits.flat_map(Node::items).any(|benefit| benefit.text() == Some(id))
        };
        for id in source.benefits.keys().filter(|id| !named(id)) {
            let message = format!("no level brings '{id}': name it in 'benefits' of one, or take it out");
            self.problems.add(&section("benefits").key(id), message);
        }
        for (id, benefit) in &source.benefits {
            let source::Benefit::Granted(granted) = benefit else { continue };
            if let on @ (ORDER_UPDATED | ORDER_REFUNDED | ORDER_CANCELLED) = granted.on.0.as_str() {
                let message = format!("'{on}' brings nothing: write 'on: Order Completed', or an event of your own");
                self.problems.add(&section("benefits").key(id).key("on"), message);
            }
        }
    }

    fn rewards(&mut self, source: &Source) {
        for (at, reward) in source.rewards.iter() {
            let path = section("rewards").at(at);
            let Some(stock) = reward.stock else { continue };
            if stock == 0 {
                let message = "there is none to buy: write how many there are, or take the reward out";
                self.problems.add(&path.key("stock"), message);
            } else if let Some(each) = reward.per_member.filter(|each| i64::from(*each) > stock) {
                let message =
                    format!("{each} for one member of a stock of {stock}: write {stock} or less, or leave it out");
                self.problems.add(&path.key("per_member"), message);
            }
        }
    }

    fn badges(&mut self, source: &Source) {
        let mut given = BTreeMap::new();
        for (at, milestone) in source.milestones.iter() {
            let Some(badge) = &milestone.grant.badge else { continue };
            if let Some(first) = given.insert(&badge.0, at) {
                let path = section("milestones").at(at).key("grant").key("badge");
                self.problems
                    .add(&path, format!("milestones[{first}] gives the badge '{}': choose another one", badge.0));
            }
        }
    }
}
