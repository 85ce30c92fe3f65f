//! Sessions driven by byte strings.

mod again;
mod begun;
mod begun_fails;
mod chaos;
mod copy;
mod extended;
mod handshake;
mod harness;
mod names;
mod passing;
mod straight;
mod trial;
mod unsure;

use super::*;
use crate::policy::{Rule, SqlState};
use harness::*;

#[test]
fn simple_query_carries_the_tenant_and_gives_the_lease_back() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&q("select tenant() ; select 'x'")), "Q[select '1'::int;select 'x'.]");
    let answer =
        [m('T', b"\0\0"), m('D', b"\0\0"), complete("SELECT 1"), m('T', b"\0\0"), complete("SELECT 0")];
    assert_eq!(rig.answer(&answer.concat()), "T[..] D[..] C[SELECT 1.] T[..] C[SELECT 0.]");
    assert!(!rig.released());
    assert_eq!(rig.answer(&ready('I')), "Z[I]");
    assert!(rig.released());
    assert_eq!(rig.host.accounts, ["1 ran 1 ", "1 ran 0 "]);
}

#[test]
fn rows_may_be_cut_anywhere() {
    let row = m('D', b"\0\x01\0\0\0\x05hello");
    let column = b"\0\x01c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    let stream = [m('T', column), row.clone(), row, complete("SELECT 2"), ready('I')].concat();
    for cut in 1..stream.len() {
        let mut rig = Rig::fixed();
        rig.say(&q("select 1"));
        let (first, second) = stream.split_at(cut);
        for part in [first, second] {
            let mut io = Io { client: &mut rig.client, server: &mut rig.server };
            rig.session.server_bytes(&mut rig.host, &mut io, part).unwrap();
        }
        assert_eq!(rig.client, stream, "cut at {cut}");
        assert!(rig.released());
    }
}

#[test]
fn columns_of_an_answer_are_forgotten_with_it_wherever_it_is_cut() {
    let column = b"\0\x01c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    let none = [m('T', column), complete("SELECT 0"), ready('I')].concat();
    let two = [m('1', b""), m('2', b""), m('D', b"\0\x02\0\0\0\0\0\0\0\0"), complete("SELECT 1"), ready('I')];
    for cut in 1..none.len() {
        let mut rig = Rig::fixed();
        rig.say(&q("select 1"));
        let (first, second) = none.split_at(cut);
        rig.try_answer(first).unwrap();
        rig.try_answer(second).unwrap();
        assert!(rig.released());
        rig.say(&[parse("", "select 1, 2", &[]), bind("", "", &[]), execute(""), sync()].concat());
        assert!(rig.try_answer(&two.concat()).is_ok(), "cut at {cut}");
    }
}

#[test]
fn refused_statement_refuses_the_whole_query_without_a_lease() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&q("select 1; refuse !")), "");
    assert_eq!(rig.heard(), "E[42501] Z[I]");
    assert_eq!(rig.host.free, 1);
    assert_eq!(rig.host.accounts, ["- refused 42501"]);
}

#[test]
fn refusal_in_a_transaction_fails_it_on_the_server() {
    let mut rig = Rig::fixed();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    assert_eq!(rig.say(&q("refuse !")), "E[pgbulkhead refused.....] S");
    assert_eq!(rig.heard(), "");
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[42501] Z[E]");
    assert!(!rig.released());
    rig.say(&q("refuse !"));
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25P02] Z[E]");
}

#[test]
fn statement_that_needs_a_tenant_is_refused_without_one() {
    let mut rig = Rig::by_token();
    assert_eq!(rig.say(&q("select tenant()")), "");
    assert_eq!(rig.heard(), "E[42501] Z[I]");
    rig.say(&q("set pgbulkhead.tenant_token = 'for 7'"));
    assert_eq!(rig.heard(), "C[SET.] Z[I]");
    assert_eq!(rig.say(&q("select tenant()")), "Q[select '7'::int.]");
    rig.answer(&[m('T', b"\0\0"), complete("SELECT 1"), ready('I')].concat());
    rig.say(&q("reset pgbulkhead.tenant_token"));
    assert_eq!(rig.heard(), "C[RESET.] Z[I]");
    rig.say(&q("select tenant()"));
    assert_eq!(rig.heard(), "E[42501] Z[I]");
}

