//! PREPARE, EXECUTE, DEALLOCATE and DISCARD in SQL, and settings across savepoints, by byte strings.

use super::*;

fn prepared(rig: &mut Rig, text: &str) {
    rig.say(&q(text));
    assert_eq!(rig.answer(&[m('1', b""), ready('I')].concat()), "C[PREPARE.] Z[I]");
    assert!(rig.released());
}

#[test]
fn statement_is_prepared_on_the_server_before_its_name_is_given() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&q("prepare p as select $1, tenant()")), "P[pgb_s1.select $1, $2::int...........] S");
    assert_eq!(rig.heard(), "");
    assert_eq!(rig.answer(&[m('1', b""), ready('I')].concat()), "C[PREPARE.] Z[I]");
    assert!(rig.released());
    rig.say(&q("prepare p as select $1"));
    assert_eq!(rig.heard(), "E[42P05] Z[I]");
}

#[test]
fn statement_that_the_server_refuses_gets_no_name() {
    let mut rig = Rig::fixed();
    rig.say(&q("prepare p as select $1; select 1"));
    assert_eq!(rig.answer(&[error("42883"), ready('I')].concat()), "E[42883] Z[I]");
    assert_eq!(rig.sent(), "");
    assert!(rig.released());
    rig.say(&q("execute p 1"));
    assert_eq!(rig.heard(), "E[26000] Z[I]");
}

#[test]
fn execute_goes_by_the_servers_name_with_the_tenant_behind_the_values() {
    let mut rig = Rig::fixed();
    prepared(&mut rig, "prepare p as select $1, tenant()");
    let sent = rig.say(&q("execute p 5"));
    assert!(sent.starts_with("P[pgb_s1."), "{sent}");
    assert_eq!(rig.answer(&[m('1', b""), ready('I')].concat()), "");
    assert_eq!(rig.sent(), "Q[execute pgb_s15'1'.]");
    let rows = [m('T', b"\0\0"), complete("SELECT 0"), ready('I')].concat();
    assert_eq!(rig.answer(&rows), "T[..] C[SELECT 0.] Z[I]");
    assert!(rig.released());
    rig.say(&q("execute p"));
    assert_eq!(rig.heard(), "E[42601] Z[I]");
}

#[test]
fn execute_needs_a_tenant_where_its_statement_does() {
    let mut rig = Rig::by_token();
    prepared(&mut rig, "prepare p as select $1, tenant()");
    rig.say(&q("execute p 1"));
    assert_eq!(rig.heard(), "E[42501] Z[I]");
    rig.say(&q("set pgbulkhead.tenant_token = 'for 7'"));
    rig.heard();
    rig.released();
    rig.say(&q("execute p 1"));
    rig.answer(&[m('1', b""), ready('I')].concat());
    assert_eq!(rig.sent(), "Q[execute pgb_s11'7'.]");
}

#[test]
fn names_of_both_protocols_are_the_same() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select $1, tenant()", &[23]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    rig.released();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    rig.say(&q("execute s 5"));
    rig.answer(&[m('1', b""), ready('T')].concat());
    assert_eq!(rig.sent(), "Q[execute pgb_s15'1'.]");
    rig.answer(&[m('T', b"\0\0"), complete("SELECT 0"), ready('T')].concat());
    rig.say(&q("deallocate s"));
    assert_eq!(rig.heard(), "C[DEALLOCATE.] Z[T]");
    rig.say(&q("prepare s as select $1"));
    rig.answer(&[m('1', b""), ready('T')].concat());
    let sent = rig.say(&[bind("", "s", &["6"]), execute(""), sync()].concat());
    assert!(sent.starts_with("B[.pgb_s2."), "{sent}");
}

#[test]
fn names_change_when_their_statements_turn_comes() {
    let mut rig = Rig::fixed();
    rig.say(&q("select 1; prepare p as select 1"));
    rig.answer(&[m('1', b""), ready('I')].concat());
    assert_eq!(rig.sent(), "Q[select 1.]");
    assert_eq!(rig.answer(&[error("22012"), ready('I')].concat()), "E[22012] Z[I]");
    rig.released();
    rig.say(&q("execute p"));
    assert_eq!(rig.heard(), "E[26000] Z[I]");
    rig.say(&q("prepare p as select 1; execute p; deallocate p"));
    assert_eq!(rig.answer(&[m('1', b""), ready('I')].concat()), "C[PREPARE.]");
    assert_eq!(rig.sent(), "Q[execute pgb_s1.]");
    let answers = [m('T', b"\0\0"), complete("SELECT 0"), ready('I')].concat();
    assert_eq!(rig.answer(&answers), "T[..] C[SELECT 0.] C[DEALLOCATE.] Z[I]");
    rig.released();
    rig.say(&q("execute p"));
    assert_eq!(rig.heard(), "E[26000] Z[I]");
}

