//! What a judgement on functions can be.

use crate::catalog::Function;
use crate::policy::{Refusal, Rule};

/// The rule's name in messages, audit lines and metrics.
pub const RULE: Rule = Rule("function");

/// What is known of the functions that a call could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionVerdict {
    /// It may be called, qualified with this schema.
    Allowed {
        /// The schema that holds it.
        schema: String,
        /// The most volatile candidate's `provolatile`: i, s or v.
        volatility: char,
        /// A candidate returns a set.
        set_returning: bool,
        /// A candidate is an aggregate (ordered-set ones too, not window functions).
        aggregate: bool,
    },
    /// It depends on its arguments or on the session: the caller decides.
    Special(SpecialFunction),
    /// It may not be called, or there is none.
    Refused(Refusal),
}

/// Functions of `pg_catalog` that no list can decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialFunction {
    /// `nextval(regclass)`: a literal naming a sequence that the role may draw from.
    Nextval,
    /// `currval(regclass)`: shows the last value of the server session, whoever drew it.
    Currval,
    /// `lastval()`: the same, of any sequence.
    Lastval,
    /// `set_config(name, value, is_local)`: a SET with literal name, and a value known at Bind at the latest.
    SetConfig,
    /// `current_setting(name [, missing_ok])`: a SHOW; the name must be a literal of the allow-list.
    CurrentSetting,
    /// `pg_notify(channel, payload)`: channels are common to all tenants, so its name is made the tenant's.
    PgNotify,
    /// Advisory locks: keys are common to all tenants, so they are made the tenant's.
    AdvisoryLock(AdvisoryLock),
    /// `pg_sleep`, `pg_sleep_for`, `pg_sleep_until`: holds a server connection. Refused unless a rule allows it.
    PgSleep,
    /// `current_user()`, `session_user()`, `"user"()`, `getpgusername()`, `system_user()`: would show the proxy's
    /// own role at the server.
    CurrentUserLike,
    /// `to_regclass(text)`, `to_regrole(text)` and `regclass(text)`: a look-up in the catalog by a value.
    RegInput,
    /// `pg_input_is_valid(text, type)`, `pg_input_error_info(text, type)`: the second argument names a type, whose
    /// input function runs. Only a literal naming a base type of `pg_catalog` that is no reg* type.
    PgInputIsValid,
    /// `pg_get_serial_sequence(table, column)`: names a relation by text; reads the catalog alone.
    PgGetSerialSequence,
    /// `inet_client_addr()`, `inet_server_port()` and so on: would show the proxy's own connection.
    SessionAddress,
}

/// What a function on advisory locks does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdvisoryLock {
    /// Locks for the transaction (`pg_advisory_xact_lock`, `pg_try_advisory_xact_lock`, shared or not).
    Transaction,
    /// Locks for the server session, beyond the transaction.
    Session,
    /// Gives back a session's lock.
    Unlock,
    /// Gives back all of a session's locks: the leased server connection holds no one else's.
    UnlockAll,
}

impl FunctionVerdict {
    /// The function may be called.
    pub(super) fn allowed(function: &Function) -> Self {
        Self::Allowed {
            schema: function.schema.clone(),
            volatility: function.volatility,
            set_returning: function.returns_set,
            aggregate: function.kind == 'a',
        }
    }

    /// The verdict that holds for both of two overloads: a refusal before all, then what is special.
    pub(super) fn worse(self, right: Self) -> Self {
        use FunctionVerdict::{Allowed, Refused, Special};
        let rank = |v: char| "isv".find(v).unwrap_or(usize::MAX);
        match (self, right) {
            (refused @ Refused(_), _) | (_, refused @ Refused(_)) => refused,
            (special @ Special(_), _) | (_, special @ Special(_)) => special,
            (
                Allowed { schema, volatility: left, set_returning, aggregate },
                Allowed { volatility: right, set_returning: right_set, aggregate: right_aggregate, .. },
            ) => Allowed {
                schema,
                volatility: if rank(left) >= rank(right) { left } else { right },
                set_returning: set_returning || right_set,
                aggregate: aggregate || right_aggregate,
            },
        }
    }
}
