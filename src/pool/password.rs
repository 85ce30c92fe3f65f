//! The backend role's password, as each new connection needs it: fixed, from a file that is read anew, or from a
//! command whose answer is kept for a while.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::config::model::{Password, PasswordCommand, Secret};

/// Longest answer of a command; a token of RDS has about 1 500 bytes.
const LONGEST: u64 = 64 * 1024;
/// How much of a failed command's complaint is told, in characters.
const COMPLAINT: usize = 160;

/// Why there is no password. None of the messages holds what a command has printed to its standard output.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// `password_file` cannot be read.
    #[error("password_file {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// `password_command` cannot be started or its output cannot be read.
    #[error("password_command \"{program}\": {source}")]
    Command {
        /// Its first word.
        program: String,
        /// What is wrong.
        source: io::Error,
    },
    /// `password_command` ran for longer than `password_timeout`.
    #[error("password_command \"{program}\" did not end within {timeout:?}")]
    Timeout {
        /// Its first word.
        program: String,
        /// `password_timeout`.
        timeout: Duration,
    },
    /// `password_command` failed.
    #[error("password_command \"{program}\" failed ({status}): {complaint}")]
    Failed {
        /// Its first word.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The first line of its standard error, cut, without what it printed to its standard output.
        complaint: String,
    },
    /// Nothing, or something that no password can be.
    #[error("{0} gives no password: it is empty, no UTF-8 or has a zero byte in it")]
    Unusable(&'static str),
}

/// Passwords of one database, for all its connections.
#[derive(Debug)]
pub struct Passwords {
    source: Password,
    kept: Mutex<Option<Kept>>,
    /// Held while the command runs, so that it runs once for all who wait.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Kept {
    secret: Secret,
    since: Instant,
}

impl Passwords {
    /// Passwords from a source.
    pub fn new(source: Password) -> Self {
        Self { source, kept: Mutex::new(None), turn: tokio::sync::Mutex::new(()) }
    }

    /// The password of now; none where none is configured.
    pub async fn current(&self) -> Result<Option<Secret>, PasswordError> {
        match &self.source {
            Password::None => Ok(None),
            Password::Text(secret) => Ok(Some(secret.clone())),
            Password::File(path) => {
                let read = tokio::fs::read(path).await;
                let bytes = read.map_err(|source| PasswordError::File { path: path.clone(), source })?;
                secret(bytes, "password_file").map(Some)
            }
            Password::Command(command) => self.by_command(command).await.map(Some),
        }
    }

    /// The server did not take it: the command runs again for the next connection.
    pub fn refused(&self, secret: &Secret) {
        let mut kept = self.kept.lock();
        if kept.as_ref().is_some_and(|kept| kept.secret == *secret) {
            *kept = None;
        }
    }

    /// What the command printed, at most three quarters of its life ago. Where the command fails, what it printed
    /// before serves up to the end of its life.
    async fn by_command(&self, command: &PasswordCommand) -> Result<Secret, PasswordError> {
        let fresh = command.lifetime.saturating_mul(3) / 4;
        if let Some(secret) = self.younger_than(fresh) {
            return Ok(secret);
        }
        let _turn = self.turn.lock().await;
        if let Some(secret) = self.younger_than(fresh) {
            return Ok(secret);
        }
        let since = Instant::now();
        match run(command).await {
            Ok(secret) => {
                *self.kept.lock() = Some(Kept { secret: secret.clone(), since });
                Ok(secret)
            }
            Err(error) => match self.younger_than(command.lifetime) {
                Some(secret) => {
                    tracing::warn!(%error, "the last password serves until its end");
                    Ok(secret)
                }
                None => Err(error),
            },
        }
    }

    fn younger_than(&self, age: Duration) -> Option<Secret> {
        let kept = self.kept.lock();
        kept.as_ref().filter(|kept| kept.since.elapsed() < age).map(|kept| kept.secret.clone())
    }
}

/// Runs the command once. It is killed when it takes too long, or when nobody waits for it any more.
async fn run(command: &PasswordCommand) -> Result<Secret, PasswordError> {
    let (program, arguments) = match command.words.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => return Err(PasswordError::Unusable("password_command")),
    };
    let failed = |source| PasswordError::Command { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(read(out), read(err), child.wait()) };
    let Ok((out, err, status)) = tokio::time::timeout(command.timeout, work).await else {
        return Err(PasswordError::Timeout { program: program.to_owned(), timeout: command.timeout });
    };
    let (out, status) = (out.map_err(failed)?, status.map_err(failed)?);
    if !status.success() {
        let complaint = complaint(&err.unwrap_or_default(), &out);
        return Err(PasswordError::Failed { program: program.to_owned(), status, complaint });
    }
    secret(out, "password_command")
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(LONGEST).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The first line of `err`, without `out` in it, cut and without control characters.
fn complaint(err: &[u8], out: &[u8]) -> String {
    let (err, out) = (String::from_utf8_lossy(err), String::from_utf8_lossy(out));
    let told = match out.trim() {
        "" => err.into_owned(),
        printed => err.replace(printed, "…"),
    };
    let line = told.trim().lines().next().unwrap_or_default();
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(COMPLAINT).collect()
}

