//! Inputs and entries: one page of the journal.

use serde::{Deserialize, Serialize};

use crate::event::{Event, Product};
use crate::fact::Outcome;
use crate::id::{CustomerId, Identifier, Secret};
use crate::score::{Model, Scored};
use crate::time::{Span, Timestamp, Until};

/// One entry of the journal: what came in and what followed, written together, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// The customer it is about; none for entries of the workspace and rejects. A fact: a refold
    /// never resolves identity again.
    pub customer: Option<CustomerId>,
    /// The root profile whose key seals the input (rule 29).
    pub root: Option<CustomerId>,
    /// The entry that caused this one (rule 25).
    pub cause: Option<u64>,
    /// What came in; none once the root's key is destroyed.
    pub input: Option<Input>,
    /// What followed.
    pub outcome: Outcome,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// It happened.
    Event(Box<Event>),
    /// It is asked for.
    Command(Box<Asked>),
    /// A wake-up that the customer had asked for.
    Timer(Timer),
    /// Two customers turned out to be one, by the input that follows.
    Joined {
        /// The instant of that input.
        at: Timestamp,
    },
    /// The customer follows a newer programme version from here on, and something followed from it.
    Adopted {
        /// When that version was published.
        at: Timestamp,
        /// The version.
        version: u32,
    },
    /// The workspace's rules, catalogue or thresholds changed.
    Published(Box<Publication>),
    /// A message that could not be read or may not be folded, kept with its reason.
    Reject(Box<Reject>),
}

/// A command with the circumstances of its asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When it was asked.
    pub at: Timestamp,
    /// Who asked: the API key's name, or the member of staff.
    pub by: Box<str>,
    /// The customer, as the caller named them.
    pub customer: Identifier,
    /// The idempotency key, if the caller gave one.
    pub key: Option<Box<str>>,
    /// Fingerprint of the command, to tell a repetition from a reuse of the key.
    pub fingerprint: [u8; 16],
    /// What is asked for.
    pub command: Command,
}

/// What can be asked for, and refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Join the programme.
    Enroll,
    /// Buy a reward.
    Redeem {
        /// The reward's id.
        reward: Box<str>,
        /// How many.
        quantity: u32,
    },
    /// Correct the balance by hand; points may be negative.
    Adjust {
        /// By how many points.
        points: i64,
        /// Why.
        reason: Box<str>,
        /// Who decided it.
        by: Box<str>,
    },
    /// Set points aside.
    Hold {
        /// How many.
        points: i64,
        /// For how long.
        length: Span,
        /// The hold's name.
        hold: Box<str>,
    },
    /// Use points set aside.
    Capture {
        /// The hold's name.
        hold: Box<str>,
        /// How many; all when absent. The rest is freed.
        points: Option<i64>,
    },
    /// Free points set aside.
    Release {
        /// The hold's name.
        hold: Box<str>,
    },
    /// Take a redemption back.
    Undo {
        /// The redemption's key.
        redemption: Box<str>,
    },
    /// Give a tier by hand.
    SetTier {
        /// The level's id.
        tier: Box<str>,
        /// Until when.
        until: Until,
    },
    /// Decide a submitted activity.
    Review {
        /// The submission's message id.
        activity: Box<str>,
        /// Whether it is approved.
        approve: bool,
        /// Why.
        reason: Option<Box<str>>,
    },
    /// Give or withdraw consent.
    Consent {
        /// The data purpose.
        purpose: Box<str>,
        /// The channel; all when absent.
        channel: Option<Box<str>>,
        /// Given or withdrawn.
        given: bool,
    },
    /// Make another customer part of this one.
    Merge {
        /// The other customer.
        from: Identifier,
    },
    /// Take the last merge of this customer back.
    Unmerge,
    /// Erase the person.
    Erase,
    /// Say that a benefit of an order was brought: it is not taken back any more.
    Fulfill {
        /// The benefit's id.
        benefit: Box<str>,
        /// The shop's id of the order.
        order: Box<str>,
        /// Where that can be seen.
        proof: Option<Box<str>>,
    },
}

/// A wake-up of one customer. Ordered by instant, kind and id (rule 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timer {
    /// When it is due.
    pub at: Timestamp,
    /// What for.
    pub kind: TimerKind,
    /// Which: a lot's number, a hold's or a segment's index.
    pub id: u32,
    /// Whose, for lots that came with a merge; the customer itself otherwise.
    pub owner: CustomerId,
}

