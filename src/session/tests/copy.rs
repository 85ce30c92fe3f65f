//! COPY both ways, of simple and extended protocol.

use super::harness::*;
use super::*;

#[test]
fn copy_data_outside_copy_is_dropped() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&[m('d', b"1\t2\n"), m('c', b""), m('f', b"x\0")].concat()), "");
    assert_eq!(rig.say(&q("select 7")), "Q[select 7.]");
}

#[test]
fn copy_in_begins_with_the_servers_answer() {
    let mut rig = Rig::fixed();
    assert_eq!(rig.say(&[q("copy t from stdin"), m('d', b"1\n")].concat()), "Q[copy t from stdin.]");
    rig.answer(&m('G', b"\0\0\0"));
    assert_eq!(rig.sent(), "d[1.]");
    assert_eq!(rig.say(&[m('H', b""), m('d', b"2\n"), m('c', b"")].concat()), "d[2.] c");
    assert_eq!(rig.say(&m('d', b"3\n")), "");
    assert_eq!(rig.answer(&[complete("COPY 2"), ready('I')].concat()), "C[COPY 2.] Z[I]");
    assert!(rig.released());
}

#[test]
fn copy_of_the_extended_protocol_has_the_tenant_as_a_literal() {
    let mut rig = Rig::fixed();
    let batch = [parse("", "copy (select tenant()) to stdout", &[]), bind("", "", &[]), execute(""), sync()];
    let sent = rig.say(&batch.concat());
    assert!(sent.starts_with("P[.copy (select '1'::int) to stdout...] B[........]"), "{sent}");
    assert_eq!(rig.heard(), "");
    let answers = [
        m('1', b""),
        m('2', b""),
        m('H', b"\0\0\0"),
        m('d', b"1\n"),
        m('c', b""),
        complete("COPY 1"),
        ready('I'),
    ];
    assert_eq!(rig.answer(&answers.concat()), "1 2 H[...] d[1.] c C[COPY 1.] Z[I]");
    assert!(rig.released());
}

#[test]
fn copy_hides_the_column_that_is_added() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy added from stdin"));
    assert_eq!(rig.answer(&m('G', b"\0\0\x02\0\0\0\0")), "G[.....]");
    assert_eq!(
        rig.say(&[m('d', b"7"), m('d', b""), m('d', b"\n8"), m('c', b"")].concat()),
        "d[1.7.] d[1.8] c"
    );
}

#[test]
fn foreign_row_fails_the_copy_behind_the_rows_before_it() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy checked from stdin"));
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    assert_eq!(rig.say(&m('d', b"1\n2\n1\n")), "d[1.] f[pgbulkhead refused the data.]");
    assert_eq!(rig.say(&[m('d', b"1\n"), m('c', b"")].concat()), "", "the rest is dropped");
    let failed = error_saying("57014", "COPY from stdin failed: pgbulkhead refused the data");
    assert_eq!(rig.answer(&[failed, ready('I')].concat()), "E[42501] Z[I]");
    assert!(rig.released());
}

#[test]
fn an_error_of_an_earlier_row_comes_first() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy checked from stdin"));
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    rig.say(&m('d', b"1\n2\n"));
    assert_eq!(rig.answer(&[error("23505"), ready('I')].concat()), "E[23505] Z[I]");
    assert!(rig.released());
    rig.say(&q("copy checked from stdin"));
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    rig.say(&m('d', b"2\n"));
    let cancelled = error_saying("57014", "canceling statement due to user request");
    assert_eq!(rig.answer(&[cancelled, ready('I')].concat()), "E[57014] Z[I]");
}

#[test]
fn rows_of_an_inserting_copy_are_one_batch() {
    let mut rig = Rig::fixed();
    let sent = rig.say(&[q("copy inserted from stdin"), m('d', b"x\n")].concat());
    assert!(sent.starts_with("P[pgb_s") && sent.ends_with("] H"), "{sent}");
    assert_eq!(rig.heard(), "", "the client waits for the statement");
    assert_eq!(rig.answer(&m('1', b"")), "G[.....]");
    let row = "B[.pgb_s1.........x..] E[.....]";
    assert_eq!(rig.sent(), row);
    assert_eq!(rig.say(&m('d', b"y\n")), row.replace('x', "y"));
    assert_eq!(rig.answer(&[m('2', b""), complete("INSERT 0 1")].concat()), "");
    assert_eq!(rig.say(&m('c', b"")), "S");
    assert_eq!(rig.answer(&[m('2', b""), complete("INSERT 0 1"), ready('I')].concat()), "C[COPY 2.] Z[I]");
    assert!(rig.released());
}

