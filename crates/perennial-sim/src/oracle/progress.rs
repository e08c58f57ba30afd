//! Levels, milestones and what was submitted.

use std::collections::BTreeMap;

use perennial_core::event::Event;
use perennial_core::value::Value;

use super::earning::is_over;
use super::{Activity, Counted, NEVER, Oracle, Person, Reached, Row, Sale, Tier};
use crate::calendar::DAY;
use crate::plan::{By, Deed, Edition, LEVELS, Mark, Measure, OnRefund, SPREAD};

/// Levels remembered behind the one that is held.
const BEFORE_MAX: usize = 32;

/// Levels.
impl Oracle {
    fn bare(&self, level: &'static str, until: i64) -> Tier {
        Tier { level, until, by: None, year: None, by_hand: false, edition: self.editions.len() - 1 }
    }

    /// The last levels that there were.
    fn ladder(&self) -> &Edition {
        self.editions.iter().rev().find(|edition| !edition.levels.is_empty()).unwrap_or(self.edition())
    }

    /// Follows the version in force.
    pub(super) fn adopt(&mut self, who: usize) {
        let published = self.edition().at;
        let person = &mut self.people[who];
        if person.adopted >= self.editions.len() {
            return;
        }
        let known = std::mem::replace(&mut person.adopted, self.editions.len());
        person.clock = person.clock.max(published);
        if !self.edition().levels.is_empty() {
            self.follow_ladder(who, known);
        }
        self.conclude(who);
        self.regroup(who);
    }

    /// Whoever holds a level that is no more gets the highest that is not above it; who joined while there were no
    /// levels gets one.
    fn follow_ladder(&mut self, who: usize, known: usize) {
        let lowest = self.lowest();
        let (earlier, newest) = self.editions.split_at(self.editions.len() - 1);
        let person = &mut self.people[who];
        if person.joined.is_some() && person.tier.is_none() {
            person.tier = lowest;
        }
        if let Some(held) = &mut person.tier
            && newest[0].position(held.level).is_none()
        {
            let at = instead(&newest[0], &earlier[..known.min(earlier.len())], held.level);
            (held.level, held.until) = (newest[0].levels[at].0, if at == 0 { NEVER } else { held.until });
        }
        let by_hand = person.tier.as_ref().is_some_and(|held| held.by_hand);
        let ladder =
            |nth: usize| self.editions.get(nth.wrapping_sub(1)).map(|edition| (edition.by, edition.levels.clone()));
        if !by_hand && ladder(known) != ladder(self.editions.len()) {
            for (year, order) in self.by_year(who) {
                self.regrade(who, year, order);
            }
        }
    }

    /// What a new member holds.
    pub(super) fn lowest(&self) -> Option<Tier> {
        self.edition().levels.first().map(|level| self.bare(level.0, NEVER))
    }

    /// The years that count, with the last order of each.
    fn by_year(&self, who: usize) -> Vec<(i64, Option<Box<str>>)> {
        let years = self.people[who].years.keys();
        years.map(|year| (*year, self.last_order(who, Some(*year)).map(|(_, id)| id))).collect()
    }

    /// The last order that earns and stands.
    fn last_order(&self, who: usize, year: Option<i64>) -> Option<(i64, Box<str>)> {
        let zone = self.trade.zone();
        let kept = self.people[who].sales.iter().filter(|s| s.earns && s.rows.iter().any(Row::is_kept));
        let of_year = kept.filter(|s| year.is_none_or(|year| zone.year(s.at) == year));
        of_year.max_by_key(|s| s.at).map(|s| (s.at, s.id.clone()))
    }

    /// Whatever changed somebody may have reached something: it is firm when their last order is.
    pub(super) fn conclude(&mut self, who: usize) {
        let (clock, window) = (self.people[who].clock, self.edition().pending_days * DAY);
        let last = self.last_open(who);
        let firm_at = last.as_ref().map_or(clock, |(at, _)| at + window);
        if self.people[who].joined.is_some() && self.reach(who, clock, firm_at, last.as_ref().map(|(_, id)| &**id)) {
            self.regrade(who, self.trade.zone().year(clock), last.map(|(_, id)| id));
        }
    }

    /// Where a level stands that somebody had, whether or not it is still there: on the last ladder that there was.
    fn place(&self, level: &str) -> usize {
        let ladder = self.ladder();
        ladder.position(level).unwrap_or_else(|| instead(ladder, &self.editions, level))
    }

