//! The plan caches and the planning threads, around a planning function that only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use pgbulkhead::plan::{Outcome, PlanTable, Planner, Request, Settings};
use pgbulkhead::policy::SqlState;
use pgbulkhead::sql::{Bounded, Limits, Normaliser, Statement, World, statements};

#[path = "planner/world.rs"]
mod fixture;

use fixture::{planned, world};

fn planner(settings: Settings) -> (Arc<Planner>, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let function = move |_: &World, _: &str, statement: &Statement<'_>| {
        counted.fetch_add(1, Ordering::SeqCst);
        planned(statement)
    };
    (Arc::new(Planner::with_function(world(1), settings, Box::new(function)).unwrap()), calls)
}

fn request(role: &str, text: &str) -> Request {
    let statement = statements(text, &Limits::default()).unwrap().remove(0);
    Request::of("lane".into(), role.into(), statement)
}

async fn ask(planner: &Planner, text: &str) -> Outcome {
    planner.plan(request("app", text)).await
}

async fn id(planner: &Planner, text: &str) -> u64 {
    ask(planner, text).await.unwrap().id
}

#[tokio::test]
async fn a_plan_serves_other_literals_comments_and_white_space() {
    let (planner, calls) = planner(Settings::default());
    let first = id(&planner, "select a from t where b = 'x' and c = 1").await;
    assert_eq!(id(&planner, "select a\nfrom t where b = 'y''z' and c = 22 -- trace=1").await, first);
    assert_ne!(id(&planner, "select a from t where b = 'x' and c = 1.5").await, first);
    assert_ne!(id(&planner, "select a from T where b = 'x' and c = 1").await, first);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert_eq!((planner.counters().hits, planner.counters().planned), (1, 3));
}

#[tokio::test]
async fn roles_do_not_share_plans() {
    let (planner, _) = planner(Settings::default());
    let one = planner.plan(request("app", "select 1")).await.unwrap().id;
    let other = planner.plan(request("reports", "select 1")).await.unwrap().id;
    assert_ne!(one, other);
}

