//! Whether the server takes the settings that a client begins with, and how it spells them: both are found out on a leased
//! connection before the client hears that its session is ready, as PostgreSQL does (`process_settings` and
//! `process_startup_options`, utils/init/postinit.c). A worker remembers what the server makes of a setting, so that most
//! logins need no connection.

use super::Want;
use super::active::Active;
use super::host::Host;
use super::reports::Reports;
use super::server::Server;
use super::setting_texts::SettingTexts;
use crate::policy::{Refusal, Rule, SqlState};

/// A trial that goes on.
#[derive(Debug, Default)]
pub struct Trial {
    /// The server connection's settings before it.
    before: SettingTexts,
    refusal: Option<Refusal>,
}

impl Trial {
    /// The session's settings are about to be made the server connection's.
    pub(super) fn begins(&mut self, server: &Server) {
        self.before.clone_from(&server.settings);
    }
}

impl Active {
    /// Finds out what the client is to be told of its settings; gives what has to happen before that is known. Errors:
    /// 22023 for a setting that the server does not take, and where there is no server connection to ask.
    pub(super) fn try_settings(
        &mut self,
        host: &mut dyn Host,
        application_name: &str,
    ) -> Result<Option<Want>, Refusal> {
        if self.is_running() {
            return Ok(Some(Want::Drain));
        }
        let refusal = self.trial.as_mut().and_then(|trial| trial.refusal.take());
        if let Some(refusal) = refusal.or_else(|| self.no_lease.take()) {
            return Err(refusal);
        }
        let mut reports = Vec::new();
        for (name, setting) in self.settings.at_start().iter() {
            if Reports::is_never_the_servers(name) {
                continue;
            }
            let report = match (host.report_of(&self.who, setting), &self.server) {
                (Some(report), _) => report,
                (None, Some(server)) => {
                    let report = server.report(name).cloned();
                    host.keep_report(&self.who, setting, report.clone());
                    report
                }
                (None, None) => {
                    self.trial = Some(Box::default());
                    return Ok(Some(Want::Lease));
                }
            };
            reports.extend(report);
        }
        self.trial = None;
        self.settings.reports =
            Reports::new(host.server_parameters(&self.who), &self.who.user, application_name);
        reports.into_iter().for_each(|report| self.settings.reports.begin_with(report));
        self.settle_lease();
        Ok(None)
    }

    /// The server does not take a setting that is tried.
    pub(super) fn not_taken(&mut self, message: &str) {
        let refusal = Refusal::new(SqlState::INVALID_PARAMETER, Rule("startup"), message.to_owned());
        self.trial.iter_mut().for_each(|trial| trial.refusal = Some(refusal.clone()));
    }

    /// A statement of the proxy's own has ended: where a setting was not taken, the server has undone all of them.
    pub(super) fn tried(&mut self) {
        if let (Some(trial), Some(server)) = (&self.trial, &mut self.server)
            && trial.refusal.is_some()
        {
            server.settings.clone_from(&trial.before);
        }
    }
}
