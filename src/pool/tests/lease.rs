//! A pool in front of a server that only lets in and answers empty queries.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::config::model::{BackendTls, Database};
use crate::policy::{Refusal, TenantId};
use crate::pool::{Lease, Limits, Payer, Pool, Target, Waiter};

const SECOND: Duration = Duration::from_secs(1);

/// A server, and what it has seen.
#[derive(Clone, Default)]
struct Backend {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    asked: AtomicUsize,
    /// It takes questions and answers none.
    mute: AtomicBool,
    /// It closes what comes.
    shut: AtomicBool,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self { port: listener.local_addr().unwrap().port(), ..Self::default() };
        let seen = backend.seen.clone();
        tokio::task::spawn_local(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                seen.accepted.fetch_add(1, SeqCst);
                if !seen.shut.load(SeqCst) {
                    let seen = seen.clone();
                    tokio::task::spawn_local(async move {
                        let _ = serve(socket, &seen).await;
                    });
                }
            }
        });
        backend
    }

    fn accepted(&self) -> usize {
        self.seen.accepted.load(SeqCst)
    }

    fn pool(&self, limits: Limits) -> Rc<Pool> {
        Pool::new(Rc::new(self.target(SECOND * 20)), limits)
    }

    fn target(&self, timeout: Duration) -> Target {
        let mut database = Database::new("db", "127.0.0.1", self.port, "x");
        database.tls = BackendTls::Disable;
        Target::new(&database, timeout).unwrap()
    }
}

async fn serve(mut socket: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let length = socket.read_u32().await?;
    socket.read_exact(&mut vec![0; length as usize - 4]).await?;
    while seen.mute.load(SeqCst) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    socket.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await?;
    let mut question = [0; 6];
    loop {
        socket.read_exact(&mut question).await?;
        seen.asked.fetch_add(1, SeqCst);
        if !seen.mute.load(SeqCst) {
            socket.write_all(b"I\0\0\0\x04Z\0\0\0\x05I").await?;
        }
    }
}

fn limits(size: usize) -> Limits {
    Limits {
        size,
        least: 0,
        reserve: 0,
        reserve_timeout: SECOND,
        per_tenant: None,
        idle_timeout: SECOND * 600,
        server_lifetime: SECOND * 3600,
        check_delay: SECOND * 600,
        check_timeout: SECOND * 20,
    }
}

fn tenant(name: &str) -> Payer {
    TenantId::new(name)
}

async fn turn(pool: &Pool, waiter: &Waiter) -> Result<Lease, Refusal> {
    poll_fn(|cx| waiter.poll(cx, pool)).await
}

async fn lease(pool: &Rc<Pool>, payer: Payer) -> Lease {
    if let Some(lease) = pool.try_lease(payer.as_ref()) {
        return lease;
    }
    let waiter = pool.wait(payer);
    let lease = turn(pool, &waiter).await.unwrap();
    pool.leave(&waiter);
    lease
}

