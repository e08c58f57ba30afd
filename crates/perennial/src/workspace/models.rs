//! Models in force: publishing one, asking it about everybody, and asking again when orders change.
//!
//! Promise: a score is recorded when it is first said, in a block of many customers after a training
//! or beside the order that changed it, and a refold takes it from there and asks no model. Blocks are
//! short, so that intake goes on between them; a round that was cut off goes on after a restart.
//! Absent on purpose: training, which happens elsewhere and hands in what came out.

use std::collections::BTreeMap;
use std::sync::Arc;

use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::event::Body;
use perennial_core::fact::Fact;
use perennial_core::id::CustomerId;
use perennial_core::input::{Entry, Input, Publication, Published};
use perennial_core::program::Program;
use perennial_core::rules::Rules;
use perennial_core::score::{Basis, Model, ModelKind, Score, ScoreName, Scored};
use perennial_core::time::Timestamp;
use perennial_core::value::Value;
use perennial_store::{Failure, State};
use serde_json::Value as Json;

use super::answers::json;
use super::{Who, Workspace, rows};
use crate::models::clusters::Part;
use crate::models::newcomers::Arrivals;
use crate::models::shelf::{Bought, Shelf};
use crate::models::{Ready, history, value};
use crate::view::{ClusterView, PartView, ScoresView, ValueView};

/// Lines of a customer's orders that a recommendation looks at.
const HISTORY_MAX: usize = 500;

/// A chance that moves by so many millionths is written down anew: one in a hundred.
const MOVED: u32 = 10_000;

/// The models in force, one of each kind at most.
#[derive(Default)]
pub(super) struct Models {
    held: BTreeMap<ModelKind, Held>,
    shelf: Arc<Shelf>,
    /// The latest order that the shop has shown since the training, as far as this process saw.
    shown: Option<Timestamp>,
}

/// A model in force.
#[derive(Clone, Debug)]
pub struct Held {
    /// The entry that published it.
    pub seq: u64,
    /// When that was.
    pub published_at: Timestamp,
    /// What it was trained on and how good it is; without its body.
    pub about: Model,
    /// The model, ready to be asked.
    pub ready: Ready,
    /// Everybody was scored.
    scored: bool,
}

impl Models {
    fn hold(&mut self, seq: u64, published_at: Timestamp, model: &Model, scored: bool) {
        let ready = Ready::of(model);
        if let Ready::Recommend(shop) = &ready {
            self.shelf.put(model.version, published_at, shop.clone());
        }
        let scored = scored || model.kind == ModelKind::Recommend; // It says nothing of customers.
        let about = Model { body: Box::default(), ..model.clone() };
        self.held.insert(model.kind, Held { seq, published_at, about, ready, scored });
    }

    /// Forgets everything before memory is made again.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.shelf.clear();
    }

    /// Somebody was erased: past visits are read again without theirs.
    pub(super) fn forget_visits(&self) {
        self.shelf.forget_visits();
    }

    /// When products came to the catalogue.
    pub(super) fn arrivals(&self) -> Arrivals {
        self.shelf.arrivals()
    }

    /// What a checkpoint keeps: the entries that published the models, and whose rounds are done.
    pub(super) fn kept(&self) -> Vec<(u64, bool)> {
        self.held.values().map(|held| (held.seq, held.scored)).collect()
    }

    /// What the models in force, as far as the programme wants them, say of a customer as of an instant.
    pub(super) fn ask(&self, rules: &Rules, customer: &Customer, at: Timestamp) -> Vec<Scored> {
        let wanted = |kind| rules.latest().is_some_and(|e| e.program.models.contains_key(kind));
        let mut held = self.held.iter().filter(|(kind, _)| wanted(kind)).peekable();
        let basis = held.peek().and_then(|_| history::basis(customer, at));
        held.filter_map(|(_, held)| held.score(customer, basis, at)).collect()
    }
}

impl Held {
    /// What the model says of a customer of whom so much is known as of an instant.
    fn score(&self, customer: &Customer, basis: Option<Basis>, at: Timestamp) -> Option<Scored> {
        let (version, at) = (self.about.version, at.max(self.about.until));
        match basis {
            Some(basis) => self.ready.score(version, Basis { at: basis.at.max(at), ..basis }),
            // All of it was given back: what was said of it holds no more.
            None => customer.score(self.about.kind).and_then(|_| self.ready.gone(version, at)),
        }
    }
}

/// A page of customers as the last checkpoint holds them, in the order of their ids.
///
/// # Errors
/// The store's failure.
pub(crate) fn customers(state: &State, after: Option<CustomerId>, limit: usize) -> Result<Vec<Customer>, Failure> {
    state.customers(after, limit)?.iter().map(rows::decode).collect()
}

