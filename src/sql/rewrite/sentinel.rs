//! The raising guard. Where row-level security raises 42501 rather than drop a row in silence, the rewritten
//! statement casts a sentinel text to boolean: PostgreSQL raises 22P02 with the text in its message, and the
//! session, which knows the sentinel, answers what PostgreSQL would have said.
//!
//! The sentinel ends in `left(random()::text, 0)`, so that no planner folds it into a constant and raises while
//! it plans. It carries a nonce of the process, so that nobody else's error is taken for it.

use pg_query::protobuf::Node;

use crate::policy::{Refusal, Rule, SqlState};

use super::super::build;

/// What a raised guard means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A row would belong to another tenant.
    Tenant,
    /// A foreign key would point at a row that is not there for the tenant.
    ForeignKey,
    /// An index that the statement relies on is another one now.
    Index,
}

/// The rule of statements that were planned with a catalog that the server has not any more.
pub const STALE: Rule = Rule("stale-catalog");

/// An expression that raises when it is evaluated. `subject` is a relation, or `relation:constraint`.
pub(in crate::sql) fn raise(nonce: &str, violation: Violation, subject: &str) -> Node {
    let random = build::cast(build::call("random", Vec::new()), "pg_catalog", "text");
    raised(nonce, violation, subject, build::call("left", vec![random, build::integer(0)]))
}

/// The same, made to depend on the row by one of its columns instead of by a volatile function.
pub(in crate::sql) fn raise_for(nonce: &str, violation: Violation, subject: &str, column: Node) -> Node {
    let text = build::cast(column, "pg_catalog", "text");
    let nothing = build::call("left", vec![text, build::integer(0)]);
    raised(nonce, violation, subject, build::coalesce(vec![nothing, build::string("")]))
}

/// The sentinel, with a text behind it that is empty and known at run time only.
fn raised(nonce: &str, violation: Violation, subject: &str, nothing: Node) -> Node {
    let text = build::string(&sentinel(nonce, violation, subject));
    build::cast(build::operator("||", text, nothing), "pg_catalog", "bool")
}

/// The same as a constant: it raises when the statement is planned, unless it is never reached.
pub(in crate::sql) fn raise_early(nonce: &str, violation: Violation, subject: &str) -> Node {
    let text = build::cast(build::string(&sentinel(nonce, violation, subject)), "pg_catalog", "text");
    build::cast(text, "pg_catalog", "bool")
}

fn sentinel(nonce: &str, violation: Violation, subject: &str) -> String {
    let kind = match violation {
        Violation::Tenant => "tenant",
        Violation::ForeignKey => "fkey",
        Violation::Index => "index",
    };
    format!("pgbulkhead {nonce} {kind} {subject}")
}

/// Reads a server's error message (code 22P02): the refusal that it stands for, where it is a sentinel of this
/// process.
pub fn decode(message: &str, nonce: &str) -> Option<Refusal> {
    let start = message.find("pgbulkhead ")?;
    let rest = message.get(start..)?.strip_prefix("pgbulkhead ")?;
    let rest = rest.strip_prefix(nonce)?.strip_prefix(' ')?;
    let rest = rest.strip_suffix('"').unwrap_or(rest);
    let (kind, subject) = rest.split_once(' ')?;
    match kind {
        "tenant" => {
            let message = format!("new row violates tenant isolation for table \"{subject}\"");
            Some(Refusal::new(SqlState::DENIED, Rule("tenant-column"), message))
        }
        "fkey" => {
            let (table, constraint) = subject.split_once(':')?;
            let message = format!(
                "insert or update on table \"{table}\" violates foreign key constraint \"{constraint}\""
            );
            Some(Refusal::new(SqlState("23503"), Rule("foreign-key"), message))
        }
        "index" => Some(lost_index(subject)),
        _ => None,
    }
}

/// The refusal of a statement whose index is not there any more.
pub fn lost_index(index: &str) -> Refusal {
    let message = format!("the schema has changed: index \"{index}\" is not the one that it was");
    Refusal::new(SqlState("40001"), STALE, message).hint("The catalog is read anew. Try again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_of_this_process_is_read() {
        let message = "invalid input syntax for type boolean: \"pgbulkhead n0nce tenant documents\"";
        assert_eq!(decode(message, "n0nce").map(|r| r.state), Some(SqlState::DENIED));
        assert_eq!(decode(message, "other"), None);
    }

    #[test]
    fn a_foreign_key_answers_as_postgresql_does() {
        let message = "invalid input syntax for type boolean: \"pgbulkhead n fkey documents:documents_customer_id_fkey\"";
        let refusal = decode(message, "n");
        assert_eq!(refusal.as_ref().map(|r| r.state), Some(SqlState("23503")));
    }
}