#[test]
fn inserting_copy_that_fails_is_synced() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy inserted from stdin"));
    rig.answer(&m('1', b""));
    rig.say(&m('d', b"x\ny\n"));
    assert_eq!(rig.answer(&[m('2', b""), error("23503")].concat()), "E[23503]");
    assert_eq!(rig.sent(), "S");
    assert_eq!(rig.say(&[m('d', b"z\n"), m('c', b"")].concat()), "");
    assert_eq!(rig.answer(&ready('I')), "Z[I]");
    assert!(rig.released());
}

#[test]
fn client_gives_an_inserting_copy_up() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy inserted from stdin"));
    rig.answer(&m('1', b""));
    rig.say(&m('d', b"x\n"));
    let sent = rig.say(&m('f', b"no\0"));
    assert_eq!(sent, "E[pgbulkhead refused.....] S");
    let answers = [m('2', b""), complete("INSERT 0 1"), error("34000"), ready('I')];
    assert_eq!(rig.answer(&answers.concat()), "E[57014] Z[I]");
    assert!(rig.released());
}

#[test]
fn copy_of_a_later_statement_waits_for_its_turn() {
    let mut rig = Rig::fixed();
    rig.say(&[q("select 1; copy t from stdin"), m('d', b"1\n"), m('c', b"")].concat());
    let row = m('D', b"\0\x01\xff\xff\xff\xff");
    rig.answer(&[m('T', &[b"\0\x01a\0", &[0; 18][..]].concat()), row, complete("SELECT 1")].concat());
    assert_eq!(rig.sent(), "");
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    assert_eq!(rig.sent(), "d[1.] c");
}

#[test]
fn data_of_a_second_copy_may_come_early() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy t from stdin; copy t from stdin"));
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    let data = [m('d', b"1\n"), m('c', b""), m('d', b"2\n"), m('c', b"")];
    assert_eq!(rig.say(&data.concat()), "d[1.] c");
    rig.answer(&[complete("COPY 1"), m('G', b"\0\0\x01\0\0")].concat());
    assert_eq!(rig.sent(), "d[2.] c");
    assert_eq!(rig.answer(&[complete("COPY 1"), ready('I')].concat()), "C[COPY 1.] Z[I]");
    assert!(rig.released());
}

#[test]
fn copy_that_fails_is_over() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy t from stdin"));
    rig.answer(&m('G', b"\0\0\0"));
    rig.answer(&[error("22P02"), ready('I')].concat());
    assert_eq!(rig.say(&[m('d', b"1\n"), m('c', b"")].concat()), "");
}

#[test]
fn copy_data_is_taken_as_it_comes() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy added from stdin"));
    rig.answer(&m('G', b"\0\0\x02\0\0\0\0"));
    // A message of 1 GB, of which three rows come; it is given up within the fourth.
    assert_eq!(rig.say(b"d\x3f\xff\xff\xff7\n8"), "d[1.7.]");
    assert_eq!(rig.say(b"\n9\n"), "d[1.8.1.9.]");
    assert_eq!(rig.session.backlog(), 0);
}

#[test]
fn query_within_copy_in_is_fatal() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy t from stdin"));
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    assert_eq!(rig.say(&q("select 1")), "f[pgbulkhead refused the data.] H");
    assert_eq!(rig.heard(), "");
    let failed = error_saying("57014", "COPY from stdin failed: pgbulkhead refused the data");
    let heard = rig.answer(&[failed, ready('I')].concat());
    assert!(heard.starts_with("E[08P01] E[SFATAL.") && heard.contains(".C08P01."), "{heard}");
    assert!(!heard.contains('Z') && *rig.session.want() == Want::End, "{heard}");
    assert!(!rig.released());
}

