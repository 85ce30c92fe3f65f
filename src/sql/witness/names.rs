//! Names as PostgreSQL sees them: folded where they are bare, unescaped where they are quoted.

use std::borrow::Cow;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

/// The identifier itself. Bare ones fold their ASCII letters (PostgreSQL, `downcase_identifier` in a UTF-8
/// database); the parser left quotes inside quoted ones doubled.
pub(super) fn fold(ident: &Ident) -> Cow<'_, str> {
    match ident.quote_style {
        None if ident.value.bytes().any(|b| b.is_ascii_uppercase()) => {
            Cow::Owned(ident.value.to_ascii_lowercase())
        }
        Some(_) if ident.value.contains("\"\"") => Cow::Owned(ident.value.replace("\"\"", "\"")),
        _ => Cow::Borrowed(&ident.value),
    }
}

/// A relation's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RelationName {
    /// `schema.name`
    Qualified {
        /// The schema.
        schema: String,
        /// The name.
        name: String,
    },
    /// `name`: a CTE, or nothing that may be sent.
    Bare(String),
}

/// Reads a relation's name; nothing where it has another number of parts or a part that is no identifier.
pub(super) fn relation(name: &ObjectName) -> Option<RelationName> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(RelationName::Bare(fold(name).into_owned())),
        [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)] => {
            Some(RelationName::Qualified { schema: fold(schema).into_owned(), name: fold(name).into_owned() })
        }
        _ => None,
    }
}

/// Whether a name in FROM is one of the values that are spelled like a name. They are keywords that no relation and no CTE
/// can have unquoted (gram.y, `func_expr_common_subexpr`).
pub(super) fn is_value(name: &ObjectName) -> bool {
    const VALUES: [&str; 12] = [
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "session_user",
        "system_user",
        "user",
    ];
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => {
            name.quote_style.is_none() && VALUES.iter().any(|value| name.value.eq_ignore_ascii_case(value))
        }
        _ => false,
    }
}

/// A column as INSERT and SET name it: the first part, whatever field of it is meant.
pub(super) fn column(name: &ObjectName) -> Option<Cow<'_, str>> {
    match name.0.first() {
        Some(ObjectNamePart::Identifier(name)) => Some(fold(name)),
        _ => None,
    }
}
