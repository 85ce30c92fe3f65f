//! What planning a statement gives: what to do with it, what to check when its values are known, and the
//! decision as it is told.

use std::sync::Arc;

use crate::catalog::Oid;
use crate::config::model::Operation;
use crate::policy::Rule;

use super::VerifiedSql;
use super::copy::Load;
use super::leaksafe::BindCheck;
use super::sequences::Sequences;
use super::settings::SettingChange;
use super::shape::Pin;

/// A planned statement.
#[derive(Debug)]
pub struct Planned {
    /// What the session does with it.
    pub action: Action,
    /// Parameters of the client's statement: the highest `$n` used (the client's declared types may be more).
    pub parameters: u16,
    /// Type of the tenant's parameter, where `sql` uses the tenant.
    pub tenant_type: Option<Oid>,
    /// What the values of parameters must satisfy at Bind, where a bare condition relies on it.
    pub bind_checks: Vec<BindCheck>,
    /// The plan for values that do not satisfy them: such conditions wait behind the guard.
    pub cautious: Option<Box<Planned>>,
    /// What it leaves to the server session beyond its transaction, or takes from it.
    pub holds: Lasting,
    /// What it draws from sequences, and which last values it asks for; none for most.
    pub sequences: Option<Box<Sequences>>,
    /// Literals that a decision looked at: the plan holds for exactly these tokens.
    pub pins: Vec<Pin>,
    /// COPY FROM STDIN only: how its rows become the tenant's.
    pub load: Option<Arc<Load>>,
    /// The decision as audit, metrics and `explain` tell it.
    pub decision: Decision,
}

impl Planned {
    /// Bytes of its strings and lists, for a cache's bound (an estimate).
    pub fn bytes(&self) -> usize {
        let action = match &self.action {
            Action::Send { sql, .. } => sql.bytes(),
            Action::Set { sql, changes } => sql.bytes() + changes.len().saturating_mul(128),
            Action::Savepoint { sql, name, .. } => sql.bytes() + name.len(),
            Action::Prepare { name, types } => name.len() + types.len().saturating_mul(4),
            Action::Execute(execute) => {
                execute.name.len()
                    + execute.plain.bytes()
                    + execute.tenanted.bytes()
                    + execute.arguments.len().saturating_mul(16)
            }
            Action::Empty
            | Action::BindTenant { .. }
            | Action::UnbindTenant
            | Action::Deallocate { .. }
            | Action::Discard(_) => 0,
        };
        let Decision { reason, relations, edits, .. } = &self.decision;
        action
            + reason.len()
            + relations.iter().map(|(name, _)| name.len() + 32).sum::<usize>()
            + edits.iter().map(|edit| edit.reason.len() + 40).sum::<usize>()
            + self.pins.iter().map(|pin| pin.token.len() + 32).sum::<usize>()
            + self.bind_checks.len().saturating_mul(64)
            + self.cautious.as_ref().map_or(0, |cautious| cautious.bytes())
            + self.load.as_ref().map_or(0, |load| load.bytes())
            + self.sequences.as_ref().map_or(0, |sequences| sequences.bytes())
    }
}

/// What a session does with a planned statement.
#[derive(Debug)]
pub enum Action {
    /// Nothing: an empty query (no statement, or only comments).
    Empty,
    /// Send this SQL.
    Send {
        /// The statement to send.
        sql: VerifiedSql,
        /// What it is.
        kind: StatementKind,
        /// Needs a bound tenant even where the text does not use one.
        needs_tenant: bool,
        /// The cursor that a DECLARE or CLOSE names.
        cursor: Option<Box<str>>,
    },
    /// `SET`, `RESET` or `set_config` of allowed settings: sent, and remembered by the session.
    Set {
        /// The statement to send.
        sql: VerifiedSql,
        /// What it changes, in order.
        changes: Vec<SettingChange>,
    },
    /// `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`: sent, and what the session has set since goes with it.
    Savepoint {
        /// The statement to send.
        sql: VerifiedSql,
        /// Which of them.
        deed: SavepointDeed,
        /// The savepoint's name.
        name: String,
    },
    /// `DISCARD`: never sent as it is, since what it would discard belongs to other sessions too.
    Discard(Discard),
    /// `SET [LOCAL] pgbulkhead.tenant_token = '…'`: never sent.
    BindTenant {
        /// Index of the literal that holds the token.
        literal: usize,
        /// `SET LOCAL`.
        local: bool,
    },
    /// `RESET pgbulkhead.tenant_token`: never sent.
    UnbindTenant,
    /// `PREPARE name (types) AS …`: the session prepares the statement as one that the protocol names.
    Prepare {
        /// The statement's name.
        name: String,
        /// The declared types of its parameters.
        types: Vec<Oid>,
    },
    /// `EXECUTE name (…)`, or EXPLAIN of one.
    Execute(Box<Execute>),
    /// `DEALLOCATE`, also of a name that the protocol prepared: never sent, since a client's names are its
    /// session's own.
    Deallocate {
        /// The statement's name; none: all of the session's.
        name: Option<String>,
    },
}

