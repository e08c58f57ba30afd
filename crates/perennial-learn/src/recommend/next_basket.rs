//! Next basket: who buys what again, and what for the first time, learnt from how earlier baskets went.
//!
//! The shop's own past asks the questions: at the start of each of the last few stretches of time
//! every customer's history is turned into rows, one per item that may come next, and trees learn
//! which of them were then bought. A row tells how often and how lately the customer took the item,
//! whether it is due against the customer's own interval and the item's usual one (the hazard of
//! repeat consumption: Anderson et al. 2014, "The dynamics of repeat consumption"; Katz et al. 2022,
//! "Learning to recommend repeat purchases", which orders by such features too), how popular it
//! is, and what the nearest customers (TIFU-kNN, Hu et al. 2020) and EASE say of it. Absent on
//! purpose: tables without a clock, which have no stretches; there the model says nothing.

use super::{
    Error, Halt,
    buy_again::Crowd,
    ease::Ease,
    fading::Fading,
    interactions::{Case, Histories},
    item_item::ItemItem,
    parallel,
    popularity::Popularity,
    top,
};
use crate::{
    boosting::{self, Ensemble, Loss},
    seed,
    special::sigmoid,
    table::{Column, Table},
};
use serde::{Deserialize, Serialize};

/// Settings of the learned next basket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NextBasket {
    /// Stretches of time that are learnt from, the latest first.
    pub stretches: usize,
    /// The share of all purchases that the last stretch holds, in `0..1`; the others are as long.
    pub share: f64,
    /// Customers asked per stretch, evenly spread.
    pub customers: usize,
    /// Trees grown on each two thirds of the customers, at most.
    pub trees: usize,
}

impl Default for NextBasket {
    fn default() -> Self {
        Self { stretches: 2, share: 0.17, customers: 2_000, trees: 100 }
    }
}

/// What each row tells.
const FEATURES: [&str; 26] = [
    "times bought",
    "lately: a twentieth of the time",
    "lately: a fifth of the time",
    "lately: half of the time",
    "by steps back",
    "share of baskets",
    "time since last",
    "time since first",
    "baskets since last",
    "own interval",
    "due by own interval",
    "due by usual interval",
    "customer: baskets",
    "customer: basket size",
    "customer: variety",
    "customer: time since last",
    "customer: interval",
    "similar customers",
    "EASE",
    "item: popular lately",
    "item: popular",
    "item: trend",
    "item: customers",
    "item: share of repeaters",
    "item: usual interval",
    "item: age",
];

type Row = [f32; FEATURES.len()];

/// Half-lives of the customer's own purchases, as shares of the time that the data covers.
const LIVES: [f32; 3] = [0.05, 0.2, 0.5];
/// What a purchase counts one step later.
const MEMORY: f32 = 0.85;
/// Items taken from each source besides the customer's own.
const CANDIDATES: usize = 100;
/// Customers averaged.
const NEAREST: usize = 100;
/// One in so many rows that were not bought is learnt from; the order of answers stays the same.
const THINNED: usize = 4;
/// Repeaters an item is thought to have before any is seen.
const PRIOR: f32 = 4.0;

/// A fitted next basket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baskets {
    shop: Shop,
    /// None where the past held nothing to learn from.
    trees: Option<Ensemble>,
}

impl Baskets {
    /// Learns from the past of `histories`, which hold every purchase.
    ///
    /// # Errors
    /// What EASE says.
    pub(crate) fn fit(histories: &Histories, items: usize, how: &NextBasket, threads: usize) -> Result<Self, Error> {
        let (now, span) = histories.clock();
        let length = now - histories.late(how.share);
        let mut lesson = Lesson::default();
        let mut to = f64::INFINITY;
        for stretch in (1..=how.stretches).map(|back| now - length * super::validate::count(back)) {
            let past = histories.before(stretch);
            if past.items.is_empty() || length <= 0.0 {
                break;
            }
            let shop = Shop::at(&past, items, stretch, span, threads)?;
            lesson.add(&shop, &past, &histories.bought(stretch, to), how.customers, threads);
            to = stretch;
        }
        Ok(Self { shop: Shop::at(histories, items, now, span, threads)?, trees: lesson.learn(how.trees) })
    }

    /// Writes for the items that may come next how likely the trees think them.
    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        let Some(trees) = &self.trees else { return };
        let (candidates, sheet) = self.shop.rows(case, scores, |_| true);
        scores.fill(0.0);
        let Some(answers) = sheet.table().and_then(|table| trees.answers(&table).ok()) else { return };
        for (item, answer) in candidates.into_iter().zip(answers) {
            #[expect(clippy::cast_possible_truncation, reason = "a share")]
            let likely = sigmoid(answer) as f32;
            scores[item as usize] = likely;
        }
    }

    /// The items whose weights speak for others: where a reason is looked for.
    pub(crate) fn linked(&self) -> &ItemItem {
        &self.shop.ease
    }
}

