//! Runs random conditions that are judged total over rows of adversarial values, and compares the objects that they
//! were typed with to those of the server's own parse tree; and shows that what a tenant sees of a rewritten statement
//! does not depend on the rows of others.
//!
//! `PGBULKHEAD_TEST_CASES` is the number of conditions, `PGBULKHEAD_TEST_SEED` chooses them.

mod ask;
mod generator;
mod interference;
mod redefined;
mod samples;
#[path = "../server/mod.rs"]
mod server;

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};
use pgbulkhead::catalog::{Oid, Snapshot};
use pgbulkhead::sql::leaksafe::{BindCheck, LeakSafe, Total};
use pgbulkhead::sql::resolve::CastPath;
use pgbulkhead::sql::typed::{ColumnInfo, Expr, type_expression};

use generator::{Generator, listed};
use samples::{SAMPLES, Sample, setup};
use server::{Random, Server, number};

fn column(catalog: &Snapshot, column: &ColumnRef) -> Option<ColumnInfo> {
    let [Node { node: Some(NodeEnum::String(name)) }] = &*column.fields else { return None };
    let (_, declared, ty, _) = SAMPLES.iter().find(|s| s.0 == name.sval)?;
    let ty = catalog.find_type(None, ty)?;
    let typmod = match *declared {
        "numeric(10,2)" => ((10 << 16) | 2) + 4,
        "varchar(20)" => 24,
        "char(3)" => 7,
        "bit(3)" => 3,
        _ => -1,
    };
    Some(ColumnInfo {
        type_oid: ty.oid,
        typmod,
        collation: ty.collation,
        bounded: None,
        virtual_generated: false,
        base: true,
        outer: false,
        origin: None,
    })
}

/// Operators and functions of a typed expression.
fn objects(expr: &Expr, operators: &mut BTreeSet<Oid>, functions: &mut BTreeSet<Oid>) {
    let mut list = |expressions: &[Expr]| {
        for expr in expressions {
            objects(expr, operators, functions);
        }
    };
    match expr {
        Expr::Op { operator, arguments, .. } => {
            list(arguments);
            operators.insert(operator.oid);
        }
        Expr::Call { function, arguments, .. } => {
            list(arguments);
            functions.insert(function.oid);
        }
        Expr::Cast { argument, path, .. } => {
            list(std::slice::from_ref(argument));
            if let CastPath::Function(function) = path {
                functions.insert(*function);
            }
        }
        Expr::ScalarArray { operator, left, array } => {
            list(&[(**left).clone(), (**array).clone()]);
            operators.insert(operator.oid);
        }
        Expr::Logic(arguments)
        | Expr::Pairs(arguments)
        | Expr::Array { elements: arguments, .. }
        | Expr::Coalesce { arguments, .. }
        | Expr::MinMax { arguments, .. } => list(arguments),
        Expr::NullTest(argument) | Expr::TruthTest(argument) => list(std::slice::from_ref(argument)),
        Expr::Case { conditions, results, .. } => {
            list(conditions);
            list(results);
        }
        Expr::Subscript { container, subscripts, .. } => {
            list(std::slice::from_ref(container));
            list(subscripts);
        }
        Expr::Column(_) | Expr::Const { .. } | Expr::Param { .. } | Expr::Now(_) | Expr::Other(_) => {}
    }
}

/// The oids behind a field of a parse tree.
fn field(tree: &str, name: &str) -> BTreeSet<Oid> {
    let mut found = BTreeSet::new();
    for rest in tree.split(&format!(":{name} ")).skip(1) {
        let list = rest.strip_prefix("(o ").and_then(|r| r.split_once(')')).map(|(list, _)| list);
        match list {
            Some(list) => found.extend(list.split(' ').filter_map(|n| n.parse::<Oid>().ok())),
            None => found
                .extend(rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<Oid>().ok())),
        }
    }
    found
}

fn parsed(condition: &str) -> Option<Node> {
    let parsed = pg_query::parse(&format!("SELECT {condition}"), pg_query::ParserOptions::default()).ok()?;
    let statement = parsed.protobuf.stmts.into_iter().next()?.stmt?.node?;
    let NodeEnum::SelectStmt(select) = statement else { return None };
    let NodeEnum::ResTarget(target) = select.target_list.into_iter().next()?.node? else { return None };
    target.val.map(|v| *v)
}

#[test]
fn total_conditions_raise_on_no_row() {
    let server = Server::connect(&setup("adversary"), &["adversary"]);
    let list = LeakSafe::load(&server.catalog);
    let names = server.query(
        "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 11 AND oprleft <> 0 ORDER BY 1",
    );
    let mut generator = Generator {
        random: Random::seeded(),
        operators: names,
        listed: listed(&server.catalog, &list),
        parameter: false,
    };
    let (mut bare, mut guarded, mut aside, mut wrong) = (0, 0, 0, Vec::new());
    for _ in 0..number("PGBULKHEAD_TEST_CASES", 2_000) {
        generator.parameter = generator.random.below(3) == 0;
        let condition = match generator.random.below(4) {
            0 => generator.condition(),
            _ => generator.guided(&server.catalog),
        };
        let Some(node) = parsed(&condition) else { continue };
        let columns = |c: &ColumnRef| column(&server.catalog, c);
        let expr = type_expression(&node, &columns, &|_| None, &server.catalog);
        let Total::Yes { bind_checks, .. } = list.total(&server.catalog, &expr) else {
            guarded += 1;
            continue;
        };
        let found = if condition.contains("$1") {
            with_parameter(&server, &condition, &expr, &bind_checks)
        } else {
            with_literals(&server, &condition, &expr)
        };
        match found {
            None => aside += 1,
            Some(found) => {
                bare += 1;
                wrong.extend(found.into_iter().map(|e| format!("{condition}: {e}")));
            }
        }
    }
    assert_eq!(list.dropped(), 0, "entries that this server does not have as they were read");
    println!("{bare} total, {guarded} guarded, {aside} refused when planned");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(bare > 100, "nothing was run");
}

