//! Answers in their order: batches, flushes, several Syncs, names and portals.

use std::time::Duration;

use crate::messages::{bind, execute, flush, once, parse, query, sync, target};
use crate::stage::Stage;
use crate::support::wire::Connection;

const COUNT: &str = "select count(*) from documents";
const COUNTED: &str = "1 2 D[40] C[SELECT 1]";

/// W29, R8: a batch without Sync keeps its server connection, whatever was answered.
/// Fails when a lease ends while a batch is open.
pub fn a_lease_lasts_until_sync_is_answered(stage: &Stage) {
    let proxy = stage.narrow("w29");
    let mut client = Connection::of(&proxy, "tenant_a");
    client.say(&[parse("", COUNT, &[]), target(b'D', b'S', ""), flush()].concat());
    assert_eq!(client.hear_only(3), "1 t T");
    let mut others: Vec<_> = (0..50)
        .map(|_| {
            let mut other = Connection::of(&proxy, "tenant_b");
            other.say(&query(COUNT));
            other
        })
        .collect();
    assert!(others[0].is_silent_for(Duration::from_secs(1)));
    let locked = "select count(*) from pg_locks where relation = 'app.documents'::regclass and mode = 'AccessShareLock'";
    assert_eq!(stage.superuser().values(locked), [["1"]]);
    assert!(others.iter_mut().all(|other| other.is_silent_for(Duration::from_millis(1))));
    assert_eq!(client.ask(&sync()), "Z[I]");
    for other in &mut others {
        assert_eq!(other.hear(), "T D[40] C[SELECT 1] Z[I]");
    }
}

/// W30, R8: every answer belongs to its own message, an error skips to its own Sync, and each Sync is answered.
pub fn an_error_skips_to_its_own_sync(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let bad = once("select nothing from documents", &[]);
    let pipeline = [bad.clone(), once(COUNT, &[]), sync(), once(COUNT, &[]), sync()].concat();
    assert_eq!(client.ask(&pipeline), "E[42703] Z[I]");
    assert_eq!(client.hear(), format!("{COUNTED} Z[I]"));
    // The server's own error, the guard's, and the proxy's, each between others.
    for (sql, code) in [
        ("select 1/0 from documents", "22012"),
        ("insert into tags (tenant_id, id, label) values (2, 77, 'x')", "42501"),
        ("drop table documents", "42501"),
    ] {
        let pipeline = [
            once(COUNT, &[]),
            once(sql, &[]),
            once(COUNT, &[]),
            sync(),
            once(COUNT, &[]),
            sync(),
            once(COUNT, &[]),
            sync(),
        ];
        let first = client.ask(&pipeline.concat());
        assert!(first.starts_with(COUNTED) && first.ends_with(&format!("E[{code}] Z[I]")), "{sql}: {first}");
        assert_eq!(first.matches("C[").count(), 1, "{sql}: {first}");
        assert_eq!(client.hear(), format!("{COUNTED} Z[I]"));
        assert_eq!(client.hear(), format!("{COUNTED} Z[I]"));
    }
    assert!(client.is_silent_for(Duration::from_millis(100)));
}

/// W30, R8: the proxy's own Parse, which the client did not send, fails: one error for what the client did
/// send, and the next batch is answered as its own.
pub fn an_error_of_the_proxys_own_parse_is_the_clients_bind(stage: &Stage) {
    let mut superuser = stage.superuser();
    superuser.run(
        "create table app.w30 (tenant_id int not null, id int primary key);
         grant select on app.w30 to app_backend",
    );
    let proxy = stage.narrow("w30");
    let mut client = Connection::of(&proxy, "tenant_a");
    let count = "select count(*) from w30";
    assert_eq!(client.ask(&[parse("s1", count, &[]), sync()].concat()), "1 Z[I]");
    superuser.run("drop table app.w30");
    superuser.run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_backend'");
    std::thread::sleep(Duration::from_millis(200));
    let batch = [bind("", "s1", &[]), execute("", 0), once(COUNT, &[]), sync()].concat();
    // The batch behind it cannot rely on a statement that this one did not come to prepare.
    let next = [once(COUNT, &[]), sync()].concat();
    assert_eq!(client.ask(&[batch, next.clone(), next].concat()), "E[42P01] Z[I]");
    assert_eq!(client.hear(), format!("{COUNTED} Z[I]"));
    assert_eq!(client.hear(), format!("{COUNTED} Z[I]"));
    client.is_usable();
}

