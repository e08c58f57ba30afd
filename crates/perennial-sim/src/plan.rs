//! The programmes of the simulated shops: the document that is published, and what it comes to in the
//! plainest terms, for the oracle.
//!
//! Promise: another version changes a few things at a time, as a shopkeeper would.

use crate::calendar::{Validity, Zone};
use crate::dice::Dice;
use crate::earning::{self, Combine, Earn, Gives};
use crate::figures::{self, Figure, Group, TRAITS, at_random};

const ECOEXPLORERS: &str = include_str!("../../../programs/ecoexplorers.yaml");
/// What a piece of a product does for the world, in grams: those of which the catalogue knows.
pub(crate) const IMPACT: [(&str, i64); 3] = [("p1", 250), ("p4", 1_200), ("p12", 35)];
/// Products that are featured, where that matters.
pub(crate) const FEATURED: [&str; 3] = ["p1", "p5", "p13"];
/// Something that the corner shop gives a point for at once, for each address once.
pub(crate) const WORD: &str = "Word Spread";
/// Levels that the corner shop may have, from the lowest.
pub(crate) const LEVELS: [&str; 5] = ["bronze", "copper", "silver", "gold", "platinum"];
const MARKS: [&str; 4] = ["first", "second", "third", "fourth"];
const MARKS_MAX: usize = 4;

/// Which shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trade {
    Corner,
    /// Outdoor equipment, under `programs/ecoexplorers.yaml`.
    Eco,
}

/// One version of a programme.
#[derive(Clone, Debug)]
pub(crate) struct Edition {
    pub(crate) trade: Trade,
    pub(crate) at: i64,
    /// What orders earn; the first ones are always there.
    pub(crate) earns: Vec<Earn>,
    pub(crate) combine: Combine,
    pub(crate) pending_days: i64,
    /// Whether the balance stops at nothing when more comes back than there is.
    pub(crate) within_balance: bool,
    /// What levels are reached by.
    pub(crate) by: By,
    /// From the lowest, and how many points or cents of a year reach them; none while there are no levels at all.
    pub(crate) levels: Vec<(&'static str, i64)>,
    /// What a refund does to the level that rests on it.
    pub(crate) on_refund: OnRefund,
    /// Whether a weak year costs every level that it has not earned, or one.
    pub(crate) drops_to_earned: bool,
    /// The levels that there were last, while there are none.
    given_up: Vec<(&'static str, i64)>,
    pub(crate) marks: Vec<Mark>,
    /// The level that may have the lamp; everybody may without one.
    lamp_for: Option<&'static str>,
    /// Days of the window of a feature that `EcoExplorers` has anyway.
    window: i64,
    /// Other features, and segments.
    figures: Vec<Figure>,
    groups: Vec<Group>,
}

/// What counts for levels in a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Points,
    /// Cents paid for goods.
    Spend,
}

/// When a level goes that a year earns no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRefund {
    IfPending,
    AtReview,
    AtOnce,
}

/// A milestone.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) id: &'static str,
    pub(crate) of: Measure,
    pub(crate) at_least: i64,
    pub(crate) points: i64,
}

/// What a milestone is a mark of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Grams of waste.
    Impact,
    /// Orders of which something is left.
    Orders,
}

/// Something that points can buy.
pub(crate) struct Reward {
    pub(crate) id: &'static str,
    pub(crate) price: i64,
    pub(crate) stock: Option<i64>,
    pub(crate) tier: Option<&'static str>,
    pub(crate) per_member: Option<i64>,
}

/// What a submission earns once it is approved.
#[derive(Clone, Copy)]
pub(crate) struct Deed {
    pub(crate) rule: &'static str,
    pub(crate) points: i64,
    /// Whether one address counts once.
    pub(crate) once: bool,
    pub(crate) limit: Limit,
}

/// What the corner shop pays for at once.
pub(crate) const SPREAD: Deed = Deed { rule: "word", points: 1, once: true, limit: Limit::Always };

/// How often something pays.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Always,
    Ever(usize),
    /// In any so many days.
    InDays(usize, i64),
    InDay(usize),
    InMonth(usize),
    InYear(usize),
}

impl Trade {
    pub(crate) fn zone(self) -> Zone {
        if self == Self::Eco { Zone::Denver } else { Zone::Utc }
    }

