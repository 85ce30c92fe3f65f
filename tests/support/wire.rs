//! A client that speaks the protocol by hand and keeps every byte the server sent.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

/// Longer than any statement of the corpora may take.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Login {
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<String>,
}

/// One message of the server.
#[derive(Debug, Clone)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub type_oid: u32,
}

/// What one statement answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub fields: Option<Vec<Field>>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub tag: Option<String>,
    /// The parts of an ErrorResponse by their letter.
    pub error: Option<BTreeMap<char, String>>,
    pub copied: Vec<u8>,
}

impl Outcome {
    pub fn state(&self) -> Option<&str> {
        self.error.as_ref()?.get(&'C').map(String::as_str)
    }

    pub fn message(&self) -> Option<&str> {
        self.error.as_ref()?.get(&'M').map(String::as_str)
    }

    /// The rule in the proxy's message, when the error is the proxy's own.
    pub fn refused_by(&self) -> Option<&str> {
        let message = self.message()?;
        message.strip_prefix("pgbulkhead:")?;
        let rule = message.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']'));
        Some(rule.map_or("", |(rule, _)| rule))
    }
}

/// The answer to one request: every message up to ReadyForQuery.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub messages: Vec<Message>,
    /// `I`, `T` or `E`.
    pub status: u8,
}

/// What goes to the server as COPY data.
#[derive(Debug, Clone)]
pub enum CopyIn {
    /// The data of each message.
    Data(Vec<Vec<u8>>),
    Fail(Vec<u8>, String),
}

/// One extended-protocol request.
#[derive(Debug, Clone, Default)]
pub struct Extended {
    pub sql: String,
    pub statement: String,
    pub portal: String,
    /// False where the statement was prepared before.
    pub parse: bool,
    pub parameter_types: Vec<u32>,
    pub parameters: Vec<Option<Vec<u8>>>,
    pub parameter_formats: Vec<i16>,
    pub result_formats: Vec<i16>,
    pub max_rows: i32,
    /// How often Execute is sent; at least once.
    pub executes: usize,
}

/// A connection to a server or to the proxy.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stream: BufReader<TcpStream>,
    /// Everything the server has said since the last [`Self::take_heard`], login included.
    pub(crate) heard: Vec<Message>,
    copy_in: Option<CopyIn>,
    /// A Sync is owed after COPY: the one sent with Execute is dropped by the server.
    owes_sync: bool,
}

impl Connection {
    pub fn open(login: &Login) -> io::Result<Self> {
        let mut connection = Self::dial(login.port)?;
        connection.log_in(login)?;
        Ok(connection)
    }

