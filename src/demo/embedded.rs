//! A PostgreSQL server of one's own: in a temporary directory, on a free port, gone when its owner is.
//!
//! A shell stands between this process and the server. It waits on a pipe that this process holds open;
//! when the pipe closes, because the [`EmbeddedPostgres`] was dropped or because the process died in
//! whatever way, the shell stops the server and removes the directory.

mod binaries;

use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;

pub use binaries::Binaries;

/// How long the server may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A port can be taken between the moment it is found free and the server's bind.
const ATTEMPTS: usize = 5;
/// A Unix socket's path has at most 107 bytes (`sun_path`); the server appends `/.s.PGSQL.12345.lock`.
const MAX_SOCKET_DIRECTORY: usize = 80;

/// Stops the server and removes its directory once stdin closes. Signals are ignored because Ctrl-C in a
/// terminal reaches every process of the session, and this one must outlive the others.
const WATCH: &str = r#"
directory=$1; shift
"$@" >>"$directory/log" 2>&1 </dev/null &
server=$!
trap '' INT TERM HUP
cat >/dev/null
kill -INT "$server" 2>/dev/null
wait "$server" 2>/dev/null
rm -rf "$directory" 2>/dev/null || { sleep 1; rm -rf "$directory"; }
"#;

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The superuser's password. Every connection must then use SCRAM; without it everyone is let in.
    pub password: Option<String>,
    /// Settings beyond the defaults, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Where the server's binaries lie; none: the newest that is found.
    pub binaries: Option<PathBuf>,
}

/// A running server. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    directory: PathBuf,
    port: u16,
    version: String,
    watch: Child,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No server binaries.
    #[error(
        "PostgreSQL's server binaries were not found (PG_CONFIG, PATH, /usr/lib/postgresql/*/bin): \
         install the package postgresql"
    )]
    NoBinaries,
    /// Root may not run PostgreSQL, and there is nobody else.
    #[error("started as root, but there is no user postgres or nobody to run PostgreSQL as")]
    NoUser,
    /// Something of the operating system failed.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed:\n{output}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it printed.
        output: String,
    },
}

impl EmbeddedPostgres {
    /// The superuser's name.
    pub const SUPERUSER: &'static str = "postgres";

    /// Makes a new cluster in a temporary directory and starts it. Its superuser is
    /// [`Self::SUPERUSER`]; it listens on 127.0.0.1 and on a socket in its directory.
    ///
    /// # Errors
    /// When there are no binaries, no user to run them, or they fail.
    pub fn start(options: &Options) -> Result<Self, EmbeddedError> {
        let binaries = Binaries::find(options.binaries.as_deref())?;
        let identity = Identity::choose()?;
        let directory = TemporaryDirectory::create(identity.as_ref())?;
        initialise(&binaries, identity.as_ref(), &directory.0, options)?;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match launch(&binaries, identity.as_ref(), &directory.0, options) {
                Ok((port, watch)) => {
                    let version = binaries.version.clone();
                    return Ok(Self { directory: directory.keep(), port, version, watch });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(EmbeddedError::NoBinaries))
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The server's version as `postgres --version` says it, `15.20` or so.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        // A failure leaves nothing to do: the shell is gone then.
        let _ = self.watch.wait();
    }
}

/// Whom to run PostgreSQL as, when that is somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    user: u32,
    group: u32,
}

impl Identity {
    /// None unless this process is root, who may not run PostgreSQL.
    fn choose() -> Result<Option<Self>, EmbeddedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let path = "/etc/passwd";
        let users = std::fs::read_to_string(path).map_err(system(|| format!("reading {path}")))?;
        let identity = Self::named(&users, "postgres").or_else(|| Self::named(&users, "nobody"));
        identity.map(Some).ok_or(EmbeddedError::NoUser)
    }

    fn named(users: &str, name: &str) -> Option<Self> {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }

    /// The start of a command line that runs the rest as this identity, and has the kernel stop it when its
    /// parent dies.
    fn prefix(identity: Option<&Self>) -> Vec<String> {
        let mut prefix: Vec<String> = vec!["setpriv".into(), "--pdeathsig".into(), "INT".into()];
        if let Some(Self { user, group }) = identity {
            prefix.push(format!("--reuid={user}"));
            prefix.push(format!("--regid={group}"));
            prefix.push("--clear-groups".into());
        }
        prefix.push("--".into());
        prefix
    }
}

