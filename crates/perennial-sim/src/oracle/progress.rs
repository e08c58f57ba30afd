//! Levels, milestones and what was submitted.

use perennial_core::event::Event;
use perennial_core::value::Value;

use super::{Activity, NEVER, Oracle, Reached, Row, Sale, Tier};
use crate::calendar::DAY;
use crate::plan::{Deed, Edition, LEVELS, Limit, Mark, Measure, SPREAD};

fn bare(level: &'static str, until: i64) -> Tier {
    Tier { level, until, by: None, before: None, by_hand: false }
}

/// Levels.
impl Oracle {
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
    /// levels gets one, and a review that was put off is due.
    fn follow_ladder(&mut self, who: usize, known: usize) {
        let lowest = self.lowest();
        let (earlier, newest) = self.editions.split_at(self.editions.len() - 1);
        let person = &mut self.people[who];
        person.put_off = None;
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
        let ladder = |nth: usize| self.editions.get(nth.wrapping_sub(1)).map(|edition| edition.levels.clone());
        if !by_hand && ladder(known) != ladder(self.editions.len()) {
            for (year, order) in self.by_year(who) {
                self.regrade(who, year, order);
            }
        }
    }

    /// What a new member holds.
    pub(super) fn lowest(&self) -> Option<Tier> {
        self.edition().levels.first().map(|level| bare(level.0, NEVER))
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
        let kept = self.people[who].sales.iter().filter(|s| s.rows.iter().any(Row::is_kept) && s.at + window > clock);
        let last = kept.max_by_key(|s| s.at).map(|s| (s.at + window, s.id.clone()));
        let firm_at = last.as_ref().map_or(clock, |(firm_at, _)| *firm_at);
        if self.people[who].joined.is_some() && self.reach(who, clock, firm_at, last.as_ref().map(|(_, id)| &**id)) {
            self.regrade(who, self.trade.zone().year(clock), last.map(|(_, id)| id));
        }
    }

    /// Where a level stands that somebody had, whether or not it is still there: on the last ladder that there was.
    fn place(&self, level: &str) -> usize {
        let ladder = self.editions.iter().rev().find(|edition| !edition.levels.is_empty()).unwrap_or(self.edition());
        ladder.position(level).unwrap_or_else(|| instead(ladder, &self.editions, level))
    }

    /// Points count for the year of their date.
    pub(super) fn qualify(&mut self, who: usize, at: i64, points: i64) {
        *self.people[who].years.entry(self.trade.zone().year(at)).or_default() += points;
    }

    /// The level that a year's points reach.
    fn earned(&self, who: usize, year: i64) -> usize {
        self.edition().level(self.people[who].years.get(&year).copied().unwrap_or(0))
    }

    /// After something counted in a year: it may lift at once, or extend what is held.
    pub(super) fn regrade(&mut self, who: usize, year: i64, order: Option<Box<str>>) {
        let (reached, until) = (self.earned(who, year), self.trade.zone().year_begins(year + 2));
        let clock = self.people[who].clock;
        let Some(held) = self.people[who].tier.clone().filter(|_| reached > 0 && until > clock) else { return };
        let (at, level) = (self.place(held.level), self.edition().levels[reached].0);
        if reached > at || (reached == at && until > held.until) {
            let before = Some(Box::new(held));
            self.people[who].tier = Some(Tier { level, until, by: order, before, by_hand: false });
        }
    }

    /// Something of an order came back: the level that it reached goes in its return window, unless the rest is
    /// enough; then it is held by the order that reaches it now.
    pub(super) fn lose(&mut self, who: usize, sale: &Sale, was_pending: bool) {
        if self.edition().levels.is_empty() {
            return;
        }
        let Some(mut held) = self.people[who].tier.take() else { return };
        let gone = !sale.rows.iter().any(Row::is_kept);
        if was_pending {
            let still = self.earned(who, self.trade.zone().year(sale.at));
            let goes = |tier: &Tier| tier.by.as_ref() == Some(&sale.id) && (gone || self.place(tier.level) > still);
            held.before = spared(held.before.take(), &goes);
        }
        let by = self.people[who].sales.iter().find(|other| Some(&other.id) == held.by.as_ref());
        let by = by.map(|by| (by.id.clone(), by.at, self.trade.zone().year(by.at)));
        self.people[who].tier = Some(match by {
            Some((by, at, year)) if self.earned(who, year) >= self.place(held.level) => {
                let reaching = self.reaching(who, year, self.place(held.level));
                Tier { by: reaching.filter(|_| sale.at <= at).or(Some(by)), ..held }
            }
            Some((by, ..)) if was_pending && by == sale.id => self.fallen(who, held, self.best(who)),
            _ => held,
        });
    }

