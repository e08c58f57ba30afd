//! The journal's format: how an entry becomes a row and a row an entry.
//!
//! Promise: whatever a released version wrote can be read for ever; `tests/it/fixtures/` holds one
//! frozen row per version. A new layout gets a new version byte and keeps the old arms.
//!
//! A sealed input is `version, key kind, 16 random bytes, sealed postcard`; the nonce is the random
//! bytes and the entry's number, the associated data the version and the number. An outcome is
//! `version, postcard`: it carries opaque ids only and stays readable after an erasure. What facts say
//! of the person that no book needs is sealed behind the input, each piece with its place in the
//! outcome, and goes with the key: whole facts, and what an order recalled.

use std::borrow::Cow;
use std::sync::Arc;

use perennial_core::fact::{Booking, Fact, Outcome, Parted};
use perennial_core::id::CustomerId;
use perennial_core::input::{Entry, Input};
use perennial_core::time::Timestamp;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::seal::{Key, KeyName};

const INPUT_V1: u8 = 1;
const OUTCOME_V1: u8 = 1;
/// Version, key kind and the random half of the nonce.
const HEADER: usize = 2 + 16;

/// Room that most inputs and outcomes need, so that they are written without moving.
const USUAL_BYTES: usize = 512;

/// An entry as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) recorded_at: i64,
    pub(crate) customer: Option<[u8; 16]>,
    pub(crate) root: Option<[u8; 16]>,
    pub(crate) cause: Option<u64>,
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) outcome: Vec<u8>,
}

/// The key that an entry's input is sealed with.
pub(crate) fn key_of(entry: &Entry) -> KeyName {
    match (&entry.input, entry.root) {
        (Some(Input::Reject(_)), _) => KeyName::day_of(entry.recorded_at),
        (_, Some(root)) => KeyName::Root(root),
        (_, None) => KeyName::Workspace,
    }
}

/// Writes an entry. Without a key (it was destroyed) the input is not kept.
pub(crate) fn encode(entry: &Entry, key: Option<&Key>, random: [u8; 16]) -> Result<Row, Failure> {
    let input = match (&entry.input, key) {
        (Some(input), Some(key)) => Some(seal_input(entry, input, key, random)?),
        _ => None,
    };
    let open: Vec<Cow<'_, Fact>> = entry.outcome.iter().filter_map(open_part).collect();
    let mut outcome = Vec::with_capacity(USUAL_BYTES);
    outcome.push(OUTCOME_V1);
    let outcome = postcard::to_extend(&open, outcome).map_err(|e| unwritable(entry.seq, &e))?;
    Ok(Row {
        seq: entry.seq,
        recorded_at: entry.recorded_at.as_millis(),
        customer: entry.customer.map(|id| id.0),
        root: entry.root.map(|id| id.0),
        cause: entry.cause,
        input,
        outcome,
    })
}

/// What of a fact is about points and orders rather than about the person.
fn open_part(fact: &Fact) -> Option<Cow<'_, Fact>> {
    match fact {
        Fact::Scored(_) | Fact::Reread { .. } | Fact::Explained { .. } => None,
        Fact::Booked(booking) if !booking.recalled.is_empty() => {
            let open = Booking { recalled: Vec::new(), ..(**booking).clone() };
            Some(Cow::Owned(Fact::Booked(Box::new(open))))
        }
        Fact::Parted(parted) => {
            let mut open = parted.clone();
            for step in &mut open.steps {
                step.facts = step.facts.iter().filter_map(open_part).map(Cow::into_owned).collect();
            }
            Some(if open == *parted { Cow::Borrowed(fact) } else { Cow::Owned(Fact::Parted(open)) })
        }
        // Named, so that a new fact must say whether it is of the person.
        Fact::Booked(_)
        | Fact::Created
        | Fact::Linked(_)
        | Fact::Unlinked(_)
        | Fact::Merged { .. }
        | Fact::Unmerged { .. }
        | Fact::Enrolled { .. }
        | Fact::Claimed { .. }
        | Fact::Returned(_)
        | Fact::Parked { .. }
        | Fact::LotOpened(_)
        | Fact::Posted(_)
        | Fact::LotDated { .. }
        | Fact::Tiered(_)
        | Fact::Qualified { .. }
        | Fact::Reached { .. }
        | Fact::MissedAll { .. }
        | Fact::Paid { .. }
        | Fact::Benefited { .. }
        | Fact::Redeemed(_)
        | Fact::Undone { .. }
        | Fact::Held { .. }
        | Fact::HoldEnded { .. }
        | Fact::Submitted { .. }
        | Fact::Reviewed { .. }
        | Fact::Queued { .. }
        | Fact::Refused(_)
        | Fact::Noted(_)
        | Fact::Recalled { .. }
        | Fact::Erased { .. }
        | Fact::SetAside { .. }
        | Fact::Fulfilled { .. }
        | Fact::RedemptionRecalled { .. }
        | Fact::TakenBack { .. }
        | Fact::Missed { .. }
        | Fact::PaidByHold { .. }
        | Fact::BorneNoLonger { .. } => Some(Cow::Borrowed(fact)),
    }
}

