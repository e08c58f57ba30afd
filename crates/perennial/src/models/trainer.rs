//! The trainer: keeps the models of a running server as fresh as the programme asks.
//!
//! Promise: training works on a copy of what the last checkpoint holds, on a thread of its own, one at
//! a time; the writer is asked for moments only. A training that is refused says why, and is tried
//! again after an hour. Absent on purpose: methods, which are its neighbours', and a clock of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use perennial_core::score::{Model, ModelKind};
use perennial_core::time::{Span, Timestamp};
use perennial_store::State;
use tokio::sync::{OwnedMutexGuard, watch};

use super::{DAY_MS, Progress, Untrained, train};
use crate::background::{self, Haste};
use crate::pump::{Handle, Trouble};
use crate::workspace::{Failure, Mark, Round, Workspace, ordered};

/// Customers of one block of scores.
const BLOCK: usize = 500;
/// How often the rhythm is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// So long after a refusal it is tried again, in milliseconds.
const AGAIN_MS: i64 = 3_600_000;
/// Rounds of waiting for a checkpoint that holds everything until the training was asked for.
const WAITS: u32 = 40;
const WAIT: Duration = Duration::from_millis(250);
/// Entries that are counted again at the start, at most.
const COUNTED: u64 = 100_000;

/// What a training comes to, as it is counted.
pub(crate) const OUTCOMES: [&str; 4] = ["trained", "too_thin", "cancelled", "failed"];

/// Trains models of a running server.
pub struct Trainer {
    pump: Handle,
    turn: Arc<tokio::sync::Mutex<()>>,
    status: Mutex<Status>,
}

/// What is going on, and what did not work.
#[derive(Default)]
struct Status {
    running: Option<(ModelKind, Arc<Progress>)>,
    refused: BTreeMap<ModelKind, (Timestamp, Untrained)>,
    /// When scores were last looked at for what has moved.
    aged: Option<Timestamp>,
}

/// A part of a round: from a mark on, so many.
type Part = fn(&mut Workspace, Timestamp, Option<Mark>, usize) -> Result<Round, Failure>;

/// How a kind of model stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Which.
    pub kind: ModelKind,
    /// Whether the programme asks for it.
    pub wanted: bool,
    /// The model in force, without its body, and when it was published.
    pub model: Option<(Model, Timestamp)>,
    /// When it is trained next; none when only asked for.
    pub next: Option<Timestamp>,
    /// Per cent of a training under way.
    pub running: Option<u64>,
    /// Why the last training gave no model, and when that was.
    pub refused: Option<(Timestamp, Untrained)>,
}

/// Why a training was not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// Another one is under way.
    Busy(ModelKind),
    /// The programme does not ask for this model.
    Unwanted,
    /// The workspace does not answer.
    Trouble(Trouble),
}

impl From<Trouble> for NotNow {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Trainer {
    /// A trainer for the workspace behind a pump.
    pub fn new(pump: Handle) -> Self {
        Self { pump, turn: Arc::default(), status: Mutex::default() }
    }

