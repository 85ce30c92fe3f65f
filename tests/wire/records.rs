//! What is written down and counted, and floods that must not be felt by others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::messages::{message, query, startup};
use crate::raw::PASSWORD;
use crate::stage::{Stage, probe};
use crate::support::fixture::Proxy;
use crate::support::wire::Connection;

/// W50: whatever a statement holds, its event is one line of JSON, cut and escaped, without secrets; and the
/// chain stays sound.
pub fn the_audit_log_holds_one_line_an_event(stage: &Stage) {
    let proxy = stage.plain("w50");
    let mut client = Connection::of(&proxy, "tenant_a");
    let long = format!("select '{}'", "x".repeat(900_000));
    let hostile = [
        "select 'two\nlines\r\n' from documents limit 0",
        "select '\u{1b}[31m\u{1b}]0;title\u{7}' from documents limit 0",
        "select '\"}\n{\"event\":\"login\",\"verdict\":\"allowed\"}' from documents limit 0",
        "/* \"}\n{ */ drop table documents",
        "drop table \"a\nb\u{2028}\"",
        "alter user postgres password 'hunter2'",
        "set pgbulkhead.tenant_token = 'ey.secret.token'",
        &long,
    ];
    for sql in hostile {
        assert!(client.ask(&query(sql)).ends_with("Z[I]"));
    }
    assert_eq!(client.ask(&message(b'Q', b"select '\xff\xfe'\0")), "E[22021] Z[I]");
    let log = proxy.audit();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(lines.len() >= hostile.len(), "{}", lines.len());
    assert_eq!(lines.iter().filter(|l| l["event"] == "login" && l["verdict"] == "allowed").count(), 2);
    assert!(log.lines().all(|line| line.len() <= 64 * 1024));
    assert!(log.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()));
    for secret in ["hunter2", "secret.token", PASSWORD, "SCRAM-SHA-256$"] {
        assert!(!log.contains(secret) && !proxy.log().contains(secret), "{secret}");
    }
    let report = pgbulkhead::audit::verify(&proxy.directory.join("audit.jsonl")).expect("a log");
    assert!(report.is_sound(), "{report:?}");
    probe(&proxy);
}

/// The address that a key of the proxy's configuration has.
fn address(proxy: &Proxy, key: &str) -> String {
    let config = std::fs::read_to_string(proxy.directory.join("pgbulkhead.toml")).expect("its configuration");
    let line = config.lines().find(|line| line.starts_with(key)).expect("the key");
    line.split('"').nth(1).expect("an address").to_owned()
}

/// W51: the metrics' port has limits of its own, its trouble is not the SQL port's, and what nobody has
/// authenticated is no label.
pub fn metrics_are_bounded_and_name_nobody(stage: &Stage) {
    let address = address(&stage.proxy, "metrics_listen");
    let open = || TcpStream::connect(&address);
    let mut slow: Vec<TcpStream> = (0..500).filter_map(|_| open().ok()).collect();
    for stream in &mut slow {
        // One that is turned away learns so by a reset.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nx-slow: ");
    }
    let mut large = open().expect("the port");
    let _ = large.write_all(b"GET /metrics HTTP/1.1\r\nx-large: ");
    for _ in 0..1024 {
        if large.write_all(&[b'x'; 1024]).is_err() {
            break;
        }
    }
    probe(&stage.proxy);
    drop((slow, large));
    let mut client = Connection::to(&stage.proxy);
    client.say(&startup(&[("user", "label_injected"), ("database", "nosuch_database")]));
    let _ = client.prove("wrong");
    let text = {
        let mut scrape = open().expect("the port");
        scrape.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        scrape
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .expect("a request");
        let mut text = String::new();
        let _ = scrape.read_to_string(&mut text);
        text
    };
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("pgbulkhead_clients"), "{text:.300}");
    assert!(!text.contains("label_injected") && !text.contains("nosuch_database"), "{text}");
}

/// W52: logins that are not finished do not hold up who has logged in, and end by a time limit.
pub fn unfinished_logins_end_and_disturb_nobody(stage: &Stage) {
    let proxy = stage.proxy("w52", |config| {
        config.replace("[general]", "[general]\nclient_login_timeout = \"2s\"\nmax_client_conn = 1500")
    });
    let mut running = Connection::of(&proxy, "tenant_a");
    let mut idle: Vec<_> = (0..400).map(|_| Connection::to(&proxy)).collect();
    let mut starts: Vec<_> = (0..400)
        .map(|_| {
            let mut client = Connection::to(&proxy);
            client.say(&startup(&[("user", "tenant_a"), ("database", "ccm")]));
            let first = b"SCRAM-SHA-256\0\0\0\0\x1en,,n=,r=abcdefghijklmnopqrstuv";
            client.say(&message(b'p', first));
            client
        })
        .collect();
    running.is_usable();
    for client in &mut starts {
        assert_eq!(client.hear_only(2), "R R");
    }
    for client in idle.iter_mut().chain(&mut starts) {
        let end = client.until_closed();
        assert!(end.is_empty() || end.starts_with("E["), "{end}");
    }
    running.is_usable();
    probe(&proxy);
}
