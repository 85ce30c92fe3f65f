//! Reads the fields of a server's messages that a proxy must know. Frame lengths were capped before.

use super::WireError;
use super::reader::Reader;

/// Longest message of a server that is kept whole; rows and copy data are not kept.
pub const LONGEST_KEPT: usize = 16 * 1024 * 1024;
/// Longest row or copy message (`MaxAllocSize`, memutils.h).
pub const LONGEST_PASSED: usize = 0x3fff_ffff;

/// A server's transaction status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    Open,
    /// `E`
    Failed,
}

impl TransactionStatus {
    /// The status byte of ReadyForQuery.
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}

/// `Z`.
pub fn ready_for_query(body: &[u8]) -> Result<TransactionStatus, WireError> {
    match body {
        b"I" => Ok(TransactionStatus::Idle),
        b"T" => Ok(TransactionStatus::Open),
        b"E" => Ok(TransactionStatus::Failed),
        _ => Err(WireError::Field("transaction status")),
    }
}

/// `S`: name and value.
pub fn parameter_status(body: &[u8]) -> Result<(&str, &str), WireError> {
    let mut reader = Reader::new(body);
    let (name, value) = (reader.c_str()?, reader.c_str()?);
    reader.finish()?;
    Ok((name, value))
}

/// `t`: the parameter types as they stand in the message.
pub fn parameter_description(body: &[u8]) -> Result<&[[u8; 4]], WireError> {
    let mut reader = Reader::new(body);
    let count = usize::from(reader.u16()?);
    let types = reader.bytes(count.saturating_mul(4))?;
    reader.finish()?;
    Ok(types.as_chunks::<4>().0)
}

/// `T`: how many columns, which the rows behind it must have. A field takes 19 bytes at least; what stands in it is the
/// client's to read.
pub fn row_description(body: &[u8]) -> Result<u16, WireError> {
    let count = Reader::new(body).u16()?;
    let least = usize::from(count).saturating_mul(19).saturating_add(2);
    if body.len() < least {
        return Err(WireError::Field("column count"));
    }
    Ok(count)
}

/// `G`, `H`: the overall format and the columns' formats must add up.
pub fn copy_response(body: &[u8]) -> Result<(), WireError> {
    let mut reader = Reader::new(body);
    reader.u8()?;
    let count = usize::from(reader.u16()?);
    reader.bytes(count.saturating_mul(2))?;
    reader.finish()
}

/// Appends a CopyInResponse that leaves out the first columns of another.
pub fn fewer_columns(out: &mut Vec<u8>, body: &[u8], left_out: u16) -> Result<(), WireError> {
    let mut reader = Reader::new(body);
    let format = reader.u8()?;
    let count = reader.u16()?.checked_sub(left_out).ok_or(WireError::Field("column count"))?;
    reader.bytes(usize::from(left_out).saturating_mul(2))?;
    super::request::frame(out, b'G', |out| {
        out.push(format);
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(reader.remaining());
    })
}

/// `C`: the tag without its NUL.
pub fn command_tag(body: &[u8]) -> Result<&[u8], WireError> {
    // Tags are short: looking at each byte is quicker than a search.
    match body.split_last() {
        Some((0, tag)) if !tag.iter().fold(false, |any, byte| any | (*byte == 0)) => Ok(tag),
        Some((0, _)) => Err(WireError::Field("command tag")),
        _ => Err(WireError::Unterminated),
    }
}

/// The row count at the end of a command tag, 0 where there is none.
pub fn tag_rows(tag: &[u8]) -> u64 {
    let (mut rows, mut place) = (0_u64, 1_u64);
    for byte in tag.iter().rev() {
        match byte {
            b'0'..=b'9' => rows = rows.saturating_add(place.saturating_mul(u64::from(byte - b'0'))),
            b' ' => return rows,
            _ => return 0,
        }
        place = place.saturating_mul(10);
    }
    rows
}

/// A NotificationResponse.
#[derive(Debug, Clone, Copy)]
pub struct Notification<'a> {
    /// Process id of the server session that notified.
    pub pid: i32,
    /// The channel, by the server's name.
    pub channel: &'a str,
    /// What was said.
    pub payload: &'a [u8],
}

/// `A`.
pub fn notification(body: &[u8]) -> Result<Notification<'_>, WireError> {
    let mut reader = Reader::new(body);
    let (pid, channel, payload) = (reader.i32()?, reader.c_str()?, reader.c_bytes()?);
    reader.finish()?;
    Ok(Notification { pid, channel, payload })
}

/// `K`: process id and secret of 4 bytes; a longer secret is kept as bytes.
pub fn key_data(body: &[u8]) -> Result<(i32, Vec<u8>), WireError> {
    let mut reader = Reader::new(body);
    let pid = reader.i32()?;
    let secret = reader.remaining();
    if (4..=256).contains(&secret.len()) { Ok((pid, secret.to_vec())) } else { Err(WireError::Short) }
}

/// The fields of an ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, Copy)]
pub struct ErrorFields<'a> {
    body: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Checks that every field ends and that the terminator is the last byte.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        while reader.u8()? != 0 {
            reader.c_bytes()?;
        }
        reader.finish()?;
        Ok(Self { body })
    }

    /// Types and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.body);
        std::iter::from_fn(move || {
            let kind = reader.u8().ok().filter(|kind| *kind != 0)?;
            Some((kind, reader.c_bytes().ok()?))
        })
    }

    /// One field.
    pub fn field(&self, kind: u8) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_without_terminator_is_refused() {
        assert!(ErrorFields::read(b"SERROR\0C42P01\0").is_err());
        assert!(ErrorFields::read(b"SERROR").is_err());
        let fields = ErrorFields::read(b"SERROR\0C42P01\0\0").unwrap();
        assert_eq!(fields.field(b'C'), Some(&b"42P01"[..]));
    }

    #[test]
    fn row_description_must_have_its_columns() {
        assert!(row_description(&[0xff, 0xff, b'a', 0]).is_err());
    }

    #[test]
    fn unknown_transaction_status_is_refused() {
        assert!(ready_for_query(b"X").is_err());
        assert!(ready_for_query(b"").is_err());
    }

    #[test]
    fn rows_are_read_from_the_tag() {
        assert_eq!(tag_rows(b"INSERT 0 5"), 5);
        assert_eq!(tag_rows(b"SELECT 12"), 12);
        assert_eq!(tag_rows(b"BEGIN"), 0);
    }
}
