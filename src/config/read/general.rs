//! `[general]`, `[tenancy]` and `[audit]`: the sections that are there once, and their defaults.

use std::time::Duration;

use crate::config::model::{
    Audit, AuditSink, Barrier, ClientTls, General, Listener, Nulls, PoolMode, ServerFloor, Tenancy, Witness,
};

use super::section::Section;
use super::values::{
    address, boolean, duration, existing_file, filled, identifier, number, one_of, path, size,
};

/// Reads `[general]`.
pub(super) fn general(mut section: Section<'_>, listeners: Vec<Listener>) -> Option<General> {
    let d = General::default();
    if let Some((_, place)) = section.spanned("max_held_connections", number(0, 10_000)) {
        let help = "write `max_pinned`: cursors WITH HOLD, session advisory locks and LISTEN count together";
        section.complain(
            place,
            "`max_held_connections` is part of `max_pinned`".to_owned(),
            Some(help.to_owned()),
        );
    }
    let general = General {
        listen: section.or("listen", d.listen, filled(address)),
        metrics_listen: section.optional("metrics_listen", address),
        pool_mode: section.or("pool_mode", d.pool_mode, one_of(&POOL_MODES)),
        default_pool_size: section.or("default_pool_size", d.default_pool_size, number(1, 10_000)),
        min_pool_size: section.or("min_pool_size", d.min_pool_size, number(0, 10_000)),
        reserve_pool_size: section.or("reserve_pool_size", d.reserve_pool_size, number(0, 10_000)),
        reserve_timeout: section.or("reserve_timeout", d.reserve_timeout, duration),
        max_tenant_connections: section.optional("max_tenant_connections", number(1, 10_000)),
        max_pinned: section.optional("max_pinned", number(0, 10_000)),
        workers: section.or("workers", d.workers, number(1, 256)),
        max_client_conn: section.or("max_client_conn", d.max_client_conn, number(1, 1_000_000)),
        client_login_timeout: section.or("client_login_timeout", d.client_login_timeout, duration),
        client_write_timeout: section.or("client_write_timeout", d.client_write_timeout, duration),
        checkout_timeout: section.or("checkout_timeout", d.checkout_timeout, duration),
        server_connect_timeout: section.or("server_connect_timeout", d.server_connect_timeout, duration),
        idle_timeout: section.or("idle_timeout", d.idle_timeout, duration),
        server_lifetime: section.or("server_lifetime", d.server_lifetime, duration),
        server_check_delay: section.or("server_check_delay", d.server_check_delay, duration),
        tcp_keepalive: section.or("tcp_keepalive", d.tcp_keepalive, duration),
        tcp_user_timeout: section.or("tcp_user_timeout", d.tcp_user_timeout, duration),
        track_application_name: section.or("track_application_name", d.track_application_name, boolean),
        query_timeout: section.optional("query_timeout", duration),
        plan_cache_entries: section.or("plan_cache_entries", d.plan_cache_entries, number(16, 10_000_000)),
        plan_cache_bytes: section.or("plan_cache_bytes", d.plan_cache_bytes, size(1 << 20, 1 << 40)),
        max_statement_bytes: section.or(
            "max_statement_bytes",
            d.max_statement_bytes,
            size(1 << 10, 64 << 20),
        ),
        max_bind_bytes: section.or("max_bind_bytes", d.max_bind_bytes, size(1 << 16, 1 << 30)),
        quarantine_file: section.optional("quarantine_file", path),
        witness: section.or("witness", d.witness, one_of(&WITNESSES)),
        server_floor: section.or("server_floor", d.server_floor, one_of(&SERVER_FLOORS)),
        tls: section.or("tls", d.tls, one_of(&CLIENT_TLS)),
        listeners,
        tls_cert_file: section.optional("tls_cert_file", existing_file),
        tls_key_file: section.optional("tls_key_file", existing_file),
    };
    if general.min_pool_size > general.default_pool_size {
        section.complain_here("`min_pool_size` is larger than `default_pool_size`".to_owned(), None);
    }
    let certified = general.tls_cert_file.is_some() && general.tls_key_file.is_some();
    if general.listeners().any(|listener| listener.has_tls()) && !certified {
        let message = "`tls` needs `tls_cert_file` and `tls_key_file`".to_owned();
        section.complain_here(message, None);
    }
    section.finish();
    Some(general)
}

/// Reads every `[[listeners]]`.
pub(super) fn listeners(root: &mut Section<'_>) -> Vec<Listener> {
    let sections = root.sections("listeners").into_iter();
    let listener = |mut section: Section<'_>| {
        let address = section.required("address", address);
        let tls = section.required("tls", one_of(&CLIENT_TLS));
        section.finish();
        Some(Listener { address: address?, tls: tls? })
    };
    sections.filter_map(listener).collect()
}

/// Reads `[tenancy]`.
pub(super) fn tenancy(mut section: Section<'_>) -> Option<Tenancy> {
    let column = section.required("column", identifier);
    // There is no other; it can be written so that a reader sees what happens.
    section.optional("mode", one_of(&[("enforce", ())]));
    let barrier = section.or("barrier", Barrier::Auto, one_of(&BARRIERS));
    let nulls = section.or("nulls", Nulls::Hidden, one_of(&NULLS));
    section.finish();
    Some(Tenancy { column: column?, barrier, nulls })
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
const BARRIERS: [(&str, Barrier); 2] = [("auto", Barrier::Auto), ("off", Barrier::Off)];
/// `nulls`, here and in `[[tables]]`.
pub(super) const NULLS: [(&str, Nulls); 2] = [("hidden", Nulls::Hidden), ("shared", Nulls::Shared)];
