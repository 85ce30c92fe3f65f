use super::*;

mod keys;
mod places;

const T: &str = "OPERATOR(pg_catalog.=) $9::int";

/// `app.t`, `app.u`: tenant tables; `app.n`: null rows are shared; `app.c`: a child of t; `app.m`: a child of t
/// or u; `app.w`: a child of c by two columns; `app.s`: shared; `app.k`: a tenant table whose t_id points at t and
/// whose (a, b) points at w's (t_id, no), both null by default; `app.kk`: one whose t_id points at t and at u, and has a
/// default.
struct Facts;

impl RelationFacts for Facts {
    fn tenancy(&self, schema: &str, name: &str) -> Tenancy {
        let tenant = |null_is_shared| Tenancy::Tenant { column: "tenant_id".into(), null_is_shared };
        match (schema, name) {
            ("pg_catalog", _) => Tenancy::Catalog,
            ("app", "t" | "u" | "k" | "kk") => tenant(false),
            ("app", "n") => tenant(true),
            ("app", "s") => Tenancy::Shared,
            ("app", "c") => Tenancy::Child { parents: vec![parent("t", &[("t_id", "id")])] },
            ("app", "m") => Tenancy::Child {
                parents: vec![parent("t", &[("t_id", "id")]), parent("u", &[("u_id", "id")])],
            },
            ("app", "w") => Tenancy::Child { parents: vec![parent("c", &[("t_id", "t_id"), ("no", "no")])] },
            _ => Tenancy::Unknown,
        }
    }

    fn column_place(&self, _: &str, _: &str, column: &str) -> Option<usize> {
        ["id", "tenant_id", "name"].iter().position(|c| *c == column)
    }

    fn keys(&self, _: &str, name: &str) -> Vec<ForeignKey> {
        let key = |target: &str, columns: &[(&str, &str)], null_by_default: &[&str]| ForeignKey {
            target: parent(target, columns),
            null_by_default: null_by_default.iter().map(|c| (*c).into()).collect(),
        };
        match name {
            "k" => vec![
                key("t", &[("t_id", "id")], &["t_id"]),
                key("w", &[("a", "t_id"), ("b", "no")], &["a", "b"]),
            ],
            "kk" => vec![key("t", &[("t_id", "id")], &[]), key("u", &[("t_id", "id")], &[])],
            _ => Vec::new(),
        }
    }
}

fn parent(name: &str, columns: &[(&str, &str)]) -> Parent {
    Parent {
        schema: "app".into(),
        name: name.into(),
        columns: columns.iter().map(|(c, k)| ((*c).into(), (*k).into())).collect(),
    }
}

/// Asks the witness; `=T` is short for the operator and the tenant.
fn ask(sql: &str) -> Witness {
    witness(&sql.replace("=T", T), 9, &Facts)
}

fn agrees(texts: &[&str]) {
    for sql in texts {
        assert_eq!(ask(sql), Witness::Agrees, "{sql}");
    }
}

fn contradicts(texts: &[&str]) {
    for sql in texts {
        assert!(matches!(ask(sql), Witness::Contradicts(_)), "{sql}: {:?}", ask(sql));
    }
}

#[test]
fn only_the_typed_parameter_under_postgresqls_own_operator_is_a_predicate() {
    agrees(&[
        "SELECT 1 FROM app.t WHERE t.tenant_id =T",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) CAST($9 AS pg_catalog.int4)",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::pg_catalog.text",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::uuid",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::app.tenant_kind",
        "SELECT 1 FROM app.t AS \"T\" WHERE \"T\".tenant_id =T",
        "SELECT 1 FROM APP.T WHERE T.TENANT_ID =T",
    ]);
    contradicts(&[
        "SELECT 1 FROM app.t WHERE t.tenant_id = $9::int",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(public.=) $9::int",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(=) $9::int",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $8::int",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $90::int",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::varchar(1)",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::char",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::numeric(1,0)",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::name",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::pg_catalog.name",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::real",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) $9::int::bigint",
        "SELECT 1 FROM app.t WHERE t.tenant_id OPERATOR(pg_catalog.=) '9'::int",
        "SELECT 1 FROM app.t WHERE tenant_id =T",
        "SELECT 1 FROM app.t WHERE app.t.tenant_id =T",
        "SELECT 1 FROM app.t WHERE (t).tenant_id =T",
        "SELECT 1 FROM app.t WHERE NOT t.tenant_id =T",
        "SELECT 1 FROM app.t WHERE (t.tenant_id =T) IS NOT NULL",
        "SELECT 1 FROM app.t WHERE t.tenant_id =T IS TRUE OR true",
        "SELECT 1 FROM app.t AS \"T\" WHERE t.tenant_id =T",
        "SELECT 1 FROM app.t WHERE COALESCE(t.tenant_id =T, true)",
        "SELECT 1 FROM app.t WHERE CASE WHEN t.tenant_id =T THEN true ELSE true END",
        "SELECT 1 FROM app.t WHERE t.tenant_id::int =T",
    ]);
}

