//! A BEGIN that waits for the first statement of its transaction.

use std::time::Duration;

use crate::messages::{bind, execute, flush, once, parse, query, sync};
use crate::relay::Relay;
use crate::rng::Rng;
use crate::stage::Stage;
use crate::support::wire::Connection;

const OWN: &str = "select tenant_id, count(*) from documents group by 1";
const OF_A: &str = "T D[1|40] C[SELECT 1]";
const INSERT: &str = "insert into tags (id, label) values (56, 'CANARY_A begun')";
const INSERTED: &str = "select count(*) from app.tags where id = 56";

/// W29: a client that idles behind its BEGIN keeps no server connection from others, and none at all where nothing
/// happens in its transaction.
/// Fails when BEGIN leases.
pub fn a_transaction_that_has_done_nothing_keeps_no_connection(stage: &Stage) {
    let proxy = stage.narrow("begun");
    let mut idlers: Vec<_> = (0..5).map(|_| Connection::of(&proxy, "tenant_a")).collect();
    for idler in &mut idlers {
        assert_eq!(idler.ask(&query("begin")), "C[BEGIN] Z[T]");
    }
    let mut other = Connection::of(&proxy, "tenant_b");
    assert_eq!(other.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
    // Whoever has the one connection lets the others wait.
    let mut first = idlers.pop().expect("an idler");
    assert_eq!(first.ask(&query(OWN)), format!("{OF_A} Z[T]"));
    for (idler, end) in idlers.iter_mut().zip(["commit", "rollback", "end", "abort"]) {
        let tag = if matches!(end, "commit" | "end") { "COMMIT" } else { "ROLLBACK" };
        assert_eq!(idler.ask(&query(end)), format!("C[{tag}] Z[I]"));
        assert_eq!(idler.ask(&query("begin")), "C[BEGIN] Z[T]");
    }
    let mut second = idlers.pop().expect("an idler");
    second.say(&query(OWN));
    assert!(second.is_silent_for(Duration::from_millis(200)));
    assert_eq!(first.ask(&query("commit")), "C[COMMIT] Z[I]");
    assert_eq!(second.hear(), format!("{OF_A} Z[T]"));
}

/// The server's transaction is the client's: what is done in it is undone together, in both protocols, and with the modes
/// and settings that it was begun with.
pub fn a_transaction_begins_with_its_first_statement(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    let firsts: [Vec<u8>; 4] = [
        query(INSERT),
        [once(INSERT, &[]), sync()].concat(),
        query(&format!("prepare i as {INSERT}; execute i; deallocate i")),
        query(&format!("savepoint s; {INSERT}")),
    ];
    for (first, done) in firsts.iter().zip([1, 2, 3, 4]) {
        for (end, kept) in [("rollback", "0"), ("commit", "1")] {
            assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
            let answer = client.ask(first);
            assert!(answer.contains("C[INSERT 0 1]") && answer.ends_with("Z[T]"), "{done}: {answer}");
            assert_eq!(stage.superuser().values(INSERTED), [["0"]]);
            client.ask(&query(end));
            assert_eq!(stage.superuser().values(INSERTED), [[kept]], "{done}: {end}");
        }
        assert_eq!(client.ask(&query("delete from tags where id = 56")), "C[DELETE 1] Z[I]");
    }
    let level = "show transaction_isolation";
    assert_eq!(client.ask(&query("begin isolation level repeatable read")), "C[BEGIN] Z[T]");
    assert_eq!(client.ask(&query(level)), "T D[repeatable read] C[SHOW] Z[T]");
    assert_eq!(client.ask(&query("commit and chain")), "C[COMMIT] Z[T]");
    assert_eq!(client.ask(&query(level)), "T D[repeatable read] C[SHOW] Z[T]");
    client.ask(&query("commit"));
    client.ask(&query("set default_transaction_isolation = 'repeatable read'"));
    assert_eq!(client.ask(&query("start transaction")), "C[START TRANSACTION] Z[T]");
    assert_eq!(client.ask(&query(level)), "T D[repeatable read] C[SHOW] Z[T]");
    client.ask(&query("commit"));
    client.ask(&query("begin"));
    assert_eq!(client.ask(&query("set transaction isolation level serializable")), "C[SET] Z[T]");
    assert_eq!(client.ask(&query(level)), "T D[serializable] C[SHOW] Z[T]");
    client.ask(&query("commit"));
    client.ask(&query("begin read only"));
    assert_eq!(client.ask(&query(INSERT)), "E[25006] Z[E]");
    assert_eq!(client.ask(&query("commit")), "C[ROLLBACK] Z[I]");
}

/// A refusal fails the transaction as PostgreSQL's own would, whoever has it.
pub fn what_fails_before_the_first_statement_fails_the_transaction(stage: &Stage) {
    let mut client = Connection::of(&stage.proxy, "tenant_a");
    for (bad, code) in
        [("drop table documents", "42501"), ("selec 1", "42601"), ("select nothing from documents", "42703")]
    {
        for end in ["rollback", "commit", "rollback; select 1", "rollback and chain"] {
            assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
            assert_eq!(client.ask(&query(bad)), format!("E[{code}] Z[E]"));
            assert_eq!(client.ask(&query(OWN)), "E[25P02] Z[E]");
            assert_eq!(client.ask(&query("begin")), "E[25P02] Z[E]");
            assert_eq!(client.ask(&query("selec 1")), "E[42601] Z[E]");
            let answer = client.ask(&query(end));
            match end {
                "rollback; select 1" => assert_eq!(answer, "C[ROLLBACK] T D[1] C[SELECT 1] Z[I]"),
                "rollback and chain" => assert_eq!(answer, "C[ROLLBACK] Z[T]"),
                _ => assert_eq!(answer, "C[ROLLBACK] Z[I]"),
            }
            client.ask(&query("rollback"));
        }
        for again in [[once(OWN, &[]), sync()].concat(), query("rollback to s"), query("savepoint s")] {
            client.ask(&query("begin"));
            assert_eq!(client.ask(&[once(bad, &[]), sync()].concat()), format!("E[{code}] Z[E]"));
            let code = if again == query("rollback to s") { "3B001" } else { "25P02" };
            assert_eq!(client.ask(&again), format!("E[{code}] Z[E]"));
            let batch = [parse("", "commit", &[]), bind("", "", &[]), execute("", 0), sync()].concat();
            assert_eq!(client.ask(&batch), "1 2 C[ROLLBACK] Z[I]");
        }
    }
    assert_eq!(client.ask(&query(OWN)), format!("{OF_A} Z[I]"));
}

/// W30, W32: where the server fails the BEGIN, as it does for a cancel that comes just then, nothing that stands behind
/// it is run: the client's statement has failed, and its transaction.
/// Fails when BEGIN is a Query of its own, or when a second batch is sent before it is answered.
pub fn nothing_runs_outside_of_a_transaction_whose_begin_fails(stage: &Stage) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, "begun-fails");
    let mut client = Connection::of(&proxy, "tenant_a");
    client.ask(&query("begin"));
    client.ask(&query("select 1"));
    client.ask(&query("commit"));
    let insert = [once(INSERT, &[]), sync()].concat();
    let firsts = [
        query(INSERT),
        query(&format!("{INSERT}; commit")),
        insert.clone(),
        insert.repeat(3),
        query(&format!("prepare i as {INSERT}")),
        query("copy tags (id, label) from stdin"),
    ];
    for (number, first) in firsts.iter().enumerate() {
        assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
        let mut failed = false;
        relay.spoil(move |message| {
            if message.tag == b'B' && message.body.starts_with(b"\0pgb_b") && !failed {
                failed = true;
                message.body[1] = b'?';
            }
        });
        assert_eq!(client.ask(first), "E[26000] Z[E]", "{number}");
        if number == 3 {
            assert_eq!(client.hear(), "E[25P02] Z[E]");
            assert_eq!(client.hear(), "E[25P02] Z[E]");
        }
        relay.honest();
        assert_eq!(client.ask(&query(INSERT)), "E[25P02] Z[E]", "{number}");
        assert_eq!(client.ask(&query("commit")), "C[ROLLBACK] Z[I]", "{number}");
        assert_eq!(stage.superuser().values(INSERTED), [["0"]], "{number}");
        assert_eq!(client.ask(&query(OWN)), format!("{OF_A} Z[I]"), "{number}");
    }
}

