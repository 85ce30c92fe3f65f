//! `[general]`, `[tenancy]` and `[audit]`: the sections that are there once, and their defaults.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::model::{
    Audit, AuditSink, Barrier, ClientTls, General, Mode, Nulls, PoolMode, ServerFloor, Tenancy, Witness,
};

use super::section::Section;
use super::values::{address, duration, existing_file, filled, identifier, number, one_of, path, size};

/// Reads `[general]`.
pub(super) fn general(mut section: Section<'_>) -> Option<General> {
    let listen = section.or("listen", vec![SocketAddr::from(([127, 0, 0, 1], 6432))], filled(address));
    let general = General {
        metrics_listen: section.optional("metrics_listen", address),
        pool_mode: section.or("pool_mode", PoolMode::Transaction, one_of(&POOL_MODES)),
        default_pool_size: section.or("default_pool_size", 16, number(1, 10_000)),
        workers: section.or("workers", usual_workers(), number(1, 256)),
        max_client_conn: section.or("max_client_conn", 5000, number(1, 1_000_000)),
        client_login_timeout: section.or("client_login_timeout", Duration::from_secs(60), duration),
        client_write_timeout: section.or("client_write_timeout", Duration::from_secs(60), duration),
        checkout_timeout: section.or("checkout_timeout", Duration::from_secs(30), duration),
        server_connect_timeout: section.or("server_connect_timeout", Duration::from_secs(15), duration),
        idle_timeout: section.or("idle_timeout", Duration::from_secs(600), duration),
        server_lifetime: section.or("server_lifetime", Duration::from_secs(3600), duration),
        plan_cache_entries: section.or("plan_cache_entries", 10_000, number(16, 10_000_000)),
        plan_cache_bytes: section.or("plan_cache_bytes", 64 << 20, size(1 << 20, 1 << 40)),
        max_statement_bytes: section.or("max_statement_bytes", 1 << 20, size(1 << 10, 64 << 20)),
        quarantine_file: section.optional("quarantine_file", path),
        witness: section.or("witness", Witness::WhenPossible, one_of(&WITNESSES)),
        server_floor: section.or("server_floor", ServerFloor::Warn, one_of(&SERVER_FLOORS)),
        tls: section.or("tls", ClientTls::Disable, one_of(&CLIENT_TLS)),
        tls_cert_file: section.optional("tls_cert_file", existing_file),
        tls_key_file: section.optional("tls_key_file", existing_file),
        listen,
    };
    let certified = general.tls_cert_file.is_some() && general.tls_key_file.is_some();
    if general.tls != ClientTls::Disable && !certified {
        let message = "`tls` needs `tls_cert_file` and `tls_key_file`".to_owned();
        section.complain_here(message, None);
    }
    section.finish();
    Some(general)
}

/// Reads `[tenancy]`.
pub(super) fn tenancy(mut section: Section<'_>) -> Option<Tenancy> {
    let column = section.required("column", identifier);
    let mode = section.or("mode", Mode::Enforce, one_of(&MODES));
    let barrier = section.or("barrier", Barrier::Auto, one_of(&BARRIERS));
    let nulls = section.or("nulls", Nulls::Hidden, one_of(&NULLS));
    section.finish();
    Some(Tenancy { column: column?, mode, barrier, nulls })
}

/// Reads `[audit]`.
pub(super) fn audit(mut section: Section<'_>) -> Option<Audit> {
    let path = section.spanned("path", path);
    let sink = section.required("sink", one_of(&SINKS));
    let flush_interval = section.or("flush_interval", Duration::from_millis(50), duration);
    let queue = section.or("queue", 8192, number(64, 1 << 20));
    let sink = match (sink, path) {
        (Some(Sink::File), Some((path, _))) => Some(AuditSink::File(path)),
        (Some(Sink::File), None) => {
            section.complain_here("`sink = \"file\"` needs a `path`".to_owned(), None);
            None
        }
        (Some(other), Some((_, place))) => {
            section.complain(place, "`path` belongs to `sink = \"file\"`".to_owned(), None);
            Some(other.without_path())
        }
        (Some(other), None) => Some(other.without_path()),
        (None, _) => None,
    };
    section.finish();
    Some(Audit { sink: sink?, flush_interval, queue })
}

/// One worker up to four processors, then one for each four.
fn usual_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(4))
}

#[derive(Clone, Copy)]
enum Sink {
    File,
    Stdout,
    None,
}

impl Sink {
    fn without_path(self) -> AuditSink {
        match self {
            Self::Stdout => AuditSink::Stdout,
            Self::File | Self::None => AuditSink::None,
        }
    }
}

const SINKS: [(&str, Sink); 3] = [("file", Sink::File), ("stdout", Sink::Stdout), ("none", Sink::None)];
const POOL_MODES: [(&str, PoolMode); 2] =
    [("transaction", PoolMode::Transaction), ("session", PoolMode::Session)];
const WITNESSES: [(&str, Witness); 2] =
    [("when_possible", Witness::WhenPossible), ("required", Witness::Required)];
const SERVER_FLOORS: [(&str, ServerFloor); 2] =
    [("warn", ServerFloor::Warn), ("refuse", ServerFloor::Refuse)];
const CLIENT_TLS: [(&str, ClientTls); 3] =
    [("disable", ClientTls::Disable), ("allow", ClientTls::Allow), ("require", ClientTls::Require)];
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("observe", Mode::Observe)];
const BARRIERS: [(&str, Barrier); 2] = [("auto", Barrier::Auto), ("off", Barrier::Off)];
/// `nulls`, here and in `[[tables]]`.
pub(super) const NULLS: [(&str, Nulls); 2] = [("hidden", Nulls::Hidden), ("shared", Nulls::Shared)];
