//! Mutants of a rewritten statement: one change each, at each place where it can be made.
//!
//! The statement is read, changed and printed by sqlparser; golden statements hold no text that its printer
//! would change.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, OnConflictAction,
    OnInsert, Query, Select, SetExpr, Statement, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserOptions};

/// The tenant's parameter of the golden statements.
const TENANT: &str = "$9";

/// What a mutation touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// A predicate, a relation or a written tenant: the witness alone must refuse it.
    Tenancy,
    /// Anything else: the verifier must refuse it.
    Shape,
}

/// One changed statement.
#[derive(Debug, Clone)]
pub struct Mutant {
    pub kind: &'static str,
    pub sql: String,
    pub concern: Concern,
    /// The change is inside a CASE whose THEN is the client's condition.
    pub in_guard: bool,
}

/// Every mutant of a statement.
pub fn of(sql: &str) -> Vec<Mutant> {
    if sql.starts_with("COPY ")
        && sql.contains(" FROM STDIN")
        && let Some((head, condition)) = sql.split_once(" WHERE ")
    {
        return of_copy(head.trim_start_matches("COPY "), condition);
    }
    // sqlparser reads no such lock; the witness takes it for the others, of which mutants are made.
    if sql.contains(" FOR NO KEY UPDATE") || sql.contains(" FOR KEY SHARE") {
        return Vec::new();
    }
    let statement = parse(sql);
    let mut mutants = Vec::new();
    for (kind, change) in EXPRESSIONS {
        collect(&statement, kind, Change::Expression(*change), &mut mutants);
    }
    for (kind, change) in RELATIONS {
        collect(&statement, kind, Change::Relation(*change), &mut mutants);
    }
    for (kind, change) in SELECTS {
        collect(&statement, kind, Change::Select(*change), &mut mutants);
    }
    for (kind, change) in QUERIES {
        collect(&statement, kind, Change::Query(*change), &mut mutants);
    }
    for (kind, change) in STATEMENTS {
        collect(&statement, kind, Change::Statement(*change), &mut mutants);
    }
    mutants.retain(|mutant| mutant.sql != statement.to_string());
    mutants
}

/// The mutants of a COPY FROM's condition, made in a DELETE: sqlparser reads no COPY with a condition.
fn of_copy(head: &str, condition: &str) -> Vec<Mutant> {
    let (name, rest) = head.split_at(head.find('(').unwrap_or(head.len()));
    let mutants = of(&format!("DELETE FROM {name} WHERE {condition}")).into_iter();
    mutants
        .filter_map(|mutant| {
            // A COPY has one relation.
            let changed = mutant.sql.strip_prefix("DELETE FROM ").filter(|sql| !sql.contains(" USING "))?;
            let sql = match changed.split_once(" WHERE ") {
                Some((name, condition)) => format!("COPY {name}{rest} WHERE {condition}"),
                None => format!("COPY {changed}{rest}"),
            };
            Some(Mutant { sql, ..mutant })
        })
        .collect()
}

fn parse(sql: &str) -> Statement {
    let mut parsed = Parser::new(&PostgreSqlDialect {})
        .with_options(ParserOptions::new().with_unescape(false))
        .with_recursion_limit(500)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .unwrap_or_else(|e| panic!("{e}: {sql}"));
    parsed.remove(0)
}

fn expression(sql: &str) -> Expr {
    let dialect = PostgreSqlDialect {};
    Parser::new(&dialect).try_with_sql(sql).and_then(|mut p| p.parse_expr()).expect("an expression")
}

fn factor(sql: &str) -> TableFactor {
    let dialect = PostgreSqlDialect {};
    Parser::new(&dialect).try_with_sql(sql).and_then(|mut p| p.parse_table_factor()).expect("an item of FROM")
}

// === the kinds ===

type ExpressionChange = fn(&mut Expr) -> Option<Concern>;
type RelationChange = fn(&mut ObjectName) -> Option<Concern>;
type SelectChange = fn(&mut Select) -> Option<Concern>;
type QueryChange = fn(&mut Query) -> Option<Concern>;
type StatementChange = fn(&mut Statement) -> Option<Concern>;

