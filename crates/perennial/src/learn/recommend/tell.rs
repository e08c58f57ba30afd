//! What the lists say: the chapter of a page.

use std::collections::{BTreeMap, HashMap};

use super::pairs::Pair;
use super::{Asked, Bought, Lists};
use crate::learn::page::{Bar, Chapter, Figure, Plot};
use crate::learn::words::{count, figure, many, percent};

/// Pairs drawn, items listed, and customers shown as examples.
const PAIRS: usize = 12;
const ITEMS: usize = 25;
const EXAMPLES: usize = 10;
/// Pairs are shown from so many baskets on, and from so many times what chance would bring.
const LEAST_BASKETS: usize = 5;
const LEAST_LIFT: f64 = 2.0;

const TOGETHER: [(&str, &str); 3] = [
    ("goes with", "Bought in the same order more often than the popularity of both explains."),
    ("share of baskets", "Of the orders with the first item, how many also hold the second."),
    ("times more than chance", "That share, against the second item's share in all orders (its lift): 1 is chance."),
];
const NDCG: (&str, &str) = (
    "NDCG",
    "How well lists meet purchases that were hidden: 0 finds nothing, 1 puts everything first. In shops with thousands of items 0.05 to 0.2 is usual for new items, more for items bought before.",
);

/// The methods by their names in [`perennial_learn::recommend::Settings::name`].
const METHODS: [(&str, &str); 10] = [
    ("popularity", "What most customers buy, lately if that does better."),
    (
        "item-kNN of customers",
        "Items that the same customers buy as those in a list's history; kNN: k nearest neighbours.",
    ),
    ("item-kNN of baskets", "Items that stand in the same orders."),
    ("EASE", "Weights between all items, learnt together so that each history is explained best by its other items."),
    ("EASE of baskets", "The same, learnt from orders."),
    ("iALS", "Customers and items as points; who lies near an item is expected to like it."),
    ("own purchases", "What a customer bought before, fading with time."),
    ("similar customers", "What customers with a like history bought."),
    ("V-SKNN", "What followed in the sessions most like this one."),
    ("learnt next basket", "Decision trees over how often, how lately and how regularly a customer buys an item."),
];

impl Lists {
    /// Everything about the lists, for a page.
    pub(in crate::learn) fn chapter(&self, bought: &Bought) -> Chapter {
        let (finding, mut figures) = match self.asked {
            Asked::Together if self.pairs.is_some() => self.together(bought),
            Asked::Again => self.again(bought),
            _ => self.examples(bought),
        };
        figures.push(self.trials());
        let mut words = if self.pairs.is_some() { TOGETHER.to_vec() } else { Vec::new() };
        words.push(NDCG);
        let names: Vec<&str> = self.best_of_each().into_iter().map(|(name, _)| name).collect();
        let methods = METHODS.into_iter().filter(|(name, _)| names.contains(name));
        words.extend(methods.map(|(name, meaning)| self.method(name, meaning)));
        let name = match self.asked {
            Asked::ForYou => "For each customer",
            Asked::Together => "Bought together",
            Asked::Again => "Bought next",
            Asked::Session => "Next in the session",
        };
        Chapter {
            name,
            finding,
            told: std::iter::once(self.validation()).chain(bought.fees()).collect(),
            figures,
            words,
            how: self.how(),
        }
    }

    /// A method's name and meaning; in a session nothing was bought yet.
    fn method(&self, name: &'static str, meaning: &'static str) -> (&'static str, &'static str) {
        match name {
            _ if self.asked != Asked::Session => (name, meaning),
            "own purchases" => ("this session again", "The items of this session once more, the latest first."),
            "popularity" => (name, "What is viewed most, lately if that does better."),
            "item-kNN of baskets" => {
                ("item-kNN of sessions", "Items that stand near one another in the same sessions.")
            }
            _ => (name, meaning),
        }
    }

