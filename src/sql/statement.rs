//! Which statements there are, and what is done with each kind. A kind that is not named here is refused.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CopyStmt, DeclareCursorStmt, DiscardMode, DiscardStmt, ExplainStmt, Node, SelectStmt, SetOperation,
    TransactionStmt, TransactionStmtKind, VariableSetStmt,
};

use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};

use super::bind::{Binder, kind_of, unsupported};
use super::build;
use super::channel;
use super::copy::Load;
use super::planned::{Argument, Discard, Lasting, SavepointDeed, StatementKind};
use super::settings::{self, Setting, SettingChange};

/// `CURSOR_OPT_HOLD` of parsenodes.h.
const CURSOR_HOLD: i32 = 0x0020;

/// What is to be done with a bound and rewritten statement.
pub(in crate::sql) enum Deed {
    /// Send it.
    Send { kind: StatementKind, needs_tenant: bool },
    /// Send it: it declares or closes this cursor.
    Cursor { kind: StatementKind, cursor: Option<Box<str>> },
    /// Settings of the server.
    Set(Vec<SettingChange>),
    /// A savepoint is set, released or rolled back to.
    Savepoint { deed: SavepointDeed, name: String },
    /// DISCARD.
    Discard(Discard),
    /// COPY FROM STDIN: send it, and change its rows like this; or insert them one by one.
    Load { load: Load, insert: Option<String> },
    /// The tenant token: the literal at this place.
    BindTenant { location: i32, local: bool },
    /// The tenant token is taken back.
    UnbindTenant,
    /// A statement is prepared under this name, with these types of parameters.
    Prepare { name: String, types: Vec<Oid> },
    /// A prepared statement is run.
    Execute { name: String, arguments: Vec<Argument> },
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
                self.may_set_config = is_of_values_alone(select);
                let calls = set_config_outputs(select);
                self.select(None, &[], select)?;
                if std::mem::take(&mut self.may_set_config) {
                    self.draws_outputs(select);
                }
                match std::mem::take(&mut self.set_config) {
                    changes if changes.is_empty() => send(StatementKind::Select),
                    // One within another expression might not be evaluated.
                    changes if changes.len() == calls => Ok(Deed::Set(changes)),
                    _ => Err(unsupported("set_config within another expression", -1)),
                }
            }
            Some(NodeEnum::InsertStmt(insert)) => {
                self.insert(&[], insert)?;
                self.draws_inserted(insert);
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
                old_form(copy)?;
                self.copy_to(copy)?;
                send(StatementKind::CopyOut)
            }
            Some(NodeEnum::CopyStmt(copy)) => {
                let (load, insert) = self.copy_from(copy)?;
                Ok(Deed::Load { load, insert })
            }
            Some(NodeEnum::TransactionStmt(transaction)) => transaction_deed(transaction),
            Some(NodeEnum::VariableSetStmt(set)) if set.name.eq_ignore_ascii_case("search_path") => {
                self.search_path(set)?;
                send(StatementKind::Other)
            }
            Some(NodeEnum::VariableSetStmt(set)) => set_statement(set),
            Some(NodeEnum::VariableShowStmt(show)) => {
                if show.name.eq_ignore_ascii_case("all") {
                    let message =
                        "SHOW ALL shows settings that are not on the list of those that may be read";
                    return Err(Refusal::new(SqlState::DENIED, settings::RULE, message)
                        .hint("Name the setting: SHOW name."));
                }
                if !settings::may_show(&show.name) {
                    return Err(settings::refused(&show.name, -1));
                }
                send(StatementKind::Show)
            }
            Some(NodeEnum::ExplainStmt(explain)) => self.explain(explain),
            Some(NodeEnum::DeclareCursorStmt(cursor)) => {
                self.declare(cursor)?;
                let held = cursor.options & CURSOR_HOLD != 0;
                let kind = if held { StatementKind::HeldCursor } else { StatementKind::Cursor };
                Ok(Deed::Cursor { kind, cursor: Some(cursor.portalname.as_str().into()) })
            }
            Some(NodeEnum::FetchStmt(_)) => send(StatementKind::Fetch),
            Some(NodeEnum::ClosePortalStmt(close)) => {
                let name = close.portalname.as_str();
                let cursor = (!name.is_empty()).then(|| name.into());
                Ok(Deed::Cursor { kind: StatementKind::CloseCursor, cursor })
            }
            Some(NodeEnum::DiscardStmt(discard)) => discarded(discard).map(Deed::Discard),
            Some(NodeEnum::ConstraintsSetStmt(constraints)) => {
                self.constraints(&mut constraints.constraints)?;
                send(StatementKind::Other)
            }
            Some(NodeEnum::ListenStmt(listen)) => {
                self.holds = Lasting::Takes;
                self.own_channel(&mut listen.conditionname);
                send(StatementKind::Listen)
            }
            Some(NodeEnum::UnlistenStmt(unlisten)) => {
                self.holds = Lasting::Releases;
                // Of all channels: the server session has none but this client's.
                if !unlisten.conditionname.is_empty() {
                    self.own_channel(&mut unlisten.conditionname);
                }
                send(StatementKind::Listen)
            }
            Some(NodeEnum::NotifyStmt(notify)) => {
                self.own_channel(&mut notify.conditionname);
                send(StatementKind::Notify)
            }
            Some(NodeEnum::LockStmt(lock)) => {
                self.lock_tables(lock)?;
                Ok(Deed::Send { kind: StatementKind::Other, needs_tenant: true })
            }
            Some(
                NodeEnum::TruncateStmt(_)
                | NodeEnum::DoStmt(_)
                | NodeEnum::CallStmt(_)
                | NodeEnum::VacuumStmt(_)
                | NodeEnum::LoadStmt(_),
            ) => Err(denied(&kind)),
            Some(NodeEnum::DeallocateStmt(statement)) => {
                let name = (!statement.isall).then(|| std::mem::take(&mut statement.name));
                Ok(Deed::Deallocate { name })
            }
            Some(NodeEnum::PrepareStmt(prepare)) => self.prepare(prepare),
            Some(NodeEnum::ExecuteStmt(execute)) => self.execute(execute),
            // Everything else defines, grants or maintains something.
            _ => Err(denied(&kind)),
        }
    }

    /// EXPLAIN of a statement: without costs, which are estimates over all tenants' rows, and never ANALYZE,
    /// which counts them.
    fn explain(&mut self, explain: &mut ExplainStmt) -> Result<Deed, Refusal> {
        let mut verbose = false;
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
                "verbose" => verbose = true,
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
        // VERBOSE shows what is computed, and so the sentinel of a guard that raises, which nobody may know.
        let shown = |what: &str| {
            let message = format!("EXPLAIN VERBOSE shows how {what} is guarded");
            Refusal::new(SqlState::DENIED, Rule("explain"), message)
        };
        if let Some(NodeEnum::ExecuteStmt(execute)) = &mut query.node {
            return if verbose { Err(shown("a prepared statement")) } else { self.execute(execute) };
        }
        self.statement_in(None, &[], query)?;
        if verbose && format!("{query:?}").contains(&self.policy.nonce) {
            return Err(shown("a statement that writes"));
        }
        Ok(Deed::Send { kind: StatementKind::Explain, needs_tenant: false })
    }

    fn declare(&mut self, cursor: &mut DeclareCursorStmt) -> Result<(), Refusal> {
        let Some(query) = &mut cursor.query else { return Err(unsupported("an empty cursor", -1)) };
        match &mut query.node {
            Some(NodeEnum::SelectStmt(select)) => self.select(None, &[], select).map(|_| ()),
            _ => Err(unsupported(&format!("a cursor over {}", kind_of(query)), -1)),
        }
    }

    /// Puts the tenant's channel in the place of the client's.
    fn own_channel(&mut self, name: &mut String) {
        let client = std::mem::replace(name, channel::PLACEHOLDER.to_owned());
        self.channel = Some(channel::cut(&client).to_owned());
        self.edit(build::NOWHERE, "the channel becomes the tenant's own");
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

/// `COPY BINARY t`, the form of before 7.3: its word stands before the relation.
fn old_form(copy: &CopyStmt) -> Result<(), Refusal> {
    let named = copy.relation.as_ref().map_or(i32::MIN, |relation| relation.location);
    let first = copy.options.iter().filter_map(|option| match &option.node {
        Some(NodeEnum::DefElem(option)) => Some(option.location),
        _ => None,
    });
    match first.min() {
        Some(word) if word < named => {
            Err(unsupported("the old form of COPY BINARY", word).hint("Write COPY … WITH (FORMAT binary)."))
        }
        _ => Ok(()),
    }
}

fn transaction_deed(transaction: &mut TransactionStmt) -> Result<Deed, Refusal> {
    let kind = TransactionStmtKind::try_from(transaction.kind).unwrap_or(TransactionStmtKind::Undefined);
    let savepoint = |deed| Ok(Deed::Savepoint { deed, name: transaction.savepoint_name.clone() });
    let kind = match kind {
        TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => StatementKind::Begin,
        TransactionStmtKind::TransStmtCommit | TransactionStmtKind::TransStmtRollback
            if transaction.chain =>
        {
            StatementKind::Chain
        }
        TransactionStmtKind::TransStmtCommit => StatementKind::Commit,
        TransactionStmtKind::TransStmtRollback => StatementKind::Rollback,
        TransactionStmtKind::TransStmtSavepoint => return savepoint(SavepointDeed::Set),
        TransactionStmtKind::TransStmtRelease => return savepoint(SavepointDeed::Release),
        TransactionStmtKind::TransStmtRollbackTo => return savepoint(SavepointDeed::RollbackTo),
        TransactionStmtKind::TransStmtPrepare
        | TransactionStmtKind::TransStmtCommitPrepared
        | TransactionStmtKind::TransStmtRollbackPrepared
        | TransactionStmtKind::Undefined => {
            return Err(unsupported("a two-phase transaction", transaction.location));
        }
    };
    Ok(Deed::Send { kind, needs_tenant: false })
}

/// A SELECT that evaluates each of its outputs exactly once.
fn is_of_values_alone(select: &SelectStmt) -> bool {
    select.op == SetOperation::SetopNone as i32
        && select.from_clause.is_empty()
        && select.values_lists.is_empty()
        && select.with_clause.is_none()
        && select.where_clause.is_none()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
}

/// How many outputs are calls of `set_config`.
fn set_config_outputs(select: &SelectStmt) -> usize {
    let is_call = |target: &&Node| match &target.node {
        Some(NodeEnum::ResTarget(target)) => match target.val.as_deref().map(|value| &value.node) {
            Some(Some(NodeEnum::FuncCall(call))) => {
                build::names(&call.funcname).is_some_and(|name| name.last() == Some(&"set_config"))
            }
            _ => false,
        },
        _ => false,
    };
    select.target_list.iter().filter(is_call).count()
}

fn discarded(discard: &DiscardStmt) -> Result<Discard, Refusal> {
    match DiscardMode::try_from(discard.target) {
        Ok(DiscardMode::DiscardAll) => Ok(Discard::All),
        Ok(DiscardMode::DiscardPlans) => Ok(Discard::Plans),
        Ok(DiscardMode::DiscardSequences) => Ok(Discard::Sequences),
        Ok(DiscardMode::DiscardTemp) => Ok(Discard::Temp),
        Ok(DiscardMode::Undefined) | Err(_) => Err(unsupported("this DISCARD", -1)),
    }
}

fn set_statement(set: &VariableSetStmt) -> Result<Deed, Refusal> {
    Ok(match settings::judge(set)? {
        Setting::Server(changes) => Deed::Set(changes),
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
