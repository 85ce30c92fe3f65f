//! PostgreSQL's lexical rules (src/backend/parser/scan.l) as far as they are needed to know where tokens begin
//! and end. One pass, nothing is decoded, operators are not cut into single ones.
//!
//! Only the boundaries of strings, comments, quoted names and statements decide anything here: what is sent is
//! always printed from PostgreSQL's own parse tree.

mod token;

use memchr::{memchr, memchr2, memmem};

use super::bounds::Bounded;
pub use token::ends_before_literal;
use token::{Class, Quoting, begins_plain, begins_string, class, continues_name, integer_class};

pub use token::{Fault, Kind, LexError, LiteralClass, Token};

/// Block comments may nest this deep. PostgreSQL's lexer takes time that is quadratic in it.
const MAX_COMMENT_NESTING: usize = 200;

/// Operator characters in a row. PostgreSQL's own operators end at 63; its lexer is quadratic in a run of signs.
const MAX_OPERATOR_RUN: usize = 256;

/// Protocol messages count parameters in 16 bits.
const MAX_PARAMETER: u32 = 65_535;

/// Cuts a text into tokens.
#[derive(Debug)]
pub struct Lexer<'a> {
    bytes: &'a [u8],
    position: usize,
    /// There may be a U+FEFF somewhere, so that names are looked at.
    suspicious: bool,
    modern_number: Option<usize>,
}

impl<'a> Lexer<'a> {
    /// A lexer that begins at byte `position`, which is not within a token.
    pub fn new(text: &'a str, position: usize) -> Self {
        Self { bytes: text.as_bytes(), position, suspicious: false, modern_number: None }
    }

    /// The same over a client's text: what the majors read differently is an error.
    pub fn of_client(text: Bounded<'a>, position: usize) -> Self {
        Self { suspicious: text.is_suspicious(), ..Self::new(text.text(), position) }
    }

    /// Where the first number stood that only PostgreSQL 16 and later read as one (`1_000`, `0x1f`).
    pub fn modern_number(&self) -> Option<usize> {
        self.modern_number
    }

    /// The next token, or none at the end.
    #[inline(always)]
    pub fn next_token(&mut self) -> Result<Option<Token>, LexError> {
        let start = self.position;
        let Some(byte) = self.peek(start) else { return Ok(None) };
        let (kind, end) = match class(byte) {
            Class::Space => self.space(start)?,
            Class::Letter => self.word(byte, start)?,
            Class::Digit => self.number(start),
            Class::Dot if self.is_digit(start + 1) => self.number(start),
            Class::Dot if self.peek(start + 1) == Some(b'.') => (Kind::Other, start + 2),
            Class::Quote => self.string(start, start + 1, Quoting::Standard)?,
            Class::DoubleQuote => self.quoted_name(start, start + 1, Kind::QuotedName)?,
            Class::Dollar => self.dollar(start)?,
            Class::Operator => self.operator(byte, start)?,
            Class::Semicolon => (Kind::Semicolon, start + 1),
            Class::Open => (Kind::Open, start + 1),
            Class::Close => (Kind::Close, start + 1),
            Class::VerticalTab => return Err(LexError { fault: Fault::BadCharacter, position: start }),
            Class::Dot | Class::Other => (Kind::Other, start + 1),
        };
        self.position = end;
        Ok(Some(Token { kind, start, end }))
    }

    /// Passes over tokens about which nothing is decided: words, quoted names, commas, dots and single
    /// operators, with single blanks between them. Gives how many there were, and where the last one ended.
    /// Whatever else stands there is left to [`Self::next_token`], with the blank before it where that may be
    /// more than one.
    #[inline]
    pub fn pass_plain(&mut self) -> (usize, usize) {
        let (mut at, mut tokens, mut last) = (self.position, 0_usize, self.position);
        // A U+FEFF may stand in a name.
        while !self.suspicious
            && let Some(byte) = self.peek(at)
        {
            let next = self.peek(at + 1).unwrap_or(b' ');
            let class = class(byte);
            if byte == b' ' {
                if !begins_plain(next) {
                    break;
                }
                at += 1;
                continue;
            }
            last = match class {
                Class::Letter if !(matches!(next, b'\'' | b'&') && begins_string(byte)) => {
                    self.skip(at + 1, continues_name)
                }
                Class::Other => at + 1,
                Class::Dot if matches!(self::class(next), Class::Letter | Class::DoubleQuote) => at + 1,
                Class::Operator if self::class(next) != Class::Operator => at + 1,
                Class::DoubleQuote => match self.plain_name(at + 1) {
                    Some(end) => end,
                    None => break,
                },
                _ => break,
            };
            at = last;
            tokens += 1;
        }
        self.position = at;
        (tokens, last)
    }