const EXPRESSIONS: &[(&str, ExpressionChange)] = &[
    ("drop a predicate", |e| replace(e, is_predicate, |_| expression("true"))),
    ("widen a predicate by OR", |e| replace(e, is_predicate, |e| nested(either(e, expression("true"))))),
    ("let rows without a tenant through", |e| {
        replace(e, is_predicate, |e| {
            let tested = Expr::IsNull(Box::new(left_of(&e)));
            nested(either(e, tested))
        })
    }),
    ("negate a predicate", |e| replace(e, is_predicate, |e| expression(&format!("NOT ({e})")))),
    ("= becomes <>", |e| {
        operator(e, BinaryOperator::PGCustomBinaryOperator(vec!["pg_catalog".into(), "<>".into()]))
    }),
    ("= becomes >=", |e| {
        operator(e, BinaryOperator::PGCustomBinaryOperator(vec!["pg_catalog".into(), ">=".into()]))
    }),
    ("= without its schema", |e| operator(e, BinaryOperator::Eq)),
    ("= of another schema", |e| {
        operator(e, BinaryOperator::PGCustomBinaryOperator(vec!["app".into(), "=".into()]))
    }),
    ("another parameter", |e| replace(e, is_tenant_value, |_| expression("$1::int"))),
    ("a constant for the tenant", |e| replace(e, is_tenant_value, |_| expression("2"))),
    ("a column for the tenant", |e| replace(e, is_tenant_value, |_| expression("d.tenant_id"))),
    ("the tenant cast to a short type", |e| replace(e, is_tenant_value, |_| expression("$9::varchar(1)"))),
    ("the tenant without its type", |e| replace(e, is_tenant_value, |_| expression(TENANT))),
    ("the tenant computed with", |e| replace(e, is_tenant_value, |_| expression("($9::int + 1)"))),
    ("another column in a predicate", |e| rename_column(e, |parts| parts[1] = Ident::new("version"))),
    ("another alias in a predicate", |e| rename_column(e, |parts| parts[0] = Ident::new("zz"))),
    ("a predicate without an alias", |e| rename_column(e, |parts| drop(parts.remove(0)))),
    ("drop a key of the parent", |e| replace(e, is_parent_key, |_| expression("true"))),
    ("another column of the parent", |e| rename_parent_key(e, "version")),
    ("the parent of another value", |e| {
        replace(e, is_key_equality, |e| {
            let Expr::BinaryOp { left, op, .. } = e else { return e };
            Expr::BinaryOp { left, op, right: Box::new(expression("77")) }
        })
    }),
    ("another relation for the parent", |e| {
        let Expr::Exists { subquery, .. } = e else { return None };
        let lookup = is_parent_lookup(subquery);
        let SetExpr::Select(select) = &mut *subquery.body else { return None };
        let TableFactor::Table { name, .. } = &mut select.from.first_mut()?.relation else { return None };
        *name = named(&["app", "users"]);
        lookup.then_some(Concern::Tenancy)
    }),
    ("AND becomes OR", and_to_or),
    ("EXISTS becomes NOT EXISTS", |e| match e {
        Expr::Exists { negated, subquery } => {
            *negated = !*negated;
            Some(if is_parent_lookup(subquery) { Concern::Tenancy } else { Concern::Shape })
        }
        _ => None,
    }),
    ("unwrap a CASE", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        *e = conditions[0].result.clone();
        // The tenant's own value needs no guard to be the tenant's.
        Some(if is_tenant_value(e) { Concern::Shape } else { concern })
    }),
    ("drop the arm that raises", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        (conditions.len() == 2).then(|| conditions.truncate(1)).map(|()| concern)
    }),
    ("the arm that raises does not", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        conditions.get_mut(1)?.condition = expression("('true' || random()::text)::boolean");
        Some(concern)
    }),
    ("ELSE lets everything through", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, else_result, .. } = e else { return None };
        let kept = &conditions[0].result;
        let through = if matches!(kept, Expr::Value(_) | Expr::CompoundIdentifier(_)) {
            kept.clone()
        } else {
            expression("true")
        };
        *else_result = Some(Box::new(through));
        Some(concern)
    }),
    ("CASE WHEN becomes true", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        conditions[0].condition = expression("true");
        Some(concern)
    }),
    ("a second arm before the guard's ELSE", |e| {
        let concern = case_concern(e)?;
        let Expr::Case { conditions, .. } = e else { return None };
        let mut arm = conditions[0].clone();
        arm.condition = expression("true");
        conditions.push(arm);
        Some(concern)
    }),
];

