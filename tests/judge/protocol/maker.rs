//! Makes a sequence of messages from a seed.
//!
//! What the proxy refuses by decision is not made: a Query within a batch that its Sync has not ended. Nor what
//! [`is_safe`] names.

use crate::generated::rng::Rng;

use super::message::{Bind, Sent};
use super::statements::{Data, Kind, Parameter, Statement, Statements};

const STATEMENTS: [&str; 4] = ["", "", "s1", "s2"];
const PORTALS: [&str; 5] = ["", "", "", "p1", "p2"];

/// The sequence of a seed, for a client.
pub fn sequence(seed: u64, client: usize) -> Vec<Sent> {
    let mut maker = Maker {
        statements: Statements::new(Rng::new(seed), client),
        sequence: Vec::new(),
        prepared: Vec::new(),
        is_open: false,
    };
    let length = 2 + maker.rng().below(9);
    for _ in 0..length {
        maker.phrase();
    }
    maker.sequence
}

/// Whether a message behind these cannot crash PostgreSQL. The statement of a Query that has failed within a transaction is
/// gone, and its portal is not: an Execute of it reads freed memory (`IsTransactionStmtList` in 15.20). A Describe of it
/// is not made where EXECUTE, PREPARE, DEALLOCATE or DISCARD may have left it, which the proxy runs itself, or what may not
/// be kept beyond a transaction, which it refuses.
pub fn is_safe(before: &[Sent], next: &Sent) -> bool {
    let may_leave: fn(&str) -> bool = match next {
        Sent::Execute { portal: "", .. } => may_leave_portal,
        Sent::Describe(b'P', "") => is_run_by_proxy,
        _ => return true,
    };
    let mut batch = before.iter().rev().take_while(|sent| !matches!(sent, Sent::Sync | Sent::Query(_)));
    let is_bound = |sent: &Sent| matches!(sent, Sent::Bind(Bind { portal: "", .. }));
    let is_over = |sent: &Sent| matches!(sent, Sent::Query(sql) if sql == "rollback");
    let mut transaction = before.iter().rev().take_while(|sent| !is_over(sent));
    batch.any(is_bound) || !transaction.any(|sent| matches!(sent, Sent::Query(sql) if may_leave(sql)))
}

/// Whether a Query may fail behind the point where it has a portal.
fn may_leave_portal(sql: &str) -> bool {
    let never =
        ["begin", "start transaction", "commit", "end", "rollback", "selec '", "values ('", "set local "];
    let mut fails_early = ["app.nosuch", "nosuch('"].into_iter();
    let is_literal = sql.starts_with("select '") && sql.ends_with("' as mark");
    let is_sure = never.iter().any(|word| sql.starts_with(word)) && !sql.starts_with("rollback to");
    sql.contains(';') || !(is_sure || is_literal || fails_early.any(|word| sql.contains(word)))
}

fn is_run_by_proxy(sql: &str) -> bool {
    ["execute", "prepare", "deallocate", "discard", "with hold", "listen "]
        .iter()
        .any(|word| sql.contains(word))
}

struct Maker {
    statements: Statements,
    sequence: Vec<Sent>,
    /// What names were last given to.
    prepared: Vec<(&'static str, Statement)>,
    /// There is a batch without its Sync.
    is_open: bool,
}

impl Maker {
    fn rng(&mut self) -> &mut Rng {
        &mut self.statements.rng
    }

    fn add(&mut self, sent: Sent) {
        self.is_open = match sent {
            Sent::Sync => false,
            Sent::Query(_) => self.is_open,
            _ => true,
        };
        self.sequence.push(sent);
    }

    fn phrase(&mut self) {
        match self.rng().below(100) {
            0..34 => self.query(),
            34..66 => self.whole_batch(),
            66..68 => self.execute_prepared(),
            68..71 => self.execute_beside_changes(),
            71..75 => self.unnamed_behind_query(),
            75..88 => self.loose_message(),
            88..92 => self.add(Sent::Flush),
            92..97 => self.add(Sent::Sync),
            _ => self.stray_copy(),
        }
    }

