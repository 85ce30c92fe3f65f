//! Which statements there are, and what is done with each kind. A kind that is not named here is refused.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeclareCursorStmt, ExplainStmt, Node, SetOperation, TransactionStmt, TransactionStmtKind, VariableSetStmt,
};

use crate::policy::{Refusal, Rule, SqlState};

use super::bind::{Binder, kind_of, unsupported};
use super::build;
use super::planned::StatementKind;
use super::settings::{self, Setting};

/// `CURSOR_OPT_HOLD` of parsenodes.h.
const CURSOR_HOLD: i32 = 0x0020;

/// What is to be done with a bound and rewritten statement.
pub(in crate::sql) enum Deed {
    /// Send it.
    Send { kind: StatementKind, needs_tenant: bool },
    /// A setting of the server.
    Set { name: String, value: Option<String>, local: bool },
    /// The tenant token: the literal at this place.
    BindTenant { location: i32, local: bool },
    /// The tenant token is taken back.
    UnbindTenant,
    /// A prepared statement is forgotten; none: all of them.
    Deallocate { name: Option<String> },
}

impl Binder<'_> {
    /// Binds, decides on and rewrites a whole statement.
    pub fn whole_statement(&mut self, node: &mut Node) -> Result<Deed, Refusal> {
        let kind = kind_of(node);
        let send = |kind| Ok(Deed::Send { kind, needs_tenant: false });
        match &mut node.node {
            Some(NodeEnum::SelectStmt(select)) => {
                self.may_set_config = select.from_clause.is_empty()
                    && select.op == SetOperation::SetopNone as i32
                    && select.with_clause.is_none()
                    && select.where_clause.is_none();
                self.select(None, &[], select)?;
                match self.set_config.take() {
                    Some((name, value, local)) => {
                        Ok(Deed::Set { name, value: Some(settings::quoted(&value)), local })
                    }
                    None => send(StatementKind::Select),
                }
            }
            Some(NodeEnum::InsertStmt(insert)) => {
                self.insert(&[], insert)?;
                send(StatementKind::Insert)
            }
            Some(NodeEnum::UpdateStmt(update)) => {
                self.update(&[], update)?;
                send(StatementKind::Update)
            }
            Some(NodeEnum::DeleteStmt(delete)) => {
                self.delete(&[], delete)?;
                send(StatementKind::Delete)
            }
            Some(NodeEnum::MergeStmt(merge)) => {
                self.merge(&[], merge)?;
                send(StatementKind::Merge)
            }
            Some(NodeEnum::CopyStmt(copy)) if !copy.is_from => {
                self.copy_to(copy)?;
                send(StatementKind::CopyOut)
            }
            Some(NodeEnum::CopyStmt(_)) => Err(unsupported("COPY FROM", -1)),
            Some(NodeEnum::TransactionStmt(transaction)) => transaction_kind(transaction).and_then(send),
            Some(NodeEnum::VariableSetStmt(set)) => set_statement(set),
            Some(NodeEnum::VariableShowStmt(show)) => {
                if !settings::may_show(&show.name) {
                    return Err(settings::refused(&show.name, -1));
                }
                send(StatementKind::Show)
            }
            Some(NodeEnum::ExplainStmt(explain)) => {
                self.explain(explain)?;
                send(StatementKind::Explain)
            }
            Some(NodeEnum::DeclareCursorStmt(cursor)) => {
                self.declare(cursor)?;
                send(StatementKind::Cursor)
            }
            Some(NodeEnum::FetchStmt(_)) => send(StatementKind::Cursor),
            Some(NodeEnum::ClosePortalStmt(close)) if !close.portalname.is_empty() => {
                send(StatementKind::Cursor)
            }
            Some(NodeEnum::ConstraintsSetStmt(constraints)) => {
                self.constraints(&mut constraints.constraints)?;
                send(StatementKind::Other)
            }
            Some(
                NodeEnum::TruncateStmt(_)
                | NodeEnum::LockStmt(_)
                | NodeEnum::DoStmt(_)
                | NodeEnum::CallStmt(_)
                | NodeEnum::VacuumStmt(_)
                | NodeEnum::LoadStmt(_)
                | NodeEnum::ListenStmt(_)
                | NodeEnum::NotifyStmt(_)
                | NodeEnum::UnlistenStmt(_)
                | NodeEnum::DiscardStmt(_),
            ) => Err(denied(&kind)),
            Some(NodeEnum::DeallocateStmt(statement)) => {
                let name = (!statement.isall).then(|| std::mem::take(&mut statement.name));
                Ok(Deed::Deallocate { name })
            }
            Some(NodeEnum::PrepareStmt(_) | NodeEnum::ExecuteStmt(_)) => {
                Err(unsupported("PREPARE in SQL", -1)
                    .hint("Prepare statements by the protocol, as drivers do."))
            }
            // Everything else defines, grants or maintains something.
            _ => Err(denied(&kind)),
        }
    }

    /// EXPLAIN of a statement: without costs, which are estimates over all tenants' rows, and never ANALYZE,
    /// which counts them.
    fn explain(&mut self, explain: &mut ExplainStmt) -> Result<(), Refusal> {
        for option in &explain.options {
            let Some(NodeEnum::DefElem(option)) = &option.node else {
                return Err(unsupported(&kind_of(option), -1));
            };
            let off = matches!(
                option.arg.as_deref().map(|a| &a.node),
                Some(Some(NodeEnum::String(value))) if matches!(value.sval.to_ascii_lowercase().as_str(), "off" | "false" | "0")
            );
            match option.defname.as_str() {
                "costs" | "format" => {}
                _ if off => {}
                name => {
                    let message = format!("EXPLAIN's option {name} shows what other tenants' rows cost");
                    return Err(Refusal::new(SqlState::DENIED, Rule("explain"), message).at(option.location));
                }
            }
        }
        explain.options.retain(|o| !matches!(&o.node, Some(NodeEnum::DefElem(o)) if o.defname == "costs"));
        explain.options.push(build::node(NodeEnum::DefElem(Box::new(pg_query::protobuf::DefElem {
            defname: "costs".to_owned(),
            arg: Some(build::boxed(NodeEnum::String(pg_query::protobuf::String { sval: "off".to_owned() }))),
            defaction: pg_query::protobuf::DefElemAction::DefelemUnspec as i32,
            location: build::NOWHERE,
            ..pg_query::protobuf::DefElem::default()
        }))));
        self.edit(build::NOWHERE, "EXPLAIN shows no costs: they are estimates over all tenants' rows");
        let Some(query) = &mut explain.query else { return Err(unsupported("an empty EXPLAIN", -1)) };
        self.statement_in(None, &[], query).map(|_| ())
    }

    fn declare(&mut self, cursor: &mut DeclareCursorStmt) -> Result<(), Refusal> {
        if cursor.options & CURSOR_HOLD != 0 {
            return Err(unsupported("a cursor WITH HOLD", -1));
        }
        let Some(query) = &mut cursor.query else { return Err(unsupported("an empty cursor", -1)) };
        match &mut query.node {
            Some(NodeEnum::SelectStmt(select)) => self.select(None, &[], select).map(|_| ()),
            _ => Err(unsupported(&format!("a cursor over {}", kind_of(query)), -1)),
        }
    }

    /// SET CONSTRAINTS names constraints, which are nobody's data; their schema must not be guessed.
    fn constraints(&mut self, names: &mut [Node]) -> Result<(), Refusal> {
        for name in names {
            match &name.node {
                Some(NodeEnum::RangeVar(name)) if name.catalogname.is_empty() => {}
                _ => return Err(unsupported(&kind_of(name), -1)),
            }
        }
        Ok(())
    }
}

