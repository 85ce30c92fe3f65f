//! Mutants of a rewritten statement: one change each, at each place where it can be made.
//!
//! The statement is read, changed and printed by sqlparser; golden statements hold no text that its printer
//! would change.

mod expressions;
mod places;
mod statements;

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Query, Select, Statement, VisitMut, VisitorMut};

use expressions::{EXPRESSIONS, ExpressionChange, RELATIONS, RelationChange};
use places::{is_guard, parse};
use statements::{QUERIES, QueryChange, SELECTS, STATEMENTS, SelectChange, StatementChange};

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