    /// Points and money count for the year of their date.
    pub(super) fn qualify(&mut self, who: usize, at: i64, points: i64, spend: i64) {
        let year = self.people[who].years.entry(self.trade.zone().year(at)).or_default();
        *year = Counted { points: year.points + points, spend: year.spend + spend };
    }

    /// What levels are reached by, of what counted in a year.
    fn counted(&self, who: usize, year: i64) -> i64 {
        self.counts(self.people[who].years.get(&year).copied().unwrap_or_default())
    }

    fn counts(&self, counted: Counted) -> i64 {
        if self.ladder().by == By::Spend { counted.spend } else { counted.points }
    }

    /// The level that a year reaches.
    fn earned(&self, who: usize, year: i64) -> usize {
        self.ladder().level(self.counted(who, year))
    }

    /// What a level needs by the marks of now and, where the same counted, by those of when another one was reached.
    fn marks(&self, then: &Tier, level: usize) -> Vec<i64> {
        let (id, now) = self.ladder().levels[level];
        let then = Some(&self.editions[then.edition]).filter(|edition| edition.by == self.ladder().by);
        let then = then.and_then(|edition| edition.levels.iter().find(|level| level.0 == id));
        [now].into_iter().chain(then.map(|level| level.1)).collect()
    }

    /// The highest level that so much of a year reaches by either of those.
    fn by_marks(&self, then: &Tier, counted: i64) -> usize {
        let reached = |level: &usize| self.marks(then, *level).iter().any(|mark| *mark <= counted);
        (0..self.ladder().levels.len()).rev().find(reached).unwrap_or(0)
    }

    /// Whether the year of a level reaches it.
    fn is_earned(&self, who: usize, tier: &Tier) -> bool {
        self.by_marks(tier, self.counted(who, self.year_of(tier))) >= self.place(tier.level)
    }

    /// After something counted in a year: it may lift at once, or extend what is held.
    pub(super) fn regrade(&mut self, who: usize, year: i64, order: Option<Box<str>>) {
        let (reached, until) = (self.earned(who, year), self.trade.zone().year_begins(year + 2));
        let clock = self.people[who].clock;
        let lifts = reached > 0 && until > clock && !self.edition().levels.is_empty();
        let Some(held) = self.people[who].tier.clone().filter(|_| lifts) else { return };
        let (at, level) = (self.place(held.level), self.edition().levels[reached].0);
        if reached > at || (reached == at && until > held.until) {
            let mark = self.edition().levels[reached].1;
            let by = order.and_then(|order| self.reaching(who, year, mark).or(Some(order)));
            self.people[who].held_before.insert(0, held);
            let tier = Tier { by, year: Some(year), ..self.bare(level, until) };
            self.hold_level(who, tier);
        } else if (reached, until) == (at, held.until) {
            self.rest_on_an_earlier_one(who, year, order.as_deref(), held);
        }
    }

    /// An order that is told late may have reached what a later one was thought to have.
    fn rest_on_an_earlier_one(&mut self, who: usize, year: i64, order: Option<&str>, held: Tier) {
        let placed = |id: Option<&str>| self.people[who].sales.iter().find(|s| Some(&*s.id) == id);
        let (Some(late), Some(by)) = (placed(order), placed(held.by.as_deref())) else { return };
        if late.at < by.at {
            self.rest(who, year, held);
        }
    }

    /// What was held before is of use while it is good, and when not everybody has it.
    fn hold_level(&mut self, who: usize, tier: Tier) {
        self.people[who].tier = Some(tier);
        let (clock, before) = (self.people[who].clock, std::mem::take(&mut self.people[who].held_before));
        let mut leaves = true;
        let of_use = |tier: &Tier| {
            leaves = leaves && (tier.until > clock || !tier.by_hand);
            if tier.until > clock { tier.by_hand || tier.until < NEVER } else { leaves }
        };
        let mut before: Vec<Tier> = before.into_iter().filter(of_use).collect();
        while before.len() > BEFORE_MAX {
            let first = (0..before.len()).min_by_key(|at| before[*at].until);
            before.remove(first.unwrap_or(0));
        }
        self.people[who].held_before = before;
    }

    /// Something of an order came back: a level may go with it, as the policy says. `years` is what counted before.
    pub(super) fn lose(&mut self, who: usize, sale: &Sale, was_pending: bool, years: &BTreeMap<i64, Counted>) {
        if self.ladder().levels.is_empty() {
            return;
        }
        match self.ladder().on_refund {
            OnRefund::IfPending if was_pending => self.lose_with_its_order(who, sale, years),
            OnRefund::IfPending | OnRefund::AtReview => {}
            OnRefund::AtOnce => self.lose_with_its_year(who, sale, years),
        }
    }