/// Where a round of scoring goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Those whom no checkpoint held when the round began, and who were not asked about yet. They have no place
    /// in the order of its pages.
    unwritten: Vec<CustomerId>,
    after: Option<CustomerId>,
}

/// How far a round of scoring is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Round {
    /// It goes on from here.
    From(Mark),
    /// Everybody is scored.
    Done,
}

impl Workspace {
    /// Whether there is a customer at all, in memory or in the last checkpoint.
    ///
    /// # Errors
    /// The store's failure.
    pub fn knows_anybody(&self) -> Result<bool, Failure> {
        Ok(self.warm.find(|_| true).is_some() || !self.state().customers(None, 1)?.is_empty())
    }

    /// The model of a kind in force.
    pub fn model(&self, kind: ModelKind) -> Option<&Held> {
        self.models.held.get(&kind)
    }

    /// Where recommendations are served from.
    pub fn shelf(&self) -> Arc<Shelf> {
        self.models.shelf.clone()
    }

    /// Puts a trained model in force. Everybody is scored in a round of [`Workspace::score_some`].
    ///
    /// # Errors
    /// The store's failure.
    pub fn publish_model(&mut self, now: Timestamp, by: &str, model: Model) -> Result<(), Failure> {
        self.ready(now)?;
        self.publication(by, Published::Model(Box::new(model)))
    }

    /// Whether a model in force has not been asked about everybody yet.
    pub fn owes_scores(&self) -> bool {
        self.models.held.values().any(|held| !held.scored)
    }

    /// Asks the models in force about up to `limit` customers from a mark on, and writes down in one block
    /// what is news. An empty block ends the round.
    ///
    /// # Errors
    /// The store's failure.
    pub fn score_some(&mut self, now: Timestamp, from: Option<Mark>, limit: usize) -> Result<Round, Failure> {
        self.round(now, from, limit, Self::news_of)
    }

    /// As [`Workspace::score_some`], as of the latest order that the shop has shown: who orders no more is
    /// less and less likely to come again, without a training. A score is written down when it has moved by
    /// a hundredth.
    ///
    /// # Errors
    /// The store's failure.
    pub fn age_some(&mut self, now: Timestamp, from: Option<Mark>, limit: usize) -> Result<Round, Failure> {
        self.round(now, from, limit, Self::aged)
    }

    fn round(
        &mut self,
        now: Timestamp,
        from: Option<Mark>,
        limit: usize,
        news_of: fn(&Self, &Customer) -> Vec<Scored>,
    ) -> Result<Round, Failure> {
        self.ready(now)?;
        let mut mark = from.unwrap_or_else(|| {
            let mut unwritten: Vec<CustomerId> = self.warm.unwritten().map(|customer| customer.id).collect();
            unwritten.sort_unstable_by(|a, b| b.cmp(a)); // They are taken from the end.
            Mark { unwritten, after: None }
        });
        let mut ids = mark.unwritten.split_off(mark.unwritten.len().saturating_sub(limit));
        if ids.is_empty() {
            ids.extend(self.state.customers(mark.after, limit)?.iter().map(|row| row.id));
            mark.after = ids.last().copied();
        }
        let is_done = ids.is_empty();
        self.push_block(ids, news_of)?;
        if is_done {
            self.push_scores(Vec::new());
            self.models.held.values_mut().for_each(|held| held.scored = true);
            self.changed.counters = true;
        }
        self.commit()?;
        Ok(if is_done { Round::Done } else { Round::From(mark) })
    }

    /// Asks the models in force about these customers, whatever was said of them before.
    pub(super) fn ask_again(&mut self, ids: Vec<CustomerId>) -> Result<(), Failure> {
        let now = self.now;
        self.push_block(ids, |workspace, customer| workspace.models.ask(&workspace.rules, customer, now))
    }

    /// Writes down what a model is to have said of a customer: for stories, which train no models.
    ///
    /// # Errors
    /// The store's failure.
    pub fn say_score(&mut self, now: Timestamp, id: CustomerId, score: &Score) -> Result<(), Failure> {
        self.ready(now)?;
        let at = self.now;
        let nothing = Basis { at, orders: 0, first: at, last: at, spend: 0 };
        self.push_block(vec![id], |_, customer| {
            let basis = history::basis(customer, at).unwrap_or(nothing);
            vec![Scored { version: 1, basis, score: score.clone() }]
        })?;
        self.commit()
    }