/// The rest of it: the fact whole, or a booking with what the order recalled and little else.
fn personal_part(fact: &Fact) -> Option<Cow<'_, Fact>> {
    match fact {
        Fact::Booked(booking) if !booking.recalled.is_empty() => {
            let (lines, rules, recalled) = (Vec::new(), Arc::default(), booking.recalled.clone());
            Some(Cow::Owned(Fact::Booked(Box::new(Booking { lines, rules, recalled, ..**booking }))))
        }
        _ => (!matches!(open_part(fact), Some(Cow::Borrowed(_)))).then_some(Cow::Borrowed(fact)),
    }
}

/// Puts a personal part where it was taken from.
fn put_back(outcome: &mut Outcome, place: usize, personal: Fact) {
    match (outcome.get_mut(place), personal) {
        (Some(Fact::Booked(open)), Fact::Booked(sealed)) => open.recalled = sealed.recalled,
        (Some(open @ Fact::Parted(Parted { .. })), whole @ Fact::Parted(_)) => *open = whole,
        (_, fact) => outcome.insert(place.min(outcome.len()), fact),
    }
}

fn seal_input(entry: &Entry, input: &Input, key: &Key, random: [u8; 16]) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    out.extend_from_slice(&[INPUT_V1, kind_of(key_of(entry))]);
    out.extend_from_slice(&random);
    let mut out = postcard::to_extend(input, out).map_err(|e| unwritable(entry.seq, &e))?;
    let placed = (0u32..).zip(&entry.outcome);
    let personal: Vec<(u32, Cow<'_, Fact>)> =
        placed.filter_map(|(at, fact)| Some((at, personal_part(fact)?))).collect();
    if !personal.is_empty() {
        let facts = Zeroizing::new(postcard::to_stdvec(&personal).map_err(|e| unwritable(entry.seq, &e))?);
        out.extend_from_slice(&facts);
    }
    key.seal(nonce(random, entry.seq), &context(INPUT_V1, entry.seq), &mut out, HEADER)?;
    Ok(out)
}

/// The key that a row's input was sealed with; none when there is no input.
pub(crate) fn key_of_row(row: &Row) -> Result<Option<KeyName>, Failure> {
    let Some(input) = &row.input else { return Ok(None) };
    match (input.get(1), row.root) {
        (Some(1), Some(root)) => Ok(Some(KeyName::Root(CustomerId(root)))),
        (Some(2), _) => Ok(Some(KeyName::Workspace)),
        (Some(3), _) => Ok(Some(KeyName::day_of(Timestamp::from_millis(row.recorded_at)))),
        _ => Err(damaged(row.seq, "the header of its input cannot be read")),
    }
}

/// Reads an entry. Without a key (it was destroyed) it has no input.
pub(crate) fn decode(row: Row, key: Option<&Key>) -> Result<Entry, Failure> {
    let (input, personal) = match (row.input, key) {
        (Some(input), Some(key)) => open_input(row.seq, input, key).map(|(input, facts)| (Some(input), facts))?,
        _ => (None, Vec::new()),
    };
    let mut outcome = read_outcome(row.seq, &row.outcome)?;
    for (place, fact) in personal {
        put_back(&mut outcome, usize::try_from(place).unwrap_or(usize::MAX), fact);
    }
    Ok(Entry {
        seq: row.seq,
        recorded_at: Timestamp::from_millis(row.recorded_at),
        customer: row.customer.map(CustomerId),
        root: row.root.map(CustomerId),
        cause: row.cause,
        input,
        outcome,
    })
}

