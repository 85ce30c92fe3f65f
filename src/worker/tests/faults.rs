//! Servers, clients, networks and code that fail: who is told what, and that nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState as Code;
use tokio_postgres::{Client, Error, NoTls};

use super::postgres::Postgres;
use super::relay::Relay;
use super::{Proxy, connect};
use crate::worker::observe::Metrics;

/// Counts what pools hold, and panics where it is told to.
#[derive(Debug, Default)]
struct Faulty {
    idle: AtomicUsize,
    leased: AtomicUsize,
    waiting: AtomicUsize,
    swept: AtomicUsize,
    clients: AtomicUsize,
    panics: AtomicUsize,
    deaths: AtomicUsize,
    session_panics: AtomicBool,
    worker_panics: AtomicBool,
}

impl Metrics for Faulty {
    fn client_connected(&self) {
        self.clients.fetch_add(1, SeqCst);
    }
    fn client_gone(&self) {
        self.clients.fetch_sub(1, SeqCst);
    }
    fn statement(&self, _: u64, _: bool) {
        assert!(!self.session_panics.swap(false, SeqCst), "injected into a session");
    }
    fn pools(&self, _: usize, idle: usize, leased: usize, waiting: usize) {
        assert!(!self.worker_panics.swap(false, SeqCst), "injected into a worker");
        self.idle.store(idle, SeqCst);
        self.leased.store(leased, SeqCst);
        self.waiting.store(waiting, SeqCst);
        self.swept.fetch_add(1, SeqCst);
    }
    fn panicked(&self) {
        self.panics.fetch_add(1, SeqCst);
    }
    fn worker_died(&self) {
        self.deaths.fetch_add(1, SeqCst);
    }
}

impl Faulty {
    /// Waits until no lease is out and nobody waits.
    async fn quiet(&self) {
        let seen = self.swept.load(SeqCst);
        let quiet = || {
            self.swept.load(SeqCst) > seen + 1
                && self.leased.load(SeqCst) == 0
                && self.waiting.load(SeqCst) == 0
        };
        until(quiet).await;
    }
}

async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it never becomes so");
}

/// A server, a relay before it, and a proxy before that.
async fn stage(general: &str) -> Option<(Proxy, Relay, Arc<Faulty>)> {
    let postgres = Postgres::start()?;
    let relay = Relay::to(postgres.port).await;
    let metrics = Arc::new(Faulty::default());
    let proxy = Proxy::before(postgres, relay.port, general, metrics.clone());
    Some((proxy, relay, metrics))
}

fn state(error: &Error) -> &str {
    error.code().map_or("", Code::code)
}