#[test]
fn each_relation_needs_its_own_predicate_at_its_own_level() {
    contradicts(&[
        "SELECT 1 FROM app.t a, app.t b WHERE a.tenant_id =T",
        "SELECT 1 FROM app.t a WHERE a.tenant_id =T AND EXISTS (SELECT 1 FROM app.t b WHERE a.tenant_id =T)",
        "SELECT 1 FROM app.t a WHERE EXISTS (SELECT 1 FROM app.u b WHERE b.tenant_id =T AND a.tenant_id =T)",
        "SELECT 1 FROM (SELECT 1 FROM app.t a) x WHERE x.tenant_id =T",
        "SELECT 1 FROM app.t a GROUP BY 1 HAVING a.tenant_id =T",
        "SELECT 1 FROM app.t a JOIN app.u b ON a.tenant_id =T AND b.tenant_id =T",
        "SELECT 1 FROM app.t a WHERE a.tenant_id =T UNION SELECT 1 FROM app.t a",
        "SELECT 1 FROM app.elsewhere e WHERE e.tenant_id =T",
        "SELECT 1 FROM ccm.app.t t WHERE t.tenant_id =T",
    ]);
}

#[test]
fn a_nullable_relation_is_restricted_in_the_lowest_join_that_nulls_it() {
    agrees(&[
        "SELECT 1 FROM app.t a LEFT JOIN app.u b ON b.tenant_id =T WHERE a.tenant_id =T",
        "SELECT 1 FROM app.s LEFT JOIN (app.t a JOIN app.u b ON true) ON a.tenant_id =T AND b.tenant_id =T",
        "SELECT 1 FROM app.t a LEFT JOIN app.u b ON b.tenant_id =T RIGHT JOIN app.s ON a.tenant_id =T",
        "SELECT 1 FROM (app.s LEFT JOIN app.u b ON b.tenant_id =T) FULL JOIN app.s x ON true",
        "SELECT 1 FROM app.t a NATURAL JOIN app.s CROSS JOIN app.u b WHERE a.tenant_id =T AND b.tenant_id =T",
    ]);
    contradicts(&[
        "SELECT 1 FROM app.t a LEFT JOIN app.u b ON true WHERE a.tenant_id =T AND b.tenant_id =T",
        "SELECT 1 FROM app.t a LEFT JOIN app.u b ON a.tenant_id =T AND b.tenant_id =T",
        "SELECT 1 FROM app.s LEFT JOIN (app.s x LEFT JOIN app.u b ON true) ON b.tenant_id =T",
        "SELECT 1 FROM app.t a LEFT JOIN app.u b ON b.tenant_id =T RIGHT JOIN app.s ON true WHERE a.tenant_id =T",
        "SELECT 1 FROM app.t a FULL JOIN app.s ON a.tenant_id =T WHERE a.tenant_id =T",
        "SELECT 1 FROM app.s NATURAL LEFT JOIN app.t a WHERE a.tenant_id =T",
        "SELECT 1 FROM app.s LEFT JOIN app.t a USING (id) WHERE a.tenant_id =T",
        "SELECT 1 FROM app.s LEFT JOIN app.t a ON a.tenant_id =T OR true",
    ]);
}

#[test]
fn an_outer_alias_does_not_vouch_for_a_leg_under_a_joins_alias() {
    contradicts(&[
        "SELECT 1 FROM app.u a WHERE a.tenant_id =T AND EXISTS (SELECT 1 FROM (app.t a JOIN app.s ON true) j WHERE a.tenant_id =T)",
        "SELECT 1 FROM (app.t a JOIN app.s ON a.tenant_id =T) j",
        "SELECT 1 FROM (app.s LEFT JOIN app.t a ON a.tenant_id =T) j",
    ]);
    agrees(&["SELECT 1 FROM (app.t a JOIN app.s ON true) WHERE a.tenant_id =T"]);
}

