//! The automatic choice: tries the methods that suit a task, climbs their settings one at a time on
//! held-out questions, and weighs the best of each kind into a blend.

use super::{
    Effort, Error, Halt, Task,
    als::Als,
    blend::Pool,
    ease::Ease,
    fading::Fading,
    item_item::Neighbours,
    method::{Method, Settings},
    next_basket::NextBasket,
    session::SessionNeighbours,
    validate::Validation,
};
use serde::{Deserialize, Serialize};

/// A method that was tried, and its quality on held-out questions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The method and its settings.
    pub settings: Settings,
    /// Mean NDCG at the task's depth.
    pub value: f64,
}

/// What was chosen, and the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The methods of the blend with their weights.
    pub blend: Vec<(Settings, f32)>,
    /// Whether each question's scores are scaled on their own before they are weighted.
    pub own_scale: bool,
    /// Quality of the blend on held-out questions.
    pub value: f64,
    /// Number of held-out questions.
    pub questions: usize,
    /// Everything that was tried, in order.
    pub trials: Vec<Trial>,
}

impl Choice {
    /// One method without a search.
    pub fn only(settings: Settings) -> Self {
        Self { blend: vec![(settings, 1.0)], own_scale: true, value: 0.0, questions: 0, trials: Vec::new() }
    }
}

/// What the automatic choice may try.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// How much work it may do.
    pub effort: Effort,
    /// Leave out methods that carry the histories of customers, so that what is fitted knows items only.
    pub items_only: bool,
    /// Weights kept per item at most; none where quality alone decides.
    pub keep: Option<usize>,
    /// Says when it is called off.
    pub halt: Halt,
}

/// One kind of method under search.
struct Climb<'a> {
    validation: &'a Validation,
    task: Task,
    search: &'a Search,
    trials: &'a mut Vec<Trial>,
    watch: &'a mut dyn FnMut(&Trial),
}

impl Climb<'_> {
    fn value(&mut self, settings: Settings) -> Result<f64, Error> {
        if let Some(trial) = self.trials.iter().find(|trial| trial.settings == settings) {
            return Ok(trial.value);
        }
        let threads = self.search.effort.threads;
        let method = settings.fit(&self.validation.corpus, threads)?;
        let value = self.validation.value(self.task, &method, threads);
        let trial = Trial { settings, value };
        (self.watch)(&trial);
        self.trials.push(trial);
        Ok(value)
    }

    /// Changes one axis at a time and keeps what helps; an axis makes variants of the best so far.
    fn climb<T: Copy>(
        &mut self,
        start: T,
        wrap: fn(T) -> Settings,
        axes: &[&dyn Fn(T) -> Vec<T>],
    ) -> Result<(Settings, f64), Error> {
        let mut best = (start, self.value(wrap(start))?);
        for axis in axes {
            for variant in axis(best.0) {
                let value = self.value(wrap(variant))?;
                if value > best.1 {
                    best = (variant, value);
                }
            }
        }
        Ok((wrap(best.0), best.1))
    }
}

/// Chooses for a task.
///
/// # Errors
/// [`Error::Empty`] when nothing can be held out.
pub(crate) fn choose(
    validation: &Validation,
    task: Task,
    search: &Search,
    watch: &mut dyn FnMut(&Trial),
) -> Result<Choice, Error> {
    let threads = search.effort.threads;
    if validation.cases.is_empty() {
        return Err(Error::Empty("held-out questions"));
    }
    let mut trials = Vec::new();
    let mut climb = Climb { validation, task, search, trials: &mut trials, watch };
    let candidates = match task {
        Task::ForYou => for_you(&mut climb)?,
        Task::Together => together(&mut climb)?,
        Task::Again => again(&mut climb)?,
        Task::Session => session(&mut climb)?,
    };
    search.halt.check()?;
    let methods: Vec<Method> =
        candidates.iter().map(|settings| settings.fit(&validation.corpus, threads)).collect::<Result<_, _>>()?;
    let pool = Pool::gather(validation, task, &methods.iter().collect::<Vec<_>>(), threads);
    let found = pool.weigh(validation, task, threads);
    let pairs = candidates.into_iter().zip(found.each);
    let blend = pairs.filter(|&(_, weight)| weight > 0.0).collect();
    let (own_scale, value) = (found.own_scale, found.value);
    Ok(Choice { blend, own_scale, value, questions: validation.cases.len(), trials })
}