    /// Whatever takes the year below the mark takes the level, also one that was held before.
    fn lose_with_its_year(&mut self, who: usize, sale: &Sale, years: &BTreeMap<i64, Counted>) {
        let before = std::mem::take(&mut self.people[who].held_before);
        let stays = |tier: &Tier| tier.by_hand || !self.is_taken(who, tier, years);
        let (mut stays, mut lost): (Vec<Tier>, Vec<Tier>) = before.into_iter().partition(stays);
        if !lost.is_empty() {
            lost.extend(self.forget_what_was_left(who, &mut stays));
        }
        let undermined: Vec<i64> = lost.iter().map(|tier| self.year_of(tier)).collect();
        self.people[who].held_before = stays;
        let Some(held) = self.people[who].tier.clone().filter(|held| !held.by_hand) else { return };
        if self.place(held.level) == 0 {
            return;
        }
        if self.is_earned(who, &held) {
            self.rest_without(who, sale, held);
        } else if self.is_taken(who, &held, years) || held.by.as_ref() == Some(&sale.id) || !lost.is_empty() {
            self.fall(who, &held, &undermined);
        }
    }

    /// What New Years left goes with what they left it of, the earliest first.
    fn forget_what_was_left(&self, who: usize, stays: &mut Vec<Tier>) -> Vec<Tier> {
        let mut gone = Vec::new();
        let mut by_end: Vec<Tier> = stays.clone();
        by_end.sort_by_key(|tier| tier.until);
        let mut kept: Vec<Tier> = Vec::new();
        for tier in by_end {
            let at = self.place(tier.level);
            let is_earned = tier.by.is_some() || self.is_earned(who, &tier);
            let leaves = |other: &Tier| {
                let place = self.ladder().position(other.level).filter(|_| !other.by_hand);
                place
                    .and_then(|place| self.left_of(place, other.until, tier.until - 1))
                    .is_some_and(|left| left.0 >= at)
            };
            if tier.by_hand || is_earned || kept.iter().any(leaves) {
                kept.push(tier);
            } else {
                stays.retain(|other| (other.level, other.until, &other.by) != (tier.level, tier.until, &tier.by));
                gone.push(tier);
            }
        }
        gone
    }

    /// Whether the year of a level reaches it no more, and did by what counted before.
    fn is_taken(&self, who: usize, tier: &Tier, years: &BTreeMap<i64, Counted>) -> bool {
        let had = self.counts(years.get(&self.year_of(tier)).copied().unwrap_or_default());
        !self.is_earned(who, tier) && self.by_marks(tier, had) >= self.place(tier.level)
    }

    fn year_of(&self, tier: &Tier) -> i64 {
        tier.year.unwrap_or_else(|| self.trade.zone().year(tier.until - 1) - 1)
    }

    /// What is held still is held by the order that reaches it now.
    fn rest(&mut self, who: usize, year: i64, held: Tier) {
        let mark = self.marks(&held, self.place(held.level)).into_iter().min().unwrap_or(0);
        let reaching = self.reaching(who, year, mark);
        self.hold_level(who, Tier { by: reaching.or(held.by), ..held });
    }

    /// The same after a refund of the order that reached it.
    fn rest_without(&mut self, who: usize, sale: &Sale, held: Tier) {
        if held.by.as_ref() == Some(&sale.id) {
            self.rest(who, self.year_of(&held), held);
        }
    }

    /// The level that an order reached goes in its return window, unless the rest of the year is enough.
    fn lose_with_its_order(&mut self, who: usize, sale: &Sale, years: &BTreeMap<i64, Counted>) {
        let Some(held) = self.people[who].tier.clone() else { return };
        let gone = !sale.rows.iter().any(Row::is_kept);
        let before = std::mem::take(&mut self.people[who].held_before);
        let reached = |tier: &Tier| !tier.by_hand && self.has_reached(who, &sale.id, tier, years);
        let goes =
            |tier: &Tier| gone && tier.by.as_ref() == Some(&sale.id) || !self.is_earned(who, tier) && reached(tier);
        let (lost, mut kept): (Vec<Tier>, Vec<Tier>) = before.into_iter().partition(goes);
        let is_lost = reached(&held);
        let undermined: Vec<i64> = lost.iter().map(|tier| self.year_of(tier)).collect();
        kept.iter_mut().for_each(|tier| self.rest_below(who, sale, tier));
        self.people[who].held_before = kept;
        if self.is_earned(who, &held) {
            self.rest_without(who, sale, held);
        } else if is_lost {
            self.fall(who, &held, &undermined);
        }
    }

