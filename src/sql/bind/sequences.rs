//! Calls on sequences, and what a bound statement draws for certain ([`crate::sql::sequences`] says why it matters).

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, InsertStmt, Node, OverridingKind, SelectStmt};

use crate::catalog::{Relation, RelationKind};
use crate::config::model::{Operation, SequenceAccess};
use crate::policy::{Refusal, SqlState, Tenancy};
use crate::sql::arguments::{identifiers, parameter_argument, string_constant};
use crate::sql::functions::RULE;
use crate::sql::seen::place;
use crate::sql::sequences::{Asked, Named, Sequences, undefined};

use super::super::build;
use super::Binder;

impl Binder<'_> {
    /// `nextval('sequence')`: of a sequence that a column owns, where the role may insert into its table (an
    /// INSERT would show the same), or of one that a rule lists.
    pub fn nextval(&mut self, call: &FuncCall) -> Result<(), Refusal> {
        let Some((text, at)) = call.args.first().and_then(name_argument) else {
            let message = "nextval needs its sequence as a literal";
            return Err(Refusal::new(SqlState::DENIED, RULE, message).at(place(call.location)));
        };
        self.pin(at);
        let sequence = self.sequence(&text, at)?;
        if !self.may_use(&sequence, SequenceAccess::Nextval) {
            let message = format!("sequence {}.{} may not be drawn from", sequence.schema, sequence.name);
            return Err(Refusal::new(SqlState::DENIED, RULE, message)
                .hint("List it under [[sequences]] with access = [\"nextval\"].")
                .at(place(call.location)));
        }
        self.drawn.push(sequence.oid);
        Ok(())
    }

    /// `currval('sequence')`, or of a parameter: of the same sequences. Whether there is such a value, the session
    /// knows.
    pub fn currval(&mut self, call: &FuncCall) -> Result<(), Refusal> {
        let location = place(call.location);
        if let Some((text, at)) = call.args.first().and_then(name_argument) {
            self.pin(at);
            let sequence = self.sequence(&text, at)?;
            if !self.may_use(&sequence, SequenceAccess::Currval) {
                let message = format!("sequence {}.{} may not be asked for", sequence.schema, sequence.name);
                return Err(Refusal::new(SqlState::DENIED, RULE, message)
                    .hint("List it under [[sequences]] with access = [\"currval\"].")
                    .at(location));
            }
            self.asks.push(Asked::Of(self.named(&sequence)));
            return Ok(());
        }
        let Some(number) = call.args.first().and_then(sequence_parameter) else {
            let message = "currval needs its sequence as a literal or a parameter";
            return Err(Refusal::new(SqlState::DENIED, RULE, message).at(location));
        };
        let all = self.catalog.relations().filter(|relation| {
            relation.kind == RelationKind::Sequence && self.may_use(relation, SequenceAccess::Currval)
        });
        let named: Arc<[Named]> = all.map(|relation| self.named(relation)).collect();
        self.asks.push(Asked::Parameter(number, named));
        Ok(())
    }

    fn named(&self, sequence: &Relation) -> Named {
        let found = self.catalog.find_relation(None, &sequence.name);
        Named {
            oid: sequence.oid,
            schema: sequence.schema.clone(),
            name: sequence.name.clone(),
            in_path: found.is_some_and(|found| found.oid == sequence.oid),
        }
    }

    fn sequence(&self, text: &str, at: i32) -> Result<Arc<Relation>, Refusal> {
        let path = identifiers(text).unwrap_or_default();
        let (schema, name) = match path.as_slice() {
            [name] => (None, name.as_str()),
            [schema, name] => (Some(schema.as_str()), name.as_str()),
            _ => (None, ""),
        };
        let found = self.catalog.find_relation(schema, name);
        let sequence = found.filter(|relation| relation.kind == RelationKind::Sequence);
        sequence.cloned().ok_or_else(|| undefined(text).at(at))
    }

    fn may_use(&self, sequence: &Relation, access: SequenceAccess) -> bool {
        let owner = sequence.owned_by.and_then(|(table, _)| self.catalog.relation(table));
        self.policy.sequence_access(sequence.oid).contains(&access)
            || owner.is_some_and(|table| {
                !matches!(self.policy.tenancy(table.oid), Tenancy::Denied)
                    && self.policy.access(self.role, table).allows(Operation::Insert)
            })
    }

    /// Writes down what a SELECT of nothing but values has drawn, once it is bound.
    pub fn draws_outputs(&mut self, select: &SelectStmt) {
        let (outputs, all) = (outputs_drawn(select), select.target_list.len());
        // One within another expression might not be evaluated; beside a function that returns a set, neither.
        if self.drawn.len() == outputs && outputs == all {
            self.sequences.draws.append(&mut self.drawn);
        } else if self.drawn.len() == outputs {
            self.sequences.draws_with_rows.append(&mut self.drawn);
        }
    }

    /// Writes down what an INSERT has drawn, once it is rewritten.
    pub fn draws_inserted(&mut self, insert: &InsertStmt) {
        let values = values_drawn(insert);
        if values > 0 && self.drawn.len() == values {
            self.sequences.draws.append(&mut self.drawn);
        }
        let Some(name) = &insert.relation else { return };
        let Some(relation) = self.catalog.find_relation(Some(&name.schemaname), &name.relname) else {
            return;
        };
        let source = match insert.select_stmt.as_deref().map(|source| &source.node) {
            Some(Some(NodeEnum::SelectStmt(select))) => Some(select.as_ref()),
            _ => None,
        };
        let rows = source.map(|select| select.values_lists.as_slice()).unwrap_or_default();
        // Instead of what is given for an identity column the default is used then.
        let overrides = insert.r#override == OverridingKind::OverridingUserValue as i32;
        for column in &relation.columns {
            let Some(sequence) = self.catalog.drawn_by_default(relation.oid, column.number) else { continue };
            let place = insert.cols.iter().position(|target| is_target(target, &column.name));
            let by_default = match place {
                None => true,
                Some(place) => !overrides && rows.first().is_some_and(|row| is_default(row, place)),
            };
            if by_default && (source.is_none() || !rows.is_empty()) {
                self.sequences.draws.push(sequence);
            } else if by_default {
                self.sequences.draws_with_rows.push(sequence);
            }
        }
    }

    /// What the statement has to do with sequences.
    pub fn sequences(&mut self) -> Option<Box<Sequences>> {
        let mut sequences = std::mem::take(&mut self.sequences);
        sequences.asks = std::mem::take(&mut self.asks);
        (sequences != Sequences::default()).then(|| Box::new(sequences))
    }
}

