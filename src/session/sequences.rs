//! Whose last values of sequences a server connection shows. `currval` and `lastval` speak of the server session, and
//! tenants share those: a value of anybody else may never show.
//!
//! ```text
//! lease begins ──▶ Unknown ──a draw that was certain──▶ this sequence's value is the tenant's own
//!      │
//!      └─ new connection, or DISCARD SEQUENCES sent ──▶ Clean: whatever the server says is the tenant's own
//! ```
//!
//! A session that has asked once begins its leases with DISCARD SEQUENCES, so that from then on the server's own
//! answers hold for it. All of it ends with the lease, and with the tenant where a lease outlives it.

use super::active::{Active, Flow};
use super::extended::Stop;
use super::reply::Expect;
use super::server::Server;
use crate::catalog::Oid;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::sequences::{Asked, Named, Sequences, undefined};

/// The rule of last values.
const RULE: Rule = Rule("sequence");

/// What is known of the sequences of a lease.
#[derive(Debug, Clone, Default)]
pub struct Drawn {
    /// Whose they are: of the last statement that had a tenant.
    tenant: Option<TenantId>,
    /// Drawn from for certain.
    known: Vec<Oid>,
    /// A statement of a tenant was sent in this lease.
    has_begun: bool,
    /// Nothing but this tenant's draws in this lease can show.
    clean: bool,
    /// The session has asked for a last value before.
    has_asked: bool,
}

impl Drawn {
    /// A lease begins; gives whether DISCARD SEQUENCES has to be sent before anything else.
    pub fn lease(&mut self, server: &mut Server) -> bool {
        let others = std::mem::replace(&mut server.was_leased, true);
        let discards = others && self.has_asked;
        self.known.clear();
        self.has_begun = false;
        self.clean = !others || discards;
        discards
    }

    /// DISCARD SEQUENCES of the client, which is not sent: what was drawn before is as if another had.
    pub fn discard(&mut self) {
        self.known.clear();
        self.clean = false;
    }

    /// The session asks for a last value.
    pub fn will_ask(&mut self) {
        self.has_asked = true;
    }

    /// A statement of this tenant is sent: what another's drew in the same lease is not its own.
    pub fn passes(&mut self, tenant: Option<&TenantId>) {
        let Some(tenant) = tenant else { return };
        let before = std::mem::replace(&mut self.has_begun, true);
        if self.tenant.as_ref() == Some(tenant) {
            return;
        }
        self.tenant = Some(tenant.clone());
        if before {
            self.discard();
        }
    }

    /// A statement of this tenant has completed, or will have when what follows it runs (no rows are known then).
    pub fn drew(&mut self, sequences: &Sequences, tenant: Option<&TenantId>, rows: u64) {
        if self.tenant.as_ref() != tenant {
            return;
        }
        let by_rows: &[Oid] = if rows > 0 { &sequences.draws_with_rows } else { &[] };
        for drawn in sequences.draws.iter().chain(by_rows) {
            if !self.known.contains(drawn) {
                self.known.push(*drawn);
            }
        }
    }

    /// Whether everything that is asked for can only be the tenant's own. `value` gives the text of a parameter.
    pub fn may_ask<'v>(
        &self,
        sequences: &Sequences,
        tenant: Option<&TenantId>,
        value: impl Fn(u16) -> Option<Option<&'v str>>,
    ) -> Result<(), Refusal> {
        sequences.asks.iter().try_for_each(|asked| match asked {
            Asked::Last => match self.known.is_empty() {
                false if self.tenant.as_ref() == tenant => Ok(()),
                _ => self.unless_clean(tenant, || "lastval is not yet defined in this session".to_owned()),
            },
            Asked::Of(named) => self.may_show(named, tenant),
            Asked::Parameter(number, among) => match value(*number) {
                Some(None) => Ok(()),
                Some(Some(text)) => {
                    let named = Named::meant(among, text).ok_or_else(|| undefined(text))?;
                    self.may_show(named, tenant)
                }
                None => {
                    let message = "currval needs the name of its sequence as a text";
                    Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message))
                }
            },
        })
    }

    fn may_show(&self, named: &Named, tenant: Option<&TenantId>) -> Result<(), Refusal> {
        if self.known.contains(&named.oid) && self.tenant.as_ref() == tenant {
            return Ok(());
        }
        self.unless_clean(tenant, || {
            format!("currval of sequence \"{}\" is not yet defined in this session", named.name)
        })
    }

    /// PostgreSQL's own error where the server could have another's value.
    fn unless_clean(
        &self,
        tenant: Option<&TenantId>,
        message: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        if self.clean && (!self.has_begun || self.tenant.as_ref() == tenant) {
            return Ok(());
        }
        Err(Refusal::new(SqlState("55000"), RULE, message()).hint(
            "Server connections are shared: a last value is known in the transaction that drew it. \
             Ask there, or use RETURNING.",
        ))
    }
}

/// Whether a statement asks for the last value of a sequence.
pub(super) fn asks(plan: &Plan) -> bool {
    plan.planned.sequences.as_ref().is_some_and(|sequences| !sequences.asks.is_empty())
}