    /// What was held before rests on the order that reaches it now, too.
    fn rest_below(&self, who: usize, sale: &Sale, tier: &mut Tier) {
        if tier.by.as_ref() == Some(&sale.id) {
            let mark = self.marks(tier, self.place(tier.level)).into_iter().min().unwrap_or(0);
            let reaching = self.reaching(who, self.year_of(tier), mark);
            tier.by = reaching.or(tier.by.take());
        }
    }

    /// Whether an order came later than another one.
    fn is_later(&self, who: usize, order: &str, other: usize) -> bool {
        let sales = &self.people[who].sales;
        let place = |nth: usize| (sales[nth].at, nth);
        sales.iter().position(|sale| *sale.id == *order).is_some_and(|nth| place(nth) > place(other))
    }

    /// Whether a year that was enough for a level was so by an order: as was noted, or because without it, as it stood
    /// before or was bought, the year was short.
    fn has_reached(&self, who: usize, order: &str, tier: &Tier, years: &BTreeMap<i64, Counted>) -> bool {
        if tier.by.as_deref() == Some(order) {
            return true;
        }
        let (window, clock) = (self.edition().pending_days * DAY, self.people[who].clock);
        let sales = &self.people[who].sales;
        let by = sales.iter().position(|sale| Some(&sale.id) == tier.by.as_ref());
        if by.is_some_and(|by| sales[by].at + window <= clock || self.is_later(who, order, by)) {
            return false;
        }
        let (year, level) = (self.year_of(tier), self.place(tier.level));
        let had = self.counts(years.get(&year).copied().unwrap_or_default());
        let Some(sale) = self.people[who].sales.iter().find(|sale| *sale.id == *order) else { return false };
        let bought: i64 = sale.rows.iter().map(|row| row.paid - row.by_points).sum();
        let all = if self.ladder().by == By::Spend { bought - sale.money() } else { sale.granted - sale.points };
        let (mark, back) = (self.marks(tier, level).into_iter().min().unwrap_or(0), had - self.counted(who, year));
        let is_it = |back: i64| self.reaching_with(who, year, mark, Some((order, back))).as_deref() == Some(order);
        self.by_marks(tier, had) >= level && (is_it(back) || is_it(all.max(back)))
    }

    /// A level goes: what is left is the best of what was held before and what counts still.
    fn fall(&mut self, who: usize, tier: &Tier, undermined: &[i64]) {
        let (held, year, clock) = (self.place(tier.level), self.year_of(tier), self.people[who].clock);
        let before = self.best_before(who, clock);
        let (zone, by_hand) = (self.trade.zone(), self.hand_before(who, clock).is_some());
        let years = self.people[who].years.keys().copied().filter(|other| !by_hand || *other >= year);
        let by_marks = self.by_marks(tier, self.counted(who, year));
        let reached = |other| if other == year { by_marks } else { self.earned(who, other) };
        let earned = years.filter_map(|year| {
            let ends = zone.year_begins(year + 2);
            let is_good = ends > clock || undermined.contains(&year);
            let (level, until) = self.left_of(reached(year), ends, clock).filter(|_| is_good)?;
            Some((level.min(held), until, year))
        });
        let (level, until, year) = earned.filter(|earned| earned.0 > 0).max().unwrap_or((0, NEVER, year));
        let of_held = year == self.year_of(tier);
        let stays = |before: (usize, i64)| before >= (level, until) || by_hand && before.0 == level && of_held;
        let better = before.filter(|before| level == 0 || stays(*before));
        let (level, until) = better.map_or((level, until), |(level, until)| (level.min(held), until));
        let year = Some(year).filter(|_| better.is_none() && level > 0);
        let mark = self.marks(tier, level).into_iter().min().unwrap_or(0);
        let by = year.and_then(|year| self.reaching(who, year, mark));
        if (held, tier.until) == (level, until) {
            return;
        }
        let edition = tier.edition;
        self.take_up(who, Tier { by, year, edition, ..self.bare(self.ladder().levels[level].0, until) });
    }

    /// Where a level by hand that is good still stands among those held before.
    fn hand_before(&self, who: usize, now: i64) -> Option<usize> {
        self.people[who].held_before.iter().position(|tier| tier.by_hand && tier.until > now)
    }

