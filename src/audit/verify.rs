//! Checks a log offline: which lines were changed, dropped, moved, repeated or cut off.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::chain::{Hash, Link, ORIGIN, digest};
use super::line::MAX_LINE_BYTES;

/// More faults than this are counted, not listed.
const LISTED: usize = 1000;

/// Why a log cannot be checked.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub struct VerifyError {
    path: PathBuf,
    source: io::Error,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Lines in the file.
    pub lines: u64,
    /// What is wrong, in the order of the file (the first thousand).
    pub faults: Vec<Fault>,
    /// How much is wrong in all.
    pub fault_count: u64,
    /// `seq` and `hash` of the last line that holds: keep it elsewhere to see whether the end was cut off.
    pub last: Option<(u64, String)>,
    /// The last line is the one that a writer leaves when it stops; else it still runs, was killed, or lines
    /// were taken from the end.
    pub closed: bool,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of the file, from 1.
    pub line: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// Its hash is not that of its bytes.
    Changed,
    /// It is not a line of a log.
    NotALine,
    /// It has no end.
    CutOff,
    /// Before it, lines with these numbers are missing.
    Missing {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// It stands later than its number says.
    Moved {
        /// Its number.
        seq: u64,
    },
    /// Its number was there before.
    Repeated {
        /// Its number.
        seq: u64,
    },
    /// It does not follow from the line before it: that one was put in the place of another.
    Unlinked,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            FaultKind::Changed => f.write_str("changed: its hash is not that of its bytes"),
            FaultKind::NotALine => f.write_str("not a line of an audit log"),
            FaultKind::CutOff => f.write_str("cut off: it has no end"),
            FaultKind::Missing { first, last } if first == last => {
                write!(f, "dropped: number {first} is missing before it")
            }
            FaultKind::Missing { first, last } => {
                write!(f, "dropped: numbers {first} to {last} are missing before it")
            }
            FaultKind::Moved { seq } => write!(f, "moved: number {seq} belongs further up"),
            FaultKind::Repeated { seq } => write!(f, "repeated: number {seq} was there before"),
            FaultKind::Unlinked => f.write_str("replaced: it does not follow from the line before it"),
        }
    }
}

impl Report {
    /// Nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, line: u64, kind: FaultKind) {
        self.fault_count = self.fault_count.saturating_add(1);
        if self.faults.len() < LISTED {
            self.faults.push(Fault { line, kind });
        }
    }
}

/// Reads a log from its first line to its last.
pub fn verify(path: &Path) -> Result<Report, VerifyError> {
    let failed = |source| VerifyError { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    check(BufReader::new(file)).map_err(failed)
}

fn check(mut log: impl BufRead) -> io::Result<Report> {
    let mut walk = Walk { report: Report::default(), next: 1, prev: ORIGIN, missing: BTreeSet::new() };
    let mut line = Vec::new();
    while read_line(&mut log, &mut line)? {
        walk.line(&line);
    }
    Ok(walk.report)
}

/// Reads a line with its newline, cut where it is longer than any line of a log.
fn read_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let most = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    log.by_ref().take(most).read_until(b'\n', line)?;
    if line.len() >= MAX_LINE_BYTES && line.last() != Some(&b'\n') {
        log.skip_until(b'\n')?;
        line.push(b'\n');
    }
    Ok(!line.is_empty())
}

struct Walk {
    report: Report,
    /// `seq` that should come.
    next: u64,
    /// `prev` that it should have.
    prev: Hash,
    /// Numbers that were skipped and have not turned up; ranges by their first and last.
    missing: BTreeSet<(u64, u64)>,
}

impl Walk {
    fn line(&mut self, line: &[u8]) {
        self.report.lines = self.report.lines.saturating_add(1);
        let number = self.report.lines;
        self.report.closed = false;
        let Some(body) = line.strip_suffix(b"\n") else {
            return self.report.fault(number, FaultKind::CutOff);
        };
        let Some(link) = Link::parse(body) else {
            return self.report.fault(number, FaultKind::NotALine);
        };
        if digest(link.hashed) != *link.hash {
            self.report.fault(number, FaultKind::Changed);
        }
        if link.seq < self.next {
            let kind = match self.found(link.seq) {
                true => FaultKind::Moved { seq: link.seq },
                false => FaultKind::Repeated { seq: link.seq },
            };
            return self.report.fault(number, kind);
        }
        if link.seq > self.next {
            let last = link.seq.saturating_sub(1);
            self.report.fault(number, FaultKind::Missing { first: self.next, last });
            self.missing.insert((self.next, last));
        } else if *link.prev != self.prev {
            self.report.fault(number, FaultKind::Unlinked);
        }
        self.follow(&link);
    }

