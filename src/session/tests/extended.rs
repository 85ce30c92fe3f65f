//! Batches of the extended protocol.

use super::harness::*;
use super::*;

#[test]
fn tenant_is_the_parameter_behind_the_clients_own() {
    let mut rig = Rig::fixed();
    let batch = [
        parse("s", "select $1 where x = tenant()", &[23, 25]),
        bind("", "s", &["5", "6"]),
        execute(""),
        sync(),
    ];
    let sent = rig.say(&batch.concat());
    assert!(sent.contains("select $1 where x = $3::int"), "{sent}");
    assert!(sent.contains("B[.pgb_s1...") && sent.contains("....5....6....1"), "{sent}");
    let answers = [m('1', b""), m('2', b""), m('D', b"\0\0"), complete("SELECT 1"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "1 2 D[..] C[SELECT 1.] Z[I]");
    assert!(rig.released());
}

#[test]
fn wrong_number_of_values_is_refused_before_the_tenant_is_appended() {
    for values in [&["5", "6"][..], &[]] {
        let mut rig = Rig::fixed();
        rig.say(&[parse("s", "select $1, tenant()", &[]), sync()].concat());
        rig.answer(&[m('1', b""), ready('I')].concat());
        assert_eq!(rig.say(&[bind("", "s", values), execute(""), sync()].concat()), "");
        assert_eq!(rig.heard(), "E[08P01] Z[I]");
    }
}

#[test]
fn no_room_for_the_tenant_is_54000() {
    let mut rig = Rig::fixed();
    let mut limits = TERMS;
    limits.limits.statement = 1 << 20;
    rig.session.terms = limits;
    rig.say(&[parse("", "select tenant()", &vec![23; 65_535]), sync()].concat());
    assert_eq!(rig.heard(), "E[54000] Z[I]");
}

#[test]
fn parameter_description_hides_the_tenant() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("", "select $1, tenant()", &[]), m('D', b"S\0"), sync()].concat());
    let answers = [m('1', b""), m('t', b"\0\x02\0\0\0\x17\0\0\0\x17"), m('n', b""), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "1 t[......] n Z[I]");
}

#[test]
fn second_parse_of_a_text_is_answered_by_the_proxy() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("", "select 1", &[]), bind("", "", &[]), execute(""), sync()].concat());
    rig.answer(&[m('1', b""), m('2', b""), complete("SELECT 1"), ready('T')].concat());
    let sent = rig.say(&[parse("", "select 1", &[]), bind("", "", &[]), execute(""), sync()].concat());
    assert_eq!(sent, "B[.pgb_s1.......] E[.....] S");
    assert_eq!(rig.heard(), "", "it is said together with the server's answers");
    assert_eq!(
        rig.answer(&[m('2', b""), complete("SELECT 1"), ready('T')].concat()),
        "1 2 C[SELECT 1.] Z[T]"
    );
}

#[test]
fn held_answer_is_said_at_flush_and_at_sync() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), bind("", "s", &[]), execute(""), sync()].concat());
    rig.answer(&[m('1', b""), m('2', b""), complete("SELECT 1"), ready('T')].concat());
    for (end, said) in [(m('H', b""), "1"), (sync(), "1 Z[T]")] {
        rig.say(&parse("", "select 1", &[]));
        assert_eq!(rig.heard(), "");
        rig.say(&end);
        assert_eq!(rig.heard(), said);
    }
}

#[test]
fn proxys_own_parse_is_not_told() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    assert!(rig.released());
    let sent = rig.say(&[bind("", "s", &[]), execute(""), sync()].concat());
    assert!(sent.starts_with("P[pgb_s1.select 1...]"), "another connection: {sent}");
    let answers = [m('1', b""), m('2', b""), complete("SELECT 1"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "2 C[SELECT 1.] Z[I]");
}

