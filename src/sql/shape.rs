//! A statement with its literals lifted out: its shape, and what shapes are made of.

use std::ops::Range;

use super::lexer::LiteralClass;
use crate::catalog::Oid;

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
    /// The types that the client declared for its parameters (Parse); 0 where it left one open.
    pub parameter_types: Vec<Oid>,
}

/// A literal token that was lifted out of the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Its token (quotes and prefix included) as a range of the statement's `text`.
    pub token: Range<usize>,
    /// What kind of token it is. The class is part of the shape.
    pub class: LiteralClass,
}

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

/// A literal that a decision looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Index among the lifted literals.
    pub index: usize,
    /// The token it must be.
    pub token: String,
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
    /// See [`Statement::parameter_types`].
    pub parameter_types: &'n [Oid],
}

impl<'a> Normalised<'_, 'a> {
    /// The token of a literal, as the client wrote it.
    pub fn token(&self, index: usize) -> Option<&'a str> {
        self.literals.get(index).and_then(|l| self.text.get(l.token.clone()))
    }

    /// Whether the shape is the whole text.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.shape.starts_with(WHOLE_TEXT)
    }

    /// A statement of its own.
    pub fn to_statement(&self) -> Statement<'a> {
        Statement {
            text: self.text,
            offset: self.offset,
            shape: self.shape.to_owned(),
            literals: self.literals.to_vec(),
            modern_number: self.modern_number,
            parameter_types: self.parameter_types.to_vec(),
        }
    }
}

/// Ends a shape whose parameters have declared types.
pub(super) const TYPES: &str = "\0t";

/// Begins a shape that is a whole text.
pub(super) const WHOLE_TEXT: &str = "\0w";

/// The mark of a lifted literal in a shape. A text never holds NUL, so no text can look like a mark.
pub(super) const fn mark(class: LiteralClass) -> &'static str {
    match class {
        LiteralClass::String => "\0s",
        LiteralClass::EscapeString => "\0e",
        LiteralClass::DollarString => "\0d",
        LiteralClass::Integer => "\0i",
        LiteralClass::Bigint => "\0b",
        LiteralClass::Numeric => "\0n",
    }
}
