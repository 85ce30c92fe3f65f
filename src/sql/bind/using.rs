//! USING and NATURAL: the merged columns, and the comparison that they are, which has no place for a guard.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, JoinExpr, JoinType, Node, ResTarget};

use crate::policy::{Refusal, Rule, SqlState};

use super::super::build;
use super::super::resolve::common_type;
use super::super::rewrite;
use super::Binder;
use super::from::Around;
use super::scope::{ColumnKind, ColumnType, Found, Item, ItemColumn, Level, Merged, Scope, Source};

/// Why a relation below USING stands in a derived table.
const RAISES: &str = "USING compares values whose comparison may raise";

impl Binder<'_> {
    /// USING and NATURAL: the merged columns. NATURAL becomes USING, so that a later ALTER TABLE does not
    /// change the keys between planning and running.
    pub(super) fn merge_columns(
        &mut self,
        around: Around<'_>,
        level: &mut Level,
        join: &mut JoinExpr,
        number: usize,
        left: &[usize],
        right: &[usize],
    ) -> Result<(), Refusal> {
        if join.is_natural {
            let is_open = |id: &usize| level.items.get(*id).is_some_and(|item| item.open);
            if left.iter().chain(right).any(is_open) {
                return Err(super::unsupported("a NATURAL JOIN over columns that are not known", -1)
                    .hint("Name the columns: USING (…)."));
            }
            let names = common_names(level, left, right);
            join.is_natural = false;
            if names.is_empty() {
                if join.jointype != JoinType::JoinInner as i32 {
                    join.quals = Some(Box::new(build::boolean(true)));
                }
                return Ok(());
            }
            join.using_clause = names.iter().map(|n| build::text(n)).collect();
        }
        let names: Vec<String> = build::names(&join.using_clause)
            .ok_or_else(|| super::unsupported("this USING list", -1))?
            .into_iter()
            .map(str::to_owned)
            .collect();
        level.conditions.set(true);
        for name in names {
            let (l, r) = {
                let side = |window| Scope { outer: None, level, window: Some(window), ctes: around.ctes };
                (side(left).resolve(&[&name], -1)?, side(right).resolve(&[&name], -1)?)
            };
            // To compare a column is to read it.
            if l.kind == ColumnKind::Denied || r.kind == ColumnKind::Denied {
                return Err(super::denied_column(&name, -1));
            }
            let items: Vec<usize> = l.items.iter().chain(&r.items).copied().collect();
            let of_tenants = |item: &Item| self.is_tenanted(&item.source) || !item.reads.is_empty();
            let tenanted = items.iter().any(|i| level.items.get(*i).is_some_and(of_tenants));
            if tenanted && !self.merge_is_total(level, &l, &r) {
                let first = left.iter().chain(right).filter_map(|id| level.items.get(*id)?.leaf).min();
                self.hold_back(level, join, &name, [&l, &r], first.unwrap_or(0))?;
            }
            let column = self.merged_column(&name, join.jointype, &l, &r);
            add_merged(level, column, number, [left, right]);
        }
        Ok(())
    }

    /// An expression of a sub-select counts as a plain value: the join is a condition, and below a condition
    /// such a sub-select is fenced, so that its expressions are evaluated on the tenant's rows only.
    fn merge_is_total(&self, level: &Level, left: &Found, right: &Found) -> bool {
        let fenced = |found: &Found| {
            let mut items = found.items.iter().filter_map(|id| level.items.get(*id));
            items.all(|item| {
                let derived = matches!(item.source, Source::Derived { .. } | Source::Cte(_));
                item.fence.set(item.fence.get() || derived);
                derived
            }) && found.ty.is_some_and(|ty| self.is_plain_value(ty.oid))
        };
        let plain = |found: &Found| match found.kind {
            ColumnKind::Base { relation, .. } => self.has_trusted_indexes(relation),
            ColumnKind::System | ColumnKind::Expression { total: true } => true,
            ColumnKind::Expression { total: false } | ColumnKind::Virtual => fenced(found),
            ColumnKind::Denied => false,
        };
        let (Some(l), Some(r)) = (left.ty, right.ty) else { return false };
        plain(left) && plain(right) && self.equality_is_total(l, r)
    }

    /// The values may raise when they are compared: both sides are put behind fences, which let the tenant's rows
    /// through only. But the planner's statistics go through a fence, and where it has some of both sides it compares
    /// them (eqjoinsel, selfuncs.c); so one side is made an expression there.
    fn hold_back(
        &mut self,
        level: &mut Level,
        join: &mut JoinExpr,
        name: &str,
        [l, r]: [&Found; 2],
        first: usize,
    ) -> Result<(), Refusal> {
        let mut leaves = Vec::new();
        for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
            rewrite::collect_leaves(side, &mut leaves);
        }
        let leaf_of = |item: &Item| item.leaf?.checked_sub(first);
        for id in l.items.iter().chain(&r.items) {
            let Some(item) = level.items.get(*id).filter(|i| self.is_tenanted(&i.source)) else { continue };
            item.fence.set(true);
            let Source::Relation { relation, tenancy } = item.source.clone() else { continue };
            // A guard that stands already in a condition below may have named what the derived table has not.
            let named = item.name.is_some() && rewrite::never_null_column(item) != "tableoid";
            let leaf = leaf_of(item).and_then(|n| leaves.get_mut(n)).filter(|_| named);
            let leaf = leaf.ok_or_else(|| may_raise(name))?;
            self.wrap_leaf(level, *id, leaf, &relation, &tenancy, RAISES)?;
            let why = format!(
                "{}.{} stands in a derived table of its own: {RAISES}",
                relation.schema, relation.name
            );
            self.edit(build::NOWHERE, why);
        }
        for side in [l, r] {
            let [id] = side.items.as_slice() else { continue };
            let leaf = level.items.get(*id).and_then(leaf_of).and_then(|n| leaves.get_mut(n));
            if let Some(leaf) = leaf
                && self.hide(level, *id, leaf, name)
            {
                return Ok(());
            }
        }
        Err(may_raise(name))
    }

    /// Makes an expression of a column of a derived table, so that the planner has no statistics of it. Nothing folds
    /// it back: `now()` has no value before the statement runs.
    fn hide(&mut self, level: &mut Level, id: usize, leaf: &mut Node, name: &str) -> bool {
        let Some(item) = level.items.get(id) else { return false };
        // What the role may not see stands behind the others, and the derived table has it not.
        let shown = item.columns.iter().filter(|c| c.kind != ColumnKind::Denied);
        let names: Vec<String> = shown.map(|c| c.name.clone()).collect();
        let Some(place) = names.iter().position(|n| n == name) else { return false };
        // The expression has no modifier of its type.
        if item.columns.get(place).is_none_or(|column| column.ty.is_some_and(|ty| ty.typmod != -1)) {
            return false;
        }
        if item.wrapped.is_none() && !self.wrap_side(level, id, leaf, &names) {
            return false;
        }
        let column = level.items.get_mut(id).and_then(|item| item.columns.get_mut(place));
        let Some(column) = column else { return false };
        column.kind = ColumnKind::Expression { total: false };
        let Some(target) = target_at(leaf, place) else { return false };
        let Some(value) = target.val.take() else { return false };
        if let Some(NodeEnum::ColumnRef(reference)) = &value.node
            && let Some(own) = build::names(&reference.fields).and_then(|names| names.last().copied())
        {
            own.clone_into(&mut target.name);
        }
        let always = build::null_test(build::call("now", Vec::new()), false);
        target.val = Some(Box::new(build::case(vec![(always, *value)], None)));
        true
    }

    /// Puts a side of a join, a derived table or a CTE with columns of these names, into a derived table around it.
    fn wrap_side(&mut self, level: &mut Level, id: usize, leaf: &mut Node, names: &[String]) -> bool {
        let Some(item) = level.items.get_mut(id) else { return false };
        let alone = |name: &String| names.iter().filter(|n| *n == name).count() == 1;
        let derived = matches!(item.source, Source::Derived { .. } | Source::Cte(_));
        let Some(own) = item.name.clone().filter(|_| derived && !item.open && names.iter().all(alone)) else {
            return false;
        };
        let inner = self.fresh_alias("side");
        let colnames = names.iter().map(|n| build::text(n)).collect();
        let alias = Some(Alias { aliasname: inner.clone(), colnames });
        let lateral = match &mut leaf.node {
            Some(NodeEnum::RangeSubselect(sub)) => {
                sub.alias = alias;
                std::mem::take(&mut sub.lateral)
            }
            Some(NodeEnum::RangeVar(cte)) => {
                // Its columns have their names; those of SEARCH and CYCLE can be given no others
                // (addRangeTableEntryForCTE of parse_relation.c).
                let colnames = cte.alias.take().map(|alias| alias.colnames).unwrap_or_default();
                cte.alias = Some(Alias { aliasname: inner.clone(), colnames });
                false
            }
            _ => return false,
        };
        let targets = names.iter().map(|n| build::target(build::column(&[&inner, n]), "")).collect();
        let select = build::select(targets, vec![std::mem::take(leaf)], None);
        *leaf = build::derived(select, Some(Alias { aliasname: own, colnames: Vec::new() }));
        if let Some(NodeEnum::RangeSubselect(sub)) = &mut leaf.node {
            sub.lateral = lateral;
        }
        let tenanted = match item.source {
            Source::Cte(number) => self.ctes.get(number).is_none_or(|cte| cte.tenanted),
            Source::Derived { tenanted } => tenanted,
            _ => true,
        };
        item.source = Source::Derived { tenanted };
        item.fence.set(true);
        true
    }

    /// The column that stands for both (buildMergedJoinVar, parse_clause.c): one side's, or one side's coerced to the
    /// type of both, or in a FULL JOIN whichever is not null.
    fn merged_column(&self, name: &str, jointype: i32, left: &Found, right: &Found) -> ItemColumn {
        let unknown = ColumnKind::Expression { total: false };
        let with = |ty, kind| ItemColumn { name: name.to_owned(), ty, kind };
        let (Some(l), Some(r)) = (left.ty, right.ty) else { return with(None, unknown) };
        let total = |kind: &ColumnKind| {
            matches!(
                kind,
                ColumnKind::Base { .. } | ColumnKind::System | ColumnKind::Expression { total: true }
            )
        };
        let Some(common) = common_type(self.catalog, &[l.oid, r.oid]) else { return with(None, unknown) };
        let kind = JoinType::try_from(jointype).unwrap_or(JoinType::Undefined);
        let typmod = if l.oid == r.oid && l.typmod == r.typmod { l.typmod } else { -1 };
        let plain = |ty: ColumnType| ty.oid == common && ty.typmod == typmod;
        let (ty, found) = match kind {
            JoinType::JoinInner if !plain(l) && plain(r) => (r, right),
            JoinType::JoinInner | JoinType::JoinLeft => (l, left),
            JoinType::JoinRight => (r, right),
            JoinType::JoinFull if l.oid == r.oid && l.collation == r.collation => {
                let total = total(&left.kind) && total(&right.kind);
                return with(Some(ColumnType { typmod, ..l }), ColumnKind::Expression { total });
            }
            _ => return with(None, unknown),
        };
        if ty.oid != common {
            return with(None, unknown);
        }
        with(Some(ColumnType { typmod, ..ty }), found.kind.clone())
    }
}

