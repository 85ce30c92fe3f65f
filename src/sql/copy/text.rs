//! The fields of a line of the text format (`CopyReadAttributesText`, copyfromparse.c).

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// Where each field of a line stands, in order.
pub(super) fn fields(line: &[u8], delimiter: u8) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(0usize);
    std::iter::from_fn(move || {
        let start = next?;
        let mut at = start;
        loop {
            let Some(found) = memchr2(delimiter, b'\\', line.get(at..).unwrap_or_default()) else {
                next = None;
                return Some(start..line.len());
            };
            let place = at.saturating_add(found);
            if line.get(place) == Some(&delimiter) {
                next = Some(place.saturating_add(1));
                return Some(start..place);
            }
            at = place.saturating_add(2).min(line.len());
        }
    })
}

/// A field's value with its escapes undone.
pub(super) fn value(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return Cow::Borrowed(raw);
    }
    let mut value = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        let Some((byte, after)) = rest.split_first() else { break };
        rest = after;
        match byte {
            b'0'..=b'7' => value.push(number(byte.wrapping_sub(b'0'), &mut rest, 2, 8)),
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                value.push(number(0, &mut rest, 2, 16))
            }
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            b'v' => value.push(11),
            other => value.push(*other),
        }
    }
    Cow::Owned(value)
}

/// Digits of a base, at most so many, cut to a byte as PostgreSQL does.
fn number(mut value: u8, rest: &mut &[u8], most: usize, base: u8) -> u8 {
    for _ in 0..most {
        let Some((byte, after)) = rest.split_first() else { break };
        let Some(digit) = char::from(*byte).to_digit(u32::from(base)).and_then(|d| u8::try_from(d).ok())
        else {
            break;
        };
        value = value.wrapping_mul(base).wrapping_add(digit);
        *rest = after;
    }
    value
}

/// Appends a value so that it is read back as it is.
pub(super) fn escape(out: &mut Vec<u8>, value: &[u8], delimiter: u8) {
    for byte in value {
        if *byte == b'\\' || *byte == delimiter {
            out.push(b'\\');
        }
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_delimiter_is_data() {
        let fields = |line: &'static [u8]| fields(line, b'\t').collect::<Vec<_>>();
        assert_eq!(fields(b"a\\\tb\tc"), [0..4, 5..6]);
        assert_eq!(fields(b"a\\\\\tb"), [0..3, 4..5]);
        assert_eq!(fields(b""), vec![0..0]);
        assert_eq!(fields(b"a\t"), [0..1, 2..2]);
        assert_eq!(fields(b"a\\"), vec![0..2]);
    }

    #[test]
    fn escapes_are_undone_as_the_server_does() {
        for (raw, wanted) in [
            (&b"\\x31"[..], &b"1"[..]),
            (b"\\61", b"1"),
            (b"\\0611", b"11"),
            (b"\\x", b"x"),
            (b"a\\tb\\\\", b"a\tb\\"),
            (b"1\\", b"1"),
            (b"\\q", b"q"),
            (b"\\777", b"\xff"),
        ] {
            assert_eq!(&*value(raw), wanted, "{}", String::from_utf8_lossy(raw));
        }
    }
}
