//! What holds a server connection beyond its transaction: a session's advisory locks, and the channels that it
//! listens on.
//!
//! What a statement leaves behind only the server knows: a lock is tried in vain, a LISTEN is rolled back, a lock is
//! taken once for each row. So a statement that may leave something [pins](Pin::taken) the lease, and once the
//! transaction is over the server is [asked](crate::session::outgoing::OwnStatement::StillHeld) whether anything
//! is left. If not, the lease ends like any other. The connection of a client that goes while its lease is
//! pinned is closed, which gives everything back.
//!
//! ```text
//! Free ──may hold──▶ Unknown ──idle, asked──▶ Asked ──nothing──▶ Free
//!                       ▲                       │
//!                       └──may hold, may give───┴──something──▶ Held
//! ```

/// Whether a lease is pinned, and what is known about why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pin {
    held: bool,
    unknown: bool,
    asked: bool,
    failed: bool,
}

impl Pin {
    /// Whether the lease goes beyond its transaction.
    pub fn is_held(self) -> bool {
        self.held
    }

    /// A statement is sent that may leave something.
    pub fn taken(&mut self) {
        self.held = true;
        self.unknown = true;
    }

    /// A statement is sent that may give something back.
    pub fn given(&mut self) {
        self.unknown |= self.held;
    }

    /// Whether the server has to be asked now; the caller asks.
    pub fn ask(&mut self) -> bool {
        let ask = self.held && self.unknown && !self.asked;
        if ask {
            self.asked = true;
            self.unknown = false;
        }
        ask
    }

    /// The answer to a query of the proxy's own has ended with this tag: `SELECT 0` where nothing is left.
    pub fn answered(&mut self, tag: &[u8]) {
        if self.asked && tag.starts_with(b"SELECT ") {
            self.asked = false;
            self.failed = false;
            self.held = self.unknown || tag != b"SELECT 0";
        }
    }

    /// The question has failed: a cancel that was meant for the client's statement came late. It is asked once more;
    /// false where it was not asked, or fails again.
    pub fn ask_again(&mut self) -> bool {
        if !self.asked || self.failed {
            return false;
        }
        self.asked = false;
        self.unknown = true;
        self.failed = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Pin {
        let mut pin = Pin::default();
        pin.taken();
        assert!(pin.ask());
        assert!(!pin.ask());
        pin
    }

    #[test]
    fn lease_is_held_until_the_server_says_that_nothing_is_left() {
        let mut pin = asked();
        pin.answered(b"SELECT 1");
        assert!(pin.is_held() && !pin.ask());
        pin.given();
        assert!(pin.ask());
        pin.answered(b"SET");
        assert!(pin.is_held());
        pin.answered(b"SELECT 0");
        assert!(!pin.is_held());
    }

    #[test]
    fn answer_that_is_older_than_a_statement_frees_nothing() {
        let mut pin = asked();
        pin.taken();
        pin.answered(b"SELECT 0");
        assert!(pin.is_held() && pin.ask());
    }

    #[test]
    fn question_that_fails_is_asked_once_more() {
        let mut pin = asked();
        assert!(pin.ask_again());
        assert!(pin.ask());
        assert!(!pin.ask_again());
        assert!(pin.is_held());
        assert!(!Pin::default().ask_again());
    }
}
