//! Rows that nobody wrote: whatever stands in a cell of our files, using the file ends in an answer or in
//! a failure that says what is damaged and what would mend it. For tests and fuzzing; no part of the
//! program.

use std::path::Path;
use std::sync::Arc;

use perennial_core::id::{CustomerId, IdentifierHash, OrderRef};
use perennial_core::time::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::{
    Archived, Checkpoint, CustomerRow, Duplicates, Failure, Fingerprint, MemoryDisk, Parts, State, Taken, Trouble,
};

const ANA: CustomerId = CustomerId([1; 16]);

fn taken() -> Arc<Taken> {
    Arc::new(Taken::Memory(MemoryDisk::new()))
}

/// The tables of a file with their columns.
pub(crate) fn columns(path: &Path) -> Vec<(String, String)> {
    let db = Connection::open(path).expect("the file is there");
    let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
    let mut statement = db.prepare(sql).expect("SQLite lists its tables");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.and_then(Iterator::collect).expect("names are texts")
}

/// Puts a value into every cell of a column, or into the first where they must differ. SQLite refuses some
/// values in some columns, and leaves the cells alone then.
pub(crate) fn put_in_each(path: &Path, table: &str, column: &str, value: Value) {
    let db = Connection::open(path).expect("the file is there");
    db.execute_batch("PRAGMA synchronous=OFF; PRAGMA ignore_check_constraints=ON").expect("SQLite knows these");
    let _ = db.execute(&format!("UPDATE OR IGNORE {table} SET \"{column}\" = ?1"), [value]);
}

/// Whether a failure tells an operator which file is damaged. A damaged key store may look as if another
/// master key had sealed it.
pub(crate) fn says_what(failure: &Failure, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let trouble = failure.trouble == Trouble::Corrupt || (name == "keys.db" && failure.trouble == Trouble::MasterKey);
    trouble && failure.to_string().contains(if name == "journal.db" { "the journal" } else { &*name })
}

/// Makes a state, or uses one in each way that there is.
pub(crate) fn use_state(path: &Path) -> Result<(), Failure> {
    let state = State::open(path, taken())?;
    let position = state.position()?;
    state.workspace()?;
    state.counters()?;
    state.count()?;
    for id in state.customers(None, 10)?.iter().map(|row| row.id).chain([ANA]) {
        state.load(id)?;
        state.timeline(id, None, 10)?;
        state.timeline(id, Some(2), 10)?;
        state.search_archive(id, |body| (body == b"none").then_some(()))?;
    }
    state.customers(Some(ANA), 10)?;
    state.due(Timestamp::from_millis(i64::MAX), 10)?;
    state.lookup(IdentifierHash([1; 16]))?;
    state.order_owner(OrderRef([1; 16]))?;
    state.kept([1; 17])?;
    state.checkpoint(everything(position.saturating_add(1)))?;
    state.order_owner(OrderRef([2; 16]))?;
    state.tidy()
}

fn everything(position: u64) -> Checkpoint {
    let parts = Parts { gone: std::iter::once(0..2).collect(), bodies: vec![(3, vec![7; 9])] };
    Checkpoint {
        position,
        customers: vec![CustomerRow { id: ANA, next_due: Some(Timestamp::from_millis(5)), body: vec![1], parts }],
        gone: vec![CustomerId([2; 16])],
        identifiers: vec![(IdentifierHash([1; 16]), Some(ANA))],
        orders: vec![(OrderRef([1; 16]), ANA)],
        kept: vec![([1; 17], Some(vec![1])), ([2; 17], None)],
        archive: vec![
            (ANA, Archived { anew: position.is_multiple_of(3), body: vec![5; 7] }),
            (CustomerId([2; 16]), Archived { anew: true, body: Vec::new() }),
        ],
        timeline: vec![(ANA, position)],
        postings: Vec::new(),
        workspace: Some(vec![1]),
        counters: Some(vec![2]),
    }
}

fn message(n: u64) -> Fingerprint {
    Fingerprint { id: n.wrapping_mul(0x9e37_79b9_7f4a_7c15), body: 1 }
}

/// Makes a list of messages that has rows of every sort.
pub(crate) fn make_duplicates(path: &Path) -> Result<(), Failure> {
    let mut set = Duplicates::open(path, taken())?;
    for n in 0..1_100 {
        set.remember(message(n), n);
        if n % 250 == 0 {
            set.checkpoint(n).write()?;
        }
    }
    Ok(())
}

