//! How the bytes of a sequence are cut into writes.

use crate::generated::rng::Rng;

/// Most writes of one byte each: behind them the rest goes as one.
const MOST_PIECES: usize = 600;

/// A way to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// One write.
    Whole,
    /// A write for each message.
    Messages,
    /// A write for each batch: up to what is answered with ReadyForQuery.
    Batches,
    /// The same, but each write ends within the first message of the next batch.
    AcrossBatches,
    /// Each answer is awaited.
    InTurns,
    /// A byte each.
    Bytes,
    /// Anywhere, with pauses, chosen by this seed.
    Anywhere(u64),
}

impl Cut {
    pub fn chosen(rng: &mut Rng) -> Self {
        match rng.below(10) {
            0..3 => Self::Whole,
            3 => Self::Messages,
            4 => Self::Batches,
            5 => Self::AcrossBatches,
            6 => Self::InTurns,
            7 => Self::Bytes,
            _ => Self::Anywhere(rng.next()),
        }
    }

    /// The pieces, each with how long is listened behind it. `ends`: where each message ends, and whether it is
    /// answered with ReadyForQuery.
    pub fn pieces<'b>(&self, bytes: &'b [u8], ends: &[(usize, bool)]) -> Vec<(&'b [u8], Pause)> {
        let batches = || ends.iter().filter(|(_, answered)| *answered).map(|(end, _)| *end);
        let at: Vec<(usize, Pause)> = match self {
            Self::Whole => Vec::new(),
            Self::Messages => ends.iter().map(|(end, _)| (*end, Pause::No)).collect(),
            Self::Batches => batches().map(|end| (end, Pause::No)).collect(),
            Self::AcrossBatches => batches().map(|end| (end.saturating_add(3), Pause::Short)).collect(),
            Self::InTurns => batches().map(|end| (end, Pause::Answered)).collect(),
            Self::Bytes => (1..bytes.len().min(MOST_PIECES)).map(|end| (end, Pause::No)).collect(),
            Self::Anywhere(seed) => anywhere(&mut Rng::new(*seed), bytes.len()),
        };
        let mut pieces = Vec::new();
        let mut from = 0;
        for (end, pause) in at.into_iter().chain([(bytes.len(), Pause::No)]) {
            if let Some(piece) = bytes.get(from..end).filter(|piece| !piece.is_empty()) {
                pieces.push((piece, pause));
                from = end;
            }
        }
        if let Some(rest) = bytes.get(from..).filter(|rest| !rest.is_empty()) {
            pieces.push((rest, Pause::No));
        }
        pieces
    }
}

fn anywhere(rng: &mut Rng, length: usize) -> Vec<(usize, Pause)> {
    let longest = *rng.pick(&[7, 40, 200, 800]);
    let mut at = Vec::new();
    let mut end = 0;
    while end < length {
        end += 1 + rng.below(longest);
        let pause = if rng.chance(15) { Pause::Short } else { Pause::No };
        at.push((end.min(length), pause));
    }
    at
}

/// What happens behind a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    No,
    /// Some time passes.
    Short,
    /// An answer comes, or no more.
    Answered,
}