fn give_back(mut lease: Lease) {
    let server = lease.take_server().unwrap();
    lease.give_back(server);
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a test on one thread, and gives it up after half a minute.
macro_rules! on_a_worker {
    ($(async fn $name:ident() $body:block)*) => {$(
        #[tokio::test]
        async fn $name() {
            let local = tokio::task::LocalSet::new();
            let test = local.run_until(async $body);
            tokio::time::timeout(SECOND * 30, test).await.expect("it hangs");
        }
    )*};
}

on_a_worker! {
    async fn fewest_connections_are_opened_ahead_and_stay_when_idle() {
        let backend = Backend::start().await;
        let pool = backend.pool(Limits { least: 3, idle_timeout: Duration::ZERO, ..limits(4) });
        pool.warm_up();
        until(|| pool.counts().idle == 3).await;
        let fourth = [lease(&pool, None).await, lease(&pool, None).await, lease(&pool, None).await, lease(&pool, None).await];
        fourth.into_iter().for_each(give_back);
        assert_eq!(pool.counts().open, 4);
        pool.sweep();
        assert_eq!((pool.counts().open, backend.accepted()), (3, 4));
        // One that is lost is replaced.
        drop(lease(&pool, None).await);
        pool.sweep();
        until(|| pool.counts().open == 3).await;
    }

    async fn reserve_serves_who_has_waited_for_long_enough() {
        let backend = Backend::start().await;
        let patience = Duration::from_millis(200);
        let pool = backend.pool(Limits { reserve: 1, reserve_timeout: patience, ..limits(1) });
        let first = lease(&pool, None).await;
        let began = Instant::now();
        let second = lease(&pool, None).await;
        assert!(began.elapsed() >= patience && pool.counts().open == 2);
        // That was all of it.
        let third = pool.wait(None);
        tokio::time::sleep(patience * 2).await;
        assert_eq!((pool.counts().waiting, pool.counts().open), (1, 2));
        give_back(first);
        give_back(turn(&pool, &third).await.unwrap());
        give_back(second);
        assert_eq!(backend.accepted(), 2);
    }

    async fn old_connection_is_not_used_again() {
        let backend = Backend::start().await;
        let pool = backend.pool(Limits { server_lifetime: Duration::from_millis(50), ..limits(1) });
        let first = lease(&pool, None).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        give_back(first);
        assert_eq!(pool.counts().open, 0);
        give_back(lease(&pool, None).await);
        assert_eq!(backend.accepted(), 2);
    }

    async fn server_that_says_nothing_is_given_up() {
        let backend = Backend::start().await;
        backend.seen.mute.store(true, SeqCst);
        let result = backend.target(Duration::from_millis(100)).connect().await;
        assert!(matches!(result, Err(crate::pool::ConnectError::Timeout)), "{result:?}");
    }

    async fn attempts_become_rarer_and_who_waits_is_told() {
        let backend = Backend::start().await;
        backend.seen.shut.store(true, SeqCst);
        let pool = backend.pool(limits(16));
        let began = Instant::now();
        let mut refused = 0;
        while began.elapsed() < SECOND {
            let all: Vec<_> = (0..50).map(|_| pool.wait(None)).collect();
            for waiter in all {
                assert_eq!(turn(&pool, &waiter).await.unwrap_err().state.0, "08006");
                refused += 1;
            }
        }
        // 16 at once at first, then one after at least 100 ms, 200 ms, 400 ms, …
        assert!(refused >= 50 && backend.accepted() <= 16 + 8, "{refused} {}", backend.accepted());
        backend.seen.shut.store(false, SeqCst);
        let mut lease = None;
        while lease.is_none() {
            let waiter = pool.wait(None);
            lease = turn(&pool, &waiter).await.ok();
        }
    }

    async fn connection_that_was_idle_is_asked_before_it_is_used() {
        let backend = Backend::start().await;
        let pool = backend.pool(Limits { check_delay: Duration::ZERO, ..limits(2) });
        give_back(lease(&pool, None).await);
        assert!(pool.try_lease(None).is_none());
        give_back(lease(&pool, None).await);
        assert_eq!((backend.accepted(), pool.counts().open), (1, 1));
        assert!(backend.seen.asked.load(SeqCst) >= 1);
    }

    async fn connection_that_does_not_answer_is_replaced() {
        let backend = Backend::start().await;
        let pool = backend.pool(Limits {
            check_delay: Duration::from_millis(100),
            check_timeout: Duration::from_millis(100),
            ..limits(3)
        });
        let three = [lease(&pool, None).await, lease(&pool, None).await, lease(&pool, None).await];
        three.into_iter().for_each(give_back);
        tokio::time::sleep(Duration::from_millis(110)).await;
        backend.seen.mute.store(true, SeqCst);
        let waiter = { assert!(pool.try_lease(None).is_none()); pool.wait(None) };
        // One is asked, and all three are found dead.
        until(|| pool.counts().open == 0).await;
        assert_eq!(backend.seen.asked.load(SeqCst), 1);
        backend.seen.mute.store(false, SeqCst);
        give_back(turn(&pool, &waiter).await.unwrap());
        assert_eq!(pool.counts().open, 1);
    }

    async fn thousand_waiting_clients_of_a_tenant_do_not_starve_another() {
        let backend = Backend::start().await;
        let pool = backend.pool(limits(1));
        let first = lease(&pool, tenant("a")).await;
        let crowd: Vec<_> = (0..1000).map(|_| pool.wait(tenant("a"))).collect();
        let lone = pool.wait(tenant("b"));
        give_back(first);
        give_back(turn(&pool, &crowd[0]).await.unwrap());
        give_back(turn(&pool, &lone).await.unwrap());
        assert_eq!(pool.counts().waiting, 998, "the lone client was third");
    }

    async fn tenant_holds_no_more_than_its_share() {
        let backend = Backend::start().await;
        let pool = backend.pool(Limits { per_tenant: Some(2), ..limits(4) });
        let (one, two) = (lease(&pool, tenant("a")).await, lease(&pool, tenant("a")).await);
        let third = pool.wait(tenant("a"));
        let other = lease(&pool, tenant("b")).await;
        assert_eq!((pool.counts().waiting, pool.counts().open), (1, 3));
        // What is idle is not for him either.
        give_back(other);
        assert_eq!((pool.counts().waiting, pool.counts().idle), (1, 1));
        give_back(lease(&pool, tenant("b")).await);
        // A lease that is lost counts no more: its place is taken at once.
        drop(one);
        give_back(turn(&pool, &third).await.unwrap());
        give_back(two);
        assert_eq!((pool.counts().waiting, pool.counts().open, pool.counts().idle), (0, 2, 2));
        let again = [lease(&pool, tenant("a")).await, lease(&pool, tenant("a")).await];
        assert!(pool.try_lease(tenant("a").as_ref()).is_none());
        drop(again);
    }

    async fn who_leaves_the_queue_leaves_nothing_behind() {
        let backend = Backend::start().await;
        let pool = backend.pool(limits(1));
        let first = lease(&pool, None).await;
        let (left, served) = (pool.wait(None), pool.wait(None));
        pool.leave(&left);
        give_back(first);
        // The lease has come to one who goes without taking it.
        pool.leave(&served);
        assert_eq!((pool.counts().waiting, pool.counts().idle, pool.counts().open), (0, 1, 1));
    }

    async fn who_waits_while_a_connection_is_idle_gets_it_at_once() {
        let backend = Backend::start().await;
        let pool = backend.pool(limits(4));
        give_back(lease(&pool, None).await);
        // It did not ask whether one is idle: it had not given its own back by then.
        let waiter = pool.wait(None);
        let given = waiter.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()), &pool);
        assert!(given.is_ready());
        assert_eq!((pool.counts().waiting, pool.counts().open, backend.accepted()), (0, 1, 1));
    }

    async fn spent_connection_is_closed() {
        let backend = Backend::start().await;
        let pool = backend.pool(limits(1));
        let mut first = lease(&pool, None).await;
        let mut server = first.take_server().unwrap();
        server.spent = true;
        first.give_back(server);
        assert_eq!(pool.counts().open, 0);
    }
}
