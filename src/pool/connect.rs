//! A new server connection: TLS as configured, the configured authentication method or none, and the settings
//! that no session can change.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::keepalive::Keepalive;
use super::password::{PasswordError, Passwords};
use super::stream::Stream;
use crate::auth::end_point::server_end_point;
use crate::catalog::tls::{self, TlsError};
use crate::config::model::{AuthMethod, BackendTls, ChannelBinding, Database, Secret};
use crate::session::server::Server;
use crate::wire::backend::{self, ErrorFields};
use crate::wire::reader::Reader;
use crate::wire::{WireError, frame::HEADER};

/// Longest message of a server while it is being connected to: it is nobody yet.
const LONGEST: usize = 64 * 1024;
/// Longest server nonce (with ours in front) and salt.
const LONGEST_SCRAM: usize = 1024;

/// A server and how to get in. A clone shares the passwords.
#[derive(Debug, Clone)]
pub struct Target {
    /// `[[databases]] name`.
    pub name: Arc<str>,
    database: Database,
    passwords: Arc<Passwords>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    keepalive: Option<Keepalive>,
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
    /// There is no password.
    #[error("{0}")]
    Password(#[from] PasswordError),
    /// The driver of the program's own queries.
    #[error("{0}")]
    Driver(#[from] tokio_postgres::Error),
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

impl ConnectError {
    /// Whether another password could help.
    fn is_of_login(&self) -> bool {
        match self {
            Self::Scram(_) => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "28P01" | "28000"),
            _ => false,
        }
    }
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
            passwords: Arc::new(Passwords::new(database.password.clone())),
            database: database.clone(),
            timeout,
            keepalive: None,
        })
    }

    /// The same, finding out about servers that are gone without a word.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: Keepalive) -> Self {
        self.keepalive = Some(keepalive);
        self
    }

    /// Opens a connection and brings it to its first ReadyForQuery. A `password_command` has a time limit of its
    /// own before that.
    pub async fn connect(&self) -> Result<Connected, ConnectError> {
        let password = self.passwords.current().await?;
        let connecting = async {
            let stream = self.open().await?;
            self.log_in(stream, password.as_ref()).await
        };
        let connected = tokio::time::timeout(self.timeout, connecting).await;
        let connected = connected.unwrap_or(Err(ConnectError::Timeout));
        if let (Err(error), Some(password)) = (&connected, &password)
            && error.is_of_login()
        {
            self.passwords.refused(password);
        }
        connected
    }

    /// Opens a socket with the TLS that the database asks for; cancels use it too.
    pub(super) async fn open(&self) -> Result<Stream, ConnectError> {
        let mut tcp = TcpStream::connect((self.database.host.as_str(), self.database.port)).await?;
        tcp.set_nodelay(true)?;
        if let Some(keepalive) = self.keepalive {
            keepalive.apply(&tcp)?;
        }
        let Some(config) = &self.tls else { return Ok(Stream::Plain(tcp.into())) };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        tcp.write_all(&request).await?;
        // One byte is read and no more: what a man in the middle stuffs behind it meets the handshake.
        match tcp.read_u8().await? {
            b'S' => {
                let name = ServerName::try_from(self.database.host.clone());
                let name = name.map_err(|_| ConnectError::BadName)?;
                let stream = TlsConnector::from(config.clone()).connect(name, tcp.into()).await?;
                Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
            }
            b'N' if self.database.tls == BackendTls::Prefer => Ok(Stream::Plain(tcp.into())),
            b'N' => Err(ConnectError::NoTls),
            _ => Err(ConnectError::BadTlsAnswer),
        }
    }

    async fn log_in(&self, mut stream: Stream, password: Option<&Secret>) -> Result<Connected, ConnectError> {
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
        self.authenticate(&mut stream, password).await?;
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
                    let mut server = Server::new(reported);
                    server.pid = key.as_ref().map(|(pid, _)| *pid);
                    return Ok(Connected { stream, server, key });
                }
                _ => return Err(WireError::Unexpected(tag).into()),
            }
        }
    }

    /// Up to AuthenticationOk.
    async fn authenticate(&self, stream: &mut Stream, password: Option<&Secret>) -> Result<(), ConnectError> {
        let configured = self.database.auth_method;
        let wrong = |asked| Err(ConnectError::Method { asked, configured });
        let body = authentication(stream).await?;
        match (code(&body)?, configured, password) {
            (0, AuthMethod::Trust, _) => Ok(()),
            (10, AuthMethod::ScramSha256, Some(password)) => {
                let offered = Offered::read(body.get(4..).unwrap_or_default())?;
                match self.mechanism(stream, &offered) {
                    Ok((name, binding)) => scram(stream, password, name, binding).await,
                    Err(asked) => wrong(asked),
                }
            }
            (3, AuthMethod::Password, Some(password)) if self.is_verified(stream) => {
                let mut out = BytesMut::new();
                frontend::password_message(password.0.as_bytes(), &mut out)?;
                stream.write_all(&out).await?;
                match code(&authentication(stream).await?)? {
                    0 => Ok(()),
                    _ => Err(WireError::Unexpected(b'R').into()),
                }
            }
            (0, ..) => wrong("nothing"),
            (3, ..) => wrong("a password in clear"),
            (5, ..) => wrong("MD5"),
            (10, ..) => wrong("SCRAM"),
            _ => wrong("an unknown method"),
        }
    }

    /// Whether the server has proved that it is the one that was asked for.
    fn is_verified(&self, stream: &Stream) -> bool {
        self.database.tls == BackendTls::VerifyFull && matches!(stream, Stream::Tls(_))
    }

    /// The mechanism to use: -PLUS where it can be had. Without it the server is told that it could have been
    /// had, so that it notices if somebody took it from its offer (RFC 5802, section 6).
    fn mechanism(
        &self,
        stream: &Stream,
        offered: &Offered,
    ) -> Result<(&'static str, sasl::ChannelBinding), &'static str> {
        let end_point = match self.database.channel_binding {
            ChannelBinding::Disable => None,
            ChannelBinding::Prefer | ChannelBinding::Require => {
                stream.peer_certificate().and_then(|certificate| server_end_point(&certificate))
            }
        };
        match (end_point, self.database.channel_binding) {
            (Some(hash), _) if offered.plus => {
                Ok((SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash.to_vec())))
            }
            (_, ChannelBinding::Require) => Err("SCRAM without channel binding"),
            _ if !offered.plain => Err("another SASL mechanism"),
            (Some(_), _) => Ok((SCRAM_SHA_256, sasl::ChannelBinding::unrequested())),
            (None, _) => Ok((SCRAM_SHA_256, sasl::ChannelBinding::unsupported())),
        }
    }
}

/// SASL mechanisms of AuthenticationSASL.
#[derive(Debug, Default)]
struct Offered {
    plain: bool,
    plus: bool,
}

impl Offered {
    fn read(list: &[u8]) -> Result<Self, WireError> {
        let mut list = Reader::new(list);
        let mut offered = Self::default();
        loop {
            match list.c_str()? {
                "" => return Ok(offered),
                name => {
                    offered.plain |= name == SCRAM_SHA_256;
                    offered.plus |= name == SCRAM_SHA_256_PLUS;
                }
            }
        }
    }
}

/// SCRAM-SHA-256 or -PLUS. The server's iterations are bounded by postgres-protocol (100 000) and run off the
/// executor; its signature is checked.
async fn scram(
    stream: &mut Stream,
    password: &Secret,
    mechanism: &str,
    binding: sasl::ChannelBinding,
) -> Result<(), ConnectError> {
    let failed = |error: io::Error| ConnectError::Scram(error.to_string());
    let mut client = ScramSha256::new(password.0.as_bytes(), binding);
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(mechanism, client.message(), &mut out)?;
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