    /// A connection on which nothing was said.
    pub(crate) fn dial(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), heard: Vec::new(), copy_in: None, owes_sync: false })
    }

    fn log_in(&mut self, login: &Login) -> io::Result<()> {
        let mut startup = Vec::new();
        startup.extend_from_slice(&196_608_u32.to_be_bytes());
        for (key, value) in [("user", &login.user), ("database", &login.database)] {
            startup.extend_from_slice(key.as_bytes());
            startup.push(0);
            startup.extend_from_slice(value.as_bytes());
            startup.push(0);
        }
        startup.push(0);
        let length = u32::try_from(startup.len() + 4).expect("a short startup");
        self.write(&[&length.to_be_bytes()[..], &startup].concat())?;
        self.prove(&login.password.clone().unwrap_or_default())
    }

    /// Answers what is asked for after a StartupMessage, up to ReadyForQuery.
    pub(crate) fn prove(&mut self, password: &str) -> io::Result<()> {
        let mut scram = None;
        loop {
            let message = self.read_message()?;
            match message.tag {
                b'R' => self.authenticate(&message.body, password, &mut scram)?,
                b'E' => {
                    let error = error_fields(&message.body);
                    return Err(io::Error::other(format!("login refused: {error:?}")));
                }
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    fn authenticate(
        &mut self,
        body: &[u8],
        password: &str,
        scram: &mut Option<ScramSha256>,
    ) -> io::Result<()> {
        let (kind, rest) = body.split_at(4);
        match u32::from_be_bytes(kind.try_into().expect("four bytes")) {
            0 => Ok(()),
            10 => {
                let client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                let mut reply = Vec::new();
                reply.extend_from_slice(SCRAM_SHA_256.as_bytes());
                reply.push(0);
                let length = u32::try_from(client.message().len()).expect("a short message");
                reply.extend_from_slice(&length.to_be_bytes());
                reply.extend_from_slice(client.message());
                *scram = Some(client);
                self.send(b'p', &reply)
            }
            11 => {
                let client = scram.as_mut().ok_or_else(|| io::Error::other("SASL out of order"))?;
                client.update(rest)?;
                let reply = client.message().to_vec();
                self.send(b'p', &reply)
            }
            12 => scram.as_mut().ok_or_else(|| io::Error::other("SASL out of order"))?.finish(rest),
            other => Err(io::Error::other(format!("authentication method {other}"))),
        }
    }

    /// Everything the server has said since the last call.
    pub fn take_heard(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.heard)
    }

    /// What the next CopyInResponse is answered with; nothing: CopyFail.
    pub fn set_copy_in(&mut self, copy_in: Option<CopyIn>) {
        self.copy_in = copy_in;
    }

    /// Sends Query and reads to ReadyForQuery.
    pub fn simple(&mut self, sql: &str) -> io::Result<Answer> {
        self.owes_sync = false;
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat())?;
        self.answer()
    }

    /// Sends Parse, Bind, Describe, Execute and Sync, and reads to ReadyForQuery.
    pub fn extended(&mut self, request: &Extended) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        if request.parse {
            frame(&mut bytes, b'P', &parse_body(request));
        }
        frame(&mut bytes, b'B', &bind_body(request));
        frame(&mut bytes, b'D', &[b"P", request.portal.as_bytes(), b"\0"].concat());
        let execute = [request.portal.as_bytes(), b"\0", &request.max_rows.to_be_bytes()].concat();
        for _ in 0..request.executes.max(1) {
            frame(&mut bytes, b'E', &execute);
        }
        frame(&mut bytes, b'S', &[]);
        self.owes_sync = true;
        self.write(&bytes)?;
        self.answer()
    }

    /// Prepares a statement and tells the types of its parameters.
    pub fn describe(&mut self, request: &Extended) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        frame(&mut bytes, b'P', &parse_body(request));
        frame(&mut bytes, b'D', &[b"S", request.statement.as_bytes(), b"\0"].concat());
        frame(&mut bytes, b'S', &[]);
        self.write(&bytes)?;
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let message = self.read_message()?;
            match message.tag {
                b'Z' => {
                    answer.status = message.body.first().copied().unwrap_or(0);
                    answer.messages.push(message);
                    return Ok(answer);
                }
                b'G' => self.copy()?,
                _ => {}
            }
            answer.messages.push(message);
        }
    }

    fn copy(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        match self.copy_in.take() {
            Some(CopyIn::Data(pieces)) => {
                for piece in pieces {
                    frame(&mut bytes, b'd', &piece);
                }
                frame(&mut bytes, b'c', &[]);
            }
            Some(CopyIn::Fail(data, reason)) => {
                frame(&mut bytes, b'd', &data);
                frame(&mut bytes, b'f', &[reason.as_bytes(), b"\0"].concat());
            }
            None => frame(&mut bytes, b'f', b"no data\0"),
        }
        if self.owes_sync {
            frame(&mut bytes, b'S', &[]);
        }
        self.write(&bytes)
    }

    fn send(&mut self, tag: u8, body: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame(&mut bytes, tag, body);
        self.write(&bytes)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub(crate) fn read_message(&mut self) -> io::Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length.checked_sub(4).ok_or_else(|| io::Error::other("short frame"))?];
        self.stream.read_exact(&mut body)?;
        let message = Message { tag: head[0], body };
        self.heard.push(message.clone());
        Ok(message)
    }
}