    fn status(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How all kinds stand.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn standing(&self) -> Result<Vec<Standing>, Trouble> {
        let known = self.pump.call(|workspace, _| Ok(ModelKind::ALL.map(|kind| known(workspace, kind)))).await?;
        let status = self.status();
        let tell = |Known { kind, wanted, rhythm, model }: Known| {
            let refused = status.refused.get(&kind).cloned();
            let running = status.running.as_ref().filter(|(running, _)| *running == kind);
            Standing {
                kind,
                wanted,
                next: next(rhythm, model.as_ref().map(|(_, at)| *at), refused.as_ref().map(|(at, _)| *at)),
                model,
                running: running.map(|(_, progress)| progress.percent()),
                refused,
            }
        };
        Ok(known.into_iter().map(tell).collect())
    }

    /// Trains a kind of model now and scores everybody; returns when that is done.
    ///
    /// # Errors
    /// [`NotNow`] when it was not begun. That the history is too thin is an answer, told by
    /// [`Trainer::standing`].
    pub async fn train(&self, kind: ModelKind) -> Result<(), NotNow> {
        let progress = Arc::new(Progress::default());
        let turn = self.take_turn(kind, &progress)?;
        self.take(turn, kind, progress).await
    }

    /// Begins to train a kind of model, which goes on by itself; of two who ask at once, one is told so.
    ///
    /// # Errors
    /// [`NotNow::Busy`].
    pub fn begin(self: Arc<Self>, kind: ModelKind) -> Result<(), NotNow> {
        let progress = Arc::new(Progress::default());
        let turn = self.take_turn(kind, &progress)?;
        tokio::spawn(async move {
            if let Err(why) = self.take(turn, kind, progress).await {
                tracing::warn!(?why, kind = kind.word(), "a training that was asked for was not begun");
            }
        });
        Ok(())
    }

    async fn take(&self, turn: OwnedMutexGuard<()>, kind: ModelKind, progress: Arc<Progress>) -> Result<(), NotNow> {
        let started = Instant::now();
        let result = self.train_and_publish(kind, progress).await;
        self.status().running = None;
        let [trained, too_thin, cancelled, failed] = OUTCOMES;
        let outcome = match &result {
            Ok(Ok(())) => trained,
            Ok(Err(Untrained::Thin(_))) => too_thin,
            Ok(Err(Untrained::Cancelled)) => cancelled,
            Ok(Err(Untrained::Failed(_))) | Err(_) => failed,
        };
        metrics::counter!("models_trained_total", "kind" => kind.word(), "outcome" => outcome).increment(1);
        metrics::histogram!("model_training_seconds", "kind" => kind.word()).record(started.elapsed());
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(kind = kind.word(), outcome, duration_ms, "training ended");
        match result? {
            Ok(()) => drop(self.status().refused.remove(&kind)),
            Err(why) => drop(self.status().refused.insert(kind, (self.pump.now(), why))),
        }
        drop(turn);
        Ok(())
    }

    fn take_turn(&self, kind: ModelKind, progress: &Arc<Progress>) -> Result<OwnedMutexGuard<()>, NotNow> {
        let turn = self.turn.clone().try_lock_owned();
        let mut status = self.status();
        match turn {
            Ok(turn) => {
                status.running = Some((kind, progress.clone()));
                Ok(turn)
            }
            Err(_) => Err(NotNow::Busy(status.running.as_ref().map_or(kind, |(running, _)| *running))),
        }
    }

    async fn train_and_publish(
        &self,
        kind: ModelKind,
        progress: Arc<Progress>,
    ) -> Result<Result<(), Untrained>, NotNow> {
        let (wanted, version, seq, from, anybody) = self
            .pump
            .call(move |workspace, _| {
                let Known { wanted, model, .. } = known(workspace, kind);
                let version = model.map_or(1, |(model, _)| model.version + 1);
                let anybody = workspace.knows_anybody()?;
                let from = (workspace.state().clone(), workspace.journal());
                Ok((wanted, version, workspace.last_seq(), from, anybody))
            })
            .await?;
        if !wanted {
            return Err(NotNow::Unwanted);
        }
        if !anybody {
            return Ok(Err(Untrained::Thin("nobody has ordered yet".into())));
        }
        self.wait_for_checkpoint(seq, &from.0).await?;
        let work = move || train(kind, (&from.0, &from.1), version, &progress);
        let model = match background::run("training", Haste::Sometime, work).await {
            Ok(Ok(model)) => model,
            Ok(Err(why)) => return Ok(Err(why)),
            Err(died) => return Ok(Err(Untrained::Failed(died))),
        };
        self.pump.call(move |workspace, now| workspace.publish_model(now, "trainer", model)).await?;
        // It is in force: what is cut short from here on is taken up by the next look.
        self.recall().await.unwrap_or_else(|trouble| tracing::warn!(?trouble, "visits were not read again"));
        let scored = self.score_everybody().await;
        scored.unwrap_or_else(|trouble| tracing::warn!(?trouble, kind = kind.word(), "scoring was cut short"));
        Ok(Ok(()))
    }

    /// Reads the visits again that the model in force learnt from, where the shelf has lost them.
    async fn recall(&self) -> Result<(), Trouble> {
        let Some(owed) = self.pump.shelf().owed() else { return Ok(()) };
        let (shelf, journal) = (self.pump.shelf(), self.pump.call(|workspace, _| Ok(workspace.journal())).await?);
        let reading = move || shelf.recall(&owed, &journal, &Progress::default()).map_err(|why| why.to_string());
        background::run("training", Haste::Sometime, reading).await.flatten().map_err(Trouble::Unavailable)
    }

    /// Until the state holds what the journal held when the training was asked for; older will do when
    /// that takes too long.
    async fn wait_for_checkpoint(&self, seq: u64, state: &State) -> Result<(), Trouble> {
        for _ in 0..WAITS {
            let due = |workspace: &mut Workspace, now| workspace.checkpoint_if_due(now);
            self.pump.call(due).await?;
            if state.position().is_ok_and(|position| position >= seq) {
                break;
            }
            tokio::time::sleep(WAIT).await;
        }
        Ok(())
    }

    async fn score_everybody(&self) -> Result<(), Trouble> {
        self.round(Workspace::score_some).await
    }

    /// Says anew, once a day between trainings, what has moved since: nobody's chances stand still.
    async fn age(&self) -> Result<(), Trouble> {
        let now = self.pump.now();
        let scored = self.standing().await?.into_iter().find(|standing| standing.kind == ModelKind::Value);
        let since = scored.filter(|standing| standing.wanted).and_then(|standing| standing.model).map(|(_, at)| at);
        let last = since.max(self.status().aged);
        if last.is_none_or(|last| now < last.plus_millis(DAY_MS)) {
            return Ok(());
        }
        self.round(Workspace::age_some).await?;
        self.status().aged = Some(now);
        Ok(())
    }

    async fn round(&self, some: Part) -> Result<(), Trouble> {
        let mut from: Option<Mark> = None;
        while let Round::From(mark) = self.pump.call(move |workspace, now| some(workspace, now, from, BLOCK)).await? {
            from = Some(mark);
        }
        Ok(())
    }

    /// Calls a training off; says whether there was one of this kind.
    pub fn call_off(&self, kind: ModelKind) -> bool {
        let status = self.status();
        let running = status.running.as_ref().filter(|(running, _)| *running == kind);
        running.into_iter().for_each(|(_, progress)| progress.call_off());
        running.is_some()
    }

    /// Trains by the programme's rhythm until the server ends.
    pub async fn keep(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        if let Err(trouble) = self.take_up().await {
            tracing::warn!(?trouble, "orders since the last training were not counted");
        }
        loop {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        let status = self.status();
        status.running.iter().for_each(|(_, progress)| progress.call_off());
    }

    /// Does what is due: a round of scoring that was cut short, the training whose turn it is, what has aged.
    pub async fn look(&self) {
        if let Err(trouble) = self.recall().await {
            tracing::warn!(?trouble, "visits were not read again");
        }
        if let Err(trouble) = self.end_round().await {
            tracing::warn!(?trouble, "scoring was cut short");
        }
        if let Some(kind) = self.due().await
            && let Err(trouble) = self.train(kind).await
        {
            tracing::warn!(?trouble, kind = kind.word(), "a training was not begun");
        }
        if let Err(trouble) = self.age().await {
            tracing::warn!(?trouble, "scores were not looked at for what has moved");
        }
    }

    /// Asks about everybody where a round was cut short, unless whoever has the turn is at it.
    async fn end_round(&self) -> Result<(), Trouble> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(()) };
        let owes = self.pump.call(|workspace, _| Ok(workspace.owes_scores())).await?;
        if owes { self.score_everybody().await } else { Ok(()) }
    }

