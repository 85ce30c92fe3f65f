//! What a tenant sees of a statement does not depend on the rows of others: each rewritten statement is run beside
//! adversarial rows of another tenant and beside tame ones, by many plans, and answers the same.

use std::sync::Arc;

use pgbulkhead::config::{Environment, parse};
use pgbulkhead::policy::{Policy, TenantId};
use pgbulkhead::sql::{Action, Limits, World, leaksafe::LeakSafe, plan, statements};

use crate::generator::{Generator, listed};
use crate::samples::SAMPLES;
use crate::server::{Random, Server, number};

pub const CONFIGURATION: &str = r#"
[general]
listen = ["127.0.0.1:6432"]

[[databases]]
name = "x"
host = "127.0.0.1"
port = 5432
dbname = "x"
user = "postgres"
tls = "disable"
search_path = ["app"]

[tenancy]
column = "tenant_id"

[[tables]]
name = "app.children"
kind = "child"
parent = "app.rows_"
on = { row_id = "key" }

[[functions]]
name = "app.leak"
kind = "pure"

[[users]]
name = "tenant_1"
verifier = "VERIFIER"
role = "app"
tenant = "1"

[audit]
sink = "none"
"#;

/// Ways to make the planner choose; random statements go the first three.
const PLANS: [&str; 7] = [
    "",
    "set enable_seqscan = off; set enable_bitmapscan = off",
    "set enable_seqscan = off; set enable_indexscan = off",
    "set enable_hashjoin = off; set enable_mergejoin = off",
    "set enable_hashjoin = off; set enable_nestloop = off",
    "set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
     set enable_hashjoin = off; set enable_mergejoin = off",
    "set plan_cache_mode = force_generic_plan",
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Leak {
    name: String,
    sql: String,
    /// A form that does leak.
    bare: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    values: Vec<String>,
    /// The first major that has it.
    min: Option<u32>,
    /// The first major where `bare` does not leak any more.
    below: Option<u32>,
    /// There is nothing that leaks in it by itself.
    #[serde(default)]
    same: bool,
}

struct Pair {
    adversarial: Server,
    tame: Server,
    world: World,
}

#[test]
fn what_a_tenant_sees_does_not_depend_on_rows_of_others() {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let pair = Pair::new();
        pair.written_leaks();
        pair.random_conditions();
    });
    thread.expect("a thread").join().expect("nothing of others is seen");
}

impl Pair {
    fn new() -> Self {
        let adversarial = Server::in_database("adversarial", &schema(true), &["app"]);
        let tame = Server::in_database("tame", &schema(false), &["app"]);
        let verifier = postgres_protocol::password::scram_sha_256(b"for the tests only");
        let text = CONFIGURATION.replace("VERIFIER", &verifier);
        let config = parse("pgbulkhead.toml", &text, &Environment::default()).expect("a configuration");
        let catalog = adversarial.catalog.clone();
        let policy = Policy::compile(&config, &catalog, 1, "n0nce").expect("the policy compiles");
        let world = World::new(Arc::new(catalog), Arc::new(policy));
        for server in [&adversarial, &tame] {
            server.run("set statement_timeout = '10s'; set TimeZone = 'America/New_York'").unwrap();
        }
        Self { adversarial, tame, world }
    }

