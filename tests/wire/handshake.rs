//! From the first byte to the login: one way, once, and nothing of it is an oracle.

use std::time::Duration;

use crate::messages::{gss_request, message, once, packet, query, shown, ssl_request, startup, sync};
use crate::raw::PASSWORD;
use crate::stage::Stage;
use crate::support::wire::{Connection, Message, error_fields};

/// W1, R5: a second StartupMessage while SCRAM is going on does not change who logs in.
/// Fails when the handshake reads a packet without a type byte in any stage but the first.
pub fn second_startup_during_scram_is_a_protocol_violation(stage: &Stage) {
    for database in ["nosuch", "ccm"] {
        let mut client = Connection::to(&stage.proxy);
        client.say(&startup(&[("user", "tenant_a"), ("database", database)]));
        assert_eq!(client.hear_only(1), "R");
        client.say(&startup(&[("user", "tenant_b"), ("database", "ccm")]));
        assert_eq!(client.until_closed(), "E[08P01]");
    }
    let audit = stage.proxy.audit();
    assert!(!audit.contains("\"event\":\"login\",\"verdict\":\"allowed\",\"user\":\"tenant_b\""), "{audit}");
}

/// W2: what comes before the StartupMessage, or right behind it, does not run.
pub fn nothing_runs_before_authentication(stage: &Stage) {
    let startup = startup(&[("user", "tenant_a"), ("database", "ccm")]);
    let password = message(b'p', b"secret\0");
    let insert = query("insert into tags (id, label) values (42, 'CANARY_A W2')");
    for (bytes, before) in [
        (password, ""),
        (insert.clone(), ""),
        ([&startup[..], &insert].concat(), "R "),
        ([&startup[..], &sync()].concat(), "R "),
    ] {
        let mut client = Connection::to(&stage.proxy);
        client.say(&bytes);
        assert_eq!(client.until_closed(), format!("{before}E[08P01]"));
    }
    let mut superuser = stage.superuser();
    assert_eq!(superuser.values("select count(*) from app.tags where id = 42"), [["0"]]);
}

/// W3, R5: each of SSLRequest and GSSENCRequest is answered once, then the connection ends; no line of the log
/// for it. Fails when `asked_ssl` is not kept.
pub fn each_negotiation_is_answered_once(stage: &Stage) {
    let lines = stage.proxy.log().lines().count();
    let mut client = Connection::to(&stage.proxy);
    let mut answers = Vec::new();
    let pair = [ssl_request(), gss_request()].concat();
    client.say(&pair.repeat(10_000));
    // A reset takes unread answers with it.
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut answers);
    assert!(answers.len() <= 2 && answers.iter().all(|byte| *byte == b'N'), "{answers:?}");
    let mut client = Connection::to(&stage.proxy);
    for request in [ssl_request(), gss_request()] {
        client.say(&request);
        let mut answer = [0; 1];
        std::io::Read::read_exact(&mut client.stream, &mut answer).expect("an answer");
        assert_eq!(answer, *b"N");
    }
    client.say(&ssl_request());
    assert_eq!(client.until_closed(), "");
    assert!(stage.proxy.log().lines().count() <= lines + 2);
}

/// The code and text with which this StartupMessage is refused, at once or after the login.
fn refused(stage: &Stage, parameters: &[(&str, &str)]) -> (String, String) {
    let mut client = Connection::to(&stage.proxy);
    client.say(&startup(parameters));
    assert!(client.prove(PASSWORD).is_err(), "{parameters:?} was let in");
    let told = client.heard.pop().expect("an answer");
    let mut fields = error_fields(&told.body);
    (fields.remove(&'C').unwrap_or_default(), fields.remove(&'M').unwrap_or_default())
}

/// W10: what a client may say at startup is a short list; the rest is refused by its name, and nothing of it
/// becomes SQL.
pub fn startup_keys_off_the_list_are_refused_by_name(stage: &Stage) {
    let with = |key, value| vec![("user", "tenant_a"), ("database", "ccm"), (key, value)];
    let codes = ["28000", "0A000", "42501", "08P01", "22023"];
    for (key, value) in [
        ("search_path", "rls"),
        ("role", "postgres"),
        ("session_authorization", "postgres"),
        ("replication", "database"),
        ("replication", "true"),
        ("row_security", "off"),
        ("client_encoding", "SJIS"),
    ] {
        let (code, text) = refused(stage, &with(key, value));
        assert!(codes.contains(&&*code) && text.contains(key), "{key}: {code} {text}");
    }
    for options in [
        "-c=",
        "-c =x",
        "--=",
        "-c",
        "-csearch_path=rls\\",
        "-c search_path=x -c role=y",
        "-c role=postgres",
        "--session_authorization=postgres",
        "-c pgbulkhead.tenant=2",
        "-W 1",
    ] {
        let (code, _) = refused(stage, &with("options", options));
        assert!(codes.contains(&&*code), "{options}: {code}");
    }
    // Blanks up to PostgreSQL's bound of a startup packet, and one beyond it.
    let blanks = " ".repeat(9_900);
    Connection::start(&stage.proxy, &with("options", &blanks)).expect("blanks say nothing").is_usable();
    let mut client = Connection::to(&stage.proxy);
    client.say(&startup(&with("options", &" ".repeat(1_000_000))));
    assert!(["E[08P01]", ""].contains(&&*client.until_closed()));
}

