//! Cuts a stream of the binary format into its header and its rows.

use std::ops::Range;

/// The signature of a stream.
pub(super) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Bytes of the signature, the flags and the length of the extension.
pub(super) const HEAD: usize = 19;

/// Where in the stream it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the signature.
    Head,
    /// So many bytes of the header's extension are left.
    Extension(usize),
    /// Between two rows.
    Rows,
    /// Behind the trailer.
    End,
}

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// More bytes are needed.
    Incomplete,
    /// The trailer, of two bytes.
    Trailer,
    /// What no server reads on after so many bytes.
    Malformed(usize),
    /// A row.
    Whole {
        /// Bytes of it.
        length: usize,
        /// Its number of fields.
        count: i16,
        /// The value of the field that was asked for; none for NULL and where there is no such field.
        value: Option<Range<usize>>,
    },
}

/// The header's bytes that follow the first [`HEAD`]; none for what is no header.
pub(super) fn extension(head: &[u8]) -> Option<usize> {
    let length = head.get(HEAD.checked_sub(4)?..HEAD)?.first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    head.starts_with(SIGNATURE).then_some(length)
}

/// Reads the row at the front.
pub(super) fn row(bytes: &[u8], asked: Option<usize>) -> Row {
    let Some(count) = bytes.first_chunk::<2>().map(|count| i16::from_be_bytes(*count)) else {
        return Row::Incomplete;
    };
    let fields = match count {
        -1 => return Row::Trailer,
        count => match usize::try_from(count) {
            Ok(fields) => fields,
            Err(_) => return Row::Malformed(2),
        },
    };
    let mut at = 2usize;
    let mut value = None;
    for index in 0..fields {
        let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
            return Row::Incomplete;
        };
        at = at.saturating_add(4);
        let length = match i32::from_be_bytes(*length) {
            -1 => continue,
            length => match usize::try_from(length) {
                Ok(length) => length,
                Err(_) => return Row::Malformed(at.min(bytes.len())),
            },
        };
        let end = at.saturating_add(length);
        if asked == Some(index) {
            value = Some(at..end);
        }
        at = end;
    }
    if at > bytes.len() { Row::Incomplete } else { Row::Whole { length: at, count, value } }
}
