//! Common table expressions, in PostgreSQL's scopes (`parse_cte.c`): a name is in scope after its definition,
//! anywhere in the list where the list is RECURSIVE, and never when it is qualified or a DML target.

use foldhash::HashSet;
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, CommonTableExpr, CteMaterialize, Node, RangeVar, SelectStmt, SetOperation, WithClause,
};

use crate::policy::Refusal;
use crate::sql::walk::{Visitor, walk};

use super::from::is_system;
use super::select::{Output, depth_below};
use super::{Binder, ColumnKind, ItemColumn, Scope};

/// A common table expression.
#[derive(Debug, Clone)]
pub(in crate::sql) struct Cte {
    pub columns: Vec<ItemColumn>,
    /// Its rows hold tenants' data.
    pub tenanted: bool,
    /// It may have columns that are not known here.
    pub open: bool,
    /// What it reads and does beyond its own level.
    pub facts: super::Facts,
    /// It must be a fence.
    pub fence: bool,
}

/// The names in scope.
pub(in crate::sql) type Names = Vec<(String, usize)>;

impl Binder<'_> {
    /// Binds a WITH list. Gives the names in scope after it: those around it and its own.
    pub fn with_clause(
        &mut self,
        outer: Option<&Scope<'_>>,
        around: &[(String, usize)],
        with: Option<&mut WithClause>,
    ) -> Result<Names, Refusal> {
        let mut names = around.to_vec();
        let Some(with) = with else { return Ok(names) };
        let recursive = with.recursive;
        let mut later = later_names(with);
        let order = if recursive { definition_order(with) } else { (0..with.ctes.len()).collect() };
        let mut defined = Vec::new();
        for at in order {
            let Some(node) = with.ctes.get_mut(at) else { continue };
            let Some(NodeEnum::CommonTableExpr(cte)) = &mut node.node else {
                return Err(super::unsupported(&super::kind_of(node), with.location));
            };
            self.forward_names.push(std::mem::take(&mut later));
            let number = self.common_table_expr(outer, &names, recursive, cte);
            later = self.forward_names.pop().unwrap_or_default();
            later.retain(|name| *name != cte.ctename);
            let number = number?;
            names.push((cte.ctename.clone(), number));
            defined.push((at, cte.ctename.clone(), number));
        }
        // In the list's own order again: whoever fences goes through both.
        defined.sort_unstable();
        names.truncate(around.len());
        names.extend(defined.into_iter().map(|(_, name, number)| (name, number)));
        Ok(names)
    }

    /// Writes the fences that were asked for into the WITH list they belong to.
    pub fn fence_ctes(&mut self, names: &[(String, usize)], with: Option<&mut WithClause>) {
        let Some(with) = with else { return };
        let own = names.len().saturating_sub(with.ctes.len());
        let numbers: Vec<usize> = names.iter().skip(own).map(|(_, number)| *number).collect();
        for (node, number) in with.ctes.iter_mut().zip(numbers) {
            let fence = self.ctes.get(number).is_some_and(|c| c.fence);
            if let (Some(NodeEnum::CommonTableExpr(cte)), true) = (&mut node.node, fence)
                && cte.ctematerialized != CteMaterialize::Always as i32
            {
                cte.ctematerialized = CteMaterialize::Always as i32;
                let name = cte.ctename.clone();
                self.edit(cte.location, format!("{name} is materialized: no condition from outside reaches its rows before the tenant predicate"));
            }
        }
    }

    fn common_table_expr(
        &mut self,
        outer: Option<&Scope<'_>>,
        names: &[(String, usize)],
        recursive: bool,
        cte: &mut CommonTableExpr,
    ) -> Result<usize, Refusal> {
        let location = cte.location;
        let rename = column_names(cte)?;
        if let Some(cycle) = &mut cte.cycle_clause {
            let nothing = super::Level::at(0);
            let scope = Scope { outer: None, level: &nothing, window: None, ctes: &[] };
            let mut facts = super::Facts::default();
            for value in [&mut cycle.cycle_mark_value, &mut cycle.cycle_mark_default].into_iter().flatten() {
                self.expression(&scope, value, &mut facts)?;
            }
        }
        let extra = search_and_cycle_columns(cte);
        let Some(query) = &mut cte.ctequery else {
            return Err(super::unsupported("a WITH entry without a query", location));
        };
        if let (true, Some(NodeEnum::SelectStmt(select))) = (recursive, &mut query.node)
            && select.op == SetOperation::SetopUnion as i32
        {
            return self.recursive_cte(outer, names, &cte.ctename, select, &rename, &extra);
        }
        let output = self.statement_in(outer, names, query)?;
        Ok(self.add_cte(output, &rename, &extra))
    }

    /// `left UNION right`, where `right` may name the expression itself: its columns are the left arm's.
    fn recursive_cte(
        &mut self,
        outer: Option<&Scope<'_>>,
        names: &[(String, usize)],
        name: &str,
        select: &mut SelectStmt,
        rename: &[String],
        extra: &[String],
    ) -> Result<usize, Refusal> {
        let inner = self.with_clause(outer, names, select.with_clause.as_mut())?;
        let (Some(left), Some(right)) = (&mut select.larg, &mut select.rarg) else {
            return Err(super::unsupported("a set operation without two arms", -1));
        };
        let mut output = self.select(outer, &inner, left)?;
        // The other arm brings values of its own, which nothing moves out of it: a scan of this query reads them.
        output.columns.iter_mut().for_each(ItemColumn::computed);
        let number = self.add_cte(output, rename, extra);
        let mut in_scope = inner.clone();
        in_scope.push((name.to_owned(), number));
        // The right arm may bring tenants' rows that the left does not: until it is bound, assume so, unless it
        // reads system relations alone.
        let left_tenanted = self.ctes.get(number).is_some_and(|c| c.tenanted);
        let assumed = left_tenanted || !self.reads_system_relations_alone(outer, &inner, right);
        self.set_tenanted(number, assumed);
        let was = std::mem::replace(&mut self.recursive_term, true);
        let right_output = self.select(outer, &in_scope, right);
        self.recursive_term = was;
        let right_output = right_output?;
        let right_tenanted = right_output.tenanted;
        if right_tenanted && !assumed {
            return Err(super::unsupported("a recursive query of this form", -1));
        }
        self.set_tenanted(number, left_tenanted || right_tenanted);
        // The list is RECURSIVE; the query need not be, and may have these then.
        let level = super::Level::at(depth_below(outer));
        let scope = Scope { outer, level: &level, window: None, ctes: &inner };
        let columns = self.ctes.get(number).map(|cte| cte.columns.clone()).unwrap_or_default();
        let mut facts = right_output.facts;
        self.after_arms(&scope, select, &columns, &mut facts)?;
        if let Some(cte) = self.ctes.get_mut(number) {
            cte.open |= right_output.open;
            cte.facts.merge(facts.below(level.depth));
        }
        self.fence_ctes(&inner, select.with_clause.as_mut());
        Ok(number)
    }

    /// Whether no relation that stands anywhere in a query can bring tenants' rows: each name is that of a system
    /// relation, of nothing that the catalog knows, or of a common table expression in scope that has none. What a
    /// WITH within the query names needs no place here: its own query is looked at as well.
    fn reads_system_relations_alone(
        &self,
        outer: Option<&Scope<'_>>,
        ctes: &[(String, usize)],
        query: &SelectStmt,
    ) -> bool {
        let mut level = outer;
        while let Some(scope) = level {
            if scope.level.items.iter().any(|item| self.is_tenanted(&item.source)) {
                return false;
            }
            level = scope.outer;
        }
        let mut relations = Relations { names: Vec::new(), all: true };
        walk(&mut Node { node: Some(NodeEnum::SelectStmt(Box::new(query.clone()))) }, &mut relations);
        let harmless = |range: &RangeVar| {
            let schema = Some(range.schemaname.as_str()).filter(|schema| !schema.is_empty());
            let cte = ctes.iter().rev().find(|(known, _)| schema.is_none() && *known == range.relname);
            let cte_is = cte.is_none_or(|(_, number)| self.ctes.get(*number).is_some_and(|c| !c.tenanted));
            cte_is && self.catalog.find_relation(schema, &range.relname).is_none_or(|r| is_system(r))
        };
        relations.all && relations.names.iter().all(harmless)
    }

    fn set_tenanted(&mut self, number: usize, tenanted: bool) {
        if let Some(cte) = self.ctes.get_mut(number) {
            cte.tenanted = tenanted;
        }
    }

    fn add_cte(&mut self, output: Output, rename: &[String], extra: &[String]) -> usize {
        let mut columns = output.columns;
        for (column, name) in columns.iter_mut().zip(rename) {
            column.name.clone_from(name);
        }
        let unknown = |name: &String| ItemColumn {
            name: name.clone(),
            ty: None,
            kind: ColumnKind::Expression { total: false },
        };
        columns.extend(extra.iter().map(unknown));
        let Output { tenanted, open, facts, .. } = output;
        self.ctes.push(Cte { columns, tenanted, open, facts, fence: false });
        self.ctes.len() - 1
    }
}

