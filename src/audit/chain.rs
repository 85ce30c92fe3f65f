//! The hash chain: what makes a line vouch for the one before it.

use sha2::{Digest, Sha256};

/// What stands before the hash of the line before.
const PREV: &str = ",\"prev\":\"";
/// What stands before a line's own hash.
pub(super) const HASH: &str = "\",\"hash\":\"";
/// What ends a line.
pub(super) const END: &str = "\"}";

/// A SHA-256 in hexadecimal.
pub type Hash = [u8; 64];

/// `prev` of the first line of a log.
pub const ORIGIN: Hash = [b'0'; 64];

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// `seq` of the line that comes next.
    pub next: u64,
    /// `hash` of the line before it.
    pub prev: Hash,
}

impl Default for Chain {
    fn default() -> Self {
        Self { next: 1, prev: ORIGIN }
    }
}

impl Chain {
    /// Ends a line that begins at byte `start` of `out` and holds everything but `prev` and `hash`.
    pub fn seal(&mut self, out: &mut Vec<u8>, start: usize) {
        out.extend_from_slice(PREV.as_bytes());
        out.extend_from_slice(&self.prev);
        out.push(b'"');
        let hash = digest(out.get(start..).unwrap_or_default());
        // The quote that closes `prev` is hashed; HASH begins with it.
        out.pop();
        out.extend_from_slice(HASH.as_bytes());
        out.extend_from_slice(&hash);
        out.extend_from_slice(END.as_bytes());
        out.push(b'\n');
        self.prev = hash;
        self.next = self.next.saturating_add(1);
    }
}

/// The SHA-256 of some bytes, in lower-case hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> Hash {
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(Sha256::digest(bytes)) {
        if let [high, low] = pair {
            *high = digit(byte >> 4);
            *low = digit(byte & 15);
        }
    }
    hex
}

fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.saturating_add(nibble),
        _ => b'a'.saturating_add(nibble.saturating_sub(10)),
    }
}

/// A line without its newline, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link<'l> {
    /// What is hashed.
    pub(super) hashed: &'l [u8],
    /// `seq`.
    pub(super) seq: u64,
    /// `prev`.
    pub(super) prev: &'l [u8],
    /// `hash`.
    pub(super) hash: &'l [u8],
}

impl<'l> Link<'l> {
    /// Finds the parts by their places; nothing for what is not a whole line of a log.
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        let (body, hash) = cut_hash(line.strip_suffix(END.as_bytes())?)?;
        let body = body.strip_suffix(HASH.as_bytes())?;
        let (head, prev) = cut_hash(body)?;
        head.strip_suffix(PREV.as_bytes())?;
        let digits = line.strip_prefix(b"{\"seq\":")?;
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        let seq = std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()?;
        let hashed = line.get(..body.len().checked_add(1)?)?;
        Some(Self { hashed, seq, prev, hash })
    }
}

/// Splits 64 hexadecimal digits off the end.
fn cut_hash(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, hash) = bytes.split_at_checked(bytes.len().checked_sub(64)?)?;
    let hex = hash.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    hex.then_some((rest, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_line_is_taken_apart_again() {
        let mut chain = Chain::default();
        let mut out = b"{\"seq\":1,\"a\":\"b\"".to_vec();
        chain.seal(&mut out, 0);
        let line = out.strip_suffix(b"\n").unwrap();
        let link = Link::parse(line).unwrap();
        assert_eq!((link.seq, link.prev), (1, ORIGIN.as_slice()));
        assert_eq!(link.hash, digest(link.hashed));
        assert!(link.hashed.ends_with(b"000\"") && chain.next == 2);
        serde_json::from_slice::<serde_json::Value>(line).unwrap();
    }

    #[test]
    fn the_digest_is_sha_256() {
        // NIST's "abc".
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), hex.as_bytes());
    }

    #[test]
    fn what_is_no_whole_line_is_no_link() {
        for line in [&b""[..], b"{}", b"{\"seq\":1}", b"\",\"hash\":\"\"}", &[b'0'; 300]] {
            assert_eq!(Link::parse(line), None);
        }
    }
}
