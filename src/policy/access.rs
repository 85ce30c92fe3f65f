//! What a role may do with a relation.

use std::collections::BTreeSet;

use foldhash::HashMap;

use crate::catalog::Oid;
use crate::config::model::Operation;

/// The operations that are left, and the columns that are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    operations: BTreeSet<Operation>,
    /// Columns that may be neither seen nor set nor used in a condition.
    pub denied_columns: BTreeSet<String>,
}

impl Access {
    /// All operations, all columns.
    pub fn everything() -> Self {
        let operations = [Operation::Select, Operation::Insert, Operation::Update, Operation::Delete];
        Self { operations: operations.into(), denied_columns: BTreeSet::new() }
    }

    /// Whether an operation is allowed.
    pub fn allows(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
    }

    pub(in crate::policy) fn retain(&mut self, keep: impl Fn(Operation) -> bool) {
        self.operations.retain(|operation| keep(*operation));
    }
}

/// A role's rules, compiled.
#[derive(Debug, Clone)]
pub(in crate::policy) struct RoleAccess {
    pub read_only: bool,
    pub default_allow: bool,
    pub rules: HashMap<Oid, Access>,
}

impl RoleAccess {
    pub fn access(&self, relation: Oid) -> Access {
        let mut access = match self.rules.get(&relation) {
            Some(access) => access.clone(),
            None if self.default_allow => Access::everything(),
            None => Access { operations: BTreeSet::new(), denied_columns: BTreeSet::new() },
        };
        if self.read_only {
            access.retain(|operation| operation == Operation::Select);
        }
        access
    }
}

impl Access {
    pub(in crate::policy) fn rule(allow: &[Operation], denied_columns: &[String]) -> Self {
        Self {
            operations: allow.iter().copied().collect(),
            denied_columns: denied_columns.iter().cloned().collect(),
        }
    }
}
