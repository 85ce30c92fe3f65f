//! `*`: the columns that it stands for, and where they are written out. That is where an item has columns which the
//! role may not see, and where each output of an INSERT's source has to stand by itself.

use foldhash::HashSet;
use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, ResTarget, SelectStmt};

use crate::policy::{Refusal, SqlState};

use super::super::build;
use super::function_item::several_arrays;
use super::scope::{ColumnKind, Item, ItemColumn, Level, Merged, Scope, Source};
use super::{Binder, Facts};

impl Level {
    /// The columns that `*` lists of items, in PostgreSQL's order: of each join what USING merged, then the columns of its
    /// left side, then those of its right one (transformFromClauseItem, parse_clause.c).
    pub(super) fn listed(&self, among: &dyn Fn(usize) -> bool) -> Vec<ItemColumn> {
        let mut columns: Vec<ItemColumn> = Vec::new();
        let mut known = usize::MAX;
        for id in self.in_order().filter(|id| among(*id)) {
            let mut before: Vec<&Merged> = self.merged.iter().filter(|m| m.start == id).collect();
            before.sort_by_key(|merged| merged.join);
            columns.extend(before.into_iter().map(|merged| merged.column.clone()));
            let Some(item) = self.items.get(id).filter(|item| item.visible) else { continue };
            if item.open {
                known = known.min(columns.len());
            }
            // Where a relation has some that are denied, the star is written out; a derived table has them not.
            let shown = item.columns.iter().enumerate().filter(|(number, column)| {
                column.kind != ColumnKind::Denied && !self.hidden.contains(&(id, *number))
            });
            columns.extend(shown.map(|(_, column)| column.clone()));
        }
        columns.iter_mut().skip(known).for_each(ItemColumn::forget);
        columns
    }

    /// The items in the order in which `*` lists them.
    fn in_order(&self) -> impl Iterator<Item = usize> {
        let others = (0..self.items.len()).filter(|id| Some(*id) != self.first);
        self.first.into_iter().chain(others)
    }
}

impl Binder<'_> {
    /// `*` or `item.*`: the columns it stands for.
    pub(super) fn star(
        &mut self,
        scope: &Scope<'_>,
        qualifier: Option<&str>,
        location: i32,
        columns: &mut Vec<ItemColumn>,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        let (level, items): (&Level, Vec<usize>) = match qualifier {
            Some(name) => {
                let (found, id) = scope.item_named(name, location)?.ok_or_else(|| {
                    Refusal::new(
                        SqlState::UNDEFINED_TABLE,
                        super::FORM,
                        format!("missing FROM-clause entry for table \"{name}\""),
                    )
                    .at(location)
                })?;
                (found.level, vec![id])
            }
            None => {
                let visible = |id: &usize| scope.level.items.get(*id).is_some_and(|i| i.visible);
                columns.extend(scope.level.listed(&|_| true));
                (scope.level, (0..scope.level.items.len()).filter(visible).collect())
            }
        };
        for id in items {
            let Some(item) = level.items.get(id) else { continue };
            facts.read(level.depth, level.members(id));
            for member in level.members(id).into_iter().filter_map(|id| level.items.get(id)) {
                match level.depth == scope.level.depth {
                    true => member.starred.set(true),
                    false => member.placed.set(true),
                }
            }
            if !item.key.is_empty() {
                facts.grouped.extend(item.columns.iter().map(|c| (level.depth, id, c.name.clone())));
            }
            facts.tenanted |= self.is_tenanted(&item.source);
            if qualifier.is_some() {
                // Where a relation has some, the star was written out; a derived table has them not.
                let shown = item.columns.iter().filter(|c| c.kind != ColumnKind::Denied);
                columns.extend(shown.cloned());
            }
        }
        Ok(())
    }

    /// Replaces `*` by its columns: always where `explicit`, else where an item has columns that the role may
    /// not see.
    pub fn expand_stars(
        &self,
        scope: &Scope<'_>,
        targets: &mut Vec<Node>,
        explicit: bool,
    ) -> Result<(), Refusal> {
        let relation = |item: &Item| matches!(item.source, Source::Relation { .. });
        let denied =
            |item: &Item| relation(item) && item.columns.iter().any(|c| c.kind == ColumnKind::Denied);
        if !explicit && !scope.level.items.iter().any(denied) {
            return Ok(());
        }
        let mut expanded = Vec::new();
        for node in std::mem::take(targets) {
            let star = match &node.node {
                Some(NodeEnum::ResTarget(target)) => target.val.as_deref().and_then(star_of),
                _ => None,
            };
            match star {
                None => expanded.push(node),
                Some(qualifier) => expand(scope, qualifier.as_deref(), &mut expanded)?,
            }
        }
        *targets = expanded;
        Ok(())
    }

    /// Writes out the stars of a bound level where a derived table will give out system columns too: a star would
    /// take them for the relation's own.
    pub fn write_out_stars(&self, scope: &Scope<'_>, targets: &mut Vec<Node>) -> Result<(), Refusal> {
        let gives_more = |item: &Item| {
            item.starred.get() && (item.row.is_some() || item.system_columns().next().is_some())
        };
        if scope.level.items.iter().any(gives_more) {
            self.expand_stars(scope, targets, true)?;
            scope.level.items.iter().for_each(|item| item.starred.set(false));
        }
        Ok(())
    }

    /// Gives names to the columns of each `unnest(a, b, …)`, which are all called alike, so that `*` can be written out.
    /// Nobody else can have named one: it would be ambiguous.
    pub fn name_columns(&self, select: &mut SelectStmt) {
        if !select.target_list.iter().any(is_star) {
            return;
        }
        for item in &mut select.from_clause {
            let Some(NodeEnum::RangeFunction(function)) = &mut item.node else { continue };
            let [Node { node: Some(NodeEnum::List(entry)) }] = function.functions.as_mut_slice() else {
                continue;
            };
            let Some(count) = entry.items.first_mut().and_then(several_arrays).map(|arrays| arrays.len())
            else {
                continue;
            };
            if function.alias.as_ref().is_none_or(|alias| alias.colnames.is_empty()) {
                let aliasname = function.alias.take().map_or_else(|| "unnest".to_owned(), |a| a.aliasname);
                let colnames = (1..=count).map(|n| build::text(&format!("unnest{n}"))).collect();
                function.alias = Some(Alias { aliasname, colnames });
            }
        }
    }
}