    fn query(&mut self) {
        if self.is_open {
            self.add(Sent::Sync);
        }
        let statement = self.literal_statement();
        if statement.kind != Kind::Plain || !self.rng().chance(45) {
            self.sequence.push(Sent::Query(statement.sql));
            self.data(statement.kind);
            self.is_open = false;
            return;
        }
        let mut sql = statement.sql;
        for _ in 0..=self.rng().below(3) {
            let next = loop {
                let next = self.literal_statement();
                if next.kind == Kind::Plain {
                    break next;
                }
            };
            sql = format!("{}; {}", sql.trim_end_matches(';'), next.sql);
        }
        self.sequence.push(Sent::Query(sql));
    }

    fn literal_statement(&mut self) -> Statement {
        loop {
            let statement = self.statements.any();
            if statement.parameters.is_empty() {
                return statement;
            }
        }
    }

    /// A statement that SQL prepares and a batch runs.
    fn execute_prepared(&mut self) {
        if self.is_open {
            self.add(Sent::Sync);
        }
        let (prepare, execute) = self.statements.prepared();
        for sql in ["rollback", "deallocate all", &prepare] {
            self.sequence.push(Sent::Query(sql.into()));
        }
        if self.rng().chance(50) {
            self.sequence.push(Sent::Query("begin".into()));
        }
        self.parse("", &execute);
        self.bind("", "", &execute);
        self.add(Sent::Describe(b'P', ""));
        self.add(Sent::Execute { portal: "", limit: 0 });
        self.add(Sent::Sync);
        self.add(Sent::Close(b'S', ""));
        self.add(Sent::Sync);
    }

    /// EXECUTE of a name that batches give and take, of which one may fail: always the same statement by that name. Another
    /// one behind a Bind is refused, since PostgreSQL gives its rows under the columns of the first.
    fn execute_beside_changes(&mut self) {
        if self.is_open {
            self.add(Sent::Sync);
        }
        let (prepare, mut execute) = self.statements.prepared();
        let name = prepare.split(' ').nth(1).expect("a name").to_owned();
        let fails = Statement { sql: "select 1 / (random() * 0)::int".into(), ..execute.clone() };
        if self.rng().chance(15) {
            execute.sql = format!("execute {name} (1, 2)");
        }
        for sql in ["rollback", "deallocate all"] {
            self.sequence.push(Sent::Query(sql.into()));
        }
        if self.rng().chance(50) {
            self.sequence.push(Sent::Query(prepare.clone()));
        }
        if self.rng().chance(40) {
            self.sequence.push(Sent::Query("begin".into()));
        }
        let change = |sql: String| Statement { sql, ..execute.clone() };
        self.parse("s1", &execute);
        for _ in 0..3 + self.rng().below(6) {
            let portal = *self.rng().pick(&["p1", "p2"]);
            match self.rng().below(10) {
                0..3 => {
                    self.add(Sent::Close(b'P', portal));
                    self.bind(portal, "s1", &execute);
                }
                3..5 => self.add(Sent::Execute { portal, limit: 0 }),
                5 => self.add(Sent::Describe(b'P', portal)),
                6 => self.run_once(&change(format!("deallocate {name}"))),
                7 => self.run_once(&change(prepare.clone())),
                8 => self.run_once(&fails),
                _ => self.add(Sent::Describe(b'S', "s1")),
            }
            if self.rng().chance(30) {
                self.add(Sent::Sync);
            }
        }
        self.add(Sent::Sync);
    }

    fn run_once(&mut self, statement: &Statement) {
        self.parse("", statement);
        self.bind("", "", statement);
        self.add(Sent::Execute { portal: "", limit: 0 });
    }