#[test]
fn bad_token_is_refused_and_never_told() {
    let mut rig = Rig::by_token();
    rig.say(&q("set pgbulkhead.tenant_token = 'stolen'"));
    let told = String::from_utf8_lossy(&rig.client).into_owned();
    assert!(told.contains("28000") && !told.contains("stolen"), "{told}");
}

#[test]
fn token_of_set_local_ends_with_its_transaction() {
    let mut rig = Rig::by_token();
    assert_eq!(
        rig.say(&q("begin; set local pgbulkhead.tenant_token = 'for 8'; select tenant()")),
        "Q[begin;select '8'::int.]"
    );
    let answers = [complete("BEGIN"), m('T', b"\0\0"), complete("SELECT 1"), ready('T')].concat();
    assert_eq!(rig.answer(&answers), "C[BEGIN.] C[SET.] T[..] C[SELECT 1.] Z[T]");
    rig.say(&q("set local pgbulkhead.tenant_token = 'for 9'"));
    assert_eq!(rig.sent(), "");
    rig.answer(&[error("34000"), ready('E')].concat());
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('I')].concat());
    rig.say(&q("select tenant()"));
    assert_eq!(rig.heard(), "E[42501] Z[I]");
}

#[test]
fn tenant_does_not_change_within_a_query() {
    let mut rig = Rig::by_token();
    rig.say(&q("select 1; set pgbulkhead.tenant_token = 'for 8'"));
    assert_eq!(rig.heard(), "E[25001] Z[I]");
    rig.say(&q("begin; set local pgbulkhead.tenant_token = 'for 8'; commit; select tenant()"));
    assert_eq!(rig.heard(), "E[42501] Z[I]");
}

#[test]
fn session_of_an_expired_password_token_ends() {
    let mut rig = Rig::by_token();
    let Phase::Active(active) = &mut rig.session.phase else { panic!() };
    active.expire_at(100);
    rig.say(&q("select 1"));
    assert!(rig.heard().contains("57P01"));
    assert_eq!(*rig.session.want(), Want::End);
}

#[test]
fn full_audit_log_refuses_statements() {
    let mut rig = Rig::fixed();
    rig.host.audit_room = 0;
    rig.say(&q("select 1"));
    assert_eq!(rig.sent(), "");
    assert_eq!(rig.heard(), "E[53400] Z[I]");
}

#[test]
fn message_that_nothing_waits_for_loses_the_server() {
    for message in
        [m('1', b""), m('T', b"\0\0"), m('G', b"\0\0\0"), m('d', b"xx"), m('K', b"12345678"), m('?', b"")]
    {
        let mut rig = Rig::fixed();
        rig.say(&q("begin"));
        rig.answer(&[complete("BEGIN"), ready('T')].concat());
        assert!(rig.try_answer(&message).is_err(), "{}", shown(&message));
    }
    let mut rig = Rig::fixed();
    rig.say(&q("select 1"));
    assert!(rig.try_answer(&m('D', b"\0\0")).is_err(), "a row before its description");
    let mut rig = Rig::fixed();
    rig.say(&q("select 1"));
    rig.answer(&m('T', b"\0\0"));
    assert!(rig.try_answer(&m('D', b"\0\x01\0\0\0\0")).is_err(), "more fields than columns");
}

#[test]
fn parameter_that_nobody_set_loses_the_server() {
    let mut rig = Rig::fixed();
    rig.say(&q("select 1"));
    assert_eq!(
        rig.try_answer(&m('S', b"standard_conforming_strings\0off\0")),
        Err(Lost::Parameter("standard_conforming_strings".into()))
    );
    let mut rig = Rig::fixed();
    rig.say(&q("set timezone to 'CET'"));
    let answers = [m('S', b"TimeZone\0CET\0"), complete("SET"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "S[TimeZone.CET.] C[SET.] Z[I]");
}

#[test]
fn setting_is_played_again_on_another_connection() {
    let mut rig = Rig::fixed();
    rig.say(&q("set timezone to 'CET'"));
    rig.answer(&[complete("SET"), ready('I')].concat());
    assert!(rig.released());
    assert_eq!(rig.say(&q("select 1")), "Q[SET timezone TO 'CET';.] Q[select 1.]");
    let answers = [
        m('S', b"TimeZone\0CET\0"),
        complete("SET"),
        ready('I'),
        m('T', b"\0\0"),
        complete("SELECT 1"),
        ready('I'),
    ];
    assert_eq!(rig.answer(&answers.concat()), "T[..] C[SELECT 1.] Z[I]");
    assert!(rig.released());
}

#[test]
fn setting_of_a_rolled_back_transaction_is_forgotten() {
    let mut rig = Rig::fixed();
    rig.say(&q("begin; set timezone to 'CET'"));
    rig.answer(&[complete("BEGIN"), complete("SET"), ready('T')].concat());
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('I')].concat());
    assert!(rig.released());
    assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
}

