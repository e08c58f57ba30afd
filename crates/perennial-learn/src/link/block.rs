//! Blocking: which pairs are worth comparing at all.
//!
//! A rule is a set of one to three atoms (a value, its sound, its beginning, a year, a q-gram
//! signature, a stretch of the
//! sorted values ...); two rows meet when all atoms of some rule are present and equal. Which rules
//! are used is learnt: pairs that earlier rounds found to be one person show what each rule would
//! catch, the table shows what it would cost, and rules are taken by catch per cost until the
//! budget is spent (greedy cover, after Bilenko, Kamath and Mooney 2006).
//! Promise: a pair comes out once, blocks above the cap are left to finer rules, the order of
//! pairs depends on the data alone.
//! Absent on purpose: weights. A block is never evidence.

use serde::{Deserialize, Serialize};

use super::compare::district;
use super::kind::Kind;
use super::model::{index, whole};
use super::plan::{Comparison, Prepared};
use super::table::{Dictionary, MISSING, hash32, join32};
use crate::text;

/// Largest block whose pairs are all compared.
const LARGEST_BLOCK: usize = 120;
/// Rows on which rules are priced at most.
const PRICED_ROWS: usize = 10_000;
/// A prime step that spreads the priced rows over the table.
const STRIDE: usize = 48_271;
/// Rules used at most.
const MOST_RULES: usize = 24;
/// What sorted neighbourhood may cost, as a share of what the other rules may.
const SECOND_LOOK: f64 = 0.25;
/// Rules of sorted neighbourhood that are priced at most.
const STRETCHED_OFFERS: usize = 256;
/// A rule must add this share of the pairs to catch.
const WORTHWHILE: f64 = 0.0004;

/// Cuts of a comparison's sorted values at most: half stretches.
const MOST_CUTS: u32 = 1024;

/// What is looked at in a value, or in two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Atom {
    /// A form of one comparison's value.
    One {
        /// Position of the comparison in the plan.
        field: usize,
        /// What of the value counts.
        form: Form,
    },
    /// Two comparisons' values in either order.
    EitherOrder {
        /// One comparison.
        field: usize,
        /// The other.
        other: usize,
    },
}

/// What of a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// All of it.
    Whole,
    /// Its Soundex code.
    Sound,
    /// Its first letters.
    Head(u8),
    /// Its last letters.
    Tail(u8),
    /// Of a date: year.
    Year,
    /// Of a date: year and month.
    YearMonth,
    /// Of a date: month and day.
    MonthDay,
    /// Of an e-mail address: what stands before the @.
    Local,
    /// Of a postcode: the district.
    District,
    /// The least hash of its letter pairs: equal as often as the share of letter pairs in common
    /// (Broder 1997).
    Gram(u8),
    /// Its last word.
    LastWord,
    /// Its longest word.
    LongestWord,
    /// The stretch of the sorted values in which it lies: sorted neighbourhood (Hernández and Stolfo
    /// 1995), with the window laid down by the cuts of [`super::Model::cuts`], so that one new value is looked
    /// up as quickly as a table. Stretches run over two cuts; those of `Stretch(1)` begin in the middle of
    /// those of `Stretch(0)`, so neighbours up to half a stretch apart lie in one of either.
    Stretch(u8),
    /// The same, sorted by the letters from the last to the first.
    BackStretch(u8),
}

/// Atoms that must all be present and equal.
pub type Rule = Vec<Atom>;

/// Keys of all rows under all rules, one row after another; 0 never meets.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    keys: Vec<u32>,
    rules: usize,
}

/// The atoms a plan allows.
fn atoms(plan: &[Comparison]) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for (field, comparison) in plan.iter().enumerate() {
        atoms.extend(forms(comparison.kind).iter().map(|&form| Atom::One { field, form }));
        if let Some(other) = comparison.partner.filter(|&other| field < other || plan[other].partner != Some(field)) {
            atoms.push(Atom::EitherOrder { field, other });
        }
    }
    atoms
}

