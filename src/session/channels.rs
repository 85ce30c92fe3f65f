//! The channels that a session listens on. The server knows them by the digests of `sql::channel`; the client is told
//! its own names, and nothing of a channel that it did not ask for.

use std::collections::BTreeMap;

use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::channel;
use crate::wire::WireError;
use crate::wire::backend::Notification;
use crate::wire::request::{c_str, frame};

/// Channels that a session may listen on at once.
const MOST: usize = 4096;

/// Channels by the server's name.
#[derive(Debug, Default)]
pub struct Channels {
    known: BTreeMap<Box<str>, Channel>,
}

#[derive(Debug)]
struct Channel {
    client: Box<str>,
    tenant: TenantId,
}

impl Channels {
    /// Whether a LISTEN more may be sent. 54000 where there are too many.
    pub fn may_listen(&self) -> Result<(), Refusal> {
        if self.known.len() >= MOST {
            let message = format!("a session may listen on {MOST} channels");
            return Err(Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), message));
        }
        Ok(())
    }

    /// The session listens on a tenant's channel of this name. UNLISTEN forgets nothing: what the server does not
    /// send is not told.
    pub fn listen(&mut self, tenant: &TenantId, client: &str) {
        let channel = Channel { client: client.into(), tenant: tenant.clone() };
        self.known.insert(channel::server_name(tenant, client).into(), channel);
    }

    /// The session listens on nothing.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// What the client is told of a notification: one of a channel of `tenant`, which the session has now. `own`
    /// are the server's and the client's process id of the session itself; of any other the client does not
    /// learn the number.
    pub fn told(
        &self,
        notification: &Notification<'_>,
        tenant: Option<&TenantId>,
        own: (Option<i32>, i32),
    ) -> Result<Option<Vec<u8>>, WireError> {
        let known = self.known.get(notification.channel);
        let Some(channel) = known.filter(|channel| tenant == Some(&channel.tenant)) else { return Ok(None) };
        let pid = if own.0 == Some(notification.pid) { own.1 } else { 0 };
        let mut out = Vec::new();
        frame(&mut out, b'A', |out| {
            out.extend_from_slice(&pid.to_be_bytes());
            c_str(out, channel.client.as_bytes());
            c_str(out, notification.payload);
        })?;
        Ok(Some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn told(channels: &Channels, channel: &str, pid: i32, now: &str) -> Option<Vec<u8>> {
        let notification = Notification { pid, channel, payload: b"p" };
        channels.told(&notification, Some(&tenant(now)), (Some(7), 99)).unwrap()
    }

    #[test]
    fn client_is_told_its_own_name_and_number() {
        let mut channels = Channels::default();
        channels.listen(&tenant("1"), "jobs");
        let server = channel::server_name(&tenant("1"), "jobs");
        assert_eq!(told(&channels, &server, 7, "1").unwrap(), b"A\0\0\0\x0f\0\0\0\x63jobs\0p\0");
        assert_eq!(told(&channels, &server, 8, "1").unwrap(), b"A\0\0\0\x0f\0\0\0\0jobs\0p\0");
    }

    #[test]
    fn nothing_is_told_of_a_channel_of_another_tenant() {
        let mut channels = Channels::default();
        channels.listen(&tenant("1"), "jobs");
        let server = channel::server_name(&tenant("1"), "jobs");
        assert_eq!(told(&channels, &server, 7, "2"), None);
        assert_eq!(told(&channels, &channel::server_name(&tenant("2"), "jobs"), 7, "1"), None);
        assert_eq!(told(&channels, "jobs", 7, "1"), None);
        channels.clear();
        assert_eq!(told(&channels, &server, 7, "1"), None);
    }
}