#[test]
fn error_skips_to_its_own_sync_only() {
    let mut rig = Rig::fixed();
    let batch = |text: &str| [parse("", text, &[]), bind("", "", &[]), execute(""), sync()].concat();
    rig.say(&[batch("select bad"), batch("select good")].concat());
    assert_eq!(rig.answer(&[error("42703"), ready('I')].concat()), "E[42703] Z[I]");
    let answers = [m('1', b""), m('2', b""), complete("SELECT 1"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "1 2 C[SELECT 1.] Z[I]");
    assert!(rig.released());
    assert_eq!(rig.host.audit_room, 100, "the room of the statement that was skipped is given back");
}

#[test]
fn statement_whose_parse_failed_is_prepared_again() {
    let mut rig = Rig::fixed();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&[parse("s", "select bad", &[]), sync()].concat());
    rig.answer(&[error("42703"), ready('E')].concat());
    assert_eq!(rig.say(&[bind("", "s", &[]), sync()].concat()), "E[pgbulkhead refused.....] S");
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[26000] Z[E]");
    // AND CHAIN: another transaction is open.
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('T')].concat());
    assert!(rig.say(&parse("s", "select bad", &[])).starts_with("P[pgb_s1."));
}

#[test]
fn statement_of_a_later_batch_waits_for_a_parse_that_may_be_skipped() {
    let mut rig = Rig::fixed();
    let first = [parse("", "select nothing", &[]), bind("", "", &[]), parse("a", "select 2", &[]), sync()];
    let second = [parse("b", "select 2", &[]), bind("", "b", &[]), sync()];
    let sent = rig.say(&[first.concat(), second.concat()].concat());
    assert_eq!(sent.matches("select 2").count(), 1, "{sent}");
    assert!(sent.ends_with(" S") && sent.matches(" S").count() == 1, "{sent}");
    assert_eq!(rig.answer(&[m('1', b""), error("42703"), ready('I')].concat()), "1 E[42703] Z[I]");
    let sent = rig.sent();
    assert_eq!(sent.matches("select 2").count(), 1, "{sent}");
    assert_eq!(rig.answer(&[m('1', b""), m('2', b""), ready('I')].concat()), "1 2 Z[I]");
}

#[test]
fn refusal_in_a_batch_waits_for_its_turn() {
    let mut rig = Rig::fixed();
    let first = [parse("", "select 1", &[]), bind("", "", &[]), execute("")].concat();
    let sent = rig.say(&[first, parse("", "refuse !", &[]), bind("", "", &[]), sync()].concat());
    assert!(sent.ends_with("E[.....] E[pgbulkhead refused.....] S"), "{sent}");
    let answers = [m('1', b""), m('2', b""), complete("SELECT 1"), error("34000"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "1 2 C[SELECT 1.] E[42501] Z[I]");
}

#[test]
fn names_are_the_sessions_own() {
    let mut rig = Rig::fixed();
    let first = [parse("s1", "select 1", &[]), bind("p1", "s1", &[]), sync()].concat();
    let sent = rig.say(&first);
    assert!(sent.contains("B[pgb_pp1.pgb_s1.") && !sent.contains("[s1"), "{sent}");
    rig.answer(&[m('1', b""), m('2', b""), ready('T')].concat());
    rig.say(&[parse("s1", "select 2", &[]), sync()].concat());
    assert_eq!(rig.answer(&[m('1', b""), error("34000"), ready('E')].concat()), "E[42P05] Z[E]");
    let mut other = Rig::fixed();
    other.say(&[execute("p1"), sync()].concat());
    assert_eq!(other.heard(), "E[34000] Z[I]");
    other.say(&[bind("", "s1", &[]), sync()].concat());
    assert_eq!(other.heard(), "E[26000] Z[I]");
}

#[test]
fn names_are_bounded() {
    let mut rig = Rig::fixed();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&[parse("", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('T')].concat());
    for number in 0..4096 {
        rig.say(&[parse(&format!("s{number}"), "select 1", &[]), sync()].concat());
    }
    rig.heard();
    rig.say(&[parse("more", "select 1", &[]), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[54000] Z[E]");
}

#[test]
fn portals_end_with_their_transaction() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), bind("p", "s", &[]), execute("p"), sync()].concat());
    rig.answer(&[m('1', b""), m('2', b""), m('s', b""), ready('I')].concat());
    rig.say(&[execute("p"), sync()].concat());
    assert_eq!(rig.heard(), "E[34000] Z[I]");
}

