//! Rows that are inserted one by one ([`super::Load::inserts`]): a line as the values that Bind takes. What the server would
//! refuse in a COPY is refused here, in its words.

use std::borrow::Cow;

use super::transcode::{Transcoder, malformed};
use super::{Format, Header, csv, text};
use crate::policy::Refusal;

impl Transcoder {
    /// Appends a line's values as Bind takes them.
    pub(super) fn values(&self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let columns = &self.load.columns;
        let values = self.decoded(content)?;
        if values.len() > columns.len() {
            return Err(malformed("extra data after last expected column"));
        }
        if let Some(missing) = columns.get(values.len()) {
            return Err(malformed(&format!("missing data for column \"{missing}\"")));
        }
        out.extend_from_slice(&i16::try_from(values.len()).unwrap_or(i16::MAX).to_be_bytes());
        for value in values {
            match value {
                Some(value) => {
                    let length = i32::try_from(value.len()).map_err(|_| malformed("a value is too long"))?;
                    out.extend_from_slice(&length.to_be_bytes());
                    out.extend_from_slice(&value);
                }
                None => out.extend_from_slice(&(-1i32).to_be_bytes()),
            }
        }
        Ok(())
    }

    /// The values of a line: none for NULL. One more than there are columns at most.
    fn decoded<'l>(&self, content: &'l [u8]) -> Result<Vec<Option<Cow<'l, [u8]>>>, Refusal> {
        let (form, columns) = (&self.load.form, &self.load.columns);
        let most = columns.len().saturating_add(1);
        let mut values = Vec::with_capacity(columns.len());
        if form.format == Format::Text {
            for place in text::fields(content, form.delimiter).take(most) {
                let raw = content.get(place).unwrap_or_default();
                values.push((*raw != *form.null).then(|| text::value(raw)));
            }
            return Ok(values);
        }
        let open = || malformed("unterminated CSV quoted field");
        for (index, field) in csv::fields(content, form).take(most).enumerate() {
            let field = field.ok_or_else(open)?;
            let raw = content.get(field.range).unwrap_or_default();
            let column = columns.get(index).map(String::as_str).unwrap_or_default();
            let value = csv::value(raw, form).ok_or_else(open)?;
            let is_null =
                if field.quoted { form.force_null.has(column) } else { !form.force_not_null.has(column) };
            values.push((!is_null || *value != *form.null).then_some(value));
        }
        Ok(values)
    }

    pub(super) fn header_names(&self, content: &[u8], header: Header) -> Result<(), Refusal> {
        let columns = &self.load.columns;
        let names = || self.decoded(content);
        let same = |names: Vec<Option<Cow<'_, [u8]>>>| {
            let names: Vec<_> = names.iter().map(|name| name.as_deref().unwrap_or_default()).collect();
            names.iter().copied().eq(columns.iter().map(|c| c.as_bytes()))
        };
        if header == Header::Match && !same(names()?) {
            return Err(malformed("the header line does not name the columns of the COPY"));
        }
        Ok(())
    }
}