    /// What is left when a level goes: what was held before, or what counts still.
    fn fallen(&self, who: usize, held: Tier, (earned, until, year): (usize, i64, i64)) -> Tier {
        if let Some(before) = &held.before {
            let at = self.place(before.level);
            if (at, before.until) >= (earned, until) || at == 0 && earned == 0 {
                let until = if at == 0 { NEVER } else { before.until };
                return Tier { level: self.edition().levels[at].0, until, ..(**before).clone() };
            }
        }
        let by = if earned > 0 { self.reaching(who, year, earned) } else { None };
        Tier { by, before: held.before, ..bare(self.edition().levels[earned].0, until) }
    }

    /// The best that the years give which are good still: the level, its end and the year.
    fn best(&self, who: usize) -> (usize, i64, i64) {
        let zone = self.trade.zone();
        let years = self.people[who].years.keys();
        let levels = years.map(|year| (self.earned(who, *year), zone.year_begins(year + 2), *year));
        let good = levels.filter(|(level, until, _)| *level > 0 && *until > self.people[who].clock);
        good.max().unwrap_or((0, NEVER, zone.year(self.people[who].clock)))
    }

    /// The order of a year that brings its points to what a level needs.
    fn reaching(&self, who: usize, year: i64, level: usize) -> Option<Box<str>> {
        let zone = self.trade.zone();
        let sales = self.people[who].sales.iter().filter(|s| s.earns && s.rows.iter().any(Row::is_kept));
        let mut sales: Vec<&Sale> = sales.filter(|sale| zone.year(sale.at) == year).collect();
        sales.sort_by_key(|sale| sale.at);
        let mut points = self.people[who].years.get(&year).copied().unwrap_or(0);
        while let Some(sale) = sales.pop() {
            points -= sale.points;
            if self.edition().level(points) < level {
                return Some(sale.id.clone());
            }
        }
        None
    }

    /// The level's time is over: one down, unless the year that ended says better.
    pub(super) fn review(&mut self, who: usize, due: i64) {
        let Some(held) = self.people[who].tier.clone() else { return };
        let zone = self.trade.zone();
        let (ended, this) = (zone.year(due - 1), zone.year(due));
        let (at, until) = if held.by_hand {
            let mut best = (0, NEVER);
            let earned = [this - 1, this].map(|year| (self.earned(who, year), zone.year_begins(year + 2)));
            let before = held.before.iter().map(|before| (self.place(before.level), before.until));
            for (at, until) in earned.into_iter().chain(before) {
                if at > 0 && until > due && (best.0 == 0 || (at, until) > best) {
                    best = (at, until);
                }
            }
            best
        } else {
            let below = self.place(held.level).saturating_sub(1);
            (self.earned(who, ended).max(below), zone.year_begins(ended + 2))
        };
        let tier = bare(self.edition().levels[at].0, if at == 0 { NEVER } else { until });
        self.people[who].tier = Some(Tier { before: held.before, ..tier });
    }

    pub(super) fn give(&mut self, who: usize, now: i64, tier: &str, until: i64) -> Result<(), &'static str> {
        let level = LEVELS.into_iter().find(|id| *id == tier && self.edition().position(id).is_some());
        if level.is_some() && until <= now {
            return Err("invalid");
        }
        let before = self.people[who].tier.clone().map(Box::new);
        self.people[who].tier = Some(Tier { before, by_hand: true, ..bare(level.ok_or("unknown_tier")?, until) });
        Ok(())
    }

    /// Of two people's the higher level, and the later end.
    pub(super) fn better(&self, mine: Option<Tier>, theirs: Option<Tier>) -> Option<Tier> {
        let (Some(a), Some(b)) = (&mine, &theirs) else { return mine.or(theirs) };
        let (here, there) = (self.place(a.level), self.place(b.level));
        let ends = [(here, a.until), (there, b.until)].into_iter().filter(|(at, _)| *at > 0);
        let until = ends.map(|(_, until)| until).max().unwrap_or(NEVER);
        let (higher, lower) = if (there, b.until) > (here, a.until) { (theirs, mine) } else { (mine, theirs) };
        let (mut tier, mut lower) = (higher?, lower?);
        if tier.before.as_ref().is_none_or(|before| self.place(before.level) < self.place(lower.level)) {
            lower.before = tier.before;
            tier.before = Some(Box::new(lower));
        }
        Some(Tier { until, ..tier })
    }

    /// What two members have earned together may reach what neither had, as by their last order.
    pub(super) fn reach_together(&mut self, who: usize, now: i64) {
        let by_year = self.by_year(who);
        match self.last_order(who, None) {
            Some((at, id)) => self.reach(who, at, at + self.edition().pending_days * DAY, Some(&id)),
            None => self.reach(who, now, now, None),
        };
        for (year, order) in by_year {
            self.regrade(who, year, order);
        }
    }
}