impl Active {
    /// Whether the last values of sequences that a statement asks for are the tenant's own. What stands before it in
    /// its batch has succeeded when its turn comes, or it is skipped; how an earlier batch ends has to be waited for.
    pub(super) fn may_ask<'v>(
        &mut self,
        plan: &Plan,
        tenant: Option<&TenantId>,
        value: impl Fn(u16) -> Option<Option<&'v str>>,
    ) -> Result<(), Stop> {
        let Some(sequences) = plan.planned.sequences.as_deref().filter(|s| !s.asks.is_empty()) else {
            return Ok(());
        };
        self.drawn.will_ask();
        if self.server.is_none() {
            return Drawn::default().may_ask(sequences, tenant, value).map_err(Stop::from);
        }
        if self.queue.iter().any(|expect| matches!(expect, Expect::Ready | Expect::Query(_))) {
            return Err(Stop::Wait(Flow::Drain));
        }
        let mut drawn = self.drawn.clone();
        for expect in &self.queue {
            if let Expect::Execute(running) = expect
                && let Some(sequences) = &running.plan.planned.sequences
            {
                drawn.drew(sequences, running.tenant.as_ref(), 0);
            }
        }
        drawn.may_ask(sequences, tenant, value).map_err(Stop::from)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn server() -> Server {
        Server::new(Vec::new())
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn named(oid: Oid, name: &str) -> Named {
        Named { oid, schema: "app".into(), name: name.into(), in_path: true }
    }

    fn asks(asked: Asked) -> Sequences {
        Sequences { asks: vec![asked], ..Sequences::default() }
    }

    fn draws(oid: Oid) -> Sequences {
        Sequences { draws: vec![oid], ..Sequences::default() }
    }

    fn state(drawn: &Drawn, asked: Asked, of: &str) -> Option<SqlState> {
        drawn.may_ask(&asks(asked), Some(&tenant(of)), |_| None).err().map(|refusal| refusal.state)
    }

    /// A lease of a connection that others have had.
    fn leased() -> Drawn {
        let (mut drawn, mut server) = (Drawn::default(), server());
        server.was_leased = true;
        assert!(!drawn.lease(&mut server));
        drawn.passes(Some(&tenant("1")));
        drawn
    }

    const UNDEFINED: Option<SqlState> = Some(SqlState("55000"));

    #[test]
    fn value_shows_only_after_a_draw_that_was_certain() {
        let mut drawn = leased();
        assert_eq!(state(&drawn, Asked::Of(named(7, "s")), "1"), UNDEFINED);
        assert_eq!(state(&drawn, Asked::Last, "1"), UNDEFINED);
        let with_rows = Sequences { draws_with_rows: vec![7], ..Sequences::default() };
        drawn.drew(&with_rows, Some(&tenant("1")), 0);
        assert_eq!(state(&drawn, Asked::Last, "1"), UNDEFINED);
        drawn.drew(&with_rows, Some(&tenant("1")), 1);
        assert_eq!(state(&drawn, Asked::Of(named(7, "s")), "1"), None);
        assert_eq!(state(&drawn, Asked::Last, "1"), None);
        assert_eq!(state(&drawn, Asked::Of(named(8, "t")), "1"), UNDEFINED);
    }

    #[test]
    fn value_of_another_tenant_in_the_same_lease_does_not_show() {
        let mut drawn = leased();
        drawn.drew(&draws(7), Some(&tenant("1")), 0);
        assert_eq!(state(&drawn, Asked::Last, "2"), UNDEFINED);
        drawn.passes(Some(&tenant("2")));
        assert_eq!(state(&drawn, Asked::Last, "2"), UNDEFINED);
        drawn.drew(&draws(7), Some(&tenant("1")), 0);
        assert_eq!(state(&drawn, Asked::Of(named(7, "s")), "2"), UNDEFINED);
        assert_eq!(drawn.may_ask(&asks(Asked::Last), None, |_| None).unwrap_err().state, UNDEFINED.unwrap());
    }

    #[test]
    fn new_connection_is_clean_until_another_has_had_it() {
        let (mut drawn, mut server) = (Drawn::default(), server());
        drawn.lease(&mut server);
        assert_eq!(state(&drawn, Asked::Last, "1"), None);
        drawn.passes(Some(&tenant("1")));
        drawn.passes(Some(&tenant("2")));
        assert_eq!(state(&drawn, Asked::Last, "2"), UNDEFINED);
        drawn.lease(&mut server);
        assert_eq!(state(&drawn, Asked::Last, "1"), UNDEFINED);
    }

    #[test]
    fn session_that_asks_begins_its_leases_with_a_discard() {
        let (mut drawn, mut server) = (leased(), server());
        server.was_leased = true;
        drawn.will_ask();
        assert!(drawn.lease(&mut server));
        assert_eq!(state(&drawn, Asked::Last, "1"), None);
        drawn.discard();
        assert_eq!(state(&drawn, Asked::Last, "1"), UNDEFINED);
    }

    #[test]
    fn parameter_names_one_of_the_sequences_that_may_be_asked_for() {
        let mut drawn = leased();
        drawn.drew(&draws(7), Some(&tenant("1")), 0);
        let among: Arc<[Named]> = Arc::new([named(7, "s"), named(8, "12")]);
        let ask = |text: &'static str| {
            let asked = asks(Asked::Parameter(1, among.clone()));
            drawn.may_ask(&asked, Some(&tenant("1")), |_| Some(Some(text))).err().map(|r| r.state)
        };
        assert_eq!(ask("s"), None);
        assert_eq!(ask("APP . S"), None);
        assert_eq!(ask("\"S\""), Some(SqlState::UNDEFINED_TABLE));
        assert_eq!(ask("12"), Some(SqlState::UNDEFINED_TABLE));
        assert_eq!(ask("\"12\""), UNDEFINED);
    }
}
