//! `pgbulkhead run`: serves until it is told to end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::failure::Failure;
use super::serve::{self, Proxy};
use super::watch::Watch;
use super::world::{configuration, runtime};

/// How long transactions may go on after SIGTERM, …
const GRACE: Duration = Duration::from_secs(30);
/// … and after SIGINT: somebody waits at a terminal.
const SHORT_GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "pgbulkhead.toml")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = configuration(&args.config)?;
    raise_descriptor_limit();
    let mut proxy = serve::start(config)?;
    for address in proxy.addresses() {
        tracing::info!(%address, "serving");
    }
    if let Some(address) = proxy.metrics_address() {
        tracing::info!(%address, "showing metrics");
    }
    let (tell, changes) = unbounded_channel();
    let watch = Watch::start(&proxy, move || {
        let _ = tell.send(());
    })?;
    let grace = runtime()?
        .block_on(told_to_end(&mut proxy, &args.config, changes))
        .map_err(Failure::system("signals"))?;
    drop(watch);
    tracing::info!(?grace, "ending");
    proxy.stop(grace)?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for SIGTERM or SIGINT and gives the grace; SIGHUP reads the file again meanwhile, and a catalog that has
/// changed is read again.
async fn told_to_end(
    proxy: &mut Proxy,
    file: &Path,
    mut changes: UnboundedReceiver<()>,
) -> std::io::Result<Duration> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(GRACE),
            _ = interrupt.recv() => return Ok(SHORT_GRACE),
            _ = hangup.recv() => aside(|| reload(proxy, file))?,
            Some(()) = changes.recv() => {
                tracing::info!("a catalog has changed");
                aside(|| proxy.reload())?;
            }
        }
    }
}

/// Reloading starts a runtime of its own, which cannot be done within one.
fn aside(reload: impl FnOnce() + Send) -> std::io::Result<()> {
    std::thread::scope(|scope| scope.spawn(reload).join())
        .map_err(|_| std::io::Error::other("reloading has panicked"))
}

fn reload(proxy: &mut Proxy, file: &Path) {
    match configuration(file) {
        Ok(config) => proxy.take(config),
        Err(failure) => proxy.refuse(&failure),
    }
}

/// Clients and server connections each need a descriptor: takes as many as the system gives.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays");
    }
}