/// What begins, ends and divides transactions.
const CONTROL: [&str; 27] = [
    "begin",
    "BEGIN WORK",
    "start transaction",
    "begin",
    "begin isolation level repeatable read",
    "begin isolation level serializable",
    "begin read only",
    "begin read write",
    "start transaction read only",
    "commit",
    "end",
    "rollback",
    "abort",
    "commit",
    "rollback",
    "commit and chain",
    "rollback and chain",
    "savepoint s",
    "release s",
    "rollback to s",
    "begin; commit",
    "begin; rollback; begin",
    "commit; begin",
    "rollback; start transaction",
    "begin; begin",
    "begin; select 1",
    "select 2; commit",
];
/// What runs in them: some of it fails at the server, some is refused here.
const STATEMENTS: [&str; 18] = [
    "select 3",
    "select 4",
    "select 1/0",
    "selec",
    "select nothing",
    "",
    ";",
    "show transaction_isolation",
    "show transaction_read_only",
    "set transaction read only",
    "set transaction isolation level repeatable read",
    "set local lock_timeout = '7s'",
    "set lock_timeout = '8s'",
    "reset lock_timeout",
    "show lock_timeout",
    "declare c cursor for select 5",
    "fetch c",
    "close c",
];

/// W29, W30: whatever comes in whatever order, by either protocol, one by one or pipelined: the answers and the status
/// behind each are what PostgreSQL itself says. Another client takes turns on the one server connection and changes its
/// settings.
/// Fails when a BEGIN that waits is forgotten, sent twice, or sent behind what it should stand before.
pub fn any_order_of_statements_is_answered_as_postgresql_answers_it(stage: &Stage) {
    let proxy = stage.narrow("begun-any");
    let mut random = Rng::new(7);
    for session in 0..20 {
        let mut client = Connection::of(&proxy, "tenant_a");
        let mut other = Connection::of(&proxy, "tenant_b");
        let mut server = stage.superuser();
        // What PostgreSQL warns of is not told by the proxy.
        server.run("set client_min_messages to error");
        let mut told = Vec::new();
        for _ in 0..150 {
            let (bytes, answers, what) = step(&mut random);
            told.push(what);
            client.say(&bytes);
            server.say(&bytes);
            let mut answer = String::new();
            for _ in 0..answers {
                answer = server.hear();
                // A Parse of what the server connection knows already does not fail.
                let heard = client.hear().replace("1 E[25P02]", "E[25P02]");
                assert_eq!(heard, answer, "session {session}: {}", told.join("\n"));
            }
            if answer.ends_with("Z[I]") {
                told.clear();
                if random.chance(30) {
                    let zone = random.pick(&["CET", "UTC", "EST5EDT"]);
                    other.ask(&query(&format!("set timezone to '{zone}'")));
                }
            }
        }
    }
}

/// The next thing that is said, how many times ReadyForQuery answers it, and how it reads.
fn step(random: &mut Rng) -> (Vec<u8>, usize, String) {
    let text = |random: &mut Rng| {
        let texts = if random.chance(50) { &CONTROL[..] } else { &STATEMENTS[..] };
        *random.pick(texts)
    };
    let mut bytes = Vec::new();
    let mut told = String::new();
    let several = if random.chance(70) { 1 } else { 1 + random.below(3) };
    for _ in 0..several {
        if random.chance(60) {
            let text = text(random);
            bytes.extend(query(text));
            told += &format!("Q {text:?} ");
            continue;
        }
        for _ in 0..1 + random.below(2) {
            let text = match text(random) {
                // The Bind of nothing fails in a failed transaction, and whether it has failed is not known yet where a
                // refused statement stands behind others.
                "" | ";" => "select 7",
                "select nothing" if !bytes.is_empty() => "select 8",
                text => text,
            };
            bytes.extend(once(text, &[]));
            told += &format!("PBE {text:?} ");
            if random.chance(20) {
                bytes.extend(flush());
                told += "H ";
            }
        }
        bytes.extend(sync());
        told += "S ";
    }
    (bytes, several, told)
}