/// Uses a list of messages in each way that there is.
pub(crate) fn use_duplicates(path: &Path) -> Result<(), Failure> {
    let mut set = Duplicates::open(path, taken())?;
    for n in 0..20 {
        set.seen(message(n))?;
    }
    let position = set.position();
    (20..25).for_each(|n| set.remember(message(n), n));
    set.checkpoint(position).write()
}

#[cfg(test)]
mod tests {
    use perennial_core::input::{Entry, Input};

    use super::*;
    use crate::{Journal, Keys};

    fn odd() -> Vec<Value> {
        let [text, none, long] = [Value::Text("a word".into()), Value::Blob(vec![]), Value::Blob(vec![0xff; 33])];
        let numbers = [-1, 0, i64::MAX].map(Value::Integer);
        [Value::Null, Value::Real(2.5), text, none, long].into_iter().chain(numbers).collect()
    }

    /// Each column full of each odd value, and each table without rows; returns how many of these
    /// were noticed.
    #[track_caller]
    fn on_each_damage(file: &Path, use_it: impl Fn(&Path) -> Result<(), Failure>) -> usize {
        use_it(file).expect("the file is whole at first");
        let home = tempfile::tempdir().unwrap();
        let copy = home.path().join(file.file_name().unwrap());
        let (mut noticed, mut wrong) = (0, Vec::new());
        let mut try_it = |damage: String, harm: &dyn Fn()| {
            std::fs::copy(file, &copy).unwrap();
            harm();
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_it(&copy))) {
                Ok(Ok(())) => {}
                Ok(Err(failure)) if says_what(&failure, &copy) => noticed += 1,
                Ok(Err(failure)) => wrong.push(format!("{damage}: {failure}")),
                Err(_) => wrong.push(format!("{damage}: a panic")),
            }
        };
        for (table, column) in columns(file) {
            for value in odd() {
                try_it(format!("{table}.{column} = {value:?}"), &|| put_in_each(&copy, &table, &column, value.clone()));
            }
            try_it(format!("no {table}"), &|| {
                Connection::open(&copy).unwrap().execute(&format!("DELETE FROM {table}"), []).unwrap();
            });
        }
        assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
        noticed
    }

    #[test]
    fn no_row_of_the_state_is_believed_blindly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        use_state(&path).unwrap();
        assert!(on_each_damage(&path, use_state) > 60);
    }

    #[test]
    fn no_row_of_the_messages_seen_is_believed_blindly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("duplicates.db");
        make_duplicates(&path).unwrap();
        assert!(on_each_damage(&path, use_duplicates) > 30);
    }

    fn keys(path: &Path) -> Result<Keys, Failure> {
        Keys::open(path.parent().unwrap(), Some([9; 32]), taken())
    }

    fn use_keys(path: &Path) -> Result<(), Failure> {
        let keys = keys(path)?;
        keys.secret("identifiers")?;
        keys.is_destroyed(ANA)?;
        keys.kept("keys of the API")?;
        keys.keep("keys of the API", b"none")?;
        keys.destroy_old_days(Timestamp::from_millis(1 << 40))?;
        keys.tidy()
    }

    #[test]
    fn no_row_of_the_keys_is_believed_blindly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.db");
        use_keys(&path).unwrap();
        let mut journal = Journal::open(&dir.path().join("journal.db"), keys(&path).unwrap()).unwrap();
        journal.append(&[entry(1), reject(2)]).unwrap();
        drop(journal);
        assert!(on_each_damage(&path, use_keys) > 10);
    }

    fn entry(seq: u64) -> Entry {
        let (recorded_at, who) = (Timestamp::from_millis(1_000), Some(ANA));
        let input = Some(Input::Adopted { at: recorded_at, version: 1 });
        Entry { seq, recorded_at, customer: who, root: who, cause: None, input, outcome: Vec::new() }
    }

    fn reject(seq: u64) -> Entry {
        Entry { customer: None, root: None, ..entry(seq) }
    }

    #[test]
    fn no_row_of_the_journal_is_believed_blindly() {
        let dir = tempfile::tempdir().unwrap();
        let (path, ring) = (dir.path().join("journal.db"), dir.path().join("keys.db"));
        Journal::open(&path, keys(&ring).unwrap()).unwrap().append(&[entry(1), reject(2), entry(3)]).unwrap();
        let use_it = |path: &Path| {
            let mut journal = Journal::open(path, keys(&ring)?)?;
            let reader = journal.reader();
            reader.check_keys()?;
            reader.entry(2)?;
            reader.iter(1).collect::<Result<Vec<_>, _>>()?;
            journal.append(&[entry(journal.last_seq().saturating_add(1))])
        };
        assert!(on_each_damage(&path, use_it) > 20);
    }
}
