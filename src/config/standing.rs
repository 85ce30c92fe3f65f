//! What a running process keeps of its configuration until it is started again: addresses, threads, pools, servers
//! and the audit log. Everything else can be replaced.

use super::model::{Audit, Config, Database, General};

impl Config {
    /// This configuration as a process takes it that runs under `running`, and the keys whose new values have to wait
    /// for a restart, as `section.key`.
    pub fn under(mut self, running: &Self) -> (Self, Vec<String>) {
        let mut keys = general(&self.general, &running.general);
        keys.extend(databases(&self.databases, &running.databases));
        keys.extend(audit(&self.audit, &running.audit));
        self.general = running.general.clone();
        self.databases = running.databases.clone();
        self.audit = running.audit.clone();
        (self, keys)
    }
}

/// Every field of a section by its name; one that is missing here does not compile.
macro_rules! differing {
    ($section:expr, $type:ident, $new:expr, $old:expr; $($key:ident),* $(,)?) => {{
        let ($type { $($key: _),* }, new, old) = ($new, $new, $old);
        let mut keys = Vec::new();
        $(if new.$key != old.$key {
            keys.push(format!("{}.{}", $section, stringify!($key)));
        })*
        keys
    }};
}

fn general(new: &General, old: &General) -> Vec<String> {
    differing!("general", General, new, old;
        listen, metrics_listen, pool_mode, default_pool_size, min_pool_size, reserve_pool_size, reserve_timeout,
        max_tenant_connections, max_pinned, workers, max_client_conn, client_login_timeout,
        client_write_timeout, checkout_timeout, server_connect_timeout, idle_timeout, server_lifetime,
        server_check_delay, tcp_keepalive, tcp_user_timeout, track_application_name, query_timeout,
        plan_cache_entries, plan_cache_bytes, max_statement_bytes, max_bind_bytes, quarantine_file, witness, server_floor, tls,
        listeners, tls_cert_file, tls_key_file)
}

fn databases(new: &[Database], old: &[Database]) -> Vec<String> {
    let find = |all: &[Database], name: &str| all.iter().position(|database| database.name == name);
    let gone = old.iter().filter(|database| find(new, &database.name).is_none());
    let mut keys: Vec<String> = gone.map(|database| format!("databases.{}", database.name)).collect();
    for database in new {
        let name = format!("databases.{}", database.name);
        match find(old, &database.name).and_then(|at| old.get(at)) {
            None => keys.push(name),
            Some(before) => keys.extend(differing!(name, Database, database, before;
                name, host, port, dbname, user, password, tls, tls_ca_file, search_path, pool_size,
                min_pool_size, reserve_pool_size, max_tenant_connections, auth_method, channel_binding)),
        }
    }
    keys
}

fn audit(new: &Audit, old: &Audit) -> Vec<String> {
    differing!("audit", Audit, new, old; sink, flush_interval, queue)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment, parse};

    fn config(general: &str, rest: &str) -> Config {
        let text = format!(
            "[general]\nlisten = [\"127.0.0.1:0\"]\n{general}\n[[databases]]\nname = \"db\"\nhost = \"h\"\nuser = \"u\"\n\
             {rest}\n[audit]\nsink = \"none\"\n[tenancy]\ncolumn = \"t\"\n"
        );
        parse("test", &text, &Environment::new()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn what_waits_for_a_restart_stays_and_is_named() {
        let running = config("", "port = 5432");
        let user = "[[users]]\nname = \"a\"\nrole = \"r\"\ntenant = \"1\"\nverifier = \"{}\"";
        let user = user.replace("{}", &crate::auth::verifier::make("x"));
        let new = config(
            "workers = 7",
            &format!("port = 5433\n[[databases]]\nname = \"more\"\nhost = \"h\"\nuser = \"u\"\n{user}"),
        );
        let (taken, keys) = new.under(&running);
        assert_eq!(keys, ["general.workers", "databases.db.port", "databases.more"]);
        assert_eq!((taken.general.workers, taken.databases.len()), (running.general.workers, 1));
        assert_eq!((taken.databases[0].port, taken.users.len()), (5432, 1));
        assert!(running.clone().under(&running).1.is_empty());
    }
}
