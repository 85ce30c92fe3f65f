//! Servers that lie: before TLS, in SCRAM, and in their answers.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::messages::{message, once, query, shown, sync};
use crate::relay::{Deed, Relay, read_message, read_packet};
use crate::stage::{Stage, probe};
use crate::support::fixture::Proxy;
use crate::support::wire::{Connection, Message};

const OWN: &str = "select tenant_id, count(*) from documents group by 1";
/// What a client would see of a row that the server did not mean for it.
const STUFFED: &str = "CANARY_B stuffed";
const BACKEND_PASSWORD: &str = "what no server may see";

/// The lines of a database whose server has to prove itself by SCRAM. Its role is made here.
fn by_scram(stage: &Stage) -> String {
    let mut superuser = stage.superuser();
    superuser.run(&format!(
        "do $$ begin if not exists (select from pg_roles where rolname = 'app_scram') then
         create role app_scram login password '{BACKEND_PASSWORD}'; end if; end $$;
         grant usage on schema app, ext to app_scram; grant select on all tables in schema app to app_scram"
    ));
    let file = superuser.values("show hba_file").concat().concat();
    let rules = std::fs::read_to_string(&file).expect("the server's rules");
    if !rules.contains("app_scram") {
        let rule = "host all app_scram 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(&file, format!("{rule}{rules}")).expect("the server's rules");
        superuser.run("select pg_reload_conf()");
    }
    format!("tls = \"disable\"\nauth_method = \"scram-sha-256\"\npassword = \"{BACKEND_PASSWORD}\"")
}

/// A relay, and a proxy in front of it whose configuration of the database has these lines.
fn through_a_relay(stage: &Stage, name: &str, lines: &str) -> (Relay, Proxy) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.proxy(name, |config| {
        config
            .replace(&format!("port = {}", stage.server.port()), &format!("port = {}", relay.port))
            .replace("tls = \"disable\"\nsearch_path", &format!("{lines}\nsearch_path"))
            .replace("app_backend", if lines.contains("password") { "app_scram" } else { "app_backend" })
    });
    (relay, proxy)
}

fn row(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("short");
    message(b'D', &[&[0, 1][..], &length.to_be_bytes(), text.as_bytes()].concat())
}