    /// The best of what was held before and is good still, since a level was last set by hand, or what New Years have
    /// left of it, though not under a level by hand.
    fn best_before(&self, who: usize, now: i64) -> Option<(usize, i64)> {
        let since = self.hand_before(who, now).map_or(usize::MAX, |at| at + 1);
        let person = &self.people[who];
        let mut left = person.tier.as_ref().is_none_or(|held| !held.by_hand);
        let mut best = None;
        for tier in person.held_before.iter().take(since) {
            let is_good = tier.until > now;
            left = left && (is_good || !tier.by_hand);
            let Some(level) = self.ladder().position(tier.level) else { continue };
            best = best.max(match (is_good, left) {
                (true, _) => Some((level, tier.until)),
                (false, true) => self.left_of(level, tier.until, now),
                (false, false) => None,
            });
        }
        best
    }

    /// What New Years have left of a level, each by the version in force then.
    fn left_of(&self, level: usize, until: i64, now: i64) -> Option<(usize, i64)> {
        let (zone, mut left, mut year) = (self.trade.zone(), level, self.trade.zone().year(until - 1));
        let mut ends = until;
        while ends <= now {
            if left < 2 || self.drops_to_earned_at(ends) {
                return None;
            }
            (left, year) = (left - 1, year + 1);
            ends = zone.year_begins(year + 1);
        }
        (left > 0).then_some((left, ends))
    }

    /// What became of a level then. While there are none it waits for the next ones.
    fn drops_to_earned_at(&self, ended: i64) -> bool {
        let in_force = self.editions.iter().rposition(|edition| edition.at <= ended).unwrap_or(0);
        let since = self.editions[in_force..].iter().find(|edition| !edition.levels.is_empty());
        since.unwrap_or(self.ladder()).drops_to_earned
    }

    /// Somebody holds a level now: the very one that they held before, if that is the same.
    fn take_up(&mut self, who: usize, mut tier: Tier) {
        if self.ladder().position(tier.level) == Some(0) {
            tier.until = NEVER;
        }
        let is_it = |before: &Tier| (before.level, before.until) == (tier.level, tier.until);
        let same = self.people[who].held_before.iter().position(is_it);
        let mut tier = same.map_or(tier, |at| self.people[who].held_before.remove(at));
        tier.year = Some(self.year_of(&tier));
        self.hold_level(who, tier);
    }

    /// The order of a year that brings it to what a level needs.
    fn reaching(&self, who: usize, year: i64, mark: i64) -> Option<Box<str>> {
        self.reaching_with(who, year, mark, None)
    }

    /// The same, as if so much of an order had not come back.
    fn reaching_with(&self, who: usize, year: i64, mark: i64, back: Option<(&str, i64)>) -> Option<Box<str>> {
        let zone = self.trade.zone();
        let of_back = |id: &str| back.filter(|(order, _)| *order == id).map(|(_, points)| points);
        let is_there = |sale: &&Sale| sale.rows.iter().any(Row::is_kept) || of_back(&sale.id).is_some();
        let sales = self.people[who].sales.iter().filter(is_there);
        let mut sales: Vec<&Sale> = sales.filter(|sale| zone.year(sale.at) == year).collect();
        sales.sort_by_key(|sale| sale.at);
        let mut counted = self.counted(who, year) + back.map_or(0, |(_, points)| points);
        let mut is_first = true;
        while let Some(sale) = sales.pop() {
            let is_last = sale.rows.iter().any(Row::is_kept) && std::mem::take(&mut is_first);
            counted -= of_back(&sale.id).unwrap_or(0);
            let came_back = |id: &str| self.came_back(who, id);
            let with = |by: &str| *by == *sale.id || is_last && came_back(by);
            let given = self.people[who].marks.iter().filter(|mark| mark.by.as_deref().is_some_and(with));
            let given = given.filter_map(|reached| Some((reached.mark.points, self.lots[reached.lot?].earned_at)));
            let given: i64 = given.filter(|(_, at)| zone.year(*at) == year).map(|(points, _)| points).sum();
            counted -= match self.ladder().by {
                By::Spend if sale.earns => sale.money(),
                By::Spend => 0,
                By::Points => sale.points + given,
            };
            if counted < mark {
                return Some(sale.id.clone());
            }
        }
        None
    }

    fn came_back(&self, who: usize, id: &str) -> bool {
        let sale = self.people[who].sales.iter().find(|sale| *sale.id == *id);
        sale.is_some_and(|sale| !sale.rows.iter().any(Row::is_kept))
    }

    /// The level that a New Year leaves of another.
    fn left_by_review(&self, who: usize, ended: i64, level: usize) -> usize {
        let down_to = if self.edition().drops_to_earned { 0 } else { level.saturating_sub(1) };
        self.earned(who, ended).max(down_to)
    }

