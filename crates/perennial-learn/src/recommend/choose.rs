//! The automatic choice: tries the methods that suit a task, climbs their settings one at a time on
//! held-out questions, and weighs the best of each kind into a blend.

use super::{
    Error, Task,
    als::Als,
    blend::Pool,
    ease::Ease,
    fading::Fading,
    item_item::Neighbours,
    method::{Method, Settings},
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
    /// The methods of the blend with their weights, the heaviest first.
    pub blend: Vec<(Settings, f32)>,
    /// Quality of the blend on held-out questions.
    pub value: f64,
    /// Number of held-out questions.
    pub questions: usize,
    /// Everything that was tried, in order.
    pub trials: Vec<Trial>,
}

/// One kind of method under search.
struct Climb<'a> {
    validation: &'a Validation,
    task: Task,
    threads: usize,
    trials: &'a mut Vec<Trial>,
    watch: &'a mut dyn FnMut(&Trial),
}

impl Climb<'_> {
    fn value(&mut self, settings: Settings) -> Result<f64, Error> {
        if let Some(trial) = self.trials.iter().find(|trial| trial.settings == settings) {
            return Ok(trial.value);
        }
        let method = settings.fit(&self.validation.corpus, self.threads)?;
        let value = self.validation.value(self.task, &method, self.threads);
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
    threads: usize,
    watch: &mut dyn FnMut(&Trial),
) -> Result<Choice, Error> {
    if validation.cases.is_empty() {
        return Err(Error::Empty("held-out questions"));
    }
    let mut trials = Vec::new();
    let mut climb = Climb { validation, task, threads, trials: &mut trials, watch };
    let candidates = match task {
        Task::ForYou => for_you(&mut climb)?,
        Task::Together => together(&mut climb)?,
        Task::Again => again(&mut climb)?,
        Task::Session => session(&mut climb)?,
    };
    let methods: Vec<Method> =
        candidates.iter().map(|settings| settings.fit(&validation.corpus, threads)).collect::<Result<_, _>>()?;
    let pool = Pool::gather(validation, task, &methods.iter().collect::<Vec<_>>(), threads);
    let (weights, value) = pool.weigh(validation, task, threads);
    let mut blend: Vec<(Settings, f32)> =
        candidates.into_iter().zip(weights).filter(|&(_, weight)| weight > 0.0).collect();
    blend.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Choice { blend, value, questions: validation.cases.len(), trials })
}

fn neighbours(climb: &mut Climb, ordered: bool, wrap: fn(Neighbours) -> Settings) -> Result<Settings, Error> {
    type Axis<'a> = &'a dyn Fn(Neighbours) -> Vec<Neighbours>;
    let even: Axis = &|n| [0.3, 0.6].map(|evenness| Neighbours { evenness, ..n }).to_vec();
    let target: Axis = &|n| [0.15, 0.3, 0.4, 0.6].map(|target| Neighbours { target, ..n }).to_vec();
    let source: Axis = &|n| [0.2, 0.35, 0.65].map(|source| Neighbours { source, ..n }).to_vec();
    let near: Axis = &|n| [0.0, 1.0].map(|nearness| Neighbours { nearness, ..n }).to_vec();
    let memory: Axis =
        &|n| [0.85, 0.65, 0.35].map(|memory| Neighbours { fading: Fading::steps(memory), ..n }).to_vec();
    let backward: Axis = &|n| [1.0, 0.2].map(|backward| Neighbours { backward, ..n }).to_vec();
    if ordered {
        let start = Neighbours { nearness: 0.5, backward: 0.4, target: 0.3, fading: Fading::steps(0.5), ..Neighbours::default() };
        Ok(climb.climb(start, wrap, &[memory, near, backward, target, even, source])?.0)
    } else {
        Ok(climb.climb(Neighbours::default(), wrap, &[target, even, source])?.0)
    }
}

fn for_you(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    let popular = Settings::Popularity(None);
    climb.value(popular)?;
    let neighbours = neighbours(climb, climb.validation.ordered, Settings::Neighbours)?;
    let (ease, _) = climb.climb(
        Ease::default(),
        Settings::Ease,
        &[
            &|e| [100.0, 1000.0].map(|ridge| Ease { ridge, ..e }).to_vec(),
            &|e| [0.3, 0.6].map(|evenness| Ease { evenness, ..e }).to_vec(),
            &|e| [0.3, 1.0].map(|dropout| Ease { dropout, ..e }).to_vec(),
        ],
    )?;
    let (als, _) = climb.climb(
        Als::default(),
        Settings::Als,
        &[
            &|a| [64].map(|factors| Als { factors, ..a }).to_vec(),
            &|a| [0.03, 0.3, 1.0].map(|unseen| Als { unseen, ..a }).to_vec(),
            &|a| [0.003, 0.03].map(|ridge| Als { ridge, ..a }).to_vec(),
        ],
    )?;
    Ok(vec![neighbours, ease, als, popular])
}

fn together(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    let _ = climb;
    Ok(vec![])
}

fn again(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    let _ = climb;
    Ok(vec![])
}

fn session(climb: &mut Climb) -> Result<Vec<Settings>, Error> {
    let how = SessionNeighbours::default();
    let (sessions, _) = climb.climb(how, Settings::Sessions, &[])?;
    Ok(vec![sessions])
}
