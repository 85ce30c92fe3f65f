//! What a client is told of its settings by ParameterStatus (protocol, "Asynchronous Operations"): at login those that it
//! begins with, as the server spells them, and later those that go back to them without the server's saying so.

use std::rc::Rc;

use crate::wire::answer;

/// Name and value, as a server reports them.
pub type Report = (String, String);

/// The setting whose value is the client's own name for itself, whatever the server connection says.
const APPLICATION_NAME: &str = "application_name";

/// A session's reports.
#[derive(Debug, Default)]
pub struct Reports {
    /// What server connections begin with.
    defaults: Rc<[Report]>,
    /// What is otherwise for this session.
    own: Vec<Report>,
    /// Settings that have gone back to what the session began with.
    untold: Vec<String>,
}

impl Reports {
    /// What a session is told that asks for nothing.
    pub(super) fn new(defaults: Rc<[Report]>, user: &str, application_name: &str) -> Self {
        let mut reports = Self { defaults, ..Self::default() };
        reports.begin_with(("session_authorization".to_owned(), user.to_owned()));
        reports.begin_with((APPLICATION_NAME.to_owned(), application_name.to_owned()));
        reports
    }

    /// What a setting of the session's is reported as.
    pub(super) fn begin_with(&mut self, report: Report) {
        match self.own.iter_mut().find(|(name, _)| *name == report.0) {
            Some(own) => *own = report,
            None => self.own.push(report),
        }
    }

    /// What the client is told at login.
    pub(super) fn at_login(&self) -> impl Iterator<Item = (&str, &str)> {
        self.defaults.iter().map(|(name, value)| {
            let own = self.own.iter().find(|(own, _)| own == name);
            (name.as_str(), own.map_or(value.as_str(), |(_, value)| value))
        })
    }

    /// A setting has gone back to what the session began with; the client hears of it before the next ReadyForQuery.
    pub(super) fn gone_back(&mut self, name: &str) {
        if !self.untold.iter().any(|untold| untold == name) {
            self.untold.push(name.to_owned());
        }
    }

    /// Whether a setting's report is never the server connection's.
    pub(super) fn is_never_the_servers(name: &str) -> bool {
        name == APPLICATION_NAME
    }

    /// Whether there is nothing to tell.
    #[inline]
    pub(super) fn are_told(&self) -> bool {
        self.untold.is_empty()
    }

    /// Appends what is to be told.
    pub(super) fn tell(&mut self, out: &mut Vec<u8>) {
        for untold in std::mem::take(&mut self.untold) {
            if let Some((name, value)) = self.at_login().find(|(name, _)| name.eq_ignore_ascii_case(&untold))
            {
                answer::parameter_status(out, name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports() -> Reports {
        let defaults = [("TimeZone", "UTC"), ("application_name", "pgbulkhead"), ("DateStyle", "ISO, MDY")];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut reports = Reports::new(Rc::new(defaults), "u", "app");
        reports.begin_with(("TimeZone".into(), "Europe/Berlin".into()));
        reports
    }

    #[test]
    fn client_is_told_at_login_what_it_began_with() {
        let reports = reports();
        let all: Vec<_> = reports.at_login().collect();
        let expected =
            [("TimeZone", "Europe/Berlin"), ("application_name", "app"), ("DateStyle", "ISO, MDY")];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_went_back_is_told_once_and_what_no_server_reports_never() {
        let mut reports = reports();
        for name in ["timezone", "statement_timeout", "timezone", "datestyle"] {
            reports.gone_back(name);
        }
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        answer::parameter_status(&mut expected, "TimeZone", "Europe/Berlin");
        answer::parameter_status(&mut expected, "DateStyle", "ISO, MDY");
        reports.tell(&mut out);
        assert_eq!((out, reports.are_told()), (expected, true));
    }
}