/// What was held before, without what goes with an order.
fn spared(before: Option<Box<Tier>>, goes: &impl Fn(&Tier) -> bool) -> Option<Box<Tier>> {
    let mut tier = before?;
    tier.before = spared(tier.before.take(), goes);
    if goes(&tier) { tier.before } else { Some(tier) }
}

/// The highest level that is not above one that is no more, by what that one needed last.
fn instead(newest: &Edition, earlier: &[Edition], level: &str) -> usize {
    let needed = earlier.iter().rev().find_map(|edition| edition.levels.iter().find(|l| l.0 == level));
    newest.level(needed.map_or(0, |level| level.1))
}

/// Milestones.
impl Oracle {
    fn stands_at(&self, who: usize, mark: &Mark) -> i64 {
        let person = &self.people[who];
        match mark.of {
            Measure::Impact => Self::impact(person),
            Measure::Orders => {
                let kept = person.sales.iter().filter(|s| s.rows.iter().any(Row::is_kept)).count();
                i64::try_from(kept).unwrap_or(0)
            }
        }
    }

    /// Reaches what is to be reached, dated and firm at some instants; whether anything counts now that did not.
    pub(super) fn reach(&mut self, who: usize, placed: i64, firm_at: i64, by: Option<&str>) -> bool {
        let mut counts = false;
        for mark in self.edition().marks.clone() {
            let known = self.people[who].marks.iter().any(|reached| reached.mark.id == mark.id);
            if known || self.stands_at(who, &mark) < mark.at_least {
                continue;
            }
            let lot = (mark.points > 0).then(|| self.grant(who, mark.points, placed, firm_at));
            if mark.points > 0 {
                self.qualify(who, placed, mark.points);
                counts = true;
            }
            self.people[who].marks.push(Reached { mark, firm_at, lot, by: by.map(Into::into) });
        }
        counts
    }

    /// Marks, by their number, that a refund of an order may take back at an instant: they are not firm, and hang on
    /// it or are not under already.
    pub(super) fn standing_marks(&self, who: usize, order: &str, now: i64) -> Vec<usize> {
        let marks = self.people[who].marks.iter().enumerate();
        let soft = marks.filter(|(_, reached)| now < reached.firm_at);
        let hangs = |reached: &Reached| reached.by.as_deref() == Some(order);
        let stands = |reached: &Reached| self.stands_at(who, &reached.mark) >= reached.mark.at_least;
        let standing = soft.filter(|(_, reached)| hangs(reached) || stands(reached));
        standing.map(|(nth, _)| nth).collect()
    }

    /// After a refund in the return window: what is under the mark of then again is taken back.
    pub(super) fn miss(&mut self, who: usize, stood: &[usize]) {
        for (nth, reached) in std::mem::take(&mut self.people[who].marks).into_iter().enumerate() {
            if !stood.contains(&nth) || self.stands_at(who, &reached.mark) >= reached.mark.at_least {
                self.people[who].marks.push(reached);
            } else if let Some(lot) = reached.lot {
                let (points, at) = (reached.mark.points, self.lots[lot].earned_at);
                self.reverse(who, lot, points);
                self.qualify(who, at, -points);
            }
        }
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
        self.people[who].activities.push(Activity { message, deed, address, at, approved: None });
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
        self.qualify(who, at, deed.points);
        self.regrade(who, self.trade.zone().year(at), None);
    }

    pub(super) fn judge(&mut self, who: usize, message: &str, approve: bool) -> Result<(), &'static str> {
        let activities = &self.people[who].activities;
        let found = activities.iter().position(|a| *a.message == *message).ok_or("unknown_activity")?;
        let (deed, at) = (activities[found].deed, activities[found].at);
        if activities[found].approved.is_some() {
            return Err("already_reviewed");
        }
        let zone = self.trade.zone();
        let paid = |near: &dyn Fn(i64) -> bool| {
            let paid = activities.iter().filter(|a| a.deed.rule == deed.rule && a.approved == Some(true));
            paid.filter(|a| near(a.at)).count()
        };
        let over = match deed.limit {
            Limit::Always => false,
            Limit::InDays(most, days) => paid(&|other| (other - at).abs() < days * DAY) >= most,
            Limit::InMonth(most) => paid(&|other| zone.month(other) == zone.month(at)) >= most,
        };
        if approve && over {
            return Err("limit_reached");
        }
        self.people[who].activities[found].approved = Some(approve);
        if approve {
            self.pay_deed(who, deed, at);
        }
        Ok(())
    }
}