/// What a server says that lets anybody in, and a whole answer behind it.
fn let_in_and_answered() -> Vec<u8> {
    let columns = [&b"\0\x01x\0"[..], &[0; 18]].concat();
    [
        message(b'R', &[0; 4]),
        message(b'Z', b"I"),
        message(b'T', &columns),
        row(STUFFED),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// The proxy cannot connect: its client is told so, sees nothing of what the server said, and the server
/// nothing of the password.
fn cannot_connect(relay: &Relay, proxy: &Proxy, script: impl Fn(TcpStream) + Send + Sync + 'static) {
    relay.answer(script);
    relay.cut_all();
    let began = std::time::Instant::now();
    loop {
        let mut client = Connection::of(proxy, "tenant_a");
        client.say(&query(OWN));
        let told = match client.answer() {
            Ok(answer) => {
                let text = answer.error().map(|fields| format!("{fields:?}")).unwrap_or_default();
                assert!(!text.contains("stuffed") && !text.contains("CANARY_B"), "{text}");
                shown(&answer.messages)
            }
            Err(error) => error.to_string(),
        };
        if told == "E[08006] Z[I]" {
            return;
        }
        // The proxy may not have seen yet that a connection from before is cut.
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{told}");
    }
}

/// W5: bytes before the TLS handshake are no answer of the server, and its text before it is not shown.
/// Fails when what stands behind the server's `S` is kept.
pub fn nothing_before_tls_is_believed(stage: &Stage) {
    let (relay, proxy) = through_a_relay(stage, "w5", "tls = \"prefer\"");
    cannot_connect(&relay, &proxy, |mut server| {
        if read_packet(&mut server).is_ok() {
            let _ = server.write_all(&[b"S", &let_in_and_answered()[..]].concat());
            let _ = server.read_to_end(&mut Vec::new());
        }
    });
    let (relay, proxy) = through_a_relay(stage, "w5-error", "tls = \"prefer\"");
    cannot_connect(&relay, &proxy, |mut server| {
        if read_packet(&mut server).is_ok() {
            let error = message(b'E', format!("SERROR\0C0A000\0M{STUFFED}\0\0").as_bytes());
            let _ = server.write_all(&error);
            let _ = server.read_to_end(&mut Vec::new());
        }
    });
    assert!(!proxy.log().contains(STUFFED));
}

/// Speaks SCRAM up to the client's first message and gives it.
fn scram_first(server: &mut TcpStream) -> Option<String> {
    read_packet(server).ok()?;
    server.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).ok()?;
    let Message { body, .. } = read_message(server).ok()?;
    let text = String::from_utf8_lossy(&body).into_owned();
    text.split_once("r=").map(|(_, nonce)| nonce.to_owned())
}

fn says(server: &mut TcpStream, code: u8, text: &str) {
    let _ = server.write_all(&message(b'R', &[&[0, 0, 0, code][..], text.as_bytes()].concat()));
}

/// W16, R7: iterations, nonce and proof of the server are checked, and none of it holds the others up.
/// Fails when the server's signature is not checked, or the nonce's length.
pub fn a_server_that_lies_in_scram_is_refused(stage: &Stage) {
    let lines = by_scram(stage);
    for (name, first, last) in [
        ("many", "r={nonce}x,s=c2FsdA==,i=2147483647", ""),
        ("none", "r={nonce}x,s=c2FsdA==,i=0", ""),
        ("negative", "r={nonce}x,s=c2FsdA==,i=-1", ""),
        ("other-nonce", "r=other,s=c2FsdA==,i=4096", ""),
        ("long-nonce", "r={nonce}{long},s=c2FsdA==,i=4096", ""),
        ("wrong-proof", "r={nonce}x,s=c2FsdA==,i=4096", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("no-proof", "r={nonce}x,s=c2FsdA==,i=4096", ""),
    ] {
        let (relay, proxy) = through_a_relay(stage, &format!("w16-{name}"), &lines);
        cannot_connect(&relay, &proxy, move |mut server| {
            let Some(nonce) = scram_first(&mut server) else { return };
            let first = first.replace("{nonce}", &nonce).replace("{long}", &"x".repeat(40_000));
            says(&mut server, 11, &first);
            if read_message(&mut server).is_ok() {
                if !last.is_empty() {
                    says(&mut server, 12, last);
                }
                let _ = server.write_all(&let_in_and_answered());
                let _ = server.read_to_end(&mut Vec::new());
            }
        });
        // One that tells nothing is a client's to wait for, not another client's.
        Connection::of(&proxy, "tenant_b");
    }
}

/// W17, R7: the configured method or none: a server that asks for the password in another way does not get it.
/// Fails when the server chooses the method.
pub fn a_server_that_asks_for_another_method_is_refused(stage: &Stage) {
    let lines = by_scram(stage);
    for (name, asks) in [
        ("cleartext", &b"\0\0\0\x03"[..]),
        ("md5", b"\0\0\0\x05salt"),
        ("trust", b"\0\0\0\0"),
        ("gss", b"\0\0\0\x07"),
        ("other-mechanism", b"\0\0\0\x0aSCRAM-SHA-1\0\0"),
        ("no-mechanism", b"\0\0\0\x0a\0"),
    ] {
        let (relay, proxy) = through_a_relay(stage, &format!("w17-{name}"), &lines);
        let (told, hears) = std::sync::mpsc::channel();
        let told = std::sync::Mutex::new(told);
        cannot_connect(&relay, &proxy, move |mut server| {
            if read_packet(&mut server).is_ok() {
                let _ = server.write_all(&[message(b'R', asks), message(b'Z', b"I")].concat());
                let mut rest = Vec::new();
                let _ = server.read_to_end(&mut rest);
                let _ = told.lock().expect("a channel").send(rest);
            }
        });
        let heard: Vec<u8> = hears.iter().next().unwrap_or_default();
        assert!(heard.is_empty(), "{name}: the proxy answered {:?}", String::from_utf8_lossy(&heard));
    }
}

/// W18, W47: an answer that is malformed, that nothing waits for, or that changes what nobody asked to change
/// ends the server connection and the session on it, and nobody else's.
/// Fails when such a message is passed on.
pub fn a_malformed_answer_costs_its_connection_alone(stage: &Stage) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, "w18");
    let columns = |count: u16, fields: usize| {
        [&count.to_be_bytes()[..], &[&b"x\0"[..], &[0; 18]].concat().repeat(fields)].concat()
    };
    let error = |fields: &[u8]| message(b'E', fields);
    let status = |name: &str, value: &str| message(b'S', format!("{name}\0{value}\0").as_bytes());
    let cases: Vec<(&str, u8, Vec<u8>)> = vec![
        ("an error without code", b'C', error(b"SERROR\0Mno\0\0")),
        ("an error without severity and message", b'C', error(b"C22000\0\0")),
        ("an error without end", b'C', error(b"SERROR\0C22000\0Mno\0")),
        ("an error of nothing", b'C', error(b"")),
        ("fewer fields than columns", b'D', message(b'D', &[0, 0])),
        (
            "more fields than columns",
            b'D',
            message(b'D', &[&[0, 3][..], &[0, 0, 0, 1, b'1'].repeat(3)].concat()),
        ),
        ("a row of more fields than bytes", b'D', message(b'D', &[&[0, 2][..], &[0, 0, 0]].concat())),
        ("a row before its columns", b'T', row("1")),
        ("columns that are not there", b'T', message(b'T', &columns(65_535, 1))),
        ("columns behind the last", b'T', message(b'T', &columns(1, 3))),
        ("an unknown type", b'D', message(b'?', b"x")),
        ("a status that is none", b'Z', message(b'Z', b"X")),
        ("a long status", b'Z', message(b'Z', b"II")),
        ("a parameter without end", b'D', message(b'S', b"a\0b")),
        ("a length of 3", b'D', [b'D', 0, 0, 0, 3].to_vec()),
        ("a length beyond all", b'D', [b'D', 0xff, 0xff, 0xff, 0xff].to_vec()),
        ("an answer to no question", b'D', message(b'1', b"")),
        ("copy data", b'D', message(b'd', b"CANARY_B\n")),
        ("a request for a password", b'D', message(b'R', &[0, 0, 0, 3])),
        ("a request for COPY data", b'D', message(b'G', &[0, 0, 0])),
        ("other strings", b'D', status("standard_conforming_strings", "off")),
        ("another encoding", b'D', status("client_encoding", "SJIS")),
        ("another role", b'D', status("session_authorization", "postgres")),
        ("another path", b'D', status("search_path", "rls")),
        ("a superuser", b'D', status("is_superuser", "on")),
    ];
    for (what, at, instead) in cases {
        for extended in [false, true] {
            // In the extended protocol nobody asked for columns.
            if extended && (at == b'T' || what.ends_with("than columns")) {
                continue;
            }
            let (mut done, lie) = (false, instead.clone());
            let mut client = Connection::of(&proxy, "tenant_a");
            relay.alter(move |message| {
                if message.tag != at || done {
                    return Deed::Pass;
                }
                done = true;
                Deed::Instead(lie.clone())
            });
            client.say(&if extended { [once(OWN, &[]), sync()].concat() } else { query(OWN) });
            let end = client.until_closed();
            relay.honest();
            assert!(end.ends_with("E[08006]") || end.ends_with("E[XX000]"), "{what}: {end}");
            assert!(!end.contains("CANARY_B"), "{what}: {end}");
            assert!(
                !client
                    .heard
                    .iter()
                    .any(|m| m.tag == b'S' && m.body.starts_with(b"standard") && m.body.ends_with(b"off\0"))
            );
            let mut b = Connection::of(&proxy, "tenant_b");
            assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]", "after {what}");
        }
    }
    probe(&proxy);
}

