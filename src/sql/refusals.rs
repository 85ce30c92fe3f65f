//! What binding and rewriting refuse, in the same words everywhere.

use std::fmt::Write;

use pg_query::protobuf::Node;

use crate::policy::{Refusal, Rule, SqlState};

use super::seen::place;

/// The rule of what may be read and written.
pub(in crate::sql) const ACCESS: Rule = Rule("access");
/// The rule of forms that are not understood.
pub(in crate::sql) const FORM: Rule = Rule("form");

/// A refusal of a form that is not provably safe.
pub(in crate::sql) fn unsupported(what: &str, location: i32) -> Refusal {
    Refusal::new(SqlState::NOT_SUPPORTED, FORM, format!("{what} is not supported")).at(place(location))
}

/// A refusal of a column that the role may not see.
pub(in crate::sql) fn denied_column(name: &str, location: i32) -> Refusal {
    Refusal::new(SqlState::DENIED, ACCESS, format!("permission denied for column \"{name}\"")).at(location)
}

/// The name of a node kind, for refusals.
pub(in crate::sql) fn kind_of(node: &Node) -> String {
    let mut head = Head(String::new());
    // Ends with an error as soon as the name is whole: a subtree is not printed for its head.
    let _ = node.node.as_ref().map(|inner| write!(head, "{inner:?}"));
    head.0
}

/// Takes the first word of what is written, and no more.
struct Head(String);

impl Write for Head {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            if !c.is_ascii_alphanumeric() {
                return Err(std::fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}
