//! A tokio-postgres client over a connection of ours: it is opened, encrypted and authenticated as every other
//! connection to the server is (tokio-postgres itself would answer a request for the password in clear).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use super::connect::{ConnectError, Connected, Target};
use super::stream::Stream;

/// Opens a connection for the program's own queries. It ends when the client is dropped.
pub async fn client(target: &Target) -> Result<Client, ConnectError> {
    let connected = target.connect().await?;
    let mut config = tokio_postgres::Config::new();
    config.user("pgbulkhead").ssl_mode(SslMode::Disable);
    let (client, connection) = config.connect_raw(LoggedIn::new(connected), NoTls).await?;
    tokio::spawn(async move {
        // An error shows itself at the query that meets it.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of the program's own has ended");
        }
    });
    Ok(client)
}

/// A connection on which the login has happened, for a driver that insists on one: its StartupMessage is kept
/// from the server, and it is told what the server said after ours.
#[derive(Debug)]
struct LoggedIn {
    stream: Stream,
    greeting: Vec<u8>,
    told: usize,
    /// The length word of the StartupMessage, as far as it was written.
    length: Vec<u8>,
    /// How much of the StartupMessage is still to come; none while its length is not known.
    left: Option<usize>,
}

impl LoggedIn {
    fn new(connected: Connected) -> Self {
        let mut greeting = b"R\0\0\0\x08\0\0\0\0".to_vec();
        for (name, value) in &connected.server.pinned {
            let body = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat();
            message(&mut greeting, b'S', &body);
        }
        message(&mut greeting, b'Z', b"I");
        Self { stream: connected.stream, greeting, told: 0, length: Vec::new(), left: None }
    }

    /// How many of the bytes belong to the StartupMessage.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        let missing = 4usize.saturating_sub(self.length.len());
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        self.length.extend_from_slice(head);
        let left = match (self.left, self.length.first_chunk::<4>()) {
            (Some(left), _) => left,
            (None, Some(length)) => {
                usize::try_from(u32::from_be_bytes(*length)).unwrap_or(4).saturating_sub(4)
            }
            (None, None) => return head.len(),
        };
        let swallowed = left.min(rest.len());
        self.left = Some(left.saturating_sub(swallowed));
        head.len().saturating_add(swallowed)
    }
}

fn message(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
}

impl AsyncRead for LoggedIn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.greeting.get(this.told..).filter(|rest| !rest.is_empty()) {
            Some(rest) => {
                let taken = rest.len().min(buffer.remaining());
                buffer.put_slice(rest.get(..taken).unwrap_or_default());
                this.told = this.told.saturating_add(taken);
                Poll::Ready(Ok(()))
            }
            None => AsyncRead::poll_read(Pin::new(&mut this.stream), cx, buffer),
        }
    }
}

impl AsyncWrite for LoggedIn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.left {
            Some(0) => this.stream.poll_write(cx, bytes),
            _ => Poll::Ready(Ok(this.swallow(bytes))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.get_mut().stream), cx)
    }
}
