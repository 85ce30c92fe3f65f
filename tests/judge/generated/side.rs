//! The two sides that are compared, and a third that settles who is right: row-level security where only A's
//! rows exist.

use std::io;

use crate::canary;
use crate::compare::difference;
use crate::lanes::{Lane, Side};
use crate::support::fixture::Server;
use crate::support::wire::{Answer, Connection, Extended, Message};

use super::compared::{Found, exact, refusal};
use super::schema::state_query;
use super::settings::Settings;
use super::write::Made;

/// Raises where it sees another tenant's value. It costs next to nothing, so that PostgreSQL would rather call
/// it than look at a tenant column.
const LEAK: &str = r"
create or replace function app.leak(v anyelement) returns boolean language plpgsql cost 0.0000001 parallel safe VOLATILITY as $q$
begin
  if v::text ~ 'CANARY_[BC]|\m(2222|3333)0\d\d\M' then raise exception 'LEAK %', v; end if;
  return true;
end $q$;
alter function app.leak(anyelement) VOLATILITY";

/// A row of another tenant raises when it is written.
const WATCH: &str = r"
create function public.only_a() returns trigger language plpgsql as $q$
begin
  if tg_op <> 'INSERT' and (old).tenant_id is distinct from 1 then raise exception 'FOREIGN ROW % %', tg_table_name, old; end if;
  if tg_op <> 'DELETE' and (new).tenant_id is distinct from 1 then raise exception 'FOREIGN ROW % %', tg_table_name, new; end if;
  return null;
end $q$;
create function public.only_pages_of_a() returns trigger language plpgsql as $q$
begin
  if tg_op <> 'INSERT' and (old).document_id between 2222000 and 3334000 then raise exception 'FOREIGN ROW % %', tg_table_name, old; end if;
  if tg_op <> 'DELETE' and (new).document_id between 2222000 and 3334000 then raise exception 'FOREIGN ROW % %', tg_table_name, new; end if;
  return null;
end $q$;
do $q$ declare r record; begin
  for r in select c.oid::regclass t, exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') own
    from pg_class c where c.relnamespace = 'app'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition loop
    if r.own then
      execute format('create trigger zz_watch after insert or update or delete on %s for each row execute function public.only_a()', r.t);
    elsif r.t = 'app.document_pages'::regclass then
      execute format('create trigger zz_watch after insert or update or delete on %s for each row execute function public.only_pages_of_a()', r.t);
    end if;
  end loop;
end $q$";

const QUIET: &str = "create or replace function rls.leak(v anyelement) returns boolean language sql VOLATILITY as 'select true'";

const ALONE: &str = "
set session_replication_role = replica;
do $q$ declare r record; begin
  for r in select c.oid::regclass t, c.relname from pg_class c where c.relnamespace = 'rls'::regnamespace and c.relkind = 'r' loop
    if r.relname = 'tenants' then execute format('delete from only %s where id <> 1', r.t);
    elsif r.relname = 'document_pages' then execute format('delete from only %s where document_id not between 1111000 and 1112000', r.t);
    elsif r.relname <> 'countries' then execute format('delete from only %s where tenant_id <> 1', r.t);
    end if;
  end loop;
end $q$";

/// A connection that is opened again when it breaks.
#[derive(Debug)]
struct Line {
    side: Side,
    connection: Option<Connection>,
}

/// What one side said.
#[derive(Debug, Default)]
pub struct Said {
    pub answer: Answer,
    /// The tenant's rows after a statement that writes.
    pub state: Vec<Vec<Option<Vec<u8>>>>,
    pub heard: Vec<Message>,
    /// A statement of ours around it ran into the timeout, so that nothing can be said.
    late: bool,
}

/// The proxy and row-level security, over one database.
#[derive(Debug)]
pub struct Pair {
    lane: Lane,
    judged: Line,
    oracle: Line,
    alone: Line,
    superuser_alone: Connection,
    settings: Settings,
    state_query: String,
    major: u32,
}

impl Pair {
    pub fn new(mut lane: Lane, server: &Server) -> Self {
        lane.superuser.run("set client_min_messages = error");
        lane.superuser.run(WATCH);
        let alone = format!("{}_alone", lane.database);
        server.create_database(&alone);
        let mut superuser_alone = server.superuser(&alone);
        superuser_alone.run(ALONE);
        let line = |side: Side| Line { side, connection: None };
        Self {
            judged: line(lane.subject(1)),
            oracle: line(lane.oracle(1)),
            alone: line(lane.oracle(1).of_database(&alone)),
            superuser_alone,
            lane,
            settings: super::settings::of(0),
            state_query: state_query(),
            major: server.major(),
        }
    }

