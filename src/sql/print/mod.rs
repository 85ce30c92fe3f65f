//! A printer for the statements that applications send most: SELECT, INSERT, UPDATE and DELETE, straight from the
//! tree to the text.
//!
//! **Why there is one.** pg_query's printer takes a tree as protobuf, so each print first writes the tree to bytes
//! and reads them into nodes of PostgreSQL's: nine tenths of its time. This one writes the same text, byte for byte, in a
//! twentieth of it.
//!
//! **Why it may be trusted.** It need not be. Whatever is printed is parsed again by PostgreSQL's own grammar, and is sent
//! only where it reads as the very tree that was decided on ([`super::verify`]): a fault of this printer refuses a
//! statement and lets none through. That it prints what pg_query prints is tested over all recorded statements
//! (`tests/printer.rs`).
//!
//! **What it leaves.** [`print`] gives nothing for a node or an option that it does not know, and pg_query's printer
//! takes the whole statement. Each function takes a node apart to its last field, so that a field that
//! a later grammar adds does not compile until somebody has thought of it.
//!
//! **Spaces.** A clause begins with [`Printer::clause`], which puts a space where one is needed; nothing ends with
//! one. That is what the parts of pg_query's printer (`postgres_deparse.c`) come to when it prints on one line.

mod call;
mod expression;
mod from;
mod keywords;
mod name;
mod precedence;
mod write;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CommonTableExpr, CteMaterialize, LimitOption, LockClauseStrength, LockWaitPolicy, LockingClause, Node,
    ResTarget, SelectStmt, SetOperation, SortBy, SortByDir, SortByNulls, WithClause,
};

use expression::Rule;

/// Nesting that is followed; a deeper statement is left to pg_query, which knows where its stack ends.
const MAX_DEPTH: usize = 200;

/// Prints a statement, or nothing where it holds what this printer does not know.
pub fn print(statement: &Node) -> Option<String> {
    let mut printer = Printer { text: String::with_capacity(2 << 10), depth: 0 };
    printer.statement(statement)?;
    Some(printer.text)
}

/// What stands around a SELECT.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing, parentheses, or an INSERT.
    Own,
    /// UNION, INTERSECT or EXCEPT: what belongs to the whole must stand in parentheses.
    SetOperation,
}

struct Printer {
    text: String,
    depth: usize,
}

