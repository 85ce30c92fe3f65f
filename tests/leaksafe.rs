//! Which conditions stay bare, case by case (`leaksafe_cases.tsv`), over the catalog of the fixture.

mod catalog;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};
use pgbulkhead::catalog::{Oid, Snapshot};
use pgbulkhead::sql::leaksafe::{BindRule, LARGEST_TEXT, LeakSafe, Total};
use pgbulkhead::sql::resolve::oid;
use pgbulkhead::sql::typed::{Bound, ColumnInfo};

/// Columns: name, type, modifier, collation (0: the type's).
const COLUMNS: [(&str, &str, i32, Oid); 40] = [
    ("id", "int8", -1, 0),
    ("n", "int4", -1, 0),
    ("sm", "int2", -1, 0),
    ("price", "numeric", ((10 << 16) | 2) + 4, 0),
    ("amount", "numeric", -1, 0),
    ("f", "float8", -1, 0),
    ("b", "bool", -1, 0),
    ("title", "text", -1, 0),
    ("name", "varchar", 84, 0),
    ("code", "bpchar", 6, 0),
    ("bounded", "text", -1, 0),
    ("status", "status", -1, 0),
    ("uid", "uuid", -1, 0),
    ("created_at", "timestamptz", -1, 0),
    ("ts", "timestamp", -1, 0),
    ("day", "date", -1, 0),
    ("t", "time", -1, 0),
    ("iv", "interval", -1, 0),
    ("meta", "jsonb", -1, 0),
    ("js", "json", -1, 0),
    ("tags", "_text", -1, 0),
    ("nums", "_int4", -1, 0),
    ("tsv", "tsvector", -1, 0),
    ("period", "tstzrange", -1, 0),
    ("nr", "numrange", -1, 0),
    ("mr", "int4multirange", -1, 0),
    ("ip", "inet", -1, 0),
    ("cash", "money", -1, 0),
    ("data", "bytea", -1, 0),
    ("vb", "varbit", -1, 0),
    ("doc", "xml", -1, 0),
    ("short", "short_text", -1, 0),
    ("pr", "pair", -1, 0),
    ("c_c", "text", -1, 950),
    ("c_c2", "text", -1, 0),
    ("c_posix", "text", -1, 951),
    ("sloppy", "text", -1, 16_999),
    ("virt", "bool", -1, 0),
    ("expr", "text", -1, 0),
    ("wide", "varchar", -1, 0),
];

struct Bench {
    catalog: Snapshot,
    list: LeakSafe,
}

impl Bench {
    fn new(catalog: Snapshot) -> Self {
        let list = LeakSafe::load(&catalog);
        Self { catalog, list }
    }

    fn column(&self, column: &ColumnRef) -> Option<ColumnInfo> {
        let [Node { node: Some(NodeEnum::String(name)) }] = &*column.fields else { return None };
        let (name, ty, typmod, collation) = COLUMNS.iter().find(|c| c.0 == name.sval)?;
        let ty = self.catalog.find_type(None, ty).unwrap();
        Some(ColumnInfo {
            type_oid: ty.oid,
            typmod: *typmod,
            collation: match collation {
                0 => ty.collation,
                other => *other,
            },
            bounded: (*name == "bounded").then_some(Bound::Declared),
            virtual_generated: *name == "virt",
            base: *name != "expr",
            outer: false,
            origin: None,
        })
    }

    fn judge(&self, condition: &str) -> Total {
        let params = |number: i32| match number {
            2 => Some(oid::TEXT),
            3 => Some(oid::INT4),
            4 => Some(701),
            5 => Some(oid::ANY),
            6 => Some(oid::JSONB),
            7 => Some(oid::TEXT_ARRAY),
            8 => Some(oid::INTERVAL),
            _ => None,
        };
        let node = condition_of(condition);
        self.list.judge(&self.catalog, &node, &|c| self.column(c), &params)
    }