#[test]
fn flush_without_sync_keeps_the_lease() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("", "select 1", &[]), m('D', b"S\0"), m('H', b"")].concat());
    rig.answer(&[m('1', b""), m('t', b"\0\0"), m('n', b"")].concat());
    assert!(!rig.released());
    assert!(rig.session.client_gone(&mut rig.host).is_none(), "not clean: it must be closed");
}

#[test]
fn statement_whose_end_nobody_hears_is_accounted_for() {
    let mut rig = Rig::fixed();
    let room = rig.host.audit_room;
    rig.say(
        &[parse("", "select 1", &[]), bind("", "", &[]), execute(""), bind("", "", &[]), execute(""), sync()]
            .concat(),
    );
    assert!(rig.session.client_gone(&mut rig.host).is_none());
    assert_eq!(rig.host.accounts, ["1 ran 0 08006", "1 ran 0 08006"]);
    assert_eq!(rig.host.audit_room, room, "each was settled into the room that it had reserved");

    let mut rig = Rig::fixed();
    rig.say(&q("select 1; select 2"));
    let refusal = Refusal::new(SqlState::CONNECTION_FAILURE, Rule("server"), "gone");
    let mut io = Io { client: &mut rig.client, server: &mut rig.server };
    rig.session.server_lost(&mut rig.host, &mut io, &refusal);
    assert_eq!(rig.host.accounts, ["1 ran 0 08006", "1 ran 0 08006"]);
}

#[test]
fn query_within_a_batch_is_refused() {
    let mut rig = Rig::fixed();
    let sent = rig.say(&[parse("", "select 1", &[]), bind("", "", &[]), q("select 2")].concat());
    assert!(sent.ends_with("E[pgbulkhead refused.....] S"), "{sent}");
    let answers = [m('1', b""), m('2', b""), error("34000"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "1 2 E[08P01] Z[I]");
}

#[test]
fn statement_whose_cached_plan_is_stale_is_prepared_anew() {
    let mut rig = Rig::fixed();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('T')].concat());
    rig.say(&[bind("", "s", &[]), sync()].concat());
    let stale =
        m('E', b"SERROR\0C0A000\0Mcached plan must not change result type\0RRevalidateCachedQuery\0\0");
    rig.answer(&[stale, ready('E')].concat());
    // AND CHAIN: another transaction is open.
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('T')].concat());
    let sent = rig.say(&[bind("", "s", &[]), sync()].concat());
    // By another name: the old one is stale on other server connections too.
    assert!(sent.starts_with("C[Spgb_s1.] P[pgb_s2."), "{sent}");
}

#[test]
fn pipeline_without_end_waits_for_answers() {
    let mut rig = Rig::fixed();
    let mut pipeline = [parse("", "select 1", &[]), sync()].concat();
    pipeline.extend(sync().repeat(20_000));
    rig.say(&pipeline);
    assert_eq!(*rig.session.want(), Want::Drain);
    assert!(rig.session.backlog() > 0);
}

#[test]
fn plan_of_another_epoch_is_not_used_at_bind() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    rig.host.generation = 2;
    rig.say(&[bind("", "s", &[]), sync()].concat());
    let Phase::Active(active) = &rig.session.phase else { panic!() };
    assert_eq!(active.statements["s"].epoch(), 2);
}

#[test]
fn what_waits_for_answers_within_a_batch_asks_for_them() {
    let mut rig = Rig::fixed();
    let discard = [parse("d", "discard all", &[]), bind("", "d", &[]), execute("")].concat();
    let sent = rig.say(&[parse("", "select 1", &[]), discard].concat());
    assert!(sent.ends_with(" H") && *rig.session.want() == Want::Drain, "{sent}");
}

/// A rig whose session has a statement by this name, in an open transaction.
fn in_transaction_with(name: &str) -> Rig {
    let mut rig = Rig::fixed();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&[parse(name, "select 1", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('T')].concat());
    rig
}

