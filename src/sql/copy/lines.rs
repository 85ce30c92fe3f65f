//! Cuts a stream of text or CSV into lines, as `CopyReadLineText` (copyfromparse.c) does: the first line's end
//! decides how all lines end, a backslash takes the character after it along, quotes may hold line ends, and `\.`
//! ends the data.

use memchr::{Memchr3, memchr2, memchr3, memchr3_iter};

use super::{Form, Format};

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eol {
    Unknown,
    Lf,
    Cr,
    CrLf,
}

/// Where in a line the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before its first character.
    Start,
    Inside,
    /// Text: after a backslash.
    Escaped,
    /// After a carriage return that may be half of a line's end.
    Cr,
    /// Text: after `\.`
    Dot,
    /// Text: after `\.` and a carriage return.
    DotCr,
}

/// What stands at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// The line goes on beyond them.
    More,
    /// CSV, before a line: these few bytes may be the end marker, or a row. They are to be shown again with more.
    Hold,
    /// The line ends after so many bytes.
    Line(usize),
    /// The end marker ends after so many bytes, or the server will complain about it; it is `tail` bytes long.
    Marker { end: usize, tail: usize },
    /// After so many bytes the server complains about the line's end.
    Broken(usize),
}

/// The state of the cut.
#[derive(Debug)]
pub(super) struct Lines {
    csv: Option<(u8, u8)>,
    csv_marker: bool,
    eol: Eol,
    at: At,
    in_quote: bool,
    /// CSV: the character before was an escape, within quotes.
    escaped: bool,
}

impl Lines {
    pub fn new(form: &Form) -> Self {
        Self {
            csv: (form.format == Format::Csv).then_some((form.quote, form.escape)),
            csv_marker: form.csv_marker,
            eol: Eol::Unknown,
            at: At::Start,
            in_quote: false,
            escaped: false,
        }
    }

