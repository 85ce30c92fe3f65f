//! The policy's data as the witness asks for it.

use crate::catalog::{Generated, Oid, Relation, RelationKind};
use crate::config::model::Nulls;
use crate::policy::Tenancy;

use super::World;
use super::catalogs::{CatalogVerdict, Catalogs};
use super::witness::{ForeignKey, Parent, RelationFacts, Tenancy as Told};

/// The witness's view of a world.
pub(in crate::sql) struct Facts<'w> {
    pub world: &'w World,
}

impl RelationFacts for Facts<'_> {
    fn tenancy(&self, schema: &str, name: &str) -> Told {
        if Catalogs::verdict(schema, name) != CatalogVerdict::Denied {
            return Told::Catalog;
        }
        let catalog = &self.world.catalog;
        let Some(relation) = catalog.find_relation(Some(schema), name) else { return Told::Unknown };
        let column = |number: i16| relation.column_numbered(number).map(|c| c.name.clone());
        match self.world.policy.tenancy(relation.oid) {
            Tenancy::Shared if relation.kind != RelationKind::Sequence => Told::Shared,
            Tenancy::Tenant { column: number, nulls } => match column(*number) {
                Some(column) => Told::Tenant { column, null_is_shared: *nulls == Nulls::Shared },
                None => Told::Unknown,
            },
            Tenancy::Child { parents } => {
                let told = parents.iter().filter_map(|key| self.parent(relation, key.parent, &key.columns));
                Told::Child { parents: told.collect() }
            }
            Tenancy::Shared | Tenancy::Denied => Told::Unknown,
        }
    }

    fn column_place(&self, schema: &str, name: &str, column: &str) -> Option<usize> {
        let relation = self.world.catalog.find_relation(Some(schema), name)?;
        relation.columns.iter().position(|c| c.name == column)
    }

    fn keys(&self, schema: &str, name: &str) -> Vec<ForeignKey> {
        let (catalog, policy) = (&self.world.catalog, &self.world.policy);
        let Some(relation) = catalog.find_relation(Some(schema), name) else { return Vec::new() };
        let mut keys = Vec::new();
        for key in &relation.foreign_keys {
            let told = match (policy.tenancy(relation.oid), policy.tenancy(key.target)) {
                (_, Tenancy::Shared | Tenancy::Denied) => true,
                (Tenancy::Tenant { column: own, .. }, Tenancy::Tenant { column: theirs, .. }) => {
                    key.columns.contains(&(*own, *theirs))
                }
                (Tenancy::Child { parents }, _) => {
                    parents.iter().any(|parent| parent.parent == key.target && parent.columns == key.columns)
                }
                (Tenancy::Tenant { .. } | Tenancy::Shared | Tenancy::Denied, _) => false,
            };
            let target = self.parent(relation, key.target, &key.columns);
            keys.extend(target.filter(|_| !told).map(|target| ForeignKey {
                target,
                null_by_default:
                    key.columns.iter().filter_map(|(own, _)| null_by_default(relation, *own)).collect(),
            }));
        }
        keys
    }
}

impl Facts<'_> {
    /// What a key of a relation points at, by names.
    fn parent(&self, relation: &Relation, parent: Oid, columns: &[(i16, i16)]) -> Option<Parent> {
        let parent = self.world.catalog.relation(parent)?;
        let name = |relation: &Relation, number| relation.column_numbered(number).map(|c| c.name.clone());
        let pair = |(own, theirs): &(i16, i16)| Some((name(relation, *own)?, name(parent, *theirs)?));
        let columns: Option<Vec<_>> = columns.iter().map(pair).collect();
        Some(Parent { schema: parent.schema.clone(), name: parent.name.clone(), columns: columns? })
    }
}

/// A column's name, where a row that leaves it out has null there.
fn null_by_default(relation: &Relation, number: i16) -> Option<String> {
    let column = relation.column_numbered(number)?;
    (!column.has_default && column.generated == Generated::Never).then(|| column.name.clone())
}
