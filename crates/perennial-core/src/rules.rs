//! Rules in force: programme versions, the catalogue and published thresholds of a workspace.
//!
//! Every version stays at hand, because a refund is reckoned under the version its order was
//! earned by.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::event::{ORDER_COMPLETED, Product};
use crate::expr::Field;
use crate::feature::Seen;
use crate::id::Secret;
use crate::program::{Drop, EarnRule, Feature, Program, SegmentRule, Tiers};
use crate::time::Timestamp;

/// Everything in force that is not a customer.
#[derive(Clone, Debug)]
pub struct Rules {
    editions: Vec<Arc<Edition>>,
    /// What is known of products.
    pub catalog: Catalog,
    /// The published threshold of each ranked segment, in millionths.
    pub thresholds: BTreeMap<Box<str>, Option<i64>>,
    /// Turns personal identifiers into opaque ones.
    pub secret: Secret,
}

/// One published programme version, ready to run.
#[derive(Clone, Debug)]
pub struct Edition {
    /// The programme.
    pub program: Program,
    /// From when it is in force.
    pub published_at: Timestamp,
    /// From when inactivity counts, if an earlier version did not count it.
    pub(crate) idle_since: Option<Timestamp>,
    /// Since when points lapse by their dates; none if they always did.
    pub(crate) dated_since: Option<Timestamp>,
    earn_on: Listeners,
    features_on: Listeners,
    /// Segments, by index, that a wake-up about points may change, or whose change no instant foretells.
    pub(crate) restless: Vec<usize>,
    /// Segments, by index, that time alone may change.
    pub(crate) turning: Vec<usize>,
    /// Milestones, by index, that time alone may reach.
    pub(crate) timely: Vec<usize>,
}

/// Who listens to which event, by index. Orders are asked for at every turn, so they stand apart.
#[derive(Clone, Debug, Default)]
struct Listeners {
    orders: Vec<usize>,
    others: BTreeMap<Box<str>, Vec<usize>>,
}

impl Listeners {
    fn of<'a>(events: impl Iterator<Item = &'a str>) -> Self {
        let mut listeners = Self::default();
        for (i, event) in events.enumerate() {
            match event {
                ORDER_COMPLETED => listeners.orders.push(i),
                _ => listeners.others.entry(event.into()).or_default().push(i),
            }
        }
        listeners
    }

    fn to(&self, event: &str) -> &[usize] {
        match event {
            ORDER_COMPLETED => &self.orders,
            _ => self.others.get(event).map_or(&[], Vec::as_slice),
        }
    }
}

impl Edition {
    /// Makes a compiled programme ready to run.
    pub fn new(mut program: Program, version: u32, published_at: Timestamp) -> Self {
        program.version = version;
        Self {
            earn_on: Listeners::of(program.earn.iter().map(|r| &*r.on)),
            features_on: Listeners::of(program.features.iter().map(|f| &*f.on)),
            restless: restless(&program),
            turning: turning(&program),
            timely: timely(&program),
            program,
            published_at,
            idle_since: None,
            dated_since: None,
        }
    }

    /// Earning rules that listen to an event.
    pub(crate) fn earning(&self, event: &str) -> impl Iterator<Item = &EarnRule> + Clone {
        self.earn_on.to(event).iter().map(|i| &self.program.earn[*i])
    }

    /// Features that listen to an event, with their index.
    pub(crate) fn features(&self, event: &str) -> impl Iterator<Item = (usize, &Feature)> {
        self.features_on.to(event).iter().map(|i| (*i, &self.program.features[*i]))
    }

    /// What the features remember of a customer of whom nothing was seen.
    pub fn blank_features(&self) -> Vec<Seen> {
        self.program.features.iter().map(Seen::nothing).collect()
    }
}

fn restless(program: &Program) -> Vec<usize> {
    let is_restless = |rule: &SegmentRule| match rule {
        SegmentRule::When(rule) => !rule.is_foretold() || rule.reads(Field::is_of_member),
        SegmentRule::Top { .. } => true, // Its threshold may be another one since.
    };
    let rules = program.segments.iter().enumerate();
    rules.filter(|(_, segment)| is_restless(&segment.rule)).map(|(i, _)| i).collect()
}

