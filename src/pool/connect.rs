//! A new server connection: TLS as configured, the configured authentication method or none, and the settings
//! that no session can change.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::stream::Stream;
use crate::catalog::tls::{self, TlsError};
use crate::config::model::{AuthMethod, BackendTls, Database, Secret};
use crate::session::server::Server;
use crate::wire::backend::{self, ErrorFields};
use crate::wire::reader::Reader;
use crate::wire::{WireError, frame::HEADER};

/// Longest message of a server while it is being connected to: it is nobody yet.
const LONGEST: usize = 64 * 1024;
/// Longest server nonce (with ours in front) and salt.
const LONGEST_SCRAM: usize = 1024;

/// A server and how to get in.
#[derive(Debug)]
pub struct Target {
    /// `[[databases]] name`.
    pub name: Arc<str>,
    database: Database,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

/// Why there is no server connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took longer than `server_connect_timeout`.
    #[error("timed out")]
    Timeout,
    /// The server has no TLS, and the configuration asks for it.
    #[error("the server does not offer TLS")]
    NoTls,
    /// The server answered an SSLRequest with something else than S or N.
    #[error("the server did not answer the request for TLS")]
    BadTlsAnswer,
    /// The host is no name that a certificate can have.
    #[error("the host name cannot be verified")]
    BadName,
    /// A message that is malformed or out of place.
    #[error("protocol violation: {0}")]
    Protocol(#[from] WireError),
    /// The server asked for another method than the configured one.
    #[error("the server asks for {asked}, configured is {configured:?}")]
    Method {
        /// What it asked for.
        asked: &'static str,
        /// What is configured.
        configured: AuthMethod,
    },
    /// SCRAM did not end well: a wrong password, or a server that could not prove itself.
    #[error("SCRAM failed: {0}")]
    Scram(String),
    /// The server refused.
    #[error("the server refused: {message} ({code})")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// Its message.
        message: String,
    },
    /// A pinned parameter is not what was asked for.
    #[error("the server reports {0} = {1}")]
    Parameter(String, String),
}

/// What a new connection is.
#[derive(Debug)]
pub struct Connected {
    /// The socket.
    pub stream: Stream,
    /// What the server reported.
    pub server: Server,
    /// Process id and secret for a cancel; none behind a server that has no cancel.
    pub key: Option<(i32, Vec<u8>)>,
}

impl Target {
    /// Reads the TLS material of a database.
    pub fn new(database: &Database, timeout: Duration) -> Result<Self, TlsError> {
        Ok(Self {
            name: database.name.as_str().into(),
            tls: match database.tls {
                BackendTls::Disable => None,
                _ => Some(Arc::new(tls::client_config(database)?)),
            },
            database: database.clone(),
            timeout,
        })
    }

    /// Opens a connection and brings it to its first ReadyForQuery.
    pub async fn connect(&self) -> Result<Connected, ConnectError> {
        tokio::time::timeout(self.timeout, async {
            let stream = self.open().await?;
            self.log_in(stream).await
        })
        .await
        .map_err(|_| ConnectError::Timeout)?
    }

    /// Opens a socket with the TLS that the database asks for; cancels use it too.
    pub(super) async fn open(&self) -> Result<Stream, ConnectError> {
        let mut tcp = TcpStream::connect((self.database.host.as_str(), self.database.port)).await?;
        tcp.set_nodelay(true)?;
        let Some(config) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        tcp.write_all(&request).await?;
        // One byte is read and no more: what a man in the middle stuffs behind it meets the handshake.
        match tcp.read_u8().await? {
            b'S' => {
                let name = ServerName::try_from(self.database.host.clone());
                let name = name.map_err(|_| ConnectError::BadName)?;
                let stream = TlsConnector::from(config.clone()).connect(name, tcp).await?;
                Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
            }
            b'N' if self.database.tls == BackendTls::Prefer => Ok(Stream::Plain(tcp)),
            b'N' => Err(ConnectError::NoTls),
            _ => Err(ConnectError::BadTlsAnswer),
        }
    }

    async fn log_in(&self, mut stream: Stream) -> Result<Connected, ConnectError> {
        let mut out = BytesMut::new();
        let search_path = search_path(&self.database.search_path);
        frontend::startup_message(
            [
                ("user", self.database.user.as_str()),
                ("database", self.database.dbname.as_str()),
                ("application_name", "pgbulkhead"),
                ("client_encoding", "UTF8"),
                ("search_path", search_path.as_str()),
                ("DateStyle", "ISO"),
                ("standard_conforming_strings", "on"),
                ("backslash_quote", "safe_encoding"),
                ("transform_null_equals", "off"),
                ("row_security", "on"),
            ],
            &mut out,
        )?;
        stream.write_all(&out).await?;
        self.authenticate(&mut stream).await?;
        let (mut reported, mut key) = (Vec::new(), None);
        loop {
            let (tag, body) = read(&mut stream).await?;
            match tag {
                b'S' => {
                    let (name, value) = backend::parameter_status(&body)?;
                    reported.push((name.to_owned(), value.to_owned()));
                }
                b'K' => key = Some(backend::key_data(&body)?),
                b'N' => {}
                b'Z' => {
                    backend::ready_for_query(&body)?;
                    check(&reported)?;
                    return Ok(Connected { stream, server: Server::new(reported), key });
                }
                _ => return Err(WireError::Unexpected(tag).into()),
            }
        }
    }

