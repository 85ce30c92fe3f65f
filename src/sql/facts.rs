//! The policy's data as the witness asks for it.

use crate::catalog::RelationKind;
use crate::config::model::Nulls;
use crate::policy::Tenancy;

use super::World;
use super::catalogs::{CatalogVerdict, Catalogs};
use super::witness::{Parent, RelationFacts, Tenancy as Told};

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
                let told = parents.iter().filter_map(|key| {
                    let parent = catalog.relation(key.parent)?;
                    let pair = |(own, theirs): &(i16, i16)| {
                        Some((column(*own)?, parent.column_numbered(*theirs)?.name.clone()))
                    };
                    let columns: Option<Vec<_>> = key.columns.iter().map(pair).collect();
                    Some(Parent {
                        schema: parent.schema.clone(),
                        name: parent.name.clone(),
                        columns: columns?,
                    })
                });
                Told::Child { parents: told.collect() }
            }
            Tenancy::Shared | Tenancy::Denied => Told::Unknown,
        }
    }

    fn column_place(&self, schema: &str, name: &str, column: &str) -> Option<usize> {
        let relation = self.world.catalog.find_relation(Some(schema), name)?;
        relation.columns.iter().position(|c| c.name == column)
    }
}