    /// The level's time is over: one down, unless the year that ended says better.
    pub(super) fn review(&mut self, who: usize, due: i64) {
        let Some(held) = self.people[who].tier.clone() else { return };
        let zone = self.trade.zone();
        let (ended, this) = (zone.year(due - 1), zone.year(due));
        let policy = if held.by_hand {
            let earned = [this - 1, this].map(|year| (self.earned(who, year), zone.year_begins(year + 2)));
            earned.into_iter().filter(|(at, until)| *at > 0 && *until > due).max().unwrap_or((0, NEVER))
        } else {
            (self.left_by_review(who, ended, self.place(held.level)), zone.year_begins(ended + 2))
        };
        let before = self.best_before(who, due).filter(|before| before.0 > 0 && *before > policy);
        let (at, until) = before.unwrap_or(policy);
        self.take_up(who, self.bare(self.edition().levels[at].0, until));
        self.people[who].held_before.insert(0, held);
        let held = self.people[who].tier.clone();
        held.into_iter().for_each(|held| self.hold_level(who, held));
    }

    pub(super) fn give(&mut self, who: usize, now: i64, tier: &str, until: i64) -> Result<(), &'static str> {
        let level = LEVELS.into_iter().find(|id| *id == tier && self.edition().position(id).is_some());
        if level.is_some() && until <= now {
            return Err("invalid");
        }
        let tier = Tier { by_hand: true, ..self.bare(level.ok_or("unknown_tier")?, until) };
        let held = self.people[who].tier.take();
        self.people[who].held_before.splice(0..0, held);
        self.hold_level(who, tier);
        Ok(())
    }

    /// Of two people's the higher level, and the later end; the other one was held before.
    pub(super) fn unite_levels(&mut self, who: usize, theirs: Option<Tier>, their_before: Vec<Tier>) {
        let mine = self.people[who].tier.take();
        let (Some(mine), Some(theirs)) = (mine.clone(), theirs.clone()) else {
            self.people[who].tier = mine.or(theirs);
            return self.people[who].held_before.extend(their_before);
        };
        let (here, there) = (self.place(mine.level), self.place(theirs.level));
        let ends = [(here, mine.until), (there, theirs.until)].into_iter().filter(|(at, _)| *at > 0);
        let until = ends.map(|(_, until)| until).max().unwrap_or(NEVER);
        let mut before = std::mem::take(&mut self.people[who].held_before);
        let held = if (there, theirs.until) > (here, mine.until) {
            before = their_before.into_iter().chain([mine]).chain(before).collect();
            theirs
        } else {
            before.extend([theirs].into_iter().chain(their_before));
            mine
        };
        self.people[who].held_before = before;
        self.hold_level(who, Tier { until, ..held });
    }

    /// What two members have earned together may reach what neither had, as by their last order.
    pub(super) fn reach_together(&mut self, who: usize) {
        let by_year = self.by_year(who);
        match self.last_order(who, None) {
            Some((at, id)) => self.reach_by_orders(who, (at, &id)),
            None => self.conclude(who),
        }
        for (year, order) in by_year {
            self.regrade(who, year, order);
        }
    }
}

/// The highest level that is not above one that is no more, by what that one needed last.
fn instead(newest: &Edition, earlier: &[Edition], level: &str) -> usize {
    let needed = earlier.iter().rev().find_map(|edition| edition.levels.iter().find(|l| l.0 == level));
    newest.level(needed.map_or(0, |level| level.1))
}

fn stands_at(person: &Person, mark: &Mark) -> i64 {
    match mark.of {
        Measure::Impact => Oracle::impact(person),
        Measure::Orders => {
            let kept = person.sales.iter().filter(|s| s.rows.iter().any(Row::is_kept)).count();
            i64::try_from(kept).unwrap_or(0)
        }
    }
}

/// Milestones.
impl Oracle {
    fn stands_at(&self, who: usize, mark: &Mark) -> i64 {
        stands_at(&self.people[who], mark)
    }

    /// What an order that comes in reaches: by the order of its day or a later one without which, and those after it,
    /// the mark would not be met. The year of the one that comes in is graded by itself.
    pub(super) fn reach_by_orders(&mut self, who: usize, came_in: (i64, &str)) {
        for mark in self.due_marks(who) {
            let (at, id) = self.brings(who, &mark, came_in);
            self.give_mark(who, &mark, at, at + self.edition().pending_days * DAY, Some(&id));
            let (year, graded) = (self.trade.zone().year(at), self.trade.zone().year(came_in.0));
            if mark.points > 0 && year != graded {
                self.regrade(who, year, Some(id));
            }
        }
    }

