//! A client's text cut into statements, each with its literals lifted out.

use std::ops::Range;

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
}

/// A literal token that was lifted out of the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Its token (quotes and prefix included) as a range of the statement's `text`.
    pub token: Range<usize>,
    /// What kind of token it is. The class is part of the shape.
    pub class: LiteralClass,
}

/// The classes of literal tokens. Two tokens of one class parse to the same kind of node.
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
    /// Digits beyond int4, a decimal point or an exponent (PostgreSQL's lexer makes a Float of it).
    Numeric,
}

impl Statement<'_> {
    /// The token of a literal, as the client wrote it.
    pub fn token(&self, index: usize) -> Option<&str> {
        self.literals.get(index).and_then(|l| self.text.get(l.token.clone()))
    }
}
