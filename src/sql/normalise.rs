//! A client's text cut into statements, each with its literals lifted out.

use std::ops::Range;

use super::bounds::{Bounded, Limits};
use super::lexer::{Fault, Kind, LexError, Lexer, Token};
use crate::policy::{Refusal, Rule, SqlState};

/// One statement of a client's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The statement's own text, without the semicolon. Comments are still in it.
    pub text: &'a str,
    /// Byte offset of `text` in the client's text.
    pub offset: usize,
    /// The text without comments, white space folded, with a mark for each lifted literal's class: equal
    /// shapes differ in lifted literals, comments and white space only. Where the lexer was in doubt, the
    /// whole text, and no literal is lifted.
    pub shape: String,
    /// The lifted literals in order.
    pub literals: Vec<Literal>,
    /// Byte offset in `text` of the first number that only PostgreSQL 16 and later read as one.
    pub modern_number: Option<usize>,
}

/// A literal token that was lifted out of the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Its token (quotes and prefix included) as a range of the statement's `text`.
    pub token: Range<usize>,
    /// What kind of token it is. The class is part of the shape.
    pub class: LiteralClass,
}

/// The classes of literal tokens. Two tokens of one class parse to the same kind of node and get the same type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiteralClass {
    /// `'…'`
    String,
    /// `E'…'`
    EscapeString,
    /// `$tag$…$tag$`
    DollarString,
    /// Digits whose value fits an int4 (PostgreSQL's lexer makes an Integer of it).
    Integer,
    /// Digits beyond int4 that fit an int8 (a Float node, whose type is bigint).
    Bigint,
    /// Digits beyond int8, a decimal point or an exponent (a Float node, whose type is numeric).
    Numeric,
}

impl LiteralClass {
    /// The mark in a shape. A text never holds NUL, so no text can look like a mark.
    const fn mark(self) -> &'static str {
        match self {
            Self::String => "\0s",
            Self::EscapeString => "\0e",
            Self::DollarString => "\0d",
            Self::Integer => "\0i",
            Self::Bigint => "\0b",
            Self::Numeric => "\0n",
        }
    }

    /// A string of some notation.
    pub const fn is_string(self) -> bool {
        matches!(self, Self::String | Self::EscapeString | Self::DollarString)
    }
}

/// Begins a shape that is a whole text.
const WHOLE_TEXT: &str = "\0w";

impl Statement<'_> {
    /// The token of a literal, as the client wrote it.
    pub fn token(&self, index: usize) -> Option<&str> {
        self.literals.get(index).and_then(|l| self.text.get(l.token.clone()))
    }

    /// The index of the literal whose token begins at a byte of `text` (a node's location).
    pub fn literal_at(&self, location: i32) -> Option<usize> {
        let location = usize::try_from(location).ok()?;
        self.literals.binary_search_by_key(&location, |l| l.token.start).ok()
    }
}

/// Cuts a text into its statements. None for a text of white space, comments and semicolons.
///
/// Refuses with 54000 or 54001 beyond the limits, 22021 for characters that majors read differently, 42601 for
/// what PostgreSQL's lexer refuses; the position is a byte of `text`.
pub fn statements<'a>(text: &'a str, limits: &Limits) -> Result<Vec<Statement<'a>>, Refusal> {
    let text = Bounded::new(text, limits)?;
    let mut normaliser = Normaliser::new(*limits);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(next) = normaliser.next_statement(text, from)? {
        from = next.next;
        found.push(next.to_statement());
    }
    Ok(found)
}

/// Normalises statement after statement with the same buffers.
#[derive(Debug, Default)]
pub struct Normaliser {
    limits: Limits,
    shape: String,
    literals: Vec<Literal>,
}

/// A statement whose shape and literals lie in a [`Normaliser`]'s buffers.
#[derive(Debug, Clone, Copy)]
pub struct Normalised<'n, 'a> {
    /// See [`Statement::text`].
    pub text: &'a str,
    /// See [`Statement::offset`].
    pub offset: usize,
    /// Where the next statement is looked for.
    pub next: usize,
    /// See [`Statement::shape`].
    pub shape: &'n str,
    /// See [`Statement::literals`].
    pub literals: &'n [Literal],
    /// See [`Statement::modern_number`].
    pub modern_number: Option<usize>,
}

impl<'a> Normalised<'_, 'a> {
    /// The token of a literal, as the client wrote it.
    pub fn token(&self, index: usize) -> Option<&'a str> {
        self.literals.get(index).and_then(|l| self.text.get(l.token.clone()))
    }

    /// A statement of its own.
    pub fn to_statement(&self) -> Statement<'a> {
        Statement {
            text: self.text,
            offset: self.offset,
            shape: self.shape.to_owned(),
            literals: self.literals.to_vec(),
            modern_number: self.modern_number,
        }
    }
}

