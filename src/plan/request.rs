//! A statement on its way to a planning thread.

use std::sync::Arc;

use crate::catalog::Oid;
use crate::sql::{Literal, Normalised, Statement};

/// A statement that owns its text, and who asks.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose turn at the planning threads this takes: the tenant, or the user where none is bound.
    pub lane: Arc<str>,
    /// The role it is planned for.
    pub role: Arc<str>,
    text: Box<str>,
    offset: usize,
    pub(super) shape: String,
    literals: Vec<Literal>,
    modern_number: Option<usize>,
    parameter_types: Vec<Oid>,
}

impl Request {
    /// A request for a statement that lies in a normaliser's buffers.
    pub fn new(lane: Arc<str>, role: Arc<str>, statement: &Normalised<'_, '_>) -> Self {
        Self::of(lane, role, statement.to_statement())
    }

    /// The same for a statement on its own.
    pub fn of(lane: Arc<str>, role: Arc<str>, statement: Statement<'_>) -> Self {
        let Statement { text, offset, shape, literals, modern_number, parameter_types } = statement;
        Self { lane, role, text: text.into(), offset, shape, literals, modern_number, parameter_types }
    }

    /// The statement.
    pub fn statement(&self) -> Statement<'_> {
        Statement {
            text: &self.text,
            offset: self.offset,
            shape: self.shape.clone(),
            literals: self.literals.clone(),
            modern_number: self.modern_number,
            parameter_types: self.parameter_types.clone(),
        }
    }

    /// The statement's own text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statement's shape.
    pub fn shape(&self) -> &str {
        &self.shape
    }

    /// A literal's token, as the client wrote it.
    pub fn token(&self, index: usize) -> Option<&str> {
        self.literals.get(index).and_then(|l| self.text.get(l.token.clone()))
    }

    /// The shape with its tokens: what a refusal is known by. It differs from the text in comments and white
    /// space only.
    pub(super) fn exact(&self) -> String {
        let tokens: usize = self.literals.iter().map(|l| l.token.len() + 1).sum();
        let mut exact = String::with_capacity(self.shape.len() + tokens);
        exact.push_str(&self.shape);
        for index in 0..self.literals.len() {
            exact.push('\0');
            exact.push_str(self.token(index).unwrap_or_default());
        }
        exact
    }
}
