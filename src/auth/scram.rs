//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; PostgreSQL's
//! `auth-scram.c`).
//!
//! ```text
//! client-first   n,,n=user,r=<client nonce>
//! server-first   r=<client nonce><server nonce>,s=<salt>,i=<iterations>
//! client-final   c=<base64 of the gs2 header and the channel binding>,r=<both nonces>,p=<proof>
//! server-final   v=<server signature>
//! ```
//!
//! The name in client-first is ignored, as PostgreSQL does: the startup message has said who it is. Every
//! failure is the same [`AuthError::Login`]; unknown users run through the same steps.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::ScramVerifier;

use super::{AuthError, Principal};

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism that binds the login to the TLS connection (`tls-server-end-point`).
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Longest client message that is read; a client's nonce is some 24 bytes.
const MAX_MESSAGE_BYTES: usize = 2048;

/// What AuthenticationSASL offers, best first.
pub fn mechanisms(channel_binding: bool) -> &'static [&'static str] {
    match channel_binding {
        true => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
        false => &[SCRAM_SHA_256],
    }
}

/// One login. `first` takes client-first and gives server-first; `finish` takes client-final and gives
/// server-final with the principal. Out of order, or twice, is a failed login.
#[derive(Debug)]
pub struct Exchange {
    proof: Proof,
    end_point: Option<Arc<[u8]>>,
    plus: bool,
    state: State,
}

/// What a client is measured against.
#[derive(Debug)]
pub(super) struct Proof {
    /// The verifier; a derived one for an unknown user.
    pub(super) verifier: Arc<ScramVerifier>,
    /// Who it is, if the proof holds; nobody, whatever the proof.
    pub(super) principal: Option<Principal>,
}

#[derive(Debug)]
enum State {
    Start,
    First {
        /// `n=…,r=…` of client-first, then server-first: the head of AuthMessage.
        transcript: String,
        /// Both nonces.
        nonce: String,
        /// What `c=` must decode to.
        binding: Vec<u8>,
    },
    Done,
}

impl Exchange {
    pub(super) fn new(proof: Proof) -> Self {
        Self { proof, end_point: None, plus: false, state: State::Start }
    }

    /// Offers channel binding: for a TLS connection, with the hash of the certificate that it was opened
    /// with (`end_point::server_end_point`).
    #[must_use]
    pub fn bind_channel(mut self, end_point: Option<Arc<[u8]>>) -> Self {
        self.end_point = end_point;
        self
    }

    /// What AuthenticationSASL has to offer.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        mechanisms(self.end_point.is_some())
    }

    /// The mechanism that the client named in SASLInitialResponse. Without this call it is
    /// [`SCRAM_SHA_256`].
    pub fn choose(&mut self, mechanism: &str) -> Result<(), AuthError> {
        self.plus = match mechanism {
            SCRAM_SHA_256 => false,
            SCRAM_SHA_256_PLUS if self.end_point.is_some() => true,
            _ => return Err(self.fail()),
        };
        Ok(())
    }

    /// Takes client-first, gives server-first.
    pub fn first(&mut self, client_first: &[u8]) -> Result<Vec<u8>, AuthError> {
        let mut random = [0; 18];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut random);
        self.first_with(client_first, &STANDARD.encode(random))
    }

    /// Takes client-final, gives server-final and who it is.
    pub fn finish(&mut self, client_final: &[u8]) -> Result<(Vec<u8>, Principal), AuthError> {
        let State::First { transcript, nonce, binding } = std::mem::replace(&mut self.state, State::Done)
        else {
            return Err(AuthError::Login);
        };
        let message = text(client_final)?;
        let final_ = ClientFinal::parse(message).ok_or(AuthError::Login)?;
        if final_.nonce != nonce || final_.binding != binding {
            return Err(AuthError::Login);
        }
        let auth_message = [transcript.as_bytes(), b",", final_.without_proof.as_bytes()];
        let holds = proof_holds(&self.proof.verifier, &auth_message, &final_.proof);
        match self.proof.principal.take() {
            Some(principal) if bool::from(holds) => {
                let signature = hmac(&self.proof.verifier.server_key, &auth_message);
                Ok((format!("v={}", STANDARD.encode(signature)).into_bytes(), principal))
            }
            _ => Err(AuthError::Login),
        }
    }

    fn first_with(&mut self, client_first: &[u8], server_nonce: &str) -> Result<Vec<u8>, AuthError> {
        if !matches!(self.state, State::Start) {
            return Err(self.fail());
        }
        self.state = State::Done;
        let first = ClientFirst::parse(text(client_first)?).ok_or(AuthError::Login)?;
        let binding = self.binding(&first)?;
        let nonce = format!("{}{server_nonce}", first.nonce);
        let verifier = &self.proof.verifier;
        let salt = STANDARD.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let transcript = format!("{},{server_first}", first.bare);
        self.state = State::First { transcript, nonce, binding };
        Ok(server_first.into_bytes())
    }

    /// What `c=` of client-final has to decode to. The mechanism fixes the gs2 flag: `p` with -PLUS and
    /// only with it; `y` («I could bind, but you do not offer it») where it was offered is a downgrade.
    fn binding(&self, first: &ClientFirst<'_>) -> Result<Vec<u8>, AuthError> {
        let mut binding = first.header.as_bytes().to_vec();
        match (first.flag, self.plus, &self.end_point) {
            ("p=tls-server-end-point", true, Some(end_point)) => binding.extend_from_slice(end_point),
            ("n", false, _) | ("y", false, None) => {}
            _ => return Err(AuthError::Login),
        }
        Ok(binding)
    }

    fn fail(&mut self) -> AuthError {
        self.state = State::Done;
        AuthError::Login
    }
}