impl Printer {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Begins a clause, or a keyword that stands free.
    fn clause(&mut self, keyword: &str) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'(' | b' ')) {
            self.text.push(' ');
        }
        self.text.push_str(keyword);
    }

    /// Prints the elements of a list, separated by commas.
    fn list<T>(&mut self, elements: &[T], mut print: impl FnMut(&mut Self, &T) -> Option<()>) -> Option<()> {
        for (place, element) in elements.iter().enumerate() {
            if place > 0 {
                self.put(", ");
            }
            print(self, element)?;
        }
        Some(())
    }

    /// Follows a node that can hold itself.
    fn deeper(&mut self, print: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        print(self)?;
        self.depth -= 1;
        Some(())
    }

    fn statement(&mut self, statement: &Node) -> Option<()> {
        self.deeper(|printer| match statement.node.as_ref()? {
            NodeEnum::SelectStmt(select) => printer.select(select, Place::Own),
            NodeEnum::InsertStmt(insert) => printer.insert(insert),
            NodeEnum::UpdateStmt(update) => printer.update(update),
            NodeEnum::DeleteStmt(delete) => printer.delete(delete),
            _ => None,
        })
    }

    /// A SELECT in parentheses.
    fn subselect(&mut self, node: Option<&Node>) -> Option<()> {
        let NodeEnum::SelectStmt(select) = node?.node.as_ref()? else { return None };
        self.put("(");
        self.deeper(|printer| printer.select(select, Place::Own))?;
        self.put(")");
        Some(())
    }

    fn select(&mut self, select: &SelectStmt, place: Place) -> Option<()> {
        let SelectStmt {
            distinct_clause,
            into_clause: None,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause,
            op: _,
            all,
            larg,
            rarg,
        } = select
        else {
            return None;
        };
        let parentheses = place == Place::SetOperation
            && (!sort_clause.is_empty()
                || limit_offset.is_some()
                || limit_count.is_some()
                || !locking_clause.is_empty()
                || with_clause.is_some()
                || select.op() != SetOperation::SetopNone);
        if parentheses {
            self.clause("(");
        }
        if let Some(with) = with_clause {
            self.with(with)?;
        }
        match select.op() {
            SetOperation::SetopNone if !values_lists.is_empty() => {
                self.clause("VALUES ");
                self.list(values_lists, |printer, row| {
                    let NodeEnum::List(row) = row.node.as_ref()? else { return None };
                    printer.put("(");
                    printer.expressions(&row.items)?;
                    printer.put(")");
                    Some(())
                })?;
            }
            SetOperation::SetopNone => {
                self.clause("SELECT");
                if !target_list.is_empty() {
                    self.distinct(distinct_clause)?;
                    self.put(" ");
                    self.targets(target_list)?;
                }
                self.from(from_clause)?;
                self.condition("WHERE ", where_clause.as_deref())?;
                if !group_clause.is_empty() {
                    self.clause("GROUP BY ");
                    if *group_distinct {
                        self.put("DISTINCT ");
                    }
                    self.expressions(group_clause)?;
                }
                self.condition("HAVING ", having_clause.as_deref())?;
                if !window_clause.is_empty() {
                    return None;
                }
            }
            operation => {
                self.deeper(|printer| printer.select(larg.as_deref()?, Place::SetOperation))?;
                self.clause(match operation {
                    SetOperation::SetopUnion => "UNION",
                    SetOperation::SetopIntersect => "INTERSECT",
                    SetOperation::SetopExcept => "EXCEPT",
                    SetOperation::SetopNone | SetOperation::Undefined => return None,
                });
                if *all {
                    self.put(" ALL");
                }
                self.deeper(|printer| printer.select(rarg.as_deref()?, Place::SetOperation))?;
            }
        }
        self.order(sort_clause)?;
        self.limit(select)?;
        for lock in locking_clause {
            let NodeEnum::LockingClause(lock) = lock.node.as_ref()? else { return None };
            self.lock(lock)?;
        }
        if parentheses {
            self.put(")");
        }
        Some(())
    }

    /// DISTINCT is a list with one empty node, DISTINCT ON one of expressions.
    fn distinct(&mut self, clause: &[Node]) -> Option<()> {
        match clause {
            [] => {}
            [Node { node: None }] => self.put(" DISTINCT"),
            on => {
                self.put(" DISTINCT ON (");
                self.expressions(on)?;
                self.put(")");
            }
        }
        Some(())
    }

    fn targets(&mut self, targets: &[Node]) -> Option<()> {
        self.list(targets, |printer, target| {
            let NodeEnum::ResTarget(target) = target.node.as_ref()? else { return None };
            let ResTarget { name, indirection: _, val, location: _ } = &**target;
            printer.expression(val.as_deref()?, Rule::A)?;
            if !name.is_empty() {
                printer.put(" AS ");
                printer.name(name);
            }
            Some(())
        })
    }

    /// WHERE, HAVING and the like, where there is one.
    fn condition(&mut self, keyword: &str, condition: Option<&Node>) -> Option<()> {
        if let Some(condition) = condition {
            self.clause(keyword);
            self.expression(condition, Rule::A)?;
        }
        Some(())
    }

    fn order(&mut self, sort: &[Node]) -> Option<()> {
        if sort.is_empty() {
            return Some(());
        }
        self.clause("ORDER BY ");
        self.list(sort, |printer, by| {
            let NodeEnum::SortBy(by) = by.node.as_ref()? else { return None };
            let SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location: _ } = &**by;
            printer.expression(node.as_deref()?, Rule::A)?;
            match by.sortby_dir() {
                SortByDir::SortbyDefault => {}
                SortByDir::SortbyAsc => printer.put(" ASC"),
                SortByDir::SortbyDesc => printer.put(" DESC"),
                SortByDir::SortbyUsing => {
                    printer.put(" USING ");
                    printer.operator(use_op)?;
                }
                SortByDir::Undefined => return None,
            }
            match by.sortby_nulls() {
                SortByNulls::SortbyNullsDefault => {}
                SortByNulls::SortbyNullsFirst => printer.put(" NULLS FIRST"),
                SortByNulls::SortbyNullsLast => printer.put(" NULLS LAST"),
                SortByNulls::Undefined => return None,
            }
            Some(())
        })
    }

    fn limit(&mut self, select: &SelectStmt) -> Option<()> {
        if let Some(count) = &select.limit_count {
            if select.limit_option() != LimitOption::Count {
                return None;
            }
            self.clause("LIMIT ");
            match &count.node {
                Some(NodeEnum::AConst(constant)) if constant.isnull => self.put("ALL"),
                _ => self.expression(count, Rule::A)?,
            }
        }
        self.condition("OFFSET ", select.limit_offset.as_deref())
    }

    fn lock(&mut self, lock: &LockingClause) -> Option<()> {
        let LockingClause { locked_rels, strength: _, wait_policy: _ } = lock;
        self.clause(match lock.strength() {
            LockClauseStrength::LcsForkeyshare => "FOR KEY SHARE",
            LockClauseStrength::LcsForshare => "FOR SHARE",
            LockClauseStrength::LcsFornokeyupdate => "FOR NO KEY UPDATE",
            LockClauseStrength::LcsForupdate => "FOR UPDATE",
            LockClauseStrength::LcsNone | LockClauseStrength::Undefined => return None,
        });
        if !locked_rels.is_empty() {
            self.put(" OF ");
            self.list(locked_rels, |printer, relation| match relation.node.as_ref()? {
                NodeEnum::RangeVar(relation) => printer.relation(relation, " "),
                _ => None,
            })?;
        }
        match lock.wait_policy() {
            LockWaitPolicy::LockWaitBlock => {}
            LockWaitPolicy::LockWaitSkip => self.put(" SKIP LOCKED"),
            LockWaitPolicy::LockWaitError => self.put(" NOWAIT"),
            LockWaitPolicy::Undefined => return None,
        }
        Some(())
    }

    fn with(&mut self, with: &WithClause) -> Option<()> {
        let WithClause { ctes, recursive, location: _ } = with;
        self.clause("WITH ");
        if *recursive {
            self.put("RECURSIVE ");
        }
        self.list(ctes, |printer, cte| match cte.node.as_ref()? {
            NodeEnum::CommonTableExpr(cte) => printer.common_table(cte),
            _ => None,
        })
    }

    fn common_table(&mut self, cte: &CommonTableExpr) -> Option<()> {
        let CommonTableExpr {
            ctename,
            aliascolnames,
            ctematerialized: _,
            ctequery,
            search_clause: None,
            cycle_clause: None,
            location: _,
            cterecursive: _,
            cterefcount: _,
            ctecolnames: _,
            ctecoltypes: _,
            ctecoltypmods: _,
            ctecolcollations: _,
        } = cte
        else {
            return None;
        };
        self.name(ctename);
        self.column_names(aliascolnames)?;
        self.put(match cte.ctematerialized() {
            CteMaterialize::Default => " AS (",
            CteMaterialize::Always => " AS MATERIALIZED (",
            CteMaterialize::Never => " AS NOT MATERIALIZED (",
            CteMaterialize::CtematerializeUndefined => return None,
        });
        self.statement(ctequery.as_deref()?)?;
        self.put(")");
        Some(())
    }
}
