//! A timer that ends a reactor's wait, finer than epoll's milliseconds. Linux has one that epoll can watch
//! (timerfd_create(2)); elsewhere there is none.

pub(super) use timer::Pulse;

#[cfg(target_os = "linux")]
mod timer {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// The timer.
    #[derive(Debug)]
    pub(in crate::pool) struct Pulse(OwnedFd);

    impl Pulse {
        /// One that does not beat yet, and will under this token. Each beat is told, as epoll is edge-triggered: it is not
        /// to be read.
        pub(in crate::pool) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(timer))
        }

        /// Beats once, after so long.
        pub(in crate::pool) fn beat_after(&self, patience: Duration) -> io::Result<()> {
            let it_value = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
            let once = Itimerspec { it_interval: Timespec::default(), it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use std::convert::Infallible;
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// There is none.
    #[derive(Debug)]
    pub(in crate::pool) struct Pulse(Infallible);

    impl Pulse {
        pub(in crate::pool) fn new(_: &Registry, _: Token) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::pool) fn beat_after(&self, _: Duration) -> io::Result<()> {
            match self.0 {}
        }
    }
}
