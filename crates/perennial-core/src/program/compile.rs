//! The compiler: from a document to a [`Program`], or to everything that is wrong with it.
//!
//! Promise: one compile reports all problems. A part that is wrong is set aside and the rest is
//! still checked; names declared in a wrong part stay known, so that one slip is one problem.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;

use super::document::{Content, Node};
use super::lower::{self, Names, Reach, Type};
use super::problem::{Path, Problems, did_you_mean};
use super::source::{self, Source};
use super::{
    Benefit, Computed, EarnRule, Expiry, Feature, Gives, Join, Level, Limit, Milestone, Period, Pilot, PointsPolicy,
    Problem, Program, Reward, Segment, SegmentRule, TierBy, Tiers, Trait, TraitKind, Undo, effect, phrase, possible,
    shape,
};
use crate::event::{ORDER_COMPLETED, TYPED};
use crate::expr::{Field, Predicate, Term};
use crate::id::{IdentifierKind, Word};
use crate::money::Currency;
use crate::score::ModelKind;
use crate::time::{Span, Zone};

/// Features of one programme: each takes room with every customer.
const FEATURES_MAX: usize = 1_000;

/// Compiles a programme written as YAML or JSON.
///
/// # Errors
/// All problems at once, in the order of the document, each with its path and line.
pub fn compile(source_text: &str) -> Result<Program, Vec<Problem>> {
    let document = Node::parse(source_text, "programme").map_err(|problem| vec![problem])?;
    compile_document(&document, true)
}

/// As [`compile`], for a programme that was published: what is in force stays in force, also where a
/// later version of this compiler would advise against it.
///
/// # Errors
/// As [`compile`].
pub fn compile_published(source_text: &str) -> Result<Program, Vec<Problem>> {
    let document = Node::parse(source_text, "programme").map_err(|problem| vec![problem])?;
    compile_document(&document, false)
}

/// Compiles a programme that is already a value, such as a patched one.
///
/// # Errors
/// All problems at once, without lines.
pub fn compile_value(source: Value) -> Result<Program, Vec<Problem>> {
    compile_document(&Node::from(source), true)
}

fn compile_document(document: &Node, new: bool) -> Result<Program, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut program = None;
    let source = shape::check(document, &mut problems);
    document.check(&Path::default(), new, &mut problems);
    if let Some(source) = source {
        let names = names(document);
        let written = document.get("currency").and_then(Node::text).unwrap_or(&source.currency.0);
        // One that is none is told; others that are written are not measured by a guess.
        let beside =
            source.wallets.points.cost.as_ref().and_then(|cost| cost.0.split_whitespace().last()?.parse().ok());
        let currency = written.parse().ok().or(beside).unwrap_or(Currency::USD);
        program = Compiler { document, names, currency, new, problems: &mut problems }.program(&source);
    }
    match program {
        Some(program) if problems.is_empty() => Ok(program),
        _ => Err(problems.finish(|path| document.line_of(path))),
    }
}

/// Everything declared, read from the document itself: a wrong declaration still declares its name.
fn names(document: &Node) -> Names {
    let part = |name: &str| document.get(name);
    let of_trait = |node: &Node| {
        let kind: Option<TraitKind> = node.get("type").and_then(|kind| serde_json::from_value(Value::from(kind)).ok());
        kind.map_or(Type::Any, Type::of_trait)
    };
    let of_feature = |node: &Node| {
        let instant = node.get("first").is_some() || node.get("last").is_some();
        if instant { Type::Instant } else { Type::Number }
    };
    let mut features = entries(part("features"), of_feature);
    features.sort_by(|a, b| a.0.cmp(&b.0));
    let declared = |kind: &ModelKind| part("models").is_some_and(|models| models.get(kind.word()).is_some());
    let models = ModelKind::ALL.into_iter().filter(declared).collect();
    let is_date = |node: &Node| node.get("type").and_then(Node::text) == Some("date");
    let mut dates = entries(part("traits"), is_date);
    dates.retain(|(_, is_date)| *is_date);
    let dates = dates.into_iter().map(|(name, _)| name).collect();
    let mut counts = entries(part("features"), |node| node.get("count").is_some() || node.get("distinct").is_some());
    counts.retain(|(_, counts)| *counts);
    let counts = counts.into_iter().map(|(name, _)| name).collect();
    let (traits, levels, currencies) = (entries(part("traits"), of_trait), level_ids(document), currencies(document));
    Names { traits, dates, features, counts, levels, currencies, models }
}

