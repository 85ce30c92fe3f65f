//! Guards, and what raises whenever it is evaluated.

use sqlparser::ast::{BinaryOperator, CaseWhen, CastKind, DataType, Expr, Value};

use super::forms::bare;

/// `CASE WHEN … THEN … ELSE … END`, or `CASE WHEN … THEN … WHEN <error> THEN … END`.
pub(super) struct Guard<'q> {
    pub(super) arm: &'q CaseWhen,
    pub(super) otherwise: Otherwise<'q>,
}

/// What a guard gives where its condition is not true.
#[derive(Clone, Copy)]
pub(super) enum Otherwise<'q> {
    Value(&'q Expr),
    Error,
}

impl Otherwise<'_> {
    /// Whether nothing comes out of it.
    pub(super) fn raises(self) -> bool {
        match self {
            Otherwise::Value(value) => raises(value),
            Otherwise::Error => true,
        }
    }

    /// Whether nothing comes out of it but `false`.
    pub(super) fn stops(self) -> bool {
        let is_false =
            |value: &Expr| matches!(bare(value), Expr::Value(v) if v.value == Value::Boolean(false));
        self.raises() || matches!(self, Otherwise::Value(value) if is_false(value))
    }
}

pub(super) fn guard(expr: &Expr) -> Option<Guard<'_>> {
    let Expr::Case { operand: None, conditions, else_result, case_token: _, end_token: _ } = bare(expr)
    else {
        return None;
    };
    match (conditions.as_slice(), else_result) {
        ([arm], Some(otherwise)) => Some(Guard { arm, otherwise: Otherwise::Value(otherwise) }),
        ([arm, second], None) if raises(&second.condition) => {
            Some(Guard { arm, otherwise: Otherwise::Error })
        }
        _ => None,
    }
}

/// Whether an expression raises whenever it is evaluated: a text that begins as no boolean does, cast to
/// boolean (`boolin` takes prefixes of true, false, yes, no, on, off, and 0 and 1). What is cast on is raised
/// before.
fn raises(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
            (is_boolean(data_type) && begins_as_no_boolean(expr)) || raises(expr)
        }
        Expr::Case { operand: None, conditions, else_result: None, case_token: _, end_token: _ } => {
            conditions.first().is_some_and(|arm| raises(&arm.condition))
        }
        _ => guard(expr).is_some_and(|guard| raises(&guard.arm.condition)),
    }
}

fn is_boolean(data_type: &DataType) -> bool {
    match data_type {
        DataType::Bool | DataType::Boolean => true,
        DataType::Custom(name, modifiers) => {
            modifiers.is_empty() && matches!(name.to_string().as_str(), "pg_catalog.bool")
        }
        _ => false,
    }
}

fn begins_as_no_boolean(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right: _ } => begins_as_no_boolean(left),
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(name), right: _ } => {
            name.iter().map(String::as_str).eq(["pg_catalog", "||"]) && begins_as_no_boolean(left)
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
            is_text(data_type) && begins_as_no_boolean(expr)
        }
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => {
                let first = text.chars().next().map(|c| c.to_ascii_lowercase());
                first.is_some_and(|c| c.is_ascii_alphabetic() && !matches!(c, 't' | 'f' | 'y' | 'n' | 'o'))
            }
            _ => false,
        },
        _ => false,
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Text => true,
        DataType::Custom(name, modifiers) => modifiers.is_empty() && name.to_string() == "pg_catalog.text",
        _ => false,
    }
}
