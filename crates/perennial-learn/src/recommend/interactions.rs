//! Interactions: who touched what, and when; the columns that recommenders learn from.
//!
//! Names become small indices once, here. Rows keep their order, so that a column without times
//! still has a first and a last. Absent on purpose: files and dates, which a caller parses; a time
//! is a number in any unit that grows (days, seconds, a running number per customer).

use super::{Error, top::index};
use serde::{Deserialize, Serialize};

/// The columns of a table of interactions, all of one length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns<'a> {
    /// Who: any identifier.
    pub users: &'a [String],
    /// What: any identifier.
    pub items: &'a [String],
    /// When, in any unit that grows; empty when unknown, and then the order of rows counts.
    pub at: &'a [f64],
    /// The basket or session of each row; empty when unknown.
    pub baskets: &'a [String],
}

/// Names in the order of their first appearance, found by bisection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Names {
    names: Vec<String>,
    sorted: Vec<u32>,
}

impl Names {
    /// Numbers the names of a column; answers the names and the number of each row.
    pub(crate) fn read(column: &[String]) -> (Self, Vec<u32>) {
        let mut rows: Vec<u32> = (0..column.len()).map(index).collect();
        rows.sort_by(|&a, &b| column[a as usize].cmp(&column[b as usize]).then(a.cmp(&b)));
        let same = |a: u32, b: u32| column[a as usize] == column[b as usize];
        let groups: Vec<&[u32]> = rows.chunk_by(|&a, &b| same(a, b)).collect();
        let mut by_first: Vec<usize> = (0..groups.len()).collect();
        by_first.sort_unstable_by_key(|&group| groups[group][0]);
        let mut codes = vec![0; column.len()];
        let mut sorted = vec![0; groups.len()];
        for (code, &group) in by_first.iter().enumerate() {
            sorted[group] = index(code);
            for &row in groups[group] {
                codes[row as usize] = index(code);
            }
        }
        let names = by_first.iter().map(|&group| column[groups[group][0] as usize].clone()).collect();
        (Self { names, sorted }, codes)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name at all.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name of a number.
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    /// The number of a name.
    pub fn find(&self, name: &str) -> Option<u32> {
        let at = self.sorted.binary_search_by(|&number| self.name(number).cmp(name)).ok()?;
        Some(self.sorted[at])
    }
}

/// So many steps are needed to say that a table was sorted.
const SORTED_ROWS: usize = 200;

/// A checked table of interactions.
#[derive(Clone, Debug, Default)]
pub struct Interactions {
    /// The customers.
    pub users: Names,
    /// The items.
    pub items: Names,
    pub(crate) user: Vec<u32>,
    pub(crate) item: Vec<u32>,
    pub(crate) at: Vec<f64>,
    pub(crate) basket: Vec<u32>,
    pub(crate) order: Order,
}

/// What the times of a table say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Times that different customers share.
    Clock,
    /// An order within each customer only.
    Running,
    /// Nothing: the rows were sorted by something else.
    #[default]
    None,
}

/// Times lie nearer than this to nought, in any unit: their differences must fit single precision.
pub const FARTHEST: f64 = 1e30;