const RELATIONS: &[(&str, RelationChange)] = &[
    ("drop a schema", |name| {
        let qualified = name.0.len() == 2;
        qualified.then(|| drop(name.0.remove(0)));
        qualified.then_some(Concern::Tenancy)
    }),
    ("a database before the schema", |name| {
        let qualified = name.0.len() == 2;
        qualified.then(|| name.0.insert(0, ObjectNamePart::Identifier(Ident::new("ccm"))));
        qualified.then_some(Concern::Tenancy)
    }),
    ("an unknown relation", |name| {
        let known = name.to_string();
        *name = named(&["app", "elsewhere"]);
        (!known.contains("generate_series")).then_some(Concern::Tenancy)
    }),
    ("another tenant relation", |name| {
        let before = std::mem::replace(name, named(&["app", "users"])).to_string();
        let tenants =
            before.starts_with("app.") && !["app.countries", "app.tenants"].contains(&before.as_str());
        let child = ["app.document_pages", "app.page_words", "app.attachments"].contains(&before.as_str());
        Some(if tenants && !child { Concern::Shape } else { Concern::Tenancy })
    }),
];

const SELECTS: &[(&str, SelectChange)] = &[
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

const QUERIES: &[(&str, QueryChange)] = &[
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

const STATEMENTS: &[(&str, StatementChange)] = &[
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

// === how a change finds its place ===

#[derive(Clone, Copy)]
enum Change {
    Expression(ExpressionChange),
    Relation(RelationChange),
    Select(SelectChange),
    Query(QueryChange),
    Statement(StatementChange),
}

/// Makes the change at the `wanted`-th place where it can be made.
struct Mutator {
    change: Change,
    wanted: usize,
    seen: usize,
    guards: usize,
    done: Option<(Concern, bool)>,
}

fn collect(statement: &Statement, kind: &'static str, change: Change, mutants: &mut Vec<Mutant>) {
    for wanted in 0.. {
        let mut changed = statement.clone();
        let mut mutator = Mutator { change, wanted, seen: 0, guards: 0, done: None };
        let _ = changed.visit(&mut mutator);
        let Some((concern, in_guard)) = mutator.done else { return };
        mutants.push(Mutant { kind, sql: changed.to_string(), concern, in_guard });
    }
}

impl Mutator {
    fn attempt<T: Clone>(&mut self, node: &mut T, change: fn(&mut T) -> Option<Concern>) -> ControlFlow<()> {
        let mut changed = node.clone();
        if self.done.is_some() {
            return ControlFlow::Break(());
        }
        if let Some(concern) = change(&mut changed) {
            if self.seen == self.wanted {
                *node = changed;
                self.done = Some((concern, self.guards > 0));
                return ControlFlow::Break(());
            }
            self.seen += 1;
        }
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Mutator {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.guards += usize::from(is_guard(expr));
        match self.change {
            Change::Expression(change) => self.attempt(expr, change),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.guards -= usize::from(is_guard(expr));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        match self.change {
            Change::Relation(change) => self.attempt(name, change),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        match self.change {
            Change::Select(change) => self.attempt(select, change),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        match self.change {
            Change::Query(change) => self.attempt(query, change),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        match self.change {
            Change::Statement(change) => self.attempt(statement, change),
            _ => ControlFlow::Continue(()),
        }
    }
}

// === what a place is ===

fn is_tenant_value(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast { expr, .. } if matches!(&**expr, Expr::Value(v) if v.value == Value::Placeholder(TENANT.into())))
}

fn is_equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(_), right } => Some((left, right)),
        _ => None,
    }
}

fn is_predicate(expr: &Expr) -> bool {
    is_equality(expr).is_some_and(|(_, right)| is_tenant_value(right))
}

fn is_parent_key(expr: &Expr) -> bool {
    is_equality(expr).is_some_and(|(_, right)| !is_tenant_value(right))
}

fn is_key_equality(expr: &Expr) -> bool {
    let Expr::BinaryOp { op: BinaryOperator::PGCustomBinaryOperator(name), .. } = expr else { return false };
    is_parent_key(expr) && name.last().is_some_and(|name| name == "=")
}

fn is_parent_lookup(query: &Query) -> bool {
    match &*query.body {
        SetExpr::Select(select) => {
            select.selection.as_ref().is_some_and(|s| conjuncts(s).into_iter().any(is_parent_key))
        }
        _ => false,
    }
}

fn is_guard(expr: &Expr) -> bool {
    let Expr::Case { conditions, .. } = expr else { return false };
    let result = &conditions[0].result;
    !is_tenant_value(result) && !matches!(result, Expr::Value(_) | Expr::CompoundIdentifier(_))
}

/// A CASE over a predicate or a parent: the proof itself, or a guard around the client's condition.
fn case_concern(expr: &Expr) -> Option<Concern> {
    let Expr::Case { conditions, .. } = expr else { return None };
    let condition = &conditions.first()?.condition;
    let looks_up = conjuncts(condition).into_iter().any(|c| match c {
        Expr::Exists { subquery, .. } => is_parent_lookup(subquery),
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => true,
        c => is_predicate(c),
    });
    looks_up.then_some(Concern::Tenancy)
}

fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Nested(inner) => conjuncts(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            [conjuncts(left), conjuncts(right)].concat()
        }
        other => vec![other],
    }
}

fn holds_proof(expr: &Expr) -> bool {
    conjuncts(expr).into_iter().any(|c| is_predicate(c) || is_parent_key(c) || case_concern(c).is_some())
}

// === changes ===

fn replace(expr: &mut Expr, is_place: fn(&Expr) -> bool, with: impl Fn(Expr) -> Expr) -> Option<Concern> {
    is_place(expr).then(|| *expr = with(expr.clone())).map(|()| Concern::Tenancy)
}

fn operator(expr: &mut Expr, with: BinaryOperator) -> Option<Concern> {
    match expr {
        Expr::BinaryOp { op: op @ BinaryOperator::PGCustomBinaryOperator(_), .. } => {
            *op = with;
            Some(Concern::Tenancy)
        }
        _ => None,
    }
}

fn rename_column(expr: &mut Expr, change: fn(&mut Vec<Ident>)) -> Option<Concern> {
    if !is_predicate(expr) {
        return None;
    }
    let Expr::BinaryOp { left, .. } = expr else { return None };
    let Expr::CompoundIdentifier(parts) = &mut **left else { return None };
    change(parts);
    if let [only] = parts.as_slice() {
        **left = Expr::Identifier(only.clone());
    }
    Some(Concern::Tenancy)
}

fn rename_parent_key(expr: &mut Expr, column: &str) -> Option<Concern> {
    if !is_key_equality(expr) {
        return None;
    }
    let Expr::BinaryOp { left, .. } = expr else { return None };
    let Expr::CompoundIdentifier(parts) = &mut **left else { return None };
    *parts.get_mut(1)? = Ident::new(column);
    Some(Concern::Tenancy)
}

fn and_to_or(expr: &mut Expr) -> Option<Concern> {
    let concern = if holds_proof(expr) { Concern::Tenancy } else { Concern::Shape };
    match expr {
        Expr::BinaryOp { op: op @ BinaryOperator::And, .. } => {
            *op = BinaryOperator::Or;
            Some(concern)
        }
        _ => None,
    }
}

fn drop_condition(condition: &mut Option<Expr>) -> Option<Concern> {
    let dropped = condition.take()?;
    Some(if holds_proof(&dropped) { Concern::Tenancy } else { Concern::Shape })
}

fn widen_condition(condition: &mut Option<Expr>) -> Option<Concern> {
    let before = condition.take()?;
    let concern = if holds_proof(&before) { Concern::Tenancy } else { Concern::Shape };
    *condition = Some(either(nested(before), expression("true")));
    Some(concern)
}

/// Takes the first predicate out of a condition, and leaves `true`.
fn take_predicate(condition: &mut Expr) -> Option<Expr> {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            take_predicate(left).or_else(|| take_predicate(right))
        }
        Expr::Nested(inner) => take_predicate(inner),
        predicate if is_predicate(predicate) => Some(std::mem::replace(predicate, expression("true"))),
        _ => None,
    }
}