/// Those whose orders earn.
fn currencies(document: &Node) -> Vec<Box<str>> {
    let own = document.get("currency").and_then(Node::text);
    let others = document.get("rates").into_iter().flat_map(Node::keys);
    let codes = own.into_iter().chain(others).filter_map(|code| code.parse::<Currency>().ok());
    codes.map(|code| code.to_string().into()).collect()
}

fn level_ids(document: &Node) -> Vec<Box<str>> {
    let levels = document.get("tiers").and_then(|tiers| tiers.get("levels"));
    let ids = levels.iter().flat_map(|l| l.items()).filter_map(|level| level.get("id")?.text());
    ids.map(Into::into).collect()
}

fn entries<T>(node: Option<&Node>, read: impl Fn(&Node) -> T) -> Vec<(Box<str>, T)> {
    match node.map(|n| &n.what) {
        Some(Content::Map(entries)) => entries.iter().map(|e| (e.key.clone(), read(&e.node))).collect(),
        _ => Vec::new(),
    }
}

struct Compiler<'a> {
    document: &'a Node,
    names: Names,
    currency: Currency,
    /// Whether it is yet to be published, so that rules without any effect are refused.
    new: bool,
    problems: &'a mut Problems,
}

/// The path of a section.
fn section(name: &str) -> Path {
    Path::default().key(name)
}

