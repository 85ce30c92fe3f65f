//! Changes of a whole SELECT, query or statement.

use sqlparser::ast::{
    JoinOperator, OnConflictAction, OnInsert, Query, Select, SetExpr, Statement, TableFactor,
};

use super::Concern;
use super::places::{
    both, change_join, drop_condition, expression, factor, factors, holds_tenant, item, only_relation,
    outer_condition, parse, remove_value, take_predicate, widen_condition,
};

/// Changes a SELECT, where it is one that it is for.
pub type SelectChange = fn(&mut Select) -> Option<Concern>;
/// Changes a query.
pub type QueryChange = fn(&mut Query) -> Option<Concern>;
/// Changes a statement.
pub type StatementChange = fn(&mut Statement) -> Option<Concern>;

pub const SELECTS: &[(&str, SelectChange)] = &[
    ("add a relation", |select| {
        select.from.push(item("app.users zz"));
        Some(Concern::Tenancy)
    }),
    ("add a relation by JOIN", |select| {
        let first = select.from.first_mut()?;
        let added = parse("SELECT 1 FROM app.users a LEFT JOIN app.users zz ON true");
        let Statement::Query(query) = added else { return None };
        let SetExpr::Select(added) = *query.body else { return None };
        first.joins.extend(added.from.into_iter().flat_map(|item| item.joins));
        Some(Concern::Tenancy)
    }),
    ("add a relation in a sub-select", |select| {
        let hidden = expression("EXISTS (SELECT 1 FROM app.users zz)");
        select.selection = Some(match select.selection.take() {
            Some(condition) => both(condition, hidden),
            None => hidden,
        });
        Some(Concern::Tenancy)
    }),
    ("drop WHERE", |select| drop_condition(&mut select.selection)),
    ("WHERE OR true", |select| widen_condition(&mut select.selection)),
    ("move a predicate from ON to WHERE", |select| {
        let condition = outer_condition(&mut select.from)?;
        let moved = take_predicate(condition)?;
        select.selection = Some(match select.selection.take() {
            Some(condition) => both(condition, moved),
            None => moved,
        });
        Some(Concern::Tenancy)
    }),
    ("move a predicate from WHERE to ON", |select| {
        let moved = take_predicate(select.selection.as_mut()?)?;
        let condition = outer_condition(&mut select.from)?;
        *condition = both(condition.clone(), moved);
        Some(Concern::Tenancy)
    }),
    ("move a predicate from WHERE to HAVING", |select| {
        select.having = Some(take_predicate(select.selection.as_mut()?)?);
        Some(Concern::Tenancy)
    }),
    ("a join becomes LEFT", |select| change_join(select, false, true, JoinOperator::LeftOuter)),
    ("a join becomes RIGHT", |select| change_join(select, true, false, JoinOperator::RightOuter)),
    ("a join becomes FULL", |select| change_join(select, true, true, JoinOperator::FullOuter)),
    ("a derived table becomes its relation", |select| {
        let derived = select.from.iter_mut().flat_map(factors).find_map(|factor| {
            let relation = only_relation(factor)?;
            Some((factor, relation))
        });
        let (factor, relation) = derived?;
        let TableFactor::Derived { alias, .. } = factor else { return None };
        let TableFactor::Table { name, .. } = relation else { return None };
        let alias = alias.as_ref().map_or(String::new(), |alias| alias.to_string());
        *factor = self::factor(&format!("{name} {alias}"));
        Some(Concern::Tenancy)
    }),
    ("hide the legs under a join's alias", |select| {
        let joined = select
            .from
            .iter_mut()
            .find(|item| item.joins.len() == 1 && item.joins.iter().any(|j| holds_tenant(&j.relation)))?;
        let hidden = format!("({joined}) zz");
        *joined = item(&hidden);
        Some(Concern::Tenancy)
    }),
];

pub const QUERIES: &[(&str, QueryChange)] = &[
    ("add UNION ALL TABLE", |query| {
        if matches!(
            *query.body,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        ) {
            return None;
        }
        let added = parse("SELECT 1 UNION ALL TABLE app.users");
        let Statement::Query(added) = added else { return None };
        let SetExpr::SetOperation { op, set_quantifier, right, .. } = *added.body else { return None };
        let left = Box::new((*query.body).clone());
        *query.body = SetExpr::SetOperation { left, op, set_quantifier, right };
        Some(Concern::Tenancy)
    }),
    ("drop WITH", |query| query.with.take().map(|_| Concern::Tenancy)),
    ("drop a fence", |query| query.limit_clause.take().map(|_| Concern::Shape)),
];

