//! TLS: what is stuffed before it, what ends it, and that a cancel goes the way that its connection went.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::messages::{packet, query, ssl_request, startup};
use crate::stage::{Stage, probe};
use crate::support::fixture::Proxy;
use crate::support::wire::Connection;

/// A key and a certificate for `localhost`, which signs itself.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (key, certificate) = (directory.join("tls.key"), directory.join("tls.crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, certificate)
}

/// A proxy that offers TLS to its clients.
fn with_tls(stage: &Stage, name: &str) -> Proxy {
    let (key, certificate) = certificate(&std::env::temp_dir());
    stage.proxy(name, |config| {
        let lines = format!(
            "[general]\ntls = \"allow\"\ntls_cert_file = {certificate:?}\ntls_key_file = {key:?}\n\
             client_login_timeout = \"3s\""
        );
        config.replacen("[general]", &lines, 1)
    })
}

/// W4, R5: bytes that come in clear behind an SSLRequest are not read as the first bytes under TLS, nor at all.
/// Fails when the buffer is kept over the switch.
pub fn bytes_stuffed_before_tls_are_not_read(stage: &Stage) {
    let proxy = with_tls(stage, "w4");
    let insert = query("insert into tags (id, label) values (44, 'CANARY_A W4')");
    let startup = startup(&[("user", "tenant_a"), ("database", "ccm")]);
    for stuffed in [[&startup[..], &insert].concat(), startup.clone(), vec![0], insert] {
        let mut client = Connection::to(&proxy);
        client.say(&[ssl_request(), stuffed].concat());
        let mut heard = Vec::new();
        let _ = client.stream.read_to_end(&mut heard);
        assert!(heard.is_empty() || heard == b"S", "{heard:?}");
    }
    // In a write of its own it meets the handshake.
    let mut client = Connection::to(&proxy);
    client.say(&ssl_request());
    let mut answer = [0; 1];
    client.stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, *b"S");
    client.say(&startup);
    let mut heard = Vec::new();
    let _ = client.stream.read_to_end(&mut heard);
    assert!(!heard.contains(&b'R'), "{heard:?}");
    assert_eq!(stage.superuser().values("select count(*) from app.tags where id = 44"), [["0"]]);
    probe(&proxy);
}

/// W22: a handshake that is ended, cut or fed drop by drop ends its connection, and costs nobody else anything.
pub fn a_broken_handshake_ends_its_connection(stage: &Stage) {
    let proxy = with_tls(stage, "w22");
    let close_notify = b"\x15\x03\x03\0\x02\x01\0";
    let record_of_one = b"\x16\x03\x01\0\x01\x01";
    for (bytes, half_closed) in [
        (&close_notify[..], false),
        (b"", true),
        (&record_of_one.repeat(3000), false),
        (&record_of_one[..], true),
        (b"\x16\x03\x01\xff\xff", true),
        (b"\x16\x03\x01\x40\x01", false),
        (b"\x16\x03\x03\0\x04\0\0\0\0", false),
    ] {
        let mut client = Connection::to(&proxy);
        client.say(&ssl_request());
        let mut answer = [0; 1];
        client.stream.read_exact(&mut answer).expect("an answer");
        client.say(bytes);
        if half_closed {
            client.stream.get_ref().shutdown(Shutdown::Write).expect("a socket");
        }
        let mut heard = Vec::new();
        let ended = client.stream.read_to_end(&mut heard);
        assert!(ended.is_ok() || ended.is_err_and(|e| crate::raw::is_end(&e)), "{bytes:x?}");
    }
    probe(&proxy);
}

/// How each connection began that went through it.
type Beginnings = Arc<Mutex<Vec<[u8; 9]>>>;

/// Passes bytes on and remembers the first nine of each connection.
fn tap(server: u16) -> (u16, Beginnings) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let beginnings = Beginnings::default();
    let seen = beginnings.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let seen = seen.clone();
            std::thread::spawn(move || pass(client, server, &seen));
        }
    });
    (port, beginnings)
}

fn pass(mut client: TcpStream, server: u16, seen: &Beginnings) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server))?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    // The request, and the first byte behind its answer.
    let mut first = [0; 9];
    client.read_exact(&mut first[..8])?;
    server.write_all(&first[..8])?;
    client.read_exact(&mut first[8..])?;
    seen.lock().expect("a lock").push(first);
    server.write_all(&first[8..])?;
    std::io::copy(&mut client, &mut server)?;
    server.shutdown(Shutdown::Both)
}

/// W6, R7: where the server is reached under TLS and verified, a cancel is sent in the same way.
/// Fails when the connection of a cancel is opened without the TLS of its target.
pub fn a_cancel_goes_under_the_same_tls(stage: &Stage) {
    let mut superuser = stage.superuser();
    let data = PathBuf::from(superuser.values("show data_directory").concat().concat());
    let owner = std::fs::metadata(&data).expect("the server's directory");
    let (key, certificate) = certificate(&data);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("the key");
    for file in [&key, &certificate] {
        chown(file, Some(owner.uid()), Some(owner.gid())).expect("the server's file");
    }
    superuser.run(&format!("alter system set ssl_cert_file = '{}'", certificate.display()));
    superuser.run(&format!("alter system set ssl_key_file = '{}'", key.display()));
    superuser.run("alter system set ssl = on");
    superuser.run("select pg_reload_conf()");
    let authority = std::env::temp_dir().join(format!("pgbulkhead-wire-{}.pem", std::process::id()));
    std::fs::copy(&certificate, &authority).expect("the certificate");
    let (port, beginnings) = tap(stage.server.port());
    let proxy = stage.proxy("w6", |config| {
        let tls = format!("tls = \"verify-full\"\ntls_ca_file = {authority:?}\nsearch_path");
        config
            .replace("host = \"127.0.0.1\"", "host = \"localhost\"")
            .replace(&format!("port = {}", stage.server.port()), &format!("port = {port}"))
            .replace("tls = \"disable\"\nsearch_path", &tls)
    });
    let mut client = Connection::of(&proxy, "tenant_a");
    let key = client.heard.iter().find(|m| m.tag == b'K').expect("BackendKeyData").body.clone();
    let held = stage.hold("notes");
    client.say(&query("select count(*) from notes"));
    held.by(1);
    let before = beginnings.lock().expect("a lock").len();
    Connection::to(&proxy).say(&packet(80_877_102, &key));
    assert_eq!(client.hear(), "E[57014] Z[I]");
    held.release();
    client.is_usable();
    let beginnings = beginnings.lock().expect("a lock");
    assert!(beginnings.len() > before, "the cancel came by another way");
    let under_tls = [&ssl_request()[..], b"\x16"].concat();
    assert!(beginnings.iter().all(|first| first[..] == under_tls), "{beginnings:?}");
    superuser.run("alter system reset ssl");
    superuser.run("select pg_reload_conf()");
    let _ = std::fs::remove_file(authority);
}
