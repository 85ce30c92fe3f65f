//! Foreign keys that do not carry the tenant.

use super::{agrees, contradicts};

/// The proof of a key: `p` is the row that it points at, and null passes.
fn proved(target: &str, value: &str) -> String {
    format!(
        "CASE WHEN EXISTS (SELECT 1 FROM app.{target} p WHERE p.id OPERATOR(pg_catalog.=) {value} AND p.tenant_id =T) \
         OR {value} IS NULL THEN {value} WHEN ('pgb' || random())::boolean THEN NULL END"
    )
}

#[test]
fn a_foreign_key_without_the_tenant_is_proved_or_null() {
    let insert = |value: &str| format!("INSERT INTO app.k (tenant_id, t_id) VALUES ($9::int, {value})");
    let update = |value: &str| format!("UPDATE app.k SET t_id = {value} WHERE k.tenant_id =T");
    let upsert = |value: &str| {
        format!(
            "INSERT INTO app.k (tenant_id, id) VALUES ($9::int, 1) ON CONFLICT (id) DO UPDATE SET t_id = {value} \
             WHERE k.tenant_id =T"
        )
    };
    let merge = |value: &str| {
        format!(
            "MERGE INTO app.k USING app.s x ON k.tenant_id =T AND k.id = x.id WHEN MATCHED THEN UPDATE SET t_id = {value} \
             WHEN NOT MATCHED THEN INSERT (tenant_id, t_id) VALUES ($9::int, {value})"
        )
    };
    for value in ["$1", "7", "x.id", "'7'::bigint"] {
        let proof = proved("t", value);
        let select = format!("INSERT INTO app.k (tenant_id, t_id) SELECT $9::int, {proof} FROM app.s x");
        agrees(&[&insert(&proof), &update(&proof), &upsert(&proof), &merge(&proof), &select]);
        let wrongs = [
            value.to_owned(),
            // Another relation, another column of it, no tenant, another parameter, another operator.
            proved("u", value),
            proof.replace("p.id", "p.tenant_id"),
            proof.replace(" AND p.tenant_id =T", ""),
            proof.replace("=T", "OPERATOR(pg_catalog.=) $8::int"),
            proof.replace("p.id OPERATOR(pg_catalog.=)", "p.id ="),
            // The proof is of another value, lets another through, or stops nobody.
            proof.replacen(value, "8", 1),
            proof.replace(&format!("THEN {value}"), "THEN 8"),
            proof.replace("WHEN ('pgb' || random())::boolean THEN NULL", &format!("ELSE {value}")),
            proof.replace("IS NULL", "IS NOT NULL"),
            proof.replace("OR ", "OR true OR "),
        ];
        for wrong in wrongs {
            contradicts(&[&insert(&wrong), &update(&wrong), &upsert(&wrong), &merge(&wrong)]);
        }
    }
    for null in ["NULL", "NULL::bigint", "DEFAULT"] {
        agrees(&[&insert(null), &update(null), &upsert(null)]);
    }
    agrees(&[
        "INSERT INTO app.k (tenant_id) VALUES ($9::int)",
        "UPDATE app.k SET name = 'x' WHERE k.tenant_id =T",
    ]);
}

#[test]
fn a_key_with_a_default_is_not_null_where_it_is_left_out() {
    contradicts(&[
        "INSERT INTO app.kk (tenant_id) VALUES ($9::int)",
        "INSERT INTO app.kk (tenant_id, t_id) VALUES ($9::int, DEFAULT)",
        "UPDATE app.kk SET t_id = DEFAULT WHERE kk.tenant_id =T",
    ]);
    agrees(&["UPDATE app.kk SET name = 'x' WHERE kk.tenant_id =T"]);
}

