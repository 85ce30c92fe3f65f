//! Long Binds, whose values pass as they come: what they are worth at the other end, and whom their faults hurt.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cancel::{cancel, with_key};
use crate::messages::{bind_as, execute, once, parse, query, sync};
use crate::stage::{Stage, probe};
use crate::support::fixture::Proxy;
use crate::support::wire::Connection;

const LARGE: usize = 200 * 1024 * 1024;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const OWN: &str = "select tenant_id, count(*) from documents group by 1";
const SUMS: &str = "select octet_length($1), encode(sha256($1), 'hex'), min(tenant_id) from documents";

/// A part of a value of which no piece is like another.
fn piece(number: usize) -> Vec<u8> {
    Sha256::digest(number.to_be_bytes()).iter().copied().cycle().take(1 << 20).collect()
}

/// Says a Bind of the unnamed statement with one value in the binary format, in pieces; gives what [`SUMS`] makes of it.
fn say_long(mut to: &TcpStream, length: usize) -> String {
    let empty = bind_as("", "", &[1], &[b""]);
    let (head, tail) = empty.split_at(empty.len() - 6);
    let mut head = [head, &u32::try_from(length).expect("short").to_be_bytes()].concat();
    let announced = u32::try_from(empty.len() - 1 + length).expect("short");
    head[1..5].copy_from_slice(&announced.to_be_bytes());
    let mut hash = Sha256::new();
    to.write_all(&head).expect("it is read");
    for number in 0..length.div_ceil(1 << 20) {
        let mut piece = piece(number);
        piece.truncate(length - (number << 20));
        hash.update(&piece);
        to.write_all(&piece).expect("it is read");
    }
    to.write_all(&tail[4..]).expect("it is read");
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{length}|{hex}")
}

/// A Bind whose value of 1 MB is followed by one whose length may lie.
fn two_values(second: i32) -> Vec<u8> {
    let mut message = bind_as("", "", &[], &[&[b'x'; 1_000_000], b"abc"]);
    let at = message.len() - 2 - 3 - 4;
    message[at..at + 4].copy_from_slice(&second.to_be_bytes());
    message
}

fn parse_two() -> Vec<u8> {
    parse("", "select octet_length($1::text), $2::text, count(*) from documents", &[])
}

/// W44: values of 200 MiB of several tenants pass at once, whole and in bounded memory. Fails when a Bind is kept until it is whole.
pub fn a_long_bind_passes_in_bounded_memory(stage: &Stage) {
    let proxy = stage.proxy("long-bind", |config| config);
    probe(&proxy);
    let before = proxy.peak_memory();
    std::thread::scope(|scope| {
        for (user, tenant, length) in [("tenant_a", 1, LARGE), ("tenant_b", 2, LARGE / 2 + 7)] {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut client = Connection::of(proxy, user);
                client.say(&parse("", SUMS, &[BYTEA]));
                let sums = say_long(client.stream.get_ref(), length);
                let answer = client.ask(&[execute("", 0), sync()].concat());
                assert_eq!(answer, format!("1 2 D[{sums}|{tenant}] C[SELECT 1] Z[I]"));
                client.is_usable();
            });
        }
    });
    let grown = proxy.peak_memory() - before;
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

/// W25, W44: what a long Bind writes is the tenant's own, in a transaction and with short values behind the long one.
pub fn a_long_bind_writes_the_tenants_own_rows(stage: &Stage) {
    let update = "update documents set body = $1 where id = $2 returning tenant_id, octet_length(body)";
    let long = vec![b'y'; 3_000_000];
    for (user, own, other) in [("tenant_a", "1111001", "2222001"), ("tenant_b", "2222001", "1111001")] {
        let mut client = Connection::of(&stage.proxy, user);
        assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
        for (id, rows) in [(own, 1), (other, 0)] {
            let values: [&[u8]; 2] = [&long, id.as_bytes()];
            let batch =
                [parse("", update, &[25, INT8]), bind_as("", "", &[], &values), execute("", 0), sync()];
            let row = format!("D[{}|3000000] ", &own[..1]).repeat(rows);
            assert_eq!(client.ask(&batch.concat()), format!("1 2 {row}C[UPDATE {rows}] Z[T]"));
        }
        // One value too many is not the tenant's.
        let values: [&[u8]; 3] = [&long, other.as_bytes(), &other.as_bytes()[..1]];
        let batch = [parse("", update, &[25, INT8]), bind_as("", "", &[], &values), execute("", 0), sync()];
        assert_eq!(client.ask(&batch.concat()), "1 E[08P01] Z[E]");
        assert_eq!(client.ask(&query("rollback")), "C[ROLLBACK] Z[I]");
    }
}