fn neighbours(climb: &mut Climb, ordered: bool, wrap: fn(Neighbours) -> Settings) -> Result<Settings, Error> {
    type Axis<'a> = &'a dyn Fn(Neighbours) -> Vec<Neighbours>;
    let even: Axis = &|n| [0.3, 0.6].map(|evenness| Neighbours { evenness, ..n }).to_vec();
    let target: Axis = &|n| [0.15, 0.3, 0.4, 0.6].map(|target| Neighbours { target, ..n }).to_vec();
    let source: Axis = &|n| [0.2, 0.35, 0.65].map(|source| Neighbours { source, ..n }).to_vec();
    let near: Axis = &|n| [0.0, 1.0].map(|nearness| Neighbours { nearness, ..n }).to_vec();
    let memory: Axis = &|n| [0.85, 0.65, 0.35].map(|memory| Neighbours { fading: Fading::steps(memory), ..n }).to_vec();
    let backward: Axis = &|n| [1.0, 0.2].map(|backward| Neighbours { backward, ..n }).to_vec();
    let (best, _) = if ordered {
        let start = Neighbours {
            nearness: 0.5,
            backward: 0.4,
            target: 0.3,
            fading: Fading::steps(0.5),
            ..Neighbours::default()
        };
        climb.climb(start, wrap, &[memory, near, backward, target, even, source])?
    } else {
        climb.climb(Neighbours::default(), wrap, &[target, even, source])?
    };
    climb.prune(best)
}

/// A family is not climbed when its first setting reaches less than this share of the best so far.
const HOPELESS: f64 = 0.6;

impl Climb<'_> {
    /// Whether a setting is good enough to look for better ones of its kind.
    fn hopeful(&mut self, start: Settings) -> Result<bool, Error> {
        let best = self.trials.iter().map(|trial| trial.value).fold(0.0, f64::max);
        Ok(self.value(start)? >= HOPELESS * best)
    }

    /// So many weights per item, or as many as may be kept.
    fn at_most(&self, weights: usize) -> usize {
        self.search.keep.map_or(weights, |most| weights.min(most))
    }

    /// Half-lives to try: shares of the time that the data covers.
    fn half_lives(&self) -> Vec<Option<f32>> {
        let spans = |span: f32| [0.5, 0.25, 0.12, 0.06, 0.03].map(|share| Some(span * share)).to_vec();
        self.validation.span.map_or(vec![None], spans)
    }
}

fn for_you(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    let popular = popularity(climb)?;
    let mut found = vec![neighbours(climb, climb.validation.ordered, Settings::Neighbours)?];
    found.extend(ease(climb, Ease::default(), Settings::Ease)?);
    found.extend(als(climb)?);
    found.push(popular);
    Ok(found)
}

fn popularity(climb: &mut Climb) -> Result<Settings, Error> {
    let lives: &dyn Fn(Option<f32>) -> Vec<Option<f32>> = &{
        let lives = climb.half_lives();
        move |_| lives.clone()
    };
    Ok(climb.climb(None, Settings::Popularity, &[lives])?.0)
}

fn ease(climb: &mut Climb, start: Ease, wrap: fn(Ease) -> Settings) -> Result<Option<Settings>, Error> {
    if !climb.hopeful(wrap(start))? {
        return Ok(None);
    }
    let (best, _) = climb.climb(
        start,
        wrap,
        &[
            &|e| [1000.0].map(|ridge| Ease { ridge, ..e }).to_vec(),
            &|e| [0.4].map(|evenness| Ease { evenness, ..e }).to_vec(),
            &|e| [if e.ridge > 500.0 { 3000.0 } else { 100.0 }].map(|ridge| Ease { ridge, ..e }).to_vec(),
            &|e| [if e.evenness > 0.0 { 0.7 } else { 0.2 }].map(|evenness| Ease { evenness, ..e }).to_vec(),
            &|e| [0.3].map(|dropout| Ease { dropout, ..e }).to_vec(),
        ],
    )?;
    Ok(Some(climb.prune(best)?))
}

impl Climb<'_> {
    /// The fewest weights per item with which a method keeps nearly all of its quality.
    fn prune(&mut self, best: Settings) -> Result<Settings, Error> {
        let whole = self.value(best)?;
        let threads = self.search.effort.threads;
        let Method::ItemItem(method) = best.fit(&self.validation.corpus, threads)? else {
            return Ok(best);
        };
        let most = self.search.keep.unwrap_or(usize::MAX);
        for keep in [32, 48, 64, 96, 128, 256, 512].into_iter().filter(|&keep| keep < most) {
            self.search.halt.check()?;
            let pruned = Method::ItemItem(match best {
                Settings::Ease(_) | Settings::BasketEase(_) => method.thinned(keep),
                _ => method.pruned(keep, threads),
            });
            let value = self.validation.value(self.task, &pruned, threads);
            let settings = best.keeping(keep);
            let trial = Trial { settings, value };
            (self.watch)(&trial);
            self.trials.push(trial);
            if value >= (1.0 - LOST_TO_PRUNING) * whole {
                return Ok(settings);
            }
        }
        Ok(self.search.keep.map_or(best, |most| best.keeping(most)))
    }
}

/// The share of quality that may be lost when weights are dropped to serve faster.
const LOST_TO_PRUNING: f64 = 0.004;