fn forms(kind: Kind) -> &'static [Form] {
    match kind {
        Kind::Name => &[Form::Whole, Form::Sound, Form::Head(3), Form::Head(1), Form::Gram(0), Form::Gram(1)],
        Kind::Text => &[Form::Whole, Form::Head(5), Form::LastWord, Form::LongestWord, Form::Gram(0)],
        Kind::Date => &[Form::Whole, Form::Year, Form::YearMonth, Form::MonthDay],
        Kind::Phone => &[Form::Whole, Form::Tail(6), Form::Head(6)],
        Kind::Email => &[Form::Whole, Form::Local, Form::Head(5), Form::Gram(0)],
        Kind::Postcode => &[Form::Whole, Form::District, Form::Tail(2)],
        Kind::Identifier => &[Form::Whole, Form::Head(4), Form::Tail(4)],
        Kind::Number | Kind::Category => &[Form::Whole],
    }
}

/// Forms that a second look tries on what the others leave uncaught.
const STRETCHES: [Form; 4] = [Form::Stretch(0), Form::Stretch(1), Form::BackStretch(0), Form::BackStretch(1)];

/// Whether neighbours among the sorted values of a kind are likely to be one value.
fn sorts(kind: Kind) -> bool {
    matches!(kind, Kind::Name | Kind::Text | Kind::Email | Kind::Identifier | Kind::Date)
}

/// The hash of a form of a value; 0 when the value has no such form.
pub(super) fn form_hash(form: Form, value: &str, cuts: &Cuts) -> u32 {
    let piece = match form {
        Form::Whole => value,
        Form::Sound => return nonempty_hash(&text::soundex(value.split(' ').next().unwrap_or(""))),
        Form::Head(length) => head(value, length),
        Form::Tail(length) => value.len().checked_sub(length.into()).and_then(|start| value.get(start..)).unwrap_or(""),
        Form::Year => value.get(..4).unwrap_or(""),
        Form::YearMonth => value.get(..6).unwrap_or(""),
        Form::MonthDay => value.get(4..8).unwrap_or(""),
        Form::Local => value.split('@').next().unwrap_or(""),
        Form::District => district(value),
        Form::Gram(salt) => return least_gram(value, salt),
        Form::LastWord => value.rsplit(' ').next().unwrap_or(""),
        Form::LongestWord => value.split(' ').max_by_key(|word| word.len()).unwrap_or(""),
        Form::Stretch(shift) => return stretch(&cuts.ahead, value, shift),
        Form::BackStretch(shift) => return stretch(&cuts.back, &backwards(value), shift),
    };
    nonempty_hash(piece)
}

fn nonempty_hash(piece: &str) -> u32 {
    if piece.is_empty() { 0 } else { hash32(piece) }
}

/// The first letters, or nothing when the value is shorter.
fn head(value: &str, length: u8) -> &str {
    let mut ends = value.char_indices().map(|(at, letter)| at + letter.len_utf8());
    ends.nth(usize::from(length) - 1).map_or("", |end| &value[..end])
}

fn least_gram(value: &str, salt: u8) -> u32 {
    let bytes = value.as_bytes();
    let pairs = bytes.windows(2).map(|pair| join32(u32::from(pair[0]) << 8 | u32::from(pair[1]), u32::from(salt) + 1));
    pairs.min().unwrap_or(0)
}

/// The stretch of a value among sorted cuts, hashed; 0 where there are no cuts.
fn stretch(cuts: &[String], value: &str, shift: u8) -> u32 {
    if cuts.is_empty() {
        return 0;
    }
    let place = index(cuts.partition_point(|cut| cut.as_str() <= value));
    join32(u32::midpoint(place, u32::from(shift)), u32::from(shift) + 1)
}

fn backwards(value: &str) -> String {
    value.chars().rev().collect()
}

/// Values that cut a comparison's sorted values into half stretches; none where stretches say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// Ascending.
    pub ahead: Vec<String>,
    /// Of the values read backwards, ascending.
    pub back: Vec<String>,
}

