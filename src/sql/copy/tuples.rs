//! The stream in binary: whole tuples in, the same tuples with their tenant out.

use super::Place;
use super::binary::{self, Phase, Row};
use super::tenant::{self, Verdict};
use super::transcode::{Going, Transcoder, malformed};
use crate::policy::Refusal;

/// Bytes that are put behind a carried row at least, if there are so many.
const LEAST_CARRIED: usize = 512;

impl Transcoder {
    pub(super) fn tuples(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut rest = bytes;
        while !self.carry.is_empty() && !rest.is_empty() {
            rest = self.carried_tuple(rest, out)?;
        }
        let used = self.tuples_of(rest, out)?;
        self.keep(rest.get(used..).unwrap_or_default())
    }

    /// Goes on with a carried row. Only so much is copied behind it as may end it, twice as much each time; gives what is
    /// left of `bytes`.
    fn carried_tuple<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> Result<&'b [u8], Refusal> {
        let mut carry = std::mem::take(&mut self.carry);
        let carried = carry.len();
        let (piece, after) = bytes.split_at_checked(carried.max(LEAST_CARRIED)).unwrap_or((bytes, &[]));
        carry.extend_from_slice(piece);
        let used = self.tuples_of(&carry, out)?;
        let rest = match used.checked_sub(carried) {
            Some(taken) => {
                carry.clear();
                bytes.get(taken..).unwrap_or_default()
            }
            None => {
                carry.drain(..used);
                after
            }
        };
        self.carry = carry;
        self.keep(&[])?;
        Ok(rest)
    }

    /// Works on whole rows; gives how many bytes they are.
    fn tuples_of(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Refusal> {
        let mut at = 0usize;
        while self.going == Going::On {
            let rest = bytes.get(at..).unwrap_or_default();
            let passed = match self.phase {
                Phase::Head if rest.len() < binary::HEAD => return Ok(at),
                Phase::Head => match binary::extension(rest) {
                    Some(length) => {
                        self.phase = Phase::Extension(length);
                        binary::HEAD
                    }
                    None => self.broken(
                        rest.get(..binary::HEAD).unwrap_or(rest),
                        "COPY file signature not recognized",
                    )?,
                },
                Phase::Extension(0) => {
                    self.phase = Phase::Rows;
                    continue;
                }
                Phase::Extension(_) | Phase::End if rest.is_empty() => return Ok(at),
                Phase::Extension(left) => {
                    let passed = left.min(rest.len());
                    self.phase = Phase::Extension(left.saturating_sub(passed));
                    passed
                }
                Phase::End => {
                    self.broken(rest.get(..1).unwrap_or(rest), "received copy data after EOF marker")?
                }
                Phase::Rows => match self.tuple(rest, out)? {
                    Some(taken) => {
                        at = at.saturating_add(taken);
                        continue;
                    }
                    None => return Ok(at),
                },
            };
            if !self.inserts() {
                out.extend_from_slice(rest.get(..passed).unwrap_or(rest));
            }
            at = at.saturating_add(passed);
        }
        Ok(bytes.len())
    }

    /// Works on the row at the front; gives its bytes, none where it has not come whole.
    fn tuple(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        let (asked, type_oid) = match &self.load.place {
            Place::Given { index, type_oid } => (Some(*index), *type_oid),
            Place::Added { .. } | Place::Nowhere => (None, 0),
        };
        let (length, count, value) = match binary::row(rest, asked) {
            Row::Incomplete => return Ok(None),
            Row::Trailer => {
                self.phase = Phase::End;
                if !self.inserts() {
                    out.extend_from_slice(rest.get(..2).unwrap_or_default());
                }
                return Ok(Some(2));
            }
            Row::Malformed(end) => {
                let read = rest.get(..end).unwrap_or(rest);
                let taken = self.broken(read, "invalid field size")?;
                out.extend_from_slice(read);
                return Ok(Some(taken));
            }
            Row::Whole { length, count, value } => (length, count, value),
        };
        let row = rest.get(..length).unwrap_or(rest);
        // A row of another width is the server's to refuse.
        if usize::try_from(count) != Ok(self.load.columns.len()) {
            let wanted = self.load.columns.len();
            self.broken(row, &format!("row field count is {count}, expected {wanted}"))?;
        }
        self.rows = self.rows.saturating_add(1);
        match &self.load.place {
            Place::Added { .. } if !self.inserts() => {
                out.extend_from_slice(&count.saturating_add(1).to_be_bytes());
                out.extend_from_slice(&self.tenant.before);
                out.extend_from_slice(row.get(2..).unwrap_or_default());
                return Ok(Some(length));
            }
            Place::Given { .. } if self.going == Going::On && !self.inserts() => {
                let value = value.and_then(|value| row.get(value));
                let verdict = value.map(|value| tenant::binary(type_oid, &self.tenant.field, value));
                if !matches!(verdict, Some(Verdict::Own | Verdict::Malformed)) {
                    return Err(self.foreign());
                }
            }
            Place::Given { .. } | Place::Added { .. } | Place::Nowhere => {}
        }
        out.extend_from_slice(row);
        Ok(Some(length))
    }

    /// What is passed on, and ends the reading here: the server refuses it.
    fn broken(&mut self, rest: &[u8], fault: &str) -> Result<usize, Refusal> {
        self.going = Going::Broken;
        if self.inserts() { Err(malformed(fault)) } else { Ok(rest.len()) }
    }
}
