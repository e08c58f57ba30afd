//! What the values of customers say: the chapter of a page.

use perennial_learn::lifetime::{Model, RepeatBuying, gamma_gamma, value::discounted_purchases};

use super::{Foresight, Money, Study, name, weeks};
use crate::learn::dates::date_of;
use crate::learn::page::{Bar, Chapter, Figure, Line, Plot, Point};
use crate::learn::words::{count, figure, headline as rough, many, percent, short};

/// Customers of a group whose values tell the interval of the group's mean.
const SAMPLE: usize = 300;
/// Months of the past that are drawn.
const PAST_MONTHS: i64 = 12;
/// Days of a month as the models count them.
const MONTH: f64 = 30.415;
/// Fewer customers than this have no best tenth worth a word.
const FEW: usize = 20;
/// Fewer customers than this teach a model little.
const ROUGH: usize = 100;
/// Customers listed by name.
const LISTED: usize = 20;
const LISTING: [&str; 8] = [
    "customer",
    "value",
    "orders expected",
    "range",
    "still active",
    "last order",
    "spent so far",
    "days to next order",
];

const WORDS: [(&str, &str); 4] = [
    (
        "value",
        "Money a customer is expected to spend in the months to come: expected orders times expected order value, later months discounted. Without costs, and without what was spent before.",
    ),
    (
        "still active",
        "The chance that a customer has not left for good. It is no grade: who buys once a year and was last seen six months ago may be fully active.",
    ),
    (
        "range",
        "Orders lie within it for four customers of five, if the model is right. The validation says how often they did.",
    ),
    (
        "interval",
        "Where a mean lies with 95 % certainty as far as the model's parameters are known; what single customers then do varies more.",
    ),
];

