//! The demo: an embedded PostgreSQL with the data of three companies, the proxy in front of it, and a tour of
//! what it does. Everything it starts and writes is gone when it ends.

pub mod embedded;
mod failure;
mod print;
mod stage;
mod token;
mod tour;

use std::io;
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub use embedded::{EmbeddedError, EmbeddedPostgres};
pub use failure::DemoError;

use stage::Stage;

/// Runs the demo. With `once` it ends after the tour, else at Ctrl-C (SIGINT, SIGTERM or SIGHUP). It must be
/// called on the main thread, with whose end the proxy ends too.
///
/// # Errors
/// When something cannot be started, or a part of the tour does not work at all. A refused statement is no
/// error.
pub fn run(once: bool) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(DemoError::file(Path::new("the runtime")))?;
    runtime.block_on(async {
        // From here on a signal no longer kills, so that everything is taken down in order.
        let mut stop = Stop::listen().map_err(DemoError::file(Path::new("signals")))?;
        anstream::println!("Starting PostgreSQL and the proxy …");
        tokio::select! {
            shown = show(once) => shown,
            () = stop.received() => Ok(()),
        }
    })
}

async fn show(once: bool) -> Result<(), DemoError> {
    let stage = Stage::build().await?;
    anstream::println!(
        "PostgreSQL {} with the documents of Acme Insurance (1), Borealis Bank (2) and Cedar Utilities (3)",
        stage.server_version()
    );
    tour::walk(&stage).await?;
    if !once {
        invite(&stage);
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// How to go on alone.
fn invite(stage: &Stage) {
    anstream::println!("\nTry it yourself; Ctrl-C ends it and leaves nothing behind.");
    let users = ["acme", "borealis", "acme_viewer", "shared_pool"];
    let mut lines: Vec<(String, String)> =
        users.iter().map(|user| ((*user).to_owned(), format!("psql {}", stage.url(user)))).collect();
    lines.push(("past the proxy".to_owned(), format!("psql {}", stage.server_url())));
    lines.push(("audit log".to_owned(), stage.audit_log().display().to_string()));
    lines.push(("metrics".to_owned(), format!("curl http://127.0.0.1:{}/metrics", stage.metrics_port())));
    print::pairs(&lines);
}

struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