    /// What a method is called.
    fn called(&self, name: &'static str) -> &'static str {
        self.method(name, "").0
    }

    /// What listing the most popular items to everybody reaches.
    fn popular(&self) -> Option<f64> {
        let found = self.best_of_each().into_iter().find(|(name, _)| *name == "popularity");
        found.map(|(_, value)| value).filter(|value| *value > 0.0)
    }

    /// The best value of each method, the best first.
    fn best_of_each(&self) -> Vec<(&'static str, f64)> {
        let mut best: BTreeMap<&str, f64> = BTreeMap::new();
        for trial in &self.model.choice.trials {
            let value = best.entry(trial.settings.name()).or_insert(0.0);
            *value = value.max(trial.value);
        }
        let mut best: Vec<_> = best.into_iter().collect();
        best.sort_by(|a, b| b.1.total_cmp(&a.1));
        best
    }

    fn validation(&self) -> String {
        let choice = &self.model.choice;
        let most = if self.asked == Asked::Session { "is viewed most" } else { "sells best" };
        let beside = self.popular().map_or(String::new(), |value| format!("; listing what {most} reaches {value:.4}"));
        format!(
            "Validation: on {} that were hidden from training the lists reach NDCG@{} {:.4}{beside} (1 is perfect, 0 finds nothing).",
            many(choice.questions, "question"),
            self.asked.depth(),
            choice.value
        )
    }

    fn how(&self) -> Vec<String> {
        let choice = &self.model.choice;
        let whole: f64 = choice.blend.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let part = |weight: f32| percent(f64::from(weight) / whole.max(1e-12));
        let blend: Vec<String> =
            choice.blend.iter().map(|(s, w)| format!("{} ({})", self.called(s.name()), part(*w))).collect();
        vec![format!("Chosen out of {}: {}.", many(choice.trials.len(), "trial"), blend.join(", "))]
    }

    /// How well each method does alone.
    fn trials(&self) -> Figure {
        let best = self.best_of_each();
        let leader = best.first().map_or("nothing", |b| self.called(b.0));
        Figure {
            title: format!("Of single methods, {leader} does best on hidden {}", self.asked.hidden()),
            note: format!(
                "NDCG@{} of each method with its best settings, in % of a perfect list; the lists blend what helps.",
                self.asked.depth()
            ),
            sample: many(self.model.choice.questions, "hidden question"),
            rows: best.iter().map(|(name, value)| vec![self.called(name).to_owned(), format!("{value:.4}")]).collect(),
            plot: Plot::Bars(
                best.iter()
                    .map(|(name, value)| Bar { label: self.called(name).into(), value: 100.0 * value, interval: None })
                    .collect(),
            ),
            unit: " %",
            head: ["method", "NDCG"].map(String::from).to_vec(),
        }
    }

    /// The pairs seen most often among those that chance does not explain.
    fn strongest(&self) -> Vec<(usize, usize, Pair)> {
        let Some(pairs) = &self.pairs else { return Vec::new() };
        let mut found: Vec<(usize, usize, Pair)> = Vec::new();
        for (owner, list) in self.entries.iter().enumerate() {
            let each = (0..list.len()).map(|at| (owner, at, pairs.of(owner, at)));
            found.extend(each.filter(|(_, _, pair)| pair.both >= LEAST_BASKETS && pair.lift() >= LEAST_LIFT));
        }
        found.sort_by(|a, b| b.2.both.cmp(&a.2.both).then(b.2.share().total_cmp(&a.2.share())).then(a.0.cmp(&b.0)));
        let mut seen = std::collections::HashSet::new();
        found.retain(|(owner, at, _)| {
            let (a, b) = (self.names[*owner].as_str(), self.entries[*owner][*at].item.as_str());
            seen.insert(if a < b { (a, b) } else { (b, a) })
        });
        found.truncate(PAIRS);
        found
    }

    fn together(&self, bought: &Bought) -> (String, Vec<Figure>) {
        let strongest = self.strongest();
        let title = |owner: usize| bought.title(&self.names[owner]).to_owned();
        let other = |owner: usize, at: usize| bought.title(&self.entries[owner][at].item).to_owned();
        let finding = match strongest.first() {
            Some(&(owner, at, pair)) => format!(
                "Who takes \"{}\" also takes \"{}\" in {} of orders, {} times as often as others",
                title(owner),
                other(owner, at),
                percent(pair.share()),
                figure(pair.lift())
            ),
            None => "No two items are bought together clearly more often than by chance".to_owned(),
        };
        let mut figures = Vec::new();
        if !strongest.is_empty() {
            let bars = strongest.iter().map(|&(owner, at, pair)| Bar {
                label: format!("{} → {}", title(owner), other(owner, at)),
                value: 100.0 * pair.share(),
                interval: pair.interval().map(|(low, high)| (100.0 * low, 100.0 * high)),
            });
            let rows = strongest.iter().map(|&(owner, at, pair)| {
                vec![title(owner), other(owner, at), count(pair.both), percent(pair.share()), figure(pair.lift())]
            });
            figures.push(Figure {
                title: match strongest.len() {
                    1 => "The one pair bought together clearly more often than by chance, in % of orders with the first".to_owned(),
                    many => format!("The {many} pairs bought together most often, in % of orders with the first"),
                },
                note: format!("Per cent of orders with the first item that also hold the second, with 95 % intervals; pairs at least {LEAST_LIFT} times as frequent as chance, those in most orders first."),
                sample: many(self.pairs.as_ref().map_or(0, super::Pairs::baskets), "order"),
                plot: Plot::Dots(bars.collect()),
                unit: " %",
                head: ["item", "goes with", "orders with both", "share of orders", "times more than chance"].map(String::from).to_vec(),
                rows: rows.collect(),
            });
        }
        figures.push(self.companions(bought));
        (finding, figures)
    }

    /// For the items sold most, what goes with them.
    fn companions(&self, bought: &Bought) -> Figure {
        let single = |owner: usize| self.pairs.as_ref().map_or(0, |pairs| pairs.single(owner));
        let mut order: Vec<usize> = (0..self.names.len()).filter(|&owner| !self.entries[owner].is_empty()).collect();
        order.sort_by_key(|&owner| std::cmp::Reverse(single(owner)));
        let rows = order.iter().take(ITEMS).map(|&owner| {
            let chance = |at: usize| self.pairs.as_ref().is_some_and(|pairs| pairs.of(owner, at).lift() <= 1.0);
            let list = self.entries[owner].iter().enumerate().filter(|(at, _)| !chance(*at));
            let list: Vec<&str> = list.take(3).map(|(_, found)| bought.title(&found.item)).collect();
            let told = if list.is_empty() { "nothing more often than by chance".into() } else { list.join("; ") };
            vec![bought.title(&self.names[owner]).to_owned(), count(single(owner)), told]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        Figure::table(
            format!("What goes with each of the {} items in most orders", rows.len()),
            "The three that go with each best, without those met less often than by chance. The table beside the page has the lists of all items.",
            &["item", "orders", "goes with"],
            rows,
        )
    }

    fn again(&self, bought: &Bought) -> (String, Vec<Figure>) {
        let mut next: HashMap<&str, usize> = HashMap::new();
        self.entries
            .iter()
            .flat_map(|list| list.iter().take(3))
            .for_each(|found| *next.entry(&found.item).or_default() += 1);
        let mut next: Vec<(&str, usize)> = next.into_iter().collect();
        next.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let total = self.entries.iter().map(|list| list.len().min(3)).sum::<usize>();
        let before = self.entries.iter().flat_map(|list| list.iter().take(3));
        let before =
            before.filter(|found| matches!(found.reason, perennial_learn::recommend::Reason::BoughtBefore(_))).count();
        #[expect(clippy::cast_precision_loss, reason = "counts of entries")]
        let share = before as f64 / total.max(1) as f64;
        let finding = format!("{} of what customers are likeliest to buy next they have bought before", percent(share));
        #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
        let bars = next.iter().take(PAIRS).map(|(item, n)| Bar {
            label: bought.title(item).into(),
            value: *n as f64,
            interval: None,
        });
        let top = Figure {
            title: next.first().map_or("No list holds anything".to_owned(), |(item, n)| {
                format!("\"{}\" is next for most: {}", bought.title(item), many(*n, "customer"))
            }),
            note: "Customers who have the item among the first three of their list.".into(),
            sample: many(self.names.len(), "customer"),
            plot: Plot::Bars(bars.collect()),
            head: ["item", "customers"].map(String::from).to_vec(),
            rows: next.iter().take(PAIRS).map(|(item, n)| vec![bought.title(item).to_owned(), count(*n)]).collect(),
            ..Figure::default()
        };
        (finding, vec![top, self.some(bought)])
    }

    fn examples(&self, bought: &Bought) -> (String, Vec<Figure>) {
        let (lists, hidden) = (many(self.names.len(), "list"), self.asked.hidden());
        let finding = match self.popular().map(|popular| self.model.choice.value / popular) {
            Some(times) if times >= 1.05 => {
                format!(
                    "{lists}: they foretell hidden {hidden} {} times as well as the most popular items do",
                    figure(times)
                )
            }
            Some(_) => format!("{lists}: they foretell hidden {hidden} no better than the most popular items do"),
            None => format!("{lists}, each of {} items with reasons", self.top),
        };
        (finding, vec![self.some(bought)])
    }

    /// The first entries of lists spread over all.
    fn some(&self, bought: &Bought) -> Figure {
        let step = self.names.len().div_ceil(EXAMPLES).max(1);
        let rows = self.names.iter().zip(&self.entries).step_by(step).flat_map(|(name, list)| {
            let entry = |found: &perennial_learn::recommend::Recommendation| {
                vec![name.clone(), bought.title(&found.item).to_owned(), bought.because(&found.reason)]
            };
            list.iter().take(3).map(entry).collect::<Vec<_>>()
        });
        Figure::table(
            "Some lists, with reasons",
            "The first three entries, of lists spread over the table. The table beside the page has all lists in full.",
            &[self.asked.asker(), "item", "why"],
            rows.collect(),
        )
    }
}

impl Asked {
    /// Whom a list is for.
    pub(super) fn asker(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Together => "basket",
            Self::ForYou | Self::Again => "customer",
        }
    }

    /// What was hidden to judge the lists.
    fn hidden(self) -> &'static str {
        if self == Self::Session { "views" } else { "purchases" }
    }
}
