//! Clients and servers that go away in the middle, and what a server connection is after it.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::messages::{bind, execute, flush, once, parse, query, sync};
use crate::relay::{Deed, Relay, bytes};
use crate::stage::{Stage, probe};
use crate::support::wire::Connection;

const OWN: &str = "select tenant_id, count(*) from documents group by 1";
const LARGE: &str = "select repeat(title, 10000) from documents cross join generate_series(1, 30)";

/// Statements of the proxy that the server runs now.
fn running(stage: &Stage) -> String {
    let count = "select count(*) from pg_stat_activity where usename = 'app_backend' and state <> 'idle'";
    stage.superuser().values(count).concat().concat()
}

fn await_idle(stage: &Stage) {
    let began = Instant::now();
    while running(stage) != "0" {
        assert!(began.elapsed() < Duration::from_secs(10), "statements of clients that are gone still run");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// W31, R8: a client that goes away in the middle of a statement or of its answer takes its server connection
/// with it: what runs is cancelled, and nobody gets the rest of the answer.
pub fn a_vanished_clients_answer_reaches_nobody(stage: &Stage) {
    let proxy = stage.narrow("w31");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut b = Connection::of(&proxy, "tenant_b");
            while !done.load(Ordering::Relaxed) {
                assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
                assert_eq!(b.ask(&[once(OWN, &[]), sync()].concat()), "1 2 D[2|40] C[SELECT 1] Z[I]");
                b.take_heard();
            }
        });
        for round in 0..100_usize {
            let mut a = Connection::of(&proxy, "tenant_a");
            match round % 5 {
                0 => a.say(&query("select count(*) from generate_series(1, 20000000)")),
                1 => a.say(&query(LARGE)),
                2 => a.say(&[parse("", LARGE, &[]), bind("", "", &[]), execute("", 0), flush()].concat()),
                3 => a.say(&[query("begin"), query("select 1 from documents")].concat()),
                _ => a.say(&[once(OWN, &[]), sync()].concat().repeat(20)),
            }
            let wanted = [0, 1, 5, 17, 100, round * 331][round % 6];
            let mut taken = vec![0; wanted];
            a.patience(Duration::from_millis(20));
            let _ = std::io::Read::read_exact(&mut a.stream, &mut taken);
            let _ = a.stream.get_ref().shutdown(Shutdown::Both);
        }
        done.store(true, Ordering::Relaxed);
    });
    probe(&proxy);
    await_idle(stage);
}

/// W32, R8: a server that goes away at any byte of its answer: the client gets whole messages and an error or
/// the end, and the next client a connection of its own.
/// Fails when a connection is given back with an answer half read.
pub fn a_server_cut_at_any_byte_costs_its_connection_alone(stage: &Stage) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, "w32");
    for kept in 0..60_usize {
        let mut left = kept;
        relay.alter(move |message| {
            let bytes = bytes(message);
            if !matches!(message.tag, b'T' | b'D' | b'C' | b'1' | b'2') {
                return Deed::Pass;
            }
            match left.checked_sub(bytes.len()) {
                Some(rest) => {
                    left = rest;
                    Deed::Pass
                }
                None => Deed::Cut(bytes[..left].to_vec()),
            }
        });
        let mut a = Connection::of(&proxy, "tenant_a");
        let request = if kept % 2 == 0 { query(OWN) } else { [once(OWN, &[]), sync()].concat() };
        a.say(&request);
        let heard = std::iter::from_fn(|| a.read_message().ok());
        let ends = heard.map(|message| message.tag).take_while(|tag| *tag != b'E').last();
        assert!(ends.is_none_or(|tag| b"TD12ZC".contains(&tag)), "{kept}: {ends:?}");
        // All of it came: there was nothing left to cut.
        if ends == Some(b'Z') {
            break;
        }
        relay.honest();
        let mut b = Connection::of(&proxy, "tenant_b");
        assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]", "after {kept} bytes");
    }
}

/// W32, W44: a client that does not read is closed after `client_write_timeout`, and its statement cancelled.
pub fn a_client_that_does_not_read_is_closed(stage: &Stage) {
    let slow = "[general]\nclient_write_timeout = \"1s\"";
    let proxy = stage.proxy("w44", |config| config.replace("[general]", slow));
    let copy = query(&format!("copy ({LARGE}) to stdout"));
    let requests = [query(LARGE), copy, [once(LARGE, &[]), sync()].concat()];
    let clients: Vec<_> = requests
        .iter()
        .map(|request| {
            let mut client = Connection::of(&proxy, "tenant_a");
            client.say(request);
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));
    await_idle(stage);
    probe(&proxy);
    drop(clients);
}

