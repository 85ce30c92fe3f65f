//! The fields of a line of CSV (`CopyReadAttributesCSV`, copyfromparse.c).

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2};

use super::Form;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Where it stands.
    pub range: Range<usize>,
    /// A part of it is in quotes: it is neither NULL nor DEFAULT.
    pub quoted: bool,
}

/// The fields of a line in order; none for the one whose quotes stay open, and nothing after it.
pub(super) fn fields(line: &[u8], form: &Form) -> impl Iterator<Item = Option<Field>> {
    let mut next = Some(0usize);
    std::iter::from_fn(move || {
        let start = next.take()?;
        let (mut at, mut quoted) = (start, false);
        loop {
            let Some(found) = memchr2(form.delimiter, form.quote, line.get(at..).unwrap_or_default()) else {
                return Some(Some(Field { range: start..line.len(), quoted }));
            };
            let place = at.saturating_add(found);
            at = place.saturating_add(1);
            if line.get(place) == Some(&form.delimiter) {
                next = Some(at);
                return Some(Some(Field { range: start..place, quoted }));
            }
            quoted = true;
            let Some(length) = quotes(line.get(at..).unwrap_or_default(), form, |_| ()) else {
                return Some(None);
            };
            at = at.saturating_add(length);
        }
    })
}

/// A field's value with its quotes undone; none where quotes stay open.
pub(super) fn value<'r>(raw: &'r [u8], form: &Form) -> Option<Cow<'r, [u8]>> {
    let mut rest = raw;
    let mut value = Vec::new();
    while let Some(found) = memchr(form.quote, rest) {
        let (plain, quoted) = rest.split_at_checked(found)?;
        value.extend_from_slice(plain);
        let quoted = quoted.get(1..)?;
        let length = quotes(quoted, form, |part| value.extend_from_slice(part))?;
        rest = quoted.get(length..)?;
    }
    if rest.len() == raw.len() {
        return Some(Cow::Borrowed(raw));
    }
    value.extend_from_slice(rest);
    Some(Cow::Owned(value))
}

/// Reads from behind an opening quote to behind the closing one; gives how far that is.
fn quotes(rest: &[u8], form: &Form, mut take: impl FnMut(&[u8])) -> Option<usize> {
    let (mut start, mut at) = (0usize, 0usize);
    loop {
        let place = at.saturating_add(memchr2(form.quote, form.escape, rest.get(at..)?)?);
        let byte = *rest.get(place)?;
        at = place.saturating_add(1);
        let next = rest.get(at);
        if byte == form.escape && next.is_some_and(|next| *next == form.escape || *next == form.quote) {
            // What is escaped begins the next part.
            take(rest.get(start..place)?);
            start = at;
            at = at.saturating_add(1);
        } else if byte == form.quote {
            take(rest.get(start..place)?);
            return Some(at);
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
