//! COPY through the proxy beside COPY on the server itself: what a tenant may load is loaded alike, what the server
//! refuses is refused alike, and what is not the tenant's changes nothing.
//!
//! `PGBULKHEAD_JUDGE_SEED=N` repeats a run, `PGBULKHEAD_JUDGE_COPIES=N` makes it longer.

mod fixed;
mod random;

use self::random::Random;
use super::support::fixture::{Proxy, Server};
use super::support::wire::{Connection, CopyIn, Extended, Outcome};

const TABLES: &str = "
    create table app.loads (a int, tenant_id int not null default 1, b text, c text[]);
    create table app.loads_of_documents (document_id bigint references app.documents, b text default 'd', c int);
    grant select, insert, delete on app.loads, app.loads_of_documents to app_backend;";

const RULES: &str = "
[[tables]]
name = \"app.loads_of_documents\"
kind = \"child\"
parent = \"app.documents\"
on = { document_id = \"id\" }
";

/// Both sides of the comparison.
struct Sides {
    direct: Connection,
    subject: Connection,
    /// Superusers on the two databases, which look at what was loaded.
    directly: Connection,
    behind: Connection,
}

/// One COPY: where to, how, and with what rows.
#[derive(Debug, Clone)]
struct Load {
    table: &'static str,
    columns: &'static str,
    options: String,
    rows: Vec<u8>,
    extended: bool,
}

pub fn judge(server: &Server) -> Result<(), String> {
    for name in ["copy_direct", "copy_behind"] {
        server.create_database(name);
        server.superuser(name).run(TABLES);
    }
    let proxy = Proxy::start_with(
        env!("CARGO_BIN_EXE_pgbulkhead"),
        server,
        "copy_behind",
        "copy_behind",
        |config, _| config + RULES,
    );
    let open = |login| Connection::open(&login).map_err(|error| error.to_string());
    let mut direct = open(server.direct("app_backend", "copy_direct"))?;
    direct.run("set search_path = app, ext");
    let mut sides = Sides {
        direct,
        subject: open(proxy.login("tenant_a"))?,
        directly: server.superuser("copy_direct"),
        behind: server.superuser("copy_behind"),
    };
    let major = server.major();
    let mut faults = Vec::new();
    let fixed = fixed::loads(major);
    let mut random = Random(number("PGBULKHEAD_JUDGE_SEED").unwrap_or(20_261_125));
    let count = number("PGBULKHEAD_JUDGE_COPIES").unwrap_or(400);
    let generated = (0..count).map(|_| random.load(major)).collect::<Vec<_>>();
    let mut tally = [0usize; 3];
    for load in fixed.into_iter().chain(generated) {
        match sides.compare(&load, &mut random) {
            Ok(kind) => tally[kind] += 1,
            Err(fault) => {
                faults.push(format!("{fault}\n   {load:?}\n   {:?}", String::from_utf8_lossy(&load.rows)))
            }
        }
    }
    println!(
        "  {} copies loaded alike, {} refused alike, {} were not the tenant's",
        tally[0], tally[1], tally[2]
    );
    faults.extend(large(&mut sides).err());
    faults.extend(several(&mut sides).err());
    faults.extend(out(&mut sides, major));
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl Load {
    fn sql(&self) -> String {
        format!("copy {}{} from stdin {}", self.table, self.columns, self.options)
    }

    fn is_inserted(&self) -> bool {
        self.table == "loads_of_documents"
    }
}

impl Sides {
    /// Loads on both sides; 0: loaded alike, 1: refused alike, 2: refused since it is not the tenant's.
    fn compare(&mut self, load: &Load, random: &mut Random) -> Result<usize, String> {
        let clean = "truncate app.loads, app.loads_of_documents";
        self.directly.run(clean);
        self.behind.run(clean);
        let wanted = send(&mut self.direct, load, vec![load.rows.clone()])?;
        let found = send(&mut self.subject, load, random.pieces(&load.rows))?;
        let foreign = "select count(*) from app.loads where tenant_id <> 1";
        let foreign_child =
            "select count(*) from app.loads_of_documents l join app.documents d on d.id = document_id
                             where d.tenant_id <> 1";
        let is_foreign =
            value(&mut self.directly, foreign) != "0" || value(&mut self.directly, foreign_child) != "0";
        let rows = [rows(&mut self.directly, load.table), rows(&mut self.behind, load.table)];
        let left = value(&mut self.behind, foreign) != "0" || value(&mut self.behind, foreign_child) != "0";
        if left {
            return Err("a row of another tenant was written".into());
        }
        let (state, other) = (found.state(), wanted.state());
        if is_foreign {
            return match state {
                Some("42501") if rows[1].is_empty() => Ok(2),
                _ => Err(format!("not the tenant's, and answers {found:?}")),
            };
        }
        match (state, other) {
            (None, None) if found.tag == wanted.tag && rows[0] == rows[1] => Ok(0),
            // A row of another tenant's before the one that fails.
            (Some("42501"), Some(_)) if rows[1].is_empty() => Ok(2),
            (Some(state), Some(other)) if state == other && rows[1].is_empty() => {
                let told =
                    load.is_inserted() || found.refused_by().is_some() || found.message() == wanted.message();
                // A row of binary data, and a header, is a column wider on its way.
                let wider = load.options.contains("binary") || load.options.contains("match");
                if told || wider { Ok(1) } else { Err(format!("other words: {found:?} {wanted:?}")) }
            }
            // The server converts the values before a field that is missing; a row is inserted whole or not at all.
            (Some("22P04"), Some(other)) if load.is_inserted() && other.starts_with("22") => Ok(1),
            // A parent that is not there is a foreign key's to refuse, and here nobody's row.
            (Some("42501"), None) | (Some("23503"), Some(_)) if load.is_inserted() => Ok(2),
            _ => Err(format!("found {found:?} {:?}\n   wanted {wanted:?} {:?}", rows[1], rows[0])),
        }
    }
}

fn send(connection: &mut Connection, load: &Load, pieces: Vec<Vec<u8>>) -> Result<Outcome, String> {
    connection.set_copy_in(Some(CopyIn::Data(pieces)));
    let answer = if load.extended {
        connection.extended(&Extended { sql: load.sql(), parse: true, ..Extended::default() })
    } else {
        connection.simple(&load.sql())
    };
    let outcomes = answer.map_err(|error| format!("the connection broke: {error}"))?.outcomes();
    outcomes.into_iter().next_back().ok_or_else(|| "no answer".into())
}

fn value(connection: &mut Connection, sql: &str) -> String {
    let outcomes = connection.run(sql).outcomes();
    let cell = outcomes.into_iter().next().and_then(|o| o.rows.into_iter().next()?.into_iter().next()?);
    String::from_utf8_lossy(&cell.unwrap_or_default()).into_owned()
}

fn rows(connection: &mut Connection, table: &str) -> Vec<Vec<Option<Vec<u8>>>> {
    let outcomes =
        connection.run(&format!("select * from app.{table} t order by t::text collate \"C\"")).outcomes();
    outcomes.into_iter().next().map(|outcome| outcome.rows).unwrap_or_default()
}

/// Some megabytes, with and without the tenant.
fn large(sides: &mut Sides) -> Result<(), String> {
    let megabytes = number("PGBULKHEAD_JUDGE_COPY_MB").unwrap_or(4) as usize;
    let line = |tenant: &str| format!("7\t{tenant}{}\n", "some text that goes on and on. ".repeat(3));
    for (columns, tenant) in [("(a, b)", ""), ("(a, tenant_id, b)", "1\t")] {
        let lines = megabytes * 1_048_576 / line(tenant).len();
        let rows = line(tenant).repeat(lines).into_bytes();
        let pieces = rows.chunks(60_000).map(<[u8]>::to_vec).collect();
        let load =
            Load { table: "loads", columns, options: String::new(), rows: Vec::new(), extended: false };
        sides.behind.run("truncate app.loads");
        let started = std::time::Instant::now();
        let outcome = send(&mut sides.subject, &load, pieces)?;
        println!("  {megabytes} MB{columns} in {:?}", started.elapsed());
        let count = value(&mut sides.behind, "select count(*) from app.loads where tenant_id = 1");
        if outcome.tag != Some(format!("COPY {lines}")) || count != lines.to_string() {
            return Err(format!("{outcome:?}, {count} rows of {lines}"));
        }
    }
    sides.behind.run("truncate app.loads");
    Ok(())
}

/// COPY among other statements of one query; a client that gives up; what follows is as ever.
fn several(sides: &mut Sides) -> Result<(), String> {
    let subject = &mut sides.subject;
    let mut say = |sql: &str, data: Option<CopyIn>| {
        subject.set_copy_in(data);
        let answer = subject.simple(sql).map_err(|error| format!("{sql}: {error}"))?;
        let said =
            answer.outcomes().into_iter().map(|o| o.state().map(str::to_owned).or(o.tag).unwrap_or_default());
        Ok::<_, String>(said.collect::<Vec<_>>().join(" "))
    };
    let rows = |text: &str| Some(CopyIn::Data(vec![text.as_bytes().to_vec()]));
    let steps = [
        ("begin; copy loads (a) from stdin; select 1", rows("1\n2\n"), "BEGIN COPY 2 SELECT 1"),
        ("select count(*) from loads; rollback", None, "SELECT 1 ROLLBACK"),
        ("copy loads (a, tenant_id) from stdin", rows("1\t1\n1\t2\n"), "42501"),
        ("copy loads_of_documents (document_id) from stdin", rows("1111001\n2222001\n"), "42501"),
        ("copy loads (a) from stdin", None, "57014"),
        ("copy loads_of_documents (document_id) from stdin", None, "57014"),
        ("begin", None, "BEGIN"),
        ("copy loads_of_documents (document_id) from stdin", rows("1111001\n"), "COPY 1"),
        ("copy loads_of_documents (document_id) from stdin", rows("1111001\tx\n"), "22P04"),
        ("select 1", None, "25P02"),
        ("rollback", None, "ROLLBACK"),
        ("select count(*) from loads", None, "SELECT 1"),
    ];
    for (sql, data, wanted) in steps {
        let found = say(sql, data)?;
        if found != wanted {
            return Err(format!("{sql}: {found}, not {wanted}"));
        }
    }
    let left = value(&mut sides.behind, "select count(*) from app.loads")
        + &value(&mut sides.behind, "select count(*) from app.loads_of_documents");
    if left == "00" { Ok(()) } else { Err(format!("{left} rows were left")) }
}

/// COPY TO gives what the server gives of the tenant's rows, in every form.
fn out(sides: &mut Sides, major: u32) -> Vec<String> {
    let fill =
        "truncate app.loads; insert into app.loads select g, 1, v, array[v, null] from (values (1, 'x'),
        (2, null), (3, E'a\\tb\\\\c\\nd\"e,f;g'), (null, ''), (5, '\\.'), (6, 'é')) t(g, v)";
    sides.directly.run(fill);
    sides.behind.run(fill);
    sides.behind.run("insert into app.loads values (9, 2, 'CANARY_B', '{}')");
    let mut forms = vec![
        "",
        "csv",
        "binary",
        "csv header",
        "(format csv, header true, delimiter ';', null 'NULL')",
        "(format text, delimiter '|', null '')",
        "(format csv, quote '''', escape '\\')",
        "(format csv, force_quote *)",
        "(format csv, force_quote (b, a))",
        "csv force quote b",
        "(format csv, encoding 'utf8')",
        "(format text, header false)",
        "with binary",
        "with delimiter as ';' null as 'x'",
    ];
    if major >= 15 {
        forms.push("(format text, header)");
    }
    let mut faults = Vec::new();
    for form in forms {
        for (direct, subject) in [
            ("loads".to_owned(), "loads".to_owned()),
            ("loads (b, a)".to_owned(), "loads (b, a)".to_owned()),
            (
                "(select b, a, c from loads order by a)".to_owned(),
                "(select b, a, c from loads order by a)".to_owned(),
            ),
        ] {
            let wanted = copied(&mut sides.direct, &format!("copy {direct} to stdout {form}"));
            let found = copied(&mut sides.subject, &format!("copy {subject} to stdout {form}"));
            if wanted.state() != found.state() || wanted.copied != found.copied || wanted.tag != found.tag {
                faults.push(format!("copy {subject} to stdout {form}: {found:?}\n   wanted {wanted:?}"));
            }
        }
    }
    sides.behind.run("truncate app.loads");
    faults
}

fn copied(connection: &mut Connection, sql: &str) -> Outcome {
    let answer = connection.simple(sql).expect("an answer");
    answer.outcomes().into_iter().next_back().unwrap_or_default()
}
