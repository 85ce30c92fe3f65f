//! The stream itself: rows in, the same rows with their tenant out, in pieces of any size.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::binary::{self, Phase, Row};
use super::encoded::Encoded;
use super::lines::{Lines, Scan};
use super::tenant::{self, Verdict};
use super::{Format, Header, LONGEST_ROW, Load, Place, csv, text};
use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState, TenantId};

/// Makes the rows of one COPY FROM STDIN the tenant's. What it keeps between two calls is at most one row of
/// [`LONGEST_ROW`] bytes.
#[derive(Debug)]
pub struct Transcoder {
    load: Arc<Load>,
    tenant: Encoded,
    lines: Lines,
    phase: Phase,
    /// The first bytes of a row whose end has not come.
    carry: Vec<u8>,
    /// The carried bytes have not been scanned.
    held: bool,
    header: Header,
    going: Going,
    rows: u64,
}

const LINE_END: &str = "a line of COPY data ends in another way than the first";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    /// The end marker has come: the server reads nothing of what follows.
    Ended,
    /// The server has got what it cannot read, and will say so.
    Broken,
}

impl Transcoder {
    /// A COPY of this tenant's.
    ///
    /// # Errors
    /// 42501 without a tenant where one is needed; 0A000 where the format cannot carry its value.
    pub fn new(load: Arc<Load>, tenant: Option<&TenantId>) -> Result<Self, Refusal> {
        let tenant = Encoded::new(&load, tenant)?;
        Ok(Self {
            tenant,
            lines: Lines::new(&load.form),
            phase: Phase::Head,
            carry: Vec::new(),
            held: false,
            header: load.form.header,
            going: Going::On,
            rows: 0,
            load,
        })
    }

    /// How many rows have gone out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many columns are put before the client's.
    pub fn added_columns(&self) -> u16 {
        u16::from(matches!(self.load.place, Place::Added { .. }))
    }

    /// Takes a piece of the client's stream and appends what goes to the server.
    ///
    /// # Errors
    /// 42501 for a row that is not the tenant's, 54000 for one over [`LONGEST_ROW`]: the COPY has to fail. What was
    /// appended are the rows before it.
    pub fn data(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.going != Going::On {
            return Ok(());
        }
        if self.load.form.format == Format::Binary { self.tuples(bytes, out) } else { self.cut(bytes, out) }
    }

    /// The client has sent all; appends what is left.
    ///
    /// # Errors
    /// As [`Transcoder::data`]; 22P04 where the server should have refused the stream already.
    pub fn done(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.going == Going::Broken {
            return Err(malformed("the COPY data is malformed"));
        }
        let carry = std::mem::take(&mut self.carry);
        if self.load.form.format == Format::Binary {
            if self.phase == Phase::Head && self.inserts() {
                return Err(malformed("COPY file signature not recognized"));
            }
            return if carry.is_empty() {
                Ok(())
            } else {
                self.pass(&carry, "unexpected EOF in COPY data", out)
            };
        }
        if self.going == Going::Ended || carry.is_empty() {
            return Ok(());
        }
        match self.lines.end() {
            Scan::Marker { tail, .. } => self.marker(&carry, tail, out),
            Scan::Line(_) => self.line(&carry, self.lines.content(&carry).len(), out),
            Scan::Broken(_) => self.pass(&carry, LINE_END, out),
            Scan::More | Scan::Hold => self.line(&carry, carry.len(), out),
        }
    }

    // === lines ===

    fn cut(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.held {
            self.held = false;
            let mut held = std::mem::take(&mut self.carry);
            held.extend_from_slice(bytes);
            return self.cut_scanning(&held, out);
        }
        self.cut_scanning(bytes, out)
    }

