//! Who has logged in, and the way to its tenant.

use std::sync::Arc;

use crate::config::TenantId;

use super::AuthError;

/// Somebody who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Login name.
    pub user: Arc<str>,
    /// Role whose rules apply.
    pub role: Arc<str>,
    /// The configured database (its `name`).
    pub database: Arc<str>,
    /// The way to the tenant.
    pub tenant: TenantBinding,
}

/// How a principal's transactions get their tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantBinding {
    /// Always this one.
    Fixed(TenantId),
    /// One of these, chosen at startup (`options=-c pgbulkhead.tenant=…`).
    Choice(Vec<TenantId>),
    /// The one that a tenant token names.
    Token {
        /// Tenants that a token may name; empty: any.
        allowed: Vec<TenantId>,
    },
}

impl TenantBinding {
    /// Whether a session may be bound to this tenant.
    pub fn admits(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Fixed(own) => own == tenant,
            Self::Choice(tenants) => tenants.contains(tenant),
            Self::Token { allowed } => allowed.is_empty() || allowed.contains(tenant),
        }
    }

    /// The tenant after a login that asked for `wanted` (or for nothing). `Ok(None)`: nobody's yet, a token
    /// has to say. Asking for one's own fixed tenant is no error; for any other it is.
    pub fn at_login(&self, wanted: Option<&str>) -> Result<Option<TenantId>, AuthError> {
        match (self, wanted) {
            (Self::Fixed(tenant), None) => Ok(Some(tenant.clone())),
            (Self::Fixed(tenant), Some(wanted)) if tenant.as_str() == wanted => Ok(Some(tenant.clone())),
            (Self::Choice(tenants), Some(wanted)) => {
                let chosen = tenants.iter().find(|t| t.as_str() == wanted);
                chosen.cloned().map(Some).ok_or(AuthError::Tenant)
            }
            (Self::Token { .. }, None) => Ok(None),
            (Self::Fixed(_) | Self::Token { .. }, Some(_)) | (Self::Choice(_), None) => {
                Err(AuthError::Tenant)
            }
        }
    }
}
