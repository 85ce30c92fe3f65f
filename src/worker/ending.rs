//! What ends a session, or what it runs, without its client: deadlines, a stop, and access that was taken away.

use std::task::Context;
use std::time::Duration;

use super::client::{Client, Gone};
use super::shared::Stopping;
use crate::policy::{Refusal, Rule, SqlState};
use crate::session::active::Active;
use crate::wire::answer;

impl Client {
    /// When it has to be looked at even if nothing happens.
    pub fn deadline(&self) -> Option<u64> {
        let of_lease = self.waiting.as_ref().map(|waiting| waiting.deadline);
        [self.login_deadline, self.write_deadline, self.query_deadline, of_lease].into_iter().flatten().min()
    }

    /// Ends the session whose deadline has come: [`Gone`] where its client is to hear nothing any more.
    pub(super) fn watch_deadlines(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        if self.login_deadline.is_some() && self.session.is_logged_in() {
            self.login_deadline = None;
        }
        if self.has_come(self.login_deadline) {
            return Err(Gone);
        }
        if self.unsent.is_empty() {
            self.write_deadline = None;
        } else if self.write_deadline.is_none() {
            self.write_deadline = Some(self.due_in(self.worker.settings.config.general.client_write_timeout));
        }
        self.watch_query(cx);
        if self.has_come(self.write_deadline) { Err(Gone) } else { Ok(()) }
    }

    fn has_come(&self, deadline: Option<u64>) -> bool {
        deadline.is_some_and(|at| at <= self.worker.clock())
    }

    /// The deadline after so long: the loop comes back then.
    pub(super) fn due_in(&self, patience: Duration) -> u64 {
        let at = self.worker.after(patience);
        self.worker.wake_at(at);
        at
    }

    /// What runs for longer than `query_timeout` is cancelled, and its client let go: what answers no more is no
    /// use to it.
    fn watch_query(&mut self, cx: &mut Context<'_>) {
        let Some(patience) = self.worker.settings.config.general.query_timeout else { return };
        if !self.handle.running.get() {
            self.query_deadline = None;
        } else if self.query_deadline.is_none() {
            self.query_deadline = Some(self.due_in(patience));
        }
        if self.has_come(self.query_deadline) {
            self.query_deadline = None;
            if let Some(lease) = self.lease.take() {
                lease.cancel_and_close();
            }
            let message = "the statement took longer than query_timeout";
            self.lose_server(cx, &Refusal::new(SqlState::CANCELED, Rule("query_timeout"), message));
        }
    }

    /// Ends a session whose worker stops.
    pub(super) fn watch_stop(&mut self, cx: &mut Context<'_>) {
        let stop = match self.worker.stopping.get() {
            Stopping::No => false,
            Stopping::Gently => self.session.active().is_none_or(Active::is_idle),
            Stopping::Now => true,
        };
        if stop {
            self.with(cx, |session, _, io| session.fatal(io, &answer::shutting_down()));
        }
    }

    /// Ends a session that could not be had any more. One that is not logged in yet is looked at when it is.
    pub(super) fn watch_access(&mut self, cx: &mut Context<'_>) {
        let Some(active) = self.session.active() else { return };
        self.handle.review.set(false);
        let tenancy = active.tenancy();
        let access = self.worker.settings.access.load();
        if !access.holds(active.who(), tenancy.all(), tenancy.token()) {
            tracing::info!(session = self.id, user = %active.who().user, "a session ends: its user was changed");
            self.with(cx, |session, _, io| session.fatal(io, &answer::shutting_down()));
        }
    }
}
