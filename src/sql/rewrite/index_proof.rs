//! An index that a bare condition relies on ([`super::super::leaksafe`]) is named in the statement:
//!
//! ```sql
//! … AND CASE WHEN '"app"."i"'::regclass OPERATOR(pg_catalog.=) '16400'::oid THEN true ELSE <error> END
//! ```
//!
//! **Theorem.** A statement that runs has found the very index at a moment from which on the index could not be dropped
//! (but CONCURRENTLY) before the statement's end.
//!
//! The name is looked up when the statement is analysed (regclassin, coerce_type), and the WHERE of a level after its
//! FROM: the relation is locked by then, and DROP INDEX waits for that lock (index_drop, index.c). A name that is gone
//! raises 42P01; another index under the name has another oid, and the error is raised when the statement is planned.
//! Where it is the one, the planner folds the whole term away, so that it is in no plan. A cached plan is analysed anew
//! after a drop or a change of name, since it depends on the relation and, by the constant, on the index (plancache.c;
//! fix_expr_common, setrefs.c); it looks only once it holds its locks.
//!
//! DROP INDEX CONCURRENTLY waits for that lock before writers leave the index out as well, but not for who looks the
//! name up from then on, until it is gone: what that leaves open, and how to close it, stands in SECURITY.md.

use pg_query::protobuf::Node;

use crate::policy::Refusal;

use super::super::bind::{Binder, Level, unsupported};
use super::super::build;
use super::super::witness::Index;
use super::sentinel::{Violation, raise_early};

impl Binder<'_> {
    /// Names the indexes of a level in its WHERE, or in what is analysed after its FROM as well.
    pub fn prove(&mut self, level: &Level, condition: &mut Option<Box<Node>>) -> Result<(), Refusal> {
        let indexes = level.indexes.take();
        if indexes.is_empty() {
            return Ok(());
        }
        let mut all: Vec<Node> = condition.take().map(|c| *c).into_iter().collect();
        for oid in indexes {
            let index =
                self.catalog.relation(oid).ok_or_else(|| unsupported("an index without a name", -1))?;
            let name = format!("{}.{}", build::quoted_name(&index.schema), build::quoted_name(&index.name));
            let found = build::cast(build::string(&name), "pg_catalog", "regclass");
            let known = build::cast(build::string(&oid.to_string()), "pg_catalog", "oid");
            let subject = format!("{}.{}", index.schema, index.name);
            let lost = raise_early(&self.policy.nonce, Violation::Index, &subject);
            all.push(build::case(vec![(build::equals(found, known), build::boolean(true))], Some(lost)));
            self.edit(
                build::NOWHERE,
                format!("relies on index {subject}: its rows cannot make the condition raise"),
            );
            self.indexes.push(Index { name: name.replace('\'', "''"), oid });
        }
        *condition = build::and(all).map(Box::new);
        Ok(())
    }
}