impl Interactions {
    /// Reads and checks columns.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows, [`Error::Length`] when columns differ in length,
    /// [`Error::Undefined`] for a time that is not a number within [`FARTHEST`] of nought, [`Error::TooMany`] beyond
    /// four thousand million rows.
    pub fn read(columns: &Columns) -> Result<Self, Error> {
        let rows = columns.users.len();
        if rows == 0 {
            return Err(Error::Empty("interactions"));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::TooMany { rows });
        }
        let lengths = [
            ("items", columns.items.len(), false),
            ("at", columns.at.len(), true),
            ("baskets", columns.baskets.len(), true),
        ];
        for (field, found, optional) in lengths {
            if found != rows && !(optional && found == 0) {
                return Err(Error::Length { field, found, expected: rows });
            }
        }
        if let Some(row) = columns.at.iter().position(|at| at.is_nan() || at.abs() > FARTHEST) {
            return Err(Error::Undefined { field: "at", row });
        }
        let (users, user) = Names::read(columns.users);
        let (items, item) = Names::read(columns.items);
        let clock = !columns.at.is_empty();
        #[expect(clippy::cast_precision_loss, reason = "row numbers are below 2^32")]
        let at = if clock { columns.at.to_vec() } else { (0..rows).map(|row| row as f64).collect() };
        let basket = if columns.baskets.is_empty() { user.clone() } else { Names::read(columns.baskets).1 };
        let mut data = Self { users, items, user, item, at, basket, order: Order::Running };
        data.order = data.judge_order(clock);
        if data.order == Order::None {
            data.at.fill(0.0);
        }
        Ok(data)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.user.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }

    /// The rows for which `keep` says yes, with the same numbers for customers and items.
    pub(crate) fn only(&self, keep: impl Fn(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.len()).filter(|&row| keep(row)).collect();
        let pick = |column: &[u32]| rows.iter().map(|&row| column[row]).collect();
        Self {
            users: self.users.clone(),
            items: self.items.clone(),
            user: pick(&self.user),
            item: pick(&self.item),
            at: rows.iter().map(|&row| self.at[row]).collect(),
            basket: pick(&self.basket),
            order: self.order,
        }
    }

    /// What the times say. A table whose customers' rows all ascend (or descend) by item was
    /// sorted, not lived; times that count each customer's rows from 0 or 1 are no clock.
    fn judge_order(&self, clock: bool) -> Order {
        let histories = Histories::group(self, Owner::User, false);
        let key = |place: usize| {
            let name = self.items.name(histories.items[place]);
            (name.len(), name)
        };
        let (mut up, mut down, mut running, mut long) = (0, 0, 0, 0);
        for user in 0..histories.len() {
            let range = histories.range(user);
            let at = &histories.at[range.clone()];
            let begins = at.first().is_some_and(|&first| first <= 1.0);
            running += usize::from(begins && at.windows(2).all(|pair| pair[1] - pair[0] <= 1.0));
            long += usize::from(!at.is_empty());
            for place in range.clone().skip(1).filter(|&place| histories.at[place - 1] < histories.at[place]) {
                up += usize::from(key(place - 1) < key(place));
                down += usize::from(key(place - 1) > key(place));
            }
        }
        let (all, most) = (up + down, up.max(down));
        if all >= SORTED_ROWS && most * 20 > all * 19 {
            Order::None
        } else if !clock || running * 10 > long * 8 {
            Order::Running
        } else {
            Order::Clock
        }
    }

    /// The latest time.
    pub(crate) fn now(&self) -> f64 {
        self.at.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The time between the first and the last row, at least a tiny positive number.
    pub(crate) fn span(&self) -> f64 {
        let first = self.at.iter().copied().fold(f64::INFINITY, f64::min);
        (self.now() - first).max(1e-9)
    }
}

/// A time as tables write it, as a number that grows: a plain number stays as it is, and
/// `2011-10-01`, `2011-10-01 08:26`, `2011-10-01T08:26:59Z` become days since 1970 (offsets are not
/// read). Anything else is `None`.
pub fn parse_time(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "0:0"));
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut fraction = 0.0;
    for (part, unit) in clock.trim_end_matches('Z').splitn(3, ':').zip([24.0, 1440.0, 86400.0]) {
        fraction += part.parse::<f64>().ok()? / unit;
    }
    Some(f64::from(days(year, month, day)) + fraction)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
fn days(year: i32, month: i32, day: i32) -> i32 {
    // Years that begin in March put the leap day last.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 306 + 5) / 10 + day
        - 719_469
}

/// The time after which a share of all rows lies; there must be a row.
pub(crate) fn late(mut at: Vec<f64>, share: f64) -> f64 {
    at.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in the column"
    )]
    let place = (at.len() as f64 * (1.0 - share)) as usize;
    at[place.min(at.len() - 1)]
}

/// Histories: the rows of each owner (customer, basket or session) in order of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Histories {
    /// Where each owner's touches begin; one more than there are owners.
    pub(crate) starts: Vec<usize>,
    pub(crate) items: Vec<u32>,
    /// How many times the clock had moved in this history before the touch.
    pub(crate) steps: Vec<u32>,
    pub(crate) at: Vec<f64>,
    /// The latest touch of all.
    latest: f64,
}

