//! What fails a transaction before its BEGIN is answered, byte by byte.

use super::begun::{BEGIN, begun, rows, waiting};
use super::harness::*;
use super::*;

fn failed() -> Rig {
    let mut rig = waiting(Rig::fixed());
    assert_eq!(rig.say(&q("refuse !")), "");
    assert_eq!(rig.heard(), "E[42501] Z[E]");
    rig
}

#[test]
fn refusal_fails_what_has_begun_without_a_server() {
    let mut rig = failed();
    for text in
        ["select 1", "select 1; select 2", "BEGIN", "savepoint s", "set timezone to 'CET'", "deallocate p"]
    {
        assert_eq!(rig.say(&q(text)), "", "{text}");
        assert_eq!(rig.heard(), "E[25P02] Z[E]", "{text}");
    }
    rig.say(&q(""));
    assert_eq!(rig.heard(), "I Z[E]");
    assert_eq!(rig.host.free, 1, "nothing was leased");
    rig.say(&q("commit"));
    assert_eq!(rig.heard(), "C[ROLLBACK.] Z[I]");
    assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
    let mut rig = failed();
    rig.say(&q("rollback; BEGIN"));
    assert_eq!(rig.heard(), "C[ROLLBACK.] C[BEGIN.] Z[T]");
    assert_eq!(rig.host.audit_room, 100);
}

#[test]
fn refusal_in_the_extended_protocol_fails_it_too() {
    let mut rig = waiting(Rig::fixed());
    assert_eq!(rig.say(&[parse("", "refuse !", &[]), bind("", "", &[]), sync()].concat()), "");
    assert_eq!(rig.heard(), "E[42501] Z[E]");
    let mut rig = waiting(Rig::fixed());
    assert_eq!(rig.say(&[m('D', b"Pc\0"), sync()].concat()), "", "no cursor is open, and nothing is asked");
    assert_eq!(rig.heard(), "E[34000] Z[E]");
}

#[test]
fn what_the_server_has_to_answer_finds_a_failed_transaction_there() {
    let failing = format!("{BEGIN} E[pgbulkhead refused.....] S");
    let answers = [begun(), error("34000"), ready('E')].concat();
    for text in ["rollback and chain", "rollback to s", "rollback; select 1"] {
        let mut rig = failed();
        // The stand-in for the planner knows no CHAIN.
        let text = text.replace(" and chain", "; select 2");
        assert_eq!(rig.say(&q(&text)), failing);
        assert_eq!(rig.answer(&answers), "", "the client has had its error");
        assert_eq!(rig.sent(), format!("Q[{}.]", text.replace("; ", ";")));
    }
    let mut rig = failed();
    let batch = [parse("", "rollback", &[]), bind("", "", &[]), execute(""), sync()].concat();
    assert_eq!(rig.say(&batch), failing);
    assert_eq!(rig.answer(&answers), "");
    let sent = rig.sent();
    assert!(sent.starts_with("P[pgb_s1.rollback") && sent.ends_with(" S"), "{sent}");
    let answers = [m('1', b""), m('2', b""), complete("ROLLBACK"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "1 2 C[ROLLBACK.] Z[I]");
    assert!(rig.released());
}

#[test]
fn lease_that_cannot_be_had_fails_it() {
    let mut rig = waiting(Rig::fixed());
    rig.host.free = 0;
    rig.say(&q("select 1"));
    assert_eq!(*rig.session.want(), Want::Lease);
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    let refusal = Refusal::new(SqlState::TOO_MANY, Rule("pool"), "none");
    rig.session.lease_refused(&mut rig.host, &mut io, refusal);
    assert_eq!(rig.heard(), "E[53300] Z[E]");
    rig.say(&q("select 1"));
    rig.say(&q("commit"));
    assert_eq!(rig.heard(), "E[25P02] Z[E] C[ROLLBACK.] Z[I]");
}

#[test]
fn statement_without_room_in_the_audit_log_is_refused() {
    let mut rig = Rig::fixed();
    rig.host.audit_room = 1;
    rig.say(&q("BEGIN; commit"));
    assert_eq!(rig.heard(), "E[53400] Z[I]");
    assert_eq!(rig.host.audit_room, 1);
    let mut rig = waiting(rig);
    rig.host.audit_room = 0;
    assert_eq!(rig.say(&q("select 1")), format!("{BEGIN} E[pgbulkhead refused.....] S"));
    assert_eq!(rig.answer(&[begun(), error("34000"), ready('E')].concat()), "E[53400] Z[E]");
}

#[test]
fn nothing_is_sent_behind_the_batch_before_begin_is_answered() {
    let mut rig = waiting(Rig::fixed());
    let batch = |text: &str| [parse("", text, &[]), bind("", "", &[]), execute(""), sync()].concat();
    let sent = rig.say(&[batch("select 1"), batch("select 2")].concat());
    assert!(sent.ends_with(" S") && !sent.contains("select 2"), "{sent}");
    let answers = [begun(), m('1', b""), m('2', b""), complete("SELECT 1"), ready('T')].concat();
    rig.answer(&answers);
    assert!(rig.sent().contains("select 2"));
}

#[test]
fn message_that_is_too_long_waits_for_begin_as_well() {
    let mut rig = waiting(Rig::fixed());
    let batch = [parse("", "select 1", &[]), bind("", "", &[]), execute(""), sync()].concat();
    let long = [parse("", &"x".repeat(400_000), &[]), sync()].concat();
    let sent = rig.say(&[batch, long].concat());
    assert!(sent.ends_with(" S") && !sent.contains("refused"), "{sent}");
    rig.answer(&[begun(), m('1', b""), m('2', b""), complete("SELECT 1"), ready('T')].concat());
    assert_eq!(rig.sent(), "E[pgbulkhead refused.....] S");
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[54000] Z[E]");
}

/// Begins again and fails, as it is sent behind what the server has skipped.
fn anew(before: &str, after: &str) -> String {
    format!("{before}B[.pgb_b0.......] E[.....] E[pgbulkhead refused.....]{after}")
}

#[test]
fn begin_that_is_cancelled_fails_the_transaction() {
    let again = [m('2', b""), complete("BEGIN"), error("34000"), ready('E')].concat();
    // A query is skipped: the proxy sends the Sync.
    let mut rig = waiting(Rig::fixed());
    rig.say(&q("select 1; select 2"));
    assert_eq!(rig.answer(&[m('1', b""), error("57014")].concat()), "E[57014]");
    assert_eq!(rig.sent(), anew("S ", " S"));
    assert_eq!(rig.answer(&[ready('I'), again.clone()].concat()), "Z[E]");
    assert!(!rig.released());
    assert_eq!(rig.host.accounts, ["1 ran 0 ", "1 ran 0 57014"]);
    assert_eq!(rig.host.audit_room, 100);
    assert_eq!(rig.say(&q("rollback")), "Q[rollback.]");
    rig.answer(&[complete("ROLLBACK"), ready('I')].concat());
    assert!(rig.released());

    // Of a batch the Sync has been sent.
    let mut rig = waiting(Rig::fixed());
    let batch = [parse("s", "select 1", &[]), bind("", "s", &[]), execute(""), sync()].concat();
    rig.say(&[batch.clone(), batch].concat());
    assert_eq!(rig.answer(&[m('1', b""), error("57014")].concat()), "E[57014]");
    assert_eq!(rig.sent(), anew("", " S"));
    assert_eq!(rig.answer(&[ready('I'), again.clone()].concat()), "Z[E]");
    assert_eq!(rig.sent(), "E[pgbulkhead refused.....] S", "the next batch");
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25P02] Z[E]");

    // Or has not.
    let mut rig = waiting(Rig::fixed());
    rig.say(&[parse("", "select 1", &[]), bind("", "", &[]), execute(""), m('H', b"")].concat());
    assert_eq!(rig.answer(&[m('1', b""), error("57014")].concat()), "E[57014]");
    assert_eq!(rig.sent(), anew("S ", ""));
    assert_eq!(rig.say(&[execute(""), sync()].concat()), "S");
    assert_eq!(rig.answer(&[ready('I'), again].concat()), "Z[E]");

    // Twice is too much.
    let mut rig = waiting(Rig::fixed());
    rig.say(&q("select 1"));
    rig.answer(&error("57014"));
    rig.answer(&ready('I'));
    assert!(rig.try_answer(&error("57014")).is_err());
}