    /// The end of a quoted name without quotes in it.
    #[inline(always)]
    fn plain_name(&self, inside: usize) -> Option<usize> {
        let end = self.skip(inside, |b| b != b'"');
        let next = self.peek(end + 1);
        (end < self.bytes.len() && next != Some(b'"')).then_some(end + 1)
    }

    #[inline(always)]
    fn peek(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    #[inline(always)]
    fn rest(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    #[inline(always)]
    fn is_digit(&self, at: usize) -> bool {
        self.peek(at).is_some_and(|b| b.is_ascii_digit())
    }

    #[inline(always)]
    fn skip(&self, mut at: usize, wanted: impl Fn(u8) -> bool) -> usize {
        while self.peek(at).is_some_and(&wanted) {
            at += 1;
        }
        at
    }

    /// White space and comments from `at` on, at least one of them.
    #[inline(always)]
    fn space(&self, mut at: usize) -> Result<(Kind, usize), LexError> {
        loop {
            at = self.skip(at, |b| class(b) == Class::Space);
            at = match (self.peek(at), self.peek(at + 1)) {
                (Some(b'-'), Some(b'-')) => self.line_comment(at),
                (Some(b'/'), Some(b'*')) => self.block_comment(at)?,
                _ => return Ok((Kind::Space, at)),
            };
        }
    }

    /// The end of a `--` comment: before the next CR or LF.
    fn line_comment(&self, at: usize) -> usize {
        memchr2(b'\n', b'\r', self.rest(at)).map_or(self.bytes.len(), |n| at + n)
    }

    fn block_comment(&self, start: usize) -> Result<usize, LexError> {
        let (mut at, mut depth) = (start + 2, 1_usize);
        while let Some(n) = memchr2(b'*', b'/', self.rest(at)) {
            at += n;
            match (self.peek(at), self.peek(at + 1)) {
                (Some(b'*'), Some(b'/')) => {
                    at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(at);
                    }
                }
                (Some(b'/'), Some(b'*')) => {
                    at += 2;
                    depth += 1;
                    if depth > MAX_COMMENT_NESTING {
                        return Err(LexError { fault: Fault::CommentNesting, position: start });
                    }
                }
                _ => at += 1,
            }
        }
        Err(LexError { fault: Fault::UnterminatedComment, position: start })
    }

    #[inline(always)]
    fn word(&mut self, first: u8, start: usize) -> Result<(Kind, usize), LexError> {
        match (first, self.peek(start + 1)) {
            (b'e' | b'E', Some(b'\'')) => return self.string(start, start + 2, Quoting::Escape),
            (b'b' | b'B' | b'x' | b'X', Some(b'\'')) => return self.string(start, start + 2, Quoting::Bits),
            (b'n' | b'N', Some(b'\'')) => return self.string(start, start + 2, Quoting::National),
            (b'u' | b'U', Some(b'&')) => match self.peek(start + 2) {
                Some(b'\'') => return self.string(start, start + 3, Quoting::Unicode),
                Some(b'"') => return self.quoted_name(start, start + 3, Kind::UnicodeEscape),
                _ => {}
            },
            _ => {}
        }
        let end = self.skip(start + 1, continues_name);
        self.check_name(start, end)?;
        Ok((Kind::Word, end))
    }

    #[inline]
    fn check_name(&self, start: usize, end: usize) -> Result<(), LexError> {
        if !self.suspicious {
            return Ok(());
        }
        let name = self.bytes.get(start..end).unwrap_or_default();
        match memmem::find(name, "\u{feff}".as_bytes()).or_else(|| memchr(0x0b, name)) {
            Some(n) => Err(LexError { fault: Fault::BadCharacter, position: start + n }),
            None => Ok(()),
        }
    }

    fn quoted_name(&self, start: usize, inside: usize, kind: Kind) -> Result<(Kind, usize), LexError> {
        let mut at = inside;
        loop {
            let Some(n) = memchr(b'"', self.rest(at)) else {
                return Err(LexError { fault: Fault::UnterminatedName, position: start });
            };
            at += n + 1;
            if self.peek(at) != Some(b'"') {
                break;
            }
            at += 1;
        }
        self.check_name(start, at)?;
        Ok((kind, at))
    }

    /// A string from its opening quote's next byte on.
    #[inline]
    fn string(&self, start: usize, inside: usize, quoting: Quoting) -> Result<(Kind, usize), LexError> {
        let (mut at, mut continued) = (inside, false);
        loop {
            let found = match quoting {
                Quoting::Escape => memchr2(b'\'', b'\\', self.rest(at)),
                _ => memchr(b'\'', self.rest(at)),
            };
            let Some(n) = found else {
                return Err(LexError { fault: Fault::UnterminatedString, position: start });
            };
            at += n;
            let doubled = quoting != Quoting::Bits && self.peek(at + 1) == Some(b'\'');
            if doubled || self.peek(at) == Some(b'\\') {
                at += 2;
            } else if let Some(next) = self.continuation(at + 1) {
                continued = true;
                at = next;
            } else {
                return Ok((quoting.kind(continued), at + 1));
            }
        }
    }

    /// A string goes on after white space with a line break in it and another quote (scan.l: quotecontinue).
    /// Gives the byte after that quote.
    #[inline]
    fn continuation(&self, mut at: usize) -> Option<usize> {
        let mut line_break = false;
        loop {
            match self.peek(at)? {
                b'\n' | b'\r' => line_break = true,
                b'\'' if line_break => return Some(at + 1),
                b'-' if self.peek(at + 1) == Some(b'-') => {
                    at = self.line_comment(at);
                    continue;
                }
                b if class(b) == Class::Space => {}
                _ => return None,
            }
            at += 1;
        }
    }

    fn dollar(&self, start: usize) -> Result<(Kind, usize), LexError> {
        let after = self.skip(start + 1, |b| matches!(class(b), Class::Letter | Class::Digit));
        if self.is_digit(start + 1) {
            return self.parameter(start);
        }
        if self.peek(after) != Some(b'$') {
            return Ok((Kind::Other, start + 1));
        }
        let tag = self.bytes.get(start..=after).unwrap_or_default();
        match memmem::find(self.rest(after + 1), tag) {
            Some(n) => Ok((Kind::Literal(LiteralClass::DollarString), after + 1 + n + tag.len())),
            None => Err(LexError { fault: Fault::UnterminatedDollarString, position: start }),
        }
    }

    fn parameter(&self, start: usize) -> Result<(Kind, usize), LexError> {
        let end = self.skip(start + 1, |b| b.is_ascii_digit());
        let digits = self.bytes.get(start + 1..end).unwrap_or_default();
        let number =
            digits.iter().fold(0_u32, |n, d| n.saturating_mul(10).saturating_add(u32::from(d - b'0')));
        if number == 0 || number > MAX_PARAMETER {
            return Err(LexError { fault: Fault::ParameterNumber, position: start });
        }
        Ok((Kind::Parameter(number), end))
    }

    #[inline(always)]
    fn operator(&self, first: u8, start: usize) -> Result<(Kind, usize), LexError> {
        let (mut at, mut byte) = (start, first);
        loop {
            let next = self.peek(at + 1);
            if matches!((byte, next), (b'-', Some(b'-')) | (b'/', Some(b'*'))) {
                return if at == start { self.space(start) } else { Ok((Kind::Operator, at)) };
            }
            at += 1;
            match next {
                Some(b) if class(b) == Class::Operator => byte = b,
                _ if at - start > MAX_OPERATOR_RUN => {
                    return Err(LexError { fault: Fault::OperatorRun, position: start });
                }
                _ => return Ok((Kind::Operator, at)),
            }
        }
    }

    /// A number from its first digit or point on. One in a form that the majors read differently, or with
    /// letters right behind it, is not lifted.
    #[inline(always)]
    fn number(&mut self, start: usize) -> (Kind, usize) {
        let whole = self.digits(start);
        let mut end = whole;
        let mut decimal = false;
        let mut doubt = false;
        if self.peek(end) == Some(b'.') {
            if self.peek(end + 1) == Some(b'.') {
                return (Kind::Constant, end);
            }
            decimal = true;
            end = self.digits(end + 1);
        }
        if matches!(self.peek(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(end + 1), Some(b'+' | b'-')));
            if self.is_digit(end + 1 + sign) {
                decimal = true;
                end = self.digits(end + 1 + sign);
            }
        }
        if self.peek(end).is_some_and(|b| class(b) == Class::Letter) {
            doubt = true;
            end = self.skip(end, continues_name);
        }
        let token = self.bytes.get(start..end).unwrap_or_default();
        if doubt || token.contains(&b'_') {
            self.modern_number.get_or_insert(start);
            return (Kind::Constant, end);
        }
        if decimal {
            return (Kind::Literal(LiteralClass::Numeric), end);
        }
        (integer_class(token).map_or(Kind::Constant, Kind::Literal), end)
    }

    /// Digits with single underscores between them.
    #[inline(always)]
    fn digits(&self, mut at: usize) -> usize {
        while self.is_digit(at) || (self.peek(at) == Some(b'_') && self.is_digit(at + 1)) {
            at += 1;
        }
        at
    }
}