    /// Goes on where the last process ended: counts orders since the training. The first look ends a round of
    /// scoring.
    async fn take_up(&self) -> Result<(), Trouble> {
        let (shelf, journal, from, until) = self
            .pump
            .call(|workspace, _| {
                let until = workspace.last_seq();
                let trained = workspace.model(ModelKind::Recommend).map_or(0, |held| held.about.position);
                let from = trained.max(until.saturating_sub(COUNTED)) + 1;
                Ok((workspace.shelf(), workspace.journal(), from, until))
            })
            .await?;
        // Not one that stands back: it takes the shelf's lock for every order, as the writer does.
        let counting = tokio::task::spawn_blocking(move || {
            for entry in journal.iter(from) {
                let entry = entry?;
                if entry.seq > until {
                    break;
                }
                ordered(&entry).into_iter().for_each(|items| shelf.observe(items));
            }
            Ok::<(), Failure>(())
        });
        match counting.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(Trouble::Unavailable(failure.to_string())),
            Err(died) => Err(Trouble::Unavailable(died.to_string())),
        }
    }

    /// The kind whose training is due longest.
    async fn due(&self) -> Option<ModelKind> {
        let now = self.pump.now();
        let standing = self.standing().await.ok()?;
        let due = standing.into_iter().filter(|s| s.wanted).filter_map(|s| Some((s.next?, s.kind)));
        due.filter(|(at, _)| *at <= now).min().map(|(_, kind)| kind)
    }
}

/// What the workspace knows of a kind of model.
struct Known {
    kind: ModelKind,
    /// The programme in force asks for it.
    wanted: bool,
    /// How often it is trained; none when by hand only.
    rhythm: Option<Span>,
    /// The one in force, and since when.
    model: Option<(Model, Timestamp)>,
}

fn known(workspace: &Workspace, kind: ModelKind) -> Known {
    let asked = workspace.rules().latest().and_then(|e| e.program.models.get(&kind).copied());
    let model = workspace.model(kind).map(|held| (held.about.clone(), held.published_at));
    Known { kind, wanted: asked.is_some(), rhythm: asked.flatten(), model }
}

/// When a kind is trained next: by the rhythm after the last training, at once when there was none, and
/// an hour after a refusal.
fn next(rhythm: Option<Span>, trained: Option<Timestamp>, refused: Option<Timestamp>) -> Option<Timestamp> {
    let rhythm = rhythm?;
    let due = trained.map_or(Timestamp::EPOCH, |at| at.plus_millis(rhythm.millis));
    Some(refused.map_or(due, |at| due.max(at.plus_millis(AGAIN_MS))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_training_follows_the_rhythm_and_a_refusal_waits() {
        let at = Timestamp::from_millis;
        let day = Some(Span::days(1));
        assert_eq!(next(None, None, None), None);
        assert_eq!(next(day, None, None), Some(Timestamp::EPOCH));
        assert_eq!(next(day, Some(at(1_000)), None), Some(at(86_401_000)));
        assert_eq!(next(day, None, Some(at(5_000))), Some(at(3_605_000)));
        assert_eq!(next(day, Some(at(1_000)), Some(at(5_000))), Some(at(86_401_000)));
    }
}