    fn brings(&self, who: usize, mark: &Mark, came_in: (i64, &str)) -> (i64, Box<str>) {
        let mut person = self.people[who].clone();
        let mut later: Vec<usize> = (0..person.sales.len()).filter(|nth| person.sales[*nth].at >= came_in.0).collect();
        later.sort_by_key(|nth| person.sales[*nth].at);
        while let Some(nth) = later.pop() {
            person.sales[nth].rows.clear();
            if stands_at(&person, mark) < mark.at_least {
                return (person.sales[nth].at, person.sales[nth].id.clone());
            }
        }
        (came_in.0, came_in.1.into())
    }

    /// Marks that are met and not reached.
    fn due_marks(&self, who: usize) -> Vec<Mark> {
        let is_known = |mark: &Mark| self.people[who].marks.iter().any(|reached| reached.mark.id == mark.id);
        let marks = self.edition().marks.iter();
        marks.filter(|mark| !is_known(mark) && self.stands_at(who, mark) >= mark.at_least).cloned().collect()
    }

    fn give_mark(&mut self, who: usize, mark: &Mark, placed: i64, firm_at: i64, by: Option<&str>) {
        let lot = (mark.points > 0).then(|| self.grant(who, mark.points, placed, firm_at));
        if mark.points > 0 {
            self.qualify(who, placed, mark.points, 0);
        }
        let edition = self.editions.len() - 1;
        self.people[who].marks.push(Reached { mark: mark.clone(), firm_at, lot, by: by.map(Into::into), edition });
    }

    /// Reaches what is to be reached, dated and firm at some instants; whether anything counts now that did not.
    fn reach(&mut self, who: usize, placed: i64, firm_at: i64, by: Option<&str>) -> bool {
        let due = self.due_marks(who);
        due.iter().for_each(|mark| self.give_mark(who, mark, placed, firm_at, by));
        due.iter().any(|mark| mark.points > 0)
    }

    /// Marks, by their number, that a refund of an order may take back at an instant, for they are not firm: those
    /// that are not under already, and, with all of it, those that hang on it.
    pub(super) fn standing_marks(&self, who: usize, order: &str, now: i64) -> (Vec<usize>, Vec<usize>) {
        let marks = self.people[who].marks.iter().enumerate();
        let soft = marks.filter(|(_, reached)| now < reached.firm_at);
        let hangs = |reached: &Reached| reached.by.as_deref() == Some(order);
        let stands = |reached: &Reached| self.stands_at(who, &reached.mark) >= reached.mark.at_least;
        let (standing, under): (Vec<_>, Vec<_>) = soft.partition(|(_, reached)| stands(reached));
        let hanging = under.into_iter().filter(|(_, reached)| hangs(reached));
        (standing.into_iter().map(|(nth, _)| nth).collect(), hanging.map(|(nth, _)| nth).collect())
    }

    /// After a refund in the return window: what is under the mark of then again is taken back.
    pub(super) fn miss(&mut self, who: usize, stood: &[usize]) {
        for (nth, reached) in std::mem::take(&mut self.people[who].marks).into_iter().enumerate() {
            if !stood.contains(&nth) || self.stands_at(who, &reached.mark) >= reached.mark.at_least {
                self.people[who].marks.push(reached);
            } else {
                self.take_mark(who, &reached);
            }
        }
    }

    fn take_mark(&mut self, who: usize, reached: &Reached) {
        if let Some(lot) = reached.lot {
            let (points, at) = (reached.mark.points, self.lots[lot].earned_at);
            self.reverse(who, lot, points);
            self.qualify(who, at, -points, 0);
        }
    }

    /// Of marks that may be taken back, those of this version: which, and the orders that they hang on.
    pub(super) fn hanging(&self, who: usize, stood: &[usize]) -> Vec<(&'static str, Box<str>)> {
        let newest = self.editions.len() - 1;
        let mut stood: Vec<usize> = stood.to_vec();
        stood.sort_unstable_by_key(|nth| *nth);
        let marks = stood.iter().map(|nth| &self.people[who].marks[*nth]).filter(|reached| reached.edition == newest);
        marks.filter_map(|reached| Some((reached.mark.id, reached.by.clone()?))).collect()
    }

