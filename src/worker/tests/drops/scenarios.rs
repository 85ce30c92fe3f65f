//! What clients do while they are dropped: an exchange of each kind, and how a client reaches the proxy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::super::connect;

/// How a client reaches the proxy.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) port: u16,
    pub(super) certificate: CertificateDer<'static>,
}

impl Way {
    pub(super) async fn open(&self) -> Result<Client, Error> {
        connect(self.port, "one").await
    }

    /// Under TLS.
    async fn open_encrypted(&self) -> Result<Client, Error> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut answer = [0; 1];
        let asked = socket.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await;
        if asked.is_err() || socket.read_exact(&mut answer).await.is_err() || answer != *b"S" {
            return over(socket).await;
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        match connector.connect(name, socket).await {
            Ok(stream) => over(stream).await,
            // The login over nothing fails as one over a socket that was closed does.
            Err(_) => over(tokio::io::join(tokio::io::empty(), tokio::io::sink())).await,
        }
    }
}

/// Logs in over something that is connected.
async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Client, Error> {
    let mut config = tokio_postgres::Config::new();
    config.user("one").password("secret").dbname("db").ssl_mode(tokio_postgres::config::SslMode::Disable);
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub(super) type Run = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
pub(super) type Scenario = fn(Way) -> Run;

pub(super) const SCENARIOS: &[(&str, Scenario)] = &[
    ("simple", |way| Box::pin(async move { simple(&way.open().await?).await })),
    ("pipeline", |way| Box::pin(async move { pipeline(&way.open().await?).await })),
    ("transaction", |way| Box::pin(async move { transaction(&way.open().await?).await })),
    ("copy in", |way| Box::pin(async move { copy_in(&way.open().await?).await })),
    ("copy out", |way| Box::pin(async move { copy_out(&way.open().await?).await })),
    ("cancel", |way| Box::pin(async move { cancel(&way.open().await?).await })),
    ("with hold", |way| Box::pin(async move { hold(&way.open().await?).await })),
    ("listen", |way| Box::pin(async move { listen(&way.open().await?).await })),
    ("tls", |way| Box::pin(async move { simple(&way.open_encrypted().await?).await })),
];

pub(super) async fn simple(client: &Client) -> Result<(), Error> {
    let text = "select id, tenant_id, v from t where tenant_id = tenant() order by id; select 'end'";
    let messages = client.simple_query(text).await?;
    let rows: Vec<_> = messages.iter().filter_map(row).collect();
    assert_eq!(rows.len(), 51);
    assert!(rows[..50].iter().all(|row| row.get(1) == Some("1")) && rows[50].get(0) == Some("end"));
    Ok(())
}

pub(super) fn row(message: &SimpleQueryMessage) -> Option<&tokio_postgres::SimpleQueryRow> {
    match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    }
}

async fn pipeline(client: &Client) -> Result<(), Error> {
    let text = "select tenant_id, $1::int from t where tenant_id = tenant() and id < $1";
    let (many, error, few) = tokio::join!(
        client.query(text, &[&40i32]),
        client.query("select 1 / $1::int", &[&0i32]),
        client.query(text, &[&10i32]),
    );
    assert_eq!(error.unwrap_err().code().map_or("22012", |code| code.code()), "22012");
    for (rows, bound) in [(many?, 40), (few?, 10)] {
        assert_eq!(rows.len(), usize::try_from(bound).unwrap() / 2 - 1);
        assert!(rows.iter().all(|row| (row.get(0), row.get(1)) == (1i32, bound)));
    }
    Ok(())
}

/// Never committed.
async fn transaction(client: &Client) -> Result<(), Error> {
    client.batch_execute("begin").await?;
    client.execute("insert into t values ($1, 5000, 'never')", &[&1i32]).await?;
    client.batch_execute("savepoint s; select 1; rollback to s").await?;
    client.query("select v from t where tenant_id = tenant()", &[]).await?;
    client.batch_execute("rollback").await
}

/// The last row is none.
async fn copy_in(client: &Client) -> Result<(), Error> {
    let sink = client.copy_in::<_, bytes::Bytes>("copy t from stdin").await?;
    let mut sink = Box::pin(sink);
    for row in ["1\t5001\tnever\n", "1\t5002\tne", "ver\n1\t5003\tnever\n", "1\tx\tx\n"] {
        sink.send(bytes::Bytes::from_static(row.as_bytes())).await?;
    }
    match sink.close().await {
        Err(error) if error.code().is_some_and(|code| code.code() == "22P02") => Ok(()),
        other => other.map(drop),
    }
}

async fn copy_out(client: &Client) -> Result<(), Error> {
    let out = client.copy_out("copy (select tenant_id from t where tenant_id = tenant()) to stdout").await?;
    let mut out = Box::pin(out);
    while let Some(chunk) = out.next().await {
        assert!(chunk?.iter().all(|byte| matches!(byte, b'1' | b'\n')));
    }
    Ok(())
}

async fn cancel(client: &Client) -> Result<(), Error> {
    let token = client.cancel_token();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let _ = token.cancel_query(NoTls).await;
    };
    let (slept, ()) = tokio::join!(client.query("select pg_sleep(0.2)", &[]), cancel);
    match slept {
        Err(error) if error.code().is_none_or(|code| code.code() != "57014") => Err(error),
        _ => simple(client).await,
    }
}

async fn hold(client: &Client) -> Result<(), Error> {
    client.batch_execute("declare c cursor with hold for select tenant_id from t").await?;
    client.simple_query("fetch 3 c").await?;
    client.batch_execute("select 1").await?;
    client.batch_execute("close c").await?;
    client.batch_execute("select 1").await
}

async fn listen(client: &Client) -> Result<(), Error> {
    client.batch_execute("listen news").await?;
    client.batch_execute("select 1").await?;
    client.batch_execute("unlisten news").await?;
    client.batch_execute("select 1").await
}
