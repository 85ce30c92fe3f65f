//! How a worker answers its sessions.

use std::rc::Rc;
use std::sync::Arc;

use super::handle::Handle;
use super::held::Held;
use super::planning::Fresh;
use super::shared::{Database, Worker};
use crate::auth::scram::Exchange;
use crate::auth::{AuthError, BoundToken, Principal};
use crate::catalog::{Oid, RelationKind, Snapshot};
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::pool::Lease;
use crate::session::host::{Account, Found, Host, Literals, Seen, Verdict};
use crate::session::outgoing::{Prepared, RenderedText, SettingText};
use crate::session::reports::Report;
use crate::session::server::Server;
use crate::session::statement::Statement;
use crate::sql::Bounded;
use crate::sql::rewrite::sentinel;
use crate::wire::answer;

/// A worker's answers to one of its sessions.
pub struct Surroundings<'a> {
    pub(super) worker: &'a Worker,
    pub(super) session: u64,
    pub(super) seat: usize,
    pub(super) handle: &'a Handle,
    pub(super) database: Option<&'a Rc<Database>>,
    pub(super) lease: &'a mut Option<Lease>,
    pub(super) fresh: &'a [Fresh],
    pub(super) hint: &'a mut usize,
    pub(super) key: &'a mut Option<i32>,
    pub(super) end_point: Option<&'a Arc<[u8]>>,
    pub(super) held: &'a mut Option<Held>,
}

impl<'a> Surroundings<'a> {
    /// The session's database, also before it has logged in.
    fn database_of(&self, who: &Principal) -> Option<&'a Rc<Database>> {
        self.database.or_else(|| self.worker.database(&who.database))
    }
}