/// W32: a statement that the server ends by its own time limit leaves the session as it was.
pub fn a_statement_timeout_leaves_the_session_usable(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    assert_eq!(client.ask(&query("set statement_timeout = '100ms'")), "C[SET] Z[I]");
    let held = stage.hold("notes");
    assert_eq!(client.ask(&query("select count(*) from notes")), "E[57014] Z[I]");
    let batch = [once("select count(*) from notes", &[]), once(OWN, &[]), sync()].concat();
    assert_eq!(client.ask(&batch), "E[57014] Z[I]");
    held.release();
    client.is_usable();
}

/// W48, R8: what a transaction leaves behind is undone before another tenant gets the connection.
pub fn nothing_of_a_session_is_left_for_the_next(stage: &Stage) {
    let proxy = stage.narrow("w48");
    for leave in [
        "begin; insert into tags (id, label) values (55, 'CANARY_A W48')",
        "begin; select 1/0",
        "begin; declare c cursor for select title from documents",
        "set statement_timeout = '9s'",
        "begin; set local statement_timeout = '9s'; set timezone = 'Asia/Tokyo'",
        "begin; lock table documents in share mode",
        "create temp table documents (x int)",
        "select set_config('statement_timeout', '8s', false)",
        "prepare q as select 1",
    ] {
        let mut a = Connection::of(&proxy, "tenant_a");
        a.ask(&query(leave));
        drop(a);
        let mut b = Connection::of(&proxy, "tenant_b");
        assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]", "after {leave}");
        assert_eq!(b.ask(&query("select current_setting('statement_timeout')")), "T D[0] C[SELECT 1] Z[I]");
        assert_eq!(
            b.ask(&query("select current_setting('timezone')")).matches("Tokyo").count(),
            0,
            "{leave}"
        );
        assert!(b.ask(&query("fetch all from c")).starts_with("E[34000]"), "after {leave}");
        let insert = "begin; insert into tags (id, label) values (55, 'CANARY_B W48'); rollback";
        assert_eq!(b.ask(&query(insert)), "C[BEGIN] C[INSERT 0 1] C[ROLLBACK] Z[I]", "after {leave}");
    }
    assert_eq!(stage.superuser().values("select count(*) from app.tags where id = 55"), [["0"]]);
}

/// A server that is killed in the middle of a transaction: the client learns it, and the next one is served.
pub fn a_killed_backend_is_told_and_replaced(stage: &Stage) {
    let proxy = stage.narrow("killed");
    let mut a = Connection::of(&proxy, "tenant_a");
    assert_eq!(a.ask(&query("begin; select 1")), "C[BEGIN] T D[1] C[SELECT 1] Z[T]");
    stage
        .superuser()
        .run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_backend'");
    a.say(&query("select 1"));
    let end = a.until_closed();
    assert!(end.contains("E[57P01]") || end.contains("E[08006]"), "{end}");
    probe(&proxy);
}

/// W48: DISCARD ALL gives back what a session keeps on the server beyond its transactions, and with it the connection.
pub fn discard_all_gives_locks_and_channels_back(stage: &Stage) {
    let proxy = stage.narrow("w48-discard");
    let discard = [query("discard all"), [once("discard all", &[]), sync()].concat()];
    for (taking, discard) in ["select pg_advisory_lock(7)", "listen news"].into_iter().zip(discard) {
        let mut a = Connection::of(&proxy, "tenant_a");
        let mut b = Connection::of(&proxy, "tenant_b");
        a.ask(&query(taking));
        b.say(&query(OWN));
        assert!(b.is_silent_for(Duration::from_millis(300)), "{taking}: the connection is kept");
        let answer = a.ask(&discard);
        assert!(answer.ends_with("C[DISCARD ALL] Z[I]"), "{answer}");
        assert_eq!(b.hear(), "T D[2|40] C[SELECT 1] Z[I]");
        let held = "select count(*) from pg_locks where locktype = 'advisory'";
        assert_eq!(stage.superuser().values(held), [["0"]]);
        a.is_usable();
    }
}