    pub(crate) fn validity(self) -> Validity {
        if self == Self::Eco { Validity::Months(12) } else { Validity::Days(60) }
    }

    /// Whether an order in a currency earns.
    pub(crate) fn takes(self, currency: Option<&str>) -> bool {
        currency.is_none_or(|code| code == if self == Self::Eco { "USD" } else { "EUR" })
    }

    /// How many rules about orders are always there.
    fn fixed_earns(self) -> usize {
        if self == Self::Eco { 2 } else { 1 }
    }

    /// What was submitted, if it earns anything.
    pub(crate) fn deed(self, activity: &str, has_hashtag: bool, has_photo: bool) -> Option<Deed> {
        let deed = |rule, points, once, limit| Some(Deed { rule, points, once, limit });
        match activity {
            _ if self == Self::Corner => deed("help", 15, false, Limit::Always),
            "cleanup_drive" if has_hashtag => deed("cleanup-drive", 200, true, Limit::InDays(1, 30)),
            "trail_repair" if has_photo => deed("trail-repair", 150, true, Limit::Always),
            "gear_swap" => deed("gear-swap", 50, true, Limit::InMonth(2)),
            _ => None,
        }
    }

    /// What an order must be worth, in cents, to have a tree planted for it, and at which level.
    pub(crate) fn tree(self) -> Option<(i64, &'static str)> {
        (self == Self::Eco).then_some((10_000, "gold"))
    }

    /// The first version.
    pub(crate) fn opening(self, at: i64, dice: &mut Dice) -> Edition {
        let eco = self == Self::Eco;
        let by = By::any(dice);
        let modest = [(100, 300), (100, 300), (400, 900), (900, 3_000)];
        let modest = dice.one_of(&modest).copied().unwrap_or((100, 300));
        let (silver, gold) = if eco { (500, 1_500) } else { modest };
        let levels = vec![("bronze", 0), ("silver", silver * by.unit()), ("gold", gold * by.unit())];
        let mark = |id, of, at_least, points| Mark { id, of, at_least, points };
        let marks = if eco {
            let impact = Measure::Impact;
            vec![mark("trailkeeper", impact, 10_000, 100), mark("summit-guardian", impact, 50_000, 500)]
        } else {
            vec![mark("first", Measure::Impact, 4_000, 20)]
        };
        let (figures, groups) = figures::opening(dice);
        Edition {
            trade: self,
            at,
            earns: earning::opening(eco),
            combine: Combine::Add,
            pending_days: if eco { 30 } else { 14 },
            within_balance: dice.per_mille(300),
            by,
            levels,
            on_refund: OnRefund::any(dice),
            drops_to_earned: dice.per_mille(300),
            given_up: Vec::new(),
            marks,
            lamp_for: Some("silver"),
            window: 30,
            figures,
            groups,
        }
    }
}

/// What changes with a version.
impl Edition {
    /// The next version, in which a few things are otherwise.
    pub(crate) fn next(&self, at: i64, dice: &mut Dice) -> Self {
        let mut next = Self { at, ..self.clone() };
        // Not often: of a new feature everybody's whole history is read again.
        let how_many = if dice.per_mille(400) { dice.between(1, 3) } else { 0 };
        for _ in 0..how_many {
            let levels: Vec<_> = next.levels.iter().map(|level| level.0).collect();
            figures::vary(&mut next.figures, &mut next.groups, &levels, dice);
        }
        if dice.per_mille(200) {
            next.on_refund = OnRefund::any(dice);
            next.drops_to_earned = dice.per_mille(300);
            next.within_balance = dice.per_mille(300);
        }
        if self.trade == Trade::Eco {
            next.vary_eco(dice);
            next.vary_earning(dice);
            return next;
        }
        if dice.per_mille(600) {
            next.earns[0].gives = Gives::rate(dice);
            next.pending_days = dice.one_of(&[0, 14, 14, 30]).copied().unwrap_or(14);
        }
        for _ in 0..dice.between(1, 2) {
            next.vary(dice);
        }
        next.vary_whole_ladder(dice);
        next.lamp_for = dice.one_of(&next.levels).map(|level| level.0);
        let levels: Vec<_> = next.levels.iter().map(|level| level.0).collect();
        figures::keep_what_can_be_asked(&next.figures, &mut next.groups, &levels);
        next.vary_earning(dice);
        next
    }