fn transaction_kind(transaction: &TransactionStmt) -> Result<StatementKind, Refusal> {
    let kind = TransactionStmtKind::try_from(transaction.kind).unwrap_or(TransactionStmtKind::Undefined);
    if transaction.chain {
        return Err(unsupported("AND CHAIN", transaction.location));
    }
    match kind {
        TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => Ok(StatementKind::Begin),
        TransactionStmtKind::TransStmtCommit => Ok(StatementKind::Commit),
        TransactionStmtKind::TransStmtRollback => Ok(StatementKind::Rollback),
        TransactionStmtKind::TransStmtSavepoint
        | TransactionStmtKind::TransStmtRelease
        | TransactionStmtKind::TransStmtRollbackTo => Ok(StatementKind::Savepoint),
        TransactionStmtKind::TransStmtPrepare
        | TransactionStmtKind::TransStmtCommitPrepared
        | TransactionStmtKind::TransStmtRollbackPrepared
        | TransactionStmtKind::Undefined => Err(unsupported("a two-phase transaction", transaction.location)),
    }
}

fn set_statement(set: &VariableSetStmt) -> Result<Deed, Refusal> {
    Ok(match settings::judge(set)? {
        Setting::Server { name, value, local } => Deed::Set { name, value, local },
        Setting::Token { location: Some(location), local } => Deed::BindTenant { location, local },
        Setting::Token { location: None, .. } => Deed::UnbindTenant,
        Setting::Transaction => Deed::Send { kind: StatementKind::Other, needs_tenant: false },
    })
}

fn denied(kind: &str) -> Refusal {
    let what = kind.trim_end_matches("Stmt");
    Refusal::new(SqlState::DENIED, Rule("statement"), format!("a statement of kind {what} is refused")).hint(
        "Application roles read and write rows; schema changes and maintenance go to the server directly.",
    )
}

/// The literal that a place of the tree is, for the tenant token.
pub(in crate::sql) fn literal_index(
    statement: &super::Statement<'_>,
    location: i32,
) -> Result<usize, Refusal> {
    statement.literal_at(location).ok_or_else(|| {
        Refusal::new(
            SqlState::INVALID_PARAMETER,
            settings::RULE,
            "the tenant token is one plain string literal",
        )
    })
}