#[test]
fn extended_execute_binds_the_statement_behind_its_name() {
    let mut rig = Rig::fixed();
    let batch =
        [parse("", "prepare p as select $1, tenant()", &[]), bind("", "", &[]), execute(""), sync()].concat();
    let sent = rig.say(&batch);
    assert!(sent.starts_with("P[pgb_s1.") && sent.ends_with(" S"), "{sent}");
    assert_eq!(rig.answer(&[m('1', b""), ready('I')].concat()), "1 2 C[PREPARE.] Z[I]");
    rig.released();
    let sent = rig.say(&[parse("", "execute p 7", &[]), bind("", "", &[]), execute(""), sync()].concat());
    assert!(sent.contains("P[.execute pgb_s17'1'...] B[....."), "{sent}");
    let answers = [m('1', b""), m('1', b""), m('2', b""), m('D', b"\0\0"), complete("SELECT 1"), ready('I')];
    assert_eq!(rig.answer(&answers.concat()), "1 2 D[..] C[SELECT 1.] Z[I]");
    assert!(rig.released());
    assert_eq!(rig.host.accounts, ["1 ran 1 "]);
}

#[test]
fn what_changes_the_session_is_not_executed_by_name() {
    for text in ["commit", "set timezone to 'CET'", "copy t to stdout", "savepoint s"] {
        let mut rig = Rig::fixed();
        let sent = rig.say(&[parse("s", text, &[]), sync()].concat());
        if !sent.is_empty() {
            rig.answer(&[m('1', b""), ready('I')].concat());
        }
        rig.released();
        rig.heard();
        rig.say(&q("execute s"));
        assert_eq!(rig.heard(), "E[0A000] Z[I]", "{text}");
    }
}

#[test]
fn discard_all_forgets_names_and_settings() {
    let mut rig = Rig::fixed();
    prepared(&mut rig, "prepare p as select 1");
    rig.say(&q("set timezone to 'CET'"));
    rig.answer(&[complete("SET"), ready('I')].concat());
    rig.released();
    rig.say(&q("begin; discard all"));
    assert_eq!(rig.heard(), "E[25001] Z[I]");
    assert_eq!(rig.say(&q("discard all")), "");
    assert_eq!(rig.heard(), "C[DISCARD ALL.] Z[I]");
    rig.say(&q("execute p"));
    assert_eq!(rig.heard(), "E[26000] Z[I]");
    assert_eq!(rig.say(&q("select 1")), "Q[select 1.]");
}

#[test]
fn setting_behind_a_savepoint_goes_with_it() {
    let mut rig = Rig::fixed();
    let transaction = "begin; savepoint s; set timezone to 'CET'; rollback to s; set jit to 'on'; commit";
    rig.say(&q(transaction));
    let tags = ["BEGIN", "SAVEPOINT", "SET", "ROLLBACK", "SET", "COMMIT"];
    let answers: Vec<u8> = tags.iter().flat_map(|tag| complete(tag)).chain(ready('I')).collect();
    rig.answer(&answers);
    assert!(rig.released());
    let sent = rig.say(&q("select 1"));
    assert_eq!(sent, "Q[SET jit TO 'on';.] Q[select 1.]");
}

#[test]
fn held_cursor_keeps_its_lease_until_it_is_closed() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&q("hold c")), "Q[hold c.]");
    rig.answer(&[complete("DECLARE CURSOR"), ready('I')].concat());
    assert!(!rig.released());
    rig.say(&q("fetch c"));
    rig.answer(&[m('T', b"\0\0"), complete("FETCH 0"), ready('I')].concat());
    assert!(!rig.released());
    rig.say(&q("close c"));
    rig.answer(&[complete("CLOSE CURSOR"), ready('I')].concat());
    assert!(rig.released());
}

#[test]
fn cursor_of_a_failed_transaction_is_not_held() {
    let mut rig = Rig::fixed();
    rig.say(&q("hold c; select 1"));
    rig.answer(&[complete("DECLARE CURSOR"), error("22012"), ready('I')].concat());
    assert!(rig.released());
    rig.say(&q("begin; hold c; rollback"));
    let tags = ["BEGIN", "DECLARE CURSOR", "ROLLBACK"];
    let answers: Vec<u8> = tags.iter().flat_map(|tag| complete(tag)).chain(ready('I')).collect();
    rig.answer(&answers);
    assert!(rig.released());
}