/// What a statement does with a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavepointDeed {
    /// SAVEPOINT.
    Set,
    /// RELEASE.
    Release,
    /// ROLLBACK TO.
    RollbackTo,
}

/// What a DISCARD discards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// DISCARD ALL: what the session holds.
    All,
    /// DISCARD PLANS: nothing that a client could see.
    Plans,
    /// DISCARD SEQUENCES: what currval and lastval would show.
    Sequences,
    /// DISCARD TEMP: there are no temporary tables.
    Temp,
}

/// An `EXECUTE`. The statement that it runs is the session's: its name is not the server's, and it takes the
/// tenant behind the client's own values where it needs one.
#[derive(Debug)]
pub struct Execute {
    /// The client's name of the prepared statement.
    pub name: String,
    /// What is sent for a statement that does not need the tenant.
    pub plain: VerifiedSql,
    /// What is sent for one that does.
    pub tenanted: VerifiedSql,
    /// The client's values.
    pub arguments: Vec<Argument>,
}

/// A value of an `EXECUTE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// The client's literal of this number.
    Literal(usize),
    /// NULL.
    Null,
    /// An expression, which the server evaluates.
    Expression,
}

/// What kind of statement is sent, as far as a session or the audit log cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// COPY … TO STDOUT.
    CopyOut,
    /// COPY … FROM STDIN.
    CopyIn,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END (without AND CHAIN).
    Commit,
    /// ROLLBACK, ABORT (without AND CHAIN).
    Rollback,
    /// COMMIT or ROLLBACK with AND CHAIN.
    Chain,
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint,
    /// SHOW of an allowed setting.
    Show,
    /// EXPLAIN.
    Explain,
    /// DECLARE of a cursor that ends with its transaction.
    Cursor,
    /// DECLARE of a cursor WITH HOLD.
    HeldCursor,
    /// FETCH, MOVE.
    Fetch,
    /// CLOSE.
    CloseCursor,
    /// LISTEN, UNLISTEN.
    Listen,
    /// NOTIFY.
    Notify,
    /// Anything else that is allowed.
    Other,
}

impl StatementKind {
    /// Whether it reads or writes rows and does nothing else: no transaction, setting, cursor or channel is changed.
    #[inline]
    pub fn is_of_rows(self) -> bool {
        matches!(self, Self::Select | Self::Insert | Self::Update | Self::Delete | Self::Merge)
    }
}

/// What a statement does to what a server session keeps beyond a transaction: advisory locks, channels that it
/// listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lasting {
    /// Nothing.
    Nothing,
    /// It may give some of it back.
    Releases,
    /// It may add to it.
    Takes,
}

/// The decision on a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The rule that decided it.
    pub rule: Rule,
    /// Why, in a sentence.
    pub reason: String,
    /// What is touched and how.
    pub relations: Vec<(String, Operation)>,
    /// Each edit with its reason, in order.
    pub edits: Vec<Edit>,
    /// What the witness said.
    pub witnessed: Witnessed,
}

/// One edit of the rewriting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Byte offset in the client's text, where there is one.
    pub position: Option<usize>,
    /// What was done and why.
    pub reason: String,
}

/// What the second parser said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witnessed {
    /// It found every predicate itself.
    Agrees,
    /// It cannot read the statement.
    CannotRead,
    /// The rewriter touches no relation, and it has found none.
    NoRelation,
}