impl Compiler<'_> {
    fn program(mut self, source: &Source) -> Option<Program> {
        let zone = self.zone(&source.time_zone.0);
        let rates = self.rates(&source.rates);
        let traits = self.traits(&source.traits);
        let join = join(source.join.as_ref());
        let pilot = self.pilot(source.pilot.as_ref());
        let points = self.points(source);
        let earn = self.earn(&source.earn);
        let tiers = source.tiers.as_ref().map(|tiers| self.tiers(tiers));
        let benefits = self.benefits(&source.benefits);
        let rewards = self.rewards(&source.rewards);
        let milestones = self.milestones(&source.milestones);
        let features = self.features(&source.features);
        let segments = self.segments(&source.segments);
        let mut program = Program {
            id: (*source.id.0).into(),
            version: 0,
            name: (*source.name).into(),
            currency: self.currency,
            rates,
            zone: zone?,
            traits,
            leap_day: source.birthday.leap,
            join,
            pilot,
            points,
            earn,
            tiers,
            benefits,
            rewards,
            milestones,
            features,
            segments,
            models: models(&source.models),
            recalled: Vec::new(),
        };
        program.recalled = recalled(&program);
        if self.new {
            effect::check(source, self.document, &program, &self.names, self.problems);
        }
        Some(program)
    }

    fn zone(&mut self, name: &str) -> Option<Zone> {
        let zone = if name == "UTC" { Ok(Zone::utc()) } else { Zone::named(name) };
        let message = format!("unknown time zone '{name}': write a name like Europe/Paris or America/Denver");
        self.problems.check(&section("time_zone"), zone.map_err(|_| message))
    }

    /// From units of both currencies to minor units of both, exact: a power of ten between them.
    fn rates(&mut self, rates: &BTreeMap<String, source::Positive>) -> BTreeMap<Currency, Decimal> {
        let mut minor = BTreeMap::new();
        for (code, rate) in rates {
            let path = section("rates").key(code);
            let Some(other) = self.problems.check(&path, code.parse::<Currency>()) else { continue };
            if other == Currency::NONE {
                self.problems
                    .add(&path, "XXX stands for no currency: an order whose currency nobody can read is in it");
            }
            if other == self.currency {
                self.problems.add(&path, format!("{other} is the programme's own currency: leave it out"));
            }
            if rate.0 <= Decimal::ZERO || rate.0 > Decimal::from(phrase::MOST) {
                self.problems.add(&path, format!("a rate is more than 0 {} for 1 {other}", self.currency));
            }
            let power = Decimal::from(10u64.pow(self.currency.exponent())) / Decimal::from(10u64.pow(other.exponent()));
            if let Some(rate) = rate.0.checked_mul(power) {
                minor.insert(other, rate);
            }
        }
        minor
    }

    fn traits(&mut self, traits: &BTreeMap<String, source::Trait>) -> BTreeMap<Box<str>, Trait> {
        let mut declared = BTreeMap::new();
        for (name, written) in traits {
            let path = section("traits").key(name);
            self.word(&path, name, "trait");
            let kind = written.kind;
            let identifies = written
                .identifies
                .as_ref()
                .and_then(|as_what| self.problems.check(&path.key("identifies"), identifies(kind, as_what)).flatten());
            declared.insert(name.as_str().into(), Trait { kind, identifies });
        }
        declared
    }

    /// Whether a key is absent, rather than there and set aside because it is wrong.
    fn lacks(&self, path: &Path, keys: &[&str]) -> bool {
        !keys.iter().any(|key| self.document.has(&path.key(key)))
    }

    /// Events are listened to by their exact names: a slip would never earn, silently.
    fn event(&mut self, path: &Path, name: &str) {
        if !TYPED.contains(&name) {
            let hint = did_you_mean(name, TYPED.iter().copied());
            if !hint.is_empty() {
                self.problems.add(path, format!("no event is called '{name}'{hint}"));
            }
        }
    }

    /// A name that expressions can say.
    fn word(&mut self, path: &Path, name: &str, what: &str) {
        let right = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !right {
            let message =
                format!("'{name}' cannot be the name of a {what}: expressions use it, so only letters, digits and _");
            self.problems.add(path, message);
        }
    }

    fn pilot(&mut self, pilot: Option<&source::Pilot>) -> Option<Pilot> {
        let path = section("pilot");
        let pilot = pilot?;
        match (&pilot.share, &pilot.salt, &pilot.segment) {
            (Some(share), Some(salt), None) => {
                let parts = self.problems.check(&path.key("share"), phrase::share(&share.0, 10_000))?;
                Some(Pilot::Share { basis_points: u16::try_from(parts).ok()?, salt: salt.as_str().into() })
            }
            (None, None, Some(segment)) => {
                self.known(&path.key("segment"), segment, "segment", "segments");
                Some(Pilot::Segment(segment.as_str().into()))
            }
            (Some(_), None, None) => {
                self.problems.add(&path, "a share needs a salt, any word, like { share: 10%, salt: spring }");
                None
            }
            _ => {
                self.problems.add(&path, "a pilot is { share: 10%, salt: spring } or { segment: insiders }");
                None
            }
        }
    }

    /// Checks that a name is declared in a section.
    fn known(&mut self, path: &Path, name: &str, what: &str, section: &str) {
        let declared: Vec<&str> = self.document.get(section).iter().flat_map(|n| n.keys()).collect();
        if !declared.contains(&name) {
            let hint = did_you_mean(name, declared);
            let hint = if hint.is_empty() { format!(": declare it under '{section}'") } else { hint };
            self.problems.add(path, format!("unknown {what} '{name}'{hint}"));
        }
    }

    fn points(&mut self, source: &Source) -> PointsPolicy {
        let path = section("wallets").key("points");
        let points = &source.wallets.points;
        let undo = points
            .undo
            .restore
            .as_ref()
            .and_then(|restore| self.problems.check(&path.key("undo").key("restore"), phrase::restore(&restore.0)));
        let cost = points
            .cost
            .as_ref()
            .and_then(|cost| self.problems.check(&path.key("cost"), phrase::money(&cost.0, self.currency)));
        PointsPolicy {
            pending: self.length(&path.key("pending"), points.pending.as_ref(), any_length).unwrap_or_default(),
            expires: points.expires.as_ref().and_then(|e| self.expires(&path.key("expires"), e)),
            refunds: points.refunds.policy,
            combine: source.bonuses.combine,
            undo: undo.unwrap_or(Undo::OriginalDates),
            cost,
        }
    }

    fn length(
        &mut self,
        path: &Path,
        text: Option<&source::Length>,
        read: impl Fn(&str) -> Result<Span, String>,
    ) -> Option<Span> {
        self.problems.check(path, read(&text?.0))
    }

    fn expires(&mut self, path: &Path, expires: &source::Expires) -> Option<Expiry> {
        let after = self.length(&path.key("after"), expires.after.as_ref(), phrase::positive);
        let idle_path = path.key("after_inactivity");
        let after_inactivity = self.length(&idle_path, expires.after_inactivity.as_ref(), phrase::positive);
        let remind = self.length(&path.key("remind"), expires.remind.as_ref(), phrase::positive);
        match (&expires.after, &expires.after_inactivity) {
            (None, None) => {
                if self.lacks(path, &["after", "after_inactivity"]) {
                    self.problems.add(path, "missing 'after', for example after: P12M");
                }
                return None;
            }
            (Some(_), Some(_)) => {
                self.problems
                    .add(&idle_path, "points lapse 'after' a time or 'after_inactivity', not both: remove one");
            }
            _ => {}
        }
        let after = after.or(after_inactivity)?;
        if self.new && remind.is_some_and(|remind| phrase::is_longer(remind, after)) {
            let message =
                "the reminder would come before the points: remind later, in less time than they are good for";
            self.problems.add(&path.key("remind"), message);
        }
        Some(Expiry { after, from: expires.from, remind, after_inactivity, grace_existing: expires.grace_existing.0 })
    }

    fn condition(&mut self, path: &Path, text: Option<&source::Expression>, reach: Reach) -> Option<Predicate> {
        let Some(text) = text else { return Some(Predicate::Const(true)) };
        let condition = self.all(path, lower::predicate(&text.0, &self.names, reach))?;
        if self.new {
            possible::slip(&condition, &self.names).into_iter().for_each(|slip| self.problems.add(path, slip));
        }
        Some(condition)
    }

    fn value(&mut self, path: &Path, text: &source::Expression, reach: Reach) -> Option<(Term, Type)> {
        self.all(path, lower::term(&text.0, &self.names, reach))
    }

    fn all<T>(&mut self, path: &Path, result: Result<T, Vec<String>>) -> Option<T> {
        result.map_err(|wrong| wrong.into_iter().for_each(|message| self.problems.add(path, message))).ok()
    }

    fn unique<'s>(&mut self, seen: &mut BTreeSet<&'s str>, path: &Path, id: &'s str) {
        if !seen.insert(id) {
            self.problems.add(&path.key("id"), format!("the id '{id}' is used twice: ids are unique"));
        }
    }

    fn earn(&mut self, rows: &source::Rows<source::EarnRule>) -> Vec<EarnRule> {
        let mut seen = BTreeSet::new();
        let mut rules = Vec::new();
        for (at, rule) in rows.iter() {
            let path = section("earn").at(at);
            self.unique(&mut seen, &path, &rule.id.0);
            rules.extend(self.earn_rule(&path, rule));
        }
        if self.new && rules.len() == self.document.get("earn").map_or(0, |rows| rows.items().len()) {
            self.factors_without_rates(&rules);
        }
        rules
    }

    /// Factors are for the points that rates give; where no rule has a rate they would do nothing.
    fn factors_without_rates(&mut self, rules: &[EarnRule]) {
        if rules.iter().any(|rule| matches!(rule.gives, Gives::Rate { .. })) {
            return;
        }
        for at in (0..rules.len()).filter(|at| matches!(rules[*at].gives, Gives::Multiply { .. })) {
            let message = "there is nothing to multiply: no rule gives points at a rate like '1 per 1.00', and whole \
                           numbers are not multiplied; write 'points: N' here instead";
            self.problems.add(&section("earn").at(at).key("multiply"), message);
        }
    }

    fn earn_rule(&mut self, path: &Path, rule: &source::EarnRule) -> Option<EarnRule> {
        let reach = Reach::event(&rule.on.0);
        self.event(&path.key("on"), &rule.on.0);
        let when = self.condition(&path.key("when"), rule.when.as_ref(), reach);
        let gives = self.gives(path, rule);
        let unique_by = rule.unique_by.as_ref().map(|text| self.value(&path.key("unique_by"), text, reach));
        let limit = rule.limit.as_ref().map(|limit| self.limit(&path.key("limit"), limit));
        Some(EarnRule {
            id: (*rule.id.0).into(),
            on: (*rule.on.0).into(),
            when: when?,
            gives: gives?,
            review: rule.review.is_some(),
            unique_by: match unique_by {
                Some(by) => Some(by?.0),
                None => None,
            },
            limit: match limit {
                Some(limit) => Some(limit?),
                None => None,
            },
        })
    }

    fn gives(&mut self, path: &Path, rule: &source::EarnRule) -> Option<Gives> {
        if rule.lines.is_some() && self.lacks(path, &["multiply"]) {
            self.problems.add(&path.key("lines"), "'lines' belongs to 'multiply': it says which lines count more");
        }
        let on_order = &*rule.on.0 == ORDER_COMPLETED;
        match (&rule.points, rule.multiply) {
            (Some(source::PointsGiven::Fixed(points)), None) => {
                self.whole(&path.key("points"), *points).map(Gives::Fixed)
            }
            (Some(source::PointsGiven::Rate(rate)), None) => {
                let path = path.key("points");
                if !on_order {
                    let message = "a rate needs money, so only 'on: Order Completed' has one: write a whole number";
                    self.problems.add(&path, message);
                }
                let (points, per) = self.problems.check(&path, phrase::rate(&rate.0, self.currency))?;
                Some(Gives::Rate { points: points.normalize(), per: per.normalize() })
            }
            (None, Some(factor)) => self.multiply(path, rule, factor.0, on_order),
            (Some(_), Some(_)) => {
                self.problems.add(path, "'points' and 'multiply' exclude each other: write two rules");
                None
            }
            (None, None) => {
                if self.lacks(path, &["points", "multiply"]) {
                    self.problems.add(path, "missing 'points' or 'multiply', for example points: 1 per 1.00");
                }
                None
            }
        }
    }

    fn multiply(&mut self, path: &Path, rule: &source::EarnRule, factor: Decimal, on_order: bool) -> Option<Gives> {
        if !on_order {
            self.problems.add(&path.key("multiply"), "only orders are multiplied: write 'on: Order Completed'");
        }
        for (key, said) in [
            ("review", rule.review.is_some()),
            ("unique_by", rule.unique_by.is_some()),
            ("limit", rule.limit.is_some()),
        ] {
            if said {
                self.problems
                    .add(&path.key(key), format!("'{key}' belongs to rules with 'points', not with 'multiply'"));
            }
        }
        if factor > Decimal::from(1_000) || factor.scale() > 6 {
            self.problems.add(&path.key("multiply"), "a factor is between 0 and 1000, with at most 6 decimal places");
        }
        let lines = match &rule.lines {
            Some(lines) => Some(self.condition(&path.key("lines"), Some(lines), Reach::lines(&rule.on.0))?),
            None => None,
        };
        Some(Gives::Multiply { factor: factor.normalize(), lines })
    }

    /// A whole number of points that sums cannot overflow.
    fn whole(&mut self, path: &Path, points: i64) -> Option<i64> {
        if (0..=phrase::MOST).contains(&points) {
            return Some(points);
        }
        self.problems.add(path, format!("points are between 0 and {}", phrase::MOST));
        None
    }

    fn limit(&mut self, path: &Path, limit: &source::Limit) -> Option<Limit> {
        match limit {
            source::Limit::Ever(count) => Some(Limit { count: *count, per: Period::Ever }),
            source::Limit::Per(text) => self.problems.check(path, phrase::limit(&text.0)),
        }
    }

    fn tiers(&mut self, tiers: &source::Tiers) -> Tiers {
        let levels = self.levels(tiers.by, &tiers.levels);
        Tiers { by: tiers.by, levels, drop: tiers.drop, on_refund: tiers.on_refund }
    }

    fn levels(&mut self, by: TierBy, rows: &source::Rows<source::Level>) -> Vec<Level> {
        let mut seen = BTreeSet::new();
        let mut levels: Vec<Level> = Vec::new();
        for (at, level) in rows.iter() {
            let path = section("tiers").key("levels").at(at);
            self.unique(&mut seen, &path, &level.id.0);
            for (i, benefit) in level.benefits.iter() {
                self.known(&path.key("benefits").at(i), benefit, "benefit", "benefits");
            }
            let Some(from) = self.threshold(&path.key("from"), by, level.from.0) else { continue };
            self.check_rise(&path.key("from"), at, from, levels.last());
            let benefits = level.benefits.iter().map(|(_, b)| b.as_str().into()).collect();
            levels.push(Level { id: (*level.id.0).into(), from, benefits });
        }
        levels
    }

    fn check_rise(&mut self, path: &Path, at: usize, from: i64, below: Option<&Level>) {
        if at == 0 && from != 0 {
            self.problems.add(path, "the first level starts at 0: everybody who joins has it");
        }
        if let Some(below) = below.filter(|below| below.from >= from) {
            self.problems.add(path, format!("levels rise: this one must start above '{}'", below.id));
        }
    }

    /// Whole points, or minor units of money.
    fn threshold(&mut self, path: &Path, by: TierBy, from: Decimal) -> Option<i64> {
        let (units, exponent) = match by {
            TierBy::PointsEarned => ("whole points".to_owned(), 0),
            TierBy::Spend => (format!("an amount of {}", self.currency), self.currency.exponent()),
        };
        let minor = from.checked_mul(Decimal::from(10u64.pow(exponent))).map(|n| n.normalize());
        let right = minor.filter(|n| n.scale() == 0 && from <= Decimal::from(phrase::MOST)).and_then(|n| n.to_i64());
        if right.is_none() {
            self.problems.add(path, format!("'{from}' is not {units} up to {}", phrase::MOST));
        }
        right
    }

    fn benefits(&mut self, benefits: &BTreeMap<String, source::Benefit>) -> Vec<Benefit> {
        let mut granted = Vec::new();
        for (id, benefit) in benefits {
            let path = section("benefits").key(id);
            let source::Benefit::Granted(benefit) = benefit else { continue };
            self.event(&path.key("on"), &benefit.on.0);
            let when = self.condition(&path.key("when"), benefit.when.as_ref(), Reach::event(&benefit.on.0));
            let impact = self.impact(&path.key("grant").key("impact"), &benefit.grant.impact);
            let Some(when) = when else { continue };
            granted.push(Benefit { id: id.as_str().into(), on: (*benefit.on.0).into(), when, impact });
        }
        granted
    }

    /// Impact in thousandths.
    fn impact(&mut self, path: &Path, impact: &BTreeMap<String, source::Positive>) -> Vec<(Word, i64)> {
        if impact.is_empty() {
            self.problems.add(path, "nothing is granted: name a unit, like { trees: 1 }");
        }
        let mut units = Vec::new();
        for (unit, amount) in impact {
            self.word(&path.key(unit), unit, "unit");
            let thousandths = amount.0.checked_mul(1000.into()).map(|n| n.normalize());
            let exact = thousandths.filter(|n| n.scale() == 0 && *n > Decimal::ZERO).and_then(|n| n.to_i64());
            match exact.filter(|n| *n <= phrase::MOST) {
                Some(n) => units.push((unit.as_str().into(), n)),
                None => self.problems.add(&path.key(unit), "impact is more than 0, with at most 3 decimal places"),
            }
        }
        units
    }

    fn rewards(&mut self, rows: &source::Rows<source::Reward>) -> Vec<Reward> {
        let mut seen = BTreeSet::new();
        let mut rewards = Vec::new();
        for (at, reward) in rows.iter() {
            let path = section("rewards").at(at);
            self.unique(&mut seen, &path, &reward.id.0);
            let tier = reward.tier.as_ref().and_then(|tier| self.level(&path.key("tier"), tier));
            let Some(points) = self.whole(&path.key("points"), reward.points) else { continue };
            rewards.push(Reward {
                id: (*reward.id.0).into(),
                name: (*reward.name).into(),
                points,
                stock: reward.stock,
                per_member: reward.per_member,
                tier,
            });
        }
        rewards
    }

    fn level(&mut self, path: &Path, id: &str) -> Option<u8> {
        let at = self.names.levels.iter().position(|level| &**level == id);
        if at.is_none() {
            let hint = did_you_mean(id, self.names.levels.iter().map(|l| &**l));
            let hint = if hint.is_empty() { ": it is no level of 'tiers'".into() } else { hint };
            self.problems.add(path, format!("unknown tier '{id}'{hint}"));
        }
        u8::try_from(at?).ok()
    }

    fn milestones(&mut self, rows: &source::Rows<source::Milestone>) -> Vec<Milestone> {
        let mut seen = BTreeSet::new();
        let mut milestones = Vec::new();
        for (at, milestone) in rows.iter() {
            let path = section("milestones").at(at);
            self.unique(&mut seen, &path, &milestone.id.0);
            let grant = &milestone.grant;
            if self.lacks(&path.key("grant"), &["badge", "points"]) {
                self.problems.add(&path.key("grant"), "nothing is granted: name a badge or points");
            }
            let points = self.whole(&path.key("grant").key("points"), grant.points.unwrap_or(0));
            let when = self.condition(&path.key("when"), Some(&milestone.when), Reach::CUSTOMER);
            let (Some(when), Some(points)) = (when, points) else { continue };
            let badge = grant.badge.as_ref().map(|badge| (*badge.0).into());
            milestones.push(Milestone { id: (*milestone.id.0).into(), when, points, badge });
        }
        milestones
    }

    fn features(&mut self, features: &BTreeMap<String, source::Feature>) -> Vec<Feature> {
        if features.len() > FEATURES_MAX {
            let message = format!("{} features, at most {FEATURES_MAX} are allowed", features.len());
            self.problems.add(&section("features"), message);
        }
        self.names.currencies.clear(); // Features also see orders that earn nothing.
        let mut kept = Vec::new();
        for (id, feature) in features {
            let path = section("features").key(id);
            self.word(&path, id, "feature");
            if lower::is_taken(id) {
                self.problems.add(&path, format!("'{id}' means something already: choose another name"));
            }
            kept.extend(self.feature(&path, id, feature));
        }
        kept
    }

    fn feature(&mut self, path: &Path, id: &str, feature: &source::Feature) -> Option<Feature> {
        let within = feature.within.as_ref().map(|w| self.length(&path.key("within"), Some(w), phrase::exact));
        let (on, what) = self.computed(path, feature)?;
        let when = self.condition(&path.key("when"), feature.when.as_ref(), Reach::feature(on));
        let (when, what) = (when?, what?);
        let reads = |is_one: fn(&Field) -> bool| when.reads(is_one) || what.reads(is_one);
        Some(Feature {
            id: id.into(),
            on: on.into(),
            in_currency: reads(Field::is_amount) && !reads(|field| *field == Field::OrderCurrency),
            beyond_order: reads(Field::is_beyond_order),
            when,
            what,
            within: match within {
                Some(within) => Some(within?),
                None => None,
            },
        })
    }

    /// Which event a feature listens to, and what it computes.
    fn computed<'s>(&mut self, path: &Path, f: &'s source::Feature) -> Option<(&'s str, Option<Computed>)> {
        let by_event = [("count", &f.count), ("first", &f.first), ("last", &f.last)];
        let by_value = [("sum", &f.sum), ("max", &f.max), ("min", &f.min), ("distinct", &f.distinct)];
        let events = by_event.into_iter().filter_map(|(key, event)| Some((key, event.as_ref()?)));
        let values = by_value.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
        let (events, values): (Vec<_>, Vec<_>) = (events.collect(), values.collect());
        match (events.as_slice(), values.as_slice()) {
            ([(key, event)], []) => {
                self.event(&path.key(key), &event.0);
                if f.on.is_some() {
                    self.problems.add(&path.key("on"), format!("'{key}' names the event already: remove 'on'"));
                }
                let what = match *key {
                    "count" => Computed::Count,
                    "first" => Computed::First,
                    _ => Computed::Last,
                };
                Some((&event.0, Some(what)))
            }
            ([], [(key, text)]) => {
                let Some(on) = &f.on else {
                    self.problems.add(path, format!("missing 'on': the event whose values '{key}' takes"));
                    return None;
                };
                self.event(&path.key("on"), &on.0);
                Some((&on.0, self.computed_value(path, key, text, &on.0)))
            }
            ([], []) if !self.lacks(path, &["count", "sum", "max", "min", "distinct", "first", "last"]) => None,
            _ => {
                let message = "a feature has exactly one of count, sum, max, min, distinct, first and last";
                self.problems.add(path, message);
                None
            }
        }
    }

    fn computed_value(&mut self, path: &Path, key: &str, text: &source::Expression, on: &str) -> Option<Computed> {
        let path = path.key(key);
        let (term, kind) = self.value(&path, text, Reach::feature(on))?;
        if key == "distinct" {
            return Some(Computed::Distinct(term));
        }
        if !matches!(kind, Type::Number | Type::Any) {
            self.problems.add(&path, format!("'{key}' takes a number, and this is {}", kind.noun()));
        }
        Some(match key {
            "sum" => Computed::Sum(term),
            "max" => Computed::Max(term),
            _ => Computed::Min(term),
        })
    }

    fn segments(&mut self, segments: &BTreeMap<String, source::Segment>) -> Vec<Segment> {
        let mut kept = Vec::new();
        for (id, segment) in segments {
            let path = section("segments").key(id);
            let rule = match segment {
                source::Segment::When(text) => {
                    self.condition(&path, Some(text), Reach::CUSTOMER).map(SegmentRule::When)
                }
                source::Segment::Top(top) => self.top(&path, top),
            };
            kept.extend(rule.map(|rule| Segment { id: id.as_str().into(), rule }));
        }
        kept
    }

    fn top(&mut self, path: &Path, top: &source::Top) -> Option<SegmentRule> {
        let share = self.problems.check(&path.key("top"), phrase::share(&top.top.0, 1_000_000));
        let by = path.key("by");
        match self.value(&by, &top.by, Reach::CUSTOMER)? {
            (Term::Field(field), Type::Number) => Some(SegmentRule::Top { share_ppm: share?, by: field }),
            (_, kind) => {
                let this = if kind == Type::Number { "a calculation: choose one of its numbers" } else { kind.noun() };
                let message = format!("customers are ranked by one number, like spend or a feature; this is {this}");
                self.problems.add(&by, message);
                None
            }
        }
    }
}