/// Whose rows make one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    User,
    Basket,
}

impl Histories {
    /// Groups rows by owner. With `once`, an item stays only where it was touched last.
    pub(crate) fn group(data: &Interactions, owner: Owner, once: bool) -> Self {
        let owners = if owner == Owner::User { &data.user } else { &data.basket };
        let count = owners.iter().max().map_or(0, |&last| last as usize + 1);
        let mut rows: Vec<u32> = (0..data.len()).map(index).collect();
        rows.sort_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            owners[a].cmp(&owners[b]).then(data.at[a].total_cmp(&data.at[b])).then(a.cmp(&b))
        });
        let mut histories = Self { starts: vec![0], latest: data.now(), ..Self::default() };
        let mut seen = vec![u32::MAX; data.items.len()];
        let mut groups = rows.chunk_by(|&a, &b| owners[a as usize] == owners[b as usize]).peekable();
        for who in 0..index(count) {
            if let Some(group) = groups.next_if(|group| owners[group[0] as usize] == who) {
                histories.push(data, group, who, once, &mut seen);
            }
            histories.starts.push(histories.items.len());
        }
        histories
    }

    fn push(&mut self, data: &Interactions, group: &[u32], who: u32, once: bool, seen: &mut [u32]) {
        let mut kept: Vec<usize> = Vec::with_capacity(group.len());
        for &row in group.iter().rev() {
            let item = data.item[row as usize] as usize;
            if !once || seen[item] != who {
                kept.push(row as usize);
            }
            seen[item] = who;
        }
        let mut step = 0;
        let mut last = None;
        for &row in kept.iter().rev() {
            step += u32::from(last.is_some_and(|at| at < data.at[row]));
            last = Some(data.at[row]);
            self.items.push(data.item[row]);
            self.steps.push(step);
            self.at.push(data.at[row]);
        }
    }

    /// Histories without a touch.
    pub(crate) fn none(owners: usize) -> Self {
        Self { starts: vec![0; owners + 1], ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// `0.5^(age / half_life)` of an owner's last touch, against the latest touch of all.
    pub(crate) fn freshness(&self, owner: usize, half_life: Option<f32>) -> f32 {
        let (Some(half_life), Some(&last)) = (half_life, self.at[self.range(owner)].last()) else {
            return 1.0;
        };
        #[expect(clippy::cast_possible_truncation, reason = "ages need no more than single precision")]
        let age = (self.latest - last) as f32;
        (-age / half_life).exp2()
    }

    pub(crate) fn range(&self, owner: usize) -> std::ops::Range<usize> {
        self.starts[owner]..self.starts[owner + 1]
    }

    pub(crate) fn items_of(&self, owner: usize) -> &[u32] {
        &self.items[self.range(owner)]
    }

    /// One owner's history as a question asked at `now`.
    pub(crate) fn case(&self, owner: usize, now: f64) -> Case {
        let range = self.range(owner);
        let last = self.steps[range.clone()].last().copied().unwrap_or(0);
        #[expect(clippy::cast_possible_truncation, reason = "ages need no more than single precision")]
        Case {
            items: self.items[range.clone()].to_vec(),
            back: self.steps[range.clone()].iter().map(|&step| last - step).collect(),
            age: self.at[range].iter().map(|&at| (now - at).max(0.0) as f32).collect(),
            owner: Some(index(owner)),
        }
    }

    /// The latest time, and how much time there is from the first touch to it (at least a little).
    #[expect(clippy::cast_possible_truncation, reason = "a scale")]
    pub(crate) fn clock(&self) -> (f64, f32) {
        let first = self.at.iter().copied().fold(f64::INFINITY, f64::min);
        (self.latest, ((self.latest - first) as f32).max(1e-9))
    }

    /// The time after which a share of all touches lies; there must be a touch.
    pub(crate) fn late(&self, share: f64) -> f64 {
        late(self.at.clone(), share)
    }

    /// What happened before an instant.
    pub(crate) fn before(&self, cut: f64) -> Self {
        let mut past = self.filtered(|place| self.at[place] < cut);
        past.latest = past.at.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        past
    }

    /// The same with each item of an owner only where it was touched last.
    pub(crate) fn once(&self) -> Self {
        let items = self.items.iter().max().map_or(0, |&last| last as usize + 1);
        let mut last = vec![usize::MAX; items];
        let mut kept = vec![false; self.items.len()];
        for owner in 0..self.len() {
            for place in self.range(owner) {
                last[self.items[place] as usize] = place;
            }
            for place in self.range(owner) {
                kept[place] = last[self.items[place] as usize] == place;
            }
        }
        self.filtered(|place| kept[place])
    }

    fn filtered(&self, keep: impl Fn(usize) -> bool) -> Self {
        let mut part = Self { starts: vec![0], latest: self.latest, ..Self::default() };
        for owner in 0..self.len() {
            for place in self.range(owner).filter(|&place| keep(place)) {
                part.items.push(self.items[place]);
                part.steps.push(self.steps[place]);
                part.at.push(self.at[place]);
            }
            part.starts.push(part.items.len());
        }
        part
    }

    /// For each owner the items touched from one instant until before another, ascending, each once.
    pub(crate) fn bought(&self, from: f64, to: f64) -> Vec<Vec<u32>> {
        let of = |owner: usize| {
            let places = self.range(owner).filter(|&place| (from..to).contains(&self.at[place]));
            let mut items: Vec<u32> = places.map(|place| self.items[place]).collect();
            items.sort_unstable();
            items.dedup();
            items
        };
        (0..self.len()).map(of).collect()
    }

    /// For each item the positions (owner, place in the flat columns) where it was touched.
    pub(crate) fn postings(&self, items: usize) -> Postings {
        let mut starts = vec![0; items + 1];
        for &item in &self.items {
            starts[item as usize + 1] += 1;
        }
        for item in 0..items {
            starts[item + 1] += starts[item];
        }
        let mut next = starts.clone();
        let mut places = vec![(0, 0); self.items.len()];
        for owner in 0..self.len() {
            for place in self.range(owner) {
                let slot = &mut next[self.items[place] as usize];
                places[*slot] = (index(owner), index(place));
                *slot += 1;
            }
        }
        Postings { starts, places }
    }
}

/// Where each item was touched.
pub(crate) struct Postings {
    starts: Vec<usize>,
    places: Vec<(u32, u32)>,
}

impl Postings {
    pub(crate) fn of(&self, item: usize) -> &[(u32, u32)] {
        &self.places[self.starts[item]..self.starts[item + 1]]
    }
}

/// A question: what was touched so far, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Case {
    pub(crate) items: Vec<u32>,
    /// Steps between a touch and the last one.
    pub(crate) back: Vec<u32>,
    /// Time between a touch and the question, in the unit of the data.
    pub(crate) age: Vec<f32>,
    /// The customer, when the question is about one the model was trained on.
    pub(crate) owner: Option<u32>,
}