pub(crate) fn frame(bytes: &mut Vec<u8>, tag: u8, body: &[u8]) {
    bytes.push(tag);
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).expect("a short message").to_be_bytes());
    bytes.extend_from_slice(body);
}

fn count(of: usize) -> [u8; 2] {
    u16::try_from(of).expect("at most 65535").to_be_bytes()
}

fn parse_body(request: &Extended) -> Vec<u8> {
    let mut body = [request.statement.as_bytes(), b"\0", request.sql.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&count(request.parameter_types.len()));
    for oid in &request.parameter_types {
        body.extend_from_slice(&oid.to_be_bytes());
    }
    body
}

fn bind_body(request: &Extended) -> Vec<u8> {
    let mut body = [request.portal.as_bytes(), b"\0", request.statement.as_bytes(), b"\0"].concat();
    body.extend_from_slice(&count(request.parameter_formats.len()));
    for format in &request.parameter_formats {
        body.extend_from_slice(&format.to_be_bytes());
    }
    body.extend_from_slice(&count(request.parameters.len()));
    for value in &request.parameters {
        match value {
            Some(value) => {
                body.extend_from_slice(&u32::try_from(value.len()).expect("short").to_be_bytes());
                body.extend_from_slice(value);
            }
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    body.extend_from_slice(&count(request.result_formats.len()));
    for format in &request.result_formats {
        body.extend_from_slice(&format.to_be_bytes());
    }
    body
}

impl Answer {
    /// The outcomes of the statements in it, in order.
    pub fn outcomes(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut current = Outcome::default();
        for Message { tag, body } in &self.messages {
            match tag {
                b'T' => current.fields = Some(row_description(body)),
                b'D' => current.rows.push(data_row(body)),
                b'd' => current.copied.extend_from_slice(body),
                b'C' | b'I' | b's' | b'E' => {
                    match tag {
                        b'C' => current.tag = Some(until_nul(body).0),
                        b'I' => current.tag = Some(String::new()),
                        b's' => current.tag = Some("(suspended)".into()),
                        _ => current.error = Some(error_fields(body)),
                    }
                    outcomes.push(std::mem::take(&mut current));
                }
                _ => {}
            }
        }
        if current != Outcome::default() {
            outcomes.push(current);
        }
        outcomes
    }

    /// The first error.
    pub fn error(&self) -> Option<BTreeMap<char, String>> {
        self.messages.iter().find(|m| m.tag == b'E').map(|m| error_fields(&m.body))
    }

    /// The types of a ParameterDescription.
    pub fn parameter_types(&self) -> Option<Vec<u32>> {
        let message = self.messages.iter().find(|m| m.tag == b't')?;
        Some(
            message.body[2..].chunks_exact(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]])).collect(),
        )
    }
}

fn until_nul(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes.get(end + 1..).unwrap_or(&[]))
}

pub(crate) fn error_fields(mut body: &[u8]) -> BTreeMap<char, String> {
    let mut fields = BTreeMap::new();
    while let Some((code, rest)) = body.split_first().filter(|(code, _)| **code != 0) {
        let (value, rest) = until_nul(rest);
        fields.insert(char::from(*code), value);
        body = rest;
    }
    fields
}

fn row_description(body: &[u8]) -> Vec<Field> {
    let mut rest = &body[2..];
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (name, after) = until_nul(rest);
        let type_oid = u32::from_be_bytes([after[6], after[7], after[8], after[9]]);
        fields.push(Field { name, type_oid });
        rest = &after[18..];
    }
    fields
}

fn data_row(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut rest = &body[2..];
    let mut row = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (value, after) = after.split_at(length.unwrap_or(0));
        row.push(length.map(|_| value.to_vec()));
        rest = after;
    }
    row
}
