//! What a session asks of its surroundings. The worker answers it with its plan table, its pool and its
//! clock; a test answers it with tables of its own.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::outgoing::{Prepared, RenderedText, SettingText};
use super::reports::Report;
use super::server::Server;
use super::statement::Statement;
use crate::auth::scram::Exchange;
use crate::auth::{AuthError, BoundToken, Principal};
use crate::catalog::Oid;
use crate::plan::{Outcome, Plan};
use crate::policy::{Refusal, TenantId};

/// The surroundings of a session. No call waits: what takes time is wanted by a
/// [`Want`](super::Want) and given later.
pub trait Host {
    /// The first statement of `text` that begins at byte `from` or later, looked up for the principal's
    /// role and the parameter types that the client declared (none in a simple query). A refusal is the normaliser's own (bounds, encoding).
    fn next_statement<'t>(
        &mut self,
        who: &Principal,
        text: &'t str,
        from: usize,
        declared: &[Oid],
    ) -> Result<Option<Found<'t>>, Refusal>;

    /// The plan of a text that is one statement, where one was seen before that differs from it in literals only.
    /// What is not found here is found by [`Self::next_statement`] all the same. No text with a NUL in it is found.
    fn seen<'t>(&mut self, who: &Principal, text: &'t str) -> Option<Seen<'t>> {
        let _ = (who, text);
        None
    }

    /// Moves whenever plans that were made before must not be used any more.
    fn epoch(&self) -> u64;

    /// The refusal that a server's error of code 22P02 stands for, where a guard of the rewritten statement
    /// raised it; and of one that has no object of a name (42P01 and the like), where that is an index which the
    /// statement was planned to find.
    fn raised(&self, code: &[u8], message: &str) -> Option<Refusal>;

    /// A server connection, if one is free at once for this tenant (none: nobody's yet).
    fn lease(&mut self, tenant: Option<&TenantId>) -> Option<Box<Server>>;

    /// The lease is going to be kept beyond its transaction (a cursor WITH HOLD, a session's advisory lock, LISTEN), until
    /// it is given back; false where too many are.
    fn hold(&mut self) -> bool {
        true
    }

    /// The server-side statement for this rendered text and these parameter types, shared by all sessions.
    fn intern(&mut self, text: RenderedText, types: &[Oid]) -> Rc<Prepared>;

    /// The same, or the one that has taken its place since its columns have changed.
    fn renewed(&mut self, prepared: &Rc<Prepared>) -> Rc<Prepared> {
        match prepared.is_retired() {
            true => self.intern(prepared.rendered(), prepared.types()),
            false => prepared.clone(),
        }
    }

    /// A statement that some session of this role and database prepared from this very text and these types, if
    /// it is still of the current [`Self::epoch`].
    fn known_statement(&self, who: &Principal, text: &str, declared: &[Oid]) -> Option<Rc<Statement>> {
        let _ = (who, text, declared);
        None
    }

    /// Keeps a statement for [`Self::known_statement`].
    fn keep_statement(&mut self, who: &Principal, statement: &Rc<Statement>) {
        let _ = (who, statement);
    }

    /// Checks a tenant token.
    fn verify_token(&mut self, who: &Principal, token: &str) -> Result<BoundToken, AuthError>;

    /// Seconds since 1970.
    fn now_unix(&self) -> u64;

    /// Microseconds on a clock that never goes back.
    fn clock(&self) -> u64;

    /// Takes the room of one audit event; without room nothing may run.
    fn reserve_audit(&mut self) -> bool;

    /// Gives the room back: the statement was not run after all.
    fn release_audit(&mut self);

    /// Accounts for a decision whose room was reserved, or for a refusal.
    fn account(&mut self, account: Account<'_>);

    /// Begins a login (never fails: an unknown user fails at the end).
    fn authenticate_start(&mut self, user: &str, database: &str, tls: bool) -> Exchange;

    /// Whether this user's password is a tenant token.
    fn password_token_user(&self, user: &str) -> bool;

    /// Ends a login whose password is a tenant token.
    fn authenticate_token(
        &mut self,
        user: &str,
        database: &str,
        password: &str,
    ) -> Result<(Principal, BoundToken), AuthError>;

    /// Accounts for a login that has ended well. It must not stand where it cannot be written down (53300), or
    /// where its user has been changed meanwhile (57P01).
    fn logged_in(&mut self, who: &Principal) -> Result<(), Refusal> {
        let _ = who;
        Ok(())
    }

    /// Accounts for a client that is turned away: who it says it is, and why.
    fn login_refused(&mut self, user: &str, database: &str, error: AuthError) {
        let _ = (user, database, error);
    }

    /// Process id and a secret of so many bytes that the client may cancel with; known from now on.
    fn cancel_key(&mut self, length: usize) -> (i32, Box<[u8]>);

    /// What the database's server reports about itself: names and values of ParameterStatus.
    fn server_parameters(&self, who: &Principal) -> Rc<[Report]>;

    /// What the server makes of a setting: none where that is not known, and nothing within where it does not report it.
    fn report_of(&self, who: &Principal, setting: &SettingText) -> Option<Option<Report>>;

    /// The server makes this of a setting.
    fn keep_report(&mut self, who: &Principal, setting: &SettingText, report: Option<Report>);
}