pub const STATEMENTS: &[(&str, StatementChange)] = &[
    ("drop the tenant column of an INSERT", |statement| {
        let Statement::Insert(insert) = statement else { return None };
        let place = insert.columns.iter().position(|c| c.to_string() == "tenant_id")?;
        insert.columns.remove(place);
        remove_value(insert.source.as_mut()?, place);
        Some(Concern::Tenancy)
    }),
    ("drop one row's tenant", |statement| {
        let Statement::Insert(insert) = statement else { return None };
        let place = insert.columns.iter().position(|c| c.to_string() == "tenant_id")?;
        let SetExpr::Values(values) = &mut *insert.source.as_mut()?.body else { return None };
        *values.rows.last_mut()?.content.get_mut(place)? = expression("DEFAULT");
        Some(Concern::Tenancy)
    }),
    ("swap an INSERT's columns", |statement| {
        let Statement::Insert(insert) = statement else { return None };
        (insert.columns.len() > 1).then(|| insert.columns.rotate_left(1)).map(|()| Concern::Tenancy)
    }),
    ("drop an INSERT's columns", |statement| {
        let Statement::Insert(insert) = statement else { return None };
        let had = !insert.columns.is_empty();
        insert.columns.clear();
        had.then_some(Concern::Tenancy)
    }),
    ("drop the guard of ON CONFLICT", |statement| {
        let Statement::Insert(insert) = statement else { return None };
        let Some(OnInsert::OnConflict(conflict)) = &mut insert.on else { return None };
        let OnConflictAction::DoUpdate(update) = &mut conflict.action else { return None };
        update.selection.take().map(|_| Concern::Tenancy)
    }),
    ("ON CONFLICT guards the excluded row", |statement| {
        let Statement::Insert(insert) = statement else { return None };
        let Some(OnInsert::OnConflict(conflict)) = &mut insert.on else { return None };
        let OnConflictAction::DoUpdate(update) = &mut conflict.action else { return None };
        update.selection = Some(expression("excluded.tenant_id OPERATOR(pg_catalog.=) $9::int"));
        Some(Concern::Tenancy)
    }),
    ("SET another tenant", |statement| {
        let other = parse("UPDATE a SET tenant_id = 2");
        let Statement::Update(other) = other else { return None };
        match statement {
            Statement::Update(update) => {
                let children = ["app.document_pages p"];
                let child = children.contains(&update.table.to_string().as_str());
                update.assignments.extend(other.assignments);
                Some(if child { Concern::Shape } else { Concern::Tenancy })
            }
            Statement::Insert(insert) => {
                let Some(OnInsert::OnConflict(conflict)) = &mut insert.on else { return None };
                let OnConflictAction::DoUpdate(update) = &mut conflict.action else { return None };
                update.assignments.extend(other.assignments);
                Some(Concern::Tenancy)
            }
            _ => None,
        }
    }),
    ("move a child to another parent", |statement| {
        let Statement::Update(update) = statement else { return None };
        let child = update.table.to_string().starts_with("app.document_pages");
        let Statement::Update(other) = parse("UPDATE a SET document_id = 2") else { return None };
        update.assignments.extend(other.assignments);
        Some(if child { Concern::Tenancy } else { Concern::Shape })
    }),
    ("drop WHERE of a write", |statement| match statement {
        Statement::Update(update) => drop_condition(&mut update.selection),
        Statement::Delete(delete) => drop_condition(&mut delete.selection),
        _ => None,
    }),
    ("WHERE OR true of a write", |statement| match statement {
        Statement::Update(update) => widen_condition(&mut update.selection),
        Statement::Delete(delete) => widen_condition(&mut delete.selection),
        _ => None,
    }),
    ("add a relation to a write", |statement| match statement {
        Statement::Delete(delete) => {
            delete.using.get_or_insert_default().push(item("app.users zz"));
            Some(Concern::Tenancy)
        }
        Statement::Update(update) => {
            let Statement::Update(other) = parse("UPDATE a SET b = 1 FROM app.users zz") else { return None };
            update.from = other.from;
            Some(Concern::Tenancy)
        }
        _ => None,
    }),
    ("add WHEN NOT MATCHED BY SOURCE", |statement| {
        let Statement::Merge(merge) = statement else { return None };
        let other = parse("MERGE INTO a USING b ON true WHEN NOT MATCHED BY SOURCE THEN DELETE");
        let Statement::Merge(other) = other else { return None };
        merge.clauses.extend(other.clauses);
        Some(Concern::Tenancy)
    }),
    ("drop the condition of a WHEN", |statement| {
        let Statement::Merge(merge) = statement else { return None };
        let clause = merge.clauses.iter_mut().find(|clause| clause.predicate.is_some())?;
        let by_source = clause.to_string().contains("BY SOURCE");
        clause.predicate = None;
        Some(if by_source { Concern::Tenancy } else { Concern::Shape })
    }),
    ("MERGE from a relation", |statement| {
        let Statement::Merge(merge) = statement else { return None };
        merge.source = factor("app.users v");
        Some(Concern::Tenancy)
    }),
];
