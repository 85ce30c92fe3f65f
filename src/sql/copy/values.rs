//! The value of each option of COPY, by the option's kind: what is decided on and printed as what it is.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, Node};

use super::super::build;
use super::super::refusals::{kind_of, unsupported};
use super::options::RULE;
use crate::policy::{Refusal, SqlState};

/// Writes the options' values of a COPY so that they are read back as they are printed: a Boolean of the old syntax,
/// `on` and `1` are other values in the tree for the same choice (`defGetBoolean`, define.c), and a number stands for
/// its text where a text is wanted (`defGetString`).
pub(in crate::sql) fn in_words(statement: &mut Node) {
    let Some(NodeEnum::CopyStmt(copy)) = &mut statement.node else { return };
    for option in &mut copy.options {
        let Some(NodeEnum::DefElem(option)) = &mut option.node else { continue };
        let value = match kind(&option.defname) {
            Kind::Choice if option.arg.is_some() => boolean(option).map(|chosen| chosen.to_string()),
            Kind::Text => word(option),
            _ => None,
        };
        if let Some(value) = value {
            option.arg = Some(Box::new(build::text(&value)));
        }
    }
}

/// Refuses, with the server's code, a value of an option that the printer would not print as what it is.
pub(in crate::sql) fn printable(options: &[Node]) -> Result<(), Refusal> {
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else {
            return Err(unsupported(&kind_of(option), -1));
        };
        let name = &option.defname;
        let refuse = |state, message: String| Err(Refusal::new(state, RULE, message).at(option.location));
        match (kind(name), option.arg.as_deref().and_then(|arg| arg.node.as_ref())) {
            (Kind::Choice, None) | (Kind::Text, Some(NodeEnum::String(_))) => {}
            (Kind::Choice, _) => {
                let known = boolean(option).is_some() || word(option).as_deref().is_some_and(is_match);
                if !known {
                    return refuse(SqlState::SYNTAX, format!("{name} requires a Boolean value"));
                }
            }
            (Kind::Number, Some(NodeEnum::Integer(_) | NodeEnum::Float(_) | NodeEnum::String(_))) => {}
            (Kind::Text | Kind::Number, None) => {
                return refuse(SqlState::SYNTAX, format!("{name} requires a parameter"));
            }
            (Kind::Columns, Some(NodeEnum::AStar(_) | NodeEnum::List(_))) => {}
            (Kind::Columns, _) => {
                let message = format!("argument to option \"{name}\" must be a list of column names");
                return refuse(SqlState::INVALID_PARAMETER, message);
            }
            (Kind::Text | Kind::Number | Kind::Unknown, _) => return Err(refused(option)),
        }
    }
    Ok(())
}

/// What an option's value is, by the option's name (`ProcessCopyOptions`, copy.c).
enum Kind {
    /// A Boolean, of HEADER also `match`.
    Choice,
    /// A text or a word.
    Text,
    /// A number, or a text of one.
    Number,
    /// Columns' names or `*`.
    Columns,
    /// An option that no rule here knows.
    Unknown,
}

fn kind(option: &str) -> Kind {
    match option {
        "header" | "freeze" => Kind::Choice,
        "format" | "delimiter" | "null" | "quote" | "escape" | "default" | "encoding" | "on_error"
        | "log_verbosity" => Kind::Text,
        "reject_limit" => Kind::Number,
        "force_quote" | "force_not_null" | "force_null" => Kind::Columns,
        _ => Kind::Unknown,
    }
}

/// HEADER's third value.
pub(super) fn is_match(word: &str) -> bool {
    word.eq_ignore_ascii_case("match")
}

/// An option's value as `defGetBoolean` gives it; none where that raises.
pub(super) fn boolean(option: &DefElem) -> Option<bool> {
    if option.arg.is_none() {
        return Some(true);
    }
    match word(option)?.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Of an option that is not taken, or not with such a value.
pub(super) fn refused(option: &DefElem) -> Refusal {
    unsupported(&format!("COPY's option {}", option.defname), option.location)
}

/// An option's value as `defGetString` (define.c) gives it; none without one.
pub(super) fn word(option: &DefElem) -> Option<String> {
    match option.arg.as_deref().map(|arg| &arg.node) {
        Some(Some(NodeEnum::String(value))) => Some(value.sval.clone()),
        Some(Some(NodeEnum::Integer(value))) => Some(value.ival.to_string()),
        Some(Some(NodeEnum::Float(value))) => Some(value.fval.clone()),
        Some(Some(NodeEnum::Boolean(value))) => Some(value.boolval.to_string()),
        Some(Some(NodeEnum::AStar(_))) => Some("*".to_owned()),
        Some(_) | None => None,
    }
}