impl Normaliser {
    /// A normaliser with empty buffers.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The first statement that begins at byte `from` or later, or none. Allocates only where a buffer grows.
    /// Errors as of [`statements`].
    pub fn next_statement<'n, 'a>(
        &'n mut self,
        text: Bounded<'a>,
        from: usize,
    ) -> Result<Option<Normalised<'n, 'a>>, Refusal> {
        self.shape.clear();
        self.literals.clear();
        let whole = text.text();
        let mut lexer = Lexer::new(whole, from);
        let mut scan = Scan { run: from, ..Scan::default() };
        let mut next = whole.len();
        while let Some(token) = lexer.next_token().map_err(|e| refuse(e, whole))? {
            if token.kind == Kind::Semicolon && scan.nesting == 0 {
                next = token.end;
                if scan.first.is_some() {
                    break;
                }
                scan.run = token.end;
            } else {
                self.take(whole, token, &mut scan)?;
            }
        }
        let Some(first) = scan.first else { return Ok(None) };
        self.shape.push_str(whole.get(scan.run..scan.last).unwrap_or_default());
        let text = whole.get(first..scan.last).unwrap_or_default();
        if scan.doubt {
            self.shape.clear();
            self.literals.clear();
            self.shape.push_str(WHOLE_TEXT);
            self.shape.push_str(text);
        }
        for literal in &mut self.literals {
            literal.token.start -= first;
            literal.token.end -= first;
        }
        let modern_number = lexer.modern_number().map(|at| at - first);
        let (shape, literals) = (self.shape.as_str(), self.literals.as_slice());
        Ok(Some(Normalised { text, offset: first, next, shape, literals, modern_number }))
    }

    #[inline]
    fn take(&mut self, whole: &str, token: Token, scan: &mut Scan) -> Result<(), Refusal> {
        if token.kind == Kind::Space {
            let single = token.end - token.start == 1 && whole.as_bytes().get(token.start) == Some(&b' ');
            if scan.first.is_some() && !single {
                self.shape.push_str(whole.get(scan.run..scan.last).unwrap_or_default());
                scan.run = scan.last;
                scan.gap = true;
            }
            return Ok(());
        }
        scan.tokens += 1;
        if scan.tokens > self.limits.max_tokens {
            return Err(too_complex("too many tokens", token.start));
        }
        if scan.first.is_none() {
            scan.first = Some(token.start);
            scan.run = token.start;
        } else if scan.gap {
            self.shape.push(' ');
            scan.run = token.start;
            scan.gap = false;
        }
        scan.last = token.end;
        match token.kind {
            Kind::Literal(class) => {
                self.shape.push_str(whole.get(scan.run..token.start).unwrap_or_default());
                self.shape.push_str(class.mark());
                scan.run = token.end;
                self.literals.push(Literal { token: token.start..token.end, class });
            }
            Kind::Open => {
                scan.nesting += 1;
                if scan.nesting > self.limits.max_nesting {
                    return Err(too_complex("parentheses are nested too deeply", token.start));
                }
            }
            Kind::Close => scan.nesting = scan.nesting.saturating_sub(1),
            Kind::UnicodeEscape => scan.doubt = true,
            _ => {}
        }
        Ok(())
    }
}

/// How far a statement was read.
#[derive(Default)]
struct Scan {
    /// First byte of the first token.
    first: Option<usize>,
    /// The byte after the last token.
    last: usize,
    /// First byte that was not copied to the shape yet.
    run: usize,
    /// White space or comments were left out.
    gap: bool,
    nesting: usize,
    tokens: usize,
    doubt: bool,
}

fn too_complex(message: &str, position: usize) -> Refusal {
    let mut refusal = Refusal::new(SqlState::TOO_COMPLEX, Rule("bounds"), message)
        .hint("The limits keep one statement from taking everybody's time.");
    refusal.position = Some(position);
    refusal
}

fn refuse(error: LexError, text: &str) -> Refusal {
    let syntax = |message: &str| {
        let near = text.get(error.position..).unwrap_or_default();
        let near: String = near.chars().take(64).collect();
        Refusal::new(SqlState::SYNTAX, Rule("syntax"), format!("{message} at or near \"{near}\""))
    };
    let mut refusal = match error.fault {
        Fault::UnterminatedString => syntax("unterminated quoted string"),
        Fault::UnterminatedName => syntax("unterminated quoted identifier"),
        Fault::UnterminatedDollarString => syntax("unterminated dollar-quoted string"),
        Fault::UnterminatedComment => syntax("unterminated /* comment"),
        Fault::CommentNesting => too_complex("comments are nested too deeply", error.position),
        Fault::OperatorRun => too_complex("too many operator characters in a row", error.position),
        Fault::ParameterNumber => {
            Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), "parameters are numbered from $1 to $65535")
        }
        Fault::BadCharacter => Refusal::new(
            SqlState::BAD_ENCODING,
            Rule("encoding"),
            "vertical tab and U+FEFF are accepted in strings and comments only",
        ),
    };
    refusal.position = Some(error.position);
    refusal
}