#[test]
fn a_column_list_renames_by_place() {
    agrees(&[
        "SELECT 1 FROM app.t AS a(x, y) WHERE a.y =T",
        "SELECT 1 FROM app.t AS a(x) WHERE a.tenant_id =T",
    ]);
    contradicts(&[
        "SELECT 1 FROM app.t AS a(tenant_id, id) WHERE a.tenant_id =T",
        "SELECT 1 FROM app.t AS a(x, y) WHERE a.tenant_id =T",
    ]);
}

#[test]
fn a_child_is_proved_by_a_row_of_its_own_parent() {
    let case =
        |inner: &str| format!("SELECT 1 FROM app.c c WHERE CASE WHEN {inner} THEN true ELSE false END");
    agrees(&[&case(
        "EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T)",
    )]);
    for inner in [
        "EXISTS (SELECT 1 FROM app.t c WHERE c.id OPERATOR(pg_catalog.=) c.t_id AND c.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.u p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.id AND p.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.t p WHERE p.other OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.t p WHERE p.id = c.t_id AND p.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.t p WHERE p.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T HAVING true)",
        "EXISTS (SELECT count(*) FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T UNION SELECT 1)",
        "EXISTS (SELECT 1 FROM app.t p, app.s WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T)",
        "NOT EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T)",
        "c.t_id IN (SELECT p.id FROM app.t p WHERE p.tenant_id =T)",
        "EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T) OR true",
    ] {
        contradicts(&[&case(inner)]);
    }
    // As a bare semi-join it is not the form: a parallel plan can sort below it.
    contradicts(&[
        "SELECT 1 FROM app.c c WHERE EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) c.t_id AND p.tenant_id =T)",
    ]);
}

#[test]
fn rows_of_nobody_are_read_and_never_written() {
    agrees(&[
        "SELECT 1 FROM app.n WHERE (n.tenant_id =T OR n.tenant_id IS NULL)",
        "SELECT 1 FROM app.n WHERE n.tenant_id =T",
    ]);
    contradicts(&[
        "SELECT 1 FROM app.t WHERE (t.tenant_id =T OR t.tenant_id IS NULL)",
        "SELECT 1 FROM app.n WHERE (n.tenant_id =T OR n.id IS NULL)",
        "SELECT 1 FROM app.n WHERE (n.tenant_id =T OR n.tenant_id IS NOT NULL)",
        "UPDATE app.n SET a = 1 WHERE (n.tenant_id =T OR n.tenant_id IS NULL)",
        "DELETE FROM app.n WHERE (n.tenant_id =T OR n.tenant_id IS NULL)",
    ]);
}

#[test]
fn every_written_row_has_the_tenant_or_raises() {
    agrees(&[
        "INSERT INTO app.t (a, tenant_id) VALUES (1, $9::int), (DEFAULT, $9::int)",
        "INSERT INTO app.t (a, tenant_id) SELECT 1, $9::int UNION ALL (SELECT 2, $9::int)",
        "INSERT INTO app.t (tenant_id, a, b) SELECT $9::int, x.* FROM app.s x",
        "INSERT INTO app.t (a, b, tenant_id) SELECT x.*, $9::int FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a ELSE ('pgb' || x.a::text)::boolean::int END FROM app.s x",
        "INSERT INTO app.t (tenant_id) VALUES (CASE WHEN f(1) =T THEN $9::int ELSE 'pgb'::boolean::int END)",
        "INSERT INTO app.t (tenant_id) VALUES (CASE WHEN f(1) =T THEN $9::int WHEN ('pgb' OPERATOR(pg_catalog.||) pg_catalog.\"left\"(pg_catalog.random()::pg_catalog.text, 0))::boolean THEN NULL END)",
        "INSERT INTO app.s (a) VALUES (1)",
    ]);
    contradicts(&[
        "INSERT INTO app.t DEFAULT VALUES",
        "INSERT INTO app.t VALUES ($9::int)",
        "INSERT INTO app.t (a) VALUES (1)",
        "INSERT INTO app.t (a, tenant_id) VALUES (1, $9::int), (1, $1)",
        "INSERT INTO app.t (a, tenant_id) VALUES (1, $9::int), (1, DEFAULT)",
        "INSERT INTO app.t (a, tenant_id, b) SELECT x.*, $9::int FROM app.s x",
        "INSERT INTO app.t (tenant_id, a) SELECT *, $9::int FROM app.s x",
        "INSERT INTO app.t (a, tenant_id, b) SELECT x.*, $9::int, y.* FROM app.s x, app.s y",
        "INSERT INTO app.t SELECT *, $9::int FROM app.s x",
        "INSERT INTO app.t (a, tenant_id) SELECT 1, $9::int UNION SELECT 1, 2",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN random() =T THEN random() ELSE 'pgb'::boolean::int END",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.b ELSE 'pgb'::boolean::int END FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a ELSE x.a END FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a END FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a ELSE 'true'::boolean::int END FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a ELSE ('t' || x.b)::boolean::int END FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a ELSE ('pgb' || x.b)::int END FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a WHEN 'true'::boolean THEN x.a END FROM app.s x",
        "INSERT INTO app.t (tenant_id) SELECT CASE WHEN x.a =T THEN x.a WHEN true THEN x.a WHEN 'pgb'::boolean THEN NULL END FROM app.s x",
        "INSERT INTO pg_catalog.pg_class (relname) VALUES ('x')",
        "INSERT INTO app.elsewhere (tenant_id) VALUES ($9::int)",
        "INSERT INTO t (tenant_id) VALUES ($9::int)",
    ]);
}

