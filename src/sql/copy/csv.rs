//! The fields of a line of CSV (`CopyReadAttributesCSV`, copyfromparse.c).

use std::ops::Range;

use memchr::memchr2;

use super::Form;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Where it stands.
    pub range: Range<usize>,
    /// A part of it is in quotes: it is neither NULL nor DEFAULT.
    pub quoted: bool,
}

/// The fields of a line in order, until `most` of them are found; none where quotes stay open.
pub(super) fn fields(line: &[u8], form: &Form, most: usize) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    let (mut start, mut at, mut quoted) = (0, 0, false);
    while found.len() < most {
        let Some(next) = memchr2(form.delimiter, form.quote, line.get(at..).unwrap_or_default()) else {
            found.push(Field { range: start..line.len(), quoted });
            return Some(found);
        };
        let place = at.saturating_add(next);
        at = place.saturating_add(1);
        if line.get(place) == Some(&form.delimiter) {
            found.push(Field { range: start..place, quoted });
            start = at;
            quoted = false;
        } else {
            quoted = true;
            at = at.saturating_add(quotes(line.get(at..).unwrap_or_default(), form, |_| ())?);
        }
    }
    Some(found)
}

/// A field's value with its quotes undone; none where quotes stay open.
pub(super) fn value(raw: &[u8], form: &Form) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        at = at.saturating_add(1);
        if *byte == form.quote {
            at = at.saturating_add(quotes(raw.get(at..).unwrap_or_default(), form, |b| value.push(b))?);
        } else {
            value.push(*byte);
        }
    }
    Some(value)
}

/// Reads from behind an opening quote to behind the closing one; gives how far that is.
fn quotes(rest: &[u8], form: &Form, mut take: impl FnMut(u8)) -> Option<usize> {
    let mut at = 0usize;
    loop {
        let byte = *rest.get(at)?;
        at = at.saturating_add(1);
        if byte == form.escape
            && let Some(next) = rest.get(at).filter(|next| **next == form.escape || **next == form.quote)
        {
            take(*next);
            at = at.saturating_add(1);
        } else if byte == form.quote {
            return Some(at);
        } else {
            take(byte);
        }
    }
}

/// Appends a value in quotes.
pub(super) fn quote(out: &mut Vec<u8>, value: &[u8], form: &Form) {
    out.push(form.quote);
    for byte in value {
        if *byte == form.quote || *byte == form.escape {
            out.push(form.escape);
        }
        out.push(*byte);
    }
    out.push(form.quote);
}