#[test]
fn connection_with_a_held_cursor_does_not_go_back_when_its_client_does() {
    let mut rig = Rig::fixed();
    rig.say(&q("hold c"));
    rig.answer(&[complete("DECLARE CURSOR"), ready('I')].concat());
    assert!(rig.session.client_gone(&mut rig.host).is_none());
}

#[test]
fn cursors_are_closed_before_a_connection_is_another_sessions() {
    let mut rig = Rig::fixed();
    rig.say(&q("hold c; close c"));
    rig.answer(&[complete("DECLARE CURSOR"), complete("CLOSE CURSOR"), ready('I')].concat());
    let server = rig.session.take_released().unwrap();
    assert!(server.cursors);
    let mut other = Rig::fixed();
    other.host.free = 0;
    other.say(&q("select 1"));
    let mut io = Io { client: &mut other.client, server: &mut other.server };
    other.session.lease_granted(&mut other.host, &mut io, server);
    assert_eq!(other.sent(), "Q[CLOSE ALL;.] Q[select 1.]");
}

#[test]
fn held_cursor_is_not_read_for_another_tenant() {
    let mut rig = Rig::by_token();
    rig.say(&q("set pgbulkhead.tenant_token = 'for 7'"));
    rig.say(&q("hold c"));
    rig.answer(&[complete("DECLARE CURSOR"), ready('I')].concat());
    rig.say(&q("set pgbulkhead.tenant_token = 'for 8'"));
    rig.heard();
    assert_eq!(rig.say(&q("fetch c")), "");
    assert_eq!(rig.heard(), "E[42501] Z[I]");
    rig.say(&[parse("", "fetch c", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    rig.say(&[bind("", "", &[]), execute(""), sync()].concat());
    assert_eq!(rig.heard(), "E[42501] Z[I]");
    assert_eq!(rig.say(&q("close c")), "Q[close c.]");
}

/// One message of a session that is all by itself in a batch.
fn alone(rig: &mut Rig, message: Vec<u8>, answers: &[Vec<u8>]) -> String {
    rig.say(&[message, sync()].concat());
    if !answers.is_empty() {
        rig.answer(&answers.concat());
    }
    rig.heard()
}

#[test]
fn execute_of_no_statement_fails_when_it_is_run() {
    let mut rig = Rig::fixed();
    let batch = [parse("s", "execute p 1", &[]), bind("", "s", &[]), m('D', b"P\0"), execute(""), sync()];
    rig.say(&batch.concat());
    assert_eq!(rig.heard(), "1 2 n E[26000] Z[I]");
    rig.say(&[m('D', b"Ss\0"), sync()].concat());
    assert_eq!(rig.heard(), "t[..] n Z[I]");
}

#[test]
fn execute_with_a_wrong_count_fails_when_it_is_run_and_is_never_sent() {
    let mut rig = Rig::fixed();
    rig.say(&[parse("p", "select $1, tenant()", &[]), sync()].concat());
    rig.answer(&[m('1', b""), ready('I')].concat());
    assert!(rig.comes_back());
    let sent = rig.say(&[parse("", "execute p 1 2", &[]), bind("", "", &[]), execute("")].concat());
    assert!(sent.ends_with("B[.pgb_s1...............] E[pgbulkhead refused.....]"), "{sent}");
    let answers = [m('2', b""), error("34000")];
    assert_eq!(rig.answer(&answers.concat()), "1 2 E[42601]");
}

#[test]
fn execute_whose_statement_has_gone_since_its_bind_is_not_run() {
    let mut rig = Rig::fixed();
    rig.say(&q("begin"));
    rig.answer(&[complete("BEGIN"), ready('T')].concat());
    alone(&mut rig, parse("p", "select $1", &[]), &[m('1', b""), ready('T')]);
    let bound = [parse("s", "execute p 1", &[]), bind("c", "s", &[])].concat();
    alone(&mut rig, bound, &[m('1', b""), m('2', b""), ready('T')]);
    alone(&mut rig, [parse("", "deallocate p", &[]), bind("", "", &[]), execute("")].concat(), &[]);
    let described = alone(&mut rig, m('D', b"Pc\0"), &[]);
    assert_eq!(described, "");
    assert_eq!(rig.answer(&[error("34000"), ready('E')].concat()), "E[26000] Z[E]");
    let sent = rig.say(&[execute("c"), sync()].concat());
    assert!(sent.contains("pgb_pc"), "the server says that the transaction has failed: {sent}");
}