impl Timer {
    /// The last wake-up that an instant can have.
    pub fn last_at(at: Timestamp) -> Self {
        Self { at, kind: TimerKind::Tick, id: u32::MAX, owner: CustomerId([u8::MAX; 16]) }
    }
}

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TimerKind {
    /// A hold lapses.
    HoldLapse,
    /// A lot becomes available.
    Activate,
    /// A lot lapses.
    Expire,
    /// A lot will lapse soon.
    Remind,
    /// A milestone becomes firm.
    Firm,
    /// The tier is reviewed.
    Review,
    /// A window moved: segments may change.
    Tick,
}

/// A change of the workspace, in force for everybody from its instant on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// From when.
    pub at: Timestamp,
    /// Who published it.
    pub by: Box<str>,
    /// What.
    pub what: Published,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Published {
    /// A programme version: its source document (YAML or JSON), numbered from 1.
    Program {
        /// The version.
        version: u32,
        /// The document.
        source: Box<str>,
    },
    /// What is known of products; a product named again is replaced.
    Catalog(Vec<Product>),
    /// The threshold of a ranked segment: in while the value is at or above it (rule 4).
    Threshold {
        /// The segment's id.
        segment: Box<str>,
        /// The value, in millionths; none when nobody has one.
        value: Option<i64>,
    },
    /// A trained model.
    Model(Box<Model>),
    /// What the model in force says of these customers: one block of many.
    Scores(Vec<(CustomerId, Scored)>),
}

/// A message that was not folded. Kept for 30 days under a key of its day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The sender's name for the message, if it could be read.
    pub message_id: Option<Box<str>>,
    /// Where it came from.
    pub source: Box<str>,
    /// When it reached us.
    pub received_at: Timestamp,
    /// A stable code: `malformed`, `no_identifier`, `unknown_line`, `conflict`, ...
    pub code: Box<str>,
    /// The field, as a path.
    pub field: Box<str>,
    /// What is wrong and what would mend it.
    pub reason: Box<str>,
    /// The message as it came, cut at 32 KB.
    pub body: Box<str>,
}

impl Asked {
    /// A command with the fingerprint of what it asks for.
    pub fn new(at: Timestamp, by: &str, customer: Identifier, key: Option<Box<str>>, command: Command) -> Self {
        // The journal's form, which is read for ever: no release writes a command otherwise.
        let written = postcard::to_stdvec(&command).unwrap_or_default();
        let fingerprint = Secret([0; 16]).digest(&[&written]);
        Self { at, by: by.into(), customer, key, fingerprint, command }
    }
}

impl Command {
    /// The operation's name, as in the API's path.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Redeem { .. } => "redeem",
            Self::Adjust { .. } => "adjust",
            Self::Hold { .. } => "hold",
            Self::Capture { .. } => "capture",
            Self::Release { .. } => "release",
            Self::Undo { .. } => "undo",
            Self::SetTier { .. } => "set_tier",
            Self::Review { .. } => "review",
            Self::Consent { .. } => "consent",
            Self::Merge { .. } => "merge",
            Self::Unmerge => "unmerge",
            Self::Erase => "erase",
            Self::Fulfill { .. } => "fulfill",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_of_a_command_stays_as_it_is() {
        let commands = [
            Command::Enroll,
            Command::Redeem { reward: "mug".into(), quantity: 2 },
            Command::Hold { points: 10, length: "P1D".parse().unwrap(), hold: "till".into() },
            Command::Consent { purpose: "news".into(), channel: Some("email".into()), given: true },
            Command::Merge { from: "email:ana@example.com".parse().unwrap() },
        ];
        let prints = commands.map(|command| {
            let asked = Asked::new(Timestamp::EPOCH, "till", "ana".parse().unwrap(), None, command);
            format!("{:032x}", u128::from_be_bytes(asked.fingerprint))
        });
        assert_eq!(
            prints,
            [
                "3beb515067d93bb81d9b9dcd324b9c3d",
                "79d8582b5bb1c14398056f639f2aded2",
                "ffd9ac34c040141536b2b79ba1ad4687",
                "13d0c0f67f4ed53c251e15aefe516487",
                "99407230694a4eeb70b3c9e3379302cf",
            ]
        );
    }
}