    /// Gives these customers their news, and adds one block of it to the batch.
    fn push_block(
        &mut self,
        ids: Vec<CustomerId>,
        news_of: impl Fn(&Self, &Customer) -> Vec<Scored>,
    ) -> Result<(), Failure> {
        for id in &ids {
            self.wake(*id, self.now)?;
        }
        let seq = self.next_seq;
        let mut rows = Vec::new();
        for id in ids {
            let Some(mut customer) = self.warm.take(id)? else { continue };
            let news = news_of(self, &customer);
            for scored in &news {
                engine::take_score(&self.rules, &mut customer, self.now, scored);
                customer.folded = seq;
            }
            self.warm.put(customer, !news.is_empty());
            rows.extend(news.into_iter().map(|scored| (id, scored)));
        }
        if !rows.is_empty() {
            self.push_scores(rows);
        }
        Ok(())
    }

    /// What the models in force say that was not said of the customer yet.
    fn news_of(&self, customer: &Customer) -> Vec<Scored> {
        let news = |scored: &Scored| customer.score(scored.kind()).is_none_or(|old| old.version < scored.version);
        let mut said = self.models.ask(&self.rules, customer, Timestamp::EPOCH);
        said.retain(news);
        said
    }

    /// What the models in force say as of the shop's latest order, where it is news or has moved.
    fn aged(&self, customer: &Customer) -> Vec<Scored> {
        let at = self.models.shown.unwrap_or(Timestamp::EPOCH);
        let news = |new: &Scored| {
            let old = customer.score(new.kind());
            old.is_none_or(|old| old.version < new.version || has_moved(&old.score, &new.score))
        };
        let mut said = self.models.ask(&self.rules, customer, at);
        said.retain(news);
        said
    }

    fn push_scores(&mut self, rows: Vec<(CustomerId, Scored)>) {
        let publication = Publication { at: self.now, by: "models".into(), what: Published::Scores(rows) };
        self.push(None, None, Input::Published(Box::new(publication)), Vec::new());
    }

    /// Puts a publication in force, whichever it is; scores are for customers.
    pub(super) fn put_in_force(&mut self, seq: u64, news: &Publication) -> Result<(), Failure> {
        match &news.what {
            Published::Model(model) => self.models.hold(seq, news.at, model, false),
            Published::Scores(rows) if rows.is_empty() => {
                self.models.held.values_mut().for_each(|held| held.scored = true);
            }
            Published::Scores(_) => {}
            _ => super::tail::publish(&mut self.rules, &mut self.sources, seq, news)?,
        }
        if let Published::Catalog(products) = &news.what {
            self.models.shelf.learn(products.iter(), news.at);
        }
        Ok(())
    }

    /// Takes over a block of scores from the journal.
    pub(super) fn refold_scores(
        &mut self,
        seq: u64,
        at: Timestamp,
        rows: &[(CustomerId, Scored)],
    ) -> Result<(), Failure> {
        for (id, scored) in rows {
            let Some(mut customer) = self.warm.take(*id)? else { continue };
            // A customer may stand in a block twice, once for each model.
            let known =
                customer.folded > seq || (customer.folded == seq && customer.score(scored.kind()) == Some(scored));
            if !known {
                self.follow_latest(&mut customer, seq)?;
                engine::take_score(&self.rules, &mut customer, at, scored);
                customer.folded = seq;
            }
            self.warm.put(customer, !known);
        }
        Ok(())
    }

    /// The models that a checkpoint names, from the entries that published them, and the catalogue.
    pub(super) fn take_models_over(&mut self, kept: &[(u64, bool)], arrivals: Option<Arrivals>) -> Result<(), Failure> {
        for (seq, scored) in kept {
            let entry = self.journal.reader().entry(*seq)?;
            if let Some(Entry { input: Some(Input::Published(news)), .. }) = entry
                && let Published::Model(model) = &news.what
            {
                self.models.hold(*seq, news.at, model, *scored);
            }
        }
        self.models.shelf.take_over(self.rules.catalog.iter(), arrivals);
        Ok(())
    }

    /// Counts an order that was just booked, for what is in demand, and notes that the shop is alive.
    pub(super) fn count_demand(&mut self) {
        let Some(entry) = self.batch.last() else { return };
        let (Some(items), Some(Input::Event(event))) = (ordered(entry), &entry.input) else { return };
        self.models.shown = self.models.shown.max(Some(event.at.min(self.now)));
        if self.rules.latest().is_some_and(|e| e.program.models.contains_key(&ModelKind::Recommend)) {
            self.models.shelf.observe(items);
        }
    }

    /// What a customer's standing orders hold, the latest of it when that is much.
    ///
    /// # Errors
    /// The store's failure.
    pub fn bought(&mut self, now: Timestamp, who: &Who) -> Result<Option<Bought>, Failure> {
        let found = self.current(now, who)?;
        Ok(found.and_then(|id| self.warm.peek(id)).map(bought_by))
    }