impl Cuts {
    /// Cuts at distinct values, evenly spread over the dictionary's.
    pub(super) fn new(kind: Kind, values: &Dictionary) -> Self {
        if !sorts(kind) {
            return Self::default();
        }
        let count = index(values.len());
        let step = count.div_ceil(MOST_CUTS).max(1) as usize;
        let some = || (1..count).step_by(step).map(|code| values.get(code));
        let mut cuts = Self { ahead: some().map(str::to_owned).collect(), back: some().map(backwards).collect() };
        cuts.ahead.sort_unstable();
        cuts.back.sort_unstable();
        cuts
    }
}

/// The cuts of each comparison that some rule looks at; none for the others.
pub(super) fn cuts_of(prepared: &Prepared, rules: &[Rule]) -> Vec<Cuts> {
    let cut = |at: usize| {
        let by_stretch = |atom: &Atom| match atom {
            Atom::One { field, form: Form::Stretch(_) | Form::BackStretch(_) } => *field == at,
            _ => false,
        };
        rules.iter().flatten().any(by_stretch)
    };
    let cuts = |at: usize| if cut(at) { prepared.fields[at].cuts.as_ref().clone() } else { Cuts::default() };
    (0..prepared.fields.len()).map(cuts).collect()
}

/// Hashes of one atom for all rows.
fn atom_column(prepared: &Prepared, atom: Atom) -> Vec<u32> {
    match atom {
        Atom::One { field, form: Form::Whole } => {
            let values = &prepared.fields[field].values;
            (0..prepared.rows).map(|row| values.hash(prepared.row(row)[field])).collect()
        }
        Atom::One { field, form } => form_column(prepared, field, form),
        Atom::EitherOrder { field, other } => (0..prepared.rows)
            .map(|row| {
                let codes = prepared.row(row);
                let hash = |at: usize| prepared.fields[at].values.hash(codes[at]);
                unordered(hash(field), hash(other))
            })
            .collect(),
    }
}

/// Hashes of a form for all rows; values are read in the order of memory when most are needed.
fn form_column(prepared: &Prepared, field: usize, form: Form) -> Vec<u32> {
    let values = &prepared.fields[field].values;
    let hash = |code: u32| {
        if code == MISSING { 0 } else { form_hash(form, values.get(code), &prepared.fields[field].cuts) }
    };
    if prepared.rows * 2 > values.len() {
        let of_code: Vec<u32> = (0..index(values.len())).map(hash).collect();
        (0..prepared.rows).map(|row| of_code[prepared.row(row)[field] as usize]).collect()
    } else {
        (0..prepared.rows).map(|row| hash(prepared.row(row)[field])).collect()
    }
}

fn unordered(a: u32, b: u32) -> u32 {
    if a == 0 || b == 0 { 0 } else { join32(a.min(b), a.max(b)) }
}

/// The key of a rule from its atoms' hashes; 0 when one is missing.
fn combine(hashes: impl Iterator<Item = u32>) -> u32 {
    let mut key = EMPTY_RULE;
    for hash in hashes {
        if hash == 0 {
            return 0;
        }
        key = join32(key, hash);
    }
    key
}

/// The key of one record, given as canonical texts, under a rule.
pub(super) fn record_key(rule: &[Atom], values: &[String], cuts: &[Cuts]) -> u32 {
    combine(rule.iter().map(|&atom| match atom {
        Atom::One { field, form } => {
            if values[field].is_empty() {
                0
            } else {
                form_hash(form, &values[field], &cuts[field])
            }
        }
        Atom::EitherOrder { field, other } => unordered(nonempty_hash(&values[field]), nonempty_hash(&values[other])),
    }))
}

/// A rule that might be used: what it costs and which of the pairs to catch it meets.
struct Offer {
    rule: Rule,
    cost: f64,
    caught: Vec<u64>,
}