#[tokio::test]
async fn a_pinned_literal_is_part_of_what_is_compared() {
    let (planner, calls) = planner(Settings::default());
    let one = id(&planner, "select pin 'a', 1").await;
    let other = id(&planner, "select pin 'b', 1").await;
    assert_ne!(one, other);
    assert_eq!(id(&planner, "select pin 'a', 2").await, one);
    assert_eq!(id(&planner, "select pin 'b', 3").await, other);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refusal_is_kept_for_the_same_tokens_and_loses_its_place_in_another_text() {
    let (planner, calls) = planner(Settings::default());
    let told = ask(&planner, "refuse 'a'").await.unwrap_err();
    assert_eq!(told.position, Some(1));
    assert_eq!(ask(&planner, "refuse 'a'").await.unwrap_err().position, Some(1));
    assert_eq!(ask(&planner, "refuse /* trace=2 */ 'a'").await.unwrap_err().position, None);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    ask(&planner, "refuse 'b'").await.unwrap_err();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(planner.counters().refusal_hits, 2);
}

#[tokio::test]
async fn a_panic_is_a_refusal_and_the_thread_lives_on() {
    let (planner, _) = planner(Settings { threads: 1, ..Settings::default() });
    assert_eq!(ask(&planner, "select panic").await.unwrap_err().state, SqlState::INTERNAL);
    assert!(ask(&planner, "select 1").await.is_ok());
    assert_eq!(planner.counters().panics, 1);
}

#[tokio::test]
async fn clients_that_ask_at_the_same_time_wait_for_one_planning() {
    let (planner, calls) = planner(Settings::default());
    let asked: Vec<_> = (0..50)
        .map(|n| {
            let planner = planner.clone();
            tokio::spawn(async move { id(&planner, &format!("select slow {n}")).await })
        })
        .collect();
    let mut ids = Vec::new();
    for one in asked {
        ids.push(one.await.unwrap());
    }
    ids.dedup();
    assert_eq!((ids.len(), calls.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_strand_the_others() {
    let (planner, _) = planner(Settings::default());
    let leaver = {
        let planner = planner.clone();
        tokio::spawn(async move { ask(&planner, "select slow").await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let stayer = {
        let planner = planner.clone();
        tokio::spawn(async move { ask(&planner, "select slow").await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    leaver.abort();
    assert!(stayer.await.unwrap().is_ok());
}

#[tokio::test]
async fn planning_that_takes_too_long_is_refused() {
    let (planner, _) = planner(Settings { patience: Duration::from_millis(10), ..Settings::default() });
    assert_eq!(ask(&planner, "select slow").await.unwrap_err().state, SqlState::TOO_COMPLEX);
    assert_eq!(planner.counters().overloaded, 1);
}

#[tokio::test]
async fn one_lane_never_holds_every_thread() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (running.clone(), most.clone());
    let function = move |_: &World, _: &str, statement: &Statement<'_>| {
        if statement.text.contains("slow") {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
        }
        planned(&statements("select 1", &Limits::default()).unwrap()[0])
    };
    let planner =
        Arc::new(Planner::with_function(world(1), Settings::default(), Box::new(function)).unwrap());
    let asked: Vec<_> = (0..20)
        .map(|n| {
            let planner = planner.clone();
            tokio::spawn(async move { ask(&planner, &format!("select slow{n}")).await.is_ok() })
        })
        .collect();
    for one in asked {
        assert!(one.await.unwrap());
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn too_many_waiting_statements_are_refused() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let function = move |_: &World, _: &str, statement: &Statement<'_>| {
        while !gate.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        planned(statement)
    };
    let settings = Settings { threads: 1, ..Settings::default() };
    let planner = Arc::new(Planner::with_function(world(1), settings, Box::new(function)).unwrap());
    let asked: Vec<_> = (0..400)
        .map(|n| {
            let planner = planner.clone();
            tokio::spawn(async move { ask(&planner, &format!("select at once{n}")).await })
        })
        .collect();
    let (mut refused, mut served) = (0, 0);
    while planner.counters().overloaded < 100 {
        tokio::task::yield_now().await;
    }
    open.store(true, Ordering::SeqCst);
    for one in asked {
        match one.await.unwrap() {
            Ok(_) => served += 1,
            Err(refusal) => {
                assert_eq!(refusal.state, SqlState("53400"));
                refused += 1;
            }
        }
    }
    assert!(refused >= 100 && served >= 256, "{refused} refused, {served} served");
}

#[tokio::test]
async fn statements_that_never_repeat_do_not_push_out_hot_plans() {
    let (planner, calls) = planner(Settings { entries: 200, bytes: 1 << 20, ..Settings::default() });
    let hot: Vec<String> = (0..50).map(|n| format!("select hot{n} from t")).collect();
    for _ in 0..4 {
        for text in &hot {
            id(&planner, text).await;
        }
    }
    for n in 0..5_000 {
        id(&planner, &format!("select once{n} from t")).await;
        if n % 10 == 0 {
            id(&planner, &hot[(n / 10) % hot.len()]).await;
        }
    }
    let before = calls.load(Ordering::SeqCst);
    for text in &hot {
        id(&planner, text).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst) - before, 0, "hot plans were planned again");
    let counters = planner.counters();
    assert!(counters.entries <= 220 && counters.bytes <= 1 << 20, "{counters:?}");
    assert!(counters.evictions > 4_000, "{counters:?}");
}

#[tokio::test]
async fn what_is_too_heavy_is_planned_and_not_kept() {
    let (planner, calls) = planner(Settings { bytes: 100_000, ..Settings::default() });
    let heavy = format!("select {}", "x".repeat(50_000));
    id(&planner, &heavy).await;
    id(&planner, &heavy).await;
    assert_eq!((calls.load(Ordering::SeqCst), planner.counters().entries), (2, 0));
}

#[tokio::test]
async fn another_world_forgets_every_plan_in_both_caches() {
    let (planner, calls) = planner(Settings::default());
    let mut table = PlanTable::new(planner.clone(), 100, 1 << 20);
    let mut worker = Worker::default();
    let first = worker.plan(&mut table, "select 1").await;
    assert_eq!(worker.plan(&mut table, "select 2").await, first);
    planner.set_world(world(1));
    assert_eq!(worker.plan(&mut table, "select 3").await, first);
    planner.set_world(world(2));
    assert_eq!(planner.counters().entries, 0);
    assert_ne!(worker.plan(&mut table, "select 4").await, first);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(planner.world().catalog.epoch, 2);
}

#[tokio::test]
async fn a_plan_of_an_older_world_does_not_enter_a_table() {
    let (planner, _) = planner(Settings::default());
    let mut table = PlanTable::new(planner.clone(), 100, 1 << 20);
    let old = ask(&planner, "select 1").await.unwrap();
    planner.set_world(world(2));
    table.insert(&"app".into(), request("app", "select 1").shape(), &old);
    assert_eq!(table.size().0, 0);
}

/// What a worker does: its own table first, then the planner.
struct Worker {
    normaliser: Normaliser,
    role: Arc<str>,
}

impl Default for Worker {
    fn default() -> Self {
        Self { normaliser: Normaliser::default(), role: "app".into() }
    }
}

impl Worker {
    async fn plan(&mut self, table: &mut PlanTable, text: &str) -> u64 {
        let bounded = Bounded::new(text, &Limits::default()).unwrap();
        let statement = self.normaliser.next_statement(bounded, 0).unwrap().unwrap();
        if let Some(found) = table.find(&self.role, &statement) {
            return found.unwrap().id;
        }
        let planner = table.planner().clone();
        let plan = planner.plan(Request::new("lane".into(), self.role.clone(), &statement)).await.unwrap();
        table.insert(&self.role, statement.shape, &plan);
        plan.id
    }
}

#[tokio::test]
async fn a_table_compares_pins_and_roles() {
    let (planner, calls) = planner(Settings::default());
    let mut table = PlanTable::new(planner, 100, 1 << 20);
    let mut worker = Worker::default();
    let one = worker.plan(&mut table, "select pin 'a', 1").await;
    let other = worker.plan(&mut table, "select pin 'b', 1").await;
    assert_ne!(one, other);
    assert_eq!(worker.plan(&mut table, "select pin 'a', 7").await, one);
    assert_eq!(worker.plan(&mut table, "select pin 'b', 8").await, other);
    assert_eq!((table.hits_and_misses(), table.size().0), ((2, 2), 1));
    worker.role = "reports".into();
    assert_ne!(worker.plan(&mut table, "select pin 'a', 1").await, one);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_table_stays_within_its_bounds_and_keeps_what_is_used() {
    let (planner, _) = planner(Settings::default());
    let mut table = PlanTable::new(planner, 100, 1 << 20);
    let mut worker = Worker::default();
    let hot = worker.plan(&mut table, "select hot").await;
    for n in 0..1_000 {
        worker.plan(&mut table, &format!("select once{n}")).await;
        let before = table.hits_and_misses().0;
        assert_eq!(worker.plan(&mut table, "select hot").await, hot);
        assert_eq!(table.hits_and_misses().0, before + 1);
        assert!(table.size().0 <= 100);
    }
    let mut small = PlanTable::new(table.planner().clone(), 100, 4_000);
    for n in 0..100 {
        worker.plan(&mut small, &format!("select once{n}")).await;
        assert!(small.size().1 <= 4_000);
    }
}

#[tokio::test]
async fn pinned_literals_that_never_repeat_stay_within_their_shape() {
    let (planner, _) = planner(Settings::default());
    let mut table = PlanTable::new(planner.clone(), 100, 1 << 20);
    let mut worker = Worker::default();
    for n in 0..500 {
        worker.plan(&mut table, &format!("select pin '{n}'")).await;
    }
    assert_eq!((table.size().0, planner.counters().entries), (1, 1));
    assert!(planner.counters().bytes < 20_000);
}