impl Study<'_> {
    /// Customers by what they are worth, the best first.
    fn ranked(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|&a, &b| self.worth(&self.rows[b]).total_cmp(&self.worth(&self.rows[a])));
        order
    }

    /// The word for what is counted.
    fn what(&self) -> &'static str {
        if self.has_money() { "value" } else { "orders" }
    }

    /// Everything about values, for a page.
    pub(in crate::learn) fn chapter(&self) -> Chapter {
        let order = self.ranked();
        let total: f64 = self.rows.iter().map(|row| self.worth(row)).sum();
        let best = &order[..order.len().div_ceil(10)];
        let share = best.iter().map(|&at| self.worth(&self.rows[at])).sum::<f64>() / total.max(1e-12);
        let (customers, months) = (many(order.len(), "customer"), many(self.horizon.periods as usize, "month"));
        let finding = if order.len() < FEW {
            format!("{customers} will bring {} of {} in the next {months}", figure(total), self.what())
        } else {
            let what = self.what();
            format!(
                "The best tenth of {customers} will bring {} of the {what} expected in the next {months}",
                percent(share)
            )
        };
        let mut told = vec![self.total_sentence(total)];
        if order.len() < ROUGH {
            told.push(format!("{customers} are few to learn from: take everything here as a rough guess."));
        }
        told.extend(self.nobody_leaves());
        let mut figures = vec![self.tenths(&order), self.months()];
        match &self.foresight {
            Ok(foresight) => {
                told.push(foresight.sentence());
                told.extend(foresight.caution());
                figures.push(foresight.figure());
            }
            Err(why) => told.push(format!("Validation was not possible: {why}.")),
        }
        figures.push(self.best(&order));
        figures.extend(self.slipping());
        Chapter { name: "Value", finding, told, figures, words: WORDS.to_vec(), how: self.how() }
    }

    /// A caution where the model takes everybody for active, however long they were silent.
    fn nobody_leaves(&self) -> Option<String> {
        let least = self.rows.iter().map(|row| row.alive).fold(1.0, f64::min);
        (least > 0.99).then(|| {
            "No sign of customers leaving for good: whoever paused came back often enough, so that everybody counts as active (p_alive near 1), and silence shows in fewer expected orders and more days to the next one. A longer history tells more.".into()
        })
    }

    /// What all customers are worth, to go after their number.
    pub(in crate::learn) fn headline(&self) -> String {
        let total: f64 = self.rows.iter().map(|row| self.worth(row)).sum();
        let months = many(self.horizon.periods as usize, "month");
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let (_, interval) = self.mean(&all);
        #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
        let n = self.rows.len() as f64;
        let range =
            interval.map_or(String::new(), |(low, high)| format!(" ({} to {})", rough(n * low), rough(n * high)));
        if self.has_money() {
            let are = if self.rows.len() == 1 { "is" } else { "are" };
            format!("{are} worth {}{range} in the next {months}", rough(total))
        } else {
            format!("will order {} times{range} in the next {months}", figure(total))
        }
    }

    fn total_sentence(&self, total: f64) -> String {
        let months = many(self.horizon.periods as usize, "month");
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let (mean, interval) = self.mean(&all);
        let range = interval
            .map_or(String::new(), |(low, high)| format!(" (95 % interval {} to {})", figure(low), figure(high)));
        let what = if self.has_money() { "worth" } else { "expected to order" };
        let times = if self.has_money() { "" } else { " times" };
        format!(
            "Today's customers together are {what} {}{times} in the next {months}, {}{times} each on average{range}. New customers come on top.",
            figure(total),
            figure(mean)
        )
    }

    /// How it was reckoned.
    fn how(&self) -> Vec<String> {
        let others: Vec<String> =
            self.fits.iter().map(|fit| format!("{} {:.1}", name(&fit.model), fit.log_likelihood)).collect();
        let mut how =
            vec![format!("Chosen: {} (log-likelihood, higher is better: {}).", name(self.model()), others.join(", "))];
        match &self.money {
            Money::None => how.push("There is no column of amounts (see --amount), so there are expected orders but no money.".into()),
            Money::Mean(mean) => how.push(format!("The amounts do not tell customers apart, so that everybody is taken to spend the mean of {} per order.", figure(*mean))),
            Money::Model(_) => {
                how.push(format!("Order values: Gamma-Gamma; later months are discounted by {} a month.", percent(self.horizon.discount)));
                let r = gamma_gamma::correlation(&self.summary.spend).filter(|r| r.abs() > 0.3);
                how.extend(r.map(|r| format!("Frequent customers spend {} per order (correlation {r:.2}); the model takes both as unrelated, so read the values of extreme customers with care.", if r > 0.0 { "more" } else { "less" })));
            }
        }
        how
    }

    /// The mean worth of some customers, with its interval from the uncertainty of all parameters.
    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    pub(in crate::learn) fn mean(&self, members: &[usize]) -> (f64, Option<(f64, f64)>) {
        let n = members.len().max(1) as f64;
        let mean = members.iter().map(|&at| self.worth(&self.rows[at])).sum::<f64>() / n;
        let picked: Vec<usize> = members.iter().copied().step_by(members.len().div_ceil(SAMPLE).max(1)).collect();
        let count = picked.len().max(1) as f64;
        let orders = |model: &Model, at: usize| {
            let customer = self.summary.purchases[at];
            if self.has_money() {
                discounted_purchases(model, customer, self.horizon)
            } else {
                model.expected_purchases(customer, weeks(self.horizon))
            }
        };
        let spend = |at: usize| if self.has_money() { self.rows[at].spend } else { 1.0 };
        let of_orders =
            self.standard_error(|model| picked.iter().map(|&at| orders(model, at) * spend(at)).sum::<f64>() / count);
        let of_spend = match &self.money {
            Money::Model(fit) => {
                let known: Vec<f64> = picked.iter().map(|&at| orders(self.model(), at)).collect();
                fit.standard_error_of(|money| {
                    let each = picked.iter().zip(&known);
                    each.map(|(&at, orders)| orders * money.expected_spend(self.summary.spend[at])).sum::<f64>() / count
                })
            }
            _ => Some(0.0),
        };
        let interval = of_orders.zip(of_spend).map(|(a, b)| 1.96 * a.hypot(b)).filter(|half| half.is_finite());
        (mean, interval.map(|half| ((mean - half).max(0.0), mean + half)))
    }

    /// The standard error of an answer of the chosen model: from the curvature of its likelihood, or,
    /// where that is flat, from models of customers drawn anew.
    fn standard_error(&self, answer: impl Fn(&Model) -> f64) -> Option<f64> {
        let fit = &self.fits[0];
        let known = match fit.model {
            Model::Bgnbd(m) => fit.clone().map(|_| m).standard_error_of(|m| answer(&Model::Bgnbd(*m))),
            Model::Mbgnbd(m) => fit.clone().map(|_| m).standard_error_of(|m| answer(&Model::Mbgnbd(*m))),
            Model::Pareto(m) => fit.clone().map(|_| m).standard_error_of(|m| answer(&Model::Pareto(*m))),
        };
        known.or_else(|| spread(&self.redrawn.iter().map(answer).collect::<Vec<_>>()))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    fn tenths(&self, order: &[usize]) -> Figure {
        let total: f64 = self.rows.iter().map(|row| self.worth(row)).sum::<f64>().max(1e-12);
        let count = order.len().min(10);
        let part = |i: usize| &order[i * order.len() / count..(i + 1) * order.len() / count];
        let label = |i: usize| match i {
            0 if count == 10 => "best tenth".to_owned(),
            _ if i + 1 == count && count == 10 => "last tenth".to_owned(),
            _ => format!("{}.", i + 1),
        };
        let (mut bars, mut rows, mut reached, mut half) = (Vec::new(), Vec::new(), 0.0, count);
        for i in 0..count {
            let (mean, interval) = self.mean(part(i));
            let share = mean * part(i).len() as f64 / total;
            if reached < 0.5 && reached + share >= 0.5 {
                half = i + 1;
            }
            reached += share;
            let (low, high) = interval.unwrap_or((f64::NAN, f64::NAN));
            rows.push(vec![
                label(i),
                figure(part(i).len() as f64),
                figure(mean),
                figure(low),
                figure(high),
                percent(share),
                percent(reached),
            ]);
            bars.push(Bar { label: label(i), value: mean, interval });
        }
        let what = self.what();
        Figure {
            title: format!("Half of the expected {what} comes from {half} in {count} customers"),
            note: format!(
                "Mean {what} per customer in the next {} months, customers sorted into tenths by it. The line is the 95 % interval.",
                self.horizon.periods
            ),
            sample: many(order.len(), "customer"),
            plot: Plot::Bars(bars),
            head: ["customers", "how many", "mean", "low", "high", "share", "share so far"].map(String::from).to_vec(),
            rows,
            ..Figure::default()
        }
    }

    /// Orders per month: those of the past, and those expected of today's customers.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "days and counts")]
    fn months(&self) -> Figure {
        let (first, last) = self.history.span();
        let length = ((last - first + 1) as f64 / MONTH).floor() as i64;
        let months = length.clamp(1, PAST_MONTHS);
        let start = |back: i64| last + 1 - (back as f64 * MONTH).round() as i64;
        // Named after its middle: a stretch from 31 March to 29 April is April.
        let name = |back: i64| date_of(start(back).midpoint(start(back - 1)))[..7].to_owned();
        let past: Vec<(String, f64)> = (1..=months)
            .rev()
            .map(|back| {
                let days = start(back)..start(back - 1);
                let count = self.history.occasions.iter().filter(|o| days.contains(&o.day)).count();
                (name(back), count as f64)
            })
            .collect();
        let coming: Vec<Bar> = (1..=self.horizon.periods)
            .map(|month| {
                let (value, half) = self.expected_in(month);
                Bar {
                    label: name(1 - i64::from(month)),
                    value,
                    interval: Some(((value - half).max(0.0), value + half)),
                }
            })
            .collect();
        let sum: f64 = coming.iter().map(|bar| bar.value).sum();
        let mut rows: Vec<Vec<String>> = past
            .iter()
            .map(|(label, count)| vec![label.clone(), "was".into(), figure(*count), String::new(), String::new()])
            .collect();
        rows.extend(coming.iter().map(|bar| {
            let (low, high) = bar.interval.unwrap_or_default();
            vec![bar.label.clone(), "expected".into(), figure(bar.value), figure(low), figure(high)]
        }));
        Figure {
            title: format!("Today's customers are expected to order {} times in the next {} months", figure(sum), self.horizon.periods),
            note: "Days with a purchase, a month at a time, back from the last day of the table. Filled: what was. Outlined: expected of customers who are known today, with 95 % intervals; new customers come on top.".into(),
            sample: many(self.history.occasions.len(), "purchase day"),
            plot: Plot::Columns { axis: "purchase days per month", past, coming },
            head: ["month", "what", "purchase days", "low", "high"].map(String::from).to_vec(),
            rows,
            ..Figure::default()
        }
    }

    /// Purchases expected in one month to come, and half the width of their interval.
    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    fn expected_in(&self, month: u32) -> (f64, f64) {
        let count = self.rows.len();
        let every = count.div_ceil(10 * SAMPLE).max(1);
        let picked: Vec<usize> = (0..count).step_by(every).collect();
        let factor = count as f64 / picked.len() as f64;
        let (from, until) = (f64::from(month - 1) * self.horizon.length, f64::from(month) * self.horizon.length);
        let sum = |model: &Model| {
            let one = |&at: &usize| {
                let customer = self.summary.purchases[at];
                model.expected_purchases(customer, until) - model.expected_purchases(customer, from)
            };
            factor * picked.iter().map(one).sum::<f64>()
        };
        let expected = sum(self.model());
        let error = self.standard_error(sum).unwrap_or(0.0);
        (expected, 1.96 * (error * error + expected.max(0.0)).sqrt())
    }

    /// When customers are expected to order next.
    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    pub(in crate::learn) fn when(&self) -> Figure {
        let ends = [7.0, 30.0, 90.0, 180.0, 365.0];
        let labels = [
            "within a week",
            "within a month",
            "in 1 to 3 months",
            "in 3 to 6 months",
            "in 6 to 12 months",
            "later",
            "probably never",
        ];
        let mut counts = [0_usize; 7];
        for row in &self.rows {
            let at = row.next_days.map_or(6, |days| ends.iter().position(|end| days <= *end).unwrap_or(5));
            counts[at] += 1;
        }
        let soon = (counts[0] + counts[1]) as f64 / self.rows.len().max(1) as f64;
        let bars = labels.into_iter().zip(counts).map(|(label, n)| Bar {
            label: label.into(),
            value: n as f64,
            interval: None,
        });
        Figure {
            title: format!("{} of customers are likelier than not to order within a month", percent(soon)),
            note: "Customers by the time within which their next order is likelier than not to have come; \"probably never\" have more likely left than not.".into(),
            sample: many(self.rows.len(), "customer"),
            plot: Plot::Bars(bars.collect()),
            head: ["next order", "customers"].map(String::from).to_vec(),
            rows: labels.into_iter().zip(counts).map(|(label, n)| vec![label.to_owned(), count(n)]).collect(),
            ..Figure::default()
        }
    }

    /// The customers worth most, by name.
    fn best(&self, order: &[usize]) -> Figure {
        let rows = order.iter().take(LISTED).map(|&at| self.listed(at)).collect();
        let what = self.what();
        Figure::table(
            format!("The {} customers with the highest expected {what}", order.len().min(LISTED)),
            "Look after these first. The table beside the page lists all customers.",
            &LISTING,
            rows,
        )
    }

    fn listed(&self, at: usize) -> Vec<String> {
        let row = &self.rows[at];
        let (_, last, _, spent) = self.seen[self.number(at)];
        vec![
            self.name(at).to_owned(),
            figure(row.value),
            figure(row.expected),
            format!("{} to {}", row.range.0, row.range.1),
            percent(row.alive),
            date_of(last),
            if self.has_money() { figure(spent) } else { String::new() },
            row.next_days.map_or("-".into(), |days| figure(days.ceil())),
        ]
    }

    /// Good customers who have probably left.
    fn slipping(&self) -> Option<Figure> {
        let spent = |at: usize| self.seen[self.number(at)].3;
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|&a, &b| spent(b).total_cmp(&spent(a)));
        order.truncate(order.len().div_ceil(5));
        let fifth = order.len();
        order.retain(|&at| self.rows[at].alive < 0.5);
        if order.is_empty() {
            return None;
        }
        let title = format!(
            "{} of the {} who bought most so far have probably left",
            many(order.len(), "customer"),
            count(fifth)
        );
        let rows = order.iter().take(LISTED).map(|&at| self.listed(at)).collect();
        Some(Figure::table(
            title,
            "The fifth of customers with the highest past purchases, of whom it is likelier that they left than that they are still active; those who bought most come first. These are worth winning back.",
            &LISTING,
            rows,
        ))
    }
}

