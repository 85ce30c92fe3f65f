//! Whether a connection that was idle still answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::Stream;

/// An empty simple query.
const QUESTION: &[u8] = b"Q\0\0\0\x05\0";
/// EmptyQueryResponse, and ReadyForQuery of a session without a transaction.
const ANSWER: &[u8; 11] = b"I\0\0\0\x04Z\0\0\0\x05I";

/// Sends an empty query and waits for its answer. Anything else than that (a notice, a parameter that has changed)
/// counts as no answer: nobody has asked for it.
pub(super) async fn is_alive(stream: &mut Stream, timeout: Duration) -> bool {
    let ask = async {
        stream.write_all(QUESTION).await?;
        stream.flush().await?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await.map(|_| answer == *ANSWER)
    };
    matches!(tokio::time::timeout(timeout, ask).await, Ok(Ok(true))) && stream.is_quiet()
}
