//! Every decision, written down so that what was written can be checked offline.
//!
//! A worker pushes [`Event`]s into its own [`Ring`]; one thread, the [`Writer`], drains all rings, formats a
//! line of JSON an event, chains it to the line before, and writes. The thread sleeps by time and is woken
//! early only when a ring is half full: waking it for each event would cost more than everything else here.
//! A full ring, or a sink that does not take what it is given, makes [`Ring::reserve`] say no: what cannot be
//! written down must not run.
//!
//! A line ends with `"prev":"…","hash":"…"}`. `hash` is the SHA-256 of the line's bytes before `,"hash"`,
//! `prev` is the `hash` of the line before, so `sha256sum` can check a log:
//!
//! ```sh
//! tail -n 1 audit.jsonl | sed 's/,"hash":"[0-9a-f]*"}$//' | tr -d '\n' | sha256sum
//! ```

pub mod chain;
pub mod event;
pub mod line;
pub mod redact;
pub mod ring;
pub mod sink;
pub mod status;
pub mod verify;
pub mod writer;

pub use event::{Event, Verdict};
pub use line::statement;
pub use redact::redact;
pub use ring::{Full, Ring};
pub use sink::SinkError;
pub use status::Status;
pub use verify::{Fault, Report, VerifyError, verify};
pub use writer::{Writer, start};