/// Rows by columns.
#[derive(Default)]
struct Sheet([Vec<f64>; FEATURES.len()]);

impl Sheet {
    fn push(&mut self, row: Row) {
        self.0.iter_mut().zip(row).for_each(|(column, value)| column.push(f64::from(value)));
    }

    fn append(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(column, more)| column.extend(more));
    }

    /// None without a row.
    fn table(self) -> Option<Table> {
        Table::new(FEATURES.iter().zip(self.0).map(|(name, values)| Column::numbers(name, values)).collect()).ok()
    }
}

/// Rows whose outcome is known.
#[derive(Default)]
struct Lesson {
    sheet: Sheet,
    bought: Vec<f64>,
    /// Thirds of the customers: trees grown on two of them stop by their loss on the other.
    third: Vec<u8>,
}

impl Lesson {
    /// Asks the customers of a past what they then bought; `then` lists items per customer, ascending.
    fn add(&mut self, shop: &Shop, past: &Histories, then: &[Vec<u32>], customers: usize, threads: usize) {
        let asked: Vec<usize> = (0..past.len())
            .filter(|&who| !past.range(who).is_empty() && then[who].iter().any(|&item| shop.knows(item)))
            .collect();
        let every = asked.len().div_ceil(customers.max(1)).max(1);
        let asked: Vec<usize> = asked.into_iter().step_by(every).collect();
        let parts = parallel::runs(asked.len(), 32, threads, |range| {
            let mut part = Self::default();
            let mut scores = vec![0.0; shop.items.len()];
            for &who in &asked[range] {
                let mut rng = seed::generator(who as u64);
                let bought = |item: u32| then[who].binary_search(&item).is_ok();
                let keep = |item| bought(item) || seed::below(&mut rng, THINNED) == 0;
                let (items, sheet) = shop.rows(&past.case(who, shop.now), &mut scores, keep);
                part.bought.extend(items.iter().map(|&item| f64::from(u8::from(bought(item)))));
                part.third.extend(items.iter().map(|_| [0, 1, 2][who % 3]));
                part.sheet.append(sheet);
            }
            part
        });
        for part in parts {
            self.sheet.append(part.sheet);
            self.bought.extend(part.bought);
            self.third.extend(part.third);
        }
    }

    /// Trees, unless there is too little to learn from.
    fn learn(self, trees: usize) -> Option<Ensemble> {
        let settings = boosting::Settings {
            learning_rate: 0.1,
            leaves: 16,
            least_rows: 50.0,
            most_trees: trees,
            ..boosting::Settings::default()
        };
        let table = self.sheet.table()?;
        boosting::fit(&table, &self.bought, Loss::Logistic, &self.third, settings, 1).ok().map(|grown| grown.ensemble)
    }
}

/// What is known of the shop at an instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shop {
    now: f64,
    /// The time that the data covers, as of the last instant.
    span: f32,
    items: Vec<Item>,
    /// The most popular items of late.
    common: Vec<u32>,
    crowd: Crowd,
    ease: ItemItem,
}

/// What is known of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Item {
    /// Purchases, faded by a twentieth and by a third of the time.
    lately: f32,
    popular: f32,
    customers: f32,
    /// The share of its customers who took it again, shrunk to a tenth.
    repeaters: f32,
    /// Mean time between two purchases by one customer, shrunk to that of all items; none
    /// where nothing was ever bought again.
    interval: Option<f32>,
    age: f32,
}

impl Shop {
    fn at(histories: &Histories, items: usize, now: f64, span: f32, threads: usize) -> Result<Self, Error> {
        let popular = |share: f32| Popularity::fit(histories, items, now, Some(share * span)).counts;
        let (lately, popular) = (popular(0.05), popular(0.33));
        let mut known = repeats(histories, items, now);
        for ((item, lately), popular) in known.iter_mut().zip(&lately).zip(&popular) {
            (item.lately, item.popular) = (*lately, *popular);
        }
        let mut common = Vec::new();
        top::best(&lately, CANDIDATES, &mut common);
        let fading = |share: f32| Fading { half_life: Some(share * span), ..Fading::default() };
        let ease = Ease { fading: fading(0.2), keep: 128, ..Ease::default() };
        Ok(Self {
            now,
            span,
            items: known,
            common: common.into_iter().map(|(item, _)| item).collect(),
            crowd: Crowd::fit(histories, items, now, fading(0.5), NEAREST),
            ease: ease.fit(&histories.once(), items, threads, &Halt::default())?,
        })
    }