#[test]
fn no_row_leaves_its_tenant_by_set() {
    agrees(&[
        "UPDATE app.t SET a = 1, tenant_id = $9::int WHERE t.tenant_id =T",
        "UPDATE app.t SET (a, tenant_id) = (1, $9::int) WHERE t.tenant_id =T",
        "UPDATE app.t x SET a = s.a FROM app.s WHERE x.tenant_id =T",
    ]);
    contradicts(&[
        "UPDATE app.t SET tenant_id = 2 WHERE t.tenant_id =T",
        "UPDATE app.t SET \"tenant_id\" = t.id WHERE t.tenant_id =T",
        "UPDATE app.t SET (a, tenant_id) = (1, 2) WHERE t.tenant_id =T",
        "UPDATE app.t SET (a, tenant_id) = (SELECT 1, 2) WHERE t.tenant_id =T",
        "UPDATE app.t SET (a, tenant_id) = ROW(1, 2) WHERE t.tenant_id =T",
        "UPDATE app.t SET tenant_id = DEFAULT WHERE t.tenant_id =T",
        "UPDATE app.t SET a = 1 FROM app.u WHERE t.tenant_id =T",
        "UPDATE app.t SET a = (SELECT id FROM app.u) WHERE t.tenant_id =T",
        "UPDATE app.t SET a = 1 WHERE t.tenant_id =T RETURNING (SELECT id FROM app.u LIMIT 1)",
        "UPDATE pg_catalog.pg_settings SET setting = 'rls'",
    ]);
}

