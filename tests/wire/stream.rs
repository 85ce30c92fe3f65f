//! Large values pass without being held.

use std::io::Read;

use crate::messages::{once, query, sync};
use crate::stage::Stage;
use crate::support::wire::Connection;

const LARGE: usize = 200 * 1024 * 1024;

/// A value of 200 MiB, and 200 MiB of COPY, pass through a bounded buffer. Fails when rows are kept whole.
pub fn a_large_value_passes_in_bounded_memory(stage: &Stage) {
    let proxy = stage.narrow("stream");
    let value = format!("select repeat('x', {LARGE})");
    let rows = format!(
        "copy (select repeat('x', 1000000) from generate_series(1, {})) to stdout",
        LARGE / 1_000_000
    );
    let before = proxy.peak_memory();
    for request in [query(&value), [once(&value, &[]), sync()].concat(), query(&rows)] {
        let mut client = Connection::of(&proxy, "tenant_a");
        client.say(&request);
        let mut taken = 0_usize;
        let mut last = [0; 6];
        let mut buffer = vec![0; 1 << 20];
        while last != *b"Z\0\0\0\x05I" {
            let length = client.stream.read(&mut buffer).expect("more");
            assert!(length > 0, "the end after {taken} bytes");
            taken += length;
            let kept = length.min(6);
            last.rotate_left(kept);
            last[6 - kept..].copy_from_slice(&buffer[length - kept..length]);
        }
        assert!(taken > LARGE - 1_000_000, "{taken} bytes");
    }
    let grown = proxy.peak_memory() - before;
    assert!(grown < 32 * 1024, "{grown} KiB more");
}