fn models(written: &source::Models) -> BTreeMap<ModelKind, Option<Span>> {
    let days = |n| Some(Span::days(n));
    let rhythm = |training: source::Training| match training.train {
        source::Rhythm::Daily => days(1),
        source::Rhythm::Weekly => days(7),
        source::Rhythm::Monthly => days(30),
        source::Rhythm::OnRequest => None,
    };
    let kinds = [
        (ModelKind::Value, written.value),
        (ModelKind::Clusters, written.clusters),
        (ModelKind::Recommend, written.recommend),
    ];
    kinds.into_iter().filter_map(|(kind, training)| Some((kind, rhythm(training?)))).collect()
}

fn any_length(text: &str) -> Result<Span, String> {
    text.parse().map_err(|_| format!("'{text}' is no duration like P30D"))
}

fn identifies(kind: TraitKind, written: &source::Identifies) -> Result<Option<IdentifierKind>, String> {
    let as_what = match (written, kind) {
        (source::Identifies::ByType(false), _) => return Ok(None),
        (source::Identifies::ByType(true), TraitKind::Email) => return Ok(Some(IdentifierKind::Email)),
        (source::Identifies::ByType(true), TraitKind::Phone) => return Ok(Some(IdentifierKind::Phone)),
        (source::Identifies::ByType(true), _) => {
            return Err("say as what it identifies: loyalty, or the other system's name like till_id".into());
        }
        (source::Identifies::As(name), TraitKind::Text | TraitKind::Number) => name,
        (source::Identifies::As(_), _) => return Err("only texts and numbers are other systems' ids".into()),
    };
    let plain = as_what.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !as_what.is_empty();
    match as_what.as_str() {
        "loyalty" => Ok(Some(IdentifierKind::Loyalty)),
        "user" | "email" | "phone" | "anonymous" => Err(format!("'{as_what}' is known already: choose another name")),
        name if plain => Ok(Some(IdentifierKind::External(name.into()))),
        name => Err(format!("'{name}' is no name of lower-case letters and _ like till_id")),
    }
}