    /// Rates, factors and campaigns come and go.
    fn vary_earning(&mut self, dice: &mut Dice) {
        let levels: Vec<_> = self.levels.iter().map(|level| level.0).collect();
        let fixed = self.trade.fixed_earns();
        for _ in 0..dice.between(0, 2) {
            earning::vary(&mut self.earns, fixed, &self.figures, &levels, dice);
        }
        earning::keep_what_can_be_asked(&mut self.earns, &self.figures, &levels);
        self.combine = if dice.per_mille(700) { Combine::Add } else { Combine::Multiply };
    }

    fn vary(&mut self, dice: &mut Dice) {
        match dice.below(8) {
            0 => self.add_level(dice),
            1 if self.levels.len() > 1 => {
                self.levels.remove(at_random(self.levels.len(), dice));
                self.levels[0].1 = 0;
            }
            2 if !self.levels.is_empty() => self.move_level(dice),
            3 | 4 if self.marks.len() < MARKS_MAX => {
                let id = MARKS.iter().find(|id| self.marks.iter().all(|mark| mark.id != **id));
                let fresh = id.map(|id| Mark { id, of: Measure::Impact, at_least: 1, points: 0 });
                self.marks.extend(fresh.map(|mark| mark.moved(dice)));
            }
            5 if !self.marks.is_empty() => {
                let mark = at_random(self.marks.len(), dice);
                self.marks[mark] = self.marks[mark].moved(dice);
            }
            6 if !self.marks.is_empty() => drop(self.marks.remove(at_random(self.marks.len(), dice))),
            _ => {}
        }
    }

    /// Levels are given up all at once, and come back as they were or as others.
    fn vary_whole_ladder(&mut self, dice: &mut Dice) {
        if !self.levels.is_empty() && dice.per_mille(100) {
            self.given_up = std::mem::take(&mut self.levels);
        } else if self.levels.is_empty() && dice.per_mille(400) {
            self.levels = std::mem::take(&mut self.given_up);
            if dice.per_mille(400) {
                self.levels.truncate(1);
                self.add_level(dice);
                self.add_level(dice);
            }
        }
    }

    /// Between two levels, or above the highest.
    fn add_level(&mut self, dice: &mut Dice) {
        if self.levels.is_empty() {
            return;
        }
        let unused: Vec<&str> =
            LEVELS.into_iter().filter(|id| self.levels.iter().all(|level| level.0 != *id)).collect();
        let below = at_random(self.levels.len(), dice);
        let from = self.levels[below].1 + 1;
        let to = self.levels.get(below + 1).map_or(from + 200 * self.by.unit(), |above| above.1 - 1);
        if let Some(id) = dice.one_of(&unused).filter(|_| from <= to) {
            self.levels.insert(below + 1, (id, dice.between(from, to)));
        }
    }

    fn move_level(&mut self, dice: &mut Dice) {
        let at = at_random(self.levels.len(), dice);
        if at > 0 {
            let from = self.levels[at - 1].1 + 1;
            let to = self.levels.get(at + 1).map_or(from + 300 * self.by.unit(), |above| above.1 - 1);
            self.levels[at].1 = dice.between(from, to.max(from));
        }
    }

    fn vary_eco(&mut self, dice: &mut Dice) {
        self.window = dice.one_of(&[30, 60, 7]).copied().unwrap_or(30);
        // The corner shop keeps to one measure: a level that it drops is placed by what it needed, and only the same
        // measure tells where that is.
        if dice.per_mille(300) {
            self.by = By::any(dice);
        }
        let unit = self.by.unit();
        self.levels[1].1 = dice.one_of(&[500, 500, 350, 800]).copied().unwrap_or(500) * unit;
        self.levels[2].1 = dice.one_of(&[1_500, 1_500, 1_000, 2_500]).copied().unwrap_or(1_500) * unit;
        self.marks[0].at_least = dice.one_of(&[10, 10, 4, 20]).copied().unwrap_or(10) * 1_000;
        self.marks[0].points = dice.one_of(&[100, 100, 250]).copied().unwrap_or(100);
        self.pending_days = dice.one_of(&[30, 30, 14]).copied().unwrap_or(30);
    }
}

