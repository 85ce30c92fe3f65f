//! A prepared statement whose columns have changed, byte by byte.

use super::harness::*;
use super::*;

fn stale() -> Vec<u8> {
    m('E', b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0RRevalidateCachedQuery\0\0")
}

fn describe(what: &[u8]) -> Vec<u8> {
    m('D', &[what, b"\0"].concat())
}

/// A session whose connection has the statement `s` prepared.
fn prepared() -> Rig {
    let mut rig = Rig::fixed();
    rig.say(&[parse("s", "select 1", &[]), sync()].concat());
    assert_eq!(rig.answer(&[m('1', b""), ready('I')].concat()), "1 Z[I]");
    rig.host.free = 1;
    rig
}

/// The connection comes back with what is prepared on it.
fn same_connection(rig: &mut Rig) {
    let Phase::Active(active) = &mut rig.session.phase else { panic!() };
    active.server = active.take_released();
    rig.host.free = 0;
}

#[test]
fn batch_that_asks_for_columns_is_sent_again_unseen() {
    let mut rig = prepared();
    same_connection(&mut rig);
    let batch = [bind("", "s", &[]), describe(b"P"), execute(""), sync()].concat();
    let sent = rig.say(&batch);
    assert_eq!(rig.answer(&stale()), "", "the client is told nothing");
    let again = rig.sent();
    assert!(again.starts_with("C[Spgb_s1.] P[pgb_s1.") && again.ends_with(&sent), "{again} after {sent}");
    assert_eq!(rig.answer(&ready('I')), "", "this is of the batch that failed");
    let answers = [
        m('3', b""),
        m('1', b""),
        m('2', b""),
        m('T', b"\0\0"),
        m('D', b"\0\0"),
        complete("SELECT 1"),
        ready('I'),
    ];
    assert_eq!(rig.answer(&answers.concat()), "2 T[..] D[..] C[SELECT 1.] Z[I]");
    assert!(rig.released());
    assert_eq!(rig.host.accounts, ["1 ran 1 "]);
}

#[test]
fn described_statement_is_prepared_anew_unseen() {
    let mut rig = prepared();
    same_connection(&mut rig);
    rig.say(&[parse("t", "select 1", &[]), describe(b"St"), sync()].concat());
    // PostgreSQL tells the parameters before it looks at the columns.
    assert_eq!(rig.answer(&[m('t', b"\0\0"), stale()].concat()), "1 t[..]");
    assert_eq!(rig.sent(), "C[Spgb_s1.] P[pgb_s1.select 1...] D[Spgb_s1.] S");
    let answers = [ready('I'), m('3', b""), m('1', b""), m('t', b"\0\0"), m('T', b"\0\0"), ready('I')];
    assert_eq!(rig.answer(&answers.concat()), "T[..] Z[I]");
    assert!(rig.released());
}

#[test]
fn batch_is_not_sent_a_third_time() {
    let mut rig = prepared();
    same_connection(&mut rig);
    rig.say(&[bind("", "s", &[]), describe(b"P"), execute(""), sync()].concat());
    rig.answer(&[stale(), ready('I'), m('3', b""), m('1', b"")].concat());
    rig.sent();
    assert_eq!(rig.answer(&[stale(), ready('I')].concat()), "E[0A000] Z[I]");
    assert_eq!(rig.sent(), "");
}

#[test]
fn what_has_begun_to_run_is_not_sent_again() {
    // In a transaction, after another statement of the batch, before another batch, without asking for columns.
    let asking = [bind("", "s", &[]), describe(b"P"), execute("")].concat();
    let first = [parse("", "select 'x'", &[]), bind("", "", &[]), execute("")].concat();
    let first_answers = [m('1', b""), m('2', b""), complete("SELECT 0")].concat();
    let cases = [
        ([first, asking.clone(), sync()].concat(), first_answers),
        ([asking.clone(), sync(), asking, sync()].concat(), Vec::new()),
        ([bind("", "s", &[]), execute(""), sync()].concat(), Vec::new()),
    ];
    for (batch, answers) in cases {
        let mut rig = prepared();
        same_connection(&mut rig);
        rig.say(&batch);
        let heard = rig.answer(&[answers, stale()].concat());
        assert!(heard.ends_with("E[0A000]"), "{heard}");
        assert_eq!(rig.sent(), "");
    }
}
