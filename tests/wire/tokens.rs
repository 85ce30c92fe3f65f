//! Tenant tokens: what is refused, and when one may bind a transaction.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::messages::{bind, execute, message, once, parse, query, shown, startup, sync};
use crate::stage::{ED_KEY, Stage, TOKEN_SECRET};
use crate::support::wire::Connection;

const OWN: &str = "select tenant_id, count(*) from documents group by 1";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

fn part(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A JWT of these texts, signed with HS256.
fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let text = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key");
    mac.update(text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn header() -> String {
    json!({ "alg": "HS256", "kid": "wire" }).to_string()
}

fn token(claims: &str) -> String {
    signed(&header(), claims, TOKEN_SECRET)
}

/// A good token.
fn token_of(tenant: &str) -> String {
    token(&json!({ "tenant": tenant, "exp": now() + 600 }).to_string())
}

fn set(token: &str) -> String {
    format!("set pgbulkhead.tenant_token = '{token}'")
}

/// W19, R6: the algorithm is the key's, every known claim is there once and of its type, and the tenant is a
/// known value byte for byte. Fails when a claim of a wrong type counts as absent.
pub fn tokens_that_are_not_in_order_are_refused(stage: &Stage) {
    let later = now() + 600;
    let claims = |exp: Value, tenant: Value| token(&json!({ "tenant": tenant, "exp": exp }).to_string());
    let good = json!({ "tenant": "2", "exp": later }).to_string();
    let with = |header: Value| signed(&header.to_string(), &good, TOKEN_SECRET);
    let bad = [
        ("exp as text", claims(json!("9999999999"), json!("2"))),
        ("exp below nothing", claims(json!(-1), json!("2"))),
        ("exp beyond numbers", token(&format!("{{\"tenant\":\"2\",\"exp\":{}}}", "9".repeat(400)))),
        ("exp in the past", claims(json!(now() - 1), json!("2"))),
        ("exp with a fraction", claims(json!(later as f64 + 0.5), json!("2"))),
        ("no exp", token("{\"tenant\":\"2\"}")),
        ("nbf as text", token(&json!({ "tenant": "2", "exp": later, "nbf": "x" }).to_string())),
        ("nbf later", token(&json!({ "tenant": "2", "exp": later, "nbf": later }).to_string())),
        ("exp as 1e400", token("{\"tenant\":\"2\",\"exp\":1e400}")),
        ("no tenant", token(&json!({ "exp": later }).to_string())),
        ("tenant as list", claims(json!(later), json!([2]))),
        ("tenant as number", claims(json!(later), json!(2))),
        ("tenant with SQL", claims(json!(later), json!("1 or true"))),
        ("tenant with a quote", claims(json!(later), json!("1'--"))),
        ("tenant with a NUL", claims(json!(later), json!("2\0"))),
        ("tenant twice", token(&format!("{{\"tenant\":\"1\",\"exp\":{later},\"tenant\":\"2\"}}"))),
        ("exp twice", token(&format!("{{\"tenant\":\"2\",\"exp\":1,\"exp\":{later}}}"))),
        ("another's", token(&json!({ "tenant": "2", "exp": later, "sub": "somebody" }).to_string())),
        ("for others", token(&json!({ "tenant": "2", "exp": later, "aud": "x" }).to_string())),
        ("alg none", format!("{}.{}.", part("{\"alg\":\"none\",\"kid\":\"wire\"}"), part(&good))),
        ("the public key as secret", {
            let header = json!({ "alg": "HS256", "kid": "ed" }).to_string();
            signed(&header, &good, ED_KEY.as_bytes())
        }),
        ("alg of another key", with(json!({ "alg": "EdDSA", "kid": "wire" }))),
        ("kid as path", with(json!({ "alg": "HS256", "kid": "../../dev/null" }))),
        ("kid unknown", with(json!({ "alg": "HS256", "kid": "other" }))),
        ("no kid", with(json!({ "alg": "HS256" }))),
        ("a critical header", with(json!({ "alg": "HS256", "kid": "wire", "crit": ["b64"], "b64": false }))),
        ("a wrong secret", signed(&header(), &good, b"another secret, at least 32 bytes long")),
        ("JWE", format!("{}.a.b.c.d", part("{\"alg\":\"dir\",\"enc\":\"A256GCM\",\"kid\":\"wire\"}"))),
        ("nothing", String::new()),
        ("no token", "x".repeat(100)),
        ("a long one", token(&json!({ "tenant": "2", "exp": later, "x": "y".repeat(500_000) }).to_string())),
    ];
    let mut client = Connection::of(&stage.proxy, "by_token");
    for (what, token) in &bad {
        assert_eq!(client.ask(&query(&set(token))), "E[28000] Z[I]", "{what}");
        assert_eq!(client.ask(&query(OWN)), "E[42501] Z[I]", "{what}");
        if token.len() < 8_000 {
            let mut login = Connection::to(&stage.proxy);
            login.say(&startup(&[("user", "token_is_password"), ("database", "ccm")]));
            login.hear_only(1);
            login.say(&message(b'p', &[token.as_bytes(), b"\0"].concat()));
            let answer = login.until_closed();
            assert!(answer.starts_with("E[28"), "{what}: {answer}");
        }
    }
    // Known values only, byte for byte.
    for tenant in ["-1", "01", " 1", "1 ", "+1", "1.0", "3"] {
        assert_eq!(client.ask(&query(&set(&token_of(tenant)))), "E[28000] Z[I]", "tenant {tenant:?}");
    }
    assert_eq!(client.ask(&query(&set(&token_of("2")))), "C[SET] Z[I]");
    assert_eq!(client.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
    let written = stage.proxy.audit() + &stage.proxy.log();
    assert!(bad.iter().filter(|(_, t)| t.len() > 150).all(|(_, t)| !written.contains(&t[t.len() - 20..])));
    assert!(!written.contains(&part(&good)), "a token was logged");
}

/// W20: a token binds the transactions that follow, or its own, and none in the middle; what ROLLBACK undoes is
/// not the tenant.
pub fn the_tenant_of_a_transaction_is_the_one_at_its_start(stage: &Stage) {
    let (a, b) = (set(&token_of("1")), set(&token_of("2")));
    let local = |set: &str| set.replacen("set ", "set local ", 1);
    // A principal whose tenant is fixed takes no token.
    let mut fixed = Connection::of(&stage.proxy, "tenant_b");
    assert_eq!(fixed.ask(&query(&a)), "E[28000] Z[I]");
    assert_eq!(fixed.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");

    let mut client = Connection::of(&stage.proxy, "by_token");
    assert_eq!(client.ask(&query(&a)), "C[SET] Z[I]");
    // In a transaction, in a text with others, in a batch.
    assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
    assert_eq!(client.ask(&query(OWN)), "T D[1|40] C[SELECT 1] Z[T]");
    assert_eq!(client.ask(&query(&b)), "E[25001] Z[E]");
    assert_eq!(client.ask(&query("rollback")), "C[ROLLBACK] Z[I]");
    for text in [format!("{b}; {OWN}"), format!("{OWN}; {b}"), format!("begin; {OWN}; {}; {OWN}", local(&b))]
    {
        let answer = client.ask(&query(&text));
        assert!(answer.contains("E[") && !answer.contains("D[2"), "{answer}");
        client.ask(&query("rollback"));
    }
    let mixed = [
        parse("", OWN, &[]),
        bind("", "", &[]),
        parse("t", &b, &[]),
        bind("t", "t", &[]),
        execute("t", 0),
        execute("", 0),
        sync(),
    ];
    let answer = client.ask(&mixed.concat());
    assert!(answer.contains("E[25001]") && !answer.contains("D["), "{answer}");
    let answer = client.ask(&[once(OWN, &[]), sync()].concat());
    assert_eq!(answer, "1 2 D[1|40] C[SELECT 1] Z[I]");
    // SET LOCAL is gone with its transaction, however that ends.
    for end in ["commit", "rollback"] {
        assert_eq!(client.ask(&query("begin")), "C[BEGIN] Z[T]");
        assert_eq!(client.ask(&query(&local(&b))), "C[SET] Z[T]");
        assert_eq!(client.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[T]");
        assert_eq!(client.ask(&query(&local(&a))), "E[25001] Z[E]");
        client.ask(&query(end));
        assert_eq!(client.ask(&query(OWN)), "T D[1|40] C[SELECT 1] Z[I]");
    }
    // A savepoint does not bring another tenant back.
    let text = format!("begin; {}; savepoint s; {OWN}; rollback to s; {OWN}; rollback", local(&b));
    let answer = client.ask(&query(&text));
    assert!(!answer.contains("D[1"), "{answer}");
    assert_eq!(client.ask(&query("reset pgbulkhead.tenant_token")), "C[RESET] Z[I]");
    assert_eq!(client.ask(&query(OWN)), "E[42501] Z[I]");
}

/// W15: a token that has expired lets nobody in, and what it let in ends between two transactions.
pub fn an_expired_token_ends_its_session(stage: &Stage) {
    let short = || token(&json!({ "tenant": "1", "exp": now() + 2 }).to_string());
    let log_in = |token: &str| {
        let mut client = Connection::to(&stage.proxy);
        client.say(&startup(&[("user", "token_is_password"), ("database", "ccm")]));
        client.hear_only(1);
        client.say(&message(b'p', &[token.as_bytes(), b"\0"].concat()));
        client
    };
    let password = short();
    let mut client = log_in(&password);
    let greeting = client.answer().expect("it is let in");
    assert!(shown(&greeting.messages).ends_with("Z[I]"));
    assert_eq!(client.ask(&query(OWN)), "T D[1|40] C[SELECT 1] Z[I]");
    let mut by_token = Connection::of(&stage.proxy, "by_token");
    assert_eq!(by_token.ask(&query(&set(&short()))), "C[SET] Z[I]");
    std::thread::sleep(Duration::from_millis(3100));
    client.say(&query(OWN));
    assert_eq!(client.until_closed(), "E[57P01]");
    assert_eq!(by_token.ask(&query(OWN)), "E[42501] Z[I]");
    assert!(log_in(&password).until_closed().starts_with("E[28"));
}
