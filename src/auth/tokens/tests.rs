use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;

const NOW: u64 = 1_900_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn token(header: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn shared(payload: &str) -> String {
    token(r#"{"alg":"HS256","kid":"h"}"#, payload, |message| hs256(SECRET, message))
}

fn key(kid: &str, algorithm: TokenAlgorithm, bytes: &[u8]) -> Result<Key, KeyError> {
    let file =
        std::env::temp_dir().join(format!("pgbulkhead-{}-{}", std::process::id(), uuid::Uuid::now_v7()));
    std::fs::write(&file, bytes).unwrap();
    let read =
        Key::read(&TokenKey { kid: kid.into(), algorithm, file: file.clone(), audience: None, issuer: None });
    std::fs::remove_file(file).unwrap();
    read
}

fn verifier() -> TokenVerifier {
    TokenVerifier { keys: vec![key("h", TokenAlgorithm::Hs256, SECRET).unwrap()] }
}

fn principal(allowed: &[&str]) -> Principal {
    Principal {
        user: "pooled".into(),
        role: "app".into(),
        database: "ccm".into(),
        tenant: TenantBinding::Token { allowed: allowed.iter().map(|t| TenantId::new(t).unwrap()).collect() },
    }
}

fn verdict(payload: &str) -> Result<BoundToken, AuthError> {
    verifier().verify(&principal(&["1", "2"]), &shared(payload), NOW)
}

fn refused(fault: TokenFault) -> Result<BoundToken, AuthError> {
    Err(AuthError::Token(fault))
}

fn spki_pem(head: &[u8], key: &[u8]) -> Vec<u8> {
    let der = STANDARD.encode([head, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n").into_bytes()
}

#[test]
fn a_good_token_binds_its_tenant_until_it_expires() {
    let bound = verdict(r#"{"exp":1900000001,"tenant":"2","sub":"pooled","iat":1,"nbf":1900000000}"#);
    assert_eq!(
        bound,
        Ok(BoundToken { tenant: TenantId::new("2").unwrap(), expires: NOW + 1, kid: "h".into() })
    );
}

#[test]
fn public_keys_of_both_kinds_verify_their_own_tokens() {
    let ed = Ed25519KeyPair::generate().unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed_pem = spki_pem(ED25519_SPKI, ed.public_key().as_ref());
    let ec_pem = spki_pem(P256_SPKI, ec.public_key().as_ref());
    let verifier = TokenVerifier {
        keys: vec![
            key("ed", TokenAlgorithm::EdDsa, &ed_pem).unwrap(),
            key("ec", TokenAlgorithm::Es256, &ec_pem).unwrap(),
        ],
    };
    let payload = r#"{"exp":1900000001,"tenant":"1"}"#;
    let by_ed = |m: &[u8]| ed.sign(m).as_ref().to_vec();
    let by_ec = |m: &[u8]| ec.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec();
    let check = |token: &str| verifier.verify(&principal(&[]), token, NOW).map(|bound| bound.expires);
    assert_eq!(check(&token(r#"{"alg":"EdDSA","kid":"ed"}"#, payload, by_ed)), Ok(NOW + 1));
    assert_eq!(check(&token(r#"{"alg":"ES256","kid":"ec"}"#, payload, by_ec)), Ok(NOW + 1));
    let mixed = token(r#"{"alg":"EdDSA","kid":"ec"}"#, payload, by_ed);
    assert_eq!(check(&mixed), Err(TokenFault::Signature.into()));
    // The public key is no shared secret, whatever the header says.
    let confused = token(r#"{"alg":"HS256","kid":"ed"}"#, payload, |m| hs256(&ed_pem, m));
    assert_eq!(check(&confused), Err(TokenFault::Signature.into()));
    let raw = token(r#"{"alg":"HS256","kid":"ed"}"#, payload, |m| hs256(ed.public_key().as_ref(), m));
    assert_eq!(check(&raw), Err(TokenFault::Signature.into()));
}

#[test]
fn a_key_of_another_kind_is_not_read() {
    let ed = Ed25519KeyPair::generate().unwrap();
    let pem = spki_pem(ED25519_SPKI, ed.public_key().as_ref());
    assert!(matches!(key("k", TokenAlgorithm::Es256, &pem), Err(KeyError::NotAKey { .. })));
    assert!(matches!(key("k", TokenAlgorithm::EdDsa, SECRET), Err(KeyError::NotAKey { .. })));
    assert!(matches!(key("k", TokenAlgorithm::Hs256, b"short"), Err(KeyError::ShortSecret { .. })));
}

#[test]
fn claims_of_the_wrong_type_missing_or_repeated_are_refused() {
    for payload in [
        r#"{"tenant":"1"}"#,
        r#"{"exp":"9999999999","tenant":"1"}"#,
        r#"{"exp":-1,"tenant":"1"}"#,
        r#"{"exp":1e400,"tenant":"1"}"#,
        r#"{"exp":9999999999.5,"tenant":"1"}"#,
        r#"{"exp":null,"tenant":"1"}"#,
        r#"{"exp":9999999999,"exp":9999999999,"tenant":"1"}"#,
        r#"{"exp":9999999999,"tenant":"1","tenant":"1"}"#,
        r#"{"exp":9999999999,"tenant":"1","note":1,"note":2}"#,
        r#"{"exp":9999999999,"tenant":["1"]}"#,
        r#"{"exp":9999999999,"tenant":1}"#,
        r#"{"exp":9999999999}"#,
        r#"{"exp":9999999999,"tenant":"1","nbf":"x"}"#,
        r#"{"exp":9999999999,"tenant":"1","nbf":null}"#,
        r#"{"exp":9999999999,"tenant":"1","sub":7}"#,
        r#"{"exp":9999999999,"tenant":"1","iat":"x"}"#,
        r#"["exp"]"#,
        "null",
        "",
    ] {
        assert_eq!(verdict(payload), refused(TokenFault::Claims), "{payload}");
    }
}

#[test]
fn time_subject_and_tenant_are_checked() {
    for (payload, fault) in [
        (r#"{"exp":1900000000,"tenant":"1"}"#, TokenFault::Expired),
        (r#"{"exp":0,"tenant":"1"}"#, TokenFault::Expired),
        (r#"{"exp":9999999999,"tenant":"1","nbf":1900000001}"#, TokenFault::NotYet),
        (r#"{"exp":9999999999,"tenant":"1","sub":"other"}"#, TokenFault::Subject),
        (r#"{"exp":9999999999,"tenant":"3"}"#, TokenFault::Tenant),
        (r#"{"exp":9999999999,"tenant":"01"}"#, TokenFault::Tenant),
        (r#"{"exp":9999999999,"tenant":"1 "}"#, TokenFault::Tenant),
        (r#"{"exp":9999999999,"tenant":"1 or true"}"#, TokenFault::Tenant),
        (r#"{"exp":9999999999,"tenant":"1'--"}"#, TokenFault::Tenant),
        (r#"{"exp":9999999999,"tenant":""}"#, TokenFault::Tenant),
        (r#"{"exp":9999999999,"tenant":"1","aud":"other"}"#, TokenFault::Audience),
    ] {
        assert_eq!(verdict(payload), refused(fault), "{payload}");
    }
}

#[test]
fn the_configured_audience_and_issuer_are_required() {
    let mut key = key("h", TokenAlgorithm::Hs256, SECRET).unwrap();
    key.audience = Some("pgbulkhead".into());
    key.issuer = Some("login".into());
    let verifier = TokenVerifier { keys: vec![key] };
    let check = |rest: &str| {
        let payload = format!(r#"{{"exp":9999999999,"tenant":"1"{rest}}}"#);
        verifier.verify(&principal(&[]), &shared(&payload), NOW).map(|_| ())
    };
    assert_eq!(check(r#","aud":"pgbulkhead","iss":"login""#), Ok(()));
    assert_eq!(check(r#","aud":["x","pgbulkhead"],"iss":"login""#), Ok(()));
    assert_eq!(check(r#","aud":["x"],"iss":"login""#), Err(TokenFault::Audience.into()));
    assert_eq!(check(r#","aud":["pgbulkhead",1],"iss":"login""#), Err(TokenFault::Claims.into()));
    assert_eq!(check(r#","iss":"login""#), Err(TokenFault::Audience.into()));
    assert_eq!(check(r#","aud":"pgbulkhead""#), Err(TokenFault::Issuer.into()));
    assert_eq!(check(r#","aud":"pgbulkhead","iss":"evil""#), Err(TokenFault::Issuer.into()));
}

#[test]
fn the_header_picks_a_key_and_nothing_else() {
    let payload = r#"{"exp":9999999999,"tenant":"1"}"#;
    let signed = |header: &str| token(header, payload, |message| hs256(SECRET, message));
    for (header, fault) in [
        (r#"{"alg":"none","kid":"h"}"#, TokenFault::Malformed),
        (r#"{"alg":"HS512","kid":"h"}"#, TokenFault::Signature),
        (r#"{"alg":"HS256"}"#, TokenFault::UnknownKey),
        (r#"{"alg":"HS256","kid":"../../dev/null"}"#, TokenFault::UnknownKey),
        (r#"{"alg":"HS256","kid":"h","crit":["b64"],"b64":false}"#, TokenFault::Header),
        (r#"{"alg":"HS256","kid":"h","enc":"A128GCM"}"#, TokenFault::Header),
        (r#"{"alg":"HS256","kid":"x","kid":"h"}"#, TokenFault::Malformed),
        ("", TokenFault::Malformed),
    ] {
        let verdict = verifier().verify(&principal(&[]), &signed(header), NOW);
        assert_eq!(verdict, refused(fault), "{header}");
    }
}

#[test]
fn what_is_no_token_is_refused_without_a_word_of_it() {
    let good = shared(r#"{"exp":9999999999,"tenant":"1"}"#);
    let long = "a".repeat(1 << 20);
    let cut = good.get(..good.len() - 2).unwrap();
    let five = format!("{good}.x.y");
    for bad in ["", ".", "..", "...", "a.b", "password", cut, &five, &format!("{good}="), &long] {
        let error = verifier().verify(&principal(&[]), bad, NOW).unwrap_err();
        assert!(bad.len() < 8 || !error.to_string().contains(bad), "{bad}");
        assert_eq!(error.state().0, "28000");
    }
    let swapped = good.replace('.', ",");
    assert_eq!(verifier().verify(&principal(&[]), &swapped, NOW), refused(TokenFault::Malformed));
}

#[test]
fn a_user_with_a_fixed_tenant_takes_no_token() {
    let mut fixed = principal(&[]);
    fixed.tenant = TenantBinding::Fixed(TenantId::new("1").unwrap());
    let good = shared(r#"{"exp":9999999999,"tenant":"1"}"#);
    assert_eq!(verifier().verify(&fixed, &good, NOW), refused(TokenFault::Tenant));
}
