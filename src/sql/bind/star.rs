//! `*` written out: where an item has columns that the role may not see, and where each output of an INSERT's
//! source has to stand by itself.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, SelectStmt};

use crate::policy::Refusal;

use super::super::build;
use super::scope::{ColumnKind, Item, Scope, Source};
use super::{Binder, select::star_of};

impl Binder<'_> {
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

    /// Gives names to the columns of a lone `unnest(…)` of which `*` is selected: they are all called alike.
    pub fn name_columns(&mut self, select: &mut SelectStmt) {
        let only_star = match select.target_list.as_slice() {
            [Node { node: Some(NodeEnum::ResTarget(target)) }] => {
                target.val.as_deref().and_then(star_of) == Some(None) && select.where_clause.is_none()
            }
            _ => false,
        };
        let [Node { node: Some(NodeEnum::RangeFunction(function)) }] = select.from_clause.as_mut_slice()
        else {
            return;
        };
        let arguments = match function.functions.as_slice() {
            [Node { node: Some(NodeEnum::List(entry)) }] => match entry.items.first().map(|n| &n.node) {
                Some(Some(NodeEnum::FuncCall(call))) => call.args.len(),
                _ => 0,
            },
            _ => 0,
        };
        let unnamed = function.alias.as_ref().is_none_or(|a| a.colnames.is_empty());
        if !only_star || !unnamed || arguments == 0 || function.ordinality {
            return;
        }
        let aliasname = function.alias.take().map_or_else(|| self.fresh_alias("rows"), |a| a.aliasname);
        let colnames = (1..=arguments).map(|n| build::text(&format!("c{n}"))).collect();
        function.alias = Some(Alias { aliasname, colnames });
    }
}

fn expand(scope: &Scope<'_>, qualifier: Option<&str>, into: &mut Vec<Node>) -> Result<(), Refusal> {
    if qualifier.is_none() && !scope.level.merged.is_empty() {
        return Err(super::unsupported("* over USING here", -1));
    }
    let wanted = |item: &&Item| item.visible && qualifier.is_none_or(|q| item.name.as_deref() == Some(q));
    for item in scope.level.items.iter().filter(wanted) {
        let Some(name) = item.name.as_deref() else {
            return Err(super::unsupported("* over a sub-select without a name here", -1));
        };
        let mut seen = HashSet::new();
        for column in item.columns.iter().filter(|c| c.kind != ColumnKind::Denied) {
            if item.open || !seen.insert(&column.name) {
                return Err(super::unsupported("* over columns that cannot be told apart", -1)
                    .hint("Name the columns in the SELECT."));
            }
            into.push(build::target(build::column(&[name, &column.name]), ""));
        }
    }
    Ok(())
}
