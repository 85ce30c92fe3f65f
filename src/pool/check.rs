//! Whether a connection that was idle still answers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connections::{Connection, Pool};
use super::stream::Stream;

/// An empty simple query.
const QUESTION: &[u8] = b"Q\0\0\0\x05\0";
/// EmptyQueryResponse, and ReadyForQuery of a session without a transaction.
const ANSWER: &[u8; 11] = b"I\0\0\0\x04Z\0\0\0\x05I";

impl Pool {
    pub(super) fn is_doubtful(&self, connection: &Connection, now: Instant) -> bool {
        // The most used ones were used since the last sweep, whose time it is for all of them.
        now != connection.used && now.saturating_duration_since(connection.used) >= self.limits.check_delay
    }

    /// Asks an idle connection whether it lives; if so it goes to whoever waits. If not, those that were idle for
    /// as long are closed with it.
    pub(super) fn check(self: &Rc<Self>, mut connection: Connection) {
        let guard = Checking::new(self);
        tokio::task::spawn_local(async move {
            let alive = is_alive(&mut connection.stream, guard.0.limits.check_timeout).await;
            let pool = guard.0.clone();
            drop(guard);
            if alive {
                connection.used = Instant::now();
                pool.put(connection);
                return;
            }
            tracing::warn!(database = pool.name(), "an idle server connection does not answer");
            let now = Instant::now();
            let idle = std::mem::take(&mut pool.state.borrow_mut().idle);
            let (doubtful, fresh) = idle.into_iter().partition(|other| pool.is_doubtful(other, now));
            let dead: Vec<Connection> = doubtful;
            let mut state = pool.state.borrow_mut();
            state.idle = fresh;
            state.open = state.open.saturating_sub(dead.len());
            drop(state);
            pool.closed();
        });
    }
}

/// Sends an empty query and waits for its answer. Anything else than that (a notice, a parameter that has changed)
/// counts as no answer: nobody has asked for it.
async fn is_alive(stream: &mut Stream, timeout: Duration) -> bool {
    let ask = async {
        stream.write_all(QUESTION).await?;
        stream.flush().await?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await.map(|_| answer == *ANSWER)
    };
    matches!(tokio::time::timeout(timeout, ask).await, Ok(Ok(true))) && stream.is_quiet()
}

/// Counts a check for as long as it runs, also when its task is dropped.
struct Checking(Rc<Pool>);

impl Checking {
    fn new(pool: &Rc<Pool>) -> Self {
        let mut state = pool.state.borrow_mut();
        state.checking = state.checking.saturating_add(1);
        drop(state);
        Self(pool.clone())
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.checking = state.checking.saturating_sub(1);
    }
}
