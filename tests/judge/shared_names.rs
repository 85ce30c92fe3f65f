//! What all sessions of a server share by a number or a name: advisory locks, channels and what sequences gave last.
//! Each tenant has its own, and within a tenant they mean what they mean in PostgreSQL.

use super::support::fixture::{Proxy, Server};
use super::support::wire::{Connection, Extended};

/// Holds locks and channels against what PostgreSQL says of them.
pub fn judge(server: &Server) -> Result<(), String> {
    server.create_database("shared_names");
    let proxy = Proxy::start(env!("CARGO_BIN_EXE_pgbulkhead"), server, "shared_names");
    let mut failures = Vec::new();
    let parts: [(&str, Part); 7] = [
        ("transaction locks", transaction_locks),
        ("session locks", session_locks),
        ("a client that goes", client_that_goes),
        ("kept connections", kept_connections),
        ("notifications", notifications),
        ("subscriptions", subscriptions),
        ("last values", last_values),
    ];
    for (name, part) in parts {
        if let Err(error) = part(&proxy) {
            failures.push(format!("{name}: {error}"));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// How long anything may take that is only a matter of time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

type Part = fn(&Proxy) -> Checked;
type Checked = Result<(), Box<dyn std::error::Error>>;

fn open(proxy: &Proxy, user: &str) -> std::io::Result<Connection> {
    Connection::open(&proxy.login(user))
}

/// The first value of a statement's first row, its error code, or its tag.
fn said(client: &mut Connection, sql: &str) -> std::io::Result<String> {
    let answer = client.simple(sql)?;
    let outcomes = answer.outcomes();
    let last = outcomes.last().ok_or_else(|| std::io::Error::other("no outcome"))?;
    if let Some(state) = last.state() {
        return Ok(state.to_owned());
    }
    let value = last.rows.first().and_then(|row| row.first().cloned().flatten());
    Ok(value.map_or_else(String::new, |value| String::from_utf8_lossy(&value).into_owned()))
}

fn is(client: &mut Connection, sql: &str, wanted: &str) -> Checked {
    let got = said(client, sql)?;
    if got == wanted { Ok(()) } else { Err(format!("«{sql}» gives {got:?}, not {wanted:?}").into()) }
}

fn with(client: &mut Connection, sql: &str, values: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let request = Extended {
        parse: true,
        sql: sql.to_owned(),
        parameters: values.iter().map(|value| Some(value.as_bytes().to_vec())).collect(),
        executes: 1,
        ..Extended::default()
    };
    let answer = client.extended(&request)?;
    let outcomes = answer.outcomes();
    let last = outcomes.last().ok_or("no outcome")?;
    if let Some(state) = last.state() {
        return Ok(state.to_owned());
    }
    let value = last.rows.first().and_then(|row| row.first().cloned().flatten());
    Ok(value.map_or_else(String::new, |value| String::from_utf8_lossy(&value).into_owned()))
}

fn transaction_locks(proxy: &Proxy) -> Checked {
    let (mut one, mut two, mut other) =
        (open(proxy, "tenant_a")?, open(proxy, "tenant_a")?, open(proxy, "tenant_b")?);
    is(&mut one, "begin", "")?;
    is(&mut one, "select pg_advisory_xact_lock(42)", "")?;
    is(&mut one, "select pg_advisory_xact_lock_shared(-7)", "")?;
    is(&mut one, "select pg_advisory_xact_lock(1, id::int) from tags order by id limit 1", "")?;
    // Another session of the tenant meets them, in every spelling.
    is(&mut two, "select pg_try_advisory_xact_lock(42)", "f")?;
    is(&mut two, "select PG_CATALOG.pg_try_advisory_xact_lock_shared('42')", "f")?;
    is(&mut two, "select * from pg_try_advisory_xact_lock(40 + 2)", "f")?;
    is(&mut two, "select pg_try_advisory_xact_lock(-7)", "f")?;
    is(&mut two, "select pg_try_advisory_xact_lock_shared(-7)", "t")?;
    is(&mut two, "select pg_try_advisory_xact_lock(1, id::int) from tags order by id limit 1", "f")?;
    if with(&mut two, "select pg_try_advisory_xact_lock($1)", &["42"])? != "f" {
        return Err("a parameter is another key than a literal".into());
    }
    // Keys of one number and of two are apart, as are those that differ in the upper half alone.
    is(&mut two, "select pg_try_advisory_xact_lock(0, 42)", "t")?;
    is(&mut two, "select pg_try_advisory_xact_lock(4294967338)", "t")?;
    is(&mut two, "select pg_try_advisory_xact_lock(null) is null", "t")?;
    // Another tenant does not.
    is(&mut other, "select pg_try_advisory_xact_lock(42)", "t")?;
    is(&mut other, "select pg_try_advisory_xact_lock(-7)", "t")?;
    is(&mut one, "commit", "")?;
    is(&mut two, "select pg_try_advisory_xact_lock(42)", "t")
}

fn session_locks(proxy: &Proxy) -> Checked {
    let (mut one, mut two, mut other) =
        (open(proxy, "tenant_a")?, open(proxy, "tenant_a")?, open(proxy, "tenant_b")?);
    is(&mut one, "select pg_advisory_lock(5)", "")?;
    is(&mut one, "select pg_try_advisory_lock(5)", "t")?;
    is(&mut two, "select pg_try_advisory_lock(5)", "f")?;
    is(&mut two, "select pg_advisory_unlock(5)", "f")?;
    is(&mut other, "select pg_try_advisory_lock(5)", "t")?;
    // Taken twice, it is given back twice; a rollback gives nothing back.
    is(&mut one, "select pg_advisory_unlock(5)", "t")?;
    is(&mut two, "select pg_try_advisory_lock(5)", "f")?;
    is(&mut one, "begin; select pg_advisory_lock_shared(1, 2); rollback", "")?;
    is(&mut two, "select pg_try_advisory_lock(1, 2)", "f")?;
    is(&mut two, "select pg_try_advisory_lock_shared(1, 2)", "t")?;
    is(&mut two, "select pg_advisory_unlock_shared(1, 2)", "t")?;
    is(&mut one, "select pg_advisory_unlock(5)", "t")?;
    is(&mut one, "select pg_advisory_unlock_all()", "")?;
    is(&mut two, "select pg_try_advisory_lock(5) and pg_try_advisory_lock(1, 2)", "t")?;
    is(&mut two, "select pg_advisory_unlock_all()", "")?;
    is(&mut other, "select pg_advisory_unlock(5)", "t")
}

/// The connection of a client that goes with a lock is closed, which gives it back; nobody gets it from the pool.
fn client_that_goes(proxy: &Proxy) -> Checked {
    let mut one = open(proxy, "tenant_a")?;
    is(&mut one, "select pg_advisory_lock(6)", "")?;
    drop(one);
    let mut two = open(proxy, "tenant_a")?;
    is(&mut two, "select pg_advisory_lock(6)", "")?;
    is(&mut two, "select pg_advisory_unlock(6)", "t")?;
    is(&mut two, "select pg_advisory_unlock(6)", "f")
}

/// What is given back is known a moment later.
fn comes(client: &mut Connection, sql: &str, wanted: &str) -> Checked {
    let began = std::time::Instant::now();
    loop {
        match is(client, sql, wanted) {
            Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(PATIENCE / 500),
            done => return done,
        }
    }
}

/// The pool has four connections, of which three may be kept.
fn kept_connections(proxy: &Proxy) -> Checked {
    let mut clients = (0..4).map(|_| open(proxy, "tenant_a")).collect::<Result<Vec<_>, _>>()?;
    let [one, two, three, four] = clients.as_mut_slice() else { return Err("four clients".into()) };
    comes(one, "select pg_advisory_lock(1)", "")?;
    comes(two, "listen kept", "")?;
    comes(three, "select pg_advisory_lock(3)", "")?;
    is(four, "select pg_advisory_lock(4)", "53300")?;
    is(four, "listen kept", "53300")?;
    is(four, "select pg_advisory_xact_lock(4)", "")?;
    is(four, "select pg_advisory_unlock_all()", "")?;
    // What is given back, or never was taken, makes room.
    is(two, "unlisten *", "")?;
    comes(four, "select pg_try_advisory_lock(1)", "f")?;
    comes(two, "select pg_advisory_lock(2)", "")?;
    is(one, "begin; listen kept; rollback", "")?;
    is(one, "select pg_advisory_unlock_all()", "")?;
    comes(four, "select pg_try_advisory_lock(1)", "t")?;
    for (client, key) in [(two, 2), (three, 3), (four, 1)] {
        is(client, &format!("select pg_advisory_unlock({key})"), "t")?;
    }
    Ok(())
}

/// The next notification: process id, channel, payload. What else comes is passed over.
fn notification(client: &mut Connection) -> std::io::Result<(Vec<u8>, String, String)> {
    loop {
        let message = client.read_message()?;
        if message.tag == b'A' {
            let mut texts = message.body[4..].split(|b| *b == 0).map(String::from_utf8_lossy);
            let mut text = || texts.next().unwrap_or_default().into_owned();
            return Ok((message.body[..4].to_vec(), text(), text()));
        }
    }
}

fn notifications(proxy: &Proxy) -> Checked {
    let (mut one, mut other) = (open(proxy, "tenant_a")?, open(proxy, "tenant_b")?);
    let (mut by_a, mut by_b) = (open(proxy, "tenant_a")?, open(proxy, "tenant_b")?);
    let own =
        one.take_heard().iter().find(|m| m.tag == b'K').map(|m| m.body[..4].to_vec()).ok_or("no key")?;
    is(&mut one, "listen \"Job s\"", "")?;
    is(&mut other, "listen \"Job s\"", "")?;
    is(&mut by_b, "notify \"Job s\", 'of b'", "")?;
    is(&mut by_b, "select pg_notify('Job s', 'of b')", "")?;
    is(&mut by_a, "begin; select pg_notify('Job s', 'never'); rollback", "")?;
    is(&mut by_a, "select pg_notify('Job s', 'it''s')", "")?;
    if notification(&mut one)? != (vec![0; 4], "Job s".into(), "it's".into()) {
        return Err("the tenant's notification is another".into());
    }
    if !with(&mut by_a, "select pg_notify($1, $2)", &["Job s", "2"])?.is_empty() {
        return Err("pg_notify with parameters fails".into());
    }
    if !with(&mut by_a, "notify \"Job s\", '3'", &[])?.is_empty() {
        return Err("NOTIFY in the extended protocol fails".into());
    }
    for payload in ["2", "3"] {
        if notification(&mut one)?.2 != payload {
            return Err(format!("{payload} does not come").into());
        }
    }
    // Its own carry the number that the client knows itself by.
    is(&mut one, "notify \"Job s\"", "")?;
    one.simple("select 1")?;
    let heard = one.take_heard();
    let of_itself: Vec<_> = heard.iter().filter(|m| m.tag == b'A').collect();
    if of_itself.last().is_none_or(|m| m.body[..4] != own) {
        return Err("a session does not know its own notification".into());
    }
    for _ in 0..2 {
        if notification(&mut other)?.2 != "of b" {
            return Err("another tenant's channel carries this one's".into());
        }
    }
    other.simple("select 1")?;
    if other.take_heard().iter().filter(|m| m.tag == b'A').count() != 2 {
        return Err("another tenant hears this one's".into());
    }
    Ok(())
}

/// LISTEN holds from its commit on, in either protocol, for as long as the client or until UNLISTEN.
fn subscriptions(proxy: &Proxy) -> Checked {
    let (mut one, mut by_a) = (open(proxy, "tenant_a")?, open(proxy, "tenant_a")?);
    with(&mut one, "listen a", &[])?;
    is(&mut one, "begin; listen b; rollback", "")?;
    is(&mut by_a, "notify b; notify a, 'heard'", "")?;
    let first = notification(&mut one)?;
    if (first.1.as_str(), first.2.as_str()) != ("a", "heard") {
        return Err(format!("{first:?} is heard of what was rolled back").into());
    }
    with(&mut one, "unlisten a", &[])?;
    is(&mut one, "listen c", "")?;
    is(&mut by_a, "notify a; notify c", "")?;
    if notification(&mut one)?.1 != "c" {
        return Err("UNLISTEN is not heard".into());
    }
    is(&mut one, "select count(*) from pg_listening_channels()", "42501")?;
    is(&mut one, "select count(*) from pg_locks", "42P01")?;
    is(&mut one, "unlisten *", "")
}

/// `currval` and `lastval` show what the same transaction drew, and never what another session left.
fn last_values(proxy: &Proxy) -> Checked {
    const INSERT: &str = "insert into notes (text_) values ('s')";
    const NOTES: &str = "select currval('notes_id_seq') = (select max(id) from notes)";
    const UNDEFINED: &str = "55000";
    let (mut one, mut other) = (open(proxy, "tenant_a")?, open(proxy, "tenant_b")?);

    let leave = |other: &mut Connection| {
        other.simple(&format!("{INSERT}; select nextval('documents_id_seq')")).map(|_| ())
    };
    leave(&mut other)?;
    // Outside of a transaction nothing is known of the connection.
    is(&mut one, "select lastval()", UNDEFINED)?;
    is(&mut one, "select currval('notes_id_seq')", UNDEFINED)?;
    // Each client is a new one: one that has asked begins anew by itself.
    let draws = [
        "select nextval('notes_id_seq') > 0",
        "insert into notes (text_) select 's' where false",
        "select case when true then nextval('notes_id_seq') end > 0",
    ];
    for draw in draws {
        leave(&mut other)?;
        let mut client = open(proxy, "tenant_a")?;
        client.simple(&format!("begin; {draw}"))?;
        is(&mut client, "select lastval()", UNDEFINED)?;
        is(&mut client, "rollback", "")?;
    }
    let draws = [
        INSERT,
        "insert into notes values (1, default, 's')",
        "insert into notes (text_) select 's'",
        "select nextval('notes_id_seq')",
    ];
    for draw in draws {
        leave(&mut other)?;
        let mut client = open(proxy, "tenant_a")?;
        client.simple("begin")?;
        client.simple(draw)?;
        is(&mut client, "select currval('notes_id_seq') = lastval()", "t")?;
        is(&mut client, "select currval('documents_id_seq')", UNDEFINED)?;
        is(&mut client, "rollback", "")?;
    }
    leave(&mut other)?;
    is(&mut one, &format!("{INSERT}; {NOTES}"), "t")?;
    is(&mut one, &format!("{INSERT}; discard sequences; {NOTES}"), UNDEFINED)?;
    is(&mut one, "begin", "")?;
    is(&mut one, "insert into notes (text_) select 's' where false", "")?;
    is(&mut one, "select lastval()", UNDEFINED)?;
    is(&mut one, "rollback", "")?;
    // Where the session has asked before, the server itself knows what a CASE has drawn.
    is(&mut one, "begin", "")?;
    is(&mut one, "select case when true then nextval('notes_id_seq') end > 0", "t")?;
    is(&mut one, "select lastval() = currval('notes_id_seq')", "t")?;
    is(&mut one, "rollback", "")?;
    by_parameter(&mut one)
}

fn by_parameter(one: &mut Connection) -> Checked {
    let current = "select currval($1)::text";
    let none: &[&str] = &[];
    is(one, "begin", "")?;
    with(one, "insert into notes (text_) values ('s')", none)?;
    let names =
        ["notes_id_seq", "APP.notes_id_seq", "documents_id_seq", "invoice_no", "app.nothing", "16384"];
    let states = [None, None, Some("55000"), Some("42P01"), Some("42P01"), Some("42P01")];
    for (name, state) in names.into_iter().zip(states) {
        is(one, "savepoint s", "")?;
        let said = with(one, current, &[name])?;
        if state.map_or(said.parse::<i64>().is_err(), |state| said != state) {
            return Err(format!("currval of {name} says {said}").into());
        }
        is(one, "rollback to s", "")?;
    }
    is(one, "rollback", "")
}
