//! A BEGIN that waits for the first statement, byte by byte.

use super::harness::*;
use super::*;

/// BEGIN as it is sent on a connection that does not know it yet.
pub const BEGIN: &str = "P[pgb_b0.BEGIN...] B[.pgb_b0.......] E[.....]";

/// The server's answer to it.
pub fn begun() -> Vec<u8> {
    [m('1', b""), m('2', b""), complete("BEGIN")].concat()
}

pub fn rows(status: char) -> Vec<u8> {
    [m('T', b"\0\0"), complete("SELECT 0"), ready(status)].concat()
}

/// A session that has begun.
pub fn waiting(mut rig: Rig) -> Rig {
    assert_eq!(rig.say(&q("BEGIN")), "");
    assert_eq!(rig.heard(), "C[BEGIN.] Z[T]");
    rig
}

#[test]
fn first_statement_takes_begin_with_it() {
    let mut rig = waiting(Rig::fixed());
    assert_eq!(rig.host.free, 1, "nothing is leased");
    assert_eq!(rig.say(&q("select tenant()")), format!("{BEGIN} Q[select '1'::int.]"));
    assert_eq!(rig.answer(&[begun(), rows('T')].concat()), "T[..] C[SELECT 0.] Z[T]");
    assert!(!rig.released());
    assert_eq!(rig.say(&q("commit")), "Q[commit.]");
    assert_eq!(rig.answer(&[complete("COMMIT"), ready('I')].concat()), "C[COMMIT.] Z[I]");
    assert!(rig.released());
    assert_eq!(rig.host.accounts, ["1 ran 0 ", "1 ran 0 ", "1 ran 0 "]);
    assert_eq!(rig.host.audit_room, 100);
}

#[test]
fn begin_is_prepared_once_on_a_connection() {
    let mut rig = waiting(Rig::fixed());
    rig.say(&q("select 1"));
    rig.answer(&[begun(), rows('T')].concat());
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('I')].concat());
    let server = rig.session.take_released().unwrap();
    let mut other = waiting(Rig::fixed());
    other.host.free = 0;
    other.say(&q("select 1"));
    assert_eq!(*other.session.want(), Want::Lease);
    let mut io = Io { client: &mut other.client, server: &mut other.server };
    other.session.lease_granted(&mut other.host, &mut io, server);
    assert_eq!(other.sent(), "B[.pgb_b0.......] E[.....] Q[select 1.]");
    assert_eq!(
        other.answer(&[m('2', b""), complete("BEGIN"), rows('T')].concat()),
        "T[..] C[SELECT 0.] Z[T]"
    );
}

#[test]
fn settings_are_played_before_begin() {
    let mut rig = Rig::fixed();
    rig.say(&q("set timezone to 'CET'"));
    rig.answer(&[complete("SET"), ready('I')].concat());
    assert!(rig.released());
    rig.heard();
    let mut rig = waiting(rig);
    assert_eq!(rig.say(&q("select 1")), format!("Q[SET timezone TO 'CET';.] {BEGIN} Q[select 1.]"));
    assert_eq!(rig.answer(&[complete("SET"), ready('I'), m('1', b"")].concat()), "");
    let status = rig.session.active().unwrap().status();
    assert_eq!(status, crate::wire::backend::TransactionStatus::Open, "between the two answers, too");
    assert_eq!(rig.answer(&[m('2', b""), complete("BEGIN"), rows('T')].concat()), "T[..] C[SELECT 0.] Z[T]");
    assert!(!rig.released());
}

#[test]
fn transaction_that_does_nothing_needs_no_server() {
    for (end, tag) in
        [("commit", "COMMIT"), ("end", "COMMIT"), ("rollback", "ROLLBACK"), ("abort", "ROLLBACK")]
    {
        let mut rig = waiting(Rig::fixed());
        rig.host.free = 0;
        assert_eq!(rig.say(&q(end)), "");
        assert_eq!(rig.heard(), format!("C[{tag}.] Z[I]"));
        assert_eq!(rig.host.accounts, ["1 ran 0 ", "1 ran 0 "]);
        assert!(rig.session.active().unwrap().is_idle());
    }
    let mut rig = Rig::fixed();
    rig.say(&q("BEGIN; START TRANSACTION; commit; BEGIN"));
    assert_eq!(rig.heard(), "C[BEGIN.] C[START TRANSACTION.] C[COMMIT.] C[BEGIN.] Z[T]");
}

#[test]
fn end_outside_of_a_transaction_is_the_servers_to_answer() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&q("commit")), "Q[commit.]");
}