#[test]
fn notices_and_notifications_are_withheld() {
    let mut rig = Rig::fixed();
    rig.say(&q("select 1"));
    let answers = [
        m('N', b"SNOTICE\0Msecret\0\0"),
        m('A', b"\0\0\0\x01c\0p\0"),
        m('T', b"\0\0"),
        complete("SELECT 0"),
        ready('I'),
    ];
    assert_eq!(rig.answer(&answers.concat()), "T[..] C[SELECT 0.] Z[I]");
}

#[test]
fn bytes_after_the_last_answer_keep_the_connection_from_the_pool() {
    let mut rig = Rig::fixed();
    rig.say(&q("select 1"));
    let stream = [m('T', b"\0\0"), complete("SELECT 0"), ready('I'), b"N".to_vec()].concat();
    rig.answer(&stream);
    assert!(!rig.released());
}

#[test]
fn function_call_is_refused_and_the_session_goes_on() {
    let mut rig = Rig::fixed();
    rig.say(&m('F', b"\0\0\0\x01\0\0\0\0\0\0"));
    assert_eq!(rig.heard(), "E[0A000] Z[I]");
    assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
}

#[test]
fn bad_encoding_is_22021_and_the_session_goes_on() {
    let mut rig = Rig::fixed();
    rig.say(&m('Q', b"select '\xc0\x27\0"));
    assert_eq!(rig.heard(), "E[22021] Z[I]");
    assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
}

#[test]
fn long_statement_is_skipped_and_refused() {
    let mut rig = Rig::fixed();
    let long = q(&"x".repeat(20_000));
    for chunk in long.chunks(1000) {
        rig.say(chunk);
    }
    assert_eq!(rig.heard(), "E[54000] Z[I]");
    assert_eq!(rig.session.backlog(), 0);
    assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
}

#[test]
fn lying_length_ends_the_session() {
    let mut rig = Rig::fixed();
    rig.say(b"Q\x7f\xff\xff\xff");
    assert_eq!(*rig.session.want(), Want::End);
}

#[test]
fn empty_query_is_answered_by_the_proxy() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&q("  ; -- nothing")), "");
    assert_eq!(rig.heard(), "I Z[I]");
}

#[test]
fn session_waits_for_a_lease_and_goes_on_with_it() {
    let mut rig = Rig::fixed();
    rig.host.free = 0;
    assert_eq!(rig.say(&q("select 1")), "");
    assert_eq!(*rig.session.want(), Want::Lease);
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    rig.session.lease_granted(&mut rig.host, &mut io, Box::new(Server::new(Vec::new())));
    assert_eq!(rig.sent(), "Q[select 1.]");
    let mut rig = Rig::fixed();
    rig.host.free = 0;
    rig.say(&[parse("", "select 1", &[]), sync()].concat());
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    let refusal = Refusal::new(SqlState::TOO_MANY, Rule("pool"), "none");
    rig.session.lease_refused(&mut rig.host, &mut io, refusal);
    assert_eq!(rig.heard(), "E[53300] Z[I]");
}

#[test]
fn connection_that_is_given_back_is_not_mixed_up_with_another() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    let server = rig.session.take_released().unwrap();
    rig.host.free = 0;
    // Nothing of the first batch needs the connection that it waited for.
    let second = [parse("", "select 2", &[]), sync()].concat();
    rig.say(&[parse("t", "select 1", &[]), sync(), second].concat());
    rig.host.free = 1;
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    rig.session.lease_granted(&mut rig.host, &mut io, server);
    assert_eq!(*rig.session.want(), Want::Lease, "the first one is taken back before there is another");
    assert_eq!((rig.sent().as_str(), rig.host.free), ("", 1));
    let server = rig.session.take_released().unwrap();
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    rig.session.lease_granted(&mut rig.host, &mut io, server);
    assert!(rig.sent().starts_with("P[pgb_s2."));
}
