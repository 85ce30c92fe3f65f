//! Connecting to servers that are not what they should be.

mod lease;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::connect::{ConnectError, Target};
use super::driver;
use crate::config::model::{AuthMethod, BackendTls, Database, Password, Secret};
use crate::config::{self, Environment};

/// A target whose server answers the first packet, and each one after it, with these bytes.
async fn connect_to(answers: Vec<Vec<u8>>, tls: &str, password: &str) -> Result<(), ConnectError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!(
        "[general]\nlisten = [\"127.0.0.1:0\"]\n[[databases]]\nname = \"db\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         dbname = \"x\"\nuser = \"x\"\n{password}tls = \"{tls}\"\n[tenancy]\ncolumn = \"t\"\n[audit]\nsink = \"none\"\n"
    );
    let config = config::parse("test", &text, &Environment::default()).unwrap_or_else(|e| panic!("{e}"));
    let target = Target::new(&config.databases[0], Duration::from_secs(5)).unwrap();
    let server = async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        for answer in answers {
            packet(&mut socket).await;
            socket.write_all(&answer).await.unwrap();
        }
        // Holds the socket until the other side gives up.
        let _ = socket.read(&mut [0; 64]).await;
    };
    let (result, ()) = tokio::join!(target.connect(), server);
    result.map(|_| ())
}

async fn packet(socket: &mut TcpStream) {
    let _ = socket.read(&mut [0; 4096]).await.unwrap();
}

fn m(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

const PASSWORD: &str = "password = \"secret\"\n";

#[tokio::test]
async fn weaker_method_than_the_configured_one_is_refused() {
    for body in [&b"\0\0\0\0"[..], b"\0\0\0\x03", b"\0\0\0\x05salt", b"\0\0\0\x0aSCRAM-SHA-1\0\0"] {
        let result = connect_to(vec![m(b'R', body)], "disable", PASSWORD).await;
        assert!(matches!(result, Err(ConnectError::Method { .. })), "{result:?}");
    }
    let result = connect_to(vec![m(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")], "disable", "").await;
    assert!(matches!(result, Err(ConnectError::Method { .. })), "{result:?}");
}

/// Also on a connection of the program's own.
#[tokio::test]
async fn password_in_clear_is_for_verified_servers_only() {
    let config = |method| {
        let mut database = Database::new("db", "127.0.0.1", 1, "x");
        database.password = Password::Text(Secret("s3cret".to_owned()));
        database.tls = BackendTls::Disable;
        database.auth_method = method;
        database
    };
    for method in [AuthMethod::ScramSha256, AuthMethod::Password, AuthMethod::Trust] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut database = config(method);
        database.port = listener.local_addr().unwrap().port();
        let target = Target::new(&database, Duration::from_secs(5)).unwrap();
        let server = async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            packet(&mut socket).await;
            socket.write_all(&m(b'R', b"\0\0\0\x03")).await.unwrap();
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.unwrap();
            rest
        };
        let (result, rest) = tokio::join!(async { driver::client(&target).await.map(|_| ()) }, server);
        assert!(matches!(result, Err(ConnectError::Method { .. })), "{result:?}");
        assert!(rest.is_empty(), "{method:?}: something was answered");
    }
}

#[tokio::test]
async fn scram_of_a_hostile_server_is_refused() {
    let sasl = m(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let long = format!("r={},s=c2FsdA==,i=4096", "n".repeat(100_000));
    for first in ["r=notours,s=c2FsdA==,i=4096", "r=x,s=c2FsdA==,i=0", "r=x,s=c2FsdA==,i=2147483647", &long] {
        let body = [b"\0\0\0\x0b", first.as_bytes()].concat();
        let result = connect_to(vec![sasl.clone(), m(b'R', &body)], "disable", PASSWORD).await;
        assert!(matches!(result, Err(ConnectError::Scram(_) | ConnectError::Protocol(_))), "{result:?}");
    }
}

#[tokio::test]
async fn answer_to_the_request_for_tls_is_s_or_n() {
    let error = m(b'E', b"SFATAL\0Minjected\0\0");
    let result = connect_to(vec![error], "require", PASSWORD).await;
    assert!(matches!(result, Err(ConnectError::BadTlsAnswer)), "{result:?}");
    let result = connect_to(vec![b"N".to_vec()], "require", PASSWORD).await;
    assert!(matches!(result, Err(ConnectError::NoTls)), "{result:?}");
    let stuffed = [b"S".to_vec(), m(b'R', b"\0\0\0\0"), m(b'Z', b"I")].concat();
    let result = connect_to(vec![stuffed], "require", PASSWORD).await;
    assert!(matches!(result, Err(ConnectError::Io(_))), "{result:?}");
}

#[tokio::test]
async fn malformed_start_of_a_server_is_refused() {
    let ok = m(b'R', b"\0\0\0\0");
    for rest in [
        m(b'Z', b"X"),
        m(b'S', b"unterminated"),
        m(b'K', b"123"),
        m(b'E', b"SERROR"),
        b"S\x7f\xff\xff\xff".to_vec(),
        b"S\0\0\0\x03".to_vec(),
        m(b'T', b"\0\0"),
    ] {
        let result = connect_to(vec![[ok.clone(), rest].concat()], "disable", "").await;
        assert!(matches!(result, Err(ConnectError::Protocol(_))), "{result:?}");
    }
    let off = m(b'S', b"standard_conforming_strings\0off\0");
    let result = connect_to(vec![[ok, off, m(b'Z', b"I")].concat()], "disable", "").await;
    assert!(matches!(result, Err(ConnectError::Parameter(..))), "{result:?}");
}