    /// Marks that are met although their order is gone, or was not enough, are taken back and reached again: by the order
    /// that meets them now, or while the last one may come back, and no earlier than before. Whether there were some.
    pub(super) fn reach_again(&mut self, who: usize, sale: &Sale, hung: &[(&'static str, Box<str>)]) -> bool {
        let mut any = false;
        for (id, order) in hung {
            let is_it = |reached: &Reached| reached.mark.id == *id && reached.by.as_ref() == Some(order);
            let Some(nth) = self.people[who].marks.iter().position(is_it) else { continue };
            let Some(hung) = self.people[who].sales.iter().find(|sale| sale.id == *order) else { continue };
            let (hung_at, is_gone) = (hung.at, hung.id == sale.id && !hung.rows.iter().any(Row::is_kept));
            let reached = self.people[who].marks[nth].clone();
            let by = Some(self.brings(who, &reached.mark, (i64::MIN, ""))).filter(|(_, order)| !order.is_empty());
            if !is_gone && by.as_ref().is_none_or(|(at, _)| *at <= hung_at) {
                continue;
            }
            self.people[who].marks.remove(nth);
            let met = by.as_ref().map(|(at, _)| *at);
            let dated = reached.lot.map(|lot| self.lots[lot].earned_at).max(met).unwrap_or(self.people[who].clock);
            let by = by.or_else(|| self.last_open(who));
            let firm_at = by.as_ref().map_or(dated, |(at, _)| dated.max(at + self.edition().pending_days * DAY));
            self.take_mark(who, &reached);
            self.give_mark(who, &reached.mark, dated, firm_at, by.as_ref().map(|(_, order)| &**order));
            self.regrade(who, self.trade.zone().year(dated), by.map(|(_, order)| order));
            any = true;
        }
        any
    }

    /// The last order that may still come back.
    fn last_open(&self, who: usize) -> Option<(i64, Box<str>)> {
        let (clock, window) = (self.people[who].clock, self.edition().pending_days * DAY);
        let kept = self.people[who].sales.iter().filter(|s| s.rows.iter().any(Row::is_kept) && s.at + window > clock);
        kept.max_by_key(|s| s.at).map(|s| (s.at, s.id.clone()))
    }
}

/// What was submitted.
impl Oracle {
    pub(super) fn submitted(&mut self, who: usize, event: &Event, at: i64) {
        if self.people[who].joined.is_none_or(|joined| at < joined) {
            return;
        }
        let text = |name: &str| match event.properties.unpack().get(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => "".into(),
        };
        let tagged = matches!(event.properties.unpack().get("hashtags"), Some(Value::List(tags)) if !tags.is_empty());
        let Some(deed) = self.trade.deed(&text("activity"), tagged, !text("photo").is_empty()) else { return };
        self.open(who, event, at, deed, text("url"));
    }

    /// Whether it is something new.
    fn open(&mut self, who: usize, event: &Event, at: i64, deed: Deed, address: Box<str>) -> bool {
        let again = |a: &Activity| a.deed.rule == deed.rule && a.address == address && a.approved != Some(false);
        if deed.once && self.people[who].activities.iter().any(again) {
            return false;
        }
        let message = event.message_id.clone();
        self.people[who].activities.push(Activity { message, deed, address, at, approved: None, forgotten: false });
        self.people[who].forget_activities();
        true
    }

    /// Nobody reviews it.
    pub(super) fn said_word(&mut self, who: usize, event: &Event, at: i64) {
        let Some(Value::Text(address)) = event.properties.unpack().get("url").cloned() else { return };
        let is_member = self.people[who].joined.is_some_and(|joined| at >= joined);
        if is_member && self.open(who, event, at, SPREAD, address) {
            self.people[who].activities.last_mut().into_iter().for_each(|activity| activity.approved = Some(true));
            self.pay_deed(who, SPREAD, at);
        }
    }

    fn pay_deed(&mut self, who: usize, deed: Deed, at: i64) {
        self.grant(who, deed.points, at, at);
        self.qualify(who, at, deed.points, 0);
        self.regrade(who, self.trade.zone().year(at), None);
    }

    pub(super) fn judge(&mut self, who: usize, message: &str, approve: bool) -> Result<(), &'static str> {
        let activities = &self.people[who].activities;
        let found = activities.iter().position(|a| *a.message == *message).ok_or("unknown_activity")?;
        let (deed, at) = (activities[found].deed, activities[found].at);
        if activities[found].forgotten {
            return Err("unknown_activity");
        }
        if activities[found].approved.is_some() {
            return Err("already_reviewed");
        }
        let paid = activities.iter().filter(|a| a.deed.rule == deed.rule && a.approved == Some(true));
        let times: Vec<i64> = paid.map(|a| a.at).collect();
        if approve && is_over(deed.limit, &times, at, self.trade.zone()) {
            return Err("limit_reached");
        }
        self.people[who].activities[found].approved = Some(approve);
        if approve {
            self.pay_deed(who, deed, at);
        }
        Ok(())
    }
}
