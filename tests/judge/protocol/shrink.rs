//! Makes a sequence that shows a difference as short as it still shows one.

use std::time::{Duration, Instant};

use super::maker;
use super::message::Sent;

/// Most sequences that are tried.
const MOST_TRIES: usize = 300;
/// No longer than this.
const LIMIT: Duration = Duration::from_secs(40);

/// The shortest that `differs`, found by leaving messages out.
pub fn shortest(sequence: &[Sent], mut differs: impl FnMut(&[Sent]) -> bool) -> Vec<Sent> {
    let mut kept = sequence.to_vec();
    let (mut tries, began) = (0, Instant::now());
    let mut length = kept.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        while at < kept.len() && tries < MOST_TRIES && began.elapsed() < LIMIT {
            let end = (at + length).min(kept.len());
            let without: Vec<_> = kept[..at].iter().chain(&kept[end..]).cloned().collect();
            tries += 1;
            if is_legal(&without) && differs(&without) { kept = without } else { at = end }
        }
        length /= 2;
    }
    kept
}

/// Whether a sequence is one that is made: no Query within a batch, and nothing but data behind a COPY FROM.
fn is_legal(sequence: &[Sent]) -> bool {
    let is_load = |sql: &str| sql.contains("from stdin");
    let (mut in_batch, mut loads) = (false, false);
    let is_safe = |(at, message): (usize, &Sent)| maker::is_safe(&sequence[..at], message);
    if !sequence.iter().enumerate().all(is_safe) {
        return false;
    }
    let mut rest = sequence.iter();
    while let Some(message) = rest.next() {
        let takes_data = match message {
            Sent::Query(_) if in_batch => return false,
            Sent::Query(sql) => is_load(sql),
            Sent::Parse { sql, .. } => {
                loads |= is_load(sql);
                false
            }
            Sent::Execute { .. } => loads,
            _ => false,
        };
        if takes_data {
            let is_data = |m: &Sent| match m {
                Sent::Query(sql) => !is_load(sql),
                m => matches!(m, Sent::CopyData(_) | Sent::Flush | Sent::Sync),
            };
            let end = rest.find(|message| !is_data(message));
            if !matches!(end, Some(Sent::CopyDone | Sent::CopyFail(_))) {
                return false;
            }
        }
        in_batch = match message {
            Sent::Sync => false,
            Sent::Query(_) | Sent::CopyData(_) | Sent::CopyDone | Sent::CopyFail(_) => in_batch,
            _ => true,
        };
    }
    true
}
