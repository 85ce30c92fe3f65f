//! How it stands with the log, as its threads tell each other.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What can be known of the log while it is written.
#[derive(Debug, Default)]
pub struct Status {
    pub(super) broken: AtomicBool,
    pub(super) stopping: AtomicBool,
    pub(super) written: AtomicU64,
    pub(super) queued: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Status {
    /// The last write failed; nothing is accepted until one succeeds.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Lines written since the start.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Events that waited when the writer last looked.
    pub fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// How often there was no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Writes that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Events that were pushed without room and are gone: always 0 in a right program.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}