/// What may be SET may be said at startup, and is what RESET goes back to; so is the path that is configured.
pub fn a_session_begins_with_settings_of_the_list(stage: &Stage) {
    let options = "-c statement_timeout=4321 -c search_path=app,ext -c jit=off";
    let parameters =
        [("user", "tenant_a"), ("database", "ccm"), ("options", options), ("lock_timeout", "7s")];
    let mut client = Connection::start(&stage.proxy, &parameters).expect("a session");
    for change in ["select 1", "set statement_timeout = 99", "set search_path = app, ext", "discard all"] {
        client.values(change);
        client.values("reset statement_timeout");
        assert_eq!(client.values("show statement_timeout"), [["4321ms"]], "{change}");
        assert_eq!(client.values("show lock_timeout"), [["7s"]]);
        assert_eq!(client.values("show jit"), [["off"]]);
        assert_eq!(client.values("select count(*) > 0 from tags"), [["t"]]);
    }
    // Another session on the same server connection has its own.
    let mut other = Connection::start(&stage.proxy, &parameters[..2]).expect("a session");
    assert_ne!(other.values("show statement_timeout"), [["4321ms"]]);
}

/// W11: an identity that could be read in two ways is none.
pub fn a_key_that_comes_twice_and_bytes_after_the_end_are_refused(stage: &Stage) {
    for twice in [
        &[("user", "tenant_a"), ("user", "tenant_b"), ("database", "ccm")][..],
        &[("user", "tenant_a"), ("database", "ccm"), ("database", "other")],
        &[("user", "tenant_a"), ("USER", "tenant_b"), ("database", "ccm")],
        &[("", "tenant_a"), ("user", "tenant_b")],
    ] {
        assert_eq!(refused(stage, twice).0, "08P01", "{twice:?}");
    }
    let mut client = Connection::to(&stage.proxy);
    client.say(&packet(3 << 16, b"user\0tenant_a\0database\0ccm\0\0user\0tenant_b\0\0"));
    assert_eq!(client.until_closed(), "E[08P01]");
}

/// W12: user and database are compared with what is configured, and put into nothing.
pub fn names_are_only_compared(stage: &Stage) {
    let long = "x".repeat(9_000);
    let names = ["x' host=evil", "ccm?host=evil", "ccm options=-crole=x", "ccm\nadmin", &long, "ccm ", "CCM"];
    for name in names {
        let (code, _) = refused(stage, &[("user", "tenant_a"), ("database", name)]);
        assert!(code == "28P01" || code == "28000" || code == "3D000", "{name:.40}: {code}");
        assert_eq!(refused(stage, &[("user", name), ("database", "ccm")]).0, "28P01", "{name:.40}");
    }
    let log = stage.proxy.log();
    assert!(!log.contains("evil") && log.lines().all(|line| line.len() < 4_000), "{log}");
    for line in stage.proxy.audit().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

/// The message sequence of a login with a wrong password, and what its SCRAM told about the verifier.
fn wrong_login(stage: &Stage, user: &str, database: &str, password: &str) -> (String, String) {
    let mut client = Connection::to(&stage.proxy);
    client.say(&startup(&[("user", user), ("database", database)]));
    let _ = client.prove(password);
    let heard: Vec<Message> = client.take_heard();
    let first = heard.get(1).map(|m| String::from_utf8_lossy(&m.body[4..]).into_owned()).unwrap_or_default();
    // r=nonce,s=salt,i=iterations
    let told = first.split_once(",s=").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    let text = heard.last().map(|m| error_fields(&m.body).remove(&'M').unwrap_or_default());
    let text = text.unwrap_or_default().replace(user, "…");
    (format!("{} {text}", shown(&heard)), told)
}

/// W13: with a wrong password, unknown users and databases look like known ones: the same messages, the same
/// text, a salt that does not change from one try to the next, the same number of iterations.
pub fn every_failed_login_looks_the_same(stage: &Stage) {
    let (known, salt) = wrong_login(stage, "tenant_a", "ccm", "wrong");
    assert!(known.starts_with("R R E[28P01]"), "{known}");
    let iterations = |told: &str| told.split_once(",i=").map(|(_, i)| i.to_owned());
    for (user, database) in
        [("nobody", "ccm"), ("tenant_a", "nosuch"), ("nobody", "nosuch"), ("by_token", "ccm")]
    {
        let (told, first) = wrong_login(stage, user, database, "wrong");
        assert_eq!(told, known, "{user} at {database}");
        assert_eq!(iterations(&first), iterations(&salt), "{user} at {database}");
        assert_eq!(wrong_login(stage, user, database, "wrong").1, first, "{user} at {database}: salt");
    }
    // Nobody is let in with an empty password either.
    assert_eq!(wrong_login(stage, "nobody", "ccm", "").0, known);
}

/// W14: after a failed login nothing that follows runs.
pub fn nothing_runs_after_a_failed_login(stage: &Stage) {
    let mut client = Connection::to(&stage.proxy);
    client.say(&startup(&[("user", "tenant_a"), ("database", "ccm")]));
    assert!(client.prove("wrong").is_err());
    let insert = "insert into tags (id, label) values (43, 'CANARY_A W14')";
    client.say(&[query(insert), once(insert, &[]), sync()].concat());
    assert_eq!(client.until_closed(), "");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(stage.superuser().values("select count(*) from app.tags where id = 43"), [["0"]]);
}

/// W23: the PROXY protocol is not spoken: its preambles are no startup.
pub fn a_proxy_preamble_is_no_startup(stage: &Stage) {
    let startup = startup(&[("user", "tenant_a"), ("database", "ccm")]);
    for preamble in [
        &b"PROXY UNKNOWN 6.6.6.6 7.7.7.7 1 2\r\n"[..],
        b"PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x06\x06\x06\x06\x07\x07\x07\x07\0\x01\0\x02",
    ] {
        let mut client = Connection::to(&stage.proxy);
        client.say(&[preamble, &startup].concat());
        let end = client.until_closed();
        assert!(end == "E[08P01]" || end.is_empty(), "{end}");
    }
    assert!(!stage.proxy.audit().contains("6.6.6.6"));
}
