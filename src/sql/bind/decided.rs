//! What was decided while a statement was bound.

use super::super::plan::Decided;
use super::Binder;

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
