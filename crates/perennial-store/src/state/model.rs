//! The state in files against what it must be: whatever is written, tidied, cut off and opened again in
//! whatever order, the file answers as plain maps do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use perennial_core::id::{CustomerId, IdentifierHash, OrderRef, Secret};
use perennial_core::time::Timestamp;
use proptest::prelude::*;

use super::{Archived, Backend, Checkpoint, CustomerRow, KeptKey, ORDER, Parts, State};
use crate::sqlite::guard;
use crate::{MemoryDisk, Store, Trouble};

/// Names that things are kept under; few enough that they meet again in later runs.
const NAMES: u16 = 900;

/// What may happen to the sorted runs of a state.
#[derive(Clone, Debug)]
enum Step {
    /// Things of one sort are kept under names, every so-manieth of a range.
    Put {
        sort: u8,
        names: Range<u16>,
        every: usize,
        body: u8,
    },
    /// What is kept under names is let go.
    LetGo {
        sort: u8,
        names: Range<u16>,
        every: usize,
    },
    Tidy,
    /// The disk takes so many more pages and is full then.
    TidyOnFullDisk {
        pages: i64,
    },
    Reopen,
}

fn names() -> impl Strategy<Value = Range<u16>> {
    (0..NAMES, 1..400_u16).prop_map(|(from, count)| from..(from + count).min(NAMES))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..4_u8, names(), 1..4_usize, any::<u8>())
            .prop_map(|(sort, names, every, body)| Step::Put { sort, names, every, body }),
        2 => (1..4_u8, names(), 1..4_usize).prop_map(|(sort, names, every)| Step::LetGo { sort, names, every }),
        4 => Just(Step::Tidy),
        2 => (1..20_i64).prop_map(|pages| Step::TidyOnFullDisk { pages }),
        1 => Just(Step::Reopen),
    ]
}

fn hash(n: u16) -> [u8; 16] {
    Secret([3; 16]).digest(&[&n.to_le_bytes()])
}

fn key(sort: u8, n: u16) -> KeptKey {
    let mut key = [sort; 17];
    key[1..].copy_from_slice(&hash(n));
    key
}

fn open(folder: &Path) -> State {
    Store::open(folder).unwrap().state
}

fn put(state: &State, sort: u8, names: impl Iterator<Item = u16>, body: Option<[u8; 16]>) {
    let mut checkpoint = Checkpoint::default();
    match body {
        Some(owner) if sort == ORDER => {
            checkpoint.orders = names.map(|n| (OrderRef(hash(n)), CustomerId(owner))).collect();
        }
        body => checkpoint.kept = names.map(|n| (key(sort, n), body.map(Vec::from))).collect(),
    }
    state.checkpoint(checkpoint).unwrap();
}

fn limit_pages(state: &State, more: Option<i64>) {
    let Backend::Sqlite { writer, .. } = &*state.backend else { panic!("a state in a file") };
    let db = guard(writer);
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    db.pragma_update(None, "max_page_count", more.map_or(1 << 30, |more| pages + more)).unwrap();
}

fn count(state: &State, sql: &str) -> i64 {
    let Backend::Sqlite { writer, .. } = &*state.backend else { panic!("a state in a file") };
    guard(writer).query_row(sql, [], |row| row.get(0)).unwrap()
}

type Model = BTreeMap<(u8, u16), [u8; 16]>;

fn take(step: &Step, state: State, folder: &Path, model: &mut Model) -> State {
    match step {
        Step::Put { sort, names, every, body } => {
            put(&state, *sort, names.clone().step_by(*every), Some([*body; 16]));
            model.extend(names.clone().step_by(*every).map(|n| ((*sort, n), [*body; 16])));
        }
        Step::LetGo { sort, names, every } => {
            put(&state, *sort, names.clone().step_by(*every), None);
            let gone: Vec<u16> = names.clone().step_by(*every).collect();
            model.retain(|(of, n), _| of != sort || !gone.contains(n));
        }
        Step::Tidy => state.tidy().unwrap(),
        Step::TidyOnFullDisk { pages } => {
            limit_pages(&state, Some(*pages));
            let _ = state.tidy();
            limit_pages(&state, None);
        }
        Step::Reopen => {
            drop(state);
            return open(folder);
        }
    }
    state
}