    /// What a batch has bound without a name, behind a Query that destroys it, or is not even looked at.
    fn unnamed_behind_query(&mut self) {
        if self.is_open {
            self.add(Sent::Sync);
        }
        self.sequence.push(Sent::Query("rollback".into()));
        if self.rng().chance(70) {
            self.sequence.push(Sent::Query("begin".into()));
        }
        let statement = self.statements.any();
        if self.rng().chance(80) && !matches!(statement.kind, Kind::CopyIn(_)) {
            self.parse("", &statement);
            self.bind("", "", &statement);
            if self.rng().chance(30) {
                self.add(Sent::Execute { portal: "", limit: 1 });
            }
            self.add(Sent::Sync);
        }
        let mark = self.statements.mark();
        let sql = match self.rng().below(8) {
            0..2 => format!("select '{mark}' as mark"),
            2 => format!("values ('{mark}', 1)"),
            3 => format!("selec '{mark}'"),
            4 => format!("select nosuch('{mark}')"),
            5 => "commit".into(),
            6 => "-- nothing".into(),
            _ => self.literal_statement().sql,
        };
        if !sql.contains("from stdin") {
            self.sequence.push(Sent::Query(sql));
        }
        for _ in 0..=self.rng().below(2) {
            match self.rng().below(6) {
                0..2 => self.add_if_safe(Sent::Execute { portal: "", limit: 0 }),
                2..4 => self.add_if_safe(Sent::Describe(b'P', "")),
                4 => self.add(Sent::Close(b'P', "")),
                _ => {
                    self.bind("", "", &statement);
                    self.add_if_safe(Sent::Execute { portal: "", limit: 0 });
                }
            }
            if self.rng().chance(50) {
                self.add(Sent::Sync);
            }
        }
        self.add(Sent::Sync);
        self.prepared.retain(|(name, _)| !name.is_empty());
    }

    /// Nor what may run a portal of a COPY FROM, which would take what follows as its data.
    fn add_if_safe(&mut self, sent: Sent) {
        let runs = matches!(sent, Sent::Execute { .. });
        let may_load = self.prepared.iter().any(|(_, s)| matches!(s.kind, Kind::CopyIn(_)));
        if is_safe(&self.sequence, &sent) && !(runs && may_load) {
            self.add(sent);
        }
    }

    /// What goes behind a COPY FROM.
    fn data(&mut self, kind: Kind) {
        let Kind::CopyIn(data) = kind else { return };
        let pieces = self.statements.rows(data);
        // A row in binary is sent as a whole, and not as far as PostgreSQL reads it before it finds an error.
        let is_cut = matches!(kind, Kind::CopyIn(Data::Text | Data::Csv));
        let has_syncs = self.rng().chance(40);
        let is_broken = self.rng().chance(4);
        for piece in pieces {
            if self.rng().chance(6) {
                self.sequence.push(Sent::Flush);
            }
            if has_syncs && is_cut && self.rng().chance(30) {
                self.sequence.push(Sent::Sync);
            }
            if is_broken && is_cut && self.rng().chance(30) {
                let mark = self.statements.mark();
                self.sequence.push(Sent::Query(format!("select '{mark}'")));
            }
            self.sequence.push(Sent::CopyData(piece));
        }
        if has_syncs && self.rng().chance(30) {
            self.sequence.push(Sent::Sync);
        }
        let end = if self.rng().chance(80) { Sent::CopyDone } else { Sent::CopyFail("no more".into()) };
        self.sequence.push(end);
    }

