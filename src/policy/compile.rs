//! From a configuration and a catalog to a [`Policy`]: every name is looked up once, here.

use foldhash::{HashMap, HashSet};

use crate::catalog::{Generated, Oid, Relation, RelationKind, Snapshot};
use crate::config::model::{Config, Operation, ParentLink, QualifiedName, Table, TableKind};

use super::Policy;
use super::access::{Access, RoleAccess};
use super::tenancy::{ParentKey, Tenancy};

/// A contradiction between the configuration and the catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry}: {problem}")]
pub struct PolicyError {
    /// The entry, as `[[tables]] app.documents`.
    pub entry: String,
    /// What is wrong with it.
    pub problem: String,
}

pub(super) fn compile(
    config: &Config,
    catalog: &Snapshot,
    epoch: u64,
    nonce: &str,
) -> Result<Policy, Vec<PolicyError>> {
    let mut compiler = Compiler { config, catalog, errors: Vec::new() };
    let tenancy = compiler.tenancies();
    let policy = Policy {
        epoch,
        barrier: config.tenancy.barrier,
        witness: config.general.witness,
        nonce: nonce.to_owned(),
        table_access: compiler.table_access(),
        roles: compiler.roles(),
        functions: compiler.functions(),
        sequences: compiler.sequences(),
        tenancy,
    };
    if compiler.errors.is_empty() { Ok(policy) } else { Err(compiler.errors) }
}

struct Compiler<'a> {
    config: &'a Config,
    catalog: &'a Snapshot,
    errors: Vec<PolicyError>,
}