struct ClientFirst<'a> {
    /// `n`, `y` or `p=…`.
    flag: &'a str,
    /// The gs2 header with both its commas.
    header: &'a str,
    /// Everything after the header.
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// `flag,[authzid],n=name,r=nonce`: an authzid is not supported, neither are extensions.
    fn parse(message: &'a str) -> Option<Self> {
        let (flag, rest) = message.split_once(',')?;
        let bare = rest.strip_prefix(',')?;
        let header = message.get(..message.len().checked_sub(bare.len())?)?;
        let (name, nonce) = bare.strip_prefix("n=")?.split_once(",r=")?;
        let fits = !nonce.is_empty() && nonce.bytes().all(printable) && !name.contains(',');
        fits.then_some(Self { flag, header, bare, nonce })
    }
}

struct ClientFinal<'a> {
    without_proof: &'a str,
    binding: Vec<u8>,
    nonce: &'a str,
    proof: [u8; 32],
}

impl<'a> ClientFinal<'a> {
    /// `c=binding,r=nonce,p=proof`, without extensions.
    fn parse(message: &'a str) -> Option<Self> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let (binding, nonce) = without_proof.strip_prefix("c=")?.split_once(",r=")?;
        if !nonce.bytes().all(printable) {
            return None;
        }
        let binding = STANDARD.decode(binding).ok()?;
        let proof = STANDARD.decode(proof).ok()?.try_into().ok()?;
        Some(Self { without_proof, binding, nonce, proof })
    }
}

/// RFC 5802, section 5.1: printable ASCII but for the comma.
fn printable(byte: u8) -> bool {
    (0x21..=0x7e).contains(&byte) && byte != b','
}

fn text(message: &[u8]) -> Result<&str, AuthError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(AuthError::Login);
    }
    std::str::from_utf8(message).map_err(|_| AuthError::Login)
}

/// ClientKey = proof XOR HMAC(StoredKey, AuthMessage); it holds when H(ClientKey) is StoredKey.
fn proof_holds(verifier: &ScramVerifier, auth_message: &[&[u8]], proof: &[u8; 32]) -> Choice {
    let mut client_key = hmac(&verifier.stored_key, auth_message);
    for (key, proof) in client_key.iter_mut().zip(proof) {
        *key ^= proof;
    }
    let stored: [u8; 32] = Sha256::digest(client_key).into();
    stored.ct_eq(&verifier.stored_key)
}