    pub fn major(&self) -> u32 {
        self.major
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts the server's settings in force for the connections that the proxy opens from now on.
    pub fn set(&mut self, settings: &Settings, server: &Server) {
        let superuser = &mut self.lane.superuser;
        let database = self.lane.database.clone();
        superuser.run(&format!("alter database {database} reset all"));
        for (name, value) in &settings.server {
            superuser.run(&format!("alter database {database} set {name} = '{value}'"));
        }
        for statement in LEAK.split(";\nalter").zip(["", "alter"]).map(|(s, head)| format!("{head}{s}")) {
            superuser.run(&statement.replace("VOLATILITY", settings.volatility));
        }
        let quiet = QUIET.replace("VOLATILITY", settings.volatility);
        superuser.run(&quiet);
        self.superuser_alone.run(&quiet);
        self.judged.connection = None;
        self.lane.restart(server);
        self.judged.side = self.lane.subject(1);
        self.settings = settings.clone();
    }

    /// The tables in which rows of others are not what they were.
    pub fn changed_of_others(&mut self) -> Option<Vec<String>> {
        let changed = self.lane.pristine.changed_of_others(&mut self.lane.superuser);
        (!changed.is_empty()).then_some(changed)
    }

    /// Runs a statement on both sides and says how they compare.
    pub fn compare(&mut self, made: &Made) -> Found {
        let judged = match self.judged.run(made, &self.state_query) {
            Ok(said) => said,
            Err(error) => return Found::Differs(format!("the connection broke: {error}")),
        };
        let told =
            judged.heard.iter().filter(|m| matches!(m.tag, b'E' | b'N' | b'A')).cloned().collect::<Vec<_>>();
        let sent: String = std::iter::once(made.sql.clone())
            .chain(made.parameters.iter().filter_map(|p| p.value.clone()))
            .collect();
        let shown = canary::foreign(&told, 1, &sent);
        if !shown.is_empty() {
            return Found::Leaks(format!("{shown:?}"));
        }
        let oracle = match self.oracle.run(made, &self.state_query) {
            Ok(said) => said,
            Err(error) => return Found::Untold(format!("the oracle's connection broke: {error}")),
        };
        if judged.late || oracle.late {
            return Found::Untold("took too long".into());
        }
        let how = match differs(&judged, &oracle) {
            None => return oracle.answer.error().map_or(Found::Same, |_| Found::BothFailed(state(&oracle))),
            Some(how) => how,
        };
        if let Some((rule, message)) = refusal(&judged.answer) {
            let oracle_failed = oracle.answer.error().is_some();
            return Found::Refused { rule, message, oracle_failed };
        }
        if state(&oracle) == "57014" || state(&judged) == "57014" {
            return Found::Untold("took too long".into());
        }
        match self.alone.run(made, &self.state_query) {
            Ok(alone) if differs(&judged, &alone).is_none() => Found::OracleLeaks,
            _ => Found::Differs(how),
        }
    }
}

fn state(said: &Said) -> String {
    said.answer.error().and_then(|e| e.get(&'C').cloned()).unwrap_or_default()
}

fn differs(judged: &Said, other: &Said) -> Option<String> {
    if let Some(how) = difference(&judged.answer, &other.answer, exact()) {
        return Some(how);
    }
    if judged.state == other.state {
        return None;
    }
    let text = |rows: &[Vec<Option<Vec<u8>>>]| -> Vec<String> {
        rows.iter()
            .map(|r| {
                r.iter()
                    .flatten()
                    .map(|v| String::from_utf8_lossy(v).into_owned())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    };
    let (ours, theirs) = (text(&judged.state), text(&other.state));
    let only =
        |a: &[String], b: &[String]| a.iter().filter(|r| !b.contains(r)).take(3).cloned().collect::<Vec<_>>();
    Some(format!("rows afterwards: {:?}, expected {:?}", only(&ours, &theirs), only(&theirs, &ours)))
}

impl Line {
    fn run(&mut self, made: &Made, state_query: &str) -> io::Result<Said> {
        if self.connection.is_none() {
            let mut connection = self.side.open()?;
            connection.simple("set statement_timeout = '2s'")?;
            self.connection = Some(connection);
        }
        let Some(connection) = &mut self.connection else { return Err(io::Error::other("no connection")) };
        let said = run(connection, &self.side, made, state_query);
        if said.as_ref().map_or(true, |said| said.late) {
            self.connection = None;
        }
        said
    }
}

fn run(connection: &mut Connection, side: &Side, made: &Made, state_query: &str) -> io::Result<Said> {
    let sql = side.sql(&made.sql);
    connection.take_heard();
    let mut said = Said::default();
    let late = |answer: &Answer| answer.error().is_some_and(|e| e.get(&'C').is_some_and(|c| c == "57014"));
    if made.writes {
        said.late |= late(&connection.simple("BEGIN")?);
    }
    said.answer = if made.extended {
        connection.extended(&Extended {
            sql,
            parse: true,
            parameter_types: made.parameters.iter().map(|p| p.type_oid).collect(),
            parameters: made.parameters.iter().map(|p| p.value.clone().map(String::into_bytes)).collect(),
            ..Extended::default()
        })?
    } else {
        connection.simple(&sql)?
    };
    if made.writes {
        if said.answer.error().is_none() {
            let state = connection.simple(&side.sql(state_query))?;
            said.late |= late(&state);
            said.state = state.outcomes().into_iter().flat_map(|o| o.rows).collect();
            said.state.sort();
        }
        said.late |= late(&connection.simple("ROLLBACK")?);
    }
    said.heard = connection.take_heard();
    Ok(said)
}
