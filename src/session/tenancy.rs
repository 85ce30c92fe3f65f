//! Which tenant a transaction has. It is decided when the transaction begins and does not change within it;
//! only SET LOCAL of a token, before anything else ran, decides it a moment later.

use crate::auth::{AuthError, BoundToken, Principal, TenantBinding};
use crate::policy::{Refusal, Rule, SqlState, TenantId};

/// A session's binding and its transaction's.
#[derive(Debug, Clone)]
pub struct Tenancy {
    session: Binding,
    transaction: Transaction,
    /// A transaction with a tenant of SET LOCAL was chained, as far as it was sent.
    chained_local: bool,
}

#[derive(Debug, Clone)]
enum Binding {
    Fixed(TenantId),
    Unbound,
    Token(BoundToken),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Transaction {
    /// None is open: the next one asks the session's binding.
    None,
    /// Open with this tenant, or with none; `ran`: something other than BEGIN was sent; `local`: by SET LOCAL;
    /// `ending`: its COMMIT or ROLLBACK was sent.
    Open { tenant: Option<TenantId>, ran: bool, local: bool, ending: bool },
}

impl Tenancy {
    /// After a login. 28000 where the startup asked for a tenant that is not the principal's.
    pub fn at_login(
        principal: &Principal,
        wanted: Option<&str>,
        token: Option<BoundToken>,
    ) -> Result<Self, AuthError> {
        let session = match (&principal.tenant, token) {
            (TenantBinding::Token { .. }, Some(token))
                if wanted.is_none_or(|w| w == token.tenant.as_str()) =>
            {
                Binding::Token(token)
            }
            (binding, None) => binding.at_login(wanted)?.map_or(Binding::Unbound, Binding::Fixed),
            (_, Some(_)) => return Err(AuthError::Tenant),
        };
        Ok(Self { session, transaction: Transaction::None, chained_local: false })
    }

    /// The transaction's tenant; opens one with the session's binding if none is open. A tenant of SET LOCAL
    /// is gone as soon as the transaction's end was sent.
    pub fn tenant(&mut self, now_unix: u64) -> Option<&TenantId> {
        self.open(now_unix);
        match &self.transaction {
            Transaction::Open { local: true, ending: true, .. } | Transaction::None => None,
            Transaction::Open { tenant, .. } => tenant.as_ref(),
        }
    }

    /// What [`Self::tenant`] would give, without opening a transaction.
    pub fn next_tenant(&self, now_unix: u64) -> Option<&TenantId> {
        match &self.transaction {
            Transaction::Open { local: true, ending: true, .. } => None,
            Transaction::Open { .. } | Transaction::None => self.bound(now_unix),
        }
    }

    /// The tenant of the open transaction; outside of one, that of the next.
    pub fn bound(&self, now_unix: u64) -> Option<&TenantId> {
        match (&self.transaction, &self.session) {
            (Transaction::Open { tenant, .. }, _) => tenant.as_ref(),
            (Transaction::None, Binding::Fixed(tenant)) => Some(tenant),
            (Transaction::None, Binding::Token(token)) => (token.expires > now_unix).then_some(&token.tenant),
            (Transaction::None, Binding::Unbound) => None,
        }
    }

    /// The open transaction's tenant.
    pub fn current(&self) -> Option<&TenantId> {
        match &self.transaction {
            Transaction::Open { tenant, .. } => tenant.as_ref(),
            Transaction::None => None,
        }
    }

    /// Whom a lease is for: the open transaction's tenant, or the session's.
    pub fn payer(&self) -> Option<&TenantId> {
        match (&self.transaction, &self.session) {
            (Transaction::Open { tenant, .. }, _) => tenant.as_ref(),
            (Transaction::None, Binding::Fixed(tenant)) => Some(tenant),
            (Transaction::None, Binding::Token(token)) => Some(&token.tenant),
            (Transaction::None, Binding::Unbound) => None,
        }
    }

    /// Every tenant that the session or its open transaction is bound to.
    pub fn all(&self) -> impl Iterator<Item = &TenantId> {
        let session = match &self.session {
            Binding::Fixed(tenant) => Some(tenant),
            Binding::Token(token) => Some(&token.tenant),
            Binding::Unbound => None,
        };
        session.into_iter().chain(self.current())
    }

    /// The token that binds the session.
    pub fn token(&self) -> Option<&BoundToken> {
        match &self.session {
            Binding::Token(token) => Some(token),
            Binding::Fixed(_) | Binding::Unbound => None,
        }
    }

    fn open(&mut self, now_unix: u64) {
        if self.transaction == Transaction::None {
            let tenant = match &self.session {
                Binding::Fixed(tenant) => Some(tenant.clone()),
                Binding::Token(token) if token.expires > now_unix => Some(token.tenant.clone()),
                Binding::Token(_) | Binding::Unbound => None,
            };
            self.transaction = Transaction::Open { tenant, ran: false, local: false, ending: false };
        }
    }

    /// Something other than BEGIN is sent.
    pub fn ran(&mut self) {
        if let Transaction::Open { ran, .. } = &mut self.transaction {
            *ran = true;
        }
    }