    fn follow(&mut self, link: &Link<'_>) {
        self.next = link.seq.saturating_add(1);
        if let Ok(hash) = link.hash.try_into() {
            self.prev = hash;
        }
        self.report.last = Some((link.seq, String::from_utf8_lossy(link.hash).into_owned()));
        // Quotes inside a text are escaped: this cannot be part of one.
        let stop = b",\"event\":\"stop\"";
        self.report.closed = link.hashed.windows(stop.len()).any(|window| window == stop);
    }

    /// Takes a number off those that are missing.
    fn found(&mut self, seq: u64) -> bool {
        let Some((first, last)) = self.missing.range(..=(seq, u64::MAX)).next_back().copied() else {
            return false;
        };
        if !(first..=last).contains(&seq) {
            return false;
        }
        self.missing.remove(&(first, last));
        if first < seq {
            self.missing.insert((first, seq.saturating_sub(1)));
        }
        if seq < last {
            self.missing.insert((seq.saturating_add(1), last));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Chain;

    /// Five lines, each with its newline.
    fn log() -> Vec<Vec<u8>> {
        let mut chain = Chain::default();
        let lines = (1..=5).map(|seq| {
            let mut line =
                format!("{{\"seq\":{seq},\"event\":\"{}\"", if seq == 5 { "stop" } else { "x" }).into_bytes();
            chain.seal(&mut line, 0);
            line
        });
        lines.collect()
    }

    fn report(lines: &[Vec<u8>]) -> Report {
        check(lines.concat().as_slice()).unwrap()
    }

    fn faults(lines: &[Vec<u8>]) -> Vec<Fault> {
        report(lines).faults
    }

    fn fault(line: u64, kind: FaultKind) -> Fault {
        Fault { line, kind }
    }

    #[test]
    fn an_untouched_log_is_sound_and_closed() {
        let report = report(&log());
        assert!(report.is_sound() && report.closed);
        assert_eq!((report.lines, report.last.map(|(seq, _)| seq)), (5, Some(5)));
    }

    #[test]
    fn a_changed_byte_anywhere_is_found() {
        let good = log();
        for place in 0..good[2].len() - 1 {
            let mut lines = good.clone();
            lines[2][place] ^= 1;
            assert!(!report(&lines).is_sound(), "byte {place}");
        }
        let mut lines = good;
        lines[2] = String::from_utf8(lines[2].clone()).unwrap().replace("\"x\"", "\"y\"").into_bytes();
        assert_eq!(faults(&lines), [fault(3, FaultKind::Changed)]);
    }

    #[test]
    fn a_line_that_was_made_anew_does_not_fit() {
        let mut lines = log();
        let prev = String::from_utf8(lines[1].clone()).unwrap();
        let prev = prev.rsplit('"').nth(1).unwrap().as_bytes().try_into().unwrap();
        let mut forged = b"{\"seq\":3,\"event\":\"forged\"".to_vec();
        Chain { next: 3, prev }.seal(&mut forged, 0);
        lines[2] = forged;
        assert_eq!(faults(&lines), [fault(4, FaultKind::Unlinked)]);
    }

    #[test]
    fn dropped_lines_are_found() {
        let mut lines = log();
        lines.remove(2);
        assert_eq!(faults(&lines), [fault(3, FaultKind::Missing { first: 3, last: 3 })]);
        lines.remove(2);
        assert_eq!(faults(&lines), [fault(3, FaultKind::Missing { first: 3, last: 4 })]);
        let without_first = &log()[1..];
        assert_eq!(faults(without_first), [fault(1, FaultKind::Missing { first: 1, last: 1 })]);
        assert!(!report(&log()[..4]).closed);
    }

    #[test]
    fn moved_and_repeated_lines_are_found() {
        let mut moved = log();
        moved.swap(1, 2);
        let gap = FaultKind::Missing { first: 2, last: 2 };
        assert_eq!(faults(&moved), [fault(2, gap), fault(3, FaultKind::Moved { seq: 2 })]);
        let mut repeated = log();
        repeated.insert(3, repeated[1].clone());
        assert_eq!(faults(&repeated), [fault(4, FaultKind::Repeated { seq: 2 })]);
    }

    #[test]
    fn cut_off_and_foreign_lines_are_found() {
        let mut cut = log();
        let half = cut[4].len() / 2;
        cut[4].truncate(half);
        assert_eq!(faults(&cut), [fault(5, FaultKind::CutOff)]);
        let mut unended = log();
        unended[4].pop();
        assert_eq!(faults(&unended), [fault(5, FaultKind::CutOff)]);
        let mut foreign = log();
        foreign.insert(2, b"hello\n".to_vec());
        foreign.insert(3, [vec![b'x'; 3 << 20], vec![b'\n']].concat());
        assert_eq!(faults(&foreign), [fault(3, FaultKind::NotALine), fault(4, FaultKind::NotALine)]);
    }
}
