//! From a finished login to ReadyForQuery.

use super::active::{Active, Look};
use super::handshake::{Login, Step};
use super::host::Host;
use super::outgoing::SettingText;
use super::startup::{self, Startup};
use super::tenancy::Tenancy;
use super::{Io, Phase, Session, Unplanned, Want};
use crate::policy::{Refusal, Rule};
use crate::sql::{Action, Change};
use crate::wire::answer;
use crate::wire::backend::TransactionStatus;

#[derive(Debug)]
pub(super) struct Greeting {
    application_name: String,
    minor: u16,
}

/// Bytes of a cancel key's secret, and of one of protocol 3.2 (PostgreSQL: `MAX_CANCEL_KEY_LENGTH`).
const SECRET: usize = 4;
const LONG_SECRET: usize = 32;

impl Session {
    pub(super) fn login_step(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        step: Step,
        taken: usize,
    ) -> Result<usize, Refusal> {
        match step {
            Step::Go => {}
            Step::Tls => self.want = Want::Tls,
            Step::Cancel { pid, secret } => self.want = Want::Cancel { pid, secret },
            Step::End => self.end(),
            Step::Done(login) => {
                self.logged_in(host, *login)?;
                self.settle(host, io)?;
            }
        }
        Ok(taken)
    }

    fn logged_in(&mut self, host: &mut dyn Host, login: Login) -> Result<(), Refusal> {
        let Login { principal, startup, token } = login;
        let expires = token.as_ref().map(|token| token.expires);
        let tenancy = Tenancy::at_login(&principal, startup.tenant.as_deref(), token);
        let tenancy = tenancy.map_err(|error| {
            host.login_refused(&startup.user, &startup.database, error);
            Refusal::new(error.state(), Rule("login"), error.to_string())
        })?;
        host.logged_in(&principal)?;
        let Startup { application_name, minor, settings, .. } = startup;
        let settings = settings.iter().rev().map(|(name, value)| startup::as_set(name, value)).collect();
        let greeting = Box::new(Greeting { application_name, minor });
        let mut active = Box::new(Active::new(principal, tenancy, self.terms.lease_per_session));
        let name = &greeting.application_name;
        if self.terms.application_name && !name.is_empty() {
            active.settings.begin_with("application_name".to_owned(), SettingText::application_name(name));
        }
        expires.into_iter().for_each(|expires| active.expire_at(expires));

        self.phase = Phase::Settling(active, settings, greeting);
        Ok(())
    }

    /// Plans the settings of the StartupMessage as the SETs that they are, tries them, and says that the session is ready.
    pub(super) fn settle(&mut self, host: &mut dyn Host, io: &mut Io<'_>) -> Result<(), Refusal> {
        let Phase::Settling(active, settings, greeting) = &mut self.phase else { return Ok(()) };
        while let Some(text) = settings.last() {
            match active.look(host, text, &[]) {
                Look::Unplanned => {
                    self.want = Want::Plan(Unplanned { text: text.clone(), declared: Vec::new() });
                    return Ok(());
                }
                Look::Refused(refusal, _) => return Err(refusal),
                Look::Planned(parts) => {
                    for part in &parts {
                        if let Action::Set { changes, .. } = &part.plan.planned.action {
                            for change in changes {
                                if let Change { name: Some(name), value: Some(value), .. } =
                                    change.with(|_| None)?
                                {
                                    let text = SettingText::new(&name, &value);
                                    active.settings.begin_with(name, text);
                                }
                            }
                        }
                    }
                }
            }
            settings.pop();
        }
        if let Some(want) = active.try_settings(host, &greeting.application_name)? {
            self.want = want;
            return Ok(());
        }
        if let Phase::Settling(mut active, _, greeting) = std::mem::replace(&mut self.phase, Phase::Over) {
            active.pid = greet(host, io.client, &active, &greeting);
            self.phase = Phase::Active(active);
        }
        Ok(())
    }
}

/// AuthenticationOk to ReadyForQuery; gives the process id that the client is told.
fn greet(host: &mut dyn Host, out: &mut Vec<u8>, active: &Active, greeting: &Greeting) -> i32 {
    answer::authentication_ok(out);
    for (name, value) in active.settings.reports.at_login() {
        answer::parameter_status(out, name, value);
    }
    let (pid, secret) = host.cancel_key(if greeting.minor >= 2 { LONG_SECRET } else { SECRET });
    answer::key_data(out, pid, &secret);
    answer::ready_for_query(out, TransactionStatus::Idle);
    pid
}