#[test]
fn begin_that_may_fail_or_stands_with_a_statement_is_sent_at_once() {
    for text in
        ["BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN READ WRITE", "BEGIN; select 1", "BEGIN; savepoint s"]
    {
        let mut rig = Rig::fixed();
        let sent = text.replace("; ", ";");
        assert_eq!(rig.say(&q(text)), format!("Q[{sent}.]"));
    }
    let mut rig = waiting(Rig::fixed());
    let sent = rig.say(&q("BEGIN READ ONLY"));
    assert_eq!(sent, format!("{BEGIN} Q[BEGIN READ ONLY.]"), "it changes the transaction");
}

#[test]
fn modes_that_cannot_fail_are_sent_later() {
    let mut rig = Rig::fixed();
    rig.say(&q("BEGIN ISOLATION LEVEL REPEATABLE READ"));
    assert_eq!(rig.heard(), "C[BEGIN.] Z[T]");
    let sent = rig.say(&q("select 1"));
    assert!(sent.starts_with("P[pgb_b3.BEGIN ISOLATION LEVEL REPEATABLE READ...] B[.pgb_b3."), "{sent}");
}

#[test]
fn session_that_holds_a_connection_begins_there() {
    let mut rig = Rig::fixed();
    rig.say(&q("hold c"));
    rig.answer(&[complete("DECLARE CURSOR"), ready('I')].concat());
    assert_eq!(rig.say(&q("BEGIN")), "Q[BEGIN.]");
}

#[test]
fn token_of_set_local_binds_what_begins_later() {
    let mut rig = Rig::by_token();
    assert_eq!(rig.say(&q("BEGIN; set local pgbulkhead.tenant_token = 'for 8'")), "");
    assert_eq!(rig.heard(), "C[BEGIN.] C[SET.] Z[T]");
    rig.say(&q("set local pgbulkhead.tenant_token = 'for 9'"));
    assert_eq!(rig.heard(), "E[25001] Z[E]", "it is fixed");
    rig.say(&q("rollback"));
    rig.say(&q("select tenant()"));
    assert_eq!(rig.heard(), "C[ROLLBACK.] Z[I] E[42501] Z[I]", "and gone with its transaction");
    let mut rig = waiting(rig);
    rig.say(&q("set local pgbulkhead.tenant_token = 'for 9'"));
    assert_eq!(rig.heard(), "C[SET.] Z[T]");
    assert_eq!(rig.say(&q("select tenant()")), format!("{BEGIN} Q[select '9'::int.]"));
    rig.answer(&[begun(), rows('T')].concat());
    rig.say(&q("set local pgbulkhead.tenant_token = 'for 8'"));
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25001] Z[E]");
}

#[test]
fn token_of_the_session_does_not_change_in_what_has_begun() {
    let mut rig = waiting(Rig::by_token());
    rig.say(&q("set pgbulkhead.tenant_token = 'for 8'"));
    assert_eq!(rig.heard(), "E[25001] Z[E]");
    rig.say(&q("rollback"));
    rig.say(&q("set pgbulkhead.tenant_token = 'for 8'"));
    rig.heard();
    let mut rig = waiting(rig);
    rig.say(&q("reset pgbulkhead.tenant_token"));
    assert_eq!(rig.heard(), "E[25001] Z[E]");
}

#[test]
fn set_local_and_the_extended_protocol_wait_for_a_lease() {
    let mut rig = Rig::by_token();
    rig.say(&q("BEGIN; set local pgbulkhead.tenant_token = 'for 8'"));
    rig.heard();
    rig.host.free = 0;
    rig.say(&[parse("", "select tenant()", &[]), bind("", "", &[]), execute(""), sync()].concat());
    assert_eq!(*rig.session.want(), Want::Lease);
    assert_eq!(rig.session.active().unwrap().payer().map(|tenant| tenant.as_str()), Some("8"));
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    rig.session.lease_granted(&mut rig.host, &mut io, Box::new(Server::new(Vec::new())));
    let sent = rig.sent();
    assert!(sent.starts_with(&format!("{BEGIN} P[pgb_s1.select $1::int")) && sent.ends_with(" S"), "{sent}");
    let answers = [begun(), m('1', b""), m('2', b""), complete("SELECT 0"), ready('T')].concat();
    assert_eq!(rig.answer(&answers), "1 2 C[SELECT 0.] Z[T]");
}

