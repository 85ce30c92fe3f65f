//! One client: asks, and looks at every byte of the answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, pin_mut};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::TENANTS;
use super::stage::{ROWS, Stage, connect};

/// A client that waits longer hangs: stalls are short, and a statement waits 30 s for a server connection.
const HANGS: Duration = Duration::from_secs(90);

/// The kinds of traffic.
const KINDS: [&str; 11] = [
    "simple",
    "prepared",
    "pipeline",
    "transaction",
    "error",
    "refused",
    "cancel",
    "vanish",
    "copy",
    "load",
    "half a load",
];

/// What clients have done.
#[derive(Debug, Default)]
pub struct Done {
    answered: BTreeMap<&'static str, u64>,
    broken: BTreeMap<String, u64>,
}

impl Done {
    pub fn add(&mut self, other: &Self) {
        other.answered.iter().for_each(|(kind, n)| *self.answered.entry(kind).or_default() += n);
        other.broken.iter().for_each(|(why, n)| *self.broken.entry(why.clone()).or_default() += n);
    }

    pub fn assert_everything_was_tried(&self) {
        for kind in KINDS {
            assert!(self.answered.contains_key(kind), "no {kind} request was answered");
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "answered: {:?}", self.answered)?;
        write!(f, "failed by the trouble that was made: {:?}", self.broken)
    }
}

/// One client of a tenant.
pub struct Client {
    stage: Arc<Stage>,
    tenant: u32,
    number: u32,
    seed: u64,
    requests: u64,
    random: StdRng,
    done: Done,
}

