//! What a statement costs before it is sent: normalise and find (every statement); parse, template, and all of
//! planning (once per shape).

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::plan::{PlanTable, Planner, Request, Settings};
use pgbulkhead::sql::{Bounded, Limits, Normaliser, Statement, Tree, World, statements, template};

#[path = "../tests/support/world.rs"]
mod corpus;
#[path = "../tests/planner/world.rs"]
mod fixture;
#[path = "../tests/support/recorded.rs"]
mod recorded;

const SERVER: u32 = 180_000;

/// 50 bytes, 1 literal.
const POINT: &str = "select title from documents where id = 11110012345";
/// 190 bytes, 4 literals.
const JOIN: &str = "select d.id, d.title, c.name from documents d join customers c on c.id = d.customer_id \
                    where d.status = 'sent' and d.amount > 100.50 and c.country = 'DE' order by d.created_at limit 20";
/// As ORMs quote it, with a comment that changes each time.
const QUOTED: &str = "SELECT \"documents\".\"id\", \"documents\".\"title\", \"documents\".\"status\" FROM \"documents\" \
                      WHERE (\"documents\".\"customer_id\" = $1 AND \"documents\".\"status\" = 'draft') LIMIT 21 \
                      /*traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/";

const TEXTS: [(&str, &str); 3] = [("point", POINT), ("join", JOIN), ("quoted", QUOTED)];

fn normalise(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut normaliser = Normaliser::new(limits);
    for (name, text) in TEXTS {
        criterion.bench_function(&format!("normalise {name}"), |bencher| {
            bencher.iter(|| {
                let bounded = Bounded::new(black_box(text), &limits);
                let found = bounded.and_then(|bounded| {
                    normaliser.next_statement(bounded, 0).map(|s| s.map(|s| s.literals.len()))
                });
                black_box(found.is_ok())
            });
        });
    }
}

fn find(criterion: &mut Criterion) {
    let limits = Limits::default();
    let Some(mut table) = filled_table() else { return };
    let role: Arc<str> = "app".into();
    let mut normaliser = Normaliser::new(limits);
    for (name, text) in TEXTS {
        let other = text.replace("20", "50").replace("12345", "54321").replace("5bd6", "6bd5");
        for (what, text) in [("the same text", text), ("other literals", other.as_str())] {
            criterion.bench_function(&format!("normalise and find {name}, {what}"), |bencher| {
                bencher.iter(|| {
                    let Ok(bounded) = Bounded::new(black_box(text), &limits) else { return false };
                    let Ok(Some(statement)) = normaliser.next_statement(bounded, 0) else { return false };
                    table.find(&role, &statement).is_some()
                });
            });
        }
    }
}

/// A table that knows every text.
fn filled_table() -> Option<PlanTable> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    let function = Box::new(|_: &World, _: &str, statement: &Statement<'_>| fixture::planned(statement));
    let planner = Planner::with_function(fixture::world(1), Settings::default(), function).ok()?;
    let mut table = PlanTable::new(Arc::new(planner), 1_000, 1 << 24);
    let role: Arc<str> = "app".into();
    for (_, text) in TEXTS {
        let statement = statements(text, &Limits::default()).ok()?.pop()?;
        let request = Request::of("lane".into(), role.clone(), statement);
        let shape = request.shape().to_owned();
        let plan = runtime.block_on(table.planner().clone().plan(request)).ok()?;
        table.insert(&role, &shape, &plan);
    }
    Some(table)
}

fn plan(criterion: &mut Criterion) {
    for (name, text) in TEXTS {
        let found = statements(text, &Limits::default()).unwrap_or_default();
        let Some(statement) = found.first() else { continue };
        criterion.bench_function(&format!("parse {name}"), |bencher| {
            bencher.iter(|| Tree::parse(black_box(statement), SERVER).is_ok());
        });
        let Ok(tree) = Tree::parse(statement, SERVER) else { continue };
        criterion.bench_function(&format!("template {name}"), |bencher| {
            bencher.iter(|| template(black_box(&tree.node), statement, &[]).is_ok());
        });
    }
}

/// A join as long as statements of an application are: 500 bytes, 7 literals.
const LONG: &str = "select d.id, d.title, d.amount, d.created_at, c.name, c.email, t.name as template, v.channel, v.state \
    from documents d join customers c on c.id = d.customer_id left join templates t on t.id = d.template_id \
    left join deliveries v on v.document_id = d.id and v.channel = 'email' \
    where d.status in ('sent', 'approved') and d.amount between 100.50 and 2500 and c.country = 'DE' \
    and d.created_at > now() - interval '30 days' and exists (select 1 from document_pages p \
    where p.document_id = d.id and p.page_no = 1) order by d.created_at desc, d.id desc limit 50";

/// All of planning: parse, bind, rewrite, print, verify, witness; against the catalog of a real server.
fn whole(criterion: &mut Criterion) {
    let postgres = EmbeddedPostgres::start(&Options::default()).expect("a server");
    let world = corpus::of(&postgres, "");
    for (name, text) in [("point", POINT), ("join", JOIN), ("500-byte join", LONG)] {
        let found = statements(text, &Limits::default()).unwrap_or_default();
        let Some(statement) = found.first() else { continue };
        pgbulkhead::sql::plan(&world, "app", statement).expect("the statement is allowed");
        criterion.bench_function(&format!("plan {name}"), |bencher| {
            bencher.iter(|| pgbulkhead::sql::plan(black_box(&world), "app", black_box(statement)).is_ok());
        });
    }
    recorded_joins(criterion, &world);
}

/// Joins of 450 to 550 bytes as ORMs send them to the corpus schema: the mean of one.
fn recorded_joins(criterion: &mut Criterion, world: &World) {
    let recordings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/orm_sql");
    let joins = recorded::recorded(&[recordings])
        .into_iter()
        .filter(|sql| (450..=550).contains(&sql.len()) && sql.to_ascii_lowercase().contains(" join "));
    let joins: Vec<String> = joins.filter(|sql| plans(world, sql)).collect();
    // By callgrind, which runs each bench once: divided by their number.
    criterion.bench_function(&format!("plan all of {} recorded joins", joins.len()), |bencher| {
        bencher.iter(|| joins.iter().filter(|sql| plans(world, black_box(sql))).count());
    });
    let mut next = joins.iter().cycle();
    criterion.bench_function(&format!("plan one of {} recorded joins", joins.len()), |bencher| {
        bencher.iter(|| next.next().is_some_and(|sql| plans(world, black_box(sql))));
    });
}

fn plans(world: &World, sql: &str) -> bool {
    let found = statements(sql, &Limits::default()).unwrap_or_default();
    found.first().is_some_and(|statement| pgbulkhead::sql::plan(world, "app", statement).is_ok())
}

criterion_group!(benches, normalise, find, plan, whole);
criterion_main!(benches);