/// The order in which a RECURSIVE list can be bound: each entry after those that it names (`TopologicalSort`,
/// parse_cte.c). A name that means something else there makes an entry wait for nothing. In a circle, which PostgreSQL
/// refuses, the first comes first.
fn definition_order(with: &mut WithClause) -> Vec<usize> {
    let own: Vec<String> = later_names(with);
    let mut waits: Vec<(usize, HashSet<usize>)> = Vec::new();
    for (at, node) in with.ctes.iter_mut().enumerate() {
        let mut named = Named { own: &own, found: HashSet::default() };
        walk(node, &mut named);
        named.found.remove(&at);
        waits.push((at, named.found));
    }
    let mut order = Vec::new();
    while !waits.is_empty() {
        let next = waits.iter().position(|(_, waits_for)| waits_for.is_empty()).unwrap_or(0);
        let (at, _) = waits.remove(next);
        waits.iter_mut().for_each(|(_, waits_for)| {
            waits_for.remove(&at);
        });
        order.push(at);
    }
    order
}

/// Finds the entries of a WITH list that a tree may name.
struct Named<'n> {
    own: &'n [String],
    found: HashSet<usize>,
}

impl Visitor for Named<'_> {
    fn constant(&mut self, _: &mut AConst) {}

    fn relation(&mut self, name: &mut RangeVar) {
        if name.schemaname.is_empty() {
            self.found.extend(self.own.iter().position(|own| *own == name.relname));
        }
    }

    fn unknown(&mut self) {}
}