/// A little of everything; every row that comes must be the tenant's.
async fn script(client: &mut Client) -> Result<(), Error> {
    let rows =
        client.query("select tenant_id, v from t where tenant_id = tenant() and id < $1", &[&40i32]).await?;
    assert!(rows.iter().all(|row| row.get::<_, i32>(0) == 1), "a row of another tenant");
    let transaction = client.transaction().await?;
    transaction.batch_execute("update t set v = v where tenant_id = tenant() and id < 5").await?;
    transaction.commit().await?;
    let rows = client.simple_query("select count(*) from t where tenant_id = tenant()").await?;
    let count = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    assert_eq!(count, Some("50"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_ends_a_connection_is_told_to_its_client_alone() {
    let Some((proxy, _relay, metrics)) = stage("default_pool_size = 2").await else { return };
    let (mut one, mut two) = (proxy.connect("one").await, proxy.connect("one").await);
    let busy = one.query("select pg_sleep(30)", &[]);
    let kill = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.postgres.admin("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(30)%' and pid <> pg_backend_pid()").unwrap();
    };
    let (ended, ()) = tokio::join!(busy, kill);
    assert_eq!(state(&ended.unwrap_err()), "57P01");
    script(&mut two).await.unwrap();
    // An idle connection that is killed is replaced without a word.
    proxy
        .postgres
        .admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_backend'")
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    script(&mut two).await.unwrap();
    // In a transaction its client is told at once.
    let transaction = two.transaction().await.unwrap();
    transaction.batch_execute("select 1").await.unwrap();
    proxy
        .postgres
        .admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_backend'")
        .unwrap();
    let ended = transaction.batch_execute("select 1").await.unwrap_err();
    assert!(state(&ended) == "57P01" || ended.is_closed(), "{ended}");
    one = proxy.connect("one").await;
    script(&mut one).await.unwrap();
    metrics.quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_to_a_standby_is_thrown_away() {
    let Some((proxy, _relay, _)) = stage("default_pool_size = 1").await else { return };
    let client = proxy.connect("one").await;
    let pid = async || client.query_one("select pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    let before = pid().await;
    assert_eq!(pid().await, before);
    client.batch_execute("begin read only").await.unwrap();
    let refused = client.batch_execute("update t set v = v where tenant_id = tenant()").await.unwrap_err();
    assert_eq!(state(&refused), "25006");
    client.batch_execute("rollback").await.unwrap();
    assert_ne!(pid().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_answers_no_more_does_not_hold_its_client_for_ever() {
    let general = "default_pool_size = 2\nquery_timeout = \"1s\"\ncheckout_timeout = \"1s\"";
    let Some((proxy, relay, metrics)) = stage(general).await else { return };
    let mut client = proxy.connect("one").await;
    script(&mut client).await.unwrap();
    relay.faults.stalled.store(true, SeqCst);
    let ended = client.query("select 1", &[]).await.unwrap_err();
    assert_eq!(state(&ended), "57014");
    // Who gets no server connection at all is told so, and may stay.
    let (second, third) = (proxy.connect("one").await, proxy.connect("one").await);
    let both = tokio::join!(second.query("select 1", &[]), third.query("select 1", &[]));
    for ended in [both.0.unwrap_err(), both.1.unwrap_err()] {
        assert!(matches!(state(&ended), "57014" | "53300" | "08006"), "{ended}");
    }
    relay.mend();
    let mut fourth = proxy.connect("one").await;
    until_served(&mut fourth).await;
    metrics.quiet().await;
}

/// Runs the script until there are server connections again.
async fn until_served(client: &mut Client) {
    for _ in 0..100 {
        match script(client).await {
            Ok(()) => return,
            Err(error) if matches!(state(&error), "53300" | "08006") && !client.is_closed() => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no server connection comes back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_too_long_is_told_and_stays() {
    let general = "default_pool_size = 1\ncheckout_timeout = \"300ms\"";
    let Some((proxy, _relay, metrics)) = stage(general).await else { return };
    let (mut one, two) = (proxy.connect("one").await, proxy.connect("two").await);
    let transaction = one.transaction().await.unwrap();
    transaction.batch_execute("select 1").await.unwrap();
    for _ in 0..2 {
        let refused = two.query("select 1", &[]).await.unwrap_err();
        assert_eq!(state(&refused), "53300");
        let refused = two.simple_query("select 1").await.unwrap_err();
        assert_eq!(state(&refused), "53300");
    }
    transaction.commit().await.unwrap();
    assert_eq!(two.query("select 1", &[]).await.unwrap().len(), 1);
    metrics.quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_that_comes_late_hits_nobody() {
    let Some((proxy, relay, metrics)) = stage("default_pool_size = 1").await else { return };
    relay.faults.cancel_delay.store(700, SeqCst);
    let (one, two) = (proxy.connect("one").await, proxy.connect("two").await);
    for _ in 0..3 {
        let token = one.cancel_token();
        let short = one.query("select pg_sleep(0.3)", &[]);
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            token.cancel_query(NoTls).await.unwrap();
        };
        let (short, ()) = tokio::join!(short, cancel);
        short.expect("it ended before the cancel came");
        // The same server connection, which the cancel is still on its way to.
        two.query("select pg_sleep(1)", &[]).await.expect("somebody else's cancel");
    }
    metrics.quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_cut_at_any_byte_leaves_nothing_behind() {
    let general = "default_pool_size = 1\nserver_check_delay = \"1h\"";
    let Some((proxy, servers, metrics)) = stage(general).await else { return };
    let clients = Relay::to(proxy.port).await;
    let (mut whole, mut broken) = (0, 0);
    for bytes in (0..1500).step_by(109) {
        for (relay, forth) in [(&servers, true), (&servers, false), (&clients, true), (&clients, false)] {
            let Ok(mut client) = connect(clients.port, "one").await else { panic!("no login") };
            let fault = if forth { &relay.faults.cut_forth } else { &relay.faults.cut_back };
            fault.store(bytes, SeqCst);
            match script(&mut client).await {
                Ok(()) => whole += 1,
                Err(error) => {
                    assert!(error.is_closed() || matches!(state(&error), "08006" | ""), "{error}");
                    broken += 1;
                }
            }
            relay.mend();
            let mut probe = connect(proxy.port, "one").await.unwrap();
            until_served(&mut probe).await;
        }
    }
    assert!(whole > 0 && broken > 15, "{whole} {broken}");
    metrics.quiet().await;
    until(|| metrics.clients.load(SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_cut_while_it_is_connected_to_is_tried_again() {
    let general = "default_pool_size = 1\nserver_connect_timeout = \"5s\"";
    let Some((proxy, relay, metrics)) = stage(general).await else { return };
    let mut client = proxy.connect("one").await;
    until_served(&mut client).await;
    for bytes in (0..900).step_by(220) {
        for forth in [true, false] {
            proxy
                .postgres
                .admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_backend'")
                .unwrap();
            let fault = if forth { &relay.faults.cut_forth } else { &relay.faults.cut_back };
            fault.store(bytes, SeqCst);
            let outcome = client.query("select 1", &[]).await;
            relay.mend();
            let mut ends = client.is_closed();
            if let Err(error) = outcome {
                // The connection that was just ended may still be leased.
                let known = matches!(state(&error), "08006" | "57P01");
                assert!(error.is_closed() || known, "{error} {}", state(&error));
                ends |= error.is_closed() || error.as_db_error().is_some_and(|e| e.severity() == "FATAL");
            }
            if ends {
                client = proxy.connect("one").await;
            }
            until_served(&mut client).await;
        }
    }
    metrics.quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_ends_one_session_and_a_workers_death_is_mended() {
    let Some((proxy, _relay, metrics)) = stage("default_pool_size = 2\nworkers = 1").await else { return };
    let (one, mut two) = (proxy.connect("one").await, proxy.connect("one").await);
    metrics.session_panics.store(true, SeqCst);
    assert!(one.query("select 1", &[]).await.unwrap_err().is_closed());
    script(&mut two).await.unwrap();
    assert_eq!((metrics.panics.load(SeqCst), metrics.deaths.load(SeqCst)), (1, 0));
    metrics.quiet().await;

    metrics.worker_panics.store(true, SeqCst);
    until(|| metrics.deaths.load(SeqCst) == 1).await;
    assert!(script(&mut two).await.unwrap_err().is_closed());
    let mut three = proxy.connect("one").await;
    script(&mut three).await.unwrap();
    metrics.quiet().await;
    drop(three);
    until(|| metrics.clients.load(SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connects_leave_no_descriptor() {
    let Some((proxy, _relay, metrics)) = stage("default_pool_size = 2").await else { return };
    let mut client = proxy.connect("one").await;
    script(&mut client).await.unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let visits = |times: usize| {
        let port = proxy.port;
        async move {
            for number in 0..times {
                let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                match number % 4 {
                    0 => {}
                    1 => socket.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap(),
                    2 => socket.write_all(b"\0\0\0\x17\0\x03\0\0user\0one\0\0\0\0\0").await.unwrap(),
                    _ => {
                        socket.write_all(b"\0\0\0\x1d\0\x03\0\0user\0one\0database\0db\0\0").await.unwrap();
                        // The server's first word.
                        let _ = socket.read(&mut [0; 64]).await;
                    }
                }
            }
        }
    };
    // The first thousand fill what is kept.
    visits(1_000).await;
    until(|| metrics.clients.load(SeqCst) == 1).await;
    let (before, memory) = (descriptors(), resident());
    tokio::join!(visits(3_000), visits(3_000), visits(3_000));
    for _ in 0..100 {
        drop(proxy.connect("one").await);
    }
    script(&mut client).await.unwrap();
    until(|| metrics.clients.load(SeqCst) == 1).await;
    metrics.quiet().await;
    until(|| descriptors() <= before + 8).await;
    assert!(resident() < memory + 16 * 1024, "{memory} KiB became {} KiB", resident());
}

/// Resident memory in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statement_whose_columns_have_changed_is_prepared_anew() {
    let Some((proxy, _relay, _)) = stage("default_pool_size = 1").await else { return };
    let text = "select v from t where tenant_id = tenant() and id = $1";
    let alter = |to: &str| {
        proxy.postgres.admin(&format!("alter table t alter v type {to}")).unwrap();
    };
    let mut old = proxy.connect("one").await;
    let known = old.prepare(text).await.unwrap();
    old.query(&known, &[&2i32]).await.unwrap();

    // Who prepares it after the change knows nothing of the one before: nothing of it is seen.
    alter("varchar(99)");
    let fresh = proxy.connect("one").await;
    let prepared = fresh.prepare(text).await.unwrap();
    assert_eq!(prepared.columns()[0].type_().name(), "varchar");
    assert_eq!(fresh.query(&prepared, &[&2i32]).await.unwrap().len(), 1);
    alter("text");
    let rows = fresh.query_typed(text, &[(&2i32, tokio_postgres::types::Type::INT4)]).await.unwrap();
    assert_eq!(rows[0].columns()[0].type_().name(), "text");

    // Who does not ask for the columns is told, as PostgreSQL does, and goes on.
    alter("varchar(98)");
    let told = old.query(&known, &[&2i32]).await.unwrap_err();
    assert_eq!((state(&told), old.query(&known, &[&2i32]).await.unwrap().len()), ("0A000", 1));

    // In a transaction as well; the next use outside is prepared anew.
    alter("text");
    let transaction = old.transaction().await.unwrap();
    assert_eq!(state(&transaction.query(&known, &[&2i32]).await.unwrap_err()), "0A000");
    assert_eq!(state(&transaction.query(&known, &[&2i32]).await.unwrap_err()), "25P02");
    transaction.rollback().await.unwrap();
    old.query(&known, &[&2i32]).await.unwrap();
    script(&mut old).await.unwrap();
}