    /// Parse, Bind, Describe, Execute and mostly Sync.
    fn whole_batch(&mut self) {
        let (name, portal) = (*self.rng().pick(&STATEMENTS), *self.rng().pick(&PORTALS));
        let known = self.prepared.iter().rev().find(|(of, _)| *of == name).map(|(_, s)| s.clone());
        let statement = match known {
            Some(statement) if self.rng().chance(40) => statement,
            _ => {
                let statement = self.statements.any();
                if !name.is_empty() && self.rng().chance(50) {
                    self.add(Sent::Close(b'S', name));
                }
                self.parse(name, &statement);
                statement
            }
        };
        if self.rng().chance(15) {
            self.add(Sent::Describe(b'S', name));
        }
        self.bind(portal, name, &statement);
        if self.rng().chance(70) {
            self.add(Sent::Describe(b'P', portal));
        }
        let limit = if self.rng().chance(25) { 1 + i32::from(self.rng().chance(50)) } else { 0 };
        self.add(Sent::Execute { portal, limit });
        if let Kind::CopyIn(_) = statement.kind {
            self.data(statement.kind);
            self.add(Sent::Sync);
            // Nothing runs it again: what follows would be its data.
            self.add(Sent::Close(b'S', name));
            self.add(Sent::Sync);
            return;
        }
        if limit > 0 && self.rng().chance(60) {
            self.add(Sent::Execute { portal, limit: 0 });
        }
        if self.rng().chance(80) {
            self.add(Sent::Sync);
        }
    }

    fn parse(&mut self, name: &'static str, statement: &Statement) {
        let types = match self.rng().below(3) {
            0 => Vec::new(),
            1 => statement.parameters.iter().map(|parameter| parameter.type_oid).collect(),
            _ => statement.parameters.iter().take(1).map(|parameter| parameter.type_oid).collect(),
        };
        self.prepared.push((name, statement.clone()));
        self.add(Sent::Parse { name, sql: statement.sql.clone(), types });
    }

    fn bind(&mut self, portal: &'static str, name: &'static str, statement: &Statement) {
        let count = statement.parameters.len();
        let formats: Vec<i16> = match self.rng().below(6) {
            0..3 => Vec::new(),
            3 => vec![0],
            4 => vec![1],
            _ => (0..count).map(|_| i16::from(self.rng().chance(50))).collect(),
        };
        let format_of = |at: usize| match formats.as_slice() {
            [] => 0,
            [one] => *one,
            many => many.get(at).copied().unwrap_or(0),
        };
        let value = |(at, parameter): (usize, &Parameter)| match format_of(at) {
            1 => parameter.binary.clone(),
            _ => parameter.text.clone().map(String::into_bytes),
        };
        let mut values: Vec<_> = statement.parameters.iter().enumerate().map(value).collect();
        match self.rng().below(24) {
            0 => {
                values.pop();
            }
            1 => values.push(Some(b"more".to_vec())),
            2 => values.iter_mut().for_each(|value| *value = None),
            _ => {}
        }
        let results = match self.rng().below(6) {
            0..4 => Vec::new(),
            4 => vec![0],
            _ => vec![1],
        };
        self.add(Sent::Bind(Bind { portal, statement: name, formats, values, results }));
    }

    /// One message that fits or does not.
    fn loose_message(&mut self) {
        let (name, portal) = (*self.rng().pick(&STATEMENTS), *self.rng().pick(&PORTALS));
        match self.rng().below(7) {
            0 => {
                let statement = self.statements.any();
                if !matches!(statement.kind, Kind::CopyIn(_)) {
                    self.parse(name, &statement);
                }
            }
            1 => {
                let known = self.prepared.iter().rev().find(|(of, _)| *of == name).map(|(_, s)| s.clone());
                let statement = known.unwrap_or_else(|| self.statements.read());
                if !matches!(statement.kind, Kind::CopyIn(_)) {
                    self.bind(portal, name, &statement);
                }
            }
            2 => self.add(Sent::Describe(b'S', name)),
            3 => self.add_if_safe(Sent::Describe(b'P', portal)),
            4 => {
                let limit = self.rng().below(3);
                self.add_if_safe(Sent::Execute { portal, limit: i32::try_from(limit).expect("small") });
            }
            5 => self.add(Sent::Close(b'S', name)),
            _ => self.add(Sent::Close(b'P', portal)),
        }
    }

    /// COPY's messages where there is no COPY.
    fn stray_copy(&mut self) {
        let messages = [Sent::CopyData(b"1\tx\n".to_vec()), Sent::CopyDone, Sent::CopyFail("stray".into())];
        let message = self.rng().pick(&messages).clone();
        self.sequence.push(message);
    }
}