    /// Up to AuthenticationOk.
    async fn authenticate(&self, stream: &mut Stream) -> Result<(), ConnectError> {
        let configured = self.database.auth_method;
        let wrong = |asked| Err(ConnectError::Method { asked, configured });
        let body = authentication(stream).await?;
        match (code(&body)?, configured) {
            (0, AuthMethod::Trust) => Ok(()),
            (10, AuthMethod::ScramSha256) => {
                let mut mechanisms = Reader::new(body.get(4..).unwrap_or_default());
                let mut offered = false;
                loop {
                    match mechanisms.c_str()? {
                        "" => break,
                        name => offered |= name == SCRAM_SHA_256,
                    }
                }
                match (offered, &self.database.password) {
                    (true, Some(password)) => scram(stream, password).await,
                    (true, None) => Err(ConnectError::Scram("no password is configured".to_owned())),
                    (false, _) => wrong("another SASL mechanism"),
                }
            }
            (0, _) => wrong("nothing"),
            (3, _) => wrong("a password in clear"),
            (5, _) => wrong("MD5"),
            (10, _) => wrong("SCRAM"),
            _ => wrong("an unknown method"),
        }
    }
}

/// SCRAM-SHA-256. The server's iterations are bounded by postgres-protocol (100 000) and run off the
/// executor; its signature is checked.
async fn scram(stream: &mut Stream, password: &Secret) -> Result<(), ConnectError> {
    let failed = |error: io::Error| ConnectError::Scram(error.to_string());
    let mut client = ScramSha256::new(password.0.as_bytes(), ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(SCRAM_SHA_256, client.message(), &mut out)?;
    stream.write_all(&out).await?;
    let body = authentication(stream).await?;
    let first = sasl_data(&body, 11)?.to_vec();
    let client = tokio::task::spawn_blocking(move || client.update(&first).map(|()| client)).await;
    let mut client = client.map_err(|error| ConnectError::Scram(error.to_string()))?.map_err(failed)?;
    out.clear();
    frontend::sasl_response(client.message(), &mut out)?;
    stream.write_all(&out).await?;
    let body = authentication(stream).await?;
    client.finish(sasl_data(&body, 12)?).map_err(failed)?;
    let body = authentication(stream).await?;
    match code(&body)? {
        0 => Ok(()),
        _ => Err(WireError::Unexpected(b'R').into()),
    }
}

fn sasl_data(body: &[u8], wanted: i32) -> Result<&[u8], ConnectError> {
    let data = body.get(4..).unwrap_or_default();
    if code(body)? != wanted || data.len() > LONGEST_SCRAM {
        return Err(WireError::Unexpected(b'R').into());
    }
    Ok(data)
}

fn code(body: &[u8]) -> Result<i32, WireError> {
    Reader::new(body).i32()
}

async fn authentication(stream: &mut Stream) -> Result<Vec<u8>, ConnectError> {
    match read(stream).await? {
        (b'R', body) => Ok(body),
        (tag, _) => Err(WireError::Unexpected(tag).into()),
    }
}

/// One message; an ErrorResponse is an error.
async fn read(stream: &mut Stream) -> Result<(u8, Vec<u8>), ConnectError> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let [tag, length @ ..] = header;
    let length = u32::from_be_bytes(length);
    let size = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
    let size = size.filter(|size| *size <= LONGEST).ok_or(WireError::Length { tag, length })?;
    let mut body = vec![0; size];
    stream.read_exact(&mut body).await?;
    if tag != b'E' {
        return Ok((tag, body));
    }
    let fields = ErrorFields::read(&body)?;
    let text = |kind| String::from_utf8_lossy(fields.field(kind).unwrap_or_default()).into_owned();
    Err(ConnectError::Refused { code: text(b'C'), message: text(b'M') })
}

/// The schemas of the configuration, quoted, and `pg_temp` behind them, where it shadows nothing.
fn search_path(schemas: &[String]) -> String {
    let mut path = String::new();
    for schema in schemas {
        // Writing to a String cannot fail.
        let _ = write!(path, "\"{}\", ", schema.replace('"', "\"\""));
    }
    path.push_str("pg_temp");
    path
}

fn check(reported: &[(String, String)]) -> Result<(), ConnectError> {
    for (name, wanted) in [
        ("standard_conforming_strings", "on"),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("integer_datetimes", "on"),
    ] {
        if let Some((_, value)) = reported.iter().find(|(n, value)| n == name && value != wanted) {
            return Err(ConnectError::Parameter(name.to_owned(), value.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_path_is_quoted_and_ends_with_pg_temp() {
        assert_eq!(search_path(&["app".into(), "o\"x".into()]), "\"app\", \"o\"\"x\", pg_temp");
        assert_eq!(search_path(&[]), "pg_temp");
    }
}