/// W47, R8: bytes that come while a connection is idle are nobody's answer: it is closed before the next lease.
/// Fails when an idle connection is handed out unread.
pub fn bytes_on_an_idle_connection_reach_nobody(stage: &Stage) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, "w47");
    for late in [
        message(b'S', b"standard_conforming_strings\0off\0"),
        [row(STUFFED), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat(),
        message(b'N', b"SNOTICE\0C00000\0Mx\0\0"),
    ] {
        let mut client = Connection::of(&proxy, "tenant_a");
        // Behind the answer of a statement, not behind a login.
        let mut before = 0;
        relay.alter(move |message| match std::mem::replace(&mut before, message.tag) {
            // The proxy has given the connection back by then.
            b'C' if message.tag == b'Z' => {
                let pause = std::time::Duration::from_millis(200);
                Deed::Later(crate::relay::bytes(message), pause, late.clone())
            }
            _ => Deed::Pass,
        });
        assert_eq!(client.ask(&query(OWN)), "T D[1|40] C[SELECT 1] Z[I]");
        std::thread::sleep(std::time::Duration::from_millis(400));
        relay.honest();
        relay.take_sent();
        // A machine under load may find them behind the lease: that ends it, and shows nothing.
        let heard = loop {
            let mut b = Connection::of(&proxy, "tenant_b");
            b.say(&query(OWN));
            match b.answer() {
                Ok(answer) => break shown(&answer.messages),
                Err(_) => assert!(shown(&b.heard).ends_with("Z[I] E[08006]"), "{}", shown(&b.heard)),
            }
        };
        assert_eq!(heard, "T D[2|40] C[SELECT 1] Z[I]");
        assert!(client.is_silent_for(std::time::Duration::from_millis(50)));
        client.is_usable();
    }
}