fn add_merged(level: &mut Level, column: ItemColumn, join: usize, [left, right]: [&[usize]; 2]) {
    let both = |id: &usize| left.contains(id) || right.contains(id);
    let mut members = Vec::new();
    level.merged.retain(|m| {
        let inside = m.column.name == column.name && m.members.iter().any(|(item, _)| both(item));
        if inside {
            members.extend(m.members.iter().copied());
        }
        !inside
    });
    for id in left.iter().chain(right) {
        let Some(item) = level.items.get(*id).filter(|i| i.visible) else { continue };
        if let Some(number) = item.columns.iter().position(|c| c.name == column.name)
            && !members.contains(&(*id, number))
        {
            members.push((*id, number));
        }
    }
    level.hidden.extend(members.iter().copied());
    let start = left.iter().chain(right).copied().min().unwrap_or(0);
    level.merged.push(Merged { column, start, join, members });
}

fn may_raise(name: &str) -> Refusal {
    let message = format!("USING ({name}) compares values whose comparison may raise");
    Refusal::new(SqlState::NOT_SUPPORTED, Rule("barrier"), message)
        .hint("Write the join's condition with ON.")
}

/// The output at a place of a derived table.
fn target_at(leaf: &mut Node, place: usize) -> Option<&mut ResTarget> {
    let Some(NodeEnum::RangeSubselect(sub)) = &mut leaf.node else { return None };
    let Some(NodeEnum::SelectStmt(select)) = &mut sub.subquery.as_deref_mut()?.node else { return None };
    match &mut select.target_list.get_mut(place)?.node {
        Some(NodeEnum::ResTarget(target)) => Some(target),
        _ => None,
    }
}

fn common_names(level: &Level, left: &[usize], right: &[usize]) -> Vec<String> {
    let names = |side: &[usize]| {
        let mut names: Vec<String> = Vec::new();
        for id in side {
            let Some(item) = level.items.get(*id).filter(|i| i.visible) else { continue };
            for (number, column) in item.columns.iter().enumerate() {
                let merged = level.merged.iter().any(|m| m.members.contains(&(*id, number)));
                if (!level.hidden.contains(&(*id, number)) || merged) && !names.contains(&column.name) {
                    names.push(column.name.clone());
                }
            }
        }
        names
    };
    let theirs = names(right);
    names(left).into_iter().filter(|name| theirs.contains(name)).collect()
}
