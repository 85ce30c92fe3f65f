//! Cuts a client's stream into whole messages. The cap of a message's type is checked on its header, and
//! no memory is taken by what a header announces: bytes are kept as they arrive.

use super::WireError;

/// Caps that the configuration sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Longest text of Query and Parse; a longer one is skipped and answered with 54000.
    pub statement: usize,
    /// Longest Bind and CopyData; a longer one is skipped and answered with 54000.
    pub value: usize,
}

/// Which messages may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramePhase {
    /// Only the answer to an authentication request.
    Login,
    /// Everything that a session says.
    Session,
}

/// What stands at the front of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// More bytes are needed.
    Incomplete,
    /// A whole message, its body without type and length. It takes `5 + body.len()` bytes.
    Whole {
        /// Type byte.
        tag: u8,
        /// The exact body.
        body: &'a [u8],
    },
    /// A message over the cap of its type, whose body must be skipped.
    Oversize {
        /// Type byte.
        tag: u8,
        /// Bytes of the whole message, header included.
        length: usize,
    },
}

/// Bytes of a header: type and length.
pub const HEADER: usize = 5;

/// PostgreSQL's own bound of a large message (`PQ_LARGE_MESSAGE_LIMIT`, libpq.h).
pub const LARGE: usize = 0x3fff_ffff;
/// PostgreSQL's own bound of a small message (`PQ_SMALL_MESSAGE_LIMIT`, libpq.h).
const SMALL: usize = 10_000;
/// Longest answer to an authentication request: a tenant token of 8 KiB as the password.
const PASSWORD: usize = 16 * 1024;

/// The message at the front of `bytes`.
pub fn split(bytes: &[u8], phase: FramePhase, limits: FrameLimits) -> Result<Frame<'_>, WireError> {
    let Some((&tag, rest)) = bytes.split_first() else { return Ok(Frame::Incomplete) };
    let (soft, hard) = caps(tag, phase, limits)?;
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(Frame::Incomplete) };
    let announced = u32::from_be_bytes(*length);
    let body = usize::try_from(announced).ok().and_then(|n| n.checked_sub(4)).filter(|body| *body <= hard);
    let Some(body) = body else { return Err(WireError::Length { tag, length: announced }) };
    if body > soft {
        return Ok(Frame::Oversize { tag, length: body.saturating_add(HEADER) });
    }
    Ok(rest.get(..body).map_or(Frame::Incomplete, |body| Frame::Whole { tag, body }))
}

/// A Bind whose body is longer than this is not kept until it is whole.
pub const LONG: usize = 64 * 1024;

/// The beginning of a long Bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongBind<'a> {
    /// What has come of its body: [`LONG`] bytes at least.
    pub beginning: &'a [u8],
    /// Length of the whole body.
    pub length: usize,
}

/// The long Bind at the front of `bytes`, which [`split`] has found incomplete; none while too little of it is there.
pub fn long_bind(bytes: &[u8]) -> Option<LongBind<'_>> {
    let ([b'B', length @ ..], beginning) = bytes.split_first_chunk::<HEADER>()? else { return None };
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_sub(4)?;
    (beginning.len() >= LONG).then_some(LongBind { beginning, length })
}

/// The body's length that a CopyData announces; its body may be taken piece by piece.
pub fn copy_data(length: [u8; 4]) -> Result<usize, WireError> {
    let announced = u32::from_be_bytes(length);
    let body = usize::try_from(announced).ok().and_then(|n| n.checked_sub(4)).filter(|n| *n <= LARGE);
    body.ok_or(WireError::Length { tag: b'd', length: announced })
}

/// Caps of a body: above the first it is skipped, above the second the stream ends.
fn caps(tag: u8, phase: FramePhase, limits: FrameLimits) -> Result<(usize, usize), WireError> {
    match (phase, tag) {
        (FramePhase::Login, b'p') => Ok((PASSWORD, PASSWORD)),
        (FramePhase::Login, _) => Err(WireError::Unexpected(tag)),
        (FramePhase::Session, b'Q') => Ok((limits.statement.saturating_add(1), LARGE)),
        // Name, terminators and 65 535 type identifiers come with the text.
        (FramePhase::Session, b'P') => Ok((limits.statement.saturating_add(300_000), LARGE)),
        (FramePhase::Session, b'B' | b'd') => Ok((limits.value, LARGE)),
        (FramePhase::Session, b'F') => Ok((SMALL, LARGE)),
        (FramePhase::Session, b'D' | b'E' | b'C' | b'c' | b'f' | b'H' | b'S' | b'X') => Ok((SMALL, SMALL)),
        (FramePhase::Session, _) => Err(WireError::Unexpected(tag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { statement: 100, value: 1000 };

    fn session(bytes: &[u8]) -> Result<Frame<'_>, WireError> {
        split(bytes, FramePhase::Session, LIMITS)
    }

    #[test]
    fn lying_lengths_end_the_stream() {
        for tag in *b"QPBdDECSHX" {
            for length in [0u32, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
                let mut bytes = vec![tag];
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(b"select 1\0");
                assert_eq!(session(&bytes), Err(WireError::Length { tag, length }));
            }
        }
    }

    #[test]
    fn header_may_come_byte_by_byte() {
        let whole = b"Q\0\0\0\x06a\0rest";
        for end in 0..7 {
            assert_eq!(session(&whole[..end]), Ok(Frame::Incomplete));
        }
        assert_eq!(session(whole), Ok(Frame::Whole { tag: b'Q', body: b"a\0" }));
    }

    #[test]
    fn long_statement_is_skipped_before_its_body_arrives() {
        assert_eq!(session(b"Q\0\0\x10\0"), Ok(Frame::Oversize { tag: b'Q', length: 4097 }));
    }

    #[test]
    fn only_an_answer_may_come_before_login() {
        assert_eq!(split(b"Q\0\0\0\x06a\0", FramePhase::Login, LIMITS), Err(WireError::Unexpected(b'Q')));
        assert!(split(b"p\x7f\xff\xff\xff", FramePhase::Login, LIMITS).is_err());
    }

    #[test]
    fn unknown_type_byte_ends_the_stream() {
        assert_eq!(session(b"z\0\0\0\x04"), Err(WireError::Unexpected(b'z')));
    }
}