/// An input, and the facts that are sealed behind it with their places in the outcome.
fn open_input(seq: u64, bytes: Vec<u8>, key: &Key) -> Result<(Input, Vec<(u32, Fact)>), Failure> {
    let mut bytes = Zeroizing::new(bytes); // The plain text comes to stand in its place.
    let Some((&mut [version, _, ref random @ ..], sealed)) = bytes.split_first_chunk_mut::<HEADER>() else {
        return Err(damaged(seq, "its input is cut short"));
    };
    if version != INPUT_V1 {
        return Err(damaged(seq, &format!("its input has format {version}, and this version knows {INPUT_V1}")));
    }
    let plain = key
        .open(nonce(*random, seq), &context(version, seq), sealed)
        .ok_or_else(|| damaged(seq, "its input does not open with its key"))?;
    let unreadable = |e: postcard::Error| damaged(seq, &format!("its input cannot be read: {e}"));
    let (input, rest) = postcard::take_from_bytes(plain).map_err(unreadable)?;
    let personal = if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest).map_err(unreadable)? };
    Ok((input, personal))
}

fn read_outcome(seq: u64, bytes: &[u8]) -> Result<Outcome, Failure> {
    match bytes.split_first() {
        Some((&OUTCOME_V1, facts)) => {
            postcard::from_bytes(facts).map_err(|e| damaged(seq, &format!("its outcome cannot be read: {e}")))
        }
        Some((version, _)) => Err(damaged(seq, &format!("its outcome has the unknown format {version}"))),
        None => Err(damaged(seq, "its outcome is empty")),
    }
}

fn kind_of(name: KeyName) -> u8 {
    name.bytes()[0]
}

fn nonce(random: [u8; 16], seq: u64) -> [u8; 24] {
    let mut out = [0; 24];
    out[..16].copy_from_slice(&random);
    out[16..].copy_from_slice(&seq.to_le_bytes());
    out
}

fn context(version: u8, seq: u64) -> [u8; 9] {
    let mut out = [version; 9];
    out[1..].copy_from_slice(&seq.to_le_bytes());
    out
}

fn damaged(seq: u64, why: &str) -> Failure {
    Failure::corrupt(format!("read entry {seq} of the journal"), why)
}

