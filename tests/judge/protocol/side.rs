//! One side: plays a sequence of messages, cut into writes, and hears what comes back.

use std::io;
use std::time::Duration;

use crate::support::wire::{Connection, Login, Message};

use super::comparison::Heard;
use super::cut::{Cut, Pause};
use super::message::Sent;

/// Longer than any sequence takes; what is silent so long hangs.
const SILENCE: Duration = Duration::from_secs(15);
/// A pause in which time passes.
const SHORT: Duration = Duration::from_micros(300);
/// What has not been answered by then may have no answer.
const TURN: Duration = Duration::from_millis(15);
/// A cursor that is not there. To close it fails where what may not be kept fails.
pub const NOT_HELD: &str = "not_held";
/// A row of this text is the last of a sequence.
const END: &str = "the end of this sequence";

/// A connection that is opened again when it breaks.
pub struct Side {
    login: Login,
    is_oracle: bool,
    /// What would be kept beyond its transaction fails, as it does for who may keep nothing.
    holds: bool,
    connection: Option<Connection>,
}

impl Side {
    pub fn judged(login: Login) -> Self {
        Self { login, is_oracle: false, holds: true, connection: None }
    }

    pub fn oracle(login: Login, holds: bool) -> Self {
        Self { login, is_oracle: true, holds, connection: None }
    }

    /// Sends a sequence, then what brings the session back to its beginning, and gives everything that was heard.
    pub fn play(&mut self, sequence: &[Sent], cut: &Cut) -> io::Result<Heard> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.login)?,
        };
        connection.take_heard();
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for message in sequence.iter().chain(&ending()) {
            message.write(&mut bytes, |sql| self.say(sql));
            ends.push((bytes.len(), message.is_answered()));
        }
        let end = match self.exchange(&mut connection, &bytes, &ends, cut) {
            Ok(()) => {
                self.connection = Some(connection);
                return Ok(Heard::of(&self.take(), None));
            }
            Err(error) if is_closed(&error) => "closed".to_owned(),
            Err(error) => format!("broken: {error}"),
        };
        Ok(Heard::of(&connection.take_heard(), Some(end)))
    }

    fn take(&mut self) -> Vec<Message> {
        self.connection.as_mut().map(Connection::take_heard).unwrap_or_default()
    }

    fn exchange(
        &self,
        connection: &mut Connection,
        bytes: &[u8],
        ends: &[(usize, bool)],
        cut: &Cut,
    ) -> io::Result<()> {
        for (piece, pause) in cut.pieces(bytes, ends) {
            match connection.write(piece) {
                // What was said before is still to be heard.
                Err(error) if is_closed(&error) => break,
                written => written?,
            }
            match pause {
                Pause::No => {}
                Pause::Short => std::thread::sleep(SHORT),
                Pause::Answered => hear_one_answer(connection)?,
            }
        }
        connection.stream.get_ref().set_read_timeout(Some(SILENCE))?;
        while !is_at_end(&connection.heard) {
            connection.read_message()?;
        }
        Ok(())
    }

    fn say(&self, sql: &str) -> String {
        match self.is_oracle {
            true if !self.holds && is_held(sql) => format!("close {NOT_HELD}"),
            true => sql.replace("app.", "rls."),
            false => sql.to_owned(),
        }
    }
}

fn is_held(sql: &str) -> bool {
    sql.starts_with("listen ") || sql.contains("cursor with hold")
}

/// Whether a Query has a statement that is kept beyond its transaction, and others.
pub fn holds_beside_others(sent: &Sent) -> bool {
    matches!(sent, Sent::Query(sql) if sql.contains("; ") && (is_held(sql) || sql.contains("; listen ")))
}

/// Whether the other side has ended the connection. What it had not read yet decides how that shows.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Whether the last row of a sequence has come, and ReadyForQuery behind it.
fn is_at_end(heard: &[Message]) -> bool {
    match heard {
        [.., row, done, ready] => {
            ready.tag == b'Z' && done.tag == b'C' && row.tag == b'D' && row.body.ends_with(END.as_bytes())
        }
        _ => false,
    }
}

/// Reads up to ReadyForQuery, or until nothing comes.
fn hear_one_answer(connection: &mut Connection) -> io::Result<()> {
    while !connection.stream.buffer().is_empty() || is_anything_there(connection)? {
        if connection.read_message()?.tag == b'Z' {
            break;
        }
    }
    Ok(())
}

fn is_anything_there(connection: &Connection) -> io::Result<bool> {
    let stream = connection.stream.get_ref();
    stream.set_read_timeout(Some(TURN))?;
    let found = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(SILENCE))?;
    match found {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(false)
        }
        found => found.map(|_| true),
    }
}

/// Ends whatever a sequence has left open, shows the session's settings, and puts everything back.
pub fn ending() -> Vec<Sent> {
    let query = |sql: &str| Sent::Query(sql.into());
    vec![
        Sent::CopyFail("the end".into()),
        Sent::Sync,
        query("ROLLBACK"),
        query(
            "select current_setting('TimeZone'), current_setting('DateStyle'), current_setting('IntervalStyle'), \
             current_setting('application_name'), current_setting('extra_float_digits'), \
             current_setting('transaction_isolation'), current_setting('transaction_read_only')",
        ),
        query("DISCARD ALL"),
        query(&format!("select '{END}'")),
    ]
}