fn outer_condition(from: &mut [TableWithJoins]) -> Option<&mut Expr> {
    from.iter_mut().flat_map(|item| &mut item.joins).find_map(|join| match &mut join.join_operator {
        JoinOperator::Left(JoinConstraint::On(c))
        | JoinOperator::LeftOuter(JoinConstraint::On(c))
        | JoinOperator::Right(JoinConstraint::On(c))
        | JoinOperator::RightOuter(JoinConstraint::On(c)) => Some(c),
        _ => None,
    })
}

/// Changes the first join's kind; a matter of tenancy where a side that it newly nulls is a tenant relation.
fn change_join(
    select: &mut Select,
    left: bool,
    right: bool,
    kind: fn(JoinConstraint) -> JoinOperator,
) -> Option<Concern> {
    let item = select.from.iter_mut().find(|item| !item.joins.is_empty())?;
    let nulled = (left && holds_tenant(&item.relation)) || (right && holds_tenant(&item.joins[0].relation));
    let join = item.joins.first_mut()?;
    let constraint = match &join.join_operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) => c.clone(),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) if left => c.clone(),
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) if right => c.clone(),
        _ => return None,
    };
    let already = matches!(
        (&join.join_operator, right, left),
        (JoinOperator::Left(_) | JoinOperator::LeftOuter(_), true, false)
    );
    join.join_operator = kind(constraint);
    (!already).then_some(if nulled { Concern::Tenancy } else { Concern::Shape })
}