impl Client {
    pub fn new(stage: Arc<Stage>, number: u32, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number)));
        Self { stage, tenant: number % TENANTS + 1, number, seed, requests: 0, random, done: Done::default() }
    }

    pub async fn run(mut self, end: Instant) -> Done {
        while Instant::now() < end {
            if let Err(error) = self.session(end).await {
                self.note(&error);
            }
        }
        self.done
    }

    /// Connects, asks some times and goes.
    async fn session(&mut self, end: Instant) -> Result<(), Error> {
        let user = format!("tenant{}", self.tenant);
        let login = timeout(HANGS, connect(self.stage.address, &user, "soak", "pencil")).await;
        let connection = login.unwrap_or_else(|_| panic!("a login hangs\n{}", self.stage.log()))?;
        for _ in 0..self.random.random_range(1..60) {
            if Instant::now() >= end {
                break;
            }
            let kind = KINDS[self.random.random_range(0..KINDS.len())];
            // It costs a login each time.
            if matches!(kind, "vanish" | "half a load") && self.random.random_ratio(7, 8) {
                continue;
            }
            let answer = timeout(HANGS, self.request(&connection, kind)).await;
            answer
                .unwrap_or_else(|_| panic!("{kind} of client {} hangs\n{}", self.number, self.stage.log()))?;
            *self.done.answered.entry(kind).or_default() += 1;
        }
        Ok(())
    }

    async fn request(&mut self, connection: &tokio_postgres::Client, kind: &str) -> Result<(), Error> {
        match kind {
            "simple" => self.simple(connection).await,
            "prepared" => self.prepared(connection).await,
            "pipeline" => self.pipeline(connection).await,
            "transaction" => self.transaction(connection).await,
            "error" => self.error(connection).await,
            "refused" => self.refused(connection).await,
            "cancel" => self.cancel(connection).await,
            "copy" => self.copy(connection).await,
            "load" => self.load(connection).await,
            "half a load" => self.half_a_load().await,
            _ => self.vanish().await,
        }
    }

    /// A text that no other request has.
    fn mark(&mut self) -> String {
        self.requests += 1;
        format!("M{}-{}-{}-{}", self.tenant, self.seed, self.number, self.requests)
    }

    async fn simple(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let (mark, first) = (self.mark(), self.random.random_range(1..ROWS - 5));
        let sql = format!(
            "select '{mark}' as mark, tenant_id, id, body from rows where id between {first} and {} order by id",
            first + 4
        );
        let messages = connection.simple_query(&sql).await?;
        let rows: Vec<_> = rows_of(&messages).collect();
        assert_eq!(rows.len(), 5, "{sql}");
        for (row, id) in rows.iter().zip(first..) {
            self.look(row, &mark, id);
        }
        Ok(())
    }

    fn look(&self, row: &SimpleQueryRow, mark: &str, id: i32) {
        assert_eq!(row.get(0), Some(mark), "another request's answer");
        assert_eq!(row.get(1), Some(self.tenant.to_string().as_str()), "another tenant's row");
        assert_eq!(row.get(2), Some(id.to_string().as_str()));
        let body = row.get(3).unwrap_or_default();
        assert!(body.starts_with(&format!("T{}-{id}-x", self.tenant)), "{body}");
    }

    async fn prepared(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let (mark, id) = (self.mark(), self.random.random_range(1..=ROWS));
        self.ask(connection, mark, id).await
    }

    async fn ask(&self, connection: &tokio_postgres::Client, mark: String, id: i32) -> Result<(), Error> {
        let sql = "select $1::text, tenant_id, body from rows where id = $2";
        let row = connection.query_one(sql, &[&mark, &id]).await?;
        assert_eq!(row.get::<_, &str>(0), mark, "another request's answer");
        assert_eq!(row.get::<_, i32>(1).to_string(), self.tenant.to_string(), "another tenant's row");
        assert!(row.get::<_, &str>(2).starts_with(&format!("T{}-{id}-x", self.tenant)));
        Ok(())
    }

    async fn pipeline(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let asked: Vec<_> = (0..8).map(|_| (self.mark(), self.random.random_range(1..=ROWS))).collect();
        let this = &*self;
        let all = asked.into_iter().map(|(mark, id)| this.ask(connection, mark, id));
        futures_util::future::try_join_all(all).await.map(drop)
    }

    async fn transaction(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let (mark, keep) = (self.mark(), self.random.random_ratio(1, 4));
        let body = format!("T{}-C{}-{mark}", self.tenant, self.number);
        let number = i32::try_from(self.number).expect("a small number");
        connection.batch_execute("begin").await?;
        let insert = "insert into writes (client, body) values ($1, $2) returning tenant_id, body";
        let row = connection.query_one(insert, &[&number, &body]).await?;
        assert_eq!(row.get::<_, i32>(0).to_string(), self.tenant.to_string());
        assert_eq!(row.get::<_, &str>(1), body);
        let seen = connection.query("select tenant_id from writes where body = $1", &[&body]).await?;
        assert_eq!(seen.len(), 1, "a transaction sees its own row, once");
        connection.batch_execute(if keep { "commit" } else { "rollback" }).await
    }

    async fn error(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let mark = self.mark();
        let sql = format!("select ('{mark}'::text || body)::int from rows where id = 1");
        match connection.simple_query(&sql).await {
            Err(error) if error.code() == Some(&SqlState::INVALID_TEXT_REPRESENTATION) => {
                let told = error.as_db_error().map(|e| e.message().to_owned()).unwrap_or_default();
                assert!(
                    told.contains(&format!("{mark}T{}-1-", self.tenant)),
                    "another request's error: {told}"
                );
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => panic!("{sql} has no error"),
        }
    }

    async fn refused(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        match connection.simple_query("select rolpassword from pg_authid").await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => panic!("others' passwords are shown"),
        }
    }

    /// A statement that runs for minutes, unless its own cancel comes; the next statement is not hit.
    async fn cancel(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let mark = self.mark();
        let sql = format!(
            "select '{mark}', count(*) from rows a, rows b, rows c, rows d where a.id + b.id + c.id + d.id < 0"
        );
        let token = connection.cancel_token();
        let wait = Duration::from_millis(self.random.random_range(0..40));
        let cancel = async {
            tokio::time::sleep(wait).await;
            // Too early, it finds no statement; it is sent until it does.
            loop {
                let _ = token.cancel_query(NoTls).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let answer = tokio::select! {
            answer = connection.simple_query(&sql) => answer,
            () = cancel => unreachable!("it goes on"),
        };
        match answer {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {}
            Err(error) => return Err(error),
            Ok(_) => panic!("{sql} has ended by itself"),
        }
        match self.prepared(connection).await {
            // A cancel that was under way may find it: the client's own, and sent before.
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Ok(()),
            other => other,
        }
    }

    /// Goes away in the middle of a result.
    async fn vanish(&mut self) -> Result<(), Error> {
        let mut config = tokio_postgres::Config::new();
        config.user(format!("tenant{}", self.tenant)).dbname("soak").password("pencil");
        let stream = TcpStream::connect(self.stage.address).await.expect("the proxy accepts");
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        let driven = tokio::spawn(connection);
        let result =
            client.query_raw("select a.body, b.body from rows a, rows b", Vec::<String>::new()).await;
        if let Ok(result) = result {
            pin_mut!(result);
            let mut rows = result.take(self.random.random_range(0..500));
            while let Some(Ok(row)) = rows.next().await {
                assert!(
                    row.get::<_, &str>(0).starts_with(&format!("T{}-", self.tenant)),
                    "another tenant's row"
                );
            }
        }
        // Closes the socket, with most of the result still to come.
        driven.abort();
        Ok(())
    }

    async fn copy(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let mark = self.mark();
        let sql = format!("copy (select '{mark}', tenant_id, body from rows) to stdout");
        let out = connection.copy_out(&sql).await?;
        pin_mut!(out);
        let mut text = Vec::new();
        while let Some(chunk) = out.next().await {
            text.extend_from_slice(&chunk?);
        }
        let text = String::from_utf8(text).expect("UTF-8");
        let front = format!("{mark}\t{0}\tT{0}-", self.tenant);
        assert_eq!(text.lines().count(), usize::try_from(ROWS).expect("a small number"));
        assert!(text.lines().all(|line| line.starts_with(&front)), "another request's or tenant's row");
        Ok(())
    }

    /// Lines for COPY FROM, in pieces that end anywhere; the last line of a bad load is none.
    fn lines(&mut self, mark: &str, rows: usize, bad: bool) -> Vec<Bytes> {
        let line = |row| format!("{0}\tT{1}-C{0}-{mark}-{row}\n", self.number, self.tenant);
        let mut text: String = (0..rows).map(line).collect();
        text.push_str(if bad { "no number\tx\n" } else { "" });
        let mut rest = Bytes::from(text);
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(rest.split_to(self.random.random_range(1..400).min(rest.len())));
        }
        pieces
    }

    /// COPY FROM in a transaction that sees its rows, all of them; or none, where the last one is bad.
    async fn load(&mut self, connection: &tokio_postgres::Client) -> Result<(), Error> {
        let (mark, bad, keep) = (self.mark(), self.random.random_ratio(1, 4), self.random.random_ratio(1, 4));
        let pieces = self.lines(&mark, 40, bad);
        connection.batch_execute("begin").await?;
        let sink = connection.copy_in("copy writes (client, body) from stdin").await?;
        pin_mut!(sink);
        for piece in pieces {
            sink.send(piece).await?;
        }
        match sink.as_mut().finish().await {
            Err(error) if bad && error.code() == Some(&SqlState::INVALID_TEXT_REPRESENTATION) => {
                return connection.batch_execute("rollback").await;
            }
            loaded => assert_eq!((loaded?, bad), (40, false)),
        }
        let seen = "select count(*), min(tenant_id), max(tenant_id) from writes where starts_with(body, $1)";
        let body = format!("T{}-C{}-{mark}-", self.tenant, self.number);
        let row = connection.query_one(seen, &[&body]).await?;
        let tenant = i32::try_from(self.tenant).expect("a small number");
        assert_eq!((row.get::<_, i64>(0), row.get(1), row.get(2)), (40, tenant, tenant), "not its own rows");
        connection.batch_execute(if keep { "commit" } else { "rollback" }).await
    }

    /// Goes away in the middle of a COPY FROM, of which nothing is written.
    async fn half_a_load(&mut self) -> Result<(), Error> {
        let mark = format!("HALF-{}", self.mark());
        let pieces = self.lines(&mark, 40, false);
        let stream = TcpStream::connect(self.stage.address).await.expect("the proxy accepts");
        let mut config = tokio_postgres::Config::new();
        config.user(format!("tenant{}", self.tenant)).dbname("soak").password("pencil");
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        let driven = tokio::spawn(connection);
        if let Ok(sink) = client.copy_in("copy writes (client, body) from stdin").await {
            pin_mut!(sink);
            let most = self.random.random_range(0..pieces.len());
            for piece in pieces.into_iter().take(most) {
                if sink.send(piece).await.is_err() {
                    break;
                }
            }
            // Closes the socket before the end of the COPY could be sent.
            driven.abort();
            let _ = driven.await;
        }
        Ok(())
    }

    /// Only what the trouble explains is excused.
    fn note(&mut self, error: &Error) {
        const EXCUSED: [SqlState; 8] = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CONNECTION_FAILURE,
            SqlState::CONNECTION_EXCEPTION,
            SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IN_FAILED_SQL_TRANSACTION,
            SqlState::CRASH_SHUTDOWN,
        ];
        let excused = match error.code() {
            Some(code) => EXCUSED.contains(code),
            // The connection has ended: after the error that says why, or by the kill.
            None => true,
        };
        assert!(excused, "client {}: {error:?}", self.number);
        let why = error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned());
        *self.done.broken.entry(why).or_default() += 1;
    }
}

fn rows_of(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}
