//! Where lines go. What a sink did not take stays pending and is tried again, so that a full disk leaves no
//! half line behind once it has room.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::chain::{Chain, Link};
use super::line::MAX_LINE_BYTES;

/// Why an audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file cannot be opened or read.
    #[error("audit log {path}: {source}", path = path.display())]
    File {
        /// The log.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else writes it.
    #[error("audit log {path} is locked by another process", path = path.display())]
    Locked {
        /// The log.
        path: PathBuf,
    },
    /// The file does not end with a line of an audit log.
    #[error("{path} is not an audit log; move it away", path = path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// The writer's thread cannot be started.
    #[error("cannot start the audit writer: {0}")]
    Thread(io::Error),
}

/// A place for lines.
pub struct Sink {
    out: Box<dyn Write + Send>,
    /// The same file, to make it durable at the end.
    file: Option<File>,
    pending: Vec<u8>,
    /// Bytes of `pending` that are written.
    written: usize,
}

impl Sink {
    /// Opens a file to append to, alone, and finds where its chain stands.
    pub fn file(path: &Path) -> Result<(Self, Chain), SinkError> {
        let failed = |source| SinkError::File { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        let mut file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SinkError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (chain, torn) =
            resume(&mut file).map_err(failed)?.ok_or_else(|| SinkError::NotALog { path: path.to_owned() })?;
        let pending = if torn { b"\n".to_vec() } else { Vec::new() };
        let second = file.try_clone().map_err(failed)?;
        Ok((Self { out: Box::new(file), file: Some(second), pending, written: 0 }, chain))
    }

    /// Writes to something else, with a chain of its own.
    pub fn stream(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), file: None, pending: Vec::new(), written: 0 }
    }

    /// Lines that were not written yet: append to it.
    pub fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Writes what is pending; after an error the rest stays.
    pub fn write(&mut self) -> io::Result<()> {
        let result = loop {
            match self.pending.get(self.written..) {
                None | Some([]) => break self.out.flush(),
                Some(rest) => match self.out.write(rest) {
                    Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => self.written = self.written.saturating_add(count),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                },
            }
        };
        self.pending.drain(..self.written.min(self.pending.len()));
        self.written = 0;
        result
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

/// Where the chain of a file stands, and whether its last line has no end; nothing for a file that is not a
/// log.
fn resume(file: &mut File) -> io::Result<Option<(Chain, bool)>> {
    let length = file.metadata()?.len();
    // Two whole lines fit: a torn one, and the one before it.
    let window = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX).saturating_mul(2);
    file.seek(SeekFrom::Start(length.saturating_sub(window)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let torn = tail.last().is_some_and(|last| *last != b'\n');
    let mut lines = tail.rsplit(|byte| *byte == b'\n');
    let last = lines.find_map(Link::parse);
    let chain = match last {
        Some(link) => link.hash.try_into().ok().map(|prev| Chain { next: link.seq.saturating_add(1), prev }),
        // Nothing, or a first line that was never finished.
        None if tail.is_empty() || (length <= window && tail.starts_with(b"{\"seq\":1,")) => {
            Some(Chain::default())
        }
        None => None,
    };
    Ok(chain.map(|chain| (chain, torn)))
}