    /// COMMIT or ROLLBACK is sent.
    pub fn ending(&mut self) {
        if let Transaction::Open { ending, .. } = &mut self.transaction {
            *ending = true;
        }
    }

    /// COMMIT or ROLLBACK with AND CHAIN is sent: what follows is another transaction, whose tenant is decided anew.
    pub fn chain(&mut self) {
        self.chained_local |= self.is_local();
        self.transaction = Transaction::None;
    }

    /// It was not run after all: the transaction goes on. One that had a tenant of its own has none from now on.
    pub fn not_chained(&mut self) {
        if self.chained_local {
            self.transaction = Transaction::Open { tenant: None, ran: true, local: true, ending: true };
        }
    }

    /// The transaction is over: ReadyForQuery idle, and nothing outstanding.
    pub fn end(&mut self) {
        self.transaction = Transaction::None;
        self.chained_local = false;
    }

    /// Whether the transaction's tenant is its own, not the session's.
    pub fn is_local(&self) -> bool {
        matches!(self.transaction, Transaction::Open { local: true, .. })
    }

    /// A plain SET of a token: binds the transactions that follow. 25001 within a transaction.
    pub fn bind(&mut self, token: BoundToken, in_transaction: bool) -> Result<(), Refusal> {
        if in_transaction {
            return Err(within("SET pgbulkhead.tenant_token").hint(
                "use SET LOCAL as the first statement after BEGIN, or SET outside a transaction on its own",
            ));
        }
        self.session = Binding::Token(token);
        self.end();
        Ok(())
    }

    /// SET LOCAL of a token: binds this transaction, before anything ran in it. 25P01 outside one.
    pub fn bind_local(&mut self, bound: BoundToken, in_transaction: bool) -> Result<(), Refusal> {
        if !in_transaction {
            let message = "SET LOCAL pgbulkhead.tenant_token can only be used in a transaction block";
            return Err(Refusal::new(SqlState("25P01"), Rule("tenant"), message));
        }
        match &mut self.transaction {
            Transaction::Open { tenant, ran: false, local: local @ false, ending: false } => {
                *tenant = Some(bound.tenant);
                *local = true;
                Ok(())
            }
            _ => Err(within("SET LOCAL pgbulkhead.tenant_token")
                .hint("it has to be the first statement after BEGIN")),
        }
    }

    /// RESET of the token. 25001 within a transaction.
    pub fn unbind(&mut self, in_transaction: bool) -> Result<(), Refusal> {
        if in_transaction {
            return Err(within("RESET pgbulkhead.tenant_token"));
        }
        if matches!(self.session, Binding::Token(_)) {
            self.session = Binding::Unbound;
        }
        self.end();
        Ok(())
    }
}

/// 42501 of a statement that needs a tenant.
pub fn unbound() -> Refusal {
    Refusal::new(SqlState::DENIED, Rule("tenant"), "no tenant is bound to this transaction")
        .hint("bind one with SET pgbulkhead.tenant_token = '…', or SET LOCAL after BEGIN")
}

fn within(what: &str) -> Refusal {
    let message = format!("{what} cannot change the tenant of a transaction that has begun");
    Refusal::new(SqlState::ACTIVE_TRANSACTION, Rule("tenant"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(tenant: &str, expires: u64) -> BoundToken {
        BoundToken { tenant: TenantId::new(tenant).unwrap(), expires, kid: "k".into() }
    }

    fn by_token() -> Tenancy {
        Tenancy { session: Binding::Unbound, transaction: Transaction::None, chained_local: false }
    }

    fn seen(tenancy: &mut Tenancy, now: u64) -> Option<String> {
        tenancy.tenant(now).map(ToString::to_string)
    }

    #[test]
    fn plain_set_binds_what_follows_until_it_expires() {
        let mut tenancy = by_token();
        assert_eq!(seen(&mut tenancy, 1), None);
        tenancy.end();
        tenancy.bind(token("7", 100), false).unwrap();
        assert_eq!(seen(&mut tenancy, 99).as_deref(), Some("7"));
        tenancy.end();
        assert_eq!(seen(&mut tenancy, 100), None);
    }

    #[test]
    fn tenant_of_a_transaction_does_not_change_in_it() {
        let mut tenancy = by_token();
        tenancy.bind(token("7", 100), false).unwrap();
        tenancy.tenant(1);
        tenancy.ran();
        assert_eq!(tenancy.bind(token("8", 100), true).unwrap_err().state, SqlState::ACTIVE_TRANSACTION);
        assert_eq!(
            tenancy.bind_local(token("8", 100), true).unwrap_err().state,
            SqlState::ACTIVE_TRANSACTION
        );
        assert_eq!(seen(&mut tenancy, 1).as_deref(), Some("7"));
    }

    #[test]
    fn set_local_binds_its_own_transaction_only() {
        let mut tenancy = by_token();
        tenancy.tenant(1);
        tenancy.bind_local(token("8", 100), true).unwrap();
        assert!(tenancy.bind_local(token("9", 100), true).is_err());
        assert_eq!(seen(&mut tenancy, 1).as_deref(), Some("8"));
        tenancy.end();
        assert_eq!(seen(&mut tenancy, 1), None);
    }
}