#[test]
fn a_childs_key_names_the_tenants_parent() {
    const OWN: &str =
        "EXISTS (SELECT 1 FROM app.t p WHERE p.id OPERATOR(pg_catalog.=) KEY AND p.tenant_id =T)";
    let own = |key: &str| OWN.replace("KEY", key);
    let guarded = |key: &str| {
        format!("CASE WHEN {} THEN {key} ELSE ('pgb' || {key}::text)::boolean::int END", own(key))
    };
    let child = "CASE WHEN EXISTS (SELECT 1 FROM app.t q WHERE q.id OPERATOR(pg_catalog.=) c.t_id AND q.tenant_id =T) THEN true ELSE false END";
    agrees(&[
        &format!("INSERT INTO app.c (t_id, a) VALUES ({}, 1)", guarded("$1")),
        &format!(
            "INSERT INTO app.c (t_id) SELECT v.k FROM (VALUES (1)) v(k) WHERE CASE WHEN {} THEN true ELSE ('pgb' || v.k)::boolean END",
            own("v.k")
        ),
        &format!("UPDATE app.c c SET t_id = {} WHERE {child}", guarded("$1")),
        &format!("UPDATE app.c c SET a = 1 WHERE {child}"),
        &format!("INSERT INTO app.m (t_id, u_id) VALUES ({}, NULL)", guarded("7")),
        &format!(
            "INSERT INTO app.m (t_id) VALUES (CASE WHEN $1 IS NULL OR {} THEN $1 WHEN 'pgb'::boolean THEN NULL END)",
            own("$1")
        ),
        &format!(
            "INSERT INTO app.c (t_id) SELECT (SELECT CASE WHEN {} THEN v.v WHEN 'pgb'::boolean THEN NULL END FROM (SELECT f(x.a) AS v OFFSET 0) v) FROM app.s x",
            own("v.v")
        ),
    ]);
    contradicts(&[
        "INSERT INTO app.c (t_id) VALUES ($1)",
        "INSERT INTO app.c (a) VALUES ($1)",
        &format!("INSERT INTO app.c (t_id) VALUES ({}), ($1)", guarded("$1")),
        &format!(
            "INSERT INTO app.c (t_id) VALUES (CASE WHEN {} THEN $2 ELSE 'pgb'::boolean::int END)",
            own("$1")
        ),
        &format!("INSERT INTO app.c (t_id) VALUES (CASE WHEN {} THEN $1 ELSE $1 END)", own("$1")),
        &format!(
            "INSERT INTO app.c (t_id) SELECT v.k FROM (VALUES (1)) v(k) WHERE CASE WHEN {} THEN true ELSE false END",
            own("v.other")
        ),
        // Inside the sub-select the key is the parent's own column.
        &format!("INSERT INTO app.c (t_id) SELECT {} FROM app.s p", guarded("p.id")),
        &format!("INSERT INTO app.c (t_id) SELECT {} FROM app.s x", guarded("id")),
        &format!(
            "INSERT INTO app.c (t_id) VALUES (CASE WHEN $1 IS NULL OR {} THEN $1 WHEN 'pgb'::boolean THEN NULL END)",
            own("$1")
        ),
        &format!(
            "INSERT INTO app.m (t_id) VALUES (CASE WHEN $2 IS NULL OR {} THEN $1 WHEN 'pgb'::boolean THEN NULL END)",
            own("$1")
        ),
        &format!(
            "INSERT INTO app.c (t_id) SELECT (SELECT CASE WHEN {} THEN v.w WHEN 'pgb'::boolean THEN NULL END FROM (SELECT 1 AS v, 2 AS w) v)",
            own("v.v")
        ),
        &format!("UPDATE app.c c SET t_id = $1 WHERE {child}"),
        &format!("UPDATE app.c c SET t_id = NULL WHERE {child}"),
        &format!("INSERT INTO app.m (t_id, u_id) VALUES ({}, 7)", guarded("7")),
    ]);
}

#[test]
fn on_conflict_looks_at_the_row_that_is_there() {
    let upsert = |tail: &str| {
        format!("INSERT INTO app.t AS x (tenant_id, a) VALUES ($9::int, 1) ON CONFLICT (a) DO {tail}")
    };
    agrees(&[
        &upsert("NOTHING"),
        &upsert("UPDATE SET a = 2 WHERE x.tenant_id =T"),
        &upsert(
            "UPDATE SET a = 2 WHERE CASE WHEN x.tenant_id =T THEN (x.a > 1) ELSE ('pgb' || x.a)::boolean END",
        ),
    ]);
    contradicts(&[
        &upsert("UPDATE SET a = 2"),
        &upsert("UPDATE SET a = 2 WHERE excluded.tenant_id =T"),
        &upsert("UPDATE SET a = 2 WHERE x.tenant_id =T OR x.a > 1"),
        &upsert("UPDATE SET a = 2 WHERE CASE WHEN x.tenant_id =T THEN true ELSE true END"),
        &upsert("UPDATE SET tenant_id = 2 WHERE x.tenant_id =T"),
        &upsert("UPDATE SET a = (SELECT id FROM app.u) WHERE x.tenant_id =T"),
    ]);
}

#[test]
fn merge_locks_all_three_kinds_of_rows() {
    agrees(&[
        "MERGE INTO app.t t USING app.s s ON t.tenant_id =T WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (tenant_id) VALUES ($9::int)",
        "MERGE INTO app.t t USING app.u u ON t.tenant_id =T AND u.tenant_id =T WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
        "MERGE INTO app.t t USING app.s s ON t.tenant_id =T WHEN NOT MATCHED BY SOURCE AND t.tenant_id =T THEN DELETE",
    ]);
    contradicts(&[
        "MERGE INTO app.t t USING app.s s ON true WHEN MATCHED THEN DELETE",
        "MERGE INTO app.t t USING app.u u ON t.tenant_id =T WHEN MATCHED THEN DELETE",
        "MERGE INTO app.t t USING app.u u ON t.tenant_id =T AND u.tenant_id =T WHEN NOT MATCHED THEN INSERT (tenant_id, a) VALUES ($9::int, u.a)",
        "MERGE INTO app.t t USING app.u u ON t.tenant_id =T AND u.tenant_id =T WHEN NOT MATCHED AND u.a > 1 THEN DO NOTHING",
        "MERGE INTO app.t t USING app.s s ON t.tenant_id =T WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "MERGE INTO app.t t USING app.s s ON t.tenant_id =T WHEN NOT MATCHED BY SOURCE AND t.a > 1 THEN DELETE",
        "MERGE INTO app.t t USING app.s s ON t.tenant_id =T WHEN NOT MATCHED THEN INSERT (tenant_id) VALUES (2)",
        "MERGE INTO app.t t USING app.s s ON t.tenant_id =T WHEN NOT MATCHED THEN INSERT VALUES ($9::int)",
        "MERGE INTO app.t t USING app.s s ON t.tenant_id =T WHEN MATCHED THEN UPDATE SET tenant_id = 2",
    ]);
}