    fn knows(&self, item: u32) -> bool {
        self.items[item as usize].customers > 0.0
    }

    /// The items that may come next and are kept, ascending, with their rows; `scores` is room to work in.
    fn rows(&self, case: &Case, scores: &mut [f32], mut keep: impl FnMut(u32) -> bool) -> (Vec<u32>, Sheet) {
        let own = Own::of(case, self.span);
        let mut items: Vec<u32> = own.iter().map(|own| own.item).chain(self.common.iter().copied()).collect();
        let mut list = Vec::new();
        let mut source = |score: &dyn Fn(&mut [f32])| {
            scores.fill(0.0);
            score(scores);
            top::best(scores, CANDIDATES, &mut list);
            items.extend(list.iter().filter(|&&(_, score)| score > 0.0).map(|&(item, _)| item));
            scores.to_vec()
        };
        let crowd = source(&|scores| self.crowd.score(case, scores));
        let ease = source(&|scores| self.ease.score(case, scores));
        items.sort_unstable();
        items.dedup();
        items.retain(|&item| keep(item));
        let customer = Customer::of(case, &own);
        let mut sheet = Sheet::default();
        for &item in &items {
            let mine = own.binary_search_by_key(&item, |own| own.item).ok().map(|at| &own[at]);
            sheet.push(row(&customer, mine, &self.items[item as usize], crowd[item as usize], ease[item as usize]));
        }
        (items, sheet)
    }
}

/// How items are bought again.
fn repeats(histories: &Histories, items: usize, now: f64) -> Vec<Item> {
    let mut known = vec![Item::default(); items];
    let (mut again, mut total) = (vec![0.0f32; items], vec![0.0f32; items]);
    for who in 0..histories.len() {
        for own in Own::of(&histories.case(who, now), 1.0) {
            let item = &mut known[own.item as usize];
            item.customers += 1.0;
            item.age = item.age.max(own.first);
            if let Some(interval) = own.interval() {
                again[own.item as usize] += 1.0;
                total[own.item as usize] += interval;
            }
        }
    }
    let mean = total.iter().sum::<f32>() / again.iter().sum::<f32>().max(1.0);
    for ((item, again), total) in known.iter_mut().zip(again).zip(total) {
        item.repeaters = (again + 0.1 * PRIOR) / (item.customers + PRIOR);
        let interval = (total + mean * PRIOR) / (again + PRIOR);
        item.interval = (interval > 0.0).then_some(interval);
    }
    known
}

/// What a customer did with one item.
struct Own {
    item: u32,
    times: f32,
    faded: [f32; LIVES.len()],
    stepped: f32,
    /// Time and steps since the last purchase, time since the first.
    last: f32,
    back: f32,
    first: f32,
}

impl Own {
    /// Per item, ascending.
    #[expect(clippy::cast_precision_loss, reason = "counts of steps")]
    fn of(case: &Case, span: f32) -> Vec<Self> {
        let mut places: Vec<usize> = (0..case.items.len()).collect();
        places.sort_by_key(|&place| (case.items[place], place));
        let one = |places: &[usize]| {
            let (first, last) = (places[0], places[places.len() - 1]);
            let mut own = Self {
                item: case.items[first],
                times: places.len() as f32,
                faded: [0.0; LIVES.len()],
                stepped: 0.0,
                last: case.age[last],
                back: case.back[last] as f32,
                first: case.age[first],
            };
            for &place in places {
                let halves = case.age[place] / span;
                own.faded.iter_mut().zip(LIVES).for_each(|(sum, life)| *sum += (-halves / life).exp2());
                own.stepped += MEMORY.powf(case.back[place] as f32);
            }
            own
        };
        places.chunk_by(|&a, &b| case.items[a] == case.items[b]).map(one).collect()
    }

    /// Mean time between purchases, where there are two at different times.
    fn interval(&self) -> Option<f32> {
        let between = (self.first - self.last) / (self.times - 1.0).max(1.0);
        (between > 0.0).then_some(between)
    }
}

/// What a customer does in general.
struct Customer {
    baskets: f32,
    size: f32,
    variety: f32,
    last: f32,
    interval: f32,
}

impl Customer {
    #[expect(clippy::cast_precision_loss, reason = "counts of purchases")]
    fn of(case: &Case, own: &[Own]) -> Self {
        let (rows, baskets) = (case.items.len() as f32, case.back.first().map_or(0.0, |&back| back as f32 + 1.0));
        let (first, last) = (case.age.first().copied().unwrap_or(0.0), case.age.last().copied().unwrap_or(0.0));
        Self {
            baskets,
            size: rows / baskets.max(1.0),
            variety: own.len() as f32 / rows.max(1.0),
            last,
            interval: (first - last) / (baskets - 1.0).max(1.0),
        }
    }
}

