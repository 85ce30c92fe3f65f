//! How a generated statement came out.

use crate::compare::{Closeness, Rows, summary};
use crate::support::wire::Answer;

/// What comparing the two sides gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The same rows, tags and, after a write, tables.
    Same,
    /// The same error.
    BothFailed(String),
    /// The proxy's answer is that of row-level security where the others' rows do not exist at all: with them
    /// there, row-level security itself errs (its hole with ARRAY expressions).
    OracleLeaks,
    /// The proxy refused.
    Refused { rule: String, message: String, oracle_failed: bool },
    /// Nothing can be said.
    Untold(String),
    /// A message of the proxy shows another tenant's value.
    Leaks(String),
    /// Another answer than the oracle's.
    Differs(String),
}

/// Rows as a set; everything else as it is.
pub fn exact() -> Closeness {
    Closeness { ordered: false, rows: Rows::Same }
}

/// The proxy's own refusal in an answer: its rule and what it says.
pub fn refusal(answer: &Answer) -> Option<(String, String)> {
    let outcomes = answer.outcomes();
    let refused = outcomes.iter().find(|o| o.refused_by().is_some())?;
    Some((refused.refused_by()?.to_owned(), summary(refused)))
}