/// A statement of a client's text with the plan that is kept for it.
#[derive(Debug)]
pub struct Found<'t> {
    /// The statement's own text.
    pub text: &'t str,
    /// Where it starts in the client's text.
    pub offset: usize,
    /// Where the next one is looked for.
    pub next: usize,
    /// Its lifted literals.
    pub literals: Literals<'t>,
    /// What is kept for it; none: it has to be planned.
    pub outcome: Option<Outcome>,
}

/// A text of one statement, with its plan.
#[derive(Debug)]
pub struct Seen<'t> {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Where the statement starts in the text.
    pub offset: usize,
    /// Its lifted literals.
    pub literals: Literals<'t>,
}

/// The literal tokens of a statement.
#[derive(Debug, Clone)]
pub struct Literals<'t> {
    /// The statement's text.
    pub text: &'t str,
    /// Tokens in it.
    pub ranges: SmallVec<[Range<usize>; 6]>,
}

impl<'t> Literals<'t> {
    /// A token as the client wrote it.
    pub fn token(&self, index: usize) -> Option<&'t str> {
        self.ranges.get(index).and_then(|range| self.text.get(range.clone()))
    }

    /// A token's bytes; nothing for an index that a verified plan cannot have.
    pub fn bytes(&self, index: usize) -> &'t [u8] {
        self.token(index).unwrap_or_default().as_bytes()
    }
}

/// A decision, told to whoever keeps the account.
#[derive(Debug)]
pub struct Account<'a> {
    /// Whose session.
    pub who: &'a Principal,
    /// The tenant of the transaction.
    pub tenant: Option<&'a TenantId>,
    /// What became of it.
    pub verdict: Verdict<'a>,
}

/// What became of a statement.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// It was sent, and has ended.
    Ran {
        /// Its plan.
        plan: &'a Arc<Plan>,
        /// Rows of its command tag.
        rows: u64,
        /// Error code of the server, if it failed there.
        error: Option<&'a [u8]>,
        /// [`Host::clock`] when it was sent.
        started: u64,
    },
    /// It was sent, and one of its own guards raised: the server refused it on the policy's behalf.
    Raised {
        /// Its plan.
        plan: &'a Arc<Plan>,
        /// What the guard stands for.
        refusal: &'a Refusal,
    },
    /// It was not sent.
    Refused {
        /// Why.
        refusal: &'a Refusal,
        /// The statement. Literals in it may be secrets: only its shape may be written down.
        text: Option<&'a str>,
    },
}
