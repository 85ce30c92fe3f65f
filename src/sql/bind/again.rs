//! What a first attempt at a statement finds out too late, so that it is bound once more.
//!
//! * **A name that is hidden.** A guard inside a sub-select names the relations of the levels around it. In `FROM
//!   documents d WHERE EXISTS (SELECT FROM customers d WHERE …)` the inner `d` hides the outer one, whose columns can
//!   still be read by their bare names. Then each tenant relation of that name goes by an alias that nobody else has,
//!   and what names it is bound to that alias.
//! * **A whole row beside a system column.** A derived table that stands for a relation has no system columns. Where
//!   one is named it gives it out, and its row is the relation's no more. Then it gives out that row as a column too.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AIndirection, AStar, Alias, ColumnRef, Node, RangeVar, RowExpr};

use crate::policy::{Refusal, SqlState, Tenancy};

use super::super::build;
use super::scope::{Found, Item, Level, Scope};
use super::{Binder, FORM, Facts};

/// The column of a derived table that holds the row of its relation.
pub(super) const WHOLE_ROW: &str = "pgbulkhead_row";

/// Attempts at one statement beyond the first.
const MAX_ATTEMPTS: usize = 8;

/// What earlier attempts have found out.
#[derive(Debug, Clone, Default)]
pub(in crate::sql) struct Again {
    hidden: BTreeSet<String>,
    pub(super) rows: BTreeSet<String>,
}

/// What another attempt would need to know.
#[derive(Debug)]
pub(in crate::sql) enum Wish {
    /// An inner query hides a relation of this name.
    Hidden(String),
    /// A system column of a relation of this name stands beside its whole row.
    Row(String),
}

impl Again {
    /// Takes a wish over. False where another attempt would be like the last one.
    pub fn grant(&mut self, wish: Wish) -> bool {
        let attempts = self.hidden.len().saturating_add(self.rows.len());
        attempts < MAX_ATTEMPTS
            && match wish {
                Wish::Hidden(name) => self.hidden.insert(name),
                Wish::Row(name) => self.rows.insert(name),
            }
    }
}

impl Binder<'_> {
    /// Gives a tenant relation an alias of its own where an inner query hides its name. The client's name for it.
    pub fn alias_of_its_own(
        &mut self,
        level: &Level,
        name: &mut RangeVar,
        tenancy: &Tenancy,
    ) -> Result<Option<String>, Refusal> {
        let was = name.alias.as_ref().map_or(&name.relname, |alias| &alias.aliasname).clone();
        if !tenancy.is_tenanted() || !self.again.hidden.contains(&was) {
            return Ok(None);
        }
        if level.items.iter().any(|item| item.goes_by(&was)) {
            let message = format!("table name \"{was}\" specified more than once");
            return Err(Refusal::new(SqlState("42712"), FORM, message).at(name.location));
        }
        let colnames = name.alias.take().map_or_else(Vec::new, |alias| alias.colnames);
        let aliasname = self.fresh_alias("outer");
        self.edit(name.location, format!("{was}: goes by {aliasname}, since an inner query hides its name"));
        name.alias = Some(Alias { aliasname, colnames });
        Ok(Some(was))
    }

    /// Writes the item's own alias into a column reference, and the column that holds the row for a whole row that stands
    /// apart. Whether it does.
    pub(super) fn name_anew(&self, scope: &Scope<'_>, column: &mut ColumnRef, found: &Found) -> bool {
        if found.whole_row && is_row_apart(scope, column) {
            return true;
        }
        let place = match (found.whole_row, is_star(column)) {
            (true, false) => column.fields.len().checked_sub(1),
            (true, true) | (false, _) => column.fields.len().checked_sub(2),
        };
        let Some((item, own)) = place.and_then(|place| named_by(scope, column, place)) else { return false };
        match &item.row {
            Some(row) if found.whole_row => {
                column.fields = vec![build::text(own), build::text(row)];
                true
            }
            _ => {
                rename(item, own, column, place);
                false
            }
        }
    }

    /// The same for `name.*` of a target list, which stays a star.
    pub(super) fn name_star_anew(&self, scope: &Scope<'_>, star: &mut Node) {
        if let Some(NodeEnum::ColumnRef(column)) = &mut star.node
            && let Some(place) = column.fields.len().checked_sub(2)
            && let Some((item, own)) = named_by(scope, column, place)
        {
            rename(item, own, column, Some(place));
        }
    }

    /// `ROW(…)`, in which `name.*` stands for columns and not for a row.
    pub(super) fn row_expression(
        &mut self,
        scope: &Scope<'_>,
        row: &mut RowExpr,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        for arg in &mut row.args {
            let star = matches!(&arg.node, Some(NodeEnum::ColumnRef(column)) if is_star(column));
            self.expression(scope, arg, facts)?;
            let apart = matches!(&arg.node, Some(NodeEnum::ColumnRef(column)) if !is_star(column));
            if star && apart {
                let whole = std::mem::take(arg);
                let indirection = vec![build::node(NodeEnum::AStar(AStar {}))];
                *arg = build::node(NodeEnum::AIndirection(Box::new(AIndirection {
                    arg: Some(Box::new(whole)),
                    indirection,
                })));
            }
        }
        Ok(())
    }
}

/// Whether a reference has been made one to the column that holds a row.
fn is_row_apart(scope: &Scope<'_>, column: &ColumnRef) -> bool {
    let [_, Node { node: Some(NodeEnum::String(last)) }] = column.fields.as_slice() else { return false };
    named_by(scope, column, 0).is_some_and(|(item, _)| item.row.as_ref() == Some(&last.sval))
}

pub(super) fn is_star(column: &ColumnRef) -> bool {
    matches!(column.fields.last().map(|field| &field.node), Some(Some(NodeEnum::AStar(_))))
}

/// The item that the part of a reference at this place names, and its alias.
fn named_by<'p>(scope: &Scope<'p>, column: &ColumnRef, place: usize) -> Option<(&'p Item, &'p str)> {
    let Some(NodeEnum::String(name)) = &column.fields.get(place)?.node else { return None };
    let (at, id) = scope.item_named(&name.sval, -1).ok()??;
    let item = at.level.items.get(id)?;
    Some((item, item.name.as_deref()?))
}

fn rename(item: &Item, own: &str, column: &mut ColumnRef, place: Option<usize>) {
    if item.was.is_some()
        && let Some(place) = place
    {
        column.fields.splice(..=place, [build::text(own)]);
    }
}
