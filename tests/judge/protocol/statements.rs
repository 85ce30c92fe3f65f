//! The statements that sequences are made of: of every kind that means something to the protocol.

use crate::generated::rng::Rng;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    /// Types and values of its parameters.
    pub parameters: Vec<Parameter>,
    pub kind: Kind,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub type_oid: u32,
    pub text: Option<String>,
    pub binary: Option<Vec<u8>>,
}

/// What a statement means to those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It may stand beside others in a Query.
    Plain,
    /// It stands alone.
    Alone,
    /// It stands alone, and takes data.
    CopyIn(Data),
    /// It stands alone, and fails before anything runs.
    Unplanned,
}

/// The format of COPY data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    Text,
    Csv,
    Binary,
}

/// Makes statements, each with a literal that no other has.
pub struct Statements {
    pub rng: Rng,
    client: usize,
    marks: usize,
}

pub const INT4: u32 = 23;
pub const TEXT: u32 = 25;

const SETTINGS: [(&str, &[&str]); 7] = [
    ("timezone", &["'UTC'", "'Europe/Berlin'", "'Asia/Tokyo'"]),
    ("datestyle", &["'ISO, DMY'", "'ISO, MDY'"]),
    ("intervalstyle", &["'iso_8601'", "'postgres'"]),
    ("application_name", &["'one'", "'two'", "'it''s'"]),
    ("extra_float_digits", &["2", "3"]),
    ("default_transaction_read_only", &["off", "false"]),
    ("plan_cache_mode", &["auto", "force_generic_plan"]),
];
const NAMES: [&str; 2] = ["q1", "q2"];
const CURSORS: [&str; 2] = ["c1", "c2"];
const CHANNELS: [&str; 2] = ["ch1", "ch2"];
const SAVEPOINTS: [&str; 2] = ["sp1", "sp2"];

impl Statements {
    /// Of a client, which has rows of its own.
    pub fn new(rng: Rng, client: usize) -> Self {
        Self { rng, client, marks: 0 }
    }

    /// Any statement.
    pub fn any(&mut self) -> Statement {
        match self.rng.below(100) {
            0..24 => self.read(),
            24..36 => self.write(),
            36..54 => self.transaction(),
            54..64 => self.setting(),
            64..71 => self.named(),
            71..80 => self.cursor(),
            80..86 => self.copy(),
            86..90 => self.channel(),
            90..97 => self.failing(),
            _ => self.odd(),
        }
    }

    /// A literal that shows whose answer an answer is.
    pub fn mark(&mut self) -> String {
        self.marks += 1;
        format!("M{}-{}-{}", self.client, self.marks, self.rng.below(1_000_000))
    }

    fn own(&mut self) -> usize {
        self.client * 1000 + 1 + self.rng.below(14)
    }

    pub fn read(&mut self) -> Statement {
        let (mark, client, id) = (self.mark(), self.client, self.own());
        match self.rng.below(11) {
            0 => plain(format!("select '{mark}' as mark")),
            1 => plain(format!(
                "select '{mark}', id, body, amount, made from app.lines where client = {client} order by id limit 3"
            )),
            2 => with(
                "select $1::text as mark, id, body, amount from app.lines where id = $2",
                vec![text(&mark), int(id)],
            ),
            3 => with(
                &format!("select id, tenant_id, $1::text from app.lines where client = {client} order by id"),
                vec![text(&mark)],
            ),
            4 => plain(format!("select '{mark}', repeat('x', 900), g from generate_series(1, 12) g")),
            5 => plain(format!("select count(*), '{mark}' from app.lines where client = {client}")),
            6 => with(
                &format!(
                    "select l.id, $2::text from app.lines l where l.client = {client} and l.id > $1 order by l.id"
                ),
                vec![int(id), text(&mark)],
            ),
            7 => plain("table app.lines limit 0".to_owned()),
            8 => plain(format!("values ('{mark}', 1), ('b', 2)")),
            9 => with("select $1::int + 1, $2::text", vec![int(id), text(&mark)]),
            _ => plain(format!("select id, body from app.lines where id = {id} for update")),
        }
    }

    fn write(&mut self) -> Statement {
        let (mark, client, id) = (self.mark(), self.client, self.own());
        let new = client * 1000 + 100 + self.rng.below(20);
        match self.rng.below(7) {
            0 => plain(format!(
                "insert into app.lines (id, client, body) values ({new}, {client}, '{mark}') returning id, body, amount"
            )),
            1 => with(
                &format!(
                    "insert into app.lines (id, client, body, amount) values ($1, {client}, $2, 5) returning *"
                ),
                vec![int(new), text(&mark)],
            ),
            2 => plain(format!("update app.lines set body = '{mark}' where id = {id} returning id, body")),
            3 => with("update app.lines set body = $1 where id = $2", vec![text(&mark), int(id)]),
            4 => plain(format!("delete from app.lines where id = {id}")),
            5 => plain(format!(
                "insert into app.lines (id, client, body) values ({id}, {client}, '{mark}') on conflict do nothing"
            )),
            _ => plain(format!("insert into app.lines (id, client, body) values ({id}, {client}, '{mark}')")),
        }
    }