impl Host for Surroundings<'_> {
    fn next_statement<'t>(
        &mut self,
        who: &Principal,
        text: &'t str,
        from: usize,
        declared: &[Oid],
    ) -> Result<Option<Found<'t>>, Refusal> {
        let bounded = Bounded::new(text, &self.worker.limits)?;
        let database = self.database_of(who);
        // Statements with parameters are found by their texts before (see `known_statement`).
        let is_simple = from == 0 && declared.is_empty() && self.fresh.is_empty();
        let mut normaliser = self.worker.normaliser.borrow_mut();
        normaliser.declare(declared);
        let Some(statement) = normaliser.next_statement(bounded, from)? else { return Ok(None) };
        let fresh = self.fresh.iter().find(|fresh| fresh.is_of(statement.text, declared));
        let outcome = match fresh {
            Some(fresh) if fresh.is_current(self.database) => Some(fresh.outcome.clone()),
            _ => database.and_then(|database| database.table.borrow_mut().find(&who.role, &statement)),
        };
        if let (true, Some(database), Some(Ok(plan))) = (is_simple, database, &outcome) {
            database.texts.borrow_mut().keep(&who.role, bounded, &statement, plan);
        }
        let ranges = statement.literals.iter().map(|literal| literal.token.clone()).collect();
        Ok(Some(Found {
            text: statement.text,
            offset: statement.offset,
            next: statement.next,
            literals: Literals { text: statement.text, ranges },
            outcome,
        }))
    }

    fn seen<'t>(&mut self, who: &Principal, text: &'t str) -> Option<Seen<'t>> {
        let database = self.database.filter(|_| self.fresh.is_empty())?;
        let mut texts = database.texts.borrow_mut();
        let generation = database.planner.generation();
        let (plan, alike) = texts.find(generation, &who.role, text, &self.worker.limits, self.hint)?;
        let statement = text.get(alike.statement.clone())?;
        let literals = Literals { text: statement, ranges: alike.literals };
        Some(Seen { plan: plan.clone(), offset: alike.statement.start, literals })
    }

    fn epoch(&self) -> u64 {
        self.database.map_or(0, |database| database.planner.generation())
    }

    fn raised(&self, code: &[u8], message: &str) -> Option<Refusal> {
        let planner = &self.database?.planner;
        let world = planner.world();
        let refusal = match code {
            b"22P02" => sentinel::decode(message, &world.policy.nonce),
            _ => lost_index(&world.catalog, message),
        };
        // Every name was found when the statement was planned.
        if code != b"22P02" || refusal.as_ref().is_some_and(|refusal| refusal.rule == sentinel::STALE) {
            planner.doubt();
        }
        refusal
    }

    fn lease(&mut self, tenant: Option<&TenantId>) -> Option<Box<Server>> {
        // A session has one lease: what it said to a server connection goes to that one.
        if self.lease.is_some() {
            return None;
        }
        let mut lease = self.database?.pool.try_lease(tenant)?;
        let server = lease.take_server()?;
        *self.handle.key.borrow_mut() = lease.key().cloned();
        lease.belongs_to(self.seat);
        *self.lease = Some(lease);
        Some(server)
    }

    fn hold(&mut self) -> bool {
        if self.held.is_none() {
            *self.held = self.database.and_then(|database| database.holding.one_more());
        }
        self.held.is_some()
    }

    fn intern(&mut self, text: RenderedText, types: &[Oid]) -> Rc<Prepared> {
        match self.database {
            Some(database) => database.interned.borrow_mut().intern(text, types),
            None => Rc::new(Prepared::new(0, text, types)),
        }
    }

    fn known_statement(&self, who: &Principal, text: &str, declared: &[Oid]) -> Option<Rc<Statement>> {
        self.database?.statements.borrow_mut().find(self.epoch(), &who.role, text, declared)
    }

    fn keep_statement(&mut self, who: &Principal, statement: &Rc<Statement>) {
        if let Some(database) = self.database {
            database.statements.borrow_mut().keep(&who.role, statement);
        }
    }

    fn verify_token(&mut self, who: &Principal, token: &str) -> Result<BoundToken, AuthError> {
        let access = self.worker.settings.access.load();
        self.worker.tokens.borrow_mut().verify(&access, who, token, self.now_unix())
    }

    fn now_unix(&self) -> u64 {
        self.worker.wall() / 1_000_000
    }

    fn clock(&self) -> u64 {
        self.worker.clock()
    }

    fn reserve_audit(&mut self) -> bool {
        self.worker.auditor.borrow_mut().reserve()
    }

    fn release_audit(&mut self) {
        self.worker.auditor.borrow_mut().release();
    }

    fn account(&mut self, account: Account<'_>) {
        let metrics = &self.worker.settings.metrics;
        let now = self.worker.wall();
        let mut auditor = self.worker.auditor.borrow_mut();
        match &account.verdict {
            Verdict::Ran { started, error, .. } => {
                let duration = self.worker.clock().saturating_sub(*started);
                metrics.statement(duration, error.is_some());
                auditor.settle(self.session, &account, now, duration);
            }
            Verdict::Raised { refusal, .. } => {
                metrics.refused(refusal.rule.0);
                auditor.raised(self.session, &account);
            }
            Verdict::Refused { refusal, .. } => {
                metrics.refused(refusal.rule.0);
                auditor.refused(self.session, &account);
            }
        }
    }

    fn authenticate_start(&mut self, user: &str, database: &str, tls: bool) -> Exchange {
        let end_point = self.end_point.filter(|_| tls).cloned();
        self.worker
            .settings
            .access
            .load()
            .principals
            .authenticate_start(user, database)
            .bind_channel(end_point)
    }

    fn password_token_user(&self, user: &str) -> bool {
        self.worker.settings.access.load().principals.password_token_user(user)
    }

    fn authenticate_token(
        &mut self,
        user: &str,
        database: &str,
        password: &str,
    ) -> Result<(Principal, BoundToken), AuthError> {
        let access = self.worker.settings.access.load();
        access.principals.authenticate_token(user, database, password, &access.tokens, self.now_unix())
    }

    fn logged_in(&mut self, who: &Principal) -> Result<(), Refusal> {
        if !self.worker.settings.access.load().is_current(who) {
            return Err(answer::shutting_down());
        }
        if !self.worker.auditor.borrow_mut().logged_in(self.session, who) {
            let message = "the login cannot be written down";
            return Err(Refusal::new(SqlState::TOO_MANY, Rule("audit"), message));
        }
        Ok(())
    }

    fn login_refused(&mut self, user: &str, database: &str, error: AuthError) {
        self.worker.auditor.borrow_mut().login_refused(self.session, user, database, error);
    }

    fn cancel_key(&mut self, length: usize) -> (i32, Box<[u8]>) {
        let (pid, secret) = self.worker.registry.register(self.worker.index, self.session, length);
        *self.key = Some(pid);
        (pid, secret)
    }

    fn server_parameters(&self, who: &Principal) -> Rc<[Report]> {
        let Some(database) = self.database_of(who) else { return Rc::default() };
        let known = database.pool.parameters();
        if known.is_empty() { defaults(database.planner.world().catalog.server_version_num) } else { known }
    }

    fn report_of(&self, who: &Principal, setting: &SettingText) -> Option<Option<Report>> {
        self.database_of(who)?.reported.borrow().find(setting)
    }

    fn keep_report(&mut self, who: &Principal, setting: &SettingText, report: Option<Report>) {
        if let Some(database) = self.database_of(who) {
            database.reported.borrow_mut().keep(setting, report);
        }
    }
}

/// What a server of this version reports, before one was reached.
fn defaults(version: u32) -> Rc<[Report]> {
    let version = format!("{}.{}", version / 10_000, version % 10_000);
    [
        ("server_version", version.as_str()),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("application_name", ""),
        ("is_superuser", "off"),
        ("session_authorization", ""),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "Etc/UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The refusal of a statement for which the server does not find an index by name, whatever language it says so in.
fn lost_index(catalog: &Snapshot, message: &str) -> Option<Refusal> {
    let (schema, name) = message.split('"').nth(1)?.split_once('.')?;
    let index = catalog.find_relation(Some(schema), name).filter(|r| r.kind == RelationKind::Other)?;
    Some(sentinel::lost_index(&format!("{}.{}", index.schema, index.name)))
}
