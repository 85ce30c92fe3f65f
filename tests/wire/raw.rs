//! What the procedures need of a connection beyond requests and answers: bytes as they are, and the end.

use std::io::{self, Write};
use std::time::Duration;

use crate::messages::{shown, startup, sync};
use crate::support::fixture::Proxy;
use crate::support::wire::{Connection, Message};

/// The password of every user of the tests' configuration.
pub const PASSWORD: &str = "for the tests only";

impl Connection {
    /// A connection to the proxy on which nothing was said.
    pub fn to(proxy: &Proxy) -> Self {
        Self::dial(proxy.port).expect("the proxy listens")
    }

    /// Logged in.
    pub fn of(proxy: &Proxy, user: &str) -> Self {
        Self::open(&proxy.login(user)).unwrap_or_else(|error| panic!("{user}: {error}"))
    }

    /// Says these bytes. One that the other side no longer reads is no failure: what it answered tells.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.write(bytes);
    }

    /// Says this and gives everything up to ReadyForQuery, in short.
    pub fn ask(&mut self, bytes: &[u8]) -> String {
        self.say(bytes);
        self.hear()
    }

    /// Everything up to the next ReadyForQuery, in short.
    pub fn hear(&mut self) -> String {
        match self.answer() {
            Ok(answer) => shown(&answer.messages),
            Err(error) => panic!("no ReadyForQuery: {error}; heard {}", shown(&self.heard)),
        }
    }

    /// Exactly so many messages.
    pub fn hear_only(&mut self, messages: usize) -> String {
        let heard: Vec<Message> = (0..messages).map_while(|_| self.read_message().ok()).collect();
        shown(&heard)
    }

    /// What still comes before the connection is closed, in short.
    pub fn until_closed(&mut self) -> String {
        let mut heard = Vec::new();
        loop {
            match self.read_message() {
                Ok(message) => heard.push(message),
                Err(error) if is_end(&error) => return shown(&heard),
                Err(error) => panic!("the connection stays open after {}: {error}", shown(&heard)),
            }
        }
    }

    /// How long a read waits.
    pub fn patience(&self, time: Duration) {
        self.stream.get_ref().set_read_timeout(Some(time)).expect("a socket");
    }

    /// Nothing comes for a while.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        let before = self.stream.get_ref().read_timeout().expect("a socket");
        self.patience(time);
        let mut byte = [0; 1];
        let silent = self.stream.buffer().is_empty()
            && self.stream.get_ref().peek(&mut byte).is_err_and(|error| !is_end(&error));
        self.stream.get_ref().set_read_timeout(before).expect("a socket");
        silent
    }

    /// A StartupMessage of its own, then SCRAM with the password of the tests.
    pub fn start(proxy: &Proxy, parameters: &[(&str, &str)]) -> io::Result<Self> {
        let mut client = Self::to(proxy);
        client.stream.get_mut().write_all(&startup(parameters))?;
        client.prove(PASSWORD)?;
        Ok(client)
    }

    /// The session goes on: a query and a batch are answered.
    pub fn is_usable(&mut self) {
        assert_eq!(self.ask(&crate::messages::query("select 7")), "T D[7] C[SELECT 1] Z[I]");
        assert_eq!(self.ask(&sync()), "Z[I]");
    }
}

/// Whether a read failed because the other side has closed.
pub fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted)
}