#[test]
fn query_behind_data_that_has_failed_is_a_query() {
    let mut rig = Rig::fixed();
    rig.say(&q("copy t from stdin"));
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    assert_eq!(rig.say(&[m('d', b"1\n"), q("select 1")].concat()), "d[1.] f[pgbulkhead refused the data.] H");
    assert_eq!(rig.answer(&[error("22P02"), ready('I')].concat()), "E[22P02] Z[I]");
    assert_eq!(rig.sent(), "Q[select 1.]");
    rig.answer(&[m('T', &[b"\0\x01a\0", &[0; 18][..]].concat()), complete("SELECT 0"), ready('I')].concat());
    assert!(rig.released());
}

#[test]
fn sync_amid_data_is_answered_once_the_data_has_failed() {
    for (syncs, told) in [(0, ""), (1, " Z[I]"), (2, " Z[I] Z[I]")] {
        for by_query in [true, false] {
            let mut rig = Rig::fixed();
            let batch = [parse("", "copy t from stdin", &[]), bind("", "", &[]), execute("")].concat();
            rig.say(&if by_query { q("copy t from stdin") } else { batch });
            let begun = if by_query { Vec::new() } else { [m('1', b""), m('2', b"")].concat() };
            rig.answer(&[begun, m('G', b"\0\0\x01\0\0")].concat());
            assert_eq!(rig.say(&[sync(), m('d', b"x\n"), sync()].concat()), "S d[x.] S");
            assert_eq!(rig.say(&[m('c', b""), q("select 7")].concat()), "c H", "what follows waits");
            let first = if by_query { ready('I') } else { Vec::new() };
            let heard = rig.answer(&[error("22P02"), first].concat());
            assert_eq!(heard, if by_query { "E[22P02] Z[I]" } else { "E[22P02]" });
            assert_eq!(rig.sent(), "S C[Spgbulkhead refused.] S");
            assert!(!rig.released(), "nobody else gets the answers to come");
            let own = [ready('I'), m('3', b""), ready('I')].concat();
            assert_eq!(rig.answer(&[ready('I').repeat(syncs), own].concat()), told.trim_start());
            // The query is skipped where nothing has ended the batch.
            let runs = by_query || syncs > 0;
            assert_eq!(rig.sent(), if runs { "Q[select 7.]" } else { "" });
            if runs {
                let row = m('T', &[b"\0\x01a\0", &[0; 18][..]].concat());
                rig.answer(&[row, complete("SELECT 0"), ready('I')].concat());
            } else {
                assert_eq!(rig.say(&sync()), "");
                assert_eq!(rig.heard(), "Z[I]");
            }
            assert!(rig.released());
        }
    }
}

#[test]
fn data_that_comes_early_waits_behind_a_replay_of_settings() {
    let mut rig = Rig::fixed();
    rig.say(&q("set timezone to 'CET'"));
    rig.answer(&[complete("SET"), ready('I')].concat());
    assert!(rig.released());
    rig.heard();
    rig.say(&[q("copy t from stdin"), m('d', b"1\n"), m('c', b"")].concat());
    rig.answer(&[complete("SET"), ready('I')].concat());
    assert_eq!(rig.sent(), "");
    rig.answer(&m('G', b"\0\0\x01\0\0"));
    assert_eq!(rig.sent(), "d[1.] c");
}

#[test]
fn data_that_comes_before_an_earlier_batch_is_answered_waits_for_its_copy() {
    for answer in [complete("SELECT 1"), error("22012")] {
        let mut rig = Rig::fixed();
        let batch = |text: &str| [parse("", text, &[]), bind("", "", &[]), execute("")].concat();
        let copy = [batch("copy t from stdin"), m('d', b"1\n"), m('c', b""), sync()].concat();
        rig.say(&[batch("select 1"), sync(), copy].concat());
        rig.answer(&[m('1', b""), m('2', b""), answer, ready('I')].concat());
        assert_eq!(rig.sent(), "");
        rig.answer(&[m('1', b""), m('2', b""), m('G', b"\0\0\0")].concat());
        assert_eq!(rig.sent(), "d[1.] c S");
        assert_eq!(rig.answer(&[complete("COPY 1"), ready('I')].concat()), "C[COPY 1.] Z[I]");
    }
}
