//! The crate's own printer beside pg_query's: the same text for every statement that it takes, over all recorded and
//! all written statements of the corpora; and it takes nearly all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pg_query::NodeEnum;
use pgbulkhead::sql::Tree;
use pgbulkhead::sql::print::print;
use recorded::recorded;

#[path = "support/recorded.rs"]
mod recorded;

/// Share of the statements on rows that the printer must take, in thousandths.
const TAKEN_PER_MILLE: usize = 930;

/// Statements beside the recorded ones, for what these do not hold.
const WRITTEN: &[&str] = &[
    "select",
    "select a.* from t a where not (not a.x and (a.y or a.z)) and (a.p and a.q or a.r)",
    "select (a + b) * c - (d - e) - -f ^ 2, (a = b) = c, -(-a), - -1, (-1)::int, (-1.5)::numeric, 1.5::numeric, ~a, @ -a",
    "select a between b and c and d not between symmetric (a is null) and (b or c), (a between b and c) is true from t",
    "select 'it''s', E'a\\\\b''c', 'a\\b', b'101', x'1F', null, true, false, 'x'::bool, 't'::bool, char 'x', 'x'::bpchar",
    "select \"A\", \"select\", \"a\"\"b\", \"ü\", t.\"user\", u.value from \"S\".\"T\" t, only s.u",
    "select a[1], a[1:2], a[:2], a[:], (a).b, (a.b).c[1].*, (f(a)).x, ($1).y, $1[2], (select a)[1] from t",
    "select a operator(pg_catalog.=) b, a operator(s.+) b * c, a = any(b), a <> all(select 1), a like any(b), x in (1, 2), (a in (1)) = b",
    "select (d = x) = any(c), d = (x = any(c)), d || (x = any(c)), (x in (select 1)) in (select true)",
    "select exists (select), array(select 1), array[1, 2], array[[1], [2]], array[]::int[], row(1, 2), (1, 2), row() = row()",
    "select case a when 1 then 2 else 3 end, case when exists (select 1) then (select 2) end, array[case when a then b end]",
    "select coalesce(a, case when b then c end), greatest(1, 2), least(a), nullif(a, b + 1), a is distinct from (b is null)",
    "select count(*), count(distinct a), sum(a order by b desc nulls last, c using <), max(a) filter (where b or c), f(variadic a), f(x => 1, \"Y\" => 2)",
    "select percentile_cont(0.5) within group (order by a), rank() over (partition by a, b order by c), rank() over (), sum(a) over w, sum(a) over (order by b rows 1 preceding) from t window w as (order by z)",
    "select a collate \"C\" < b, (a || b) collate s.\"d\", a at time zone 'UTC', extract(year from a), overlay(a placing b from 1), substring(a from 1 for 2), pg_catalog.overlay(a, b, c, d)",
    "select a::int, a::bigint[], a::numeric(10, 2), a::varchar(3), a::text[3][], a::timestamptz(3), a::interval day to second, interval '1 day', a::pg_catalog.\"char\", a::s.\"T\", a::double precision, a::real, a::time with time zone, a::bit(3), point '(1,2)', '(1,2)'::point",
    "select current_date, current_timestamp(2), current_user, localtime",
    "select * from a join b on a.x = b.x left join (c cross join d) on true natural join e full join f using (x, y) right join lateral (select 1) g on true",
    "select * from (a join b using (x) as j) k, (c natural left join d) as m (p, q), lateral f(1) with ordinality as g (a, b), rows from (f(1), g(2)), f(1) as h (a int)",
    "select distinct a, b from t group by distinct a, rollup (b, c), () having count(*) > 1 order by 1 limit all offset 2 for update of t skip locked for share nowait",
    "select distinct on (a, b) a from t group by a order by a fetch first 3 rows with ties",
    "(select 1 order by 1) union all (select 2 limit 1) except (select 3 intersect select 4) order by 1 for no key update",
    "with recursive x (a) as not materialized (values (1, 'a'), (default, null)), y as materialized (select 1 union select 2) select * from x, y",
    "with x as (select 1) (with y as (select 2) select * from y) union table z",
    "with recursive x as (select 1) search depth first by a set b select 1",
    "select a into b from c",
    "insert into t default values",
    "insert into s.t as x (a, b[1], c.d) overriding system value values (1, default, 'x') on conflict (a, b) where c do update set a = excluded.a, b[1] = 2 where x.c returning *, a as \"B\"",
    "insert into t (a) with x as (select 1) select * from x on conflict on constraint k do nothing",
    "insert into t select 1 union select 2 order by 1 on conflict do nothing returning with (old as o) o.a",
    "insert into t (a) values (1) on conflict (lower(a), b collate \"C\") do nothing",
    "with x as (insert into t values (1) returning a) update only s.t as u set a = x.a, b = default, (c, d) = (1, 2) from x, y where u.id = x.a returning u.*",
    "update t set a = (select 1), b.c = 2 where current of k",
    "delete from t as u using a join b on true, c where u.x = a.x returning (select 1)",
    "with x as (delete from t returning *) select * from x",
    "merge into t using s on t.a = s.a when matched then delete",
    "select a like b escape c, a similar to b, a ilike b, a not ilike b, a !~~ b, not a like b, (a like b) like c",
    "select a is json, xmlparse(document a), json_object('a': 1), grouping(a) from t group by a",
];