/// Tidies until nothing is half done.
fn tidy_all(state: &State) {
    loop {
        state.tidy().unwrap();
        if count(state, "SELECT count(*) FROM runs WHERE state NOT IN ('open', 'live')") == 0 {
            return;
        }
    }
}

fn agree(state: &State, model: &Model, every: usize) {
    for n in (0..NAMES).step_by(every) {
        let owner = state.order_owner(OrderRef(hash(n))).unwrap().map(|owner| owner.0);
        assert_eq!(owner, model.get(&(ORDER, n)).copied(), "whose order {n} is");
        for sort in 1..4 {
            let kept = state.kept(key(sort, n)).unwrap();
            assert_eq!(kept.as_deref(), model.get(&(sort, n)).map(|body| &body[..]), "sort {sort}, name {n}");
        }
    }
}

#[test]
fn a_merge_that_a_full_disk_stops_leaves_nothing_behind_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    for round in 0..9 {
        put(&state, 1, 0..NAMES, Some([round; 16]));
    }
    let rows = "SELECT count(*) FROM sorted";
    let before = count(&state, rows);
    for _ in 0..4 {
        limit_pages(&state, Some(2));
        assert_eq!(state.tidy().unwrap_err().trouble, Trouble::DiskFull);
        assert!(count(&state, rows) < before * 9 / 8, "what one try has left is cleared away by the next");
    }
    limit_pages(&state, None);
    state.tidy().unwrap();
    assert!(count(&state, "SELECT count(*) FROM runs WHERE state = 'building'") > 0, "a large merge takes its time");
    tidy_all(&state);
    assert_eq!(count(&state, rows), 2 * i64::from(NAMES), "one merged run and the open one");
    assert_eq!(count(&state, "SELECT count(*) FROM runs WHERE state NOT IN ('open', 'live')"), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sorted_runs_answer_as_a_map_does(steps in prop::collection::vec(step(), 1..50)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut state, mut model) = (open(dir.path()), Model::new());
        for (at, step) in steps.iter().enumerate() {
            state = take(step, state, dir.path(), &mut model);
            agree(&state, &model, 101 + at);
        }
        tidy_all(&state);
        agree(&state, &model, 1);
        prop_assert_eq!(count(&state, "SELECT count(*) FROM sorted WHERE run NOT IN (SELECT run FROM runs)"), 0);
    }
}

/// A state in a file of a folder, under the lock of another one.
#[expect(clippy::used_underscore_binding, reason = "the lock is held, and used by nobody but this test")]
fn in_file(folder: &Path, other: &State) -> State {
    State::open(&folder.join("state.db"), other._taken.clone()).unwrap()
}

fn change() -> impl Strategy<Value = Change> {
    let parts = (prop::collection::btree_map(0..40_u32, any::<u8>(), 0..6), 0..40_u32, 0..10_u32);
    let archived = prop::option::of((prop::bool::weighted(0.2), 0..4_u8));
    let names = (0..4_u8, prop::option::of(0..6_u8));
    (0..6_u8, any::<bool>(), prop::option::of(-3..3_i64), parts, names, archived, 0..3_u64).prop_map(
        |(who, gone, next_due, (bodies, from, many), (identifier, named), archived, entries)| {
            let bodies = bodies.into_iter().map(|(number, body)| (number, vec![body; 5])).collect();
            let parts = Parts { gone: std::iter::once(from..from + many).collect(), bodies };
            let archived = archived.map(|(anew, n)| Archived { anew, body: vec![n; n.into()] });
            Change { who, gone: gone && many % 3 == 0, next_due, parts, identifier, named, archived, entries }
        },
    )
}