/// In a RECURSIVE list a name can be used before its definition. That is refused where the order cannot be changed:
/// taking it for a relation would be wrong.
fn later_names(with: &WithClause) -> Vec<String> {
    let name = |node: &pg_query::protobuf::Node| match &node.node {
        Some(NodeEnum::CommonTableExpr(cte)) => Some(cte.ctename.clone()),
        _ => None,
    };
    if with.recursive { with.ctes.iter().filter_map(name).collect() } else { Vec::new() }
}

fn column_names(cte: &CommonTableExpr) -> Result<Vec<String>, Refusal> {
    super::super::build::names(&cte.aliascolnames)
        .map(|names| names.into_iter().map(str::to_owned).collect())
        .ok_or_else(|| super::unsupported("this column list", cte.location))
}

/// The columns that SEARCH and CYCLE add.
fn search_and_cycle_columns(cte: &CommonTableExpr) -> Vec<String> {
    let mut columns = Vec::new();
    columns.extend(cte.search_clause.as_ref().map(|s| s.search_seq_column.clone()));
    if let Some(cycle) = &cte.cycle_clause {
        columns.push(cycle.cycle_mark_column.clone());
        columns.push(cycle.cycle_path_column.clone());
    }
    columns
}

/// The relations that a tree names.
struct Relations {
    names: Vec<RangeVar>,
    /// Nothing was left out.
    all: bool,
}

impl Visitor for Relations {
    fn constant(&mut self, _: &mut AConst) {}

    fn relation(&mut self, relation: &mut RangeVar) {
        self.names.push(relation.clone());
    }

    fn unknown(&mut self) {
        self.all = false;
    }
}
