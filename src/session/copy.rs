//! The messages of COPY. They mean something between the server's CopyInResponse and the end of the COPY, and
//! are dropped everywhere else, as PostgreSQL does (`PostgresMain`: «probably got here because of error»).
//!
//! ```text
//! No ──COPY FROM sent──▶ Asked ──G──▶ In ──c, f, or E──▶ No
//! No ──H──▶ Out ──C, E──▶ No
//! ```

use super::Io;
use super::active::{Active, Flow};
use crate::policy::{Refusal, Rule, SqlState};
use crate::wire::request;

/// Where a COPY stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copying {
    /// There is none.
    #[default]
    No,
    /// COPY FROM STDIN was sent: the server's answer comes first.
    Asked,
    /// The server takes data.
    In,
    /// The server sends data.
    Out,
}

impl Active {
    /// Handles a message as COPY sees it; none: COPY has nothing to say about it.
    pub(super) fn copy_message(
        &mut self,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<Option<Flow>, Refusal> {
        match (self.copying, tag) {
            (Copying::In, b'd' | b'c' | b'f') => {
                request::frame(io.server, tag, |out| out.extend_from_slice(body))?;
                if tag != b'd' {
                    // In the extended protocol the server answers at the Sync that follows.
                    self.copying = Copying::No;
                }
                Ok(Some(Flow::Done))
            }
            // PostgreSQL ignores both while it reads COPY data (copyfromparse.c, CopyGetData).
            (Copying::In, b'S' | b'H') => Ok(Some(Flow::Done)),
            (Copying::In | Copying::Asked, b'X') => Ok(Some(Flow::End)),
            (Copying::In, _) => {
                let message = "unexpected message during COPY from stdin";
                Err(Refusal::new(SqlState::PROTOCOL, Rule("protocol"), message))
            }
            (Copying::Asked, _) => Ok(Some(Flow::Drain)),
            (Copying::No | Copying::Out, b'd' | b'c' | b'f') => Ok(Some(Flow::Done)),
            (Copying::No | Copying::Out, _) => Ok(None),
        }
    }
}