fn unwritable(seq: u64, error: &postcard::Error) -> Failure {
    Failure::misuse(format!("write entry {seq} of the journal"), error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use perennial_core::event::{Body, Event, Line, Order, Origin};
    use perennial_core::fact::{Account, Cause, Fact, Happened, LotOpened, Posting, Redemption, Step, Unit};
    use perennial_core::id::{Identifier, IdentifierHash, LotId, OrderRef};
    use perennial_core::input::{Asked, Command, Publication, Published, Reject, Timer, TimerKind};
    use perennial_core::score::{Basis, Score, Scored};
    use perennial_core::value::{Properties, Value};

    use super::*;

    const KEY: [u8; 32] = [42; 32];

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// One entry of each kind, as version 1 wrote them. Never change this: add another fixture.
    fn entries_v1() -> Vec<Entry> {
        let ana = CustomerId([0xaa; 16]);
        let inputs = [event(), command(ana), timer(ana), published(), reject()];
        let outcomes = [earned(ana), vec![Fact::Refused("out_of_stock".into())], vec![], vec![], vec![]];
        let entry = |(input, outcome), seq| {
            let personal = seq <= 3;
            Entry {
                seq,
                recorded_at: at(1_767_258_000_000),
                customer: personal.then_some(ana),
                root: personal.then_some(ana),
                cause: (seq == 3).then_some(1),
                input: Some(input),
                outcome,
            }
        };
        inputs.into_iter().zip(outcomes).zip(1..).map(|(parts, seq)| entry(parts, seq)).collect()
    }

    fn event() -> Input {
        let line = Line { product_id: "tea".into(), price: "4.50".parse().ok(), quantity: 2.into(), ..Line::default() };
        let order =
            Order { order_id: "A-1".into(), subtotal: "9.00".parse().ok(), lines: vec![line], ..Order::default() };
        Input::Event(Box::new(Event {
            message_id: "m-1".into(),
            source: "web".into(),
            at: at(1_767_257_999_000),
            original_at: Some(at(1_767_257_998_000)),
            received_at: at(1_767_258_000_000),
            origin: Origin::Live,
            ids: vec![Identifier::user("ana").unwrap(), "email:ana@example.com".parse().unwrap()],
            traits: Properties(vec![("city".into(), Value::from("Lyon"))]),
            body: Body::Ordered(order),
            properties: Properties(vec![
                ("gift".into(), Value::Bool(true)),
                ("steps".into(), Value::List(vec![Value::from(1), Value::Null])),
            ])
            .into(),
            consent: vec![("marketing".into(), false)],
            opted_out: true,
            context: Properties(vec![("page".into(), Value::Map(Properties::default()))]).into(),
        }))
    }

    fn command(ana: CustomerId) -> Input {
        Input::Command(Box::new(Asked {
            at: at(1_767_258_000_000),
            by: "till".into(),
            customer: ana.to_string().parse().unwrap(),
            key: Some("r1".into()),
            fingerprint: [9; 16],
            command: Command::Redeem { reward: "espresso".into(), quantity: 1 },
        }))
    }

    fn timer(ana: CustomerId) -> Input {
        Input::Timer(Timer { at: at(1_767_258_000_000), kind: TimerKind::Expire, id: 3, owner: ana })
    }

    fn published() -> Input {
        let what = Published::Threshold { segment: "top".into(), value: Some(5_000_000) };
        Input::Published(Box::new(Publication { at: at(1_767_258_000_000), by: "midnight".into(), what }))
    }

    fn reject() -> Input {
        Input::Reject(Box::new(Reject {
            message_id: None,
            source: "web".into(),
            received_at: at(1_767_258_000_000),
            code: "malformed".into(),
            field: "batch[3].userId".into(),
            reason: "neither userId nor anonymousId".into(),
            body: "{}".into(),
        }))
    }

    fn earned(ana: CustomerId) -> Outcome {
        let lot = LotId { owner: ana, number: 1 };
        let order = Some(OrderRef([7; 16]));
        let opened = LotOpened {
            lot,
            order,
            earned_at: at(1_767_258_000_000),
            available_at: at(1_769_850_000_000),
            expires_at: Timestamp::NEVER,
            rule: "order".into(),
            version: 1,
        };
        let (from, to) = (Account::Issued, Account::Pending);
        let key = Redemption { key: "r0".into(), reward: "mug".into(), quantity: 1, points: 5, lots: vec![(lot, 5)] };
        vec![
            Fact::Created,
            Fact::Linked(IdentifierHash([3; 16])),
            Fact::LotOpened(opened),
            Fact::Posted(Posting { unit: Unit::Points, from, to, amount: 9, lot: Some(lot), cause: Cause::Earn }),
            Fact::Redeemed(key),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.bytes().map(|b| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap()).collect();
        digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect()
    }

    /// `seq recorded_at customer root cause input outcome`, a dash for nothing.
    fn line_of(row: &Row) -> String {
        let id = |id: Option<[u8; 16]>| id.map_or("-".into(), |id| hex(&id));
        let cause = row.cause.map_or("-".into(), |n| n.to_string());
        let input = hex(row.input.as_deref().unwrap_or_default());
        let (customer, root, outcome) = (id(row.customer), id(row.root), hex(&row.outcome));
        format!("{} {} {customer} {root} {cause} {input} {outcome}\n", row.seq, row.recorded_at)
    }

    fn row_of(line: &str) -> Row {
        let parts: Vec<&str> = line.split(' ').collect();
        let id = |text: &str| (text != "-").then(|| unhex(text).try_into().unwrap());
        Row {
            seq: parts[0].parse().unwrap(),
            recorded_at: parts[1].parse().unwrap(),
            customer: id(parts[2]),
            root: id(parts[3]),
            cause: parts[4].parse().ok(),
            input: Some(unhex(parts[5])),
            outcome: unhex(parts[6]),
        }
    }

    /// Before the first release a change of the core's types may be written anew with
    /// `UPDATE_FIXTURES=1`; afterwards it needs a new version.
    #[test]
    fn what_version_1_wrote_can_be_read_for_ever() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/journal-v1.txt");
        let key = Key::new(KEY);
        let rows: Vec<Row> = entries_v1().iter().map(|entry| encode(entry, Some(&key), [5; 16]).unwrap()).collect();
        let lines: String = rows.iter().map(line_of).collect();
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(path, &lines).unwrap();
        }
        let frozen = std::fs::read_to_string(path).unwrap();
        for (line, entry) in frozen.lines().zip(entries_v1()) {
            let row = row_of(line);
            assert_eq!(key_of_row(&row).unwrap(), Some(key_of(&entry)));
            assert_eq!(decode(row.clone(), Some(&key)).unwrap(), entry);
        }
        assert_eq!(frozen, lines, "and is still written the same");
    }

    #[test]
    fn what_a_model_said_is_sealed_with_the_input_and_goes_with_the_key() {
        let key = Key::new(KEY);
        let mut entry = entries_v1().remove(0);
        let basis = Basis { at: at(7), orders: 3, first: at(1), last: at(6), spend: 123_456 };
        let score = Score::Cluster { name: "night owls".into() };
        let scored = Scored { version: 1, basis, score };
        entry.outcome.insert(1, Fact::Scored(Box::new(scored.clone())));
        entry.outcome.push(Fact::Scored(Box::new(scored)));
        let row = encode(&entry, Some(&key), [5; 16]).unwrap();
        assert!(!row.outcome.windows(10).any(|bytes| bytes == b"night owls"));
        assert_eq!(decode(row.clone(), Some(&key)).unwrap(), entry);
        entry.outcome.retain(|fact| open_part(fact).is_some());
        assert_eq!(decode(row.clone(), None).unwrap(), Entry { input: None, ..entry });
    }

    #[test]
    fn the_words_of_a_refusal_are_sealed_too_and_its_code_stays() {
        let key = Key::new(KEY);
        let mut entry = entries_v1().remove(1);
        let details = Properties(vec![("available".into(), Value::from(8))]);
        entry.outcome.push(Fact::Explained { message: "no hold is named 'anas-trip'".into(), details });
        let row = encode(&entry, Some(&key), [5; 16]).unwrap();
        assert!(!row.outcome.windows(9).any(|bytes| bytes == b"anas-trip"));
        assert_eq!(decode(row.clone(), Some(&key)).unwrap(), entry);
        assert_eq!(decode(row, None).unwrap().outcome, [Fact::Refused("out_of_stock".into())]);
    }

    #[test]
    fn what_an_order_recalled_is_sealed_too_also_in_the_steps_of_an_unmerge() {
        let key = Key::new(KEY);
        let order = OrderRef([6; 16]);
        let booked = |recalled| {
            let (lines, rules) = (Vec::new(), std::sync::Arc::default());
            Fact::Booked(Box::new(Booking {
                order,
                version: 1,
                eligible: 10,
                earns: true,
                lines,
                recalled,
                paid_points: 0,
                rules,
            }))
        };
        let values = vec![Value::from("Denver"), Value::Null];
        let reread = Fact::Reread { order, values: values.clone() };
        let parted = |facts| {
            let steps = vec![Step { of: Happened::Entry(3), facts }];
            Fact::Parted(Parted { since: 2, roots: vec![CustomerId([1; 16])], lots: 0, steps })
        };
        let noted = Fact::Noted("order_known".into());
        let told = vec![
            booked(values.clone()),
            parted(vec![booked(values.clone()), reread.clone(), noted.clone()]),
            reread,
            booked(Vec::new()),
            parted(vec![noted.clone()]),
            booked(values),
        ];
        let entry = Entry { outcome: told, ..entries_v1().remove(0) };
        let row = encode(&entry, Some(&key), [5; 16]).unwrap();
        assert!(!row.outcome.windows(6).any(|bytes| bytes == b"Denver"));
        assert_eq!(decode(row.clone(), Some(&key)).unwrap(), entry);
        let bare = || booked(Vec::new());
        let open = vec![bare(), parted(vec![bare(), noted.clone()]), bare(), parted(vec![noted]), bare()];
        assert_eq!(decode(row.clone(), None).unwrap().outcome, open);
    }

    #[test]
    fn any_cut_or_changed_byte_is_noticed() {
        let key = Key::new(KEY);
        let whole = encode(&entries_v1()[0], Some(&key), [5; 16]).unwrap();
        let input = whole.input.clone().unwrap();
        for at in 0..input.len() {
            let mut changed = input.clone();
            changed[at] ^= 1;
            for bytes in [changed, input[..at].to_vec()] {
                let row = Row { input: Some(bytes), ..whole.clone() };
                let read = key_of_row(&row).and_then(|name| match name {
                    Some(KeyName::Root(_)) => decode(row.clone(), Some(&key)),
                    _ => Err(damaged(1, "another key")),
                });
                assert!(read.is_err(), "byte {at}");
            }
        }
        let moved = Row { seq: 2, ..whole };
        assert!(decode(moved, Some(&key)).is_err(), "an input belongs to its number");
    }
}