fn als(climb: &mut Climb) -> Result<Option<Settings>, Error> {
    if !climb.hopeful(Settings::Als(Als::default()))? {
        return Ok(None);
    }
    let (best, _) = climb.climb(
        Als::default(),
        Settings::Als,
        &[
            &|a| [0.03, 0.3].map(|unseen| Als { unseen, ..a }).to_vec(),
            &|a| [0.5, 2.0].map(|times| Als { ridge: a.ridge * times, ..a }).to_vec(),
            &|a| [64, 128].map(|factors| Als { factors, ..a }).to_vec(),
            &|a| [0.6, 1.6].map(|times| Als { unseen: a.unseen * times, ..a }).to_vec(),
            &|a| [0.7, 1.4].map(|times| Als { ridge: a.ridge * times, ..a }).to_vec(),
        ],
    )?;
    Ok(Some(best))
}

fn together(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    let popular = popularity(climb)?;
    let lives = climb.half_lives();
    let fresh: &dyn Fn(Neighbours) -> Vec<Neighbours> =
        &|n| lives.iter().map(|&half_life| Neighbours { half_life, ..n }).collect();
    let even: &dyn Fn(Neighbours) -> Vec<Neighbours> =
        &|n| [0.3, 0.6, 1.0].map(|evenness| Neighbours { evenness, ..n }).to_vec();
    let target: &dyn Fn(Neighbours) -> Vec<Neighbours> =
        &|n| [0.1, 0.2, 0.4, 0.5].map(|target| Neighbours { target, ..n }).to_vec();
    let shrink: &dyn Fn(Neighbours) -> Vec<Neighbours> =
        &|n| [10.0, 30.0].map(|shrink| Neighbours { shrink, ..n }).to_vec();
    let start = Neighbours { target: 0.3, keep: climb.at_most(1000), ..Neighbours::default() };
    let (baskets, _) = climb.climb(start, Settings::Baskets, &[target, even, fresh, shrink])?;
    let (customers, _) = climb.climb(start, Settings::Neighbours, &[target, even, fresh, shrink])?;
    let mut found = vec![baskets, customers, popular];
    found.extend(ease(climb, Ease { ridge: 100.0, ..Ease::default() }, Settings::BasketEase)?);
    Ok(found)
}

fn again(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    let popular = popularity(climb)?;
    let lives = climb.half_lives();
    let fade: &dyn Fn(Fading) -> Vec<Fading> =
        &|fading| lives.iter().map(|&half_life| Fading { half_life, ..fading }).collect();
    let steps: &dyn Fn(Fading) -> Vec<Fading> =
        &|fading| [0.97, 0.9, 0.8].map(|memory| Fading { memory, ..fading }).to_vec();
    let (personal, _) = climb.climb(Fading::default(), Settings::Personal, &[fade, steps, fade])?;
    let Settings::Personal(fading) = personal else {
        return Ok(vec![popular, personal]);
    };
    let mut found = vec![personal, Settings::Personal(Fading::default()), popular];
    if climb.validation.span.is_some() {
        found.push(Settings::NextBasket(NextBasket::default()));
    }
    let slower = Fading { half_life: fading.half_life.map(|half_life| half_life * 3.0), ..fading };
    found.push(Settings::Personal(Fading { memory: 0.7, ..slower }));
    found.push(Settings::Crowd { fading: slower, nearest: 100 });
    found.push(Settings::Ease(Ease { ridge: 300.0, fading, keep: climb.at_most(512), ..Ease::default() }));
    found.push(Settings::Als(Als { factors: 64, unseen: 0.3, ..Als::default() }));
    found.retain(|settings| !(climb.search.items_only && settings.carries_customers()));
    for &settings in &found {
        climb.value(settings)?;
    }
    Ok(found)
}

fn session(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    type Axis<'a> = &'a dyn Fn(SessionNeighbours) -> Vec<SessionNeighbours>;
    let near: Axis = &|s| [0.0, 1.0].map(|nearness| SessionNeighbours { nearness, ..s }).to_vec();
    let steps: Axis = &|s| [0.0, 1.0].map(|steps| SessionNeighbours { steps, ..s }).to_vec();
    let memory: Axis = &|s| [0.6, 0.9].map(|memory| SessionNeighbours { memory, ..s }).to_vec();
    let rarity: Axis = &|s| [0.0, 1.0].map(|rarity| SessionNeighbours { rarity, ..s }).to_vec();
    let many: Axis = &|s| [500, 1500].map(|nearest| SessionNeighbours { nearest, ..s }).to_vec();
    let sample: Axis = &|s| vec![SessionNeighbours { sample: 5000, ..s }];
    let mut found = Vec::new();
    if !climb.search.items_only {
        let axes = [many, near, steps, memory, rarity, sample];
        found.push(climb.climb(SessionNeighbours::default(), Settings::Sessions, &axes)?.0);
    }
    found.push(neighbours(climb, true, Settings::Baskets)?);
    for memory in [0.3, 0.9] {
        let own = Settings::Personal(Fading::steps(memory));
        climb.value(own)?;
        found.push(own);
    }
    found.push(popularity(climb)?);
    Ok(found)
}