    fn verdict(&self, condition: &str) -> &'static str {
        match self.judge(condition) {
            Total::No { .. } => "guard",
            Total::Yes { bind_checks, .. } => {
                let size_only = bind_checks.iter().all(|c| c.rule == BindRule::AtMost(LARGEST_TEXT));
                if size_only { "bare" } else { "bind" }
            }
        }
    }

    fn pins(&self, condition: &str) -> Vec<usize> {
        match self.judge(condition) {
            Total::Yes { pins, .. } | Total::No { pins, .. } => {
                pins.iter().map(|p| usize::try_from(*p).unwrap() - "SELECT ".len()).collect()
            }
        }
    }
}

fn condition_of(condition: &str) -> Node {
    let parsed = pg_query::parse(&format!("SELECT {condition}"), pg_query::ParserOptions::default())
        .unwrap_or_else(|e| panic!("{condition}: {e}"));
    let statement = parsed.protobuf.stmts.into_iter().next().and_then(|s| s.stmt).and_then(|s| s.node);
    let Some(NodeEnum::SelectStmt(select)) = statement else { panic!("{condition} is no expression") };
    let Some(NodeEnum::ResTarget(target)) = select.target_list.into_iter().next().and_then(|t| t.node) else {
        panic!("{condition} is no expression")
    };
    *target.val.unwrap()
}

#[test]
fn conditions_are_bare_or_guarded_as_the_cases_say() {
    let bench = Bench::new(catalog::fixture());
    let mut wrong = Vec::new();
    let cases = include_str!("leaksafe_cases.tsv").lines().filter(|l| !l.starts_with('#'));
    for (verdict, condition) in cases.map(|l| l.split_once('\t').expect("two fields")) {
        let found = bench.verdict(condition);
        if found != verdict {
            wrong.push(format!("{condition}: {found}, should be {verdict}; {:?}", bench.judge(condition)));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_entry_is_one_of_this_catalog() {
    let bench = Bench::new(catalog::fixture());
    assert_eq!(bench.list.dropped(), 0);
}

#[test]
fn a_function_that_somebody_replaced_is_guarded() {
    let replaced = catalog::with(
        |_| true,
        |f| {
            if f.oid == 870 {
                (f.internal, f.source) = (false, String::new());
            }
        },
    );
    let bench = Bench::new(replaced);
    assert_eq!(bench.list.dropped(), 1);
    assert_eq!(bench.verdict("lower(name) = 'x'"), "guard");
    assert_eq!(bench.verdict("upper(name) = 'X'"), "bare");
}

#[test]
fn another_volatility_or_symbol_is_guarded() {
    let other = catalog::with(
        |_| true,
        |f| match f.oid {
            65 => f.volatility = 's',
            67 => f.source = "elsewhere".into(),
            _ => {}
        },
    );
    let bench = Bench::new(other);
    assert_eq!(bench.verdict("n = 5"), "guard", "int4eq with another volatility");
    assert_eq!(bench.verdict("title = 'x'"), "guard", "texteq with another symbol");
    assert_eq!(bench.verdict("id = 5"), "bare");
}

#[test]
fn a_major_that_nobody_looked_at_has_an_empty_list() {
    let mut catalog = catalog::fixture();
    catalog.server_version_num = 190_000;
    let bench = Bench::new(catalog);
    assert_eq!(bench.verdict("n = 5"), "guard");
}

#[test]
fn literals_that_decide_are_pinned_and_others_are_not() {
    let bench = Bench::new(catalog::fixture());
    assert_eq!(bench.pins("n = 5 and title = 'x'"), Vec::<usize>::new());
    assert_eq!(bench.pins("title like 'x%' and n = 5"), vec![11]);
    assert_eq!(bench.pins("title like '\\'"), vec![11], "what refuses is pinned too");
    assert_eq!(bench.pins("n / 2 = 3"), vec![4]);
    assert_eq!(bench.pins("price * 1.19 > 5"), vec![8]);
    assert_eq!(bench.pins("price * coalesce(price, 2) + 1 > 5"), vec![24, 29]);
    assert_eq!(bench.pins("tsv @@ to_tsquery('english', 'a')"), vec![29]);
}