    pub fn transaction(&mut self) -> Statement {
        let savepoint = *self.rng.pick(&SAVEPOINTS);
        plain(match self.rng.below(20) {
            0..5 => "begin".into(),
            5 => "start transaction isolation level repeatable read".into(),
            6 => "begin read only".into(),
            7..10 => "commit".into(),
            10..12 => "rollback".into(),
            12 => "end".into(),
            13 => "commit and chain".into(),
            14 => "rollback and chain".into(),
            15..17 => format!("savepoint {savepoint}"),
            17 => format!("release savepoint {savepoint}"),
            18 => format!("rollback to savepoint {savepoint}"),
            _ => "set transaction isolation level serializable".into(),
        })
    }

    fn setting(&mut self) -> Statement {
        let (name, values) = *self.rng.pick(&SETTINGS);
        let value = *self.rng.pick(values);
        let quoted = format!("'{}'", value.trim_matches('\''));
        plain(match self.rng.below(9) {
            0..2 => format!("set {name} = {value}"),
            2..4 => format!("set local {name} = {value}"),
            4 => format!("reset {name}"),
            5 => format!("show {name}"),
            6 => format!("select set_config('{name}', {quoted}, {})", self.rng.chance(50)),
            7 => "reset all".into(),
            _ => format!(
                "select current_setting('{name}'), '2024-05-03 10:00+00'::timestamptz, interval '90 min'"
            ),
        })
    }

    fn named(&mut self) -> Statement {
        let (name, mark, client) = (*self.rng.pick(&NAMES), self.mark(), self.client);
        // A Query with a name that does not fit is refused as a whole, before any of it runs.
        let plain = |sql: String| Statement { kind: Kind::Alone, ..plain(sql) };
        match self.rng.below(10) {
            0..2 => plain(format!("prepare {name} (int) as select '{mark}', $1 + 1")),
            2 => plain(format!(
                "prepare {name} (int) as select id, body from app.lines where client = {client} and id > $1 order by id"
            )),
            3 => plain(format!(
                "prepare {name} as insert into app.lines (id, client, body) values ($1, {client}, $2) returning body"
            )),
            4..7 => plain(format!("execute {name} ({})", self.own())),
            7 => plain(format!("execute {name} ({}, '{mark}')", self.client * 1000 + 150)),
            8 => plain(format!("deallocate {name}")),
            _ => Statement {
                kind: Kind::Alone,
                ..plain(["deallocate all", "discard all", "discard plans"][self.rng.below(3)].into())
            },
        }
    }

    fn cursor(&mut self) -> Statement {
        let (name, mark, client) = (*self.rng.pick(&CURSORS), self.mark(), self.client);
        plain(match self.rng.below(10) {
            0..3 => format!(
                "declare {name} cursor for select '{mark}', id, body from app.lines where client = {client} order by id"
            ),
            3 => format!(
                "declare {name} scroll cursor with hold for select id, '{mark}' from app.lines where client = {client} order by id"
            ),
            4..6 => format!("fetch {} from {name}", 1 + self.rng.below(3)),
            6 => format!("fetch all in {name}"),
            7 => format!("move {} in {name}", 1 + self.rng.below(3)),
            8 => format!("close {name}"),
            _ => "close all".into(),
        })
    }

    fn copy(&mut self) -> Statement {
        let (client, mark) = (self.client, self.mark());
        let alone = |sql: String| Statement { kind: Kind::Alone, ..plain(sql) };
        match self.rng.below(7) {
            0 => alone(format!(
                "copy (select id, body, '{mark}' from app.lines where client = {client} order by id) to stdout"
            )),
            1 => alone(format!(
                "copy (select g, 10 / (5 - g), '{mark}' from generate_series(1, 9) g) to stdout"
            )),
            2 => alone(format!(
                "copy (select id, made from app.lines where client = {client} order by id) to stdout with (format csv, header)"
            )),
            3 => Statement {
                kind: Kind::CopyIn(Data::Csv),
                ..plain("copy app.loads (id, body) from stdin with (format csv)".into())
            },
            4 => Statement {
                kind: Kind::CopyIn(Data::Binary),
                ..plain("copy app.loads (id, body) from stdin with (format binary)".into())
            },
            _ => Statement {
                kind: Kind::CopyIn(Data::Text),
                ..plain("copy app.loads (id, body) from stdin".into())
            },
        }
    }

