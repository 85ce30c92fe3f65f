//! Lanes: databases of their own, so that cases run beside each other without seeing each other.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::restore::Pristine;
use crate::step::{Client, Step, text};
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

    /// The same, in another database.
    pub fn of_database(&self, database: &str) -> Self {
        let login = Login { database: database.into(), ..self.login.clone() };
        Self { login, ..self.clone() }
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
    /// Turns parameters into their binary format.
    encoder: Client,
    pub database: String,
    port: u16,
}

impl Lane {
    pub fn open(server: &Server) -> Self {
        let database = format!("ccm_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        server.create_database(&database);
        let mut superuser = server.superuser(&database);
        let pristine = Pristine::remember(&mut superuser);
        let target = Target::chosen();
        let program = env!("CARGO_BIN_EXE_pgbulkhead");
        let proxy = (target == Target::Proxy).then(|| Proxy::start(program, server, &database));
        let port = server.port();
        let encoder = Client::open(&oracle(port, &database, 1)).expect("the oracle");
        Self { superuser, pristine, target, proxy, encoder, database, port }
    }

    /// Starts the proxy anew: its server connections and its catalog are new then.
    pub fn restart(&mut self, server: &Server) {
        if self.proxy.take().is_some() {
            self.proxy = Some(Proxy::start(env!("CARGO_BIN_EXE_pgbulkhead"), server, &self.database));
        }
    }

    /// Row-level security for a tenant.
    pub fn oracle(&self, tenant: u8) -> Side {
        oracle(self.port, &self.database, tenant)
    }

    /// The backend role, which sees everything.
    pub fn backend(&self) -> Side {
        let prelude = Some("set statement_timeout = '10s'".into());
        Side { login: direct(self.port, &self.database, "app_backend"), prelude, is_rls: false }
    }

    /// The step with its binary parameters as the server itself encodes them. The corpora hold them as text,
    /// which an enumeration or an array outlives better than bytes do.
    pub fn encode(&mut self, step: &Step) -> Step {
        let is_binary = |at: &usize| step.param_format(*at) == 1;
        if !(0..step.params.len()).any(|at| is_binary(&at)) {
            return step.clone();
        }
        let values = self.encoder.parameter_types(step).and_then(|types| {
            let value = |(at, value): (usize, &Value)| match (is_binary(&at), text(value)) {
                (true, Some(value)) => self.encoder.binary(types.get(at).copied()?, value).map(Some),
                (_, value) => Some(value),
            };
            step.params.iter().enumerate().map(value).collect::<Option<Vec<_>>>()
        });
        match values {
            Some(values) => Step { encoded: Some(values), ..step.clone() },
            // The statement is an error, or a value is: the text format shows the same error.
            None => Step { param_formats: Vec::new(), ..step.clone() },
        }
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

fn direct(port: u16, database: &str, user: &str) -> Login {
    Login { port, database: database.into(), user: user.into(), password: None }
}

fn oracle(port: u16, database: &str, tenant: u8) -> Side {
    let prelude = Some(format!("set app.tenant_id = '{tenant}'; set statement_timeout = '10s'"));
    Side { login: direct(port, database, "app_rls"), prelude, is_rls: true }
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