fn secret(bytes: Vec<u8>, what: &'static str) -> Result<Secret, PasswordError> {
    let text = String::from_utf8(bytes).map_err(|_| PasswordError::Unusable(what))?;
    let text = text.trim_end_matches(['\n', '\r']);
    match text.is_empty() || text.contains('\0') {
        true => Err(PasswordError::Unusable(what)),
        false => Ok(Secret(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str, lifetime: Duration) -> Passwords {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        Passwords::new(Password::Command(PasswordCommand {
            words,
            lifetime,
            timeout: Duration::from_secs(20),
        }))
    }

    async fn now(passwords: &Passwords) -> String {
        passwords.current().await.unwrap().unwrap().0
    }

    /// A script that prints another number each time.
    fn counting() -> (String, tempfile::Directory) {
        let directory = tempfile::Directory::new();
        let file = directory.0.join("count");
        (format!("echo x >>{0}; wc -l <{0} | tr -d ' '", file.display()), directory)
    }

    mod tempfile {
        pub struct Directory(pub std::path::PathBuf);
        impl Directory {
            pub fn new() -> Self {
                let name = format!("pgbulkhead-password-{}-{}", std::process::id(), rand::random::<u32>());
                let path = std::env::temp_dir().join(name);
                std::fs::create_dir(&path).unwrap();
                Self(path)
            }
        }
        impl Drop for Directory {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    #[tokio::test]
    async fn command_runs_once_for_all_who_wait_and_again_when_its_password_is_refused() {
        let (script, _directory) = counting();
        let passwords = command(&format!("sleep 0.2; {script}"), Duration::from_secs(600));
        let (a, b, c) = tokio::join!(now(&passwords), now(&passwords), now(&passwords));
        assert_eq!([a.as_str(), &b, &c], ["1", "1", "1"]);
        passwords.refused(&Secret("another".to_owned()));
        assert_eq!(now(&passwords).await, "1");
        passwords.refused(&Secret("1".to_owned()));
        assert_eq!(now(&passwords).await, "2");
    }

    #[tokio::test]
    async fn password_is_renewed_before_its_life_ends_and_serves_to_its_end_if_that_fails() {
        let (script, _directory) = counting();
        let passwords = command(&script, Duration::from_secs(600));
        assert_eq!(now(&passwords).await, "1");
        let age = |passwords: &Passwords, seconds| {
            let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            passwords.kept.lock().as_mut().unwrap().since = since;
        };
        age(&passwords, 440);
        assert_eq!(now(&passwords).await, "1");
        age(&passwords, 460);
        assert_eq!(now(&passwords).await, "2");

        let passwords = command("echo token; exit 3", Duration::from_secs(600));
        *passwords.kept.lock() = Some(Kept { secret: Secret("old".to_owned()), since: Instant::now() });
        age(&passwords, 500);
        assert_eq!(now(&passwords).await, "old");
        age(&passwords, 600);
        assert!(passwords.current().await.is_err());
    }

    #[tokio::test]
    async fn failed_command_is_told_without_what_it_printed() {
        let passwords = command("echo T0kEn; echo 'no T0kEn for you' >&2; exit 3", Duration::from_secs(600));
        let told = passwords.current().await.unwrap_err().to_string();
        assert!(told.contains("\"sh\" failed (exit status: 3): no … for you"), "{told}");
        let passwords = command("true", Duration::from_secs(600));
        assert!(matches!(passwords.current().await, Err(PasswordError::Unusable(_))));
        let missing = Password::Command(PasswordCommand {
            words: vec!["/nowhere/token".to_owned()],
            lifetime: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        });
        let told = Passwords::new(missing).current().await.unwrap_err().to_string();
        assert!(told.contains("/nowhere/token"), "{told}");
        assert!(
            !format!("{:?}", command("echo T0kEn", Duration::from_secs(9)).current().await).contains("T0kEn")
        );
    }

    #[tokio::test]
    async fn command_that_hangs_is_given_up() {
        let hangs = PasswordCommand {
            words: ["sleep", "600"].map(str::to_owned).to_vec(),
            lifetime: Duration::from_secs(600),
            timeout: Duration::from_millis(100),
        };
        let passwords = Passwords::new(Password::Command(hangs));
        assert!(matches!(passwords.current().await, Err(PasswordError::Timeout { .. })));
    }

    #[tokio::test]
    async fn file_is_read_anew_for_each_connection() {
        let directory = tempfile::Directory::new();
        let file = directory.0.join("password");
        std::fs::write(&file, "first\n").unwrap();
        let passwords = Passwords::new(Password::File(file.clone()));
        assert_eq!(now(&passwords).await, "first");
        std::fs::write(&file, "second").unwrap();
        assert_eq!(now(&passwords).await, "second");
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(passwords.current().await, Err(PasswordError::File { .. })));
    }
}
