//! Sequences: which a statement may draw from, what it has drawn for certain once it has succeeded, and whose last
//! values it asks for.
//!
//! `currval` and `lastval` show what the server *session* drew last, and tenants share those. What a statement has drawn
//! for certain makes such a value the client's own, whoever had the connection before; where that is not known, only the
//! session can tell whether anybody else's value can be there (`session/sequences.rs`). A draw is certain where the
//! server has evaluated `nextval` in any case: an output of a SELECT of nothing but values, a value of a VALUES row,
//! or the default of a column that an INSERT leaves out, in at least one row. The default's own text must be a plain
//! `nextval`, and the table must have no rules, which could make another statement of the INSERT.

use std::sync::Arc;

use crate::catalog::Oid;
use crate::policy::{Refusal, SqlState};

use super::arguments::identifiers;
use super::functions::RULE;

/// What a statement has to do with sequences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequences {
    /// It has drawn from these once it has succeeded.
    pub draws: Vec<Oid>,
    /// The same, if its command tag counts a row.
    pub draws_with_rows: Vec<Oid>,
    /// It asks for these last values.
    pub asks: Vec<Asked>,
}

/// A last value that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `lastval()`
    Last,
    /// `currval('name')`
    Of(Named),
    /// `currval($n)`: the sequence is named when the value of the parameter is known.
    Parameter(u16, Arc<[Named]>),
}

/// A sequence that the role may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `pg_class.oid`.
    pub oid: Oid,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// It is found without its schema.
    pub in_path: bool,
}

impl Sequences {
    /// Bytes of its lists, for a cache's bound (an estimate).
    pub fn bytes(&self) -> usize {
        let asked = |asked: &Asked| match asked {
            Asked::Last => 0,
            Asked::Of(named) => named.bytes(),
            Asked::Parameter(_, named) => named.iter().map(Named::bytes).sum(),
        };
        let drawn = self.draws.len().saturating_add(self.draws_with_rows.len());
        drawn.saturating_mul(4).saturating_add(self.asks.iter().map(asked).sum())
    }
}

impl Named {
    fn bytes(&self) -> usize {
        self.schema.len().saturating_add(self.name.len()).saturating_add(64)
    }

    /// The one of them that a text of type regclass means; none: none that may be asked for.
    pub fn meant<'n>(among: &'n [Self], text: &str) -> Option<&'n Self> {
        // All digits are an oid (regclassin, utils/adt/regproc.c).
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        match identifiers(text)?.as_slice() {
            [name] => among.iter().find(|named| named.in_path && named.name == *name),
            [schema, name] => among.iter().find(|named| named.schema == *schema && named.name == *name),
            _ => None,
        }
    }
}

/// 42P01 in PostgreSQL's words.
pub fn undefined(text: &str) -> Refusal {
    Refusal::new(SqlState::UNDEFINED_TABLE, RULE, format!("relation \"{text}\" does not exist"))
}
