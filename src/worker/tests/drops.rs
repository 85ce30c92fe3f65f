//! A session dropped at its first poll, its second, its third and so on, up to the one that it no longer has: by
//! then every place where it can wait was one where it ended. And the same with a panic in each of its rounds. Each
//! time nothing is left: its server connection is free or closed, what it did not commit has not happened, and the
//! next client of the same pool gets exactly its own rows.

mod scenarios;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::Client;

use self::scenarios::{SCENARIOS, Scenario, Way, row, simple};
use super::Proxy;
use super::postgres::Postgres;
use super::relay::Relay;
use crate::worker::observe::Metrics;

/// A number that no session comes to.
const NEVER: usize = usize::MAX;
/// The first sessions are those of the clients that stay.
const SPARED: u64 = 2;
/// Bytes that pass the relays at once: a message comes in several.
const PIECE: usize = 96;

/// Drops a session at a poll, or panics in a round; counts both.
#[derive(Debug)]
struct Injector {
    polls: AtomicUsize,
    rounds: AtomicUsize,
    drop_at: AtomicUsize,
    panic_at: AtomicUsize,
    leased: AtomicUsize,
    waiting: AtomicUsize,
    sweeps: AtomicUsize,
}

impl Metrics for Injector {
    fn is_dropped(&self, session: u64) -> bool {
        session >= SPARED && self.polls.fetch_add(1, SeqCst) + 1 == self.drop_at.load(SeqCst)
    }
    fn round(&self, session: u64) {
        let due = session >= SPARED && self.rounds.fetch_add(1, SeqCst) + 1 == self.panic_at.load(SeqCst);
        assert!(!due, "injected into a round");
    }
    fn pools(&self, _: usize, _: usize, leased: usize, waiting: usize) {
        self.leased.store(leased, SeqCst);
        self.waiting.store(waiting, SeqCst);
        self.sweeps.fetch_add(1, SeqCst);
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Drop,
    Panic,
}

impl Injector {
    fn new() -> Self {
        let zero = AtomicUsize::default;
        let never = || AtomicUsize::new(NEVER);
        Self {
            polls: zero(),
            rounds: zero(),
            drop_at: never(),
            panic_at: never(),
            leased: zero(),
            waiting: zero(),
            sweeps: zero(),
        }
    }

    fn arm(&self, fault: Fault, at: usize) {
        self.polls.store(0, SeqCst);
        self.rounds.store(0, SeqCst);
        match fault {
            Fault::Drop => self.drop_at.store(at, SeqCst),
            Fault::Panic => self.panic_at.store(at, SeqCst),
        }
    }

    /// Whether it has come to it.
    fn disarm(&self, fault: Fault, at: usize) -> bool {
        self.drop_at.store(NEVER, SeqCst);
        self.panic_at.store(NEVER, SeqCst);
        match fault {
            Fault::Drop => self.polls.load(SeqCst) >= at,
            Fault::Panic => self.rounds.load(SeqCst) >= at,
        }
    }
}

struct Rig {
    proxy: Proxy,
    injector: Arc<Injector>,
    way: Way,
    /// Relays end when they are dropped.
    _relays: [Relay; 2],
    others: Client,
    own: Client,
}

impl Rig {
    /// A proxy with one server connection and clients that stay, between relays that pass a few bytes at once.
    async fn new() -> Option<Self> {
        let postgres = Postgres::start()?;
        let servers = Relay::to(postgres.port).await;
        let certificate = postgres.certificate();
        let injector = Arc::new(Injector::new());
        let general = format!(
            "default_pool_size = 1\nserver_check_delay = \"1h\"\nmax_pinned = 1\ntls = \"allow\"\n\
             tls_cert_file = \"{0}/cert.pem\"\ntls_key_file = \"{0}/key.pem\"",
            certificate.display()
        );
        let pem = certificate.join("cert.pem");
        let proxy = Proxy::before(postgres, servers.port, &general, injector.clone());
        let clients = Relay::to(proxy.port).await;
        let way = Way { port: clients.port, certificate: CertificateDer::from_pem_file(pem).unwrap() };
        let (others, own) = (proxy.connect("two").await, proxy.connect("one").await);
        for relay in [&servers, &clients] {
            relay.faults.piece.store(PIECE, SeqCst);
        }
        Some(Self { proxy, injector, way, _relays: [servers, clients], others, own })
    }

    /// Another tenant's client gets its own rows and its own answer, and nothing uncommitted is seen.
    async fn probe(&self, context: &str, number: usize) {
        let text = format!(
            "select '{context} {number}', tenant_id, count(*) from t where tenant_id = tenant() group by 2"
        );
        for (client, tenant) in [(&self.others, "2"), (&self.own, "1")] {
            let answer = tokio::time::timeout(Duration::from_secs(30), client.simple_query(&text)).await;
            let messages = answer.unwrap_or_else(|_| panic!("{context} {number}: a lease is lost"));
            let messages = messages.unwrap_or_else(|error| panic!("{context} {number}: {error}"));
            let rows: Vec<_> = messages.iter().filter_map(row).collect();
            let told: Vec<_> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
            let mark = format!("{context} {number}");
            assert_eq!(told, [(Some(mark.as_str()), Some(tenant), Some("50"))]);
        }
    }