impl Case {
    /// A question about a history of items with their times, oldest first; with `once`, an item counts
    /// only where it was touched last.
    pub(crate) fn of_history(touches: &[(u32, f64)], now: f64, once: bool) -> Self {
        let mut kept: Vec<(u32, f64)> = touches.to_vec();
        if once {
            let items = touches.iter().map(|(item, _)| *item as usize + 1).max().unwrap_or(0);
            let mut later = vec![false; items];
            kept.reverse();
            kept.retain(|(item, _)| !std::mem::replace(&mut later[*item as usize], true));
            kept.reverse();
        }
        let mut case = Self::default();
        let mut step = 0;
        for (place, (item, at)) in kept.iter().enumerate() {
            step += u32::from(place > 0 && kept[place - 1].1 < *at);
            case.items.push(*item);
            case.back.push(step);
            #[expect(clippy::cast_possible_truncation, reason = "ages need no more than single precision")]
            case.age.push((now - at).max(0.0) as f32);
        }
        case.back.iter_mut().for_each(|back| *back = step - *back);
        case
    }

    /// A question about a running session: each view one step after the one before.
    pub(crate) fn of_session(items: &[u32]) -> Self {
        Self {
            items: items.to_vec(),
            back: (0..index(items.len())).rev().collect(),
            age: vec![0.0; items.len()],
            owner: None,
        }
    }
}