#[test]
fn the_printer_prints_what_pg_query_prints() {
    let work = || {
        let mut texts = corpora();
        for sql in WRITTEN {
            assert!(pg_query::parse(sql, 0).is_ok(), "{sql}");
            texts.insert((*sql).to_owned());
        }
        let (mut taken, mut asked) = (0_usize, 0_usize);
        let mut others = Vec::new();
        for sql in &texts {
            let Ok(parsed) = pg_query::parse(sql, 0) else { continue };
            for statement in parsed.protobuf.stmts {
                let Some(tree) = statement.stmt else { continue };
                let tree = Tree::of(*tree).node;
                let on_rows = matches!(
                    tree.node,
                    Some(
                        NodeEnum::SelectStmt(_)
                            | NodeEnum::InsertStmt(_)
                            | NodeEnum::UpdateStmt(_)
                            | NodeEnum::DeleteStmt(_)
                    )
                );
                asked += usize::from(on_rows);
                let Some(printed) = print(&tree) else { continue };
                taken += 1;
                let expected = tree.deparse(pg_query::DeparseOptions::default());
                if expected.as_ref().ok() != Some(&printed) {
                    others.push((printed, expected));
                }
            }
        }
        println!("{taken} of {asked} are printed, {:.1} %", taken as f64 * 100.0 / asked as f64);
        assert!(others.is_empty(), "pg_query prints {} otherwise: {others:#?}", others.len());
        assert!(asked > 10_000, "the corpora are there");
        assert!(taken * 1000 >= asked * TAKEN_PER_MILLE, "{taken} of {asked}");
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(work).expect("a thread");
    thread.join().expect("every text is the same");
}

#[test]
fn what_is_nested_too_deeply_is_left() {
    let work = || {
        let tree = |sql: &str| pg_query::parse(sql, 0).expect("it parses").protobuf.stmts.remove(0).stmt;
        for (open, close, times) in [("(select ", ")", 500), ("f(", ")", 500), ("not ", "", 500)] {
            let sql = format!("select {}a{}", open.repeat(times), close.repeat(times));
            assert_eq!(tree(&sql).and_then(|tree| print(&tree)), None, "{open}");
        }
        let flat = format!("select 1 in ({}0)", "1, ".repeat(100_000));
        assert!(tree(&flat).is_some_and(|tree| print(&tree).is_some()));
    };
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(work).expect("a thread");
    thread.join().expect("the run passes");
}

/// Every text of the corpora.
fn corpora() -> BTreeSet<String> {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut texts = recorded(&[corpus.join("orm_suites"), corpus.join("orm_sql")]);
    for file in ["attacks", "attacks_cve", "attacks_pg18", "legit", "legit_pg18", "sessions"] {
        let lines = std::fs::read_to_string(corpus.join(file).with_extension("jsonl")).expect("a corpus");
        for line in lines.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            collect(&line, &mut texts);
        }
    }
    texts
}

/// Every string below `sql` and `steps`.
fn collect(value: &serde_json::Value, texts: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            texts.insert(text.clone());
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}