#[test]
fn of_two_keys_on_one_column_each_is_proved() {
    let insert = |value: &str| format!("INSERT INTO app.kk (tenant_id, t_id) VALUES ($9::int, {value})");
    let inner = proved("t", "$1");
    let outer =
        |inner: &str| format!("(SELECT {} FROM (SELECT {inner} AS v OFFSET 0) x)", proved("u", "x.v"));
    agrees(&[&insert(&outer(&inner))]);
    contradicts(&[
        &insert(&inner),
        &insert(&outer("$1")),
        &insert(&outer(&inner).replace("AS v", "AS w")),
        &insert(&outer(&inner).replace(") x)", ") y)")),
        &insert(&outer(&inner).replacen("THEN x.v", "THEN $1", 1)),
    ]);
}

#[test]
fn a_key_of_several_columns_is_proved_as_a_whole() {
    let own = "CASE WHEN EXISTS (SELECT 1 FROM app.t q WHERE q.id OPERATOR(pg_catalog.=) p.t_id AND q.tenant_id =T) \
               THEN true ELSE false END";
    let exists = |a: &str, b: &str| {
        format!(
            "EXISTS (SELECT 1 FROM app.w p WHERE p.t_id OPERATOR(pg_catalog.=) {a} AND p.no OPERATOR(pg_catalog.=) {b} \
             AND CASE WHEN EXISTS (SELECT 1 FROM app.c r WHERE r.t_id OPERATOR(pg_catalog.=) p.t_id AND \
             r.no OPERATOR(pg_catalog.=) p.no AND {}) THEN true ELSE false END)",
            own.replace("p.t_id", "r.t_id")
        )
    };
    let raise = "WHEN ('pgb' || random())::boolean THEN NULL END";
    let plain = format!("CASE WHEN {} OR $1 IS NULL OR $2 IS NULL THEN $1 {raise}", exists("$1", "$2"));
    let once = format!(
        "(SELECT CASE WHEN {} OR y.v IS NULL OR z.v IS NULL THEN y.v {raise} FROM (SELECT m AS v OFFSET 0) y, \
         (SELECT n AS v OFFSET 0) z)",
        exists("y.v", "z.v")
    );
    agrees(&[
        &format!("INSERT INTO app.k (tenant_id, a, b) VALUES ($9::int, {plain}, $2)"),
        &format!("INSERT INTO app.k (tenant_id, a, b) SELECT $9::int, {once}, n FROM app.s"),
        "INSERT INTO app.k (tenant_id, a, b) VALUES ($9::int, NULL, $2)",
        "INSERT INTO app.k (tenant_id, a) VALUES ($9::int, $1)",
    ]);
    contradicts(&[
        "INSERT INTO app.k (tenant_id, a, b) VALUES ($9::int, $1, $2)",
        &format!("INSERT INTO app.k (tenant_id, a, b) VALUES ($9::int, {plain}, $3)"),
        &format!("INSERT INTO app.k (tenant_id, a, b) SELECT $9::int, {once}, m FROM app.s"),
        &format!("INSERT INTO app.k (tenant_id, a, b) VALUES ($9::int, {}, $2)", plain.replace("$2", "$1")),
    ]);
}

#[test]
fn rows_whose_columns_are_not_named_prove_no_key() {
    contradicts(&["INSERT INTO app.k VALUES ($9::int, NULL)", "INSERT INTO app.k SELECT * FROM app.s"]);
}

#[test]
fn a_copy_writes_no_key() {
    let lock = "CASE WHEN k.tenant_id =T THEN true WHEN ('pgb' || random())::boolean THEN NULL END";
    agrees(&[&format!("COPY app.k (tenant_id, name) FROM STDIN WHERE {lock}")]);
    agrees(&[&format!("COPY app.k (tenant_id, name, a) FROM STDIN WHERE {lock}")]);
    contradicts(&[
        &format!("COPY app.k (tenant_id, t_id) FROM STDIN WHERE {lock}"),
        &format!("COPY app.k (tenant_id, a, \"b\") FROM STDIN WHERE {lock}"),
        &format!("COPY app.k FROM STDIN WHERE {lock}"),
        &format!("COPY app.kk (tenant_id, name) FROM STDIN WHERE {}", lock.replace("k.", "kk.")),
    ]);
}