/// W9: a length that lies behind what was sent on costs its client the session, and nobody else anything.
/// Fails when the server connection is used again.
pub fn a_long_bind_that_lies_costs_its_session_alone(stage: &Stage) {
    let proxy = stage.narrow("long-lie");
    let mut b = Connection::of(&proxy, "tenant_b");
    for lie in [4, 2, -2, i32::MAX, 1_000_000] {
        let mut a = Connection::of(&proxy, "tenant_a");
        let batch = [parse_two(), two_values(lie), execute("", 0), sync()].concat();
        // B waits for the only connection while A's Bind passes.
        let (first, second) = batch.split_at(500_000);
        a.say(first);
        b.say(&query(OWN));
        a.say(second);
        let heard = a.until_closed();
        assert!(heard.ends_with("E[08P01]") && !heard.contains('2'), "{lie}: {heard}");
        assert_eq!(b.hear(), "T D[2|40] C[SELECT 1] Z[I]", "after {lie}");
    }
    let mut a = Connection::of(&proxy, "tenant_a");
    let answer = a.ask(&[parse_two(), two_values(3), execute("", 0), sync()].concat());
    assert_eq!(answer, "1 2 D[1000000|abc|40] C[SELECT 1] Z[I]");
    // What the beginning shows is refused before anything was sent, and the session goes on.
    let mut early = bind_as("", "", &[], &[b"abc", &[b'x'; 1_000_000]]);
    early[11..15].copy_from_slice(&2_000_000_u32.to_be_bytes());
    assert_eq!(a.ask(&[parse_two(), early, execute("", 0), sync()].concat()), "1 E[08P01] Z[I]");
    a.is_usable();
}

/// W31, R8: a client that vanishes within a long Bind takes its server connection with it, at any byte.
pub fn a_client_that_vanishes_within_a_long_bind_leaves_nothing(stage: &Stage) {
    let proxy = stage.narrow("long-vanish");
    let batch = [query("begin"), parse_two(), two_values(3)].concat();
    let ends = [100, 50_000, 70_000, 300_000, 999_000, batch.len() - 10, batch.len() - 2, batch.len() - 1];
    for (round, end) in ends.into_iter().enumerate() {
        let mut a = Connection::of(&proxy, "tenant_a");
        let from = if round % 2 == 0 { 0 } else { query("begin").len() };
        a.say(&batch[from..end]);
        let mut b = Connection::of(&proxy, "tenant_b");
        b.say(&query(OWN));
        std::thread::sleep(Duration::from_millis(20));
        let _ = a.stream.get_ref().shutdown(Shutdown::Both);
        assert_eq!(b.hear(), "T D[2|40] C[SELECT 1] Z[I]", "after {end} bytes");
    }
    probe(&proxy);
    let open = "select count(*) from pg_stat_activity where usename = 'app_backend' and state <> 'idle'";
    assert_eq!(stage.superuser().values(open), [["0"]]);
}

/// W44: while the server does not read, the client is not read either.
pub fn a_long_bind_waits_for_a_slow_server(stage: &Stage) {
    let proxy = stage.proxy("long-slow", |config| config);
    probe(&proxy);
    let before = proxy.peak_memory();
    let held = stage.hold("notes");
    let mut client = Connection::of(&proxy, "tenant_a");
    client.say(&[once("select count(*) from notes", &[]), parse("", SUMS, &[BYTEA])].concat());
    held.by(1);
    let writer = client.stream.get_ref().try_clone().expect("a socket");
    std::thread::scope(|scope| {
        let said = scope.spawn(move || say_long(&writer, LARGE / 4));
        std::thread::sleep(Duration::from_millis(500));
        assert!(!said.is_finished(), "the server reads nothing");
        held.release();
        let sums = said.join().expect("it is read");
        let answer = client.ask(&[execute("", 0), sync()].concat());
        assert_eq!(answer, format!("1 2 D[3] C[SELECT 1] 1 2 D[{sums}|1] C[SELECT 1] Z[I]"));
    });
    let grown = proxy.peak_memory() - before;
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

/// W32, W33: a cancel within a long Bind, and a statement's time limit that passes in it, leave the session usable.
pub fn a_cancel_and_a_timeout_within_a_long_bind_are_survived(stage: &Stage) {
    let batch = [parse_two(), two_values(3), execute("", 0), sync()].concat();
    let (first, second) = batch.split_at(500_000);
    let proxy: &Proxy = &stage.narrow("long-cancel");
    let (mut a, key) = with_key(proxy, "tenant_a");
    a.say(first);
    std::thread::sleep(Duration::from_millis(100));
    cancel(proxy, &key);
    a.say(second);
    let answer = a.hear();
    let whole = "1 2 D[1000000|abc|40] C[SELECT 1] Z[I]";
    assert!(answer == whole || answer.ends_with("E[57014] Z[I]"), "{answer}");
    assert_eq!(a.ask(&batch), whole);
    // As in PostgreSQL, the time of a batch runs from the first message of it that the server gets, and on while it
    // waits for a Bind.
    assert_eq!(a.ask(&query("set statement_timeout = '100ms'")), "C[SET] Z[I]");
    a.say(&[parse("", "select title from documents where id = 5", &[]), first.to_vec()].concat());
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(a.ask(second), "1 1 E[57014] Z[I]");
    assert_eq!(a.ask(&query("reset statement_timeout")), "C[RESET] Z[I]");
    assert_eq!(a.ask(&batch), whole);
    let mut b = Connection::of(proxy, "tenant_b");
    assert_eq!(b.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
}

/// W32: a server that ends within a long Bind is told, and the next client gets another connection.
pub fn a_server_that_ends_within_a_long_bind_is_replaced(stage: &Stage) {
    let proxy = stage.narrow("long-killed");
    let batch = [parse_two(), two_values(3), execute("", 0), sync()].concat();
    let mut a = Connection::of(&proxy, "tenant_a");
    a.say(&batch[..500_000]);
    std::thread::sleep(Duration::from_millis(100));
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_backend'";
    stage.superuser().run(end);
    std::thread::sleep(Duration::from_millis(100));
    a.say(&batch[500_000..]);
    let heard = a.until_closed();
    assert!(heard.ends_with("E[57P01]") || heard.ends_with("E[08006]"), "{heard}");
    probe(&proxy);
}
