//! Threads that the process cannot do without: one that panics says so, is counted, and begins again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// So that what panics at once does not do so without a pause.
const BEFORE_ANOTHER: Duration = Duration::from_millis(100);

static DEATHS: AtomicU64 = AtomicU64::new(0);

/// How many threads of the process have panicked and begun again.
pub fn deaths() -> u64 {
    DEATHS.load(Relaxed)
}

/// Does the work of a thread until it returns; where it panics it begins again.
pub fn keep(thread: &str, mut work: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
        died(thread);
        std::thread::sleep(BEFORE_ANOTHER);
    }
}

/// Tells and counts a panic of a thread that mends itself.
pub fn died(thread: &str) {
    DEATHS.fetch_add(1, Relaxed);
    tracing::error!(thread, "a thread panicked: it begins again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_begins_again_and_is_counted() {
        let before = deaths();
        let mut turns = 0;
        keep("test", || {
            turns += 1;
            assert!(turns > 2, "injected");
        });
        assert!(turns == 3 && deaths() >= before + 2);
    }
}
