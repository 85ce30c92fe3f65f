//! Lanes: databases of their own, so that cases run beside each other without seeing each other.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::restore::Pristine;
use crate::support::fixture::{Proxy, Server};
use crate::support::wire::{Connection, Login};

const LANES: usize = 2;
static NEXT_DATABASE: AtomicUsize = AtomicUsize::new(0);

/// What stands where the proxy is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The proxy.
    Proxy,
    /// Row-level security, past the proxy: the judges must find nothing.
    Rls,
    /// The backend role, past the proxy: the judges must find the attacks.
    Backend,
}

impl Target {
    pub fn chosen() -> Self {
        match std::env::var("PGBULKHEAD_JUDGE_TARGET").as_deref() {
            Ok("rls") => Self::Rls,
            Ok("backend") => Self::Backend,
            Ok("proxy") | Err(_) => Self::Proxy,
            Ok(other) => panic!("PGBULKHEAD_JUDGE_TARGET={other}"),
        }
    }
}

/// One way to log in.
#[derive(Debug, Clone)]
pub struct Side {
    login: Login,
    prelude: Option<String>,
    /// Statements say `app.`; this side calls it `rls.`
    pub is_rls: bool,
}

impl Side {
    pub fn open(&self) -> io::Result<Connection> {
        let mut connection = Connection::open(&self.login)?;
        if let Some(prelude) = &self.prelude {
            connection.run(prelude);
        }
        Ok(connection)
    }

    /// A statement as this side must say it.
    pub fn sql(&self, sql: &str) -> String {
        if !self.is_rls {
            return sql.to_owned();
        }
        let mut out = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some(at) = rest.find("app.").into_iter().chain(rest.find("app\".")).min() {
            let before = rest[..at].chars().next_back();
            out.push_str(&rest[..at]);
            let is_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.');
            out.push_str(if is_word { "app" } else { "rls" });
            rest = &rest[at + 3..];
        }
        out + rest
    }
}

/// A database, and a proxy in front of it.
#[derive(Debug)]
pub struct Lane {
    pub superuser: Connection,
    pub pristine: Pristine,
    pub target: Target,
    pub proxy: Option<Proxy>,
    database: String,
    port: u16,
}

impl Lane {
    fn open(server: &Server) -> Self {
        let database = format!("ccm_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        server.create_database(&database);
        let mut superuser = server.superuser(&database);
        let pristine = Pristine::remember(&mut superuser);
        let target = Target::chosen();
        let program = env!("CARGO_BIN_EXE_pgbulkhead");
        let proxy = (target == Target::Proxy).then(|| Proxy::start(program, server, &database));
        Self { superuser, pristine, target, proxy, database, port: server.port() }
    }

    fn direct(&self, user: &str, prelude: Option<String>) -> Side {
        let login =
            Login { port: self.port, database: self.database.clone(), user: user.into(), password: None };
        Side { login, prelude, is_rls: user == "app_rls" }
    }

    /// Row-level security for a tenant.
    pub fn oracle(&self, tenant: u8) -> Side {
        self.direct("app_rls", Some(format!("set app.tenant_id = '{tenant}'")))
    }

    /// The backend role, which sees everything.
    pub fn backend(&self) -> Side {
        self.direct("app_backend", Some("set statement_timeout = '20s'".into()))
    }

    /// What is judged, as a tenant.
    pub fn subject(&self, tenant: u8) -> Side {
        match (&self.proxy, self.target) {
            (Some(proxy), _) => {
                let user = format!("tenant_{}", char::from(b'a' + tenant - 1));
                Side { login: proxy.login(&user), prelude: None, is_rls: false }
            }
            (None, Target::Backend) => self.backend(),
            (None, _) => self.oracle(tenant),
        }
    }
}

/// Runs every case in one of the lanes. The answers come in the order of the cases.
pub fn run<C: Sync, A: Send>(
    server: &Server,
    cases: &[C],
    judge: impl Fn(&mut Lane, &C) -> A + Sync,
) -> Vec<A> {
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<(usize, A)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES.min(cases.len()) {
            let lane = Lane::open(server);
            let (next, answers, judge) = (&next, &answers, &judge);
            scope.spawn(move || {
                let mut lane = lane;
                while let Some((at, case)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(at).map(|case| (at, case))
                } {
                    let answer = judge(&mut lane, case);
                    answers.lock().expect("no judge panics").push((at, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().expect("no judge panics");
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Whether a case with this id is to be run.
pub fn is_wanted(id: &str) -> bool {
    std::env::var("PGBULKHEAD_JUDGE_CASE").map_or(true, |text| id.contains(&text))
}