    fn cut_scanning(&mut self, mut rest: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        while self.going == Going::On {
            match self.lines.scan(rest) {
                Scan::More => return self.keep(rest),
                Scan::Hold => {
                    self.held = true;
                    return self.keep(rest);
                }
                Scan::Line(end) => {
                    let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                    rest = after;
                    self.carried(line, |this, line| {
                        let content = this.lines.content(line).len();
                        this.line(line, content, out)
                    })?;
                }
                Scan::Marker { end, tail } => {
                    let line = rest.get(..end).unwrap_or(rest);
                    self.carried(line, |this, line| this.marker(line, tail, out))?;
                }
                Scan::Broken(end) => {
                    self.going = Going::Broken;
                    let line = rest.get(..end).unwrap_or(rest);
                    self.carried(line, |this, line| this.pass(line, LINE_END, out))?;
                }
            }
        }
        Ok(())
    }

    /// Works on a whole line, of which the first part may have been carried.
    fn carried(
        &mut self,
        line: &[u8],
        work: impl FnOnce(&mut Self, &[u8]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if self.carry.is_empty() {
            return work(self, line);
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(line);
        work(self, &carry)?;
        carry.clear();
        self.carry = carry;
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.carry.len().saturating_add(bytes.len()) > LONGEST_ROW {
            let message = format!("a row of COPY is longer than {LONGEST_ROW} bytes");
            return Err(Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), message));
        }
        self.carry.extend_from_slice(bytes);
        Ok(())
    }

    /// The line that `\.` ends, or that the server refuses because of it. What stands before it on the line is a row
    /// for some majors.
    fn marker(&mut self, line: &[u8], tail: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let content = line.len().saturating_sub(tail);
        self.going = Going::Ended;
        if self.inserts() {
            let end = line.get(content.saturating_add(2)..).unwrap_or_default();
            if !matches!(end, b"\n" | b"\r" | b"\r\n") {
                return Err(malformed("end-of-copy marker corrupt"));
            }
            if content > 0 && !self.load.form.csv_marker {
                return Err(malformed("end-of-copy marker is not alone on its line"));
            }
        }
        match content {
            0 if self.inserts() => Ok(()),
            0 => {
                out.extend_from_slice(line);
                Ok(())
            }
            _ => self.line(line, content, out),
        }
    }

    /// A whole line, of which the first `content` bytes are fields.
    fn line(&mut self, line: &[u8], content: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let added = matches!(self.load.place, Place::Added { .. });
        match std::mem::replace(&mut self.header, Header::No) {
            Header::No => {}
            header if self.inserts() => {
                return self.header_names(line.get(..content).unwrap_or(line), header);
            }
            header => {
                if added && header == Header::Match {
                    out.extend_from_slice(&self.tenant.header);
                }
                out.extend_from_slice(line);
                return Ok(());
            }
        }
        self.rows = self.rows.saturating_add(1);
        match &self.load.place {
            _ if self.inserts() => return self.values(line.get(..content).unwrap_or(line), out),
            Place::Nowhere => out.extend_from_slice(line),
            Place::Added { .. } => {
                out.extend_from_slice(&self.tenant.before);
                out.extend_from_slice(line);
            }
            Place::Given { index, type_oid } => {
                let (index, type_oid) = (*index, *type_oid);
                return self.given(line, content, index, type_oid, out);
            }
        }
        Ok(())
    }

    fn given(
        &mut self,
        line: &[u8],
        content: usize,
        index: usize,
        type_oid: Oid,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let fields = line.get(..content).unwrap_or(line);
        let Some((place, verdict)) = self.field(fields, index, type_oid) else {
            // Too few fields, or quotes that stay open.
            self.going = Going::Broken;
            out.extend_from_slice(line);
            return Ok(());
        };
        match verdict {
            Verdict::Own | Verdict::Malformed => out.extend_from_slice(line),
            Verdict::OtherForm => {
                out.extend_from_slice(line.get(..place.start).unwrap_or_default());
                out.extend_from_slice(&self.tenant.field);
                out.extend_from_slice(line.get(place.end..).unwrap_or_default());
            }
            Verdict::Foreign => return Err(self.foreign()),
        }
        Ok(())
    }

