//! Which relations of `pg_catalog` and `information_schema` may be read: an allow-list, `data/catalogs.tsv`, of what
//! `psql \d`, drivers and ORMs ask for, without the columns that count or show other tenants' rows.
//!
//! An allowed relation is allowed to SELECT alone: an UPDATE of `pg_settings` is `set_config` by a rule of the server.

use std::sync::LazyLock;

use foldhash::HashMap;

/// What may be done with a system relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogVerdict {
    /// SELECT may read it.
    Allowed {
        /// Columns that may not be named. `*` and a whole row hold them too: they leave them out or are refused.
        denied_columns: &'static [&'static str],
    },
    /// It holds what others own, or nobody needs it: as if it were not there.
    Denied,
}

/// The allow-list.
#[derive(Debug)]
pub struct Catalogs {
    schemas: HashMap<&'static str, HashMap<&'static str, Vec<&'static str>>>,
}

static LIST: LazyLock<Catalogs> = LazyLock::new(|| Catalogs::parse(include_str!("data/catalogs.tsv")));

impl Catalogs {
    /// Judges a relation by schema and name, both as the catalog spells them.
    pub fn verdict(schema: &str, relation: &str) -> CatalogVerdict {
        match LIST.schemas.get(schema).and_then(|relations| relations.get(relation)) {
            Some(denied) => CatalogVerdict::Allowed { denied_columns: denied },
            None => CatalogVerdict::Denied,
        }
    }

    fn parse(text: &'static str) -> Self {
        let mut schemas: HashMap<_, HashMap<_, _>> = HashMap::default();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let mut fields = line.split('\t');
            let (Some(schema), Some(relation), Some(denied)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let denied = denied.split(',').filter(|c| !c.is_empty()).collect();
            schemas.entry(schema).or_default().insert(relation, denied);
        }
        Self { schemas }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drivers_read_is_allowed() {
        let read = "pg_class pg_attribute pg_type pg_namespace pg_index pg_constraint pg_enum pg_range pg_description \
                    pg_attrdef pg_collation pg_am pg_sequence pg_roles pg_database pg_settings pg_tables pg_views";
        for relation in read.split_whitespace() {
            assert_ne!(Catalogs::verdict("pg_catalog", relation), CatalogVerdict::Denied, "{relation}");
        }
        for relation in ["tables", "columns", "key_column_usage", "referential_constraints", "schemata"] {
            assert_ne!(
                Catalogs::verdict("information_schema", relation),
                CatalogVerdict::Denied,
                "{relation}"
            );
        }
    }

    #[test]
    fn what_holds_others_data_is_denied() {
        let held = "pg_stats pg_stats_ext pg_stats_ext_exprs pg_statistic pg_statistic_ext_data pg_stat_activity \
                    pg_stat_all_tables pg_stat_user_tables pg_statio_user_tables pg_largeobject pg_largeobject_metadata pg_authid pg_shadow \
                    pg_user_mapping pg_user_mappings pg_locks pg_prepared_statements pg_prepared_xacts pg_cursors \
                    pg_file_settings pg_hba_file_rules pg_config pg_db_role_setting pg_subscription pg_foreign_server \
                    pg_replication_slots pg_backend_memory_contexts pg_aios pg_wait_events no_such_relation";
        for relation in held.split_whitespace() {
            assert_eq!(Catalogs::verdict("pg_catalog", relation), CatalogVerdict::Denied, "{relation}");
        }
        assert_eq!(Catalogs::verdict("information_schema", "user_mapping_options"), CatalogVerdict::Denied);
        assert_eq!(Catalogs::verdict("app", "pg_class"), CatalogVerdict::Denied);
    }

    /// They are schema, as pg_get_viewdef shows it to psql and SQLAlchemy; source of functions is not.
    #[test]
    fn definitions_of_views_are_shown_and_source_of_functions_is_not() {
        let open = CatalogVerdict::Allowed { denied_columns: &[] };
        for relation in ["pg_views", "pg_matviews", "pg_rules", "pg_policies"] {
            assert_eq!(Catalogs::verdict("pg_catalog", relation), open, "{relation}");
        }
        let CatalogVerdict::Allowed { denied_columns } = Catalogs::verdict("pg_catalog", "pg_proc") else {
            unreachable!("pg_proc is allowed")
        };
        assert!(denied_columns.contains(&"prosrc") && denied_columns.contains(&"prosqlbody"));
    }

    #[test]
    fn counts_of_other_tenants_rows_stay_hidden() {
        let CatalogVerdict::Allowed { denied_columns } = Catalogs::verdict("pg_catalog", "pg_class") else {
            unreachable!("pg_class is allowed")
        };
        assert!(denied_columns.contains(&"reltuples") && denied_columns.contains(&"relpages"));
        assert_eq!(
            Catalogs::verdict("pg_catalog", "pg_sequences"),
            CatalogVerdict::Allowed { denied_columns: &["last_value"] }
        );
        // What is read and hit counts every tenant's blocks; Sequelize asks for names.
        let CatalogVerdict::Allowed { denied_columns } =
            Catalogs::verdict("pg_catalog", "pg_statio_all_tables")
        else {
            unreachable!("the names of pg_statio_all_tables are allowed")
        };
        for kind in ["heap", "idx", "toast", "tidx"] {
            for what in ["read", "hit"] {
                assert!(denied_columns.contains(&format!("{kind}_blks_{what}").as_str()));
            }
        }
        assert_eq!(
            Catalogs::verdict("pg_catalog", "pg_index"),
            CatalogVerdict::Allowed { denied_columns: &[] }
        );
    }
}
