//! GROUP BY a primary key, over a relation of which the rewriting made a derived table: PostgreSQL knows no key
//! of that, so the columns that depend on the key are written into GROUP BY. They make no further groups.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt};

use crate::policy::{Refusal, SqlState};

use super::super::build;
use super::{Binder, FORM, Facts, Item, Level};

/// Types without an equality: they cannot be grouped by (json, xml, point).
const NO_EQUALITY: [u32; 3] = [114, 142, 600];

impl Binder<'_> {
    /// Adds to a plain GROUP BY the columns of each item whose whole key it holds.
    pub(super) fn widen_groups(
        &mut self,
        level: &Level,
        select: &mut SelectStmt,
        facts: &Facts,
    ) -> Result<(), Refusal> {
        let plain = |node: &Node| !matches!(node.node, Some(NodeEnum::GroupingSet(_)));
        if select.group_clause.is_empty() || !select.group_clause.iter().all(plain) {
            return Ok(());
        }
        for (id, item) in level.items.iter().enumerate().filter(|(_, i)| !i.key.is_empty()) {
            let Some(name) = &item.name else { continue };
            let key: Option<Vec<&str>> =
                item.key.iter().map(|at| item.columns.get(*at).map(|c| c.name.as_str())).collect();
            let holds = |column: &str| select.group_clause.iter().any(|g| is_column(g, item, column, level));
            if !key.is_some_and(|key| key.into_iter().all(holds)) {
                continue;
            }
            let depends = |column: &&str| {
                let own = item.columns.iter().find(|c| c.name == **column);
                // What is none of its columns is a system column, and those can be compared.
                let grouped = |c: &super::ItemColumn| c.ty.is_some_and(|ty| !NO_EQUALITY.contains(&ty.oid));
                own.is_none_or(grouped) && !holds(column)
            };
            let read = facts.grouped.iter().filter(|(depth, at, _)| (*depth, *at) == (level.depth, id));
            let added: Vec<&str> = read.map(|(.., column)| column.as_str()).filter(depends).collect();
            let tested = |column: &&str| facts.grouping.contains(&(level.depth, id, (*column).to_owned()));
            if added.iter().any(tested) {
                // What depends on a key is none (parse_agg.c); only the added column would make it one.
                let message =
                    "arguments to GROUPING must be grouping expressions of the associated query level";
                return Err(Refusal::new(SqlState("42803"), FORM, message));
            }
            if !added.is_empty() {
                self.edits.push(super::Edit {
                    position: None,
                    reason: format!("{name}: GROUP BY names what depends on its key"),
                });
                select.group_clause.extend(added.into_iter().map(|column| build::column(&[name, column])));
            }
        }
        Ok(())
    }
}

/// Whether a node is a column of an item, by its qualified name, or by a bare one that nothing else has.
fn is_column(node: &Node, item: &Item, column: &str, level: &Level) -> bool {
    let Some(NodeEnum::ColumnRef(reference)) = &node.node else { return false };
    match build::names(&reference.fields).as_deref() {
        Some([name]) => {
            let named = level.items.iter().filter(|i| i.visible).flat_map(|i| &i.columns);
            *name == column && named.filter(|c| c.name == column).count() == 1
        }
        Some([.., table, name]) => item.name.as_deref() == Some(*table) && *name == column,
        _ => false,
    }
}
