//! A relation of a query level, and the name that its columns have there.

use sqlparser::ast::{Expr, Ident, TableAlias, TableFactor};

use super::facts::{RelationFacts, Tenancy};
use super::forms::bare;
use super::names::{self, RelationName};

/// A relation of a level.
#[derive(Debug, Clone)]
pub(super) struct Leaf<'q> {
    pub(super) schema: String,
    pub(super) name: String,
    /// What the level calls it.
    pub(super) alias: String,
    /// Columns that its alias renames, from the first on.
    renamed: Vec<String>,
    pub(super) tenancy: Tenancy,
    pub(super) place: Place<'q>,
}

/// Where a relation's predicate must stand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'q> {
    Where,
    On(&'q Expr),
    Nowhere(&'static str),
}

impl<'q> Leaf<'q> {
    /// Whether `expr` is `alias.column`, the column under the name that it has here.
    pub(super) fn is_column(&self, facts: &dyn RelationFacts, expr: &Expr, column: &str) -> bool {
        let Expr::CompoundIdentifier(parts) = bare(expr) else { return false };
        let [alias, named] = parts.as_slice() else { return false };
        names::fold(alias) == self.alias.as_str()
            && self.visible(facts, column).is_some_and(|visible| names::fold(named) == visible)
    }

    fn visible<'s>(&'s self, facts: &dyn RelationFacts, column: &'s str) -> Option<&'s str> {
        if self.renamed.is_empty() {
            return Some(column);
        }
        let place = facts.column_place(&self.schema, &self.name, column)?;
        Some(self.renamed.get(place).map_or(column, String::as_str))
    }

    /// The predicate belongs there, unless a join below has it.
    pub(super) fn settle(&mut self, place: Place<'q>) {
        if matches!(self.place, Place::Where) {
            self.place = place;
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("{}.{} ({})", self.schema, self.name, self.alias)
    }
}

/// The relation that a plain table of FROM names; nothing for anything else.
pub(super) fn leaf_of<'q>(facts: &dyn RelationFacts, factor: &'q TableFactor) -> Option<Leaf<'q>> {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
    let RelationName::Qualified { schema, name } = names::relation(name)? else { return None };
    Some(leaf(facts, schema, name, alias.as_ref()))
}

/// A relation under its alias, to be restricted in WHERE.
pub(super) fn leaf<'q>(
    facts: &dyn RelationFacts,
    schema: String,
    name: String,
    alias: Option<&'q TableAlias>,
) -> Leaf<'q> {
    let tenancy = facts.tenancy(&schema, &name);
    let renamed = alias.map_or_else(Vec::new, |a| a.columns.iter().map(|c| folded(&c.name)).collect());
    let alias = alias.map_or_else(|| name.clone(), |a| folded(&a.name));
    Leaf { schema, name, alias, renamed, tenancy, place: Place::Where }
}

fn folded(ident: &Ident) -> String {
    names::fold(ident).into_owned()
}
