//! Columns that are named with the schema of their relation: `app.documents.title`.
//!
//! PostgreSQL looks for the relation itself then, in the innermost level that has it without an alias
//! (scanNameSpaceForRelid, parse_relation.c); what has its name as an alias is passed over. Once found, the column is
//! written by the name that the relation has at its level, so that whoever reads it later need not know of this.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};

use crate::policy::{Refusal, Rule, SqlState};

use super::super::build;
use super::again::is_star;
use super::scope::Scope;
use super::{Binder, Wish};

impl Binder<'_> {
    /// Takes the schema out of a column reference or a star.
    pub(super) fn without_schema(
        &mut self,
        scope: &Scope<'_>,
        column: &mut ColumnRef,
    ) -> Result<(), Refusal> {
        let location = column.location;
        let last = column.fields.len().saturating_sub(1);
        let last = if is_star(column) || last > 0 { last } else { return Ok(()) };
        let qualifier = column.fields.get(..last).and_then(build::names);
        let qualifier = qualifier.ok_or_else(|| super::unsupported("this column reference", location))?;
        let (schema, table) = match qualifier.as_slice() {
            [] | [_] => return Ok(()),
            [schema, table] => (*schema, *table),
            [database, schema, table] if *database == self.catalog.database => (*schema, *table),
            [_, _, _] => return Err(super::unsupported("a column of another database", location)),
            _ => return Err(super::unsupported("a column reference of so many parts", location)),
        };
        let Some((at, id)) = scope.item_of_schema(schema, table, location)? else {
            let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
            return Err(Refusal::new(SqlState::UNDEFINED_TABLE, Rule("names"), message).at(location));
        };
        let depth = at.level.depth;
        let own = at.level.items.get(id).and_then(|item| item.name.clone()).unwrap_or_default();
        let named = scope.item_named(&own, location)?;
        if !named.is_some_and(|(found, other)| found.level.depth == depth && other == id) {
            self.wish = Some(Wish::Hidden(table.to_owned()));
            return Err(super::unsupported("a column of a relation whose name another one hides", location)
                .hint("Give the relations aliases."));
        }
        column.fields.splice(..last, [build::text(&own)]);
        Ok(())
    }

    /// The same for the stars of a target list.
    pub fn stars_without_schema(&mut self, scope: &Scope<'_>, targets: &mut [Node]) -> Result<(), Refusal> {
        for target in targets {
            if let Some(NodeEnum::ResTarget(target)) = &mut target.node
                && let Some(NodeEnum::ColumnRef(column)) =
                    target.val.as_deref_mut().and_then(|value| value.node.as_mut())
                && is_star(column)
            {
                self.without_schema(scope, column)?;
            }
        }
        Ok(())
    }
}