fn join(written: Option<&source::Join>) -> Vec<Join> {
    let by = |by| match by {
        source::JoinBy::FirstOrder => Join::FirstOrder,
        source::JoinBy::FirstIdentify => Join::FirstIdentify,
    };
    match written {
        None => Vec::new(),
        Some(source::Join::By(moment)) => vec![by(*moment)],
        Some(source::Join::On(join)) => join
            .on
            .iter()
            .map(|(_, event)| match event.0.as_str() {
                "first_order" => Join::FirstOrder,
                "first_identify" => Join::FirstIdentify,
                name => Join::Event(name.into()),
            })
            .collect(),
    }
}

/// Fields of the customer and the event that earning rules and benefits read: a refund finds them
/// with the order.
fn recalled(program: &Program) -> Vec<Field> {
    let mut fields = BTreeSet::new();
    let mut see = |term: &Term| {
        if let Term::Field(field) | Term::Since(field) = term
            && field.is_beyond_order()
        {
            fields.insert(field.clone());
        }
    };
    for rule in program.earn.iter().filter(|r| &*r.on == ORDER_COMPLETED) {
        rule.when.visit(&mut see);
        if let Gives::Multiply { lines: Some(lines), .. } = &rule.gives {
            lines.visit(&mut see);
        }
    }
    for benefit in program.benefits.iter().filter(|b| &*b.on == ORDER_COMPLETED) {
        benefit.when.visit(&mut see);
    }
    fields.into_iter().collect()
}