/// HMAC-SHA-256 over the parts as one message. A key is filled with zeros to the hash's block (RFC 2104,
/// section 2), which makes a key of any other length than 32 unsayable here.
pub(super) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::*;
    use crate::auth::{TenantBinding, verifier};
    use crate::config::TenantId;

    /// RFC 7677, section 3: user `user`, password `pencil`.
    const VECTOR: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn somebody() -> Principal {
        Principal {
            user: "user".into(),
            role: "app".into(),
            database: "ccm".into(),
            tenant: TenantBinding::Fixed(TenantId::new("1").unwrap()),
        }
    }

    fn exchange(verifier: &str) -> Exchange {
        Exchange::new(Proof {
            verifier: Arc::new(ScramVerifier::parse(verifier).unwrap()),
            principal: Some(somebody()),
        })
    }

    fn login(
        exchange: &mut Exchange,
        password: &str,
        binding: ChannelBinding,
    ) -> Result<Principal, AuthError> {
        let mut client = ScramSha256::new(password.as_bytes(), binding);
        let server_first = exchange.first(client.message())?;
        client.update(&server_first).unwrap();
        let (server_final, principal) = exchange.finish(client.message())?;
        client.finish(&server_final).unwrap();
        Ok(principal)
    }

    #[test]
    fn the_exchange_of_rfc_7677_is_reproduced() {
        let mut exchange = exchange(VECTOR);
        let first =
            exchange.first_with(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            String::from_utf8(first.unwrap()).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = exchange.finish(b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let (message, principal) = last.unwrap();
        assert_eq!(message, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(principal, somebody());
    }

    #[test]
    fn another_implementations_client_gets_in_with_the_right_password_only() {
        let verifier = verifier::make("pässword");
        let plain = || ChannelBinding::unsupported();
        assert!(login(&mut exchange(&verifier), "pässword", plain()).is_ok());
        assert_eq!(login(&mut exchange(&verifier), "password", plain()), Err(AuthError::Login));
        assert_eq!(login(&mut exchange(&verifier), "", plain()), Err(AuthError::Login));
    }

    #[test]
    fn channel_binding_holds_for_the_same_certificate_only() {
        let verifier = verifier::make("x");
        let bound = |hash: &[u8]| {
            let mut exchange = exchange(&verifier).bind_channel(Some(hash.into()));
            exchange.choose(SCRAM_SHA_256_PLUS).unwrap();
            exchange
        };
        let client = || ChannelBinding::tls_server_end_point(vec![7; 32]);
        assert!(login(&mut bound(&[7; 32]), "x", client()).is_ok());
        assert_eq!(login(&mut bound(&[8; 32]), "x", client()), Err(AuthError::Login));
        assert_eq!(login(&mut bound(&[7; 32]), "x", ChannelBinding::unsupported()), Err(AuthError::Login));
    }

    #[test]
    fn a_stripped_offer_of_channel_binding_is_noticed() {
        let verifier = verifier::make("x");
        let offered = || exchange(&verifier).bind_channel(Some([7; 32].as_slice().into()));
        assert_eq!(login(&mut offered(), "x", ChannelBinding::unrequested()), Err(AuthError::Login));
        assert!(login(&mut offered(), "x", ChannelBinding::unsupported()).is_ok());
        assert!(login(&mut exchange(&verifier), "x", ChannelBinding::unrequested()).is_ok());
    }

    #[test]
    fn plus_is_not_chosen_where_it_is_not_offered() {
        let mut exchange = exchange(VECTOR);
        assert_eq!(exchange.mechanisms(), [SCRAM_SHA_256]);
        assert_eq!(exchange.choose(SCRAM_SHA_256_PLUS), Err(AuthError::Login));
        assert_eq!(exchange.first(b"n,,n=,r=abc"), Err(AuthError::Login));
    }

    #[test]
    fn messages_that_are_no_scram_fail_like_a_wrong_password() {
        let long = format!("n,,n=,r={}", "a".repeat(3000));
        for first in [
            "",
            "n",
            "n,,",
            "n,,r=abc",
            "n,,n=",
            "n,,n=,r=",
            "n,,n=,r=a,b",
            "n,,n=,r=a b",
            "n,a=admin,n=,r=abc",
            "p=tls-unique,,n=,r=abc",
            "p=tls-server-end-point,,n=,r=abc",
            "z,,n=,r=abc",
            "n,,m=x,n=,r=abc",
            &long,
        ] {
            assert_eq!(exchange(VECTOR).first(first.as_bytes()), Err(AuthError::Login), "{first}");
        }
        assert_eq!(exchange(VECTOR).first(b"n,,n=,r=\xff"), Err(AuthError::Login));
        for last in
            ["", "c=biws", "c=biws,r=abcS", "c=biws,r=abcS,p=", "c=biws,r=abcS,p=AAAA", "c=,r=abcS,p=AAAA"]
        {
            let mut exchange = exchange(VECTOR);
            exchange.first_with(b"n,,n=,r=abc", "S").unwrap();
            assert_eq!(exchange.finish(last.as_bytes()), Err(AuthError::Login), "{last}");
        }
    }

    #[test]
    fn a_step_out_of_order_or_taken_twice_fails() {
        assert_eq!(exchange(VECTOR).finish(b"c=biws,r=abc,p=AAAA"), Err(AuthError::Login));
        let mut twice = exchange(VECTOR);
        twice.first(b"n,,n=,r=abc").unwrap();
        assert_eq!(twice.first(b"n,,n=,r=abc"), Err(AuthError::Login));
        assert_eq!(twice.finish(b"c=biws,r=abc,p=AAAA"), Err(AuthError::Login));
    }

    #[test]
    fn another_sessions_nonce_is_not_taken() {
        let mut client = ScramSha256::new(b"pencil", ChannelBinding::unsupported());
        let mut one = exchange(VECTOR);
        let mut other = exchange(VECTOR);
        let server_first = one.first(client.message()).unwrap();
        other.first(client.message()).unwrap();
        client.update(&server_first).unwrap();
        assert_eq!(other.finish(client.message()), Err(AuthError::Login));
    }

    #[test]
    fn the_mechanisms_follow_the_connection() {
        assert_eq!(mechanisms(true), [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]);
        assert_eq!(mechanisms(false), [SCRAM_SHA_256]);
    }
}