/// What goes wrong with a total condition over the rows; nothing where the server refuses it before any row.
fn with_literals(server: &Server, condition: &str, expr: &Expr) -> Option<Vec<String>> {
    let select = format!("SELECT count(*) FROM rows_ WHERE {condition}");
    server.run(&format!("EXPLAIN {select}")).ok()?;
    // In the target list too, where no other condition keeps a row from it.
    let statements = [select, format!("SELECT {condition} FROM rows_")];
    let mut wrong: Vec<String> = statements.iter().filter_map(|s| server.run(s).err()).collect();
    wrong.extend(difference(server, condition, expr));
    Some(wrong)
}

/// The same with a parameter of each value that the checks at Bind let through, by a plan that knows none of them.
fn with_parameter(
    server: &Server,
    condition: &str,
    expr: &Expr,
    checks: &[BindCheck],
) -> Option<Vec<String>> {
    server.run("DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan").ok()?;
    server.run(&format!("PREPARE p AS SELECT count(*) FROM rows_ WHERE {condition}")).ok()?;
    let theirs = server.query("SELECT parameter_types[1]::oid FROM pg_prepared_statements WHERE name = 'p'");
    let theirs: Oid = theirs.first()?.parse().ok()?;
    let mut wrong = Vec::new();
    let ours = parameters(expr);
    if !ours.iter().all(|ty| *ty == theirs) {
        wrong.push(format!("the parameter is {theirs}, ours {ours:?}"));
    }
    let of = |s: &&Sample| server.catalog.find_type(None, s.2).is_some_and(|t| t.oid == theirs);
    let values = SAMPLES.iter().find(of).map_or(&[][..], |s| s.3);
    for value in values.iter().filter(|v| checks.iter().all(|c| c.rule.holds(v))) {
        let execute = format!("EXECUTE p('{}')", value.replace('\'', "''"));
        // What fails when it is planned does so before any row.
        if server.run(&format!("EXPLAIN {execute}")).is_ok() {
            wrong.extend(server.run(&execute).err().map(|e| format!("{execute}: {e}")));
        }
    }
    Some(wrong)
}

/// The types of the parameters in an expression.
fn parameters(expr: &Expr) -> Vec<Oid> {
    // What an expression prints holds each parameter with its type.
    let text = format!("{expr:?}");
    let types = text.split("Param { number: 1, ty: ExprType { oid: ").skip(1);
    types.filter_map(|rest| rest.split(',').next().and_then(|n| n.parse().ok())).collect()
}

/// How the objects of a typed expression differ from the server's.
fn difference(server: &Server, condition: &str, expr: &Expr) -> Option<String> {
    let view = format!("CREATE OR REPLACE VIEW shown AS SELECT 1 AS x FROM rows_ WHERE {condition}");
    server.run(&view).ok()?;
    let tree =
        server.query("SELECT ev_action::text FROM pg_rewrite WHERE ev_class = 'shown'::regclass").pop()?;
    let (mut operators, mut functions) = (BTreeSet::new(), BTreeSet::new());
    objects(expr, &mut operators, &mut functions);
    let (_, tree) = tree.split_once(":jointree")?;
    let theirs: BTreeSet<Oid> = field(tree, "opno").union(&field(tree, "opnos")).copied().collect();
    let their_functions = field(tree, "funcid");
    let called = functions.is_subset(&their_functions);
    (operators != theirs || !called).then(|| {
        format!("operators {operators:?}, server's {theirs:?}; functions {functions:?}, server's {their_functions:?}")
    })
}

#[test]
fn what_the_rows_hold_does_raise() {
    let server = Server::connect(&setup("tame"), &["tame"]);
    for condition in [
        "txt ~ txt",
        "txt::int > 0",
        "'a' LIKE txt",
        "1 / i4 > 0",
        "i4 + 1 > 0",
        "abs(i8) > 0",
        "num * 10 > 0",
        "ceil(num) > 0",
        "d + 1 > now()",
        "tz::timestamp > now()",
        "array[ta, '{x,y}'] IS NOT NULL",
        "date_trunc('month', ts) > now()",
        "jsonb_array_length(js) > 0",
        "num::float8 > 1",
        "f8 + f8 > 1",
    ] {
        let raised = server.run(&format!("SELECT {condition} FROM rows_")).is_err();
        assert!(raised, "{condition} does not raise: the rows are too tame");
    }
}