    /// Looks for the end of the line that `bytes` begin or go on with. After anything but [`Scan::More`] and
    /// [`Scan::Hold`] the next line begins.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        let found = match self.csv {
            None => self.text(bytes),
            Some((quote, escape)) => self.quoted(bytes, quote, escape),
        };
        if !matches!(found, Scan::More | Scan::Hold) {
            self.at = At::Start;
            self.in_quote = false;
            self.escaped = false;
        }
        found
    }

    /// The stream has ended within a line: what the line is, which has no end of its own.
    pub fn end(&mut self) -> Scan {
        match self.at {
            At::Dot => Scan::Marker { end: 0, tail: 2 },
            At::DotCr => Scan::Marker { end: 0, tail: 3 },
            At::Cr if self.eol == Eol::CrLf => Scan::Broken(0),
            At::Cr => {
                self.eol = Eol::Cr;
                Scan::Line(0)
            }
            At::Start | At::Inside | At::Escaped => Scan::More,
        }
    }

    /// A line without its end.
    pub fn content<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        let content = match self.eol {
            Eol::CrLf => line.strip_suffix(b"\r\n"),
            Eol::Lf => line.strip_suffix(b"\n"),
            Eol::Cr => line.strip_suffix(b"\r"),
            Eol::Unknown => None,
        };
        content.unwrap_or(line)
    }

    /// The whole lines at the front that end as most streams' lines do, found in one go: they are what
    /// [`Self::scan`] would find, which goes on behind them.
    pub fn whole<'b>(&self, bytes: &'b [u8]) -> Whole<'b> {
        let (quote, stop) = match self.csv {
            None => (None, b'\\'),
            Some((quote, _)) => (Some(quote), quote),
        };
        let is_plain = self.csv.is_none_or(|(quote, escape)| quote == escape);
        let applies = self.at == At::Start && self.eol == Eol::Lf && is_plain;
        let bytes = if applies { bytes } else { &[] };
        let marker = self.csv_marker && quote.is_some();
        Whole { bytes, found: memchr3_iter(b'\n', b'\r', stop, bytes), quote, marker, start: 0 }
    }

    fn text(&mut self, bytes: &[u8]) -> Scan {
        let mut from = 0;
        loop {
            let rest = bytes.get(from..).unwrap_or_default();
            match self.at {
                At::Start | At::Inside => {
                    let Some(found) = memchr3(b'\n', b'\r', b'\\', rest) else {
                        if !rest.is_empty() {
                            self.at = At::Inside;
                        }
                        return Scan::More;
                    };
                    from = from.saturating_add(found).saturating_add(1);
                    self.at = At::Inside;
                    match rest.get(found) {
                        Some(b'\\') => self.at = At::Escaped,
                        Some(b'\n') => return self.line_feed(from),
                        _ => {
                            if let Some(scan) = self.carriage_return(from) {
                                return scan;
                            }
                        }
                    }
                }
                At::Escaped => {
                    let Some(byte) = rest.first() else { return Scan::More };
                    from = from.saturating_add(1);
                    self.at = if *byte == b'.' { At::Dot } else { At::Inside };
                }
                At::Cr => {
                    let Some(byte) = rest.first() else { return Scan::More };
                    return self.after_carriage_return(*byte, from);
                }
                At::Dot => {
                    let Some(byte) = rest.first() else { return Scan::More };
                    from = from.saturating_add(1);
                    if self.eol == Eol::CrLf && *byte == b'\r' {
                        self.at = At::DotCr;
                    } else {
                        return Scan::Marker { end: from, tail: 3 };
                    }
                }
                At::DotCr => {
                    if rest.is_empty() {
                        return Scan::More;
                    }
                    return Scan::Marker { end: from.saturating_add(1), tail: 4 };
                }
            }
        }
    }

    fn quoted(&mut self, bytes: &[u8], quote: u8, escape: u8) -> Scan {
        let mut from = 0;
        if self.at == At::Start && self.csv_marker {
            match self.csv_marker(bytes) {
                Some(0) => {}
                Some(tail) => return Scan::Marker { end: tail, tail },
                None => return Scan::Hold,
            }
        }
        loop {
            let rest = bytes.get(from..).unwrap_or_default();
            let Some(first) = rest.first() else { return Scan::More };
            if self.at == At::Cr {
                return self.after_carriage_return(*first, from);
            }
            self.at = At::Inside;
            if self.in_quote {
                from = from.saturating_add(self.within_quotes(rest, quote, escape));
                continue;
            }
            let Some(found) = memchr3(quote, b'\n', b'\r', rest) else { return Scan::More };
            from = from.saturating_add(found).saturating_add(1);
            match rest.get(found) {
                Some(b'\n') => return self.line_feed(from),
                Some(b'\r') => {
                    if let Some(scan) = self.carriage_return(from) {
                        return scan;
                    }
                }
                _ => self.in_quote = true,
            }
        }
    }

    /// Goes to the end of the quotes, or of the bytes; gives how far.
    fn within_quotes(&mut self, rest: &[u8], quote: u8, escape: u8) -> usize {
        let mut from = 0;
        loop {
            let rest = rest.get(from..).unwrap_or_default();
            if rest.is_empty() {
                return from;
            }
            if self.escaped {
                self.escaped = false;
                from = from.saturating_add(1);
                continue;
            }
            let Some(found) = memchr2(quote, escape, rest) else { return from.saturating_add(rest.len()) };
            from = from.saturating_add(found).saturating_add(1);
            // A quote that is its own escape turns the state round each time.
            if rest.get(found) == Some(&quote) {
                self.in_quote = false;
                return from;
            }
            self.escaped = true;
        }
    }

    /// Whether a line of CSV begins with an end marker: its length, 0 for none, nothing where more bytes decide.
    fn csv_marker(&self, bytes: &[u8]) -> Option<usize> {
        match (bytes, self.eol) {
            ([] | [b'\\'] | [b'\\', b'.'], _) => None,
            ([b'\\', b'.', b'\r'], Eol::CrLf) => None,
            ([b'\\', b'.', b'\r', b'\r' | b'\n', ..], Eol::CrLf) => Some(4),
            ([b'\\', b'.', b'\r' | b'\n', ..], Eol::Unknown | Eol::Lf | Eol::Cr) => Some(3),
            _ => Some(0),
        }
    }

    fn line_feed(&mut self, end: usize) -> Scan {
        if matches!(self.eol, Eol::Cr | Eol::CrLf) {
            return Scan::Broken(end);
        }
        self.eol = Eol::Lf;
        Scan::Line(end)
    }

    fn carriage_return(&mut self, end: usize) -> Option<Scan> {
        match self.eol {
            Eol::Unknown | Eol::CrLf => {
                self.at = At::Cr;
                None
            }
            Eol::Lf => Some(Scan::Broken(end)),
            Eol::Cr => Some(Scan::Line(end)),
        }
    }

    fn after_carriage_return(&mut self, byte: u8, from: usize) -> Scan {
        match (byte, self.eol) {
            (b'\n', _) => {
                self.eol = Eol::CrLf;
                Scan::Line(from.saturating_add(1))
            }
            (_, Eol::CrLf) => Scan::Broken(from.saturating_add(1)),
            _ => {
                self.eol = Eol::Cr;
                Scan::Line(from)
            }
        }
    }
}

/// Whole lines that end in LF. It ends before the first line that is something else: cut off, broken, or the end marker
/// in what may be one.
#[derive(Debug)]
pub(super) struct Whole<'b> {
    bytes: &'b [u8],
    found: Memchr3<'b>,
    /// CSV's quote, which is its own escape.
    quote: Option<u8>,
    /// CSV: a line may be the end marker.
    marker: bool,
    start: usize,
}

impl<'b> Iterator for Whole<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.marker && self.bytes.get(self.start) == Some(&b'\\') {
            return None;
        }
        let mut in_quote = false;
        let mut escaped = None;
        loop {
            let at = self.found.next()?;
            if in_quote {
                in_quote = self.bytes.get(at).copied() != self.quote;
                continue;
            }
            if escaped == Some(at) {
                continue;
            }
            match (self.bytes.get(at)?, self.quote) {
                (b'\n', _) => {
                    let end = at.saturating_add(1);
                    let line = self.bytes.get(self.start..end);
                    self.start = end;
                    return line;
                }
                (b'\\', None) => {
                    let next = at.saturating_add(1);
                    // Even where it is no end marker, it is the other reading's.
                    self.bytes.get(next).filter(|byte| **byte != b'.')?;
                    escaped = Some(next);
                }
                (byte, Some(quote)) if *byte == quote => in_quote = true,
                _ => return None,
            }
        }
    }
}