impl By {
    fn any(dice: &mut Dice) -> Self {
        if dice.per_mille(600) { Self::Points } else { Self::Spend }
    }

    /// What a shopkeeper writes as one.
    fn unit(self) -> i64 {
        if self == Self::Spend { 100 } else { 1 }
    }

    fn written(self) -> &'static str {
        if self == Self::Spend { "spend" } else { "points.earned" }
    }

    fn amount_written(self, from: i64) -> String {
        if self == Self::Spend { format!("{}.{:02}", from / 100, from % 100) } else { from.to_string() }
    }
}

impl OnRefund {
    fn any(dice: &mut Dice) -> Self {
        let policies = [Self::IfPending, Self::IfPending, Self::AtReview, Self::AtOnce, Self::AtOnce];
        dice.one_of(&policies).copied().unwrap_or(Self::IfPending)
    }

    fn written(self) -> &'static str {
        match self {
            Self::IfPending => "if_reaching_order_pending",
            Self::AtReview => "at_review",
            Self::AtOnce => "at_once",
        }
    }
}

impl Mark {
    fn moved(&self, dice: &mut Dice) -> Self {
        let of = if dice.per_mille(500) { Measure::Impact } else { Measure::Orders };
        let at_least = if of == Measure::Orders { dice.between(2, 25) } else { dice.between(1, 15_000) };
        Self { id: self.id, of, at_least, points: dice.between(0, 3) * 25 }
    }
}

