//! A refusal: what a client is told, and what the audit log and the metrics call it.

use std::fmt;

/// A five-character SQLSTATE (PostgreSQL, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

impl SqlState {
    /// insufficient_privilege: the policy says no.
    pub const DENIED: Self = Self("42501");
    /// feature_not_supported: the form is not provably safe.
    pub const NOT_SUPPORTED: Self = Self("0A000");
    /// syntax_error.
    pub const SYNTAX: Self = Self("42601");
    /// undefined_table; also for what exists and is denied.
    pub const UNDEFINED_TABLE: Self = Self("42P01");
    /// undefined_column.
    pub const UNDEFINED_COLUMN: Self = Self("42703");
    /// ambiguous_column.
    pub const AMBIGUOUS_COLUMN: Self = Self("42702");
    /// undefined_function (and operator).
    pub const UNDEFINED_FUNCTION: Self = Self("42883");
    /// undefined_object (types, settings).
    pub const UNDEFINED_OBJECT: Self = Self("42704");
    /// invalid_column_reference.
    pub const INVALID_COLUMN_REFERENCE: Self = Self("42P10");
    /// statement_too_complex.
    pub const TOO_COMPLEX: Self = Self("54001");
    /// program_limit_exceeded.
    pub const TOO_LARGE: Self = Self("54000");
    /// character_not_in_repertoire.
    pub const BAD_ENCODING: Self = Self("22021");
    /// invalid_authorization_specification.
    pub const NO_AUTHORIZATION: Self = Self("28000");
    /// invalid_password.
    pub const BAD_PASSWORD: Self = Self("28P01");
    /// protocol_violation.
    pub const PROTOCOL: Self = Self("08P01");
    /// connection_failure.
    pub const CONNECTION_FAILURE: Self = Self("08006");
    /// sqlserver_rejected_establishment_of_sqlconnection: TLS required.
    pub const TLS_REQUIRED: Self = Self("08004");
    /// too_many_connections.
    pub const TOO_MANY: Self = Self("53300");
    /// query_canceled.
    pub const CANCELED: Self = Self("57014");
    /// admin_shutdown.
    pub const SHUTDOWN: Self = Self("57P01");
    /// in_failed_sql_transaction.
    pub const FAILED_TRANSACTION: Self = Self("25P02");
    /// active_sql_transaction.
    pub const ACTIVE_TRANSACTION: Self = Self("25001");
    /// invalid_sql_statement_name.
    pub const UNDEFINED_STATEMENT: Self = Self("26000");
    /// duplicate_prepared_statement.
    pub const DUPLICATE_STATEMENT: Self = Self("42P05");
    /// invalid_cursor_name.
    pub const UNDEFINED_CURSOR: Self = Self("34000");
    /// duplicate_cursor.
    pub const DUPLICATE_CURSOR: Self = Self("42P03");
    /// invalid_parameter_value.
    pub const INVALID_PARAMETER: Self = Self("22023");
    /// internal_error.
    pub const INTERNAL: Self = Self("XX000");
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The rule that decided, as it stands in messages (`[access]`), audit lines and metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule(pub &'static str);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a statement does not run. The message a client sees is `pgbulkhead: <message> [<rule>]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pgbulkhead: {message} [{rule}]")]
pub struct Refusal {
    /// SQLSTATE of the answer.
    pub state: SqlState,
    /// The rule that decided.
    pub rule: Rule,
    /// What and why, in a sentence without its full stop.
    pub message: String,
    /// DETAIL.
    pub detail: Option<String>,
    /// HINT: what the reader can do.
    pub hint: Option<String>,
    /// Byte offset into the client's statement.
    pub position: Option<usize>,
    /// What the operator is to look at, where a rewritten statement did not pass verification. Never told to
    /// the client.
    pub quarantined: Option<Box<Quarantined>>,
}

/// A statement whose rewritten text did not pass: for the quarantine file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The client's statement.
    pub original: String,
    /// The text that would have been sent, with the tenant as a parameter.
    pub rewritten: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Refusal {
    /// A refusal with a message alone.
    pub fn new(state: SqlState, rule: Rule, message: impl Into<String>) -> Self {
        Self {
            state,
            rule,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            quarantined: None,
        }
    }

    /// The same with a HINT.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a DETAIL.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with the place in the client's text; a negative location means none, as in PostgreSQL's
    /// trees.
    #[must_use]
    pub fn at(mut self, location: i32) -> Self {
        self.position = usize::try_from(location).ok();
        self
    }
}
