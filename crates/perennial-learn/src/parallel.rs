//! Parallel: one range of work, cut into runs, answered in order.
//!
//! Promise: the answer does not depend on the number of threads, because every piece of work is
//! computed alone and pieces are put back in their order. Threads end with the call and never spin.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Calls `work` on runs of `0..count` with at most `threads` threads; answers come back in order.
///
/// `size` is the number of pieces in a run: a thread that is done takes the next run.
pub(crate) fn runs<T: Send>(
    count: usize,
    size: usize,
    threads: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let size = size.max(1);
    let total = count.div_ceil(size);
    let range = |run: usize| run * size..((run + 1) * size).min(count);
    if threads <= 1 || total <= 1 {
        return (0..total).map(|run| work(range(run))).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= total {
                return done;
            }
            done.push((run, work(range(run))));
        }
    };
    let mut all: Vec<(usize, T)> = thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(total)).map(|_| scope.spawn(take)).collect();
        let mut all = take();
        for helper in helpers {
            match helper.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(run, _)| *run);
    all.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn the_answer_is_the_same_for_any_number_of_threads() {
        let work = |range: std::ops::Range<usize>| range.map(|x| x * x).sum::<usize>();
        let alone = runs(1000, 7, 1, work);
        assert_eq!(alone, runs(1000, 7, 4, work));
        assert_eq!(alone.iter().sum::<usize>(), (0..1000).map(|x: usize| x * x).sum::<usize>());
    }
}
