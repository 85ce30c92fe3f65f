//! INSERT, UPDATE and DELETE.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeleteStmt, IndexElem, InferClause, InsertStmt, Node, OnConflictAction, OnConflictClause, OverridingKind,
    ResTarget, ReturningClause, SortByDir, SortByNulls, UpdateStmt,
};

use super::expression::Rule;
use super::{Place, Printer};

impl Printer {
    pub(super) fn insert(&mut self, insert: &InsertStmt) -> Option<()> {
        let InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: _,
        } = insert;
        if let Some(with) = with_clause {
            self.with(with)?;
        }
        self.clause("INSERT INTO ");
        self.relation(relation.as_ref()?, " AS ")?;
        if !cols.is_empty() {
            self.put(" (");
            self.list(cols, |printer, column| {
                let NodeEnum::ResTarget(column) = column.node.as_ref()? else { return None };
                printer.assigned(column)
            })?;
            self.put(")");
        }
        match insert.r#override() {
            OverridingKind::OverridingNotSet => {}
            OverridingKind::OverridingUserValue => self.put(" OVERRIDING USER VALUE"),
            OverridingKind::OverridingSystemValue => self.put(" OVERRIDING SYSTEM VALUE"),
            OverridingKind::Undefined => return None,
        }
        match select_stmt.as_deref() {
            None => self.put(" DEFAULT VALUES"),
            Some(Node { node: Some(NodeEnum::SelectStmt(source)) }) => {
                self.deeper(|printer| printer.select(source, Place::Own))?;
            }
            Some(_) => return None,
        }
        if let Some(conflict) = on_conflict_clause {
            self.on_conflict(conflict)?;
        }
        self.returning(returning_clause.as_ref())
    }

    pub(super) fn update(&mut self, update: &UpdateStmt) -> Option<()> {
        let UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause } =
            update;
        if let Some(with) = with_clause {
            self.with(with)?;
        }
        self.clause("UPDATE ");
        self.relation(relation.as_ref()?, " ")?;
        self.assignments(target_list)?;
        self.from(from_clause)?;
        self.condition("WHERE ", where_clause.as_deref())?;
        self.returning(returning_clause.as_ref())
    }

    pub(super) fn delete(&mut self, delete: &DeleteStmt) -> Option<()> {
        let DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause } = delete;
        if let Some(with) = with_clause {
            self.with(with)?;
        }
        self.clause("DELETE FROM ");
        self.relation(relation.as_ref()?, " ")?;
        if !using_clause.is_empty() {
            self.clause("USING ");
            self.items(using_clause)?;
        }
        self.condition("WHERE ", where_clause.as_deref())?;
        self.returning(returning_clause.as_ref())
    }

    /// What an assignment or a column list names.
    fn assigned(&mut self, target: &ResTarget) -> Option<()> {
        let ResTarget { name, indirection, val: _, location: _ } = target;
        self.name(name);
        self.indirection(indirection)
    }

    /// A SET list. Several columns at once are left to pg_query.
    fn assignments(&mut self, targets: &[Node]) -> Option<()> {
        if targets.is_empty() {
            return Some(());
        }
        self.clause("SET ");
        self.list(targets, |printer, target| {
            let NodeEnum::ResTarget(target) = target.node.as_ref()? else { return None };
            printer.assigned(target)?;
            printer.put(" = ");
            printer.expression(target.val.as_deref()?, Rule::A)
        })
    }

    fn on_conflict(&mut self, conflict: &OnConflictClause) -> Option<()> {
        let OnConflictClause { action: _, infer, target_list, where_clause, location: _ } = conflict;
        self.clause("ON CONFLICT");
        if let Some(infer) = infer {
            self.infer(infer)?;
        }
        self.put(match conflict.action() {
            OnConflictAction::OnconflictNothing => " DO NOTHING",
            OnConflictAction::OnconflictUpdate => " DO UPDATE",
            OnConflictAction::OnconflictNone | OnConflictAction::Undefined => return None,
        });
        self.assignments(target_list)?;
        self.condition("WHERE ", where_clause.as_deref())
    }

    fn infer(&mut self, infer: &InferClause) -> Option<()> {
        let InferClause { index_elems, where_clause, conname, location: _ } = infer;
        if !index_elems.is_empty() {
            self.put(" (");
            self.list(index_elems, |printer, element| match element.node.as_ref()? {
                NodeEnum::IndexElem(element) => printer.index_element(element),
                _ => None,
            })?;
            self.put(")");
        }
        if !conname.is_empty() {
            self.put(" ON CONSTRAINT ");
            self.name(conname);
        }
        self.condition("WHERE ", where_clause.as_deref())
    }

    /// A column of an index. Expressions, collations and operator classes are left to pg_query.
    fn index_element(&mut self, element: &IndexElem) -> Option<()> {
        let IndexElem {
            name,
            expr: None,
            indexcolname: _,
            collation,
            opclass,
            opclassopts,
            ordering: _,
            nulls_ordering: _,
        } = element
        else {
            return None;
        };
        let plain = collation.is_empty()
            && opclass.is_empty()
            && opclassopts.is_empty()
            && element.ordering() == SortByDir::SortbyDefault
            && element.nulls_ordering() == SortByNulls::SortbyNullsDefault;
        self.name(name);
        plain.then_some(())
    }

    fn returning(&mut self, clause: Option<&ReturningClause>) -> Option<()> {
        let Some(ReturningClause { options, exprs }) = clause else { return Some(()) };
        self.clause("RETURNING ");
        self.targets(exprs)?;
        options.is_empty().then_some(())
    }
}