    /// The same, if it can be had at once; none says nothing.
    pub fn bought_at_once(&self, now: Timestamp, who: &Who) -> Option<Bought> {
        self.at_hand(now, who).map(bought_by)
    }
}

/// What the standing orders of a customer hold, oldest first.
fn bought_by(customer: &Customer) -> Bought {
    let mut orders: Vec<_> = customer.orders.iter().filter(|order| order.stands()).collect();
    orders.sort_by_key(|order| order.at);
    let mut bought = Bought::default();
    for order in orders {
        let at = history::days(order.at);
        let kept = order.lines.iter().filter(|line| !line.pieces.is_zero());
        kept.for_each(|line| bought.push(&line.product_id, at));
    }
    bought.keep_latest(HISTORY_MAX);
    bought
}

impl Workspace {
    /// What models say of a customer, with the reason as far as the model that said it is in force.
    pub(super) fn scores_view(&self, program: &Program, customer: &Customer) -> ScoresView {
        let wanted = |kind: ModelKind| customer.score(kind).filter(|_| program.models.contains_key(&kind));
        ScoresView {
            value: wanted(ModelKind::Value).and_then(|scored| self.value_view(program, customer, scored)),
            cluster: wanted(ModelKind::Clusters).and_then(|scored| self.cluster_view(program, scored)),
        }
    }

    /// The model that said something, while it is in force.
    fn who_said(&self, scored: &Scored) -> Option<&Ready> {
        self.model(scored.kind()).filter(|held| held.about.version == scored.version).map(|held| &held.ready)
    }

    fn value_view(&self, program: &Program, customer: &Customer, scored: &Scored) -> Option<ValueView> {
        let Score::Value { next_purchase, .. } = &scored.score else { return None };
        let money = |minor| json(&Value::Number(program.currency.major(minor)));
        let said = |name: ScoreName| json(&name.of(customer, program.currency));
        let range = match self.who_said(scored) {
            Some(Ready::Value(model)) => Some(model.range(&scored.basis)),
            _ => None,
        };
        Some(ValueView {
            clv_12m: said(ScoreName::Clv12m),
            clv_12m_low: range.map_or(Json::Null, |(low, _)| money(low)),
            clv_12m_high: range.map_or(Json::Null, |(_, high)| money(high)),
            currency: program.currency.code().into(),
            p_alive: said(ScoreName::PAlive),
            churn_risk: said(ScoreName::ChurnRisk),
            next_purchase: next_purchase.map(|at| at.to_string()),
            model: scored.version,
            as_of: scored.basis.at.to_string(),
            reason: value::reason(&scored.basis),
        })
    }

    fn cluster_view(&self, program: &Program, scored: &Scored) -> Option<ClusterView> {
        let Score::Cluster { name } = &scored.score else { return None };
        let why = match self.who_said(scored) {
            Some(Ready::Clusters(model)) => model.parts(&scored.basis),
            _ => None,
        };
        let (parts, next) = why.map_or((Vec::new(), None), |(parts, next)| (parts, Some(next.to_owned())));
        let lead: f64 = parts.iter().map(|part| part.weight).sum();
        let minor = 10f64.powi(i32::try_from(program.currency.exponent()).unwrap_or(0));
        let view = |part: Part| PartView {
            feature: part.feature.into(),
            value: hundredths(if part.money { part.value / minor } else { part.value }),
            weight: hundredths(100.0 * part.weight / lead.max(f64::MIN_POSITIVE)),
        };
        Some(ClusterView {
            name: name.to_string(),
            model: scored.version,
            as_of: scored.basis.at.to_string(),
            next,
            because: parts.into_iter().map(view).collect(),
        })
    }
}

/// Figures for people have two decimals.
fn hundredths(n: f64) -> f64 {
    (n * 100.0).round() / 100.0
}

/// Whether a chance of value has moved enough to be written down.
fn has_moved(old: &Score, new: &Score) -> bool {
    match (old, new) {
        (
            Score::Value { p_alive: alive, churn_risk: risk, .. },
            Score::Value { p_alive: now_alive, churn_risk: now_risk, .. },
        ) => alive.abs_diff(*now_alive) >= MOVED || risk.abs_diff(*now_risk) >= MOVED,
        _ => false,
    }
}

/// The items of an entry that booked an order.
pub(crate) fn ordered(entry: &Entry) -> Option<impl Iterator<Item = &str>> {
    let Some(Input::Event(event)) = &entry.input else { return None };
    let Body::Ordered(order) = &event.body else { return None };
    let booked = entry.outcome.iter().any(|fact| matches!(fact, Fact::Booked(_)));
    booked.then(|| order.lines.iter().map(|line| &*line.product_id))
}