#[test]
fn a_contradiction_outweighs_what_cannot_be_read() {
    assert!(matches!(ask("SELECT 1 INTO x FROM app.t"), Witness::Contradicts(_)));
    assert!(matches!(ask("SELECT 1 INTO x FROM app.s"), Witness::CannotRead(_)));
}

#[test]
fn what_is_not_one_known_statement_cannot_be_read() {
    for sql in [
        "",
        "SELECT 1; SELECT 2",
        "SELEC",
        "CREATE TABLE x (a int)",
        "TRUNCATE app.t",
        "SELECT 1 FROM app.s QUALIFY true",
    ] {
        assert!(matches!(ask(sql), Witness::CannotRead(_)), "{sql}: {:?}", ask(sql));
    }
}

#[test]
fn words_that_postgresql_does_not_know_are_names() {
    agrees(&[
        "SELECT qualify.a, settings.b FROM app.s qualify, app.s settings, app.s minus",
        "SELECT 1 FROM app.s semi JOIN app.s anti ON true",
        "SELECT 1 FROM app.s FOR NO KEY UPDATE",
        "SELECT 1 FROM app.s a, app.s b FOR KEY SHARE OF a, b SKIP LOCKED",
    ]);
    contradicts(&[
        "SELECT 1 FROM (SELECT 1 FROM app.s a FOR UPDATE OF a, b) x, app.t",
        "SELECT 1 FROM app.t qualify",
    ]);
}

#[test]
fn a_copy_from_proves_its_rows_in_its_condition() {
    let lock = "CASE WHEN t.tenant_id =T THEN true WHEN ('p x' OPERATOR(pg_catalog.||) \
                COALESCE(pg_catalog.\"left\"(t.tenant_id::pg_catalog.text, 0), ''))::boolean THEN NULL END";
    agrees(&[
        &format!("COPY app.t(tenant_id, id) FROM STDIN WHERE {lock}"),
        &format!("COPY app.t(tenant_id, id) FROM STDIN WITH (FORMAT CSV, NULL 'x') WHERE {lock} AND id > 5"),
        "COPY app.t FROM STDIN WHERE t.tenant_id =T",
        "COPY app.s FROM STDIN",
    ]);
    contradicts(&[
        "COPY app.t FROM STDIN",
        "COPY app.t FROM STDIN WHERE id > 5",
        "COPY app.t FROM STDIN WHERE true OR t.tenant_id =T",
        "COPY app.t FROM STDIN WHERE t.tenant_id = 1",
        "COPY app.t FROM STDIN WHERE u.tenant_id =T",
        "COPY app.t FROM STDIN WHERE CASE WHEN t.tenant_id =T THEN true ELSE true END",
        "COPY app.t FROM STDIN WHERE CASE WHEN true THEN true WHEN ('p' || '')::boolean THEN NULL END",
        &format!("COPY t FROM STDIN WHERE {lock}"),
        &format!("COPY app.u FROM STDIN WHERE {lock}"),
        &format!("COPY app.c FROM STDIN WHERE {lock}"),
        "COPY pg_catalog.pg_class FROM STDIN WHERE t.tenant_id =T",
        "COPY app.unknown FROM STDIN WHERE t.tenant_id =T",
    ]);
    for sql in ["COPY app.t FROM STDIN WHERE t.tenant_id =T; SELECT 1", "COPY app.t FROM STDIN WHERE"] {
        assert!(matches!(ask(sql), Witness::CannotRead(_)), "{sql}: {:?}", ask(sql));
    }
}
