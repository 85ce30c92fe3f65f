//! The first stage: how long a text may be before anything looks into it.

use crate::policy::{Refusal, Rule, SqlState};

/// What a client's text may cost. Everything behind it (lexer, parsers, walks) may rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one text, all its statements together. Beyond: 54000.
    pub max_bytes: usize,
    /// Tokens of one statement. Beyond: 54001.
    pub max_tokens: usize,
    /// Parentheses and brackets open at once. Beyond: 54001.
    pub max_nesting: usize,
}

impl Default for Limits {
    /// 1 MiB, 400 000 tokens (an IN list of 100 000 elements is 200 000), 1 500 parentheses (libpg_query gives
    /// up at 1 660 nested sub-selects).
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_tokens: 400_000, max_nesting: 1_500 }
    }
}

/// A client's text whose length is within the limits and that holds no NUL.
#[derive(Debug, Clone, Copy)]
pub struct Bounded<'a> {
    text: &'a str,
    suspicious: bool,
}

impl<'a> Bounded<'a> {
    /// Checks a text. 54000 where it is too long, 22021 where it holds a NUL.
    pub fn new(text: &'a str, limits: &Limits) -> Result<Self, Refusal> {
        if text.len() > limits.max_bytes {
            let message = format!("the text has {} bytes, the limit is {}", text.len(), limits.max_bytes);
            return Err(Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), message));
        }
        let bytes = text.as_bytes();
        // Most texts hold none of the three.
        let suspicious = memchr::memchr3(0, 0xef, 0x0b, bytes).is_some();
        if suspicious && let Some(position) = memchr::memchr(0, bytes) {
            let mut refusal =
                Refusal::new(SqlState::BAD_ENCODING, Rule("encoding"), "invalid byte sequence: 0x00");
            refusal.position = Some(position);
            return Err(refusal);
        }
        Ok(Self { text, suspicious })
    }

    /// Whether the text may hold a vertical tab or a U+FEFF.
    pub(super) fn is_suspicious(self) -> bool {
        self.suspicious
    }

    /// The text.
    pub fn text(self) -> &'a str {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str, max_bytes: usize) -> Option<SqlState> {
        Bounded::new(text, &Limits { max_bytes, ..Limits::default() }).err().map(|r| r.state)
    }

    #[test]
    fn a_text_at_the_limit_passes_and_one_byte_more_does_not() {
        assert_eq!(state("select 1", 8), None);
        assert_eq!(state("select 1 ", 8), Some(SqlState::TOO_LARGE));
    }

    #[test]
    fn nul_is_refused_wherever_it_stands() {
        assert_eq!(state("select '\0'", 100), Some(SqlState::BAD_ENCODING));
    }
}