impl Compiler<'_> {
    fn tenancies(&mut self) -> HashMap<Oid, Tenancy> {
        let mut tenancies = self.by_tenant_column();
        for table in &self.config.tables {
            let entry = format!("[[tables]] {}", table.name);
            let Some(relation) = self.relation(&entry, &table.name) else { continue };
            if let Some(tenancy) = self.declared(&entry, table, &relation) {
                tenancies.insert(relation.oid, tenancy);
            }
        }
        self.check_parents(&mut tenancies);
        tenancies
    }

    /// Relations with the tenant column need no entry; partitions and inheritance children do, so that no
    /// name reaches part of a relation by accident.
    fn by_tenant_column(&mut self) -> HashMap<Oid, Tenancy> {
        let nulls = self.config.tenancy.nulls;
        let column_of = |relation: &Relation| {
            let column = relation.column(&self.config.tenancy.column)?;
            (column.generated != Generated::Virtual).then_some(column.number)
        };
        self.catalog
            .relations()
            .filter(|r| matches!(r.kind, RelationKind::Table | RelationKind::PartitionedTable))
            .filter(|r| !is_system(&r.schema) && !r.is_partition && r.inherits.is_empty())
            .filter_map(|r| Some((r.oid, Tenancy::Tenant { column: column_of(r)?, nulls })))
            .collect()
    }

    fn declared(&mut self, entry: &str, table: &Table, relation: &Relation) -> Option<Tenancy> {
        match &table.kind {
            TableKind::Shared => Some(Tenancy::Shared),
            TableKind::Denied => Some(Tenancy::Denied),
            TableKind::Tenant { column, nulls } => {
                let name = column.as_ref().unwrap_or(&self.config.tenancy.column);
                let number = self.column(entry, relation, name)?;
                Some(Tenancy::Tenant { column: number, nulls: nulls.unwrap_or(self.config.tenancy.nulls) })
            }
            TableKind::Child { parents } => {
                let keys: Vec<_> =
                    parents.iter().filter_map(|p| self.parent_key(entry, relation, p)).collect();
                (keys.len() == parents.len()).then_some(Tenancy::Child { parents: keys })
            }
        }
    }

    fn parent_key(&mut self, entry: &str, relation: &Relation, link: &ParentLink) -> Option<ParentKey> {
        let parent = self.relation(entry, &link.parent)?;
        let columns: Vec<_> = link
            .on
            .iter()
            .filter_map(|(own, theirs)| {
                Some((self.column(entry, relation, own)?, self.column(entry, &parent, theirs)?))
            })
            .collect();
        if columns.len() != link.on.len() {
            return None;
        }
        let theirs: HashSet<i16> = columns.iter().map(|(_, theirs)| *theirs).collect();
        let unique = parent.unique_keys.iter().any(|key| key.iter().all(|c| theirs.contains(c)));
        if !unique {
            self.error(entry, format!("the columns of {} that `on` names are no unique key", link.parent));
        }
        Some(ParentKey { parent: parent.oid, columns })
    }

    /// Every child must reach a tenant relation; a cycle or a parent that is shared or denied is an error.
    fn check_parents(&mut self, tenancies: &mut HashMap<Oid, Tenancy>) {
        let children: Vec<Oid> = tenancies
            .iter()
            .filter(|(_, t)| matches!(t, Tenancy::Child { .. }))
            .map(|(oid, _)| *oid)
            .collect();
        for child in children {
            if !reaches_tenant(tenancies, child, 16) {
                let name = self
                    .catalog
                    .relation(child)
                    .map_or_else(String::new, |r| format!("{}.{}", r.schema, r.name));
                self.error(&format!("[[tables]] {name}"), "its parents do not lead to a tenant table".into());
            }
        }
    }

    fn table_access(&mut self) -> HashMap<Oid, HashSet<Operation>> {
        let entries = self.config.tables.iter().filter_map(|t| Some((&t.name, t.access.as_ref()?)));
        entries
            .filter_map(|(name, access)| {
                let relation = self.catalog.find_relation(Some(&name.schema), &name.name)?;
                Some((relation.oid, access.iter().copied().collect()))
            })
            .collect()
    }

    fn roles(&mut self) -> HashMap<String, RoleAccess> {
        let mut roles = HashMap::default();
        for role in &self.config.roles {
            let entry = format!("[[roles]] {}", role.name);
            let mut rules = HashMap::default();
            for rule in &role.rules {
                let Some(relation) = self.relation(&entry, &rule.table) else { continue };
                for column in &rule.denied_columns {
                    self.column(&entry, &relation, column);
                }
                rules.insert(relation.oid, Access::rule(&rule.allow, &rule.denied_columns));
            }
            let access = RoleAccess { read_only: role.read_only, default_allow: role.default_allow, rules };
            roles.insert(role.name.clone(), access);
        }
        roles
    }

    fn functions(&mut self) -> HashSet<(String, String)> {
        let mut functions = HashSet::default();
        for rule in &self.config.functions {
            let overloads = self.catalog.functions_named(&rule.name.name);
            if !overloads.iter().any(|f| f.schema == rule.name.schema) {
                self.error(&format!("[[functions]] {}", rule.name), "there is no such function".into());
            }
            functions.insert((rule.name.schema.clone(), rule.name.name.clone()));
        }
        functions
    }

    fn sequences(&mut self) -> HashMap<Oid, Vec<crate::config::model::SequenceAccess>> {
        let mut sequences = HashMap::default();
        for rule in &self.config.sequences {
            let entry = format!("[[sequences]] {}", rule.name);
            let Some(relation) = self.relation(&entry, &rule.name) else { continue };
            if relation.kind != RelationKind::Sequence {
                self.error(&entry, "it is no sequence".into());
            }
            sequences.insert(relation.oid, rule.access.clone());
        }
        sequences
    }

    fn relation(&mut self, entry: &str, name: &QualifiedName) -> Option<Relation> {
        let found = self.catalog.find_relation(Some(&name.schema), &name.name).map(|r| (**r).clone());
        if found.is_none() {
            self.error(entry, format!("there is no relation {name}"));
        }
        found
    }

    fn column(&mut self, entry: &str, relation: &Relation, name: &str) -> Option<i16> {
        let problem = match relation.column(name) {
            None => format!("{}.{} has no column {name}", relation.schema, relation.name),
            Some(column) if column.generated == Generated::Virtual => {
                format!(
                    "column {name} is a virtual generated one, which is an expression and no stored value"
                )
            }
            Some(column) => return Some(column.number),
        };
        self.error(entry, problem);
        None
    }

    fn error(&mut self, entry: &str, problem: String) {
        self.errors.push(PolicyError { entry: entry.to_owned(), problem });
    }
}

fn is_system(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

fn reaches_tenant(tenancies: &HashMap<Oid, Tenancy>, oid: Oid, depth: usize) -> bool {
    match tenancies.get(&oid) {
        Some(Tenancy::Tenant { .. }) => true,
        Some(Tenancy::Child { parents }) => {
            depth > 0
                && !parents.is_empty()
                && parents.iter().all(|p| reaches_tenant(tenancies, p.parent, depth - 1))
        }
        Some(Tenancy::Shared | Tenancy::Denied) | None => false,
    }
}