    /// Plays a scenario again and again, with the fault a little later each time; gives how often it struck.
    async fn play(&self, name: &str, scenario: Scenario, fault: Fault, step: usize) -> usize {
        let mut struck = 0;
        for at in (1..).step_by(step) {
            self.injector.arm(fault, at);
            let played = tokio::time::timeout(Duration::from_secs(30), scenario(self.way.clone())).await;
            let came = self.injector.disarm(fault, at);
            let played = played.unwrap_or_else(|_| panic!("{name}: hangs at {fault:?} {at}"));
            self.probe(name, at).await;
            if !came {
                played.unwrap_or_else(|error| panic!("{name}: {error}, undisturbed"));
                return struck;
            }
            struck += 1;
            assert!(struck < 2_000, "{name} has no end");
        }
        struck
    }

    /// A session waits for a lease.
    async fn somebody_waits(&self) {
        self.sweep_finds(|_, waiting| waiting > 0).await.unwrap_or_else(|| panic!("nobody waits"));
    }

    /// No lease is out and nobody waits.
    async fn is_quiet(&self) {
        let quiet = |leased, waiting| leased == 0 && waiting == 0;
        self.sweep_finds(quiet).await.unwrap_or_else(|| panic!("a lease is lost"));
    }

    /// Waits until a sweep that begins after this finds such numbers of leased connections and waiting sessions.
    async fn sweep_finds(&self, is_so: impl Fn(usize, usize) -> bool) -> Option<()> {
        let seen = self.injector.sweeps.load(SeqCst);
        for _ in 0..600 {
            let (leased, waiting) = (self.injector.leased.load(SeqCst), self.injector.waiting.load(SeqCst));
            if is_so(leased, waiting) && self.injector.sweeps.load(SeqCst) > seen + 1 {
                return Some(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_dropped_at_any_poll_leaves_nothing_behind() {
    let Some(rig) = Rig::new().await else { return };
    for (name, scenario) in SCENARIOS {
        let began = std::time::Instant::now();
        let struck = rig.play(name, *scenario, Fault::Drop, 1).await;
        eprintln!("{name}: dropped at {struck} polls, {:?}", began.elapsed());
        assert!(struck >= 5, "{name}: {struck} polls only");
    }
    rig.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_that_panics_in_any_round_leaves_nothing_behind() {
    let Some(rig) = Rig::new().await else { return };
    for (name, scenario) in SCENARIOS {
        let struck = rig.play(name, *scenario, Fault::Panic, 3).await;
        assert!(struck >= 5, "{name}: {struck} rounds only");
    }
    rig.is_quiet().await;
}

/// Also a session that waits for the only server connection, which another one has: dropped when its client says more,
/// and when the connection has just become its own. Either way it goes on to who comes next, unharmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_dropped_while_it_waits_for_a_lease_leaves_nothing_behind() {
    let Some(rig) = Rig::new().await else { return };
    for client_says_more in [true, false] {
        rig.others.batch_execute("begin").await.unwrap();
        let before = backend(&rig.others).await;
        let way = rig.way.clone();
        let (more, told) = tokio::sync::oneshot::channel::<()>();
        let client = tokio::spawn(async move {
            let client = way.open().await?;
            let later = async {
                match told.await {
                    Ok(()) => simple(&client).await,
                    Err(_) => Ok(()),
                }
            };
            let (first, second) = tokio::join!(simple(&client), later);
            first.and(second)
        });
        rig.somebody_waits().await;
        rig.injector.arm(Fault::Drop, 1);
        if client_says_more {
            more.send(()).unwrap();
            client.await.unwrap().unwrap_err();
            rig.others.batch_execute("commit").await.unwrap();
        } else {
            drop(more);
            rig.others.batch_execute("commit").await.unwrap();
            client.await.unwrap().unwrap_err();
        }
        assert!(rig.injector.disarm(Fault::Drop, 1), "it was never dropped");
        rig.probe("wait", 1).await;
        assert_eq!(
            before,
            backend(&rig.others).await,
            "the connection was closed with who only waited for it"
        );
    }
    rig.is_quiet().await;
    drop(rig.proxy);
}

/// What was to be held was refused, and the room for it is another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursor_that_is_refused_keeps_no_room_for_itself() {
    let Some(rig) = Rig::new().await else { return };
    let cursor = "declare c cursor with hold for select tenant_id from t";
    rig.own.batch_execute(&format!("{cursor}; deallocate nosuch")).await.unwrap_err();
    rig.others.batch_execute(cursor).await.unwrap();
    rig.others.batch_execute("close c").await.unwrap();
    rig.is_quiet().await;
}

/// The process of the server that the client's statements run in.
async fn backend(client: &Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
}
