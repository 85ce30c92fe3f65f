//! Joins: where the relations below one can carry their predicates, USING and NATURAL, and the aliases that
//! hide names.

use pg_query::protobuf::{JoinExpr, JoinType};

use crate::policy::Refusal;

use super::super::build;
use super::super::rewrite::{self, Clause};
use super::from::{Above, Around, push, unleaf};
use super::scope::{ColumnKind, Level, Place, Scope, Source};
use super::{Binder, Facts};

/// Why a relation below a join's alias stands in a derived table.
const HIDDEN: &str = "the join's alias hides its name";

impl Binder<'_> {
    pub(super) fn join(
        &mut self,
        around: Around<'_>,
        above: Above,
        level: &mut Level,
        join: &mut JoinExpr,
        facts: &mut Facts,
    ) -> Result<Vec<usize>, Refusal> {
        if let Some(alias) = &join.join_using_alias
            && !is_plain_name(&alias.aliasname)
        {
            return Err(super::unsupported("a quoted name for the columns of USING", -1));
        }
        let number = level.joins;
        level.joins += 1;
        let kind = JoinType::try_from(join.jointype).unwrap_or(JoinType::Undefined);
        let (above_left, above_right) = sides_below(join, kind, number, above)?;
        let (Some(left), Some(right)) = (&mut join.larg, &mut join.rarg) else {
            return Err(super::unsupported("a join without two sides", -1));
        };
        let left = self.bind_item(around, above_left, level, left, facts)?;
        let right = self.bind_item(around, above_right, level, right, facts)?;
        if is_merging(join) {
            self.merge_columns(around, level, join, number, &left, &right)?;
        }
        let mut both = left.clone();
        both.extend(&right);
        {
            let scope = Scope { outer: around.outer, level, window: Some(&both), ctes: around.ctes };
            let clause = if kind == JoinType::JoinFull { Clause::FullJoin } else { Clause::On };
            join.quals = self.condition_of(&scope, clause, join.quals.take(), facts)?;
        }
        rewrite::place_on(self, level, join, number)?;
        null_sides(level, kind, &left, &right);
        for id in &both {
            if let Some(item) = level.items.get_mut(*id) {
                item.joined = true;
            }
        }
        both.extend(self.join_alias(level, join, &both)?);
        Ok(both)
    }

    /// `(a JOIN b) AS j`, and `USING (…) AS j`: the alias is an item of its own beside those it stands for,
    /// and the joins above see it.
    fn join_alias(
        &self,
        level: &mut Level,
        join: &JoinExpr,
        both: &[usize],
    ) -> Result<Option<usize>, Refusal> {
        let using = join.join_using_alias.as_ref().map(|alias| {
            let names = build::names(&join.using_clause).unwrap_or_default();
            let merged = level.merged.iter().filter(|m| {
                let below = m.members.iter().any(|(item, _)| both.contains(item));
                below && names.contains(&m.column.name.as_str())
            });
            let columns = merged.map(|m| m.column.clone()).collect();
            let id = push(level, Some(alias), None, columns, Source::JoinAlias { members: both.to_vec() });
            unleaf(level, id, false);
            id
        });
        let Some(alias) = &join.alias else { return Ok(using) };
        if !alias.colnames.is_empty() {
            both.iter().filter_map(|id| level.items.get(*id)).for_each(|item| item.placed.set(true));
        }
        let mut columns = level.listed(&|id| both.contains(&id));
        // A catalog stands there with all of its columns, so that places would differ from what is listed.
        let whole = both.iter().filter_map(|id| level.items.get(*id));
        let mut whole = whole.filter(|item| matches!(item.source, Source::Relation { .. }));
        if !alias.colnames.is_empty() && whole.any(|i| i.columns.iter().any(|c| c.kind == ColumnKind::Denied))
        {
            return Err(super::unsupported("new names for the columns of a join with hidden ones", -1));
        }
        let visible = |id: &usize| level.items.get(*id).filter(|item| item.visible);
        let open = both.iter().filter_map(visible).any(|item| item.open);
        // What the role may not see is known, to be refused by name; the derived table has it not.
        let shown = both.iter().filter_map(visible).flat_map(|item| &item.columns);
        columns.extend(shown.filter(|c| c.kind == ColumnKind::Denied).cloned());
        for id in both.iter().chain(&using) {
            let Some(item) = level.items.get_mut(*id) else { continue };
            item.name = None;
            item.was = None;
            item.visible = false;
        }
        level.merged.retain(|m| !m.members.iter().any(|(i, _)| both.contains(i)));
        let id = push(level, Some(alias), None, columns, Source::JoinAlias { members: both.to_vec() });
        unleaf(level, id, true);
        if let Some(item) = level.items.get_mut(id) {
            item.open = open;
        }
        Ok(Some(id))
    }
}

/// What the predicates of the two sides of a join have to expect of it, and of what stands above it.
fn sides_below(
    join: &JoinExpr,
    kind: JoinType,
    number: usize,
    above: Above,
) -> Result<(Above, Above), Refusal> {
    // What a join's alias hides has no name for a guard from outside: all of it stands in derived tables,
    // whatever the joins below would have.
    let hidden = Above { place: Place::Inside, wrap: Some(HIDDEN) };
    let above = if join.alias.is_some() { hidden } else { above };
    let nullable = match is_merging(join) {
        _ if above.wrap == Some(HIDDEN) => hidden,
        true => Above {
            place: Place::Inside,
            wrap: Some("USING on a nullable side leaves its predicate no place"),
        },
        false => Above { place: Place::On(number), wrap: None },
    };
    let full = match above.wrap {
        Some(HIDDEN) => hidden,
        _ => Above { place: Place::Inside, wrap: Some("FULL JOIN keeps the rows of both sides") },
    };
    match kind {
        JoinType::JoinInner => Ok((above, above)),
        JoinType::JoinLeft => Ok((above, nullable)),
        JoinType::JoinRight => Ok((nullable, above)),
        JoinType::JoinFull => Ok((full, full)),
        _ => Err(super::unsupported("this kind of join", -1)),
    }
}

/// Whether columns of the two sides become one.
fn is_merging(join: &JoinExpr) -> bool {
    join.is_natural || !join.using_clause.is_empty()
}

fn null_sides(level: &Level, kind: JoinType, left: &[usize], right: &[usize]) {
    let nulled: Vec<&usize> = match kind {
        JoinType::JoinLeft => right.iter().collect(),
        JoinType::JoinRight => left.iter().collect(),
        JoinType::JoinFull => left.iter().chain(right).collect(),
        _ => Vec::new(),
    };
    for id in nulled {
        if let Some(item) = level.items.get(*id) {
            item.nulled.set(true);
        }
    }
}

/// Whether a name can stand without quotes: the printer writes that of `USING (…) AS name` as it is.
fn is_plain_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    first && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