    /// Where the tenant's field stands, and what it says; DEFAULT stands for the tenant's value.
    fn field(&self, content: &[u8], index: usize, type_oid: Oid) -> Option<(Range<usize>, Verdict)> {
        let form = &self.load.form;
        let column = self.load.columns.get(index).map(String::as_str).unwrap_or_default();
        let most = index.saturating_add(1);
        let said = |value: &[u8]| tenant::text(type_oid, &self.tenant.known, value);
        let is_default = |raw: &[u8]| form.default.as_deref() == Some(raw);
        if form.format == Format::Text {
            let place = text::fields(content, form.delimiter, most).into_iter().nth(index)?;
            let raw = content.get(place.clone())?;
            let verdict = match () {
                () if *raw == *form.null => Verdict::Foreign,
                () if is_default(raw) => Verdict::OtherForm,
                () => said(&text::value(raw)),
            };
            return Some((place, verdict));
        }
        let field = csv::fields(content, form, most)?.into_iter().nth(index)?;
        let raw = content.get(field.range.clone())?;
        let verdict = match () {
            () if !field.quoted && *raw == *form.null => {
                if form.force_not_null.has(column) {
                    said(&form.null)
                } else {
                    Verdict::Foreign
                }
            }
            () if !field.quoted && is_default(raw) => Verdict::OtherForm,
            () => {
                let value = csv::value(raw, form)?;
                if *value == *form.null && form.force_null.has(column) {
                    Verdict::Foreign
                } else {
                    said(&value)
                }
            }
        };
        Some((field.range, verdict))
    }

    // === rows that are inserted ===

    fn inserts(&self) -> bool {
        self.load.inserts.is_some()
    }

    /// What the server will refuse with its own words; where it does not read the rows itself, with these.
    fn pass(&self, bytes: &[u8], fault: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.inserts() {
            return Err(malformed(fault));
        }
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a line's values as Bind takes them.
    fn values(&self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
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
            for place in text::fields(content, form.delimiter, most) {
                let raw = content.get(place).unwrap_or_default();
                values.push((*raw != *form.null).then(|| text::value(raw)));
            }
            return Ok(values);
        }
        let open = || malformed("unterminated CSV quoted field");
        for (index, field) in csv::fields(content, form, most).ok_or_else(open)?.into_iter().enumerate() {
            let raw = content.get(field.range).unwrap_or_default();
            let column = columns.get(index).map(String::as_str).unwrap_or_default();
            let value = if field.quoted {
                Cow::Owned(csv::value(raw, form).ok_or_else(open)?)
            } else {
                Cow::Borrowed(raw)
            };
            let is_null =
                if field.quoted { form.force_null.has(column) } else { !form.force_not_null.has(column) };
            values.push((!is_null || *value != *form.null).then_some(value));
        }
        Ok(values)
    }

