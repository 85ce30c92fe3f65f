//! The one-way machine from the first byte to a principal. What was asked once cannot be asked again, and the
//! identity is the one of the only StartupMessage.
//!
//! ```text
//! Opening ──SSLRequest──▶ (TLS) ──▶ Opening ──StartupMessage──▶ Sasl ──p──▶ SaslFinal ──p──▶ Done
//!    └─────GSSENCRequest──▶ 'N' ────────┘              └──────▶ Password ──p──────────────▶ Done
//! ```

use super::host::Host;
use super::startup::{self, Startup};
use crate::auth::scram::Exchange;
use crate::auth::{AuthError, BoundToken, Principal};
use crate::policy::{Refusal, Rule, SqlState};
use crate::wire::startup::StartupPacket;
use crate::wire::{WireError, answer, frontend};

/// What the listener does about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsOffer {
    /// `N` to every SSLRequest.
    Never,
    /// With and without.
    Allowed,
    /// 08004 without.
    Required,
}

/// Where a login stands.
#[derive(Debug)]
pub struct Handshake {
    offer: TlsOffer,
    encrypted: bool,
    asked_ssl: bool,
    asked_gss: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Opening,
    Sasl(Startup, Box<Exchange>),
    SaslFinal(Startup, Box<Exchange>),
    Password(Startup),
    Over,
}

/// What follows a step.
#[derive(Debug)]
pub enum Step {
    /// More bytes.
    Go,
    /// The TLS handshake; not a byte may have come yet.
    Tls,
    /// A CancelRequest: to be looked up, then the connection ends without a word.
    Cancel {
        /// Process id.
        pid: i32,
        /// Secret.
        secret: Box<[u8]>,
    },
    /// The connection ends without a word.
    End,
    /// Somebody has logged in.
    Done(Box<Login>),
}

/// A finished login.
#[derive(Debug)]
pub struct Login {
    /// Who it is.
    pub principal: Principal,
    /// What the StartupMessage said.
    pub startup: Startup,
    /// The token that was the password.
    pub token: Option<BoundToken>,
}

impl Handshake {
    /// A connection of which no byte was read.
    pub fn new(offer: TlsOffer) -> Self {
        Self { offer, encrypted: false, asked_ssl: false, asked_gss: false, stage: Stage::Opening }
    }

    /// Whether the next packet has no type byte.
    pub fn opening(&self) -> bool {
        matches!(self.stage, Stage::Opening)
    }

    /// The TLS handshake has ended well.
    pub fn encrypted(&mut self) {
        self.encrypted = true;
    }

    /// A packet without a type byte.
    pub fn packet(
        &mut self,
        host: &mut dyn Host,
        packet: StartupPacket<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        match packet {
            StartupPacket::Ssl if !self.asked_ssl && !self.encrypted => {
                self.asked_ssl = true;
                let never = self.offer == TlsOffer::Never;
                out.push(if never { b'N' } else { b'S' });
                Ok(if never { Step::Go } else { Step::Tls })
            }
            StartupPacket::Gss if !self.asked_gss && !self.encrypted => {
                self.asked_gss = true;
                out.push(b'N');
                Ok(Step::Go)
            }
            StartupPacket::Ssl | StartupPacket::Gss | StartupPacket::CancelOfOtherLength => Ok(Step::End),
            StartupPacket::Cancel { pid, secret } => Ok(Step::Cancel { pid, secret: secret.into() }),
            StartupPacket::Startup { minor, parameters } => {
                let startup = startup::read(minor, &parameters)?;
                self.begin(host, startup, out)
            }
        }
    }

    fn begin(&mut self, host: &mut dyn Host, startup: Startup, out: &mut Vec<u8>) -> Result<Step, Refusal> {
        if self.offer == TlsOffer::Required && !self.encrypted {
            let message = "a connection without TLS is refused";
            return Err(Refusal::new(SqlState::TLS_REQUIRED, Rule("tls"), message));
        }
        if let Some(unsupported) = &startup.negotiate {
            answer::negotiate_version(out, startup.minor, unsupported.clone());
        }
        if host.password_token_user(&startup.user) {
            answer::ask_password(out);
            self.stage = Stage::Password(startup);
        } else {
            let exchange = host.authenticate_start(&startup.user, &startup.database, self.encrypted);
            answer::ask_sasl(out, exchange.mechanisms());
            self.stage = Stage::Sasl(startup, Box::new(exchange));
        }
        Ok(Step::Go)
    }

    /// The body of a `p`.
    pub fn response(&mut self, host: &mut dyn Host, body: &[u8], out: &mut Vec<u8>) -> Result<Step, Refusal> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Sasl(startup, mut exchange) => {
                let (mechanism, data) = frontend::sasl_initial(body)?;
                let first = exchange.choose(mechanism).and_then(|()| exchange.first(data));
                answer::sasl_continue(out, first.map_err(|error| failed(host, error, &startup))?);
                self.stage = Stage::SaslFinal(startup, exchange);
                Ok(Step::Go)
            }
            Stage::SaslFinal(startup, mut exchange) => {
                let (last, principal) =
                    exchange.finish(body).map_err(|error| failed(host, error, &startup))?;
                answer::sasl_final(out, last);
                Ok(Step::Done(Box::new(Login { principal, startup, token: None })))
            }
            Stage::Password(startup) => {
                let password = frontend::password(body)?;
                let (principal, token) = host
                    .authenticate_token(&startup.user, &startup.database, password)
                    .map_err(|error| failed(host, error, &startup))?;
                Ok(Step::Done(Box::new(Login { principal, startup, token: Some(token) })))
            }
            Stage::Opening | Stage::Over => Err(WireError::Unexpected(b'p').into()),
        }
    }
}

/// The one answer to a failed login, in PostgreSQL's words; a token's fault is told as it is.
fn failed(host: &mut dyn Host, error: AuthError, startup: &Startup) -> Refusal {
    host.login_refused(&startup.user, &startup.database, error);
    let message = match error {
        AuthError::Login => format!("password authentication failed for user \"{}\"", startup.user),
        other => other.to_string(),
    };
    Refusal::new(error.state(), Rule("login"), message)
}
