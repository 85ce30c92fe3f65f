//! The stream itself: rows in, the same rows with their tenant out, in pieces of any size.

use std::ops::Range;
use std::sync::Arc;

use super::binary::Phase;
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
    pub(super) load: Arc<Load>,
    pub(super) tenant: Encoded,
    lines: Lines,
    pub(super) phase: Phase,
    /// The first bytes of a row whose end has not come.
    pub(super) carry: Vec<u8>,
    /// The carried bytes have not been scanned.
    held: bool,
    header: Header,
    pub(super) going: Going,
    pub(super) rows: u64,
}

const LINE_END: &str = "a line of COPY data ends in another way than the first";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
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
            if self.carry.is_empty() {
                for line in self.lines.whole(rest) {
                    rest = rest.get(line.len()..).unwrap_or_default();
                    self.line(line, line.len().saturating_sub(1), out)?;
                    if self.going != Going::On {
                        return Ok(());
                    }
                }
            }
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

    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
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
        let said = |value: &[u8]| tenant::text(type_oid, &self.tenant.known, value);
        let is_default = |raw: &[u8]| form.default.as_deref() == Some(raw);
        if form.format == Format::Text {
            let place = text::fields(content, form.delimiter).nth(index)?;
            let raw = content.get(place.clone())?;
            let verdict = match () {
                () if *raw == *form.null => Verdict::Foreign,
                () if is_default(raw) => Verdict::OtherForm,
                () => said(&text::value(raw)),
            };
            return Some((place, verdict));
        }
        let field = csv::fields(content, form).nth(index)??;
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

    pub(super) fn inserts(&self) -> bool {
        self.load.inserts.is_some()
    }

    /// What the server will refuse with its own words; where it does not read the rows itself, with these.
    pub(super) fn pass(&self, bytes: &[u8], fault: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.inserts() {
            return Err(malformed(fault));
        }
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// What a guard of a statement says for such a row.
    pub(super) fn foreign(&self) -> Refusal {
        let message = format!("new row violates tenant isolation for table \"{}\"", self.load.relation);
        Refusal::new(SqlState::DENIED, Rule("tenant-column"), message)
    }
}

/// 22P04 in PostgreSQL's words.
pub(super) fn malformed(fault: &str) -> Refusal {
    Refusal::new(SqlState("22P04"), Rule("copy"), fault)
}
