//! The database of this judge: two tables of the schema app, which the proxy protects, and the same under row-level
//! security, for the oracle; and proxies in front of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::fixture::{Proxy, Server};
use crate::support::wire::{Connection, Login};

const DATABASE: &str = "ccm_protocol";
const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbulkhead");
/// Clients that have rows of their own.
pub const CLIENTS: usize = 8;
/// Longer than any sequence may wait for its end.
const LIMIT: Duration = Duration::from_secs(10);

/// `loads` takes what COPY FROM brings, which row-level security refuses: the oracle's is a table without it.
const TABLES: &str = "
create table SCHEMA.lines (tenant_id int not null DEFAULT, id int not null, client int not null, body varchar(200),
  amount numeric(10,2), made timestamptz default '2024-05-01', primary key (tenant_id, id));
create table SCHEMA.loads (tenant_id int not null DEFAULT, id int not null, body text, primary key (tenant_id, id));
grant select, insert, update, delete on SCHEMA.lines, SCHEMA.loads to ROLE";

const SECURITY: &str = "
alter table rls.lines enable row level security;
create policy p on rls.lines using (tenant_id = current_setting('app.tenant_id')::int)";

/// Puts a client's rows of a tenant back.
const RESTORE: &str = "
delete from SCHEMA.lines where tenant_id = TENANT and client = CLIENT;
delete from SCHEMA.loads where tenant_id = TENANT and id / 1000 = CLIENT;
insert into SCHEMA.lines select TENANT, CLIENT * 1000 + n, CLIENT, 'T' || TENANT || '-' || n, n * 1.5 from generate_series(1, 12) n";

/// A client's rows on the judged side and on the oracle's, and how they are at first.
const SIDES: &str = "
select (select coalesce(string_agg(r, ' ' order by r), '') from (
    select concat_ws('|', id, body, amount) from app.lines where tenant_id = TENANT and client = CLIENT
    union all select concat_ws('|', 'load', id, body) from app.loads where tenant_id = TENANT and id / 1000 = CLIENT) _(r)),
  (select coalesce(string_agg(r, ' ' order by r), '') from (
    select concat_ws('|', id, body, amount) from rls.lines where tenant_id = TENANT and client = CLIENT
    union all select concat_ws('|', 'load', id, body) from rls.loads where tenant_id = TENANT and id / 1000 = CLIENT) _(r)),
  (select string_agg(r, ' ' order by r) from (select concat_ws('|', CLIENT * 1000 + n, 'T' || TENANT || '-' || n, (n * 1.5)::numeric(10,2))
    from generate_series(1, 12) n) _(r))";

/// A database, and how to reach it.
pub struct Stage {
    superuser: Connection,
    port: u16,
}

impl Stage {
    pub fn new(server: &Server) -> Self {
        server.create_database(DATABASE);
        let mut superuser = server.superuser(DATABASE);
        superuser.run("set client_min_messages = error");
        for (schema, role, default) in
            [("app", "app_backend", ""), ("rls", "app_rls", "default current_setting('app.tenant_id')::int")]
        {
            let sql = TABLES.replace("SCHEMA", schema).replace("ROLE", role).replace("DEFAULT", default);
            superuser.run(&sql);
        }
        superuser.run(SECURITY);
        for tenant in [1, 2] {
            let role = role(tenant);
            superuser.run(&format!("drop role if exists {role}; create role {role} login in role app_rls"));
            superuser.run(&format!("alter role {role} set app.tenant_id = '{tenant}'"));
            superuser.run(&format!("alter role {role} set search_path = rls, ext, public"));
            // As the proxy calls itself, before a client says otherwise.
            superuser.run(&format!("alter role {role} set application_name = 'pgbulkhead'"));
        }
        let mut stage = Self { superuser, port: server.port() };
        for tenant in [1, 2] {
            (0..CLIENTS).for_each(|client| stage.restore(tenant, client));
        }
        stage
    }

    /// A proxy that has so many server connections, and keeps so many beyond a transaction.
    pub fn proxy(server: &Server, connections: usize, pinned: usize) -> Proxy {
        let name = format!("protocol_{connections}_{pinned}");
        Proxy::start_with(PROGRAM, server, DATABASE, &name, |config, _| {
            let pool = format!("default_pool_size = {connections}\nmax_pinned = {pinned}\nworkers = 1");
            config.replace("default_pool_size = 4", &pool)
        })
    }

    /// The oracle for a tenant.
    pub fn oracle(&self, tenant: usize) -> Login {
        Login { port: self.port, database: DATABASE.into(), user: role(tenant), password: None }
    }

    /// Puts both sides' rows of a client back.
    pub fn restore(&mut self, tenant: usize, client: usize) {
        for schema in ["app", "rls"] {
            let sql = RESTORE.replace("SCHEMA", schema).replace("TENANT", &tenant.to_string());
            self.superuser.run(&sql.replace("CLIENT", &client.to_string()));
        }
    }

    /// How the rows of a client differ on the two sides; then both are put back.
    pub fn settle(&mut self, tenant: usize, client: usize) -> Option<String> {
        let sides = self
            .superuser
            .values(&SIDES.replace("TENANT", &tenant.to_string()).replace("CLIENT", &client.to_string()));
        let rows = |at: usize| sides.first().and_then(|row| row.get(at)).cloned().unwrap_or_default();
        let (judged, oracle, pristine) = (rows(0), rows(1), rows(2));
        if judged != pristine || oracle != pristine {
            self.restore(tenant, client);
        }
        (judged != oracle).then(|| format!("rows are {judged}, expected {oracle}"))
    }
}

fn role(tenant: usize) -> String {
    format!("protocol_rls_{tenant}")
}

/// Waits until no server connection of a proxy is leased.
pub fn all_returned(proxy: &Proxy) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let leased = leased(proxy)?;
        match leased {
            0 => return Ok(()),
            _ if began.elapsed() > LIMIT => return Err(format!("{leased} leases are not given back")),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn leased(proxy: &Proxy) -> Result<u64, String> {
    let config =
        std::fs::read_to_string(proxy.directory.join("pgbulkhead.toml")).map_err(|e| e.to_string())?;
    let address =
        config.lines().find_map(|line| line.strip_prefix("metrics_listen = ")).ok_or("no metrics")?;
    let mut stream = TcpStream::connect(address.trim_matches('"')).map_err(|e| e.to_string())?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .map_err(|e| e.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|e| e.to_string())?;
    let line = text.lines().find(|line| line.starts_with("pgbulkhead_server_connections{state=\"leased\""));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.ok_or_else(|| format!("no such metric: {line:?}"))
}