#[test]
fn simple_query_destroys_the_unnamed_statement() {
    let mut rig = in_transaction_with("");
    rig.say(&q("select 2"));
    rig.answer(&[m('T', b"\0\0"), complete("SELECT 0"), ready('T')].concat());
    rig.say(&[bind("", "", &[]), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[26000] Z[E]");
}

#[test]
fn failed_transaction_takes_the_parse_of_what_ends_it_only() {
    let mut rig = in_transaction_with("s");
    rig.say(&[parse("r", "rollback", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('T')].concat());
    rig.say(&q("select bad"));
    rig.answer(&[error("42703"), ready('E')].concat());
    rig.say(&[parse("", "select 1", &[]), bind("", "", &[]), execute(""), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25P02] Z[E]");
    rig.say(&[parse("", "rollback", &[]), sync()].concat());
    assert_eq!(rig.heard(), "1 Z[E]");
}

#[test]
fn names_come_back_that_a_skipped_message_would_have_changed() {
    let mut rig = in_transaction_with("a");
    let names = [parse("b", "select 1", &[]), m('C', b"Sa\0"), parse("a", "select 1", &[]), m('C', b"Sa\0")];
    let batch = [parse("", "select nothing", &[]), bind("", "", &[]), names.concat(), sync()];
    rig.say(&batch.concat());
    assert_eq!(rig.answer(&[m('1', b""), error("42703"), ready('E')].concat()), "1 E[42703] Z[E]");
    rig.say(&q("rollback"));
    rig.answer(&[complete("ROLLBACK"), ready('I')].concat());
    assert!(rig.released());
    rig.say(&[bind("", "b", &[]), sync()].concat());
    assert_eq!(rig.heard(), "E[26000] Z[I]");
    let sent = rig.say(&[bind("", "a", &[]), sync()].concat());
    assert!(sent.contains("B[.pgb_s1."), "{sent}");
}

#[test]
fn portal_that_a_sync_may_have_closed_is_bound_again_once_that_is_known() {
    let mut rig = Rig::fixed();
    let second = [bind("p", "s", &[]), sync()].concat();
    let sent = rig.say(&[parse("s", "select 1", &[]), bind("p", "s", &[]), sync(), second].concat());
    assert_eq!(sent.matches("B[").count(), 1, "{sent}");
    assert_eq!(rig.answer(&[m('1', b""), m('2', b""), ready('I')].concat()), "1 2 Z[I]");
    assert!(rig.sent().contains("B[pgb_pp.pgb_s1."));
}

#[test]
fn statement_that_the_proxy_runs_runs_once_for_a_portal() {
    let mut rig = in_transaction_with("s");
    rig.say(&[parse("", "deallocate s", &[]), bind("", "", &[]), execute(""), execute(""), sync()].concat());
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "1 2 C[DEALLOCATE.] E[55000] Z[E]");
}

#[test]
fn what_is_refused_in_a_failed_transaction_is_written_down_by_its_own_reason() {
    let mut rig = in_transaction_with("s");
    rig.say(&q("select bad"));
    rig.answer(&[error("42703"), ready('E')].concat());
    rig.host.accounts.clear();
    rig.say(&q("refuse this"));
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[25P02] Z[E]");
    assert_eq!(rig.host.accounts, ["1 refused 42501"]);
}

#[test]
fn portal_that_is_not_on_the_server_ends_with_its_transaction_within_a_batch() {
    let mut rig = Rig::fixed();
    let here = [parse("d", "deallocate nosuch", &[]), bind("p", "d", &[])].concat();
    let ended = [parse("", "commit", &[]), bind("", "", &[]), execute("")].concat();
    rig.say(&[here, ended, bind("p", "d", &[]), sync()].concat());
    let heard = rig.answer(&[m('1', b""), m('2', b""), complete("COMMIT"), ready('I')].concat());
    assert_eq!(heard, "1 2 1 2 C[COMMIT.] 2 Z[I]");
}