/// The standard deviation of some answers; nothing when there are too few to tell.
#[expect(clippy::cast_precision_loss, reason = "a few answers")]
fn spread(answers: &[f64]) -> Option<f64> {
    let n = answers.len() as f64;
    let mean = answers.iter().sum::<f64>() / n;
    let squares = answers.iter().map(|answer| (answer - mean).powi(2)).sum::<f64>();
    (answers.len() > 5).then(|| (squares / (n - 1.0)).sqrt())
}

impl Foresight {
    /// How far the forecast was off, as a share of what came.
    fn off(&self) -> f64 {
        self.errors.predicted / self.errors.actual.max(1e-12) - 1.0
    }

    fn sentence(&self) -> String {
        let e = &self.errors;
        let along =
            if e.correlation.is_finite() { format!(" (correlation {:.2})", e.correlation) } else { String::new() };
        format!(
            "Validation: {}, taught by the time until {}, foretold {} purchases for the rest, which it had not seen; {} came. Per customer it erred by {} on average{along}, and {} bought as often as their 80 % range said.",
            self.model,
            date_of(self.from),
            figure(e.predicted.round()),
            figure(e.actual),
            figure(e.mae),
            percent(self.held)
        )
    }

    /// What to make of a forecast that was far off.
    fn caution(&self) -> Option<String> {
        (self.off().abs() > 0.2).then(|| {
            format!(
                "The hidden purchases were {} than foretold: trust the order of customers more than the sums. A season in the hidden time, or a table that ends early, may be why.",
                if self.off() < 0.0 { "more" } else { "fewer" }
            )
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "eight classes")]
    fn figure(&self) -> Figure {
        let off = self.off();
        let title = if off.abs() < 0.05 {
            format!("Purchases hidden from the model were foretold to within {}", percent(off.abs().max(0.01)))
        } else {
            format!(
                "Purchases hidden from the model were foretold {} too {}",
                percent(off.abs()),
                if off < 0.0 { "low" } else { "high" }
            )
        };
        let foretold = |(i, c): (usize, &super::Class)| Point { x: i as f64, y: c.foretold, interval: None };
        let came = |(i, c): (usize, &super::Class)| {
            let half = 1.96 * c.error;
            Point { x: i as f64, y: c.came, interval: Some(((c.came - half).max(0.0), c.came + half)) }
        };
        let lines = vec![
            Line { label: "came", reference: false, points: self.classes.iter().enumerate().map(came).collect() },
            Line {
                label: "foretold",
                reference: true,
                points: self.classes.iter().enumerate().map(foretold).collect(),
            },
        ];
        let places = self.classes.iter().enumerate().map(|(i, c)| (i as f64, c.label.clone())).collect();
        let rows = self.classes.iter().map(|c| {
            let half = 1.96 * c.error;
            vec![
                c.label.clone(),
                figure(c.customers as f64),
                short(c.foretold),
                short(c.came),
                short((c.came - half).max(0.0)),
                short(c.came + half),
            ]
        });
        Figure {
            title,
            note: format!(
                "Mean purchases per customer after {}, by repeat purchases until then. Line: what came, with 95 % intervals. Dashed: what was foretold.",
                date_of(self.from)
            ),
            sample: many(self.customers, "customer"),
            plot: Plot::Lines { axes: ["repeat purchases until then", "purchases per customer after"], places, lines },
            head: ["repeat purchases", "customers", "foretold", "came", "low", "high"].map(String::from).to_vec(),
            rows: rows.collect(),
            ..Figure::default()
        }
    }
}