    fn written_leaks(&self) {
        #[derive(serde::Deserialize)]
        struct File {
            leak: Vec<Leak>,
        }
        let file: File = toml::from_str(include_str!("leaks.toml")).expect("leaks.toml is well formed");
        let major = self.world.catalog.server_version_num / 10_000;
        let (mut wrong, mut shown) = (Vec::new(), 0);
        for leak in file.leak.iter().filter(|l| l.min.is_none_or(|min| min <= major)) {
            let sent = self.rewritten(&leak.sql, &leak.types);
            let sent = sent.unwrap_or_else(|refusal| panic!("{}: {refusal}", leak.name));
            wrong.extend(
                self.differences(&sent, leak, &PLANS).into_iter().map(|d| format!("{}: {d}", leak.name)),
            );
            let leaks = |bare: &String| !self.differences(bare, leak, &PLANS).is_empty();
            match &leak.bare {
                Some(bare) if leak.below.is_none_or(|below| major < below) => {
                    shown += 1;
                    if !leaks(bare) {
                        wrong
                            .push(format!("{}: the form without a barrier shows nothing: {bare}", leak.name));
                    }
                }
                _ => {}
            }
            assert!(leak.bare.is_none() || !leak.same, "{}: either it leaks or not", leak.name);
        }
        println!("{} statements, {shown} of which leak without a barrier", file.leak.len());
        assert!(
            wrong.is_empty(),
            "{} depend on rows of others, or do not where they should:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }

    fn random_conditions(&self) {
        let list = LeakSafe::load(&self.world.catalog);
        let names = self.tame.query(
            "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 11 AND oprleft <> 0 ORDER BY 1",
        );
        let mut generator = Generator {
            random: Random::seeded(),
            operators: names,
            listed: listed(&self.world.catalog, &list),
            parameter: false,
        };
        let none = Leak {
            name: String::new(),
            sql: String::new(),
            bare: None,
            types: Vec::new(),
            values: Vec::new(),
            min: None,
            below: None,
            same: true,
        };
        let (mut run, mut refused, mut wrong) = (0, 0, Vec::new());
        for _ in 0..number("PGBULKHEAD_TEST_CASES", 2_000) / 8 {
            let condition = match generator.random.below(2) {
                0 => generator.condition(),
                _ => generator.guided(&self.world.catalog),
            };
            let form = *generator.random.of(&FORMS);
            match self.rewritten(&form.replace("$condition", &condition), &[]) {
                Err(_) => refused += 1,
                Ok(sent) => {
                    run += 1;
                    wrong.extend(self.differences(&sent, &none, &PLANS[..3]));
                }
            }
        }
        println!("{run} random statements, {refused} refused");
        assert!(wrong.is_empty(), "{} depend on rows of others:\n{}", wrong.len(), wrong.join("\n"));
        assert!(run > 100, "nothing was run");
    }

    fn rewritten(&self, sql: &str, types: &[String]) -> Result<String, String> {
        let mut found = statements(sql, &Limits::default()).map_err(|r| r.to_string())?;
        let mut statement = found.pop().ok_or("no statement")?;
        let oid = |name: &String| self.world.catalog.find_type(None, name).map(|t| t.oid);
        statement.parameter_types = types.iter().map(oid).collect::<Option<_>>().ok_or("an unknown type")?;
        let planned = plan(&self.world, "app", &statement).map_err(|r| r.to_string())?;
        let Action::Send { sql, .. } = &planned.action else { return Err("nothing is sent".into()) };
        let mut text = Vec::new();
        let literal = |index| statement.token(index).unwrap_or_default().as_bytes();
        match types {
            [] => sql.render_simple(&mut text, TenantId::new("1").as_ref(), literal),
            _ => sql.render_extended(&mut text, planned.parameters.saturating_add(1), literal),
        }
        String::from_utf8(text).map_err(|e| e.to_string())
    }

    /// The statement for the other database: the indexes that it relies on have other numbers there.
    fn with_indexes_of_tame(&self, sent: &str) -> String {
        let mut text = sent.to_owned();
        for index in self.world.catalog.relations().filter(|r| r.schema == "app") {
            if let Some(other) = self.tame.catalog.find_relation(Some("app"), &index.name) {
                let number = |oid| format!("'{oid}'::pg_catalog.oid");
                text = text.replace(&number(index.oid), &number(other.oid));
            }
        }
        text
    }

    /// Where the two databases answer differently.
    fn differences(&self, sent: &str, leak: &Leak, plans: &[&str]) -> Vec<String> {
        let mut differences = Vec::new();
        let to_tame = self.with_indexes_of_tame(sent);
        for settings in plans {
            let [beside_adversarial, beside_tame] = [(&self.adversarial, sent), (&self.tame, &to_tame)]
                .map(|(server, sent)| outcome(server, settings, sent, leak));
            if beside_adversarial != beside_tame {
                differences.push(format!(
                    "{sent}\n  plans: {settings}\n  beside adversarial rows: {beside_adversarial:?}\n  beside tame rows: {beside_tame:?}"
                ));
            }
        }
        differences
    }
}

/// What a statement answers in a transaction that is taken back: its rows, or the error.
fn outcome(server: &Server, settings: &str, sent: &str, leak: &Leak) -> Result<Vec<String>, String> {
    let begin = format!(
        "deallocate all; reset all; set search_path = app; set statement_timeout = '10s';
         set TimeZone = 'America/New_York'; set client_min_messages = warning; set app.armed = on;
         {settings}; begin"
    );
    server.run(&begin).expect("a transaction begins");
    let answer = if leak.types.is_empty() {
        server.answer(sent)
    } else {
        let types: Vec<&str> = leak.types.iter().map(String::as_str).chain(["int4"]).collect();
        let values: Vec<String> =
            leak.values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
        let prepare = format!("prepare p({}) as {sent}", types.join(", "));
        server.run(&prepare).and_then(|()| server.answer(&format!("execute p({}, '1')", values.join(", "))))
    };
    server.run("rollback").expect("a transaction ends");
    answer.map(|mut rows| {
        rows.sort();
        rows
    })
}

/// Where a condition can stand.
const FORMS: [&str; 12] = [
    "select key from rows_ where $condition",
    "select count(*) from rows_ where txt like '(%' and $condition",
    "select content from rows_ join children on row_id = key where $condition",
    "select key from (select * from rows_) q where $condition",
    "select key from rows_ a where a.key in (select key from rows_ where $condition)",
    "select key from rows_ a where a.txt like '(%' and a.key not in (select key from rows_ where $condition)",
    "select a.key from rows_ a where exists (select from rows_ where rows_.key = a.key and $condition)",
    "select content from children left join rows_ on rows_.key = row_id and $condition",
    "update rows_ set i4 = 1 where $condition",
    "select key from rows_ a where a.key = (select max(key) from rows_ where $condition)",
    "with q as (select * from rows_ where $condition) select key from q where b",
    "select content from children where exists (select from rows_ where rows_.key = row_id and $condition)",
];

/// Tenant 1 has rows of nulls and plain values. Tenant 2's come first, adversarial or of nulls.
fn schema(adversarial: bool) -> String {
    let columns: Vec<String> = SAMPLES.iter().map(|(name, ty, ..)| format!("{name} {ty}")).collect();
    let mut text = format!(
        "CREATE SCHEMA app; SET search_path = app;
         CREATE TYPE mood AS ENUM ('sad', 'happy');
         CREATE COLLATION careless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE rows_ (tenant_id int NOT NULL, key int PRIMARY KEY, sloppy text COLLATE careless, {});
         CREATE TABLE children (row_id int NOT NULL REFERENCES rows_, content text);
         CREATE FUNCTION leak(t text) RETURNS bool LANGUAGE plpgsql COST 0.0001 IMMUTABLE AS
           $$ BEGIN IF t LIKE '(%' THEN RAISE EXCEPTION 'seen: %', t; END IF; RETURN true; END $$;
         CREATE TABLE odd (tenant_id int NOT NULL, n int);
         CREATE FUNCTION odd_order(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
           $$ BEGIN IF 6 IN ($1, $2) AND current_setting('app.armed', true) = 'on' THEN RAISE EXCEPTION 'seen'; END IF;
              RETURN btint4cmp($1, $2); END $$;
         CREATE OPERATOR CLASS odd_ops FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
           OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 odd_order(int, int);",
        columns.join(", ")
    );
    let most = SAMPLES.iter().map(|s| s.3.len()).max().unwrap_or(0);
    let names: Vec<&str> = SAMPLES.iter().map(|s| s.0).collect();
    for row in 0..=most {
        let value = |(_, _, _, values): &(&str, &str, &str, &[&str])| match values
            .get(row % (values.len() + 1))
        {
            // The statistics of such a range cannot be made.
            Some(value) if adversarial && *value != "[0,1e400]" => format!("'{}'", value.replace('\'', "''")),
            _ => "NULL".to_owned(),
        };
        let values: Vec<String> = SAMPLES.iter().map(value).collect();
        let sloppy = if adversarial { "'((('" } else { "NULL" };
        text.push_str(&format!(
            "INSERT INTO rows_ (tenant_id, key, sloppy, {}) VALUES (2, {}, {sloppy}, {});",
            names.join(", "),
            2_000 + row,
            values.join(", ")
        ));
    }
    let content = if adversarial { "'((( ' || n" } else { "NULL" };
    let odd = if adversarial { 6 } else { 14 };
    text.push_str(&format!(
        "INSERT INTO children SELECT 2000 + n, {content} FROM generate_series(0, {most}) n;
         INSERT INTO odd VALUES (2, {odd});
         INSERT INTO rows_ (tenant_id, key, txt, vc, i4, b) SELECT 1, n,
           CASE WHEN n % 3 = 0 THEN n::text END, CASE WHEN n % 3 = 0 THEN 'v' || n END, n, NULL
           FROM generate_series(1, 40) n;
         INSERT INTO children SELECT n, 'page ' || n FROM generate_series(1, 40, 3) n;
         INSERT INTO children SELECT n, n::text FROM generate_series(2, 40, 3) n;
         INSERT INTO odd SELECT 1, n FROM generate_series(1, 11) n WHERE n <> 6;
         CREATE INDEX ON odd (n odd_ops);
         DO $$ BEGIN IF current_setting('server_version_num')::int >= 180000 THEN
           EXECUTE 'ALTER TABLE rows_ ADD virt bool GENERATED ALWAYS AS (''a'' ~ txt) VIRTUAL'; END IF; END $$;",
    ));
    // Both databases have the same indexes; an index on what the rows cannot take would not be built.
    text.push_str(
        "CREATE INDEX ON rows_ (tenant_id, i4); CREATE INDEX ON rows_ USING gin (ta); CREATE INDEX ON rows_ (vc);
         CREATE INDEX ON rows_ (tenant_id, lower(vc)); CREATE INDEX ON rows_ USING gin (js);
         CREATE INDEX ON rows_ ((js->>'k')); CREATE INDEX ON rows_ (left(txt, 20));
         CREATE INDEX ON rows_ ((txt::numeric)) WHERE tenant_id = 1; CREATE INDEX ON rows_ (tz);
         CREATE INDEX ON rows_ USING gin (tv); CREATE INDEX ON children (row_id);
         ANALYZE;",
    );
    text
}