/// A small table for tests: who, what, when; one basket per customer and time.
#[cfg(test)]
pub(crate) fn table(rows: &[(&str, &str, f64)]) -> Interactions {
    let users: Vec<String> = rows.iter().map(|row| row.0.to_owned()).collect();
    let items: Vec<String> = rows.iter().map(|row| row.1.to_owned()).collect();
    let at: Vec<f64> = rows.iter().map(|row| row.2).collect();
    let baskets: Vec<String> = rows.iter().map(|row| format!("{} {}", row.0, row.2)).collect();
    Interactions::read(&Columns { users: &users, items: &items, at: &at, baskets: &baskets }).expect("good rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_in_order_of_time_and_keeps_the_last_touch() {
        let data = table(&[("b", "x", 2.0), ("a", "y", 3.0), ("b", "z", 1.0), ("b", "z", 5.0), ("b", "y", 5.0)]);
        let histories = Histories::group(&data, Owner::User, true);
        assert_eq!(histories.len(), 2);
        let names: Vec<&str> = histories.items_of(0).iter().map(|&item| data.items.name(item)).collect();
        assert_eq!(names, ["x", "z", "y"]);
        assert_eq!(histories.case(0, 7.0).back, [1, 0, 0]);
        assert_eq!(histories.case(0, 7.0).age, [5.0, 2.0, 2.0]);
    }

    #[test]
    fn a_past_ends_before_its_instant() {
        let data = table(&[("a", "x", 1.0), ("a", "y", 2.0), ("a", "x", 3.0), ("b", "y", 3.0)]);
        let histories = Histories::group(&data, Owner::User, false);
        let past = histories.before(3.0);
        assert_eq!((past.items_of(0), past.items_of(1)), (&[0, 1][..], &[][..]));
        let (now, span) = past.clock();
        assert!((now - 2.0).abs() < 1e-9 && (span - 1.0).abs() < 1e-6);
        assert_eq!(histories.bought(2.0, f64::INFINITY), [vec![0, 1], vec![1]]);
        assert_eq!(histories.bought(1.0, 3.0), [vec![0, 1], vec![]]);
        assert_eq!(histories.once(), Histories { steps: vec![1, 2, 0], ..Histories::group(&data, Owner::User, true) });
        assert!((histories.late(0.5) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_history_from_outside_asks_what_one_from_inside_asks() {
        let rows = [("a", "y", 3.0), ("b", "z", 1.0), ("b", "x", 2.0), ("b", "z", 5.0), ("b", "y", 5.0)];
        let data = table(&rows);
        let touches: Vec<(u32, f64)> = rows[1..].iter().map(|row| (data.items.find(row.1).unwrap(), row.2)).collect();
        for once in [false, true] {
            let inside = Histories::group(&data, Owner::User, once).case(1, 7.0);
            assert_eq!(Case { owner: Some(1), ..Case::of_history(&touches, 7.0, once) }, inside);
        }
    }

    #[test]
    fn names_are_found_again() {
        let data = table(&[("b", "x", 2.0), ("a", "y", 3.0)]);
        assert_eq!(data.users.find("a"), Some(1));
        assert_eq!(data.items.find("nothing"), None);
    }

    #[test]
    fn bad_columns_are_named() {
        let one = ["a".to_owned()];
        let bad = |at: &[f64]| Interactions::read(&Columns { users: &one, items: &one, at, baskets: &[] }).unwrap_err();
        assert_eq!(bad(&[f64::NAN]), Error::Undefined { field: "at", row: 0 });
        assert_eq!(bad(&[1.0, 2.0]), Error::Length { field: "at", found: 2, expected: 1 });
    }

    #[test]
    fn times_are_read_as_tables_write_them() {
        assert_eq!(parse_time("1970-01-02"), Some(1.0));
        assert_eq!(parse_time("2000-03-01 12:00:00"), Some(11017.5));
        assert_eq!(parse_time("17"), Some(17.0));
        assert_eq!(parse_time("2011-13-01"), None);
        assert_eq!(parse_time("soon"), None);
    }
}