    fn header_names(&self, content: &[u8], header: Header) -> Result<(), Refusal> {
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

    // === binary ===

    fn tuples(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.carry.is_empty() {
            let used = self.tuples_of(bytes, out)?;
            return self.keep(bytes.get(used..).unwrap_or_default());
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(bytes);
        let used = self.tuples_of(&carry, out)?;
        carry.drain(..used.min(carry.len()));
        self.carry = carry;
        self.keep(&[])
    }

    /// Works on whole rows; gives how many bytes they are.
    fn tuples_of(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Refusal> {
        let mut at = 0usize;
        while self.going == Going::On {
            let rest = bytes.get(at..).unwrap_or_default();
            let passed = match self.phase {
                Phase::Head if rest.len() < binary::HEAD => return Ok(at),
                Phase::Head => match binary::extension(rest) {
                    Some(length) => {
                        self.phase = Phase::Extension(length);
                        binary::HEAD
                    }
                    None => self.broken(
                        rest.get(..binary::HEAD).unwrap_or(rest),
                        "COPY file signature not recognized",
                    )?,
                },
                Phase::Extension(0) => {
                    self.phase = Phase::Rows;
                    continue;
                }
                Phase::Extension(_) | Phase::End if rest.is_empty() => return Ok(at),
                Phase::Extension(left) => {
                    let passed = left.min(rest.len());
                    self.phase = Phase::Extension(left.saturating_sub(passed));
                    passed
                }
                Phase::End => {
                    self.broken(rest.get(..1).unwrap_or(rest), "received copy data after EOF marker")?
                }
                Phase::Rows => match self.tuple(rest, out)? {
                    Some(taken) => {
                        at = at.saturating_add(taken);
                        continue;
                    }
                    None => return Ok(at),
                },
            };
            if !self.inserts() {
                out.extend_from_slice(rest.get(..passed).unwrap_or(rest));
            }
            at = at.saturating_add(passed);
        }
        Ok(bytes.len())
    }

    /// Works on the row at the front; gives its bytes, none where it has not come whole.
    fn tuple(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        let (asked, type_oid) = match &self.load.place {
            Place::Given { index, type_oid } => (Some(*index), *type_oid),
            Place::Added { .. } | Place::Nowhere => (None, 0),
        };
        let (length, count, value) = match binary::row(rest, asked) {
            Row::Incomplete => return Ok(None),
            Row::Trailer => {
                self.phase = Phase::End;
                if !self.inserts() {
                    out.extend_from_slice(rest.get(..2).unwrap_or_default());
                }
                return Ok(Some(2));
            }
            Row::Malformed(end) => {
                let read = rest.get(..end).unwrap_or(rest);
                let taken = self.broken(read, "invalid field size")?;
                out.extend_from_slice(read);
                return Ok(Some(taken));
            }
            Row::Whole { length, count, value } => (length, count, value),
        };
        let row = rest.get(..length).unwrap_or(rest);
        // A row of another width is the server's to refuse.
        if usize::try_from(count) != Ok(self.load.columns.len()) {
            let wanted = self.load.columns.len();
            self.broken(row, &format!("row field count is {count}, expected {wanted}"))?;
        }
        self.rows = self.rows.saturating_add(1);
        match &self.load.place {
            Place::Added { .. } if !self.inserts() => {
                out.extend_from_slice(&count.saturating_add(1).to_be_bytes());
                out.extend_from_slice(&self.tenant.before);
                out.extend_from_slice(row.get(2..).unwrap_or_default());
                return Ok(Some(length));
            }
            Place::Given { .. } if self.going == Going::On && !self.inserts() => {
                let value = value.and_then(|value| row.get(value));
                let verdict = value.map(|value| tenant::binary(type_oid, &self.tenant.field, value));
                if !matches!(verdict, Some(Verdict::Own | Verdict::Malformed)) {
                    return Err(self.foreign());
                }
            }
            Place::Given { .. } | Place::Added { .. } | Place::Nowhere => {}
        }
        out.extend_from_slice(row);
        Ok(Some(length))
    }

    /// What is passed on, and ends the reading here: the server refuses it.
    fn broken(&mut self, rest: &[u8], fault: &str) -> Result<usize, Refusal> {
        self.going = Going::Broken;
        if self.inserts() { Err(malformed(fault)) } else { Ok(rest.len()) }
    }

    /// What a guard of a statement says for such a row.
    fn foreign(&self) -> Refusal {
        let message = format!("new row violates tenant isolation for table \"{}\"", self.load.relation);
        Refusal::new(SqlState::DENIED, Rule("tenant-column"), message)
    }
}

/// 22P04 in PostgreSQL's words.
fn malformed(fault: &str) -> Refusal {
    Refusal::new(SqlState("22P04"), Rule("copy"), fault)
}