/// A change of one customer, of their identifiers, archive and timeline.
#[derive(Clone, Debug)]
struct Change {
    who: u8,
    gone: bool,
    next_due: Option<i64>,
    parts: Parts,
    identifier: u8,
    named: Option<u8>,
    archived: Option<Archived>,
    entries: u64,
}

fn person(n: u8) -> CustomerId {
    CustomerId([n; 16])
}

/// The checkpoint that some changes make, each customer once, after an entry.
fn checkpoint(changes: &[Change], after: u64) -> Checkpoint {
    let by_person: BTreeMap<u8, &Change> = changes.iter().map(|change| (change.who, change)).collect();
    let mut all = Checkpoint { position: after, ..Checkpoint::default() };
    for (who, change) in by_person {
        let id = person(who);
        for _ in 0..change.entries {
            all.position += 1;
            all.timeline.push((id, all.position));
        }
        all.archive.extend(change.archived.clone().map(|archived| (id, archived)));
        all.identifiers.push((IdentifierHash([change.identifier; 16]), change.named.map(person)));
        if change.gone {
            all.gone.push(id);
            continue;
        }
        let next_due = change.next_due.map(Timestamp::from_millis);
        all.customers.push(CustomerRow { id, next_due, body: vec![who], parts: change.parts.clone() });
    }
    all
}

/// So many rows of somebody's archive, the newest first.
fn archive(state: &State, id: CustomerId, rows: usize) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let look = |body: &[u8]| {
        seen.push(body.to_vec());
        (seen.len() == rows).then_some(())
    };
    state.search_archive(id, look).unwrap();
    seen
}

/// Two states say the same of everybody.
fn same(file: &State, memory: &State) {
    assert_eq!(file.position().unwrap(), memory.position().unwrap());
    assert_eq!(file.count().unwrap(), memory.count().unwrap());
    assert_eq!(file.customers(None, 4).unwrap(), memory.customers(None, 4).unwrap());
    assert_eq!(file.customers(Some(person(2)), 9).unwrap(), memory.customers(Some(person(2)), 9).unwrap());
    assert_eq!(file.ids(None, 4).unwrap(), memory.ids(None, 4).unwrap());
    assert_eq!(file.ids(Some(person(2)), 9).unwrap(), memory.ids(Some(person(2)), 9).unwrap());
    let ids: Vec<CustomerId> = (0..7).rev().map(person).collect();
    assert_eq!(file.load_many(&ids).unwrap(), memory.load_many(&ids).unwrap());
    for before in -4..4 {
        let before = Timestamp::from_millis(before);
        assert_eq!(file.due(before, 3).unwrap(), memory.due(before, 3).unwrap());
    }
    for n in 0..7 {
        let hash = IdentifierHash([n; 16]);
        assert_eq!(file.lookup(hash).unwrap(), memory.lookup(hash).unwrap());
        for looked_through in [1, usize::MAX] {
            let archive = |state: &State| archive(state, person(n), looked_through);
            assert_eq!(archive(file), archive(memory), "archive of {n}");
        }
        for before in [None, Some(3), Some(u64::from(n) * 4)] {
            let page = |state: &State| state.timeline(person(n), before, 4).unwrap();
            assert_eq!(page(file), page(memory), "timeline of {n} before {before:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn customers_in_a_file_are_those_in_memory(
        rounds in prop::collection::vec((prop::collection::vec(change(), 0..8), any::<bool>()), 1..12)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let memory = Store::on(&MemoryDisk::new()).unwrap().state;
        let open = || in_file(dir.path(), &memory);
        let mut file = open();
        for (changes, reopen) in rounds {
            let next = checkpoint(&changes, memory.position().unwrap());
            file.checkpoint(next.clone()).unwrap();
            memory.checkpoint(next).unwrap();
            same(&file, &memory);
            if reopen {
                drop(file);
                file = open();
            }
        }
        same(&file, &memory);
    }
}
