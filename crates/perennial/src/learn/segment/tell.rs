//! What the groups say: the chapter of a page.

use super::Groups;
use crate::learn::clv;
use crate::learn::page::{Bar, Chapter, Figure, Plot};
use crate::learn::words::{count, figure, many, percent};

/// Features that are drawn at most.
const DRAWN: usize = 6;
/// From here on, in standard deviations, a centre is said to differ from the average customer.
const DIFFERS: f64 = 0.35;

const WORDS: [(&str, &str); 4] = [
    (
        "days since last purchase",
        "From a customer's last purchase to the last day of the table; the file beside the page calls it recency.",
    ),
    ("days with a purchase", "Days on which a customer bought; the file beside the page calls it frequency."),
    ("spend", "The sum of what a customer paid, refunds taken off on the day they happened."),
    ("typical", "The median: half of the group lies below, half above."),
];

impl Groups {
    /// Positions of a group's customers.
    fn members(&self, group: usize) -> Vec<usize> {
        (0..self.len()).filter(|&row| self.fit.labels[row] == group).collect()
    }

    /// A feature in a reader's words, where it is one of those made from orders.
    fn in_words<'a>(&self, feature: &'a str) -> &'a str {
        match feature {
            "recency" if self.customers.of_orders => "days since last purchase",
            "frequency" if self.customers.of_orders => "days with a purchase",
            _ => feature,
        }
    }

    /// The group whose centre lies furthest from the average customer.
    fn furthest(&self) -> usize {
        let far = |group: usize| self.fit.model.centre(group).iter().map(|z| z * z).sum::<f64>();
        self.order.iter().copied().max_by(|&a, &b| far(a).total_cmp(&far(b))).unwrap_or(self.order[0])
    }

    fn median(&self, rows: &[usize], feature: usize) -> f64 {
        let mut values: Vec<f64> = rows.iter().map(|&row| self.raw.row(row)[feature]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    fn share(&self, group: usize) -> f64 {
        self.fit.model.sizes[group] as f64 / self.len() as f64
    }

    /// Everything about groups, for a page; with values, what each group is worth.
    pub(in crate::learn) fn chapter(&self, values: Option<&clv::Study>) -> Chapter {
        let largest = self.order[0];
        let n = self.len();
        let finding = format!(
            "{} fall into {}; the largest, \"{}\", holds {}",
            many(n, "customer"),
            many(self.order.len(), "group"),
            self.names[largest],
            percent(self.share(largest))
        );
        let mut figures = vec![self.table()];
        figures.extend(values.and_then(|values| self.worth(values)));
        figures.push(self.typical());
        let words = if self.customers.of_orders { WORDS.to_vec() } else { WORDS[3..].to_vec() };
        Chapter { name: "Groups", finding, told: self.told(), figures, words, how: self.how() }
    }

    fn told(&self) -> Vec<String> {
        let mut told = vec!["Each group is named after what sets it apart from the average customer; the table beside the page says for each customer why it is in its group and not in the next nearest.".to_owned()];
        if let Some(q) = self.quality {
            let meaning = match q {
                q if q > 0.5 => "the groups lie clearly apart",
                q if q > 0.25 => "the groups touch; customers near a border could be in either",
                _ => "the groups run into one another; useful for talking, not for fine rules",
            };
            told.push(format!("How distinct they are: {meaning} (mean silhouette {q:.2}; 1 is far apart, 0 is none)."));
        }
        told
    }

    fn how(&self) -> Vec<String> {
        let mut how = Vec::new();
        if let Some(c) = &self.chosen {
            how.push(format!(
                "Chosen: {} groups by k-means, from 2 to {} tried (silhouette says {}, gap {}, stability {}; the middle one is taken, or, where that is 2, as many as are stable).",
                self.count(),
                c.evidence.last().map_or(c.k, |e| e.k),
                c.by_silhouette,
                c.by_gap,
                c.by_stability
            ));
            if let Some(e) = c.evidence.iter().find(|e| e.k == self.count()) {
                how.push(format!("Validation: when customers are drawn anew, the same groups come back (adjusted Rand index {:.2}; 1 is the same, 0 is chance).", e.stability));
            }
        }
        how.extend(self.customers.notes.iter().cloned());
        how
    }

    /// Each group with its size, its typical customer and why it has its name.
    fn table(&self) -> Figure {
        let all: Vec<usize> = (0..self.len()).collect();
        let features = &self.customers.features;
        let mut head: Vec<String> = ["group", "customers", "share"].map(String::from).to_vec();
        head.extend(features.iter().map(|name| format!("typical {}", self.in_words(name))));
        head.push("why this name".into());
        let everybody = std::iter::once("all customers".to_owned())
            .chain([count(self.len()), percent(1.0)])
            .chain((0..features.len()).map(|f| figure(self.median(&all, f))))
            .chain([String::new()])
            .collect();
        let mut rows: Vec<Vec<String>> = self.order.iter().map(|&group| self.line(group)).collect();
        rows.push(everybody);
        let apart = self.furthest();
        Figure {
            title: format!(
                "\"{}\" stands furthest from the average customer: {} of all",
                self.names[apart],
                percent(self.share(apart))
            ),
            note: "The typical customer of each group beside that of all; further than a third of a standard deviation from the average counts as a reason.".into(),
            sample: many(self.len(), "customer"),
            plot: Plot::None,
            head,
            rows,
            ..Figure::default()
        }
    }

    fn line(&self, group: usize) -> Vec<String> {
        let rows = self.members(group);
        let features = &self.customers.features;
        let centre = self.fit.model.centre(group);
        let mut reasons: Vec<(f64, String)> = features
            .iter()
            .zip(centre)
            .filter(|(_, z)| z.abs() >= DIFFERS)
            .map(|(name, z)| (z.abs(), format!("{} {} average", self.in_words(name), side(*z))))
            .collect();
        reasons.sort_by(|a, b| b.0.total_cmp(&a.0));
        let why = reasons.into_iter().map(|reason| reason.1).collect::<Vec<_>>().join(", ");
        std::iter::once(self.names[group].clone())
            .chain([count(rows.len()), percent(self.share(group))])
            .chain((0..features.len()).map(|f| figure(self.median(&rows, f))))
            .chain([if why.is_empty() { "close to the average in everything".into() } else { why }])
            .collect()
    }

    /// What a customer of each group is worth in the months to come.
    fn worth(&self, values: &clv::Study) -> Option<Figure> {
        let at: std::collections::HashMap<&str, usize> = values.customers().map(|(at, name)| (name, at)).collect();
        let mut total = 0.0;
        let mut found: Vec<(usize, f64, Bar, usize)> = Vec::new();
        for &group in &self.order {
            let members: Vec<usize> = self
                .members(group)
                .into_iter()
                .filter_map(|row| at.get(self.customers.names[row].as_str()).copied())
                .collect();
            if members.is_empty() {
                continue;
            }
            let (mean, interval) = values.mean(&members);
            let sum: f64 = members.iter().map(|&at| values.worth(values.row(at))).sum();
            total += sum;
            let bar = Bar { label: self.names[group].clone(), value: mean, interval };
            found.push((group, sum, bar, members.len()));
        }
        let most = found.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let title = format!(
            "\"{}\" is {} of customers and {} of what is expected",
            self.names[most.0],
            percent(self.share(most.0)),
            percent(most.1 / total.max(1e-12))
        );
        let rows = found.iter().map(|(group, sum, bar, n)| {
            let (low, high) = bar.interval.unwrap_or((f64::NAN, f64::NAN));
            let shares = [percent(self.share(*group)), percent(sum / total.max(1e-12))];
            std::iter::once(bar.label.clone())
                .chain([count(*n)])
                .chain([bar.value, low, high].map(figure))
                .chain(shares)
                .collect()
        });
        Some(Figure {
            title,
            rows: rows.collect(),
            note: "What a customer of each group is expected to bring in the months to come, on average; the line is the 95 % interval.".into(),
            sample: many(self.len(), "customer"),
            plot: Plot::Dots(found.iter().map(|f| f.2.clone()).collect()),
            head: ["group", "customers", "mean", "low", "high", "share of customers", "share of value"].map(String::from).to_vec(),
            ..Figure::default()
        })
    }

    /// The typical customer of each group, feature by feature.
    fn typical(&self) -> Figure {
        let members: Vec<Vec<usize>> = self.order.iter().map(|&group| self.members(group)).collect();
        let sets: Vec<(String, Vec<Bar>)> = (0..self.customers.features.len())
            .take(DRAWN)
            .map(|feature| {
                let bar = |(&group, rows): (&usize, &Vec<usize>)| Bar {
                    label: self.names[group].clone(),
                    value: self.median(rows, feature),
                    interval: None,
                };
                let name = self.in_words(&self.customers.features[feature]).to_owned();
                (name, self.order.iter().zip(&members).map(bar).collect())
            })
            .collect();
        let (name, bars) = &sets[0];
        let by_value = |a: &&Bar, b: &&Bar| a.value.total_cmp(&b.value);
        let said = |bar: Option<&Bar>| bar.map_or(String::new(), |b| format!("{} in \"{}\"", figure(b.value), b.label));
        let (least, most) = (said(bars.iter().min_by(by_value)), said(bars.iter().max_by(by_value)));
        let head = std::iter::once("group".to_owned()).chain(sets.iter().map(|(name, _)| format!("typical {name}")));
        let rows = (0..self.order.len()).map(|at| {
            let label = self.names[self.order[at]].clone();
            std::iter::once(label).chain(sets.iter().map(|(_, bars)| figure(bars[at].value))).collect()
        });
        Figure {
            title: format!("Typical {name}: from {least} to {most}"),
            note: "The typical customer (median) of each group, groups by size, each feature with its own scale."
                .into(),
            sample: many(self.len(), "customer"),
            head: head.collect(),
            rows: rows.collect(),
            plot: Plot::Multiples(sets),
            ..Figure::default()
        }
    }
}

fn side(z: f64) -> &'static str {
    match z {
        z if z >= 1.25 => "far above",
        z if z > 0.0 => "above",
        z if z > -1.25 => "below",
        _ => "far below",
    }
}
