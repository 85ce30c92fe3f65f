//! What is not known while answers are outstanding.

use super::harness::*;
use super::*;

/// A rig in an open transaction, whose session has the statement `select 1` by the name `s`.
fn in_transaction() -> Rig {
    let mut rig = Rig::fixed();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('T')].concat());
    rig
}

/// The same, failed by a statement of a Query.
fn in_failed_transaction() -> Rig {
    let mut rig = in_transaction();
    rig.say(&q("select bad"));
    rig.answer(&[error("22012"), ready('E')].concat());
    rig
}

fn describe_portal(name: &str) -> Vec<u8> {
    m('D', &[b"P", name.as_bytes(), b"\0"].concat())
}

#[test]
fn name_that_a_skipped_parse_would_have_given_is_free() {
    let mut rig = in_transaction();
    let first = [parse("", "select bad", &[]), bind("", "", &[]), parse("n", "select 2", &[]), sync()];
    rig.say(&[first.concat(), parse("n", "rollback", &[]), sync()].concat());
    assert_eq!(*rig.session.want(), Want::Drain);
    assert_eq!(rig.answer(&[m('1', b""), error("22012"), ready('E')].concat()), "1 E[22012] Z[E]");
    assert!(rig.sent().starts_with("P[pgb_s"));
    assert_eq!(rig.answer(&[m('1', b""), ready('E')].concat()), "1 Z[E]");
}

#[test]
fn name_that_a_skipped_close_would_have_taken_is_used_once_that_is_known() {
    let mut rig = in_transaction();
    let first = [parse("", "select bad", &[]), bind("", "", &[]), m('C', b"Ss\0"), sync()];
    let second = [m('D', b"Ss\0"), sync()].concat();
    rig.say(&[first.concat(), second].concat());
    rig.answer(&[m('1', b""), error("22012"), ready('E')].concat());
    assert_eq!(rig.sent(), "D[Spgb_s1.] S");
}