fn holds_tenant(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, .. } => {
            name.to_string().starts_with("app.") && name.to_string() != "app.countries"
        }
        _ => false,
    }
}

fn factors(item: &mut TableWithJoins) -> Vec<&mut TableFactor> {
    std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation)).collect()
}

fn only_relation(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Derived { subquery, .. } = factor else { return None };
    let SetExpr::Select(select) = &*subquery.body else { return None };
    match select.from.as_slice() {
        [item] if item.joins.is_empty() && holds_tenant(&item.relation) => Some(item.relation.clone()),
        _ => None,
    }
}

fn remove_value(source: &mut Query, place: usize) {
    match &mut *source.body {
        SetExpr::Values(values) => values.rows.iter_mut().for_each(|row| drop(row.content.remove(place))),
        SetExpr::Select(select) => drop(select.projection.remove(place)),
        _ => {}
    }
}

fn item(sql: &str) -> TableWithJoins {
    TableWithJoins { relation: factor(sql), joins: Vec::new() }
}

fn named(parts: &[&str]) -> ObjectName {
    ObjectName(parts.iter().map(|part| ObjectNamePart::Identifier(Ident::new(*part))).collect())
}

fn left_of(expr: &Expr) -> Expr {
    is_equality(expr).map(|(left, _)| left.clone()).expect("an equality")
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn either(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Or, right: Box::new(right) }
}

fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(nested(left)), op: BinaryOperator::And, right: Box::new(right) }
}
