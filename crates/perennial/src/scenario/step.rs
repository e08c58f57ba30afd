//! Steps: one action each, carried out on a workspace in memory.

use std::path::{Path, PathBuf};

use perennial_core::command::Refusal;
use perennial_core::customer::Customer;
use perennial_core::event::Product;
use perennial_core::id::Identifier;
use perennial_core::input::{Asked, Command};
use perennial_core::program::{SegmentRule, merge_patch, parse_value};
use perennial_core::score::Score;
use perennial_core::time::{Span, Timestamp};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::{Map, Value, json};

use super::form::{self, Step, object, text};
use super::{Failed, Note, expect};
use crate::commands::unread;
use crate::wire::segment::{Call, parse};
use crate::wire::{Arrival, Circumstances};
use crate::workspace::{PublishError, Workspace};

/// A workspace on a stage, with a clock that only `advance` moves.
pub(super) struct Stage {
    pub(super) workspace: Workspace,
    pub(super) clock: Timestamp,
    /// What nobody expected, and is no failure.
    pub(super) notes: Vec<Note>,
    folder: PathBuf,
    /// The programme in force.
    program: Value,
}

type Outcome = Result<Vec<Failed>, String>;

/// Why a programme is not in force.
enum Unpublished {
    /// It is none: the API's `invalid_program`.
    Invalid(String),
    /// The story's or the machine's fault.
    Trouble(String),
}

impl From<Unpublished> for String {
    fn from(why: Unpublished) -> Self {
        match why {
            Unpublished::Invalid(why) | Unpublished::Trouble(why) => why,
        }
    }
}

impl Stage {
    pub(super) fn open(folder: &Path, program: &Path, patch: Option<&Value>, clock: Timestamp) -> Result<Self, String> {
        let mut stage = Self {
            workspace: Workspace::memory().map_err(|e| e.to_string())?,
            clock,
            folder: folder.to_owned(),
            program: Value::Null,
            notes: Vec::new(),
        };
        let mut first = stage.read_program(program)?;
        if let Some(patch) = patch {
            merge_patch(&mut first, patch);
        }
        stage.publish(first)?;
        Ok(stage)
    }

    pub(super) fn catalog(&mut self, products: Vec<Product>) -> Result<(), String> {
        self.workspace.learn_products(self.clock, "scenario", products).map_err(|e| e.to_string())?;
        Ok(())
    }

