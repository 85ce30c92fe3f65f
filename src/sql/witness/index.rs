//! Indexes that bare conditions rely on: each must be looked up by name in a condition that is analysed after the
//! relations of its level are locked, and whose other branch raises.
//!
//! `CASE WHEN '<name>'::regclass OPERATOR(pg_catalog.=) '<oid>'::oid THEN true ELSE <error> END`, as a top-level
//! conjunct of a WHERE, of MERGE's ON too.

use sqlparser::ast::{CastKind, DataType, Expr, Value};

use super::Walk;
use super::forms::{bare, conjuncts, equality};
use super::guard::guard;

/// An index that a statement relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its schema and name as `regclassin` reads them, quoted.
    pub name: String,
    /// Its oid.
    pub oid: u32,
}

impl Walk<'_> {
    /// Strikes the indexes off that a level's condition looks up.
    pub(super) fn look_ups(&mut self, selection: Option<&Expr>) {
        if self.unproved.is_empty() {
            return;
        }
        for conjunct in selection.into_iter().flat_map(conjuncts) {
            if let Some((name, oid)) = looked_up(conjunct) {
                self.unproved.retain(|index| (index.name.as_str(), index.oid) != (name, oid));
            }
        }
    }
}

fn looked_up(conjunct: &Expr) -> Option<(&str, u32)> {
    let guard = guard(conjunct)?;
    let kept = matches!(bare(&guard.arm.result), Expr::Value(v) if v.value == Value::Boolean(true));
    let (found, known) = equality(&guard.arm.condition)?;
    let (name, oid) = (literal_of(found, "regclass")?, literal_of(known, "oid")?);
    (kept && guard.otherwise.raises()).then_some((name, oid.parse().ok()?))
}

/// The text of `'…'::pg_catalog.<name>`.
fn literal_of<'q>(value: &'q Expr, name: &str) -> Option<&'q str> {
    let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } =
        bare(value)
    else {
        return None;
    };
    let DataType::Custom(named, modifiers) = data_type else { return None };
    let own = modifiers.is_empty() && named.to_string() == format!("pg_catalog.{name}");
    match bare(expr) {
        Expr::Value(value) if own => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