/// Flush brings the answers so far; several Syncs in one write are answered one by one.
pub fn flush_and_every_sync_are_answered(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    client.say(&[once(COUNT, &[]), flush()].concat());
    assert_eq!(client.hear_only(4), COUNTED);
    client.say(&[bind("", "", &[]), execute("", 0), flush()].concat());
    assert_eq!(client.hear_only(3), "2 D[40] C[SELECT 1]");
    assert_eq!(client.ask(&sync()), "Z[I]");
    let batch = [once(COUNT, &[]), sync()].concat();
    client.say(&batch.repeat(200));
    for _ in 0..200 {
        assert_eq!(client.hear(), format!("{COUNTED} Z[I]"));
    }
    client.say(&sync().repeat(100));
    for _ in 0..100 {
        assert_eq!(client.hear(), "Z[I]");
    }
    // An error, then Flush: it is told before Sync.
    client.say(&[once("select 1/0", &[]), flush()].concat());
    assert!(client.hear_only(3).contains("E[22012]"));
    assert_eq!(client.ask(&[flush(), sync()].concat()), "Z[I]");
    client.is_usable();
}

/// W37: names belong to a session; the server's statements and portals of others are out of reach.
pub fn names_are_the_sessions_own(stage: &Stage) {
    let proxy = stage.narrow("w37");
    let mut a = Connection::of(&proxy, "tenant_a");
    let mut b = Connection::of(&proxy, "tenant_b");
    assert_eq!(a.ask(&[parse("s1", COUNT, &[]), sync()].concat()), "1 Z[I]");
    for (bytes, code) in [
        (target(b'D', b'S', "s1"), "26000"),
        (bind("", "s1", &[]), "26000"),
        (execute("p1", 0), "34000"),
        (target(b'D', b'P', "p1"), "34000"),
    ] {
        assert_eq!(b.ask(&[bytes, sync()].concat()), format!("E[{code}] Z[I]"));
    }
    // Closing what is not there is no error (protocol, "Close").
    assert_eq!(b.ask(&[target(b'C', b'S', "s1"), target(b'C', b'P', "p1"), sync()].concat()), "3 3 Z[I]");
    for sql in ["execute s1", "execute pgb_s1", "fetch all from p1", "fetch all from pgb_p1"] {
        let answer = b.ask(&query(sql));
        assert!(answer.starts_with("E["), "{sql}: {answer}");
    }
    // The server's name of A's statement is no name of B's.
    assert_eq!(b.ask(&[bind("", "pgb_s1", &[]), sync()].concat()), "E[26000] Z[I]");
    let answer = b.ask(&query("deallocate all"));
    assert!(answer.ends_with("Z[I]"), "{answer}");
    assert_eq!(
        a.ask(&[bind("p1", "s1", &[]), execute("p1", 0), sync()].concat()),
        "2 D[40] C[SELECT 1] Z[I]"
    );
}

/// W38: a name is taken until it is closed; the unnamed statement is gone after a Parse that failed; a portal
/// outlives its statement.
pub fn names_end_as_postgresql_ends_them(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    assert_eq!(client.ask(&[parse("s1", COUNT, &[]), sync()].concat()), "1 Z[I]");
    assert_eq!(client.ask(&[parse("s1", "select 1", &[]), sync()].concat()), "E[42P05] Z[I]");
    assert_eq!(
        client.ask(&[bind("", "s1", &[]), execute("", 0), sync()].concat()),
        "2 D[40] C[SELECT 1] Z[I]"
    );
    for bad in ["select nothing from documents", "selec 1", "drop table documents"] {
        assert_eq!(client.ask(&[parse("", "select 1", &[]), sync()].concat()), "1 Z[I]");
        assert!(client.ask(&[parse("", bad, &[]), sync()].concat()).starts_with("E["));
        assert_eq!(client.ask(&[bind("", "", &[]), sync()].concat()), "E[26000] Z[I]", "after {bad}");
    }
    let bytes = [bind("p", "s1", &[]), target(b'C', b'S', "s1"), execute("p", 0), sync()].concat();
    assert_eq!(client.ask(&bytes), "2 3 D[40] C[SELECT 1] Z[I]");
    assert_eq!(client.ask(&[bind("", "s1", &[]), sync()].concat()), "E[26000] Z[I]");
    // Taken again, with another statement.
    let bytes = [parse("s1", "select 5", &[]), bind("", "s1", &[]), execute("", 0), sync()].concat();
    assert_eq!(client.ask(&bytes), "1 2 D[5] C[SELECT 1] Z[I]");
}