/// The atoms of a table's rows, from which rules are priced.
pub(super) struct Market {
    atoms: Vec<Atom>,
    columns: Vec<Vec<u32>>,
    /// Atoms of the second look, and their columns.
    stretches: Vec<(Atom, Vec<u32>)>,
    /// Rows on which rules are priced.
    priced: Vec<u32>,
    /// Pairs of the whole table per pair of priced rows.
    scale: f64,
    offers: Vec<(Rule, f64)>,
}

impl Market {
    /// Prices rules on these rows, which stand for a table of `whole_rows`.
    pub(super) fn new(prepared: &Prepared, plan: &[Comparison], whole_rows: usize) -> Self {
        let atoms = atoms(plan);
        let columns = atoms.iter().map(|&atom| atom_column(prepared, atom)).collect();
        let rows = prepared.rows.min(PRICED_ROWS);
        let priced = (0..rows).map(|at| index(at * STRIDE % prepared.rows)).collect();
        let scale = (whole(whole_rows) / whole(rows)).powi(2);
        let by_stretch = |(field, comparison): (usize, &Comparison)| {
            let some = if sorts(comparison.kind) { STRETCHES.as_slice() } else { &[] };
            some.iter().map(move |&form| Atom::One { field, form })
        };
        let stretches = plan.iter().enumerate().flat_map(by_stretch);
        let stretches = stretches.map(|atom| (atom, atom_column(prepared, atom))).collect();
        let mut market = Self { atoms, columns, stretches, priced, scale, offers: Vec::new() };
        market.offers = market.price_all();
        market
    }