/// W30: the proxy's own SET, which the client did not send, fails on another connection: that one is closed,
/// and the error is not shown as the client's.
pub fn an_error_of_the_proxys_own_set_ends_the_connection(stage: &Stage) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, "w30-set");
    let mut a = Connection::of(&proxy, "tenant_a");
    assert_eq!(a.ask(&query("set statement_timeout = '7s'")), "C[SET] Z[I]");
    let mut b = Connection::of(&proxy, "tenant_b");
    assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
    let mut done = false;
    relay.alter(move |of_server| {
        if of_server.tag != b'C' || done {
            return Deed::Pass;
        }
        done = true;
        Deed::Instead(message(b'E', b"SERROR\0C22023\0Mno\0\0"))
    });
    a.say(&query(OWN));
    assert_eq!(a.until_closed(), "E[08006]");
    relay.honest();
    assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
}

/// W30: the same before a pipeline: no batch of it takes the error, or what follows it, for its own answer, and the
/// server's answers to the batches reach nobody.
pub fn an_error_of_the_proxys_own_set_before_a_pipeline_is_nobodys_answer(stage: &Stage) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, "w30-set-pipeline");
    let mut b = Connection::of(&proxy, "tenant_b");
    let batch = [once(OWN, &[]), sync()].concat();
    for at in 0..3 {
        let mut a = Connection::of(&proxy, "tenant_a");
        assert_eq!(a.ask(&query("set statement_timeout = '7s'")), "C[SET] Z[I]");
        assert_eq!(a.ask(&query("set lock_timeout = '3s'")), "C[SET] Z[I]");
        assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
        // The first answers of the server are to the proxy's own statements.
        let mut seen = 0;
        relay.alter(move |of_server| {
            seen += usize::from(of_server.tag == b'C' && of_server.body.starts_with(b"SET"));
            if of_server.tag != b'C' || seen != at.min(1) + 1 {
                return Deed::Pass;
            }
            seen = usize::MAX / 2;
            Deed::Instead(message(b'E', b"SERROR\0C22023\0Mno\0\0"))
        });
        a.say(&batch.repeat(1 + at));
        assert_eq!(a.until_closed(), "E[08006]");
        relay.honest();
        assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
    }
}