/// How many outputs of a bound SELECT are calls of nextval.
fn outputs_drawn(select: &SelectStmt) -> usize {
    let is_drawn = |target: &&Node| match &target.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(is_nextval),
        _ => false,
    };
    select.target_list.iter().filter(is_drawn).count()
}

/// How many values of a bound INSERT's rows are calls of nextval.
fn values_drawn(insert: &InsertStmt) -> usize {
    let Some(Some(NodeEnum::SelectStmt(select))) = insert.select_stmt.as_deref().map(|source| &source.node)
    else {
        return 0;
    };
    let drawn = |row: &Node| match &row.node {
        Some(NodeEnum::List(row)) => row.items.iter().filter(|value| is_nextval(value)).count(),
        _ => 0,
    };
    select.values_lists.iter().map(drawn).sum()
}

/// What is bound has its schema.
fn is_nextval(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::FuncCall(call)) => {
            build::names(&call.funcname).is_some_and(|names| names == ["pg_catalog", "nextval"])
        }
        _ => false,
    }
}

fn is_target(node: &Node, name: &str) -> bool {
    matches!(&node.node, Some(NodeEnum::ResTarget(target)) if target.name == name)
}

fn is_default(row: &Node, place: usize) -> bool {
    match &row.node {
        Some(NodeEnum::List(row)) => {
            row.items.get(place).is_some_and(|value| matches!(value.node, Some(NodeEnum::SetToDefault(_))))
        }
        _ => false,
    }
}

/// A name as a literal, also cast (to regclass, which is what it becomes).
fn name_argument(node: &Node) -> Option<(String, i32)> {
    match &node.node {
        Some(NodeEnum::TypeCast(cast)) => string_constant(cast.arg.as_ref()?),
        _ => string_constant(node),
    }
}

/// A parameter that stands for itself: any cast would have another type decide how it is read.
fn sequence_parameter(node: &Node) -> Option<u16> {
    match &node.node {
        Some(NodeEnum::ParamRef(_)) => parameter_argument(node),
        _ => None,
    }
}