/// `*` (`Some(None)`) or `name.*`; a longer qualification counts as its last name.
pub(in crate::sql) fn star_of(node: &Node) -> Option<Option<String>> {
    let Some(NodeEnum::ColumnRef(column)) = &node.node else { return None };
    let (last, qualifier) = column.fields.split_last()?;
    if !matches!(last.node, Some(NodeEnum::AStar(_))) {
        return None;
    }
    match qualifier.last().map(|n| &n.node) {
        None => Some(None),
        Some(Some(NodeEnum::String(name))) => Some(Some(name.sval.clone())),
        Some(_) => None,
    }
}

/// Whether an output is a star over an item that may have columns which are not known here.
pub(super) fn lists_open_item(scope: &Scope<'_>, target: &ResTarget) -> bool {
    match target.val.as_deref().and_then(star_of) {
        None => false,
        Some(None) => scope.level.items.iter().any(|item| item.visible && item.open),
        Some(Some(name)) => scope.item_named(&name, -1).is_ok_and(|found| {
            found.and_then(|(at, id)| at.level.items.get(id)).is_some_and(|item| item.open)
        }),
    }
}

/// `(row).*`: as many columns as the row has, none of which is known here.
pub(super) fn is_row_expanded(node: &Node) -> bool {
    let Some(NodeEnum::AIndirection(indirection)) = &node.node else { return false };
    indirection.indirection.last().is_some_and(|step| matches!(step.node, Some(NodeEnum::AStar(_))))
}

/// Whether an output is a star.
pub(in crate::sql) fn is_star(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(|v| star_of(v).is_some()),
        _ => false,
    }
}

fn expand(scope: &Scope<'_>, qualifier: Option<&str>, into: &mut Vec<Node>) -> Result<(), Refusal> {
    if qualifier.is_none() && !scope.level.merged.is_empty() {
        return Err(super::unsupported("* over USING here", -1));
    }
    let mut found = false;
    let wanted = |item: &&Item| qualifier.map_or(item.visible, |name| item.goes_by(name));
    for item in scope.level.in_order().filter_map(|id| scope.level.items.get(id)).filter(wanted) {
        let Some(name) = item.name.as_deref() else {
            return Err(super::unsupported("* over a sub-select without a name here", -1));
        };
        found = true;
        let mut seen = HashSet::default();
        let shown = item.columns.iter().filter(|c| c.kind != ColumnKind::Denied);
        if item.open {
            return Err(super::unsupported("* over columns that are not known", -1)
                .hint("Name the columns in the SELECT."));
        }
        for column in shown {
            if !seen.insert(&column.name) {
                return Err(super::unsupported("* over columns that cannot be told apart", -1)
                    .hint("Name the columns in the SELECT."));
            }
            into.push(build::target(build::column(&[name, &column.name]), ""));
        }
    }
    if found { Ok(()) } else { Err(super::unsupported("* over a row of a query around", -1)) }
}