    fn read_program(&self, path: &Path) -> Result<Value, Unpublished> {
        let path = self.folder.join(path);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Unpublished::Trouble(format!("program {}", unread(&path, &e))))?;
        parse_value(&text).map_err(|problem| Unpublished::Invalid(format!("program {}: {problem}", path.display())))
    }

    fn publish(&mut self, program: Value) -> Result<(), Unpublished> {
        match self.workspace.publish(self.clock, "scenario", &program.to_string()) {
            Ok(_) => {
                self.program = program;
                Ok(())
            }
            Err(PublishError::Failure(failure)) => Err(Unpublished::Trouble(failure.to_string())),
            Err(PublishError::Problems(problems)) => {
                let lines: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
                Err(Unpublished::Invalid(format!("the programme does not compile: {}", lines.join("; "))))
            }
        }
    }

    /// Plays one step; what did not hold.
    pub(super) fn play(&mut self, number: usize, step: &Value) -> Outcome {
        let step = Step::read(number, step)?;
        let body = || object(step.body).map_err(|e| format!("{}: {e}", step.action));
        match step.action {
            _ if step.is_call() => self.call(&step),
            "advance" => self.advance(step.body),
            "publish" => self.republish(body()?, step.refused.as_deref()),
            "score" => self.score(body()?),
            "expect" => expect::check(self, body()?),
            action => self.command(action, body()?, step.refused.as_deref()),
        }
    }

    /// What cannot count is a reject: expected by its code, or noted.
    fn call(&mut self, step: &Step<'_>) -> Outcome {
        let call = Call::of_path(step.action).ok_or("no such call")?;
        let body = if call == Call::Batch { json!({ "batch": step.named() }) } else { step.named() };
        let arrivals = parse(call, body.to_string().as_bytes(), &Circumstances::live("scenario", self.clock))
            .map_err(|e| e.to_string())?;
        let arrivals: Vec<Arrival> = arrivals.into_iter().map(|a| self.at_clock(a)).collect();
        let receipts = self.workspace.take(self.clock, arrivals).map_err(|e| e.to_string())?;
        let rejects = receipts.into_iter().filter_map(|receipt| Note::of(step.number, receipt));
        let (asserted, rejects): (Vec<_>, Vec<_>) =
            rejects.partition(|note| step.rejected.as_ref() == Some(&note.code));
        let codes: Vec<&str> = rejects.iter().map(|note| &*note.code).collect();
        let failed = step.rejected.as_ref().filter(|_| asserted.is_empty()).map(|code| {
            Failed::new("rejected", code, if codes.is_empty() { "accepted".into() } else { codes.join(", ") })
        });
        self.notes.extend(rejects);
        Ok(failed.into_iter().collect())
    }

    /// An event without a timestamp happens at the clock.
    fn at_clock(&self, arrival: Arrival) -> Arrival {
        match arrival {
            Arrival::Event(mut event) => {
                event.at = event.at.min(self.clock);
                Arrival::Event(event)
            }
            reject @ Arrival::Reject(_) => reject,
        }
    }

    fn advance(&mut self, body: &Value) -> Outcome {
        let to = match body {
            Value::String(span) => {
                let span: Span = span.parse().map_err(|e| format!("advance: {e}"))?;
                self.zone_add(span)
            }
            Value::Object(map) => {
                let to = text(map, "to")?.ok_or("advance: give a duration or {to: INSTANT}")?;
                to.parse().map_err(|e| format!("advance: {e}"))?
            }
            _ => return Err("advance: give a duration or {to: INSTANT}".into()),
        };
        if to < self.clock {
            return Err(format!("advance: the clock is at {} and does not run backwards", self.clock));
        }
        while let Some(midnight) = self.next_ranking().filter(|midnight| *midnight <= to) {
            self.pass(midnight)?;
            self.workspace.rank(midnight).map_err(|e| e.to_string())?;
        }
        self.pass(to)?;
        Ok(Vec::new())
    }

    fn zone_add(&self, span: Span) -> Timestamp {
        let zone = self.workspace.rules().latest().map(|e| e.program.zone.clone());
        zone.map_or(self.clock.plus_millis(span.millis), |zone| zone.add(self.clock, span))
    }

    /// The next local midnight, when the programme ranks anything.
    fn next_ranking(&self) -> Option<Timestamp> {
        let program = &self.workspace.rules().latest()?.program;
        let ranks = program.segments.iter().any(|s| matches!(s.rule, SegmentRule::Top { .. }));
        ranks.then(|| program.zone.next_midnight(self.clock))
    }

    /// Every wake-up has its own instant for its now, however far one step goes: what comes late is
    /// another matter than what is due.
    fn pass(&mut self, to: Timestamp) -> Result<(), String> {
        let mut next = self.next_due()?;
        while let Some(due) = next.filter(|due| *due <= to) {
            self.workspace.advance(due).map_err(|e| e.to_string())?;
            next = self.next_due()?;
        }
        self.clock = to;
        while self.workspace.advance(to).map_err(|e| e.to_string())? {}
        Ok(())
    }

    fn next_due(&mut self) -> Result<Option<Timestamp>, String> {
        self.workspace.next_due().map_err(|e| e.to_string())
    }

    fn republish(&mut self, map: &Map<String, Value>, refused: Option<&str>) -> Outcome {
        match (self.publish_next(map), refused) {
            (Ok(()), None) => {
                for id in self.workspace.everybody().map_err(|e| e.to_string())? {
                    self.workspace.customer_by_id(self.clock, id).map_err(|e| e.to_string())?;
                }
                Ok(Vec::new())
            }
            (Ok(()), Some(code)) => Ok(vec![Failed::new("refused", code, "done")]),
            (Err(Unpublished::Invalid(_)), Some(INVALID)) => Ok(Vec::new()),
            (Err(Unpublished::Invalid(why)), Some(code)) => {
                Ok(vec![Failed::new("refused", code, format!("{INVALID} ({why})"))])
            }
            (Err(why), _) => Err(why.into()),
        }
    }

    fn publish_next(&mut self, map: &Map<String, Value>) -> Result<(), Unpublished> {
        let path = text(map, "program").map_err(Unpublished::Trouble)?;
        let mut next = path.map_or_else(|| Ok(self.program.clone()), |path| self.read_program(Path::new(&path)))?;
        if let Some(patch) = map.get("patch") {
            merge_patch(&mut next, patch);
        }
        self.publish(next)
    }

    /// What a model is to have said: the value model's parts together, what is absent as 0; or a cluster.
    fn score(&mut self, body: &Map<String, Value>) -> Outcome {
        let who = Fields(body).who("customer")?;
        let id = self.customer(&who)?.ok_or("score: nobody is known by this name")?.id;
        let exponent = self.workspace.rules().latest().map_or(2, |e| e.program.currency.exponent());
        let number = |name: &str, decimals: u32| -> Result<i64, String> {
            let said = body.get(name).map_or(Ok(Decimal::ZERO), |n| n.to_string().parse::<Decimal>());
            let scaled = said.map(|n| (n * Decimal::from(10u64.pow(decimals))).to_i64());
            scaled.ok().flatten().ok_or(format!("score: {name} is a number"))
        };
        let share = |name: &str| u32::try_from(number(name, 6)?).map_err(|_| format!("score: {name} is 0 or more"));
        let score = match text(body, "cluster")? {
            Some(name) => Score::Cluster { name: name.into() },
            None => Score::Value {
                clv_12m: number("clv_12m", exponent)?,
                p_alive: share("p_alive")?,
                churn_risk: share("churn_risk")?,
                next_purchase: text(body, "next_purchase")?
                    .map(|at| at.parse().map_err(|e| format!("score: {e}")))
                    .transpose()?,
            },
        };
        self.workspace.say_score(self.clock, id, &score).map_err(|e| e.to_string())?;
        Ok(Vec::new())
    }

    fn command(&mut self, action: &str, body: &Map<String, Value>, refused: Option<&str>) -> Outcome {
        let asked = self.asked(action, body)?;
        let who = asked.customer.clone();
        let before = self.customer(&who)?;
        let answer = self.workspace.ask(self.clock, asked).map_err(|e| e.to_string())?;
        let mut failures = Vec::new();
        match (refused, &answer.outcome) {
            (None, Err(Refusal { code, message, .. })) => {
                failures.push(Failed::new(action, "done", format!("refused: {code} ({message})")));
            }
            (Some(code), Ok(_)) => failures.push(Failed::new("refused", code, "done")),
            (Some(code), Err(refusal)) if *code != *refusal.code => {
                failures.push(Failed::new("refused", code, &refusal.code));
            }
            (Some(_), Err(_)) if !unchanged(before, self.customer(&who)?) => {
                failures.push(Failed::new("refused", "nothing changes", "something changed"));
            }
            _ => {}
        }
        Ok(failures)
    }

    fn asked(&self, action: &str, body: &Map<String, Value>) -> Result<Asked, String> {
        let reader = Fields(body);
        let (customer, command) = match action {
            "merge" => (reader.who("into")?, Command::Merge { from: reader.who("from")? }),
            "capture" | "release" => {
                let hold = reader.text("hold")?;
                let customer = self.holder(&hold)?;
                let command = if action == "capture" {
                    Command::Capture { hold: hold.into(), points: reader.maybe_number("points")? }
                } else {
                    Command::Release { hold: hold.into() }
                };
                (customer, command)
            }
            _ => (reader.who("customer")?, Self::simple(action, &reader)?),
        };
        let key = reader.maybe_text("key")?.map(Into::into);
        Ok(Asked::new(self.clock, "scenario", customer, key, command))
    }

    fn simple(action: &str, body: &Fields<'_>) -> Result<Command, String> {
        Ok(match action {
            "enroll" => Command::Enroll,
            "redeem" => Command::Redeem {
                reward: body.text("reward")?.into(),
                quantity: body
                    .maybe_number("quantity")?
                    .map_or(Some(1), |pieces| u32::try_from(pieces).ok().filter(|pieces| *pieces > 0))
                    .ok_or("quantity: a whole number from 1")?,
            },
            "adjust" => Command::Adjust {
                points: body.number("points")?,
                reason: body.maybe_text("reason")?.unwrap_or_default().into(),
                by: body.maybe_text("by")?.unwrap_or_default().into(),
            },
            "hold" => Command::Hold {
                points: body.number("points")?,
                length: body.text("for")?.parse().map_err(|e| format!("for: {e}"))?,
                hold: body.text("as")?.into(),
            },
            "unmerge" => Command::Unmerge,
            "undo" => Command::Undo { redemption: body.text("redemption")?.into() },
            "set_tier" => Command::SetTier {
                tier: body.text("tier")?.into(),
                until: body.text("until")?.parse().map_err(|e| format!("until: {e}"))?,
            },
            "review" => Command::Review {
                activity: body.text("activity")?.into(),
                approve: match body.text("decision")?.as_str() {
                    "approve" => true,
                    "decline" => false,
                    other => return Err(format!("decision: 'approve' or 'decline', not '{other}'")),
                },
                reason: body.maybe_text("reason")?.map(Into::into),
            },
            "fulfill" => Command::Fulfill {
                benefit: body.text("benefit")?.into(),
                order: body.text("order")?.into(),
                proof: body.maybe_text("proof")?.map(Into::into),
            },
            "consent" => Command::Consent {
                purpose: body.text("purpose")?.into(),
                channel: body.maybe_text("channel")?.map(Into::into),
                given: body.0.get("given").and_then(Value::as_bool).ok_or("given: true or false")?,
            },
            "erase" => Command::Erase,
            other => return Err(format!("unknown action '{other}'")),
        })
    }

    /// A hold is named without its customer: whoever has one of that name.
    fn holder(&self, hold: &str) -> Result<Identifier, String> {
        let found = self.workspace.hold_owner(hold);
        found.ok_or_else(|| format!("hold: no hold is named '{hold}'"))
    }

    pub(super) fn customer(&mut self, who: &Identifier) -> Result<Option<Customer>, String> {
        self.workspace.customer(self.clock, who).map_err(|e| e.to_string())
    }

    /// The checks after the last step.
    pub(super) fn close(mut self) -> Result<Vec<String>, String> {
        let clock = self.clock;
        let found = self.workspace.catch_up(clock).and_then(|()| self.workspace.verify());
        Ok(found.map_err(|e| e.to_string())?.faults)
    }
}

/// What a programme that does not compile is refused with.
const INVALID: &str = "invalid_program";

/// Whether nothing changed but the recorded answer, for which somebody unknown is made a customer.
fn unchanged(before: Option<Customer>, after: Option<Customer>) -> bool {
    let bare = |c: Customer| Customer { answers: Vec::new(), folded: 0, ..c };
    match (before, after) {
        (Some(before), Some(after)) => bare(before) == bare(after),
        (None, after) => after.is_none_or(|c| c.member.is_none()),
        (Some(_), None) => false,
    }
}

/// Reads the fields of a command.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn maybe_text(&self, name: &str) -> Result<Option<String>, String> {
        text(self.0, name)
    }

    fn text(&self, name: &str) -> Result<String, String> {
        self.maybe_text(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    fn who(&self, name: &str) -> Result<Identifier, String> {
        form::who(name, &self.text(name)?)
    }

    fn maybe_number(&self, name: &str) -> Result<Option<i64>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| format!("{name}: expected a whole number")),
        }
    }

    fn number(&self, name: &str) -> Result<i64, String> {
        self.maybe_number(name)?.ok_or_else(|| format!("{name} is missing"))
    }
}