/// A directory that is removed again unless it is kept.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn create(identity: Option<&Identity>) -> Result<Self, EmbeddedError> {
        let name = format!("pgbulkhead-{}-{:08x}", std::process::id(), rand::rng().random::<u32>());
        let mut path = std::env::temp_dir().join(&name);
        // Another user may not be able to enter root's own temporary directory.
        if identity.is_some() || path.as_os_str().len() > MAX_SOCKET_DIRECTORY {
            path = Path::new("/tmp").join(&name);
        }
        let doing = || format!("creating {}", path.display());
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(system(doing))?;
        let directory = Self(path);
        if let Some(Identity { user, group }) = identity {
            chown(&directory.0, Some(*user), Some(*group))
                .map_err(system(|| format!("giving {} away", directory.0.display())))?;
        }
        Ok(directory)
    }

    fn keep(self) -> PathBuf {
        std::mem::take(&mut std::mem::ManuallyDrop::new(self).0)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // Already on the way out with another error.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn initialise(
    binaries: &Binaries,
    identity: Option<&Identity>,
    directory: &Path,
    options: &Options,
) -> Result<(), EmbeddedError> {
    let data = directory.join("data");
    let mut command = Command::new(binaries.directory.join("initdb"));
    if let Some(Identity { user, group }) = identity {
        command.uid(*user).gid(*group);
    }
    command.current_dir(directory).arg("--pgdata").arg(&data);
    command.args(["--username", EmbeddedPostgres::SUPERUSER, "--encoding", "UTF8", "--locale", "C.UTF-8"]);
    command.args(["--no-sync", "--no-instructions"]);
    let password_file = directory.join("password");
    match &options.password {
        Some(password) => {
            let doing = || format!("writing {}", password_file.display());
            std::fs::write(&password_file, password).map_err(system(doing))?;
            if let Some(Identity { user, group }) = identity {
                chown(&password_file, Some(*user), Some(*group)).map_err(system(doing))?;
            }
            std::fs::set_permissions(&password_file, PermissionsExt::from_mode(0o600))
                .map_err(system(doing))?;
            command.args(["--auth", "scram-sha-256"]).arg("--pwfile").arg(&password_file);
        }
        None => {
            command.args(["--auth", "trust"]);
        }
    }
    let output = command.output().map_err(system(|| "running initdb".into()))?;
    if options.password.is_some() {
        let doing = || format!("removing {}", password_file.display());
        std::fs::remove_file(&password_file).map_err(system(doing))?;
    }
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(EmbeddedError::Program { program: "initdb", output: text })
}

/// Starts the server on a free port and waits until it is ready.
fn launch(
    binaries: &Binaries,
    identity: Option<&Identity>,
    directory: &Path,
    options: &Options,
) -> Result<(u16, Child), EmbeddedError> {
    let port = free_port()?;
    let data = directory.join("data");
    let mut command = Command::new("sh");
    command.arg("-c").arg(WATCH).arg("pgbulkhead-watch").arg(directory);
    command.args(Identity::prefix(identity)).arg(binaries.directory.join("postgres"));
    command.arg("-D").arg(&data).arg("-p").arg(port.to_string()).arg("-k").arg(directory);
    let defaults = [
        ("listen_addresses", "127.0.0.1"),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("max_connections", "200"),
    ];
    let own = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in defaults.into_iter().chain(own) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut watch = command.spawn().map_err(system(|| "starting PostgreSQL".into()))?;
    if is_ready(&data, &mut watch) {
        return Ok((port, watch));
    }
    let mut output = String::new();
    if let Ok(mut log) = std::fs::File::open(directory.join("log")) {
        // What can be read of it is better than nothing.
        let _ = log.read_to_string(&mut output);
    }
    // The shell is not told to stop, because it would take the directory with it: the next try needs it.
    let _ = watch.kill();
    let _ = watch.wait();
    Err(EmbeddedError::Program { program: "postgres", output })
}

/// Waits for the server. The eighth line of its `postmaster.pid` says `ready` (utils/pidfile.h).
fn is_ready(data: &Path, watch: &mut Child) -> bool {
    let began = Instant::now();
    while began.elapsed() < START_TIMEOUT {
        if matches!(watch.try_wait(), Ok(Some(_)) | Err(_)) {
            return false;
        }
        let status = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// A port that is free now, below the range that the kernel takes for outgoing connections (32768 on), so
/// that no connection of ours can take it meanwhile.
///
/// # Errors
/// When none of many is free.
pub fn free_port() -> Result<u16, EmbeddedError> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..100 {
        let port = rand::rng().random_range(20_000..32_000);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(EmbeddedError::System { doing: "looking for a free port".into(), source: last })
}

fn system<F: Fn() -> String>(doing: F) -> impl Fn(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::System { doing: doing(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_from_the_passwd_format() {
        let users = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:n:/:/bin/false\n";
        assert_eq!(Identity::named(users, "nobody"), Some(Identity { user: 65534, group: 65533 }));
        assert_eq!(Identity::named(users, "no"), None);
    }

    #[test]
    fn a_dropped_server_leaves_no_directory() {
        let server = EmbeddedPostgres::start(&Options::default()).expect("a server");
        let directory = server.socket_directory().to_path_buf();
        assert!(directory.exists());
        drop(server);
        assert!(!directory.exists());
    }
}