#[test]
fn answer_to_begin_may_be_cut_anywhere() {
    let whole = [m('2', b""), complete("BEGIN"), rows('T')].concat();
    for cut in 1..whole.len() {
        let mut rig = waiting(Rig::fixed());
        rig.say(&q("select 1"));
        rig.answer(&m('1', b""));
        let (first, rest) = whole.split_at(cut);
        let heard = [rig.answer(first), rig.answer(rest)].join(" ");
        assert_eq!(heard.trim(), "T[..] C[SELECT 0.] Z[T]", "{cut}");
        assert!(!rig.session.active().unwrap().is_running());
    }
}

#[test]
fn answer_of_the_proxys_own_is_said_between_begin_and_the_next() {
    let mut rig = Rig::by_token();
    rig.say(&q("BEGIN; set local pgbulkhead.tenant_token = 'for 8'"));
    rig.say(&[parse("s", "select tenant()", &[]), bind("", "s", &[]), execute(""), sync()].concat());
    rig.answer(&[begun(), m('1', b""), m('2', b""), complete("SELECT 0"), ready('T')].concat());
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('I')].concat());
    rig.heard();
    assert!(rig.comes_back());
    let begun = [m('2', b""), complete("BEGIN")].concat();
    // The statement is known there, and so is its Parse answered here.
    rig.say(&q("BEGIN; set local pgbulkhead.tenant_token = 'for 8'"));
    rig.heard();
    let batch = [parse("t", "select tenant()", &[]), bind("", "t", &[]), execute(""), sync()].concat();
    assert!(rig.say(&batch).starts_with("B[.pgb_b0.......] E[.....] B["));
    let answers = [begun.clone(), m('2', b""), complete("SELECT 0"), ready('T')].concat();
    assert_eq!(rig.answer(&answers), "1 2 C[SELECT 0.] Z[T]");
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('I')].concat());
    assert!(rig.comes_back());
    let mut rig = waiting(rig);
    let sent = rig.say(&q("set local pgbulkhead.tenant_token = 'for 8'; select tenant()"));
    assert_eq!(sent, "B[.pgb_b0.......] E[.....] Q[select '8'::int.]");
    assert_eq!(rig.answer(&[begun, rows('T')].concat()), "C[SET.] T[..] C[SELECT 0.] Z[T]");
}

#[test]
fn held_answer_behind_begin_is_said_at_flush() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    let server = rig.session.take_released().unwrap();
    rig.host.free = 0;
    let mut rig = waiting(rig);
    rig.say(&[parse("t", "select 1", &[]), m('H', b"")].concat());
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    rig.session.lease_granted(&mut rig.host, &mut io, server);
    assert_eq!(rig.sent(), format!("{BEGIN} H"));
    assert_eq!(rig.answer(&begun()), "1");
    // The tenant cannot change any more, and nothing waits for ever.
    rig.say(
        &[parse("", "set pgbulkhead.tenant_token = 'for 8'", &[]), bind("", "", &[]), execute(""), sync()]
            .concat(),
    );
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "1 2 E[25001] Z[E]");
}

#[test]
fn copy_behind_begin_waits_for_its_data() {
    for first in ["BEGIN", "set timezone to 'CET'"] {
        let mut rig = Rig::fixed();
        rig.say(&q(first));
        if first != "BEGIN" {
            rig.answer(&[complete("SET"), ready('I')].concat());
            assert!(rig.released());
        }
        rig.heard();
        rig.say(&[q("copy t from stdin"), m('d', b"1\n"), m('c', b"")].concat());
        let before = if first == "BEGIN" { begun() } else { [complete("SET"), ready('I')].concat() };
        rig.answer(&before);
        assert_eq!(rig.sent(), "");
        rig.answer(&m('G', b"\0\0\x01\0\0"));
        assert_eq!(rig.sent(), "d[1.] c", "{first}");
    }
}

#[test]
fn rows_of_an_inserting_copy_go_behind_begin() {
    let mut rig = waiting(Rig::fixed());
    let sent = rig.say(&q("copy inserted from stdin"));
    assert!(sent.starts_with(BEGIN) && sent.ends_with(" H"), "{sent}");
    assert_eq!(rig.answer(&[begun(), m('1', b"")].concat()), "G[.....]");
}

#[test]
fn client_that_goes_leaves_nothing() {
    let mut rig = waiting(Rig::fixed());
    assert!(rig.session.client_gone(&mut rig.host).is_none());
    assert_eq!(rig.host.free, 1);
    let mut rig = waiting(Rig::fixed());
    rig.say(&q("select 1"));
    rig.answer(&begun());
    assert!(rig.session.client_gone(&mut rig.host).is_none(), "a transaction is open on it");
}

#[test]
fn session_in_a_transaction_that_waits_is_not_idle() {
    let rig = waiting(Rig::fixed());
    assert!(!rig.session.active().unwrap().is_idle());
}