#[test]
fn server_that_ends_at_begin_is_told_by_its_own_code() {
    for code in ["57P01", "53300", "25P04"] {
        let mut rig = waiting(Rig::fixed());
        rig.say(&q("select 1"));
        let fatal = m('E', format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0").as_bytes());
        let lost = rig.try_answer(&fatal).unwrap_err();
        let mut io = Io { client: &mut rig.client, server: &mut rig.server };
        rig.session.server_lost(&mut rig.host, &mut io, &lost.refusal());
        assert_eq!(*rig.session.want(), Want::End);
        assert!(rig.heard().contains(code));
        assert_eq!(rig.host.audit_room, 100);
    }
}

#[test]
fn prepared_statement_goes_behind_begin() {
    let mut rig = waiting(Rig::fixed());
    let sent = rig.say(&q("prepare p as select 1"));
    assert_eq!(sent, format!("{BEGIN} P[pgb_s1.select 1...] S"));
    assert_eq!(rig.answer(&[begun(), m('1', b""), ready('T')].concat()), "C[PREPARE.] Z[T]");
    rig.say(&q("execute p"));
    assert_eq!(rig.answer(&rows('T')), "T[..] C[SELECT 0.] Z[T]");
    // Its own failure is no failure of BEGIN.
    let mut rig = waiting(Rig::fixed());
    rig.say(&q("prepare p as select 1"));
    assert_eq!(rig.answer(&[begun(), error("42703"), ready('E')].concat()), "E[42703] Z[E]");
    // A failure of BEGIN is its failure.
    let mut rig = waiting(Rig::fixed());
    rig.say(&q("prepare p as select 1"));
    assert_eq!(rig.answer(&[m('1', b""), error("57014")].concat()), "E[57014]");
    assert_eq!(rig.sent(), anew("", " S"));
    let again = [m('2', b""), complete("BEGIN"), error("34000"), ready('E')].concat();
    assert_eq!(rig.answer(&[ready('I'), again].concat()), "Z[E]");
    assert_eq!(rig.sent(), "");
    assert_eq!(rig.say(&q("rollback")), "Q[rollback.]");
}