#[test]
fn parse_of_a_known_statement_is_the_servers_where_the_transaction_may_have_failed() {
    let mut rig = in_transaction();
    let sent =
        rig.say(&[bind("", "s", &[]), execute(""), sync(), parse("t", "select 1", &[]), sync()].concat());
    assert!(sent.ends_with("S P[.BEGIN...] S"), "{sent}");
    let answers = [m('2', b""), error("22012"), ready('E'), error("25P02"), ready('E')];
    assert_eq!(rig.answer(&answers.concat()), "2 E[22012] Z[E] E[25P02] Z[E]");
    rig.say(&[m('D', b"St\0"), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[26000] Z[E]");
}

#[test]
fn what_fails_before_its_name_does_not_fail_for_its_name() {
    let mut rig = in_transaction();
    rig.say(&[parse("s", "refuse !", &[]), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[42501] Z[E]");
}

#[test]
fn statement_of_a_taken_name_is_looked_at_by_the_server_first() {
    let mut rig = in_transaction();
    let sent = rig.say(&[parse("s", "select nothing", &[]), sync()].concat());
    assert_eq!(sent, "P[.select nothing...] E[pgbulkhead refused.....] S");
    assert_eq!(rig.answer(&[m('1', b""), error("34000"), ready('E')].concat()), "E[42P05] Z[E]");
    let mut rig = in_transaction();
    rig.say(&[parse("s", "select nothing", &[]), sync()].concat());
    assert_eq!(rig.answer(&[error("22P02"), ready('E')].concat()), "E[22P02] Z[E]");
}

#[test]
fn server_decides_whether_a_portal_is_still_there() {
    let mut rig = in_transaction();
    let sent = rig.say(&[bind("p", "s", &[]), bind("p", "s", &[]), sync()].concat());
    assert_eq!(sent.matches("B[pgb_pp.pgb_s1.").count(), 2, "{sent}");
    let taken = error_saying("42P03", "cursor \"pgb_pp\" already exists");
    rig.session.client_gone(&mut rig.host);
    let mut rig = in_transaction();
    rig.say(&[bind("p", "s", &[]), bind("p", "s", &[]), sync()].concat());
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    let answers = [m('2', b""), taken, ready('E')].concat();
    rig.session.server_bytes(&mut rig.host, &mut io, &answers).unwrap();
    let heard = String::from_utf8_lossy(&rig.client).into_owned();
    assert!(heard.contains("cursor \"p\" already exists"), "{heard}");
}

#[test]
fn portal_comes_back_that_a_skipped_bind_would_have_replaced() {
    let mut rig = in_transaction();
    rig.say(&[parse("d", "deallocate x", &[]), bind("p", "d", &[]), sync()].concat());
    assert_eq!(rig.heard(), "1 2 Z[T]");
    let first = [bind("", "s", &[]), execute(""), m('C', b"Pp\0"), sync()].concat();
    rig.say(&[first, describe_portal("p"), sync()].concat());
    assert_eq!(*rig.session.want(), Want::Drain);
    rig.heard();
    assert_eq!(rig.answer(&[m('2', b""), error("22012"), ready('E')].concat()), "2 E[22012] Z[E] n Z[E]");
}

#[test]
fn query_that_has_succeeded_leaves_no_portal() {
    let mut rig = in_transaction();
    rig.say(&q("select 1"));
    rig.answer(&[m('T', &[b"\0\x01a\0", &[0; 18][..]].concat()), complete("SELECT 0"), ready('T')].concat());
    for status in ['T', 'E'] {
        assert_eq!(rig.say(&[execute(""), sync()].concat()), "E[pgbulkhead refused.....] S", "{status}");
        assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[34000] Z[E]");
    }
}

#[test]
fn portal_that_a_failed_query_has_left_is_described_by_the_server_and_never_executed() {
    let mut rig = in_failed_transaction();
    assert_eq!(rig.say(&[describe_portal(""), sync()].concat()), "D[P.] S");
    assert_eq!(rig.answer(&[error("25P02"), ready('E')].concat()), "E[25P02] Z[E]");
    assert_eq!(rig.say(&[execute(""), sync()].concat()), "E[pgbulkhead refused.....] S");
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25P02] Z[E]");
}

#[test]
fn bind_that_a_failed_transaction_does_not_take_leaves_no_portal() {
    let mut rig = in_failed_transaction();
    rig.say(&[bind("", "s", &[]), execute(""), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25P02] Z[E]");
    assert_eq!(rig.say(&[execute(""), sync()].concat()), "E[pgbulkhead refused.....] S");
}

#[test]
fn bind_that_fails_for_its_values_leaves_an_empty_portal() {
    for name in ["", "p"] {
        let mut rig = in_transaction();
        rig.say(&[bind(name, "s", &[]), sync()].concat());
        rig.answer(&[error("22P02"), ready('E')].concat());
        assert_eq!(rig.say(&[execute(name), sync()].concat()), "");
        assert_eq!(rig.heard(), "I Z[E]");
    }
}

#[test]
fn failed_transaction_takes_no_bind_of_an_empty_statement() {
    let mut rig = in_failed_transaction();
    rig.say(&[parse("", "", &[]), bind("", "", &[]), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "1 E[25P02] Z[E]");
}

#[test]
fn discard_all_stands_alone_in_its_batch() {
    let discard = [parse("", "discard all", &[]), bind("", "", &[]), execute("")].concat();
    for (first, tag, answers, heard) in [
        ("select 1", "SELECT 1", [error("34000"), ready('I')].concat(), "E[25001] Z[I]"),
        ("commit", "COMMIT", ready('I'), "C[DISCARD ALL.] Z[I]"),
    ] {
        let mut rig = Rig::fixed();
        let before = [parse("", first, &[]), bind("", "", &[]), execute("")].concat();
        rig.say(&[before, discard.clone(), sync()].concat());
        let ran = rig.answer(&[m('1', b""), m('2', b""), complete(tag)].concat());
        assert_eq!(ran, format!("1 2 C[{tag}.] 1 2"));
        assert_eq!(rig.answer(&answers), heard);
    }
}

#[test]
fn chain_that_was_skipped_does_not_give_the_tenant_of_set_local_away() {
    let mut rig = Rig::by_token();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&q("set local pgbulkhead.tenant_token = 'for 8'"));
    rig.heard();
    rig.say(&q("select bad; commit and chain"));
    rig.answer(&[error("22012"), ready('E')].concat());
    rig.say(&q("rollback to s"));
    rig.answer(&[complete("ROLLBACK"), ready('T')].concat());
    rig.say(&q("select tenant()"));
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[42501] Z[E]");
    rig.say(&q("set local pgbulkhead.tenant_token = 'for 9'"));
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25P02] Z[E]");
}

#[test]
fn name_that_a_later_batch_has_given_does_not_go_with_the_one_before_it() {
    let mut rig = in_transaction();
    let first = [bind("", "s", &[]), parse("", "commit", &[]), sync()].concat();
    rig.say(&[first, parse("", "rollback", &[]), sync()].concat());
    rig.answer(&[error("22P02"), ready('E'), m('1', b""), ready('E')].concat());
    let sent = rig.say(&[bind("", "", &[]), sync()].concat());
    assert!(sent.starts_with("B[.pgb_s"), "{sent}");
}

#[test]
fn taken_name_comes_before_the_failed_transaction_for_what_ends_it() {
    let mut rig = in_transaction();
    rig.say(&[parse("r", "rollback", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('T')].concat());
    rig.say(&q("select bad"));
    rig.answer(&[error("22012"), ready('E')].concat());
    rig.say(&[parse("s", "rollback", &[]), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[42P05] Z[E]");
}

#[test]
fn columns_of_a_fetch_are_those_of_the_cursor_that_there_is() {
    let mut rig = in_transaction();
    for _ in 0..2 {
        let sent = rig.say(&[parse("", "fetch 1 from c", &[]), m('D', b"S\0"), sync()].concat());
        assert!(sent.ends_with("P[.fetch 1 from c...] D[S.] S"), "{sent}");
        let known = if sent.starts_with("P[pgb_s") { m('1', b"") } else { Vec::new() };
        let answers = [known, m('1', b""), m('t', b"\0\0"), m('n', b""), ready('T')].concat();
        assert_eq!(rig.answer(&answers), "1 t[..] n Z[T]");
    }
}

#[test]
fn parse_that_a_failed_transaction_does_not_take_takes_the_unnamed_statement_away() {
    let mut rig = in_transaction();
    rig.say(&q("select bad"));
    rig.answer(&[error("22012"), ready('E')].concat());
    rig.say(&[parse("", "rollback", &[]), sync(), parse("", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('E')].concat());
    rig.answer(&[error("34000"), ready('E')].concat());
    rig.say(&[m('D', b"S\0"), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[26000] Z[E]");
}

#[test]
fn portals_end_where_a_query_chains_their_transaction() {
    let mut rig = in_transaction();
    rig.say(&[parse("d", "deallocate x", &[]), bind("p", "d", &[]), sync()].concat());
    assert_eq!(rig.heard(), "1 2 Z[T]");
    rig.say(&q("rollback and chain"));
    rig.answer(&[complete("ROLLBACK"), ready('T')].concat());
    rig.say(&[bind("p", "d", &[]), sync()].concat());
    assert_eq!(rig.heard(), "2 Z[T]");
}

#[test]
fn statement_behind_what_ends_a_failed_transaction_in_its_batch_is_bound() {
    let mut rig = in_failed_transaction();
    let end = [parse("", "rollback", &[]), bind("", "", &[]), execute("")].concat();
    rig.say(&[end, parse("", "deallocate s", &[]), bind("", "", &[]), sync()].concat());
    let answers = [m('1', b""), m('2', b""), complete("ROLLBACK"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "1 2 C[ROLLBACK.] 1 2 Z[I]");
}

#[test]
fn fetch_is_not_prepared_again_where_the_transaction_may_have_failed() {
    let mut rig = in_transaction();
    rig.say(&[parse("f", "fetch 1 from c", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('T')].concat());
    rig.say(&[bind("", "s", &[]), sync(), m('D', b"Sf\0"), sync()].concat());
    assert_eq!(*rig.session.want(), Want::Drain);
    rig.answer(&[error("22P02"), ready('E')].concat());
    assert_eq!(rig.sent(), "D[Spgb_s2.] S");
}