    fn channel(&mut self) -> Statement {
        // Another client's notifications come at any time.
        let (channel, mark) = (format!("{}_{}", self.rng.pick(&CHANNELS), self.client), self.mark());
        plain(match self.rng.below(6) {
            0..2 => format!("listen {channel}"),
            2 => format!("notify {channel}, '{mark}'"),
            3 => format!("select pg_notify('{channel}', '{mark}')"),
            4 => format!("unlisten {channel}"),
            _ => "unlisten *".into(),
        })
    }

    fn failing(&mut self) -> Statement {
        let mark = self.mark();
        let unplanned = |sql: String| Statement { kind: Kind::Unplanned, ..plain(sql) };
        match self.rng.below(9) {
            0 => plain(format!("select '{mark}', 10 / (4 - g) from generate_series(1, 8) g")),
            1 => plain(format!("select '{mark}'::int")),
            2 => with("select 1 / $1::int", vec![int(0)]),
            3 => with("select $1::text::int", vec![text(&mark)]),
            4 => plain(format!("insert into app.lines (id, client) values (null, {})", self.client)),
            5 => plain(format!("update app.lines set amount = 1 / (id - id) where id = {}", self.own())),
            6 => unplanned(format!("selec '{mark}'")),
            7 => unplanned(format!("select '{mark}' from app.nosuch")),
            _ => unplanned(format!("select nosuch('{mark}')")),
        }
    }

    fn odd(&mut self) -> Statement {
        let mark = self.mark();
        let alone = |sql: String| Statement { kind: Kind::Alone, ..plain(sql) };
        match self.rng.below(5) {
            0 => alone(String::new()),
            1 => alone(" ; ".into()),
            2 => alone(format!("-- {mark}")),
            3 => plain(format!("/* {mark} */ select 1 as one;")),
            _ => plain(format!("select '{mark}', pg_advisory_xact_lock({})", self.client)),
        }
    }

    /// A name that SQL prepares, with that statement and one that runs it.
    pub fn prepared(&mut self) -> (String, Statement) {
        let (name, mark, client) = (*self.rng.pick(&NAMES), self.mark(), self.client);
        let body = match self.rng.below(3) {
            0 => format!("select '{mark}', $1 + 1"),
            1 => format!(
                "select id, body, '{mark}' from app.lines where client = {client} and id > $1 order by id"
            ),
            _ => format!("update app.lines set body = '{mark}' where id = $1 returning body"),
        };
        (format!("prepare {name} (int) as {body}"), plain(format!("execute {name} ({})", self.own())))
    }

    /// Rows for COPY FROM, in pieces that are cut anywhere; some of them are wrong.
    pub fn rows(&mut self, data: Data) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        if data == Data::Binary {
            bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        }
        for _ in 0..self.rng.below(5) {
            let id = self.client * 1000 + self.rng.below(30);
            let wrong = self.rng.chance(8);
            let mark = self.mark();
            match data {
                Data::Text if wrong => bytes.extend_from_slice(format!("x\t{mark}\n").as_bytes()),
                Data::Text => bytes.extend_from_slice(format!("{id}\t{mark}\\\\\n").as_bytes()),
                Data::Csv if wrong => bytes.extend_from_slice(format!("{id}\n").as_bytes()),
                Data::Csv => bytes.extend_from_slice(format!("{id},\"{mark}\n\"\n").as_bytes()),
                Data::Binary => {
                    bytes.extend_from_slice(&2_i16.to_be_bytes());
                    let value = if wrong { vec![1, 2, 3] } else { int(id).binary.unwrap_or_default() };
                    for value in [&value[..], mark.as_bytes()] {
                        bytes.extend_from_slice(&u32::try_from(value.len()).expect("short").to_be_bytes());
                        bytes.extend_from_slice(value);
                    }
                }
            }
        }
        match data {
            Data::Binary if self.rng.chance(90) => bytes.extend_from_slice(&(-1_i16).to_be_bytes()),
            Data::Text if self.rng.chance(20) => bytes.extend_from_slice(b"\\.\n"),
            _ => {}
        }
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + self.rng.below(40)).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = behind;
        }
        if self.rng.chance(10) {
            pieces.push(Vec::new());
        }
        pieces
    }
}

fn plain(sql: String) -> Statement {
    Statement { sql, parameters: Vec::new(), kind: Kind::Plain }
}

fn with(sql: &str, parameters: Vec<Parameter>) -> Statement {
    // More than one Parse of such a text is seen by the proxy: its literals are parameters.
    Statement { sql: sql.into(), parameters, kind: Kind::Alone }
}

fn text(value: &str) -> Parameter {
    Parameter { type_oid: TEXT, text: Some(value.into()), binary: Some(value.as_bytes().to_vec()) }
}

fn int(value: usize) -> Parameter {
    let binary = i32::try_from(value).expect("small").to_be_bytes().to_vec();
    Parameter { type_oid: INT4, text: Some(value.to_string()), binary: Some(binary) }
}
