//! How a peer is noticed that is gone without a word: a failed host, a cut cable, a firewall that forgets.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Probes of one silence before the connection counts as lost (`tcp(7)`, TCP_KEEPCNT).
const PROBES: u32 = 3;

/// What the system does about a silent peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// After how long without a byte the peer is probed, and a third of it between probes (seconds at least).
    pub idle: Duration,
    /// How long what was sent may stay unacknowledged (Linux only).
    pub user_timeout: Duration,
}

impl Keepalive {
    /// Tells it to the system.
    pub fn apply(&self, tcp: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(tcp);
        let second = Duration::from_secs(1);
        let (idle, interval) = (self.idle.max(second), (self.idle / 3).max(second));
        let probing = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
        socket.set_tcp_keepalive(&probing)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn system_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let keepalive = Keepalive { idle: Duration::from_secs(42), user_timeout: Duration::from_secs(7) };
        keepalive.apply(&tcp).unwrap();
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(42));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(14));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
    }
}
