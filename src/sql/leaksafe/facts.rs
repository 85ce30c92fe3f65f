//! What is known of a total expression: how long its texts, and how many its digits, can be.

use crate::sql::resolve::oid;
use crate::sql::typed::ExprType;

use super::LARGEST_TEXT;

/// Bytes of a text of 10 000 000 characters, the largest bound that counts.
pub(super) const LARGEST_BOUND: usize = 40_000_000;
/// The longest literal that numeric arithmetic takes.
pub(super) const LONGEST_NUMBER: usize = 100;

/// What is known of a total expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// It reads a column.
    pub columns: bool,
    /// It is of literals and immutable functions alone.
    pub folded: bool,
    /// A bound of a text's length in bytes.
    pub bytes: Option<usize>,
    /// A bound of a numeric's digits; it is not infinite.
    pub digits: Option<usize>,
}

impl Facts {
    pub fn of_column(ty: ExprType, bounded: bool) -> Self {
        const HEADER: i32 = 4;
        let modifier = ty.typmod.checked_sub(HEADER).and_then(|m| usize::try_from(m).ok());
        let characters = match ty.oid {
            oid::VARCHAR | oid::BPCHAR => modifier,
            _ => None,
        };
        let declared = characters.and_then(|c| c.checked_mul(4)).filter(|b| *b <= LARGEST_BOUND);
        let bytes = match ty.oid {
            oid::NAME => Some(64),
            _ if bounded => Some(declared.unwrap_or(LARGEST_BOUND)),
            _ => declared,
        };
        let digits = match (ty.oid, modifier) {
            (oid::NUMERIC, Some(modifier)) => digits_of_modifier(modifier),
            _ => None,
        };
        Self { columns: true, folded: false, bytes, digits }
    }

    /// Of any literal of this class, not of this one alone: a text may be as long as a statement may be, which is far
    /// below the bound of what a text may grow to, and digits count only once the literal is pinned (`Judge::arithmetic`).
    pub fn of_literal(ty: ExprType, text: Option<&str>) -> Self {
        let number = matches!(ty.oid, oid::NUMERIC | oid::INT4 | oid::INT8);
        let plain = |t: &&str| {
            t.len() <= LONGEST_NUMBER && t.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b))
        };
        Self {
            columns: false,
            folded: true,
            bytes: text.map(|t| t.len().max(LARGEST_TEXT)),
            digits: text.filter(|_| number).filter(plain).map(str::len),
        }
    }

    /// What holds for both of two expressions, either of which may be the value.
    pub fn joined(self, other: Self) -> Self {
        Self {
            columns: self.columns || other.columns,
            folded: self.folded && other.folded,
            bytes: self.bytes.zip(other.bytes).map(|(a, b)| a.max(b)),
            digits: self.digits.zip(other.digits).map(|(a, b)| a.max(b)),
        }
    }

    pub fn without_bounds(self) -> Self {
        Self { bytes: None, digits: None, ..self }
    }

    /// What is left of the arguments' facts for a node that the planner may not fold.
    pub fn unfolded(self) -> Self {
        Self { folded: false, bytes: None, digits: None, ..self }
    }

    /// A text that comes from a row and may have any length.
    pub fn is_unbounded(&self) -> bool {
        self.columns && self.bytes.is_none()
    }
}

/// Precision and scale of a modifier without its header (numeric.c).
fn digits_of_modifier(modifier: usize) -> Option<usize> {
    let precision = (modifier >> 16) & 0xffff;
    let scale = modifier & 0x7ff;
    // Eleven bits with a sign.
    let scale = if scale > 1024 { 2048_usize.checked_sub(scale)? } else { scale };
    precision.checked_add(scale)
}