fn turning(program: &Program) -> Vec<usize> {
    let moves = |field: &Field| match field {
        Field::Feature(i) => program.features.get(usize::from(*i)).is_some_and(|feature| feature.within.is_some()),
        field => *field == Field::PointsEarned, // Those of the next year.
    };
    let turns = |rule: &SegmentRule| match rule {
        SegmentRule::When(rule) => rule.tells_time() || rule.reads(moves),
        SegmentRule::Top { by, .. } => moves(by),
    };
    let rules = program.segments.iter().enumerate();
    rules.filter(|(_, segment)| turns(&segment.rule)).map(|(i, _)| i).collect()
}

fn timely(program: &Program) -> Vec<usize> {
    let moves = |field: &Field| matches!(field, Field::Feature(_) | Field::PointsEarned);
    let milestones = program.milestones.iter().enumerate();
    milestones.filter(|(_, m)| m.when.tells_time() || m.when.reads(moves)).map(|(i, _)| i).collect()
}

impl Rules {
    /// A workspace without programme.
    pub fn new(secret: Secret) -> Self {
        Self { editions: Vec::new(), catalog: Catalog::default(), thresholds: BTreeMap::new(), secret }
    }

    /// Puts the next version in force.
    pub fn publish(&mut self, program: Program, at: Timestamp) -> u32 {
        let version = self.latest_version() + 1;
        let idle = |e: &Edition| e.program.points.expires.as_ref().is_some_and(|e| e.after_inactivity.is_some());
        let dated = |e: &Edition| e.program.points.expires.as_ref().is_some_and(|e| e.after_inactivity.is_none());
        let idle_since = self.latest().and_then(|old| if idle(old) { old.idle_since } else { Some(at) });
        let dated_since = self.latest().and_then(|old| if dated(old) { old.dated_since } else { Some(at) });
        let since = Edition { idle_since, dated_since, ..Edition::new(program, version, at) };
        self.editions.push(Arc::new(since));
        version
    }

    /// Number of the version in force; 0 when none was published.
    pub fn latest_version(&self) -> u32 {
        u32::try_from(self.editions.len()).unwrap_or(u32::MAX)
    }

    /// The same rules without the catalogue: for questions that ask nothing of products.
    #[must_use]
    pub fn without_catalog(&self) -> Self {
        Self {
            editions: self.editions.clone(),
            catalog: Catalog::default(),
            thresholds: self.thresholds.clone(),
            secret: self.secret,
        }
    }

    /// The rules up to a version, without the catalogue: for what is decided again.
    #[must_use]
    pub fn as_of(&self, version: u32) -> Self {
        let known = usize::try_from(version).unwrap_or(usize::MAX).min(self.editions.len());
        Self {
            editions: self.editions[..known].to_vec(),
            catalog: Catalog::default(),
            thresholds: self.thresholds.clone(),
            secret: self.secret,
        }
    }

    /// The version that was in force just before an instant.
    pub fn version_before(&self, at: Timestamp) -> u32 {
        u32::try_from(self.editions.partition_point(|e| e.published_at < at)).unwrap_or(u32::MAX)
    }

    /// The levels of the newest version that has some.
    pub(crate) fn ladder(&self) -> Option<&Tiers> {
        self.editions.iter().rev().find_map(|edition| edition.program.tiers.as_ref())
    }

    /// What became of a level that ended at an instant. While there were no levels none was reviewed: then the next
    /// version that had some said it.
    pub(crate) fn drop_at(&self, ended: Timestamp) -> Option<Drop> {
        let in_force = self.editions.partition_point(|edition| edition.published_at <= ended).saturating_sub(1);
        let mut since = self.editions.iter().skip(in_force).filter_map(|edition| edition.program.tiers.as_ref());
        since.next().or_else(|| self.ladder()).map(|tiers| tiers.drop)
    }

    /// The version in force.
    pub fn latest(&self) -> Option<&Arc<Edition>> {
        self.editions.last()
    }

    /// A version by its number.
    pub fn edition(&self, version: u32) -> Option<&Arc<Edition>> {
        self.editions.get(usize::try_from(version).ok()?.checked_sub(1)?)
    }

    /// Adds products; one named again is replaced.
    pub fn learn_products(&mut self, products: &[Product]) {
        self.catalog.learn(products);
    }
}