/// What is told of an item that may come next, in the order of [`FEATURES`]; NaN is not known.
fn row(customer: &Customer, own: Option<&Own>, item: &Item, crowd: f32, ease: f32) -> Row {
    let of_own = |tell: fn(&Own) -> f32, never: f32| own.map_or(never, tell);
    let interval = own.and_then(Own::interval).unwrap_or(f32::NAN);
    let usual = item.interval.unwrap_or(f32::NAN);
    let last = of_own(|own| own.last, f32::NAN);
    [
        of_own(|own| own.times, 0.0),
        of_own(|own| own.faded[0], 0.0),
        of_own(|own| own.faded[1], 0.0),
        of_own(|own| own.faded[2], 0.0),
        of_own(|own| own.stepped, 0.0),
        of_own(|own| own.times, 0.0) / customer.baskets.max(1.0),
        last,
        of_own(|own| own.first, f32::NAN),
        of_own(|own| own.back, f32::NAN),
        interval,
        last / interval,
        last / usual,
        customer.baskets,
        customer.size,
        customer.variety,
        customer.last,
        customer.interval,
        crowd,
        ease,
        item.lately,
        item.popular,
        item.lately / (item.popular + 1.0),
        item.customers,
        item.repeaters,
        usual,
        item.age,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::{
        Columns, Interactions,
        interactions::Owner,
        method::{Corpus, Settings},
    };

    /// Every customer buys soap every 10 days and a lamp once, at the very first visit; between
    /// them all kinds of tea, each once.
    fn shop() -> Interactions {
        let (mut users, mut items, mut at) = (vec![], vec![], vec![]);
        for customer in 0..80u32 {
            for visit in 0..20u32 {
                let first =
                    if visit == 0 { "lamp".to_owned() } else { format!("tea {}", (customer * 7 + visit * 17) % 40) };
                let soap = (visit % 2 == customer % 2).then(|| "soap".to_owned());
                for item in std::iter::once(first).chain(soap) {
                    users.push(format!("customer {customer}"));
                    items.push(item);
                    at.push(f64::from(visit * 5) + f64::from(customer) / 100.0);
                }
            }
        }
        Interactions::read(&Columns { users: &users, items: &items, at: &at, baskets: &[] }).expect("good columns")
    }

    fn scored(data: &Interactions, customer: usize, threads: usize) -> Vec<f32> {
        let corpus = Corpus::new(data, false);
        let method = Settings::NextBasket(NextBasket::default()).fit(&corpus, threads).expect("a fit");
        let mut scores = vec![0.0; corpus.items];
        method.score(&corpus.full.case(customer, corpus.now), &mut scores);
        scores
    }

    #[test]
    fn what_comes_back_is_told_from_what_was_bought_once() {
        let data = shop();
        let scores = scored(&data, 3, 1);
        let of = |name: &str| scores[data.items.find(name).expect("an item") as usize];
        assert!(of("soap") > 0.5, "soap comes back: {}", of("soap"));
        assert!(of("lamp") < 0.1, "a lamp lasts: {}", of("lamp"));
        assert_eq!(scores, scored(&data, 3, 3));
    }

    #[test]
    fn an_own_history_is_counted_by_item() {
        let data = shop();
        let case = Histories::group(&data, Owner::User, false).case(0, 100.0);
        let soap = data.items.find("soap").expect("an item");
        let own = Own::of(&case, 100.0);
        let soap = own.iter().find(|own| own.item == soap).expect("soap was bought");
        assert!((soap.times - 10.0).abs() < 1e-6);
        assert!((soap.interval().expect("it came back") - 10.0).abs() < 1e-4);
        assert!((soap.last - 10.0).abs() < 1e-4 && (soap.first - 100.0).abs() < 1e-4);
        let faded: f32 = (1..=10u8).map(|visit| (-f32::from(visit) * 0.1 / LIVES[0]).exp2()).sum();
        assert!((soap.faded[0] - faded).abs() < 1e-4);
        let lamp = own.iter().find(|own| own.interval().is_none()).expect("something was bought once");
        assert!((lamp.times - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_past_without_outcomes_says_nothing() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let at = [1.0; 3];
        let data =
            Interactions::read(&Columns { users: &names, items: &names, at: &at, baskets: &[] }).expect("good columns");
        assert!(scored(&data, 0, 1).iter().all(|score| score.abs() < f32::MIN_POSITIVE));
    }
}