/// W39: rows of a portal go on within its transaction, and not beyond it.
pub fn a_portal_is_its_transactions(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let ids = "select id from documents order by id";
    for end in ["commit", "rollback"] {
        assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
        let bytes = [parse("", ids, &[]), bind("p", "", &[]), execute("p", 1), sync()].concat();
        assert_eq!(client.ask(&bytes), "1 2 D[1111001] s Z[T]");
        assert_eq!(client.ask(&[execute("p", 2), sync()].concat()), "D[1111002] D[1111003] s Z[T]");
        assert_eq!(
            client.ask(&query(&format!("{end}; select 1"))),
            format!("C[{}] T D[1] C[SELECT 1] Z[I]", end.to_uppercase())
        );
        assert_eq!(client.ask(&[execute("p", 0), sync()].concat()), "E[34000] Z[I]");
    }
    // Outside a transaction a portal lasts until Sync.
    let bytes = [parse("", ids, &[]), bind("p", "", &[]), execute("p", 1), execute("p", 1), sync()].concat();
    assert_eq!(client.ask(&bytes), "1 2 D[1111001] s D[1111002] s Z[I]");
    assert_eq!(client.ask(&[execute("p", 0), sync()].concat()), "E[34000] Z[I]");
    // A limit beyond the rows, and the row that is the last.
    let bytes =
        [parse("", ids, &[]), bind("p", "", &[]), execute("p", 100), execute("p", 1), sync()].concat();
    let answer = client.ask(&bytes);
    assert!(answer.contains("C[SELECT 40] ") && answer.ends_with(" C[SELECT 0] Z[I]"), "{answer}");
}

/// W40: what Describe tells is what is sent, also when a portal was closed or made again meanwhile.
pub fn a_row_description_is_never_stale(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let bytes = [parse("", COUNT, &[]), bind("p", "", &[]), target(b'C', b'P', "p"), execute("p", 0), sync()];
    assert_eq!(client.ask(&bytes.concat()), "1 2 3 E[34000] Z[I]");
    assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
    let bytes = [
        parse("one", "select id from documents order by id", &[]),
        parse("two", "select id, title from documents order by id", &[]),
        bind("p", "one", &[]),
        target(b'D', b'P', "p"),
        execute("p", 1),
        target(b'C', b'P', "p"),
        bind("p", "two", &[]),
        target(b'D', b'P', "p"),
        execute("p", 1),
        sync(),
    ];
    let answer = client.ask(&bytes.concat());
    assert_eq!(answer, "1 1 2 T D[1111001] s 3 2 T D[1111001|CANARY_A title 1] s Z[T]");
    let columns: Vec<_> =
        client.take_heard().into_iter().filter(|m| m.tag == b'T').map(|m| m.body[1]).collect();
    assert_eq!(columns[columns.len() - 2..], [1, 2]);
    // SQL closes a cursor of that name: the portal of the protocol is another one, or gone for both.
    let answer = client.ask(&query("close p"));
    assert!(answer == "E[34000] Z[E]" || answer == "C[CLOSE CURSOR] Z[T]", "{answer}");
    assert_eq!(client.ask(&query("rollback")), "C[ROLLBACK] Z[I]");
    client.is_usable();
}

/// W41: a Query within a batch is refused, or ends the unnamed portal as PostgreSQL does.
pub fn a_query_within_a_batch_does_not_mix_answers_up(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    client
        .say(&[parse("", COUNT, &[]), bind("", "", &[]), query("select 2"), execute("", 0), sync()].concat());
    let first = client.hear();
    if first.contains("E[08P01]") {
        assert!(first.ends_with("Z[I]"), "{first}");
    } else {
        assert_eq!(first, "1 2 T D[2] C[SELECT 1] Z[I]");
        assert_eq!(client.hear(), "E[34000] Z[I]");
    }
    assert!(!first.contains("D[40]"), "{first}");
    while !client.is_silent_for(Duration::from_millis(200)) {
        client.hear();
    }
    client.is_usable();
}
