//! Fuzz targets: frames, rows of COPY, and statements. `cargo test` replays each target's corpus and then makes inputs of
//! its own, for as long as `PGBULKHEAD_FUZZ_MILLIS` says (2 s a target); `cargo bolero test frames::any_cut` (bolero's
//! own tool) runs one for hours, guided by coverage. What is found goes into the target's corpus.

mod copy_reading;
mod copy_rows;
mod frames;
mod source;
mod statements;

#[path = "../support/world.rs"]
mod world;

use std::time::Duration;

/// How long a target makes inputs of its own.
fn patience() -> Duration {
    let millis = std::env::var("PGBULKHEAD_FUZZ_MILLIS").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(millis.unwrap_or(2_000))
}
