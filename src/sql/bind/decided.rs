//! What was decided while a statement was bound.

use crate::catalog::Oid;
use crate::config::model::Operation;
use crate::sql::leaksafe::BindCheck;
use crate::sql::planned::{Edit, Lasting};
use crate::sql::sequences::Sequences;
use crate::sql::witness::Index;

use super::Binder;

/// What was decided while a statement was bound.
pub(in crate::sql) struct Decided {
    pub tenant_type: Option<Oid>,
    pub bind_checks: Vec<BindCheck>,
    pub indexes: Vec<Index>,
    pub pinned: Vec<usize>,
    pub relations: Vec<(String, Operation)>,
    pub edits: Vec<Edit>,
    pub holds: Lasting,
    pub sequences: Option<Box<Sequences>>,
    pub channel: Option<String>,
    pub reason: String,
}

impl Binder<'_> {
    /// What was decided, once the statement is bound.
    pub fn decided(mut self) -> Decided {
        let sequences = self.sequences();
        let reason = match self.tenant_type {
            Some(_) => "every relation with tenants' rows is restricted to the tenant",
            None if self.touched.is_empty() => "no relation is touched",
            None => "only relations that all tenants share are touched",
        };
        Decided {
            tenant_type: self.tenant_type,
            bind_checks: self.bind_checks,
            indexes: self.indexes,
            pinned: self.pins.into_iter().collect(),
            relations: self.touched.into_iter().map(|(_, name, operation)| (name, operation)).collect(),
            edits: self.edits,
            holds: self.holds,
            sequences,
            channel: self.channel,
            reason: reason.to_owned(),
        }
    }
}