    /// Costs of all single atoms, pairs of atoms, and triples of those pairs that cost too much.
    /// Rows that meet under a longer rule met under the shorter one, so only those are looked at.
    fn price_all(&self) -> Vec<(Rule, f64)> {
        let dear = 4.0 * whole(self.priced.len()) * self.scale.sqrt();
        let mut offers = Vec::new();
        let everyone: Vec<u64> = self.priced.iter().map(|&row| u64::from(EMPTY_RULE) << 32 | u64::from(row)).collect();
        let (mut met_a, mut met_ab, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let count = self.atoms.len();
        for a in 0..count {
            let cost = self.price(&everyone, a, &mut met_a);
            offers.push((self.rule(&[a]), cost));
            for b in (a + 1..count).filter(|&b| !self.overlap(a, b)) {
                let cost = self.price(&met_a, b, &mut met_ab);
                if cost > dear {
                    for c in (b + 1..count).filter(|&c| !self.overlap(a, c) && !self.overlap(b, c)) {
                        let cost = self.price_last(&met_ab, c, &mut slots);
                        offers.push((self.rule(&[a, b, c]), cost));
                    }
                }
                offers.push((self.rule(&[a, b]), cost));
            }
        }
        offers
    }

    fn rule(&self, atoms: &[usize]) -> Rule {
        atoms.iter().map(|&atom| self.atoms[atom]).collect()
    }

    /// Whether two atoms look at the same comparison.
    fn overlap(&self, a: usize, b: usize) -> bool {
        overlap(self.atoms[a], self.atoms[b])
    }

    /// The pairs that a rule with one more atom would make in the whole table. `rows` are those
    /// that meet without it (key in the high half, row in the low half); `met` becomes those that
    /// still do.
    fn price(&self, rows: &[u64], atom: usize, met: &mut Vec<u64>) -> f64 {
        met.clear();
        let column = &self.columns[atom];
        for &entry in rows {
            let hash = column[row_of(entry)];
            if hash != 0 {
                let key = join32(key_of(entry), hash);
                met.push(u64::from(key) << 32 | entry & u64::from(u32::MAX));
            }
        }
        met.sort_unstable();
        let (mut pairs, mut kept, mut from) = (0.0, 0, 0);
        while from < met.len() {
            let block = met[from..].iter().take_while(|&&entry| key_of(entry) == key_of(met[from])).count();
            if block > 1 {
                pairs += whole(block) * whole(block - 1) / 2.0;
                met.copy_within(from..from + block, kept);
                kept += block;
            }
            from += block;
        }
        met.truncate(kept);
        pairs * self.scale
    }

    /// The same where nobody asks who still meets: keys are counted in a table (`slots`, a key in the
    /// high half and its count in the low half) instead of being sorted.
    fn price_last(&self, rows: &[u64], atom: usize, slots: &mut Vec<u64>) -> f64 {
        slots.clear();
        slots.resize((2 * rows.len()).next_power_of_two(), 0);
        let mask = slots.len() - 1;
        let column = &self.columns[atom];
        let mut pairs = 0;
        for &entry in rows {
            let hash = column[row_of(entry)];
            if hash == 0 {
                continue;
            }
            let key = join32(key_of(entry), hash);
            let mut at = key as usize & mask;
            while slots[at] != 0 && key_of(slots[at]) != key {
                at = (at + 1) & mask;
            }
            pairs += row_of(slots[at]);
            slots[at] = u64::from(key) << 32 | (row_of(slots[at]) as u64 + 1);
        }
        whole(pairs) * self.scale
    }

    /// Rules for a first look: cheap ones first, while the budget lasts.
    pub(super) fn first_rules(&self, budget: f64) -> Vec<Rule> {
        let mut order: Vec<&(Rule, f64)> =
            self.offers.iter().filter(|(rule, cost)| rule.len() <= 2 && *cost > 0.0).collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut spent = 0.0;
        let affordable = order.into_iter().take_while(|(_, cost)| {
            spent += cost;
            spent <= budget
        });
        let mut rules: Vec<Rule> = affordable.map(|(rule, _)| rule.clone()).collect();
        let keep = rules.len().saturating_sub(MOST_RULES);
        rules.drain(..keep);
        rules
    }

    /// Rules that catch most of the given pairs (rows of this market) within the budget: first those of
    /// equal values and forms, then those of sorted neighbourhood for what the first leave uncaught.
    pub(super) fn learn(&self, pairs: &[(u32, u32)], budget: f64) -> Vec<Rule> {
        let per_atom: Vec<Vec<u64>> = self.columns.iter().map(|column| agreement(column, pairs)).collect();
        let mut open = vec![u64::MAX; pairs.len().div_ceil(64)];
        if let Some(last) = open.last_mut().filter(|_| !pairs.len().is_multiple_of(64)) {
            *last = (1 << (pairs.len() % 64)) - 1;
        }
        let mut cover =
            Cover { open, rules: Vec::new(), left: budget, budget, worthwhile: WORTHWHILE * whole(pairs.len()) };
        cover.take(self.offers_for(&per_atom, budget));
        let stretched = self.stretched_offers(&per_atom, pairs, &cover);
        cover.left += SECOND_LOOK * budget;
        cover.take(stretched);
        cover.rules
    }

    /// Rules of one stretch and up to two other atoms that would catch most of what is open.
    fn stretched_offers(&self, per_atom: &[Vec<u64>], pairs: &[(u32, u32)], cover: &Cover) -> Vec<Offer> {
        let mut found: Vec<Sight> = Vec::new();
        for (stretch, (_, column)) in self.stretches.iter().enumerate() {
            let near = both(&agreement(column, pairs), &cover.open);
            self.look(Sight { stretch, atoms: Vec::new(), caught: near }, per_atom, cover, &mut found);
        }
        found.sort_by_cached_key(|sight| (std::cmp::Reverse(gain(&sight.caught)), sight.stretch, sight.atoms.clone()));
        found.truncate(STRETCHED_OFFERS);
        found.into_iter().map(|sight| self.offer(sight)).collect()
    }

    /// Keeps what catches enough, and looks at what one more atom would make of it.
    fn look(&self, sight: Sight, per_atom: &[Vec<u64>], cover: &Cover, found: &mut Vec<Sight>) {
        if !cover.is_worthwhile(f64::from(gain(&sight.caught))) {
            return;
        }
        let first = sight.atoms.last().map_or(0, |&last| last + 1);
        let apart = |&atom: &usize| {
            !overlap(self.atoms[atom], self.stretches[sight.stretch].0)
                && sight.atoms.iter().all(|&other| !self.overlap(atom, other))
        };
        if sight.atoms.len() < 2 {
            for atom in (first..self.atoms.len()).filter(apart) {
                let atoms = sight.atoms.iter().copied().chain([atom]).collect();
                let caught = both(&sight.caught, &per_atom[atom]);
                self.look(Sight { stretch: sight.stretch, atoms, caught }, per_atom, cover, found);
            }
        }
        found.push(sight);
    }

    fn offer(&self, sight: Sight) -> Offer {
        let (stretch, column) = &self.stretches[sight.stretch];
        let others = sight.atoms.iter().map(|&atom| self.columns[atom].as_slice());
        let columns: Vec<&[u32]> = others.chain([column.as_slice()]).collect();
        let mut rule = self.rule(&sight.atoms);
        rule.push(*stretch);
        Offer { rule, cost: self.price_of(&columns), caught: sight.caught }
    }

    /// The pairs that rows equal in all columns would make in the whole table.
    fn price_of(&self, columns: &[&[u32]]) -> f64 {
        let key = |&row: &u32| combine(columns.iter().map(|column| column[row as usize]));
        let mut keys: Vec<u32> = self.priced.iter().map(key).filter(|&key| key != 0).collect();
        keys.sort_unstable();
        let pairs = keys.chunk_by(|a, b| a == b).map(|block| whole(block.len()) * whole(block.len() - 1) / 2.0);
        pairs.sum::<f64>() * self.scale
    }

    fn offers_for(&self, per_atom: &[Vec<u64>], budget: f64) -> Vec<Offer> {
        let place = |atom: &Atom| self.atoms.iter().position(|own| own == atom).unwrap_or(0);
        let affordable = self.offers.iter().filter(|(_, cost)| *cost <= budget);
        affordable
            .map(|(rule, cost)| {
                let mut caught = per_atom[place(&rule[0])].clone();
                for atom in &rule[1..] {
                    caught.iter_mut().zip(&per_atom[place(atom)]).for_each(|(caught, other)| *caught &= other);
                }
                Offer { rule: rule.clone(), cost: *cost, caught }
            })
            .collect()
    }
}

/// Whether two atoms look at the same comparison.
fn overlap(a: Atom, b: Atom) -> bool {
    let fields = |atom: Atom| match atom {
        Atom::One { field, .. } => [field, field],
        Atom::EitherOrder { field, other } => [field, other],
    };
    fields(a).iter().any(|field| fields(b).contains(field))
}

/// A rule of one stretch and some atoms, by position, and the open pairs that it would catch.
struct Sight {
    stretch: usize,
    atoms: Vec<usize>,
    caught: Vec<u64>,
}

fn both(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

/// Pairs caught.
fn gain(caught: &[u64]) -> u32 {
    caught.iter().map(|bits| bits.count_ones()).sum()
}

/// Rules taken so far, and what they leave.
struct Cover {
    /// One bit per pair that no rule catches yet.
    open: Vec<u64>,
    rules: Vec<Rule>,
    /// Pairs that may still be compared, of the budget.
    left: f64,
    budget: f64,
    /// Pairs that a rule must add.
    worthwhile: f64,
}

impl Cover {
    fn is_worthwhile(&self, gain: f64) -> bool {
        gain > 0.0 && gain >= self.worthwhile
    }

    /// Takes rules by catch per cost while they are worth it (greedy cover).
    fn take(&mut self, mut offers: Vec<Offer>) {
        while self.rules.len() < MOST_RULES {
            let Some((best, gain)) = best_offer(&offers, &self.open, self.left, self.budget) else {
                break;
            };
            if !self.is_worthwhile(gain) {
                break;
            }
            let taken = offers.swap_remove(best);
            self.left -= taken.cost;
            self.open.iter_mut().zip(&taken.caught).for_each(|(open, caught)| *open &= !caught);
            self.rules.push(taken.rule);
        }
    }
}

/// One bit per pair: both rows have the atom, and it is equal.
fn agreement(column: &[u32], pairs: &[(u32, u32)]) -> Vec<u64> {
    let mut bits = vec![0u64; pairs.len().div_ceil(64)];
    for (at, &(a, b)) in pairs.iter().enumerate() {
        let (a, b) = (column[a as usize], column[b as usize]);
        bits[at / 64] |= u64::from(a != 0 && a == b) << (at % 64);
    }
    bits
}

/// The affordable offer with the largest catch per cost, and its catch.
fn best_offer(offers: &[Offer], open: &[u64], left: f64, budget: f64) -> Option<(usize, f64)> {
    let scored = offers.iter().enumerate().filter(|(_, offer)| offer.cost <= left).map(|(at, offer)| {
        let gain = f64::from(gain(&both(&offer.caught, open)));
        (at, gain, gain / (offer.cost + 0.01 * budget))
    });
    scored.max_by(|a, b| a.2.total_cmp(&b.2).then(b.0.cmp(&a.0))).map(|(at, gain, _)| (at, gain))
}

impl Keys {
    /// Keys of all rows under the rules; keys of blocks above the cap become 0.
    pub(super) fn new(prepared: &Prepared, rules: &[Rule]) -> Self {
        let mut keys = Self { keys: vec![0; prepared.rows * rules.len()], rules: rules.len() };
        let mut known: Vec<(Atom, Vec<u32>)> = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            for &atom in rule {
                if !known.iter().any(|(other, _)| *other == atom) {
                    known.push((atom, atom_column(prepared, atom)));
                }
            }
            let column = |atom: &Atom| known.iter().find(|(other, _)| other == atom);
            let columns: Vec<&[u32]> = rule.iter().filter_map(column).map(|(_, column)| column.as_slice()).collect();
            for row in 0..prepared.rows {
                keys.keys[row * rules.len() + at] = combine(columns.iter().map(|column| column[row]));
            }
            for block in keys.blocks(at).chunk_by(|a, b| a >> 32 == b >> 32).filter(|block| block.len() > LARGEST_BLOCK)
            {
                for &entry in block {
                    keys.keys[row_of(entry) * rules.len() + at] = 0;
                }
            }
        }
        keys
    }

    /// Rows with their key under a rule, sorted: key in the high half, row in the low half.
    pub(super) fn blocks(&self, rule: usize) -> Vec<u64> {
        let mut entries: Vec<u64> = Vec::with_capacity(self.keys.len() / self.rules.max(1));
        let keys = self.keys.iter().skip(rule).step_by(self.rules);
        entries.extend(
            keys.enumerate().filter(|&(_, &key)| key != 0).map(|(row, &key)| u64::from(key) << 32 | row as u64),
        );
        entries.sort_unstable();
        entries
    }

    /// Calls back each pair of rows that meet under some rule, once.
    pub(super) fn pairs(&self, mut found: impl FnMut(u32, u32)) {
        for rule in 0..self.rules {
            let entries = self.blocks(rule);
            for block in entries.chunk_by(|a, b| a >> 32 == b >> 32).filter(|block| block.len() > 1) {
                for (at, &a) in block.iter().enumerate() {
                    for &b in &block[at + 1..] {
                        if !self.met_before(rule, row_of(a), row_of(b)) {
                            found(index(row_of(a)), index(row_of(b)));
                        }
                    }
                }
            }
        }
    }

    /// Whether an earlier rule brings the two rows together.
    fn met_before(&self, rule: usize, a: usize, b: usize) -> bool {
        let own = |row: usize| &self.keys[row * self.rules..row * self.rules + rule];
        own(a).iter().zip(own(b)).any(|(a, b)| a == b && *a != 0)
    }
}

/// The key of a rule without atoms.
const EMPTY_RULE: u32 = 1;

/// The key of a sorted entry.
fn key_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

/// The row of a sorted entry.
#[expect(clippy::cast_possible_truncation, reason = "the low half holds 32 bits")]
pub(super) fn row_of(entry: u64) -> usize {
    (entry & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Table, plan};
    use crate::seed::{self, Rng};

    fn word(rng: &mut impl Rng, letters: usize) -> String {
        (0..letters).map(|_| char::from(b'a' + u8::try_from(seed::below(rng, 26)).unwrap_or(0))).collect()
    }

    #[test]
    fn neighbours_in_sorted_order_share_a_stretch_of_either_kind() {
        let mut rng = seed::generator(1);
        let mut values = Dictionary::default();
        let mut words: Vec<String> = (0..500).map(|_| word(&mut rng, 6)).collect();
        for word in &words {
            values.intern(word).unwrap();
        }
        let cuts = Cuts::new(Kind::Name, &values);
        let near = |forms: [Form; 2], a: &str, b: &str| {
            forms.iter().any(|&form| form_hash(form, a, &cuts) == form_hash(form, b, &cuts))
        };
        let (ahead, back) = ([Form::Stretch(0), Form::Stretch(1)], [Form::BackStretch(0), Form::BackStretch(1)]);
        words.sort();
        assert!(words.windows(2).all(|two| near(ahead, &two[0], &two[1])));
        assert!(!near(ahead, &words[0], &words[3]), "stretches end");
        words.sort_by_cached_key(|word| backwards(word));
        assert!(words.windows(2).all(|two| near(back, &two[0], &two[1])));
        assert_eq!(form_hash(Form::Stretch(0), "word", &Cuts::default()), 0, "nothing meets where nothing is cut");
    }

    /// Surnames whose first letters were misread: equal forms hold most of them together, their endings all.
    #[test]
    fn sorted_neighbourhood_catches_what_equal_forms_leave_and_finds_a_new_person() {
        let mut rng = seed::generator(2);
        let mut table = Table::new(["surname", "born"]).unwrap();
        let rows = 2000;
        for _ in 0..rows / 2 {
            let (surname, year) = (word(&mut rng, 8), 1930 + seed::below(&mut rng, 60));
            for letters in [surname.clone(), format!("{}{}", word(&mut rng, 3), &surname[3..])] {
                table
                    .push(
                        [letters, format!("{year}-{:02}-11", 1 + seed::below(&mut rng, 12))]
                            .iter()
                            .map(|v| Some(v.as_str())),
                    )
                    .unwrap();
            }
        }
        let plan = plan::plan(&table).unwrap();
        let prepared = Prepared::new(&table, &plan).unwrap();
        let pairs: Vec<(u32, u32)> = (0..index(rows)).step_by(2).map(|row| (row, row + 1)).collect();
        let rules = Market::new(&prepared, &plan, rows).learn(&pairs, 8000.0);
        let cuts = cuts_of(&prepared, &rules);
        assert!(!cuts[0].back.is_empty(), "{rules:?}");
        let keys = Keys::new(&prepared, &rules);
        let mut met = std::collections::BTreeSet::new();
        keys.pairs(|a, b| met.extend([(a.min(b), a.max(b))]));
        let caught = pairs.iter().filter(|pair| met.contains(pair)).count();
        assert!(
            caught * 50 > pairs.len() * 49 && met.len() < 12_000,
            "{caught} of {}, {} compared",
            pairs.len(),
            met.len()
        );
        for row in (0..rows).step_by(97) {
            let codes = prepared.row(row);
            let texts: Vec<String> =
                prepared.fields.iter().zip(codes).map(|(field, &code)| field.values.get(code).to_owned()).collect();
            for (at, rule) in rules.iter().enumerate() {
                let own = keys.keys[row * rules.len() + at];
                assert!(own == 0 || own == record_key(rule, &texts, &cuts), "row {row} under {rule:?}");
            }
        }
    }
}