/// What a version says.
impl Edition {
    /// Where a level stands.
    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.levels.iter().position(|level| level.0 == id)
    }

    /// The highest level that is reached by what was counted in a year.
    pub(crate) fn level(&self, counted: i64) -> usize {
        self.levels.iter().rposition(|level| level.1 <= counted).unwrap_or(0)
    }

    pub(crate) fn rewards(&self) -> Vec<Reward> {
        let reward = |id, price, stock, tier, per_member| Reward { id, price, stock, tier, per_member };
        if self.trade == Trade::Eco {
            return vec![
                reward("water-bottle", 400, Some(500), None, None),
                reward("summit-jacket", 5_000, Some(50), Some("gold"), Some(1)),
            ];
        }
        vec![
            reward("cup", 12, None, None, None),
            reward("mug", 40, Some(60), None, None),
            reward("lamp", 25, None, self.lamp_for, None),
        ]
    }

    /// The document.
    pub(crate) fn document(&self) -> String {
        if self.trade == Trade::Eco { self.eco() } else { self.corner() }
    }

    fn eco(&self) -> String {
        let replaced = [
            ("within: P30D }", format!("within: P{}D }}", self.window)),
            ("pending: P30D", format!("pending: P{}D", self.pending_days)),
            ("by: points.earned", format!("by: {}\n  on_refund: {}", self.by.written(), self.on_refund.written())),
            ("policy: allow_negative", format!("policy: {}", self.refunds_written())),
            ("drop: one_level", format!("drop: {}", self.drop_written())),
            ("from: 500,", format!("from: {},", self.by.amount_written(self.levels[1].1))),
            ("from: 1500,", format!("from: {},", self.by.amount_written(self.levels[2].1))),
            ("impact.waste_kg >= 10,", format!("impact.waste_kg >= {},", self.marks[0].at_least / 1_000)),
            ("points: 100 } }", format!("points: {} }} }}", self.marks[0].points)),
        ];
        let (fixed, asked) = figures::of_eco(self.window);
        let others: String = asked.iter().map(Group::others_written).collect();
        let earns: String = self.earns[self.trade.fixed_earns()..].iter().map(Earn::written).collect();
        let beside = [
            ("\nearn:\n", format!("\n{}earn:\n{earns}", self.combine_written())),
            ("\ntraits:\n", format!("\ntraits:\n{TRAITS}")),
            ("\nfeatures:\n", format!("\nfeatures:\n{}", self.figures_written())),
            ("\nsegments:\n", format!("\nsegments:\n{others}{}", self.groups_written())),
        ];
        assert!(fixed.iter().all(|figure| ECOEXPLORERS.contains(&format!("  {}: {{ ", figure.id))));
        replaced.into_iter().chain(beside).fold(ECOEXPLORERS.to_owned(), |text, (from, to)| {
            assert_eq!(text.matches(from).count(), 1, "{from} in programs/ecoexplorers.yaml");
            text.replace(from, &to)
        })
    }

    fn ladder_written(&self) -> String {
        if self.levels.is_empty() {
            return String::new();
        }
        let level =
            |(id, from): &(&str, i64)| format!("    - {{ id: {id}, from: {} }}\n", self.by.amount_written(*from));
        let levels = self.levels.iter().map(level);
        format!(
            "tiers:\n  by: {}\n  on_refund: {}\n  period: calendar_year\n  kept: until_end_of_next_year\n  \
             drop: {}\n  levels:\n{}",
            self.by.written(),
            self.on_refund.written(),
            self.drop_written(),
            levels.collect::<String>()
        )
    }

    fn refunds_written(&self) -> &'static str {
        if self.within_balance { "within_balance" } else { "allow_negative" }
    }

    fn drop_written(&self) -> &'static str {
        if self.drops_to_earned { "to_earned" } else { "one_level" }
    }

    fn combine_written(&self) -> &'static str {
        if self.combine == Combine::Add { "" } else { "bonuses: { combine: multiply }\n" }
    }

    fn figures_written(&self) -> String {
        self.figures.iter().map(|figure| figure.written()).collect()
    }

    fn groups_written(&self) -> String {
        self.groups.iter().map(Group::written).collect()
    }

    /// All features.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let fixed = if self.trade == Trade::Eco { figures::of_eco(self.window).0 } else { Vec::new() };
        fixed.into_iter().chain(self.figures.iter().copied()).collect()
    }

    /// The segment of those at the top: its name, its share in a hundred, and what it ranks by.
    pub(crate) fn ranked(&self) -> (&'static str, i64, &'static str) {
        if self.trade == Trade::Eco { ("vip", 5, "spend_365d") } else { ("top", 20, "recent") }
    }

    /// All segments that are rules.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let fixed = if self.trade == Trade::Eco { figures::of_eco(self.window).1 } else { Vec::new() };
        fixed.into_iter().chain(self.groups.iter().cloned()).collect()
    }

    fn corner(&self) -> String {
        let pending_days = self.pending_days;
        let earns: String = self.earns.iter().map(Earn::written).collect();
        let (combine, refunds) = (self.combine_written(), self.refunds_written());
        let rewards = self.rewards().into_iter().map(|reward| {
            let stock = reward.stock.map_or_else(String::new, |n| format!(", stock: {n}"));
            let tier = reward.tier.map_or_else(String::new, |tier| format!(", tier: {tier}"));
            let (id, price) = (reward.id, reward.price);
            format!("  - {{ id: {id}, name: A {id}, points: {price}{stock}{tier} }}\n")
        });
        let ladder = self.ladder_written();
        let marks = self.marks.iter().map(Mark::written);
        let marks: String = if self.marks.is_empty() { String::new() } else { marks.collect() };
        let milestones = if marks.is_empty() { "" } else { "milestones:\n" };
        format!(
            "perennial: 1\nid: corner\nname: Corner shop\ncurrency: EUR\ntime_zone: UTC\n\
             wallets:\n  points:\n    pending: P{pending_days}D\n    expires: {{ after: P60D, remind: P5D }}\n    \
             refunds: {{ policy: {refunds} }}\n\
             {combine}earn:\n{earns}  \
             - {{ id: help, on: Activity Submitted, points: 15, review: required }}\n  \
             - {{ id: word, on: {WORD}, points: 1, unique_by: event.url }}\n\
             traits:\n{TRAITS}{ladder}rewards:\n{}{milestones}{marks}\
             features:\n{}segments:\n{}  top: {{ top: 20%, by: recent, ranked: daily }}\n",
            rewards.collect::<String>(),
            self.figures_written(),
            self.groups_written(),
        )
    }
}

impl Mark {
    fn written(&self) -> String {
        let Self { id, at_least, points, .. } = self;
        let when = match self.of {
            Measure::Impact => format!("impact.waste_kg >= {}.{:03}", at_least / 1_000, at_least % 1_000),
            Measure::Orders => format!("orders >= {at_least}"),
        };
        let points = if *points > 0 { format!(", points: {points}") } else { String::new() };
        format!("  - {{ id: {id}, when: {when}, grant: {{ badge: {id}{points} }} }}\n")
    }
}
