//! Import: whatever the mapping and the rows are, every row and piece read is accounted for.
//!
//! Up to a line of three dashes the input is a mapping, behind it the file that the mapping reads.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use perennial::import::{Batch, Options, Sink, SinkError, Taken, compile};
use perennial_core::event::Product;
use perennial_core::input::Input;
use perennial_core::time::Timestamp;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder for files")
});

/// Takes everything, and looks at each input once.
struct Counting(u64);

impl Sink for Counting {
    fn catalogue(&mut self, _: Vec<Product>) -> Result<(), SinkError> {
        Ok(())
    }

    fn inputs(&mut self, inputs: Vec<Input>) -> Result<Batch, SinkError> {
        for input in &inputs {
            let bytes = postcard::to_stdvec(input).expect("what was made can be written");
            assert_eq!(&postcard::from_bytes::<Input>(&bytes).expect("and read"), input);
        }
        self.0 += inputs.len() as u64;
        let taken = Taken { new: inputs.len() as u64, ..Taken::default() };
        Ok(Batch { taken, ..Batch::default() })
    }
}

fuzz_target!(|data: &[u8]| {
    let cut = data.windows(5).position(|bytes| bytes == b"\n---\n");
    let (mapping, rows) = cut.map_or((data, &data[..0]), |at| (&data[..at + 1], &data[at + 5..]));
    let Ok(mapping) = std::str::from_utf8(mapping) else { return };
    let plan = match compile(mapping) {
        Ok(plan) => plan,
        Err(problems) => return assert!(!problems.is_empty(), "a refusal says why"),
    };
    let file = FOLDER.path().join("rows");
    std::fs::write(&file, rows).expect("a file to read");
    let mut options = Options::new(&file, Timestamp::from_millis(1_767_268_800_000));
    options.max_rows = 10_000;
    let mut sink = Counting(0);
    if let Ok(totals) = plan.run(&mut sink, &options) {
        assert_eq!(totals.gaps(), Vec::<String>::new(), "what was read is accounted for");
        assert_eq!(totals.taken.new, sink.0);
        let _ = totals.table();
    }
});
