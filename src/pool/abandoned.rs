//! Ending what still runs for a client that is gone.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::lease::Lease;
use super::stream::Stream;

/// How often a statement of a client that is gone is cancelled, and how long its end is waited for at first.
const MOST_CANCELS: u32 = 8;
const FIRST_PATIENCE: Duration = Duration::from_millis(50);
const LONGEST_CANCEL: Duration = Duration::from_secs(15);

impl Lease {
    /// Cancels what runs, and closes the connection once that has ended. A cancel may come before the statement
    /// that it is meant for: it is sent again as long as the server does not say that it is ready. Within a message of
    /// which it has got a part the server would wait for the rest: it is told that nothing more comes.
    pub fn cancel_and_close(mut self) {
        let Some(key) = self.key().cloned() else { return };
        if let Some(stream) = self.stream() {
            stream.belongs_to(None);
        }
        tokio::task::spawn_local(async move {
            let cancelling = async {
                let mut patience = FIRST_PATIENCE;
                if let Some(stream) = self.stream() {
                    // TLS has to write for it, which a server that reads nothing does not let it.
                    let _ = tokio::time::timeout(FIRST_PATIENCE, stream.shutdown()).await;
                }
                for _ in 0..MOST_CANCELS {
                    key.send();
                    key.settled().await;
                    let Some(stream) = self.stream() else { return };
                    if tokio::time::timeout(patience, has_ended(stream)).await.is_ok() {
                        return;
                    }
                    patience = patience.saturating_mul(2);
                }
            };
            // A server that does not even take a cancel is not waited for any longer.
            let _ = tokio::time::timeout(LONGEST_CANCEL, cancelling).await;
        });
    }
}

/// Reads and drops everything up to what looks like a ReadyForQuery, or the end. The connection is closed in any
/// case, so that a row that looks like one does no harm.
async fn has_ended(stream: &mut Stream) {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes).await {
            Ok(length @ 1..) => {
                let read = bytes.get(..length).unwrap_or_default();
                if matches!(read, [.., b'Z', 0, 0, 0, 5, _]) {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}
