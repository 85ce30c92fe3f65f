//! Statements that write: every source, ON CONFLICT, RETURNING, row assignment, MERGE, and a whole statement.

use super::maker::{Col, Item, Level, Maker, Named, Parameter};
use super::schema::{TABLES, Table, Ty, Values};

/// A statement, and how it is sent.
#[derive(Debug, Clone)]
pub struct Made {
    pub sql: String,
    pub parameters: Vec<Parameter>,
    pub extended: bool,
    pub writes: bool,
}

/// The statement of a seed; one that writes, if no other is wanted.
pub fn made(seed: u64, major: u32, writes_only: bool) -> Made {
    let extended = seed % 2 == 1;
    let mut maker = Maker::new(seed.wrapping_mul(0x5851_F42D_4C95_7F2D), major, extended);
    let from = if writes_only { 74 } else { 0 };
    let (sql, writes) = match from + maker.rng.below(100 - from) {
        0..70 => (maker.query(None).0, false),
        70..74 => (maker.copied(), false),
        74..77 => (maker.data_modifying(), true),
        77..84 => (maker.with_names(|maker| maker.insert().0), true),
        84..88 => (maker.with_names(|maker| maker.update().0), true),
        88..90 => (maker.with_names(|maker| maker.delete().0), true),
        90..93 => (maker.with_names(Maker::joined_write), true),
        93..95 => (maker.with_names(Maker::insert_of_query), true),
        95..97 => (maker.chained_writes(), true),
        _ if major >= 15 => (maker.with_names(Maker::merge), true),
        _ => (maker.delete().0, true),
    };
    Made { sql, parameters: maker.parameters, extended: maker.extended, writes }
}

impl Maker {
    fn copied(&mut self) -> String {
        self.extended = false;
        let query = self.query(None).0;
        format!("COPY ({query}) TO STDOUT")
    }

    /// A statement, now and then below WITH.
    fn with_names(&mut self, make: impl FnOnce(&mut Self) -> String) -> String {
        let with = if self.rng.chance(12) && self.spend() { self.with() } else { String::new() };
        format!("{with}{}", make(self))
    }

    pub fn target(&mut self) -> &'static Table {
        let writable: Vec<&Table> = TABLES.iter().filter(|t| t.writable).collect();
        writable[self.rng.below(writable.len())]
    }

    /// A target with its item in a level of its own.
    pub fn open_target(&mut self, table: &'static Table) -> String {
        let name = self.relation_name(table);
        let (text, alias) = if self.rng.chance(50) {
            let alias = self.fresh("x");
            (format!("{name} AS {alias}"), alias)
        } else {
            (name, table.name.to_owned())
        };

        let columns = table.columns.iter().map(super::from::col).collect();
        let item = Item { alias, columns, table: Some(table), has_row: true, plain: false };
        self.levels.push(Level { items: vec![item], ambiguous: Vec::new() });
        text
    }

    /// The target without its children, now and then.
    pub fn only(&mut self, table: &Table, text: String) -> String {
        let only = !table.name.starts_with("v_") && self.rng.chance(8);
        if only { format!("ONLY {text}") } else { text }
    }

    /// RETURNING; the columns that were written hold anything now.
    pub fn returning(&mut self, written: &[&str]) -> (String, Vec<Col>) {
        if !self.rng.chance(45) {
            return (String::new(), Vec::new());
        }
        let top = self.levels.len() - 1;
        for item in &mut self.levels[top].items {
            item.has_row &= written.is_empty();
            for column in &mut item.columns {
                if written.contains(&column.name.as_str()) || written.contains(&"*") {
                    column.values = Values::Unknown;
                }
            }
        }
        let level = &self.levels[top];
        let target = level.items[0].clone();
        if self.rng.chance(20) && target.table.is_some_and(|t| t.whole) {
            return (format!(" RETURNING {}.*", target.alias), target.columns);
        }
        if self.major >= 18 && self.rng.chance(20) {
            let column = self.rng.pick(&target.columns).name.clone();
            let column = |row: &str, name: &str| format!("{row}.{column} AS {name}");
            return (format!(" RETURNING {}, {}", column("old", "o0"), column("new", "o1")), Vec::new());
        }
        let mut outputs = Vec::new();
        let mut columns = Vec::new();
        for at in 0..1 + self.rng.below(3) {
            let ty = self.some_type();
            let name = format!("o{at}");
            outputs.push(format!("{} AS {name}", self.expression(ty)));
            columns.push(Col { name, ty, values: Values::Unknown });
        }
        (format!(" RETURNING {}", outputs.join(", ")), columns)
    }

    pub fn insert(&mut self) -> (String, Vec<Col>) {
        let table = self.target();
        let text = self.open_target(table);
        let level = self.levels.pop().unwrap_or_default();
        let (columns, rows) = self.new_rows(table);
        let conflict = self.on_conflict(table, &level);
        self.levels.push(level);
        let (returning, outputs) = self.returning(&["*"]);
        self.levels.pop();
        let overriding = *self.rng.pick(&["", "", "", "", "", "", " OVERRIDING SYSTEM VALUE"]);
        (format!("INSERT INTO {text} ({columns}){overriding} {rows}{conflict}{returning}"), outputs)
    }

    /// A column list and a source that gives new rows of A's.
    fn new_rows(&mut self, table: &Table) -> (String, String) {
        let all: Vec<_> = table.columns.iter().filter(|c| c.ty != Ty::Search).collect();
        let names = all.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
        let fresh = 7_000_000 + self.rng.below(900_000);
        if self.rng.chance(50) {
            let rows: Vec<_> = (0..1 + self.rng.below(2))
                .map(|row| {
                    let values: Vec<_> = all
                        .iter()
                        .map(|c| self.new_value(table, c.name, c.ty, c.values, fresh + row))
                        .collect();
                    format!("({})", values.join(", "))
                })
                .collect();
            return (names, format!("VALUES {}", rows.join(", ")));
        }
        // Each row once, from what the tenant has.
        let source = TABLES.iter().find(|t| t.name == "templates").expect("templates");
        let item = Item {
            alias: "s".into(),
            columns: source.columns.iter().map(super::from::col).collect(),
            table: Some(source),
            has_row: true,
            plain: false,
        };
        self.levels.push(Level { items: vec![item], ambiguous: Vec::new() });
        let values: Vec<_> = all
            .iter()
            .map(|c| match c.values {
                Values::Tenant => (*self.rng.pick(&["s.tenant_id", "1", "s.tenant_id"])).to_owned(),
                Values::Id
                    if table.key.contains(&c.name)
                        && table.name != "document_pages"
                        && table.name != "document_tags" =>
                {
                    format!("s.id + {}", 6_000_000)
                }
                _ if c.name == "key" => "'new' || s.id".into(),
                _ if c.name == "email" => "'new' || s.id".into(),
                _ => self.new_value(table, c.name, c.ty, c.values, fresh),
            })
            .collect();
        let condition = self.condition();
        self.levels.pop();
        (names, format!("SELECT {} FROM app.templates s WHERE {condition}", values.join(", ")))
    }

    pub fn new_value(&mut self, table: &Table, name: &str, ty: Ty, values: Values, fresh: usize) -> String {
        let small = 1 + self.rng.below(3);
        match (name, values) {
            (_, Values::Tenant) => match self.rng.below(12) {
                0 => "2".into(),
                1 => "(SELECT 1)".into(),
                2 => "1 + 0".into(),
                _ => "1".into(),
            },
            ("id", Values::Id) => match self.rng.below(8) {
                // A key that another tenant has.
                0 => format!("{}", 2_222_000 + small),
                1 => format!("{}", 1_111_000 + small),
                _ => fresh.to_string(),
            },
            ("customer_id" | "template_id" | "document_id" | "tag_id" | "parent_id", _) => {
                match self.rng.below(6) {
                    0 if name == "customer_id" || name == "parent_id" => "NULL".into(),
                    1 if self.rng.chance(40) => format!("(SELECT max(y.id) FROM app.{} y)", parent_of(name)),
                    _ => format!("{}", 1_111_000 + small),
                }
            }
            ("email", _) if self.rng.chance(20) => "'CANARY_B1@x.test'".into(),
            ("page_no", _) => fresh.to_string(),
            ("lang", _) => "'de'".into(),
            ("ext_ref" | "email" | "key" | "name" | "login", _) if !self.rng.chance(10) => {
                format!("'new {} {fresh}'", table.name.replace(['"', '\''], ""))
            }
            _ => self.constant(ty),
        }
    }

    fn on_conflict(&mut self, table: &'static Table, level: &Level) -> String {
        if !self.rng.chance(40)
            || table.name.starts_with('"')
            || table.name == "events"
            || table.name.starts_with("v_")
        {
            return String::new();
        }
        if self.rng.chance(20) {
            return " ON CONFLICT DO NOTHING".into();
        }
        let key = match table.name {
            "settings" => "tenant_id, key".into(),
            "tags" => "tenant_id, id".into(),
            "document_tags" => "tenant_id, document_id, tag_id".into(),
            "customers" if self.rng.chance(40) => "email".into(),
            _ => table.key.join(", "),
        };
        // What index is meant: its condition is looked at by the planner alone.
        self.levels.push(level.clone());
        let mut inferred = match self.rng.below(6) {
            0 => self.leak().map_or(String::new(), |leak| format!(" WHERE {leak}")),
            1 => format!(" WHERE {}", self.simple(Ty::Text) + " IS NOT NULL"),
            _ => String::new(),
        };
        self.levels.pop();
        if inferred.contains('$') {
            inferred.clear();
        }
        if self.rng.chance(20) {
            return format!(" ON CONFLICT ({key}){inferred} DO NOTHING");
        }
        let mut level = level.clone();
        let mut excluded = level.items[0].clone();
        excluded.alias = "excluded".into();
        (excluded.table, excluded.has_row) = (None, false);
        for column in &mut excluded.columns {
            column.values = Values::Unknown;
        }
        level.items.push(excluded);
        self.levels.push(level);
        let set = self.assignments(table).0;
        let condition =
            if self.rng.chance(60) { format!(" WHERE {}", self.condition()) } else { String::new() };
        self.levels.pop();
        let arbiter = match table.key {
            ["id"] if table.groups_by_key && key == "id" && self.rng.chance(25) => {
                format!("ON CONSTRAINT {}_pkey", table.name)
            }
            _ => format!("({key}){inferred}"),
        };
        format!(" ON CONFLICT {arbiter} DO UPDATE SET {set}{condition}")
    }

    /// A SET list and the columns it writes.
    pub fn assignments(&mut self, table: &'static Table) -> (String, Vec<&'static str>) {
        let settable: Vec<_> = table
            .columns
            .iter()
            .filter(|c| {
                !table.key.contains(&c.name)
                    && !matches!(c.ty, Ty::Search)
                    && c.name != "email"
                    && c.name != "ext_ref"
            })
            .filter(|c| {
                c.name != "login" && (table.name, c.name) != ("templates", "name") && c.name != "lang"
            })
            .collect();
        let mut chosen: Vec<&super::schema::Column> = Vec::new();
        for _ in 0..1 + self.rng.below(2) {
            let column = *self.rng.pick(&settable);
            if !chosen.iter().any(|c| c.name == column.name) {
                chosen.push(column);
            }
        }
        let value = |maker: &mut Self, c: &super::schema::Column| match (c.name, c.values) {
            (_, Values::Tenant) => (*maker.rng.pick(&["1", "1", "2", "(SELECT 1)"])).to_owned(),
            ("customer_id" | "template_id" | "document_id" | "parent_id", _) => {
                format!("{}", 1_111_001 + maker.rng.below(3))
            }
            _ => maker.expression(c.ty),
        };
        let names = chosen.iter().map(|c| c.name).collect();
        if chosen.len() == 2 && self.rng.chance(40) {
            let (left, right) = (value(self, chosen[0]), value(self, chosen[1]));
            let row = if self.rng.chance(50) {
                format!("ROW({left}, {right})")
            } else {
                format!("(SELECT {left}, {right})")
            };
            return (format!("({}, {}) = {row}", chosen[0].name, chosen[1].name), names);
        }
        let all: Vec<_> = chosen
            .iter()
            .map(|c| match c.ty {
                // A part of the column.
                Ty::Texts if self.rng.chance(30) => format!("{}[2] = {}", c.name, self.expression(Ty::Text)),
                Ty::Texts if self.rng.chance(20) => {
                    format!("{}[1:1] = {}", c.name, self.expression(Ty::Texts))
                }
                Ty::Json if self.rng.chance(30) => format!("{}['z'] = {}", c.name, self.expression(Ty::Json)),
                _ => format!("{} = {}", c.name, value(self, c)),
            })
            .collect();
        (all.join(", "), names)
    }

    pub fn update(&mut self) -> (String, Vec<Col>) {
        let table = self.target();
        let text = self.open_target(table);
        let text = self.only(table, text);
        let (set, written) = self.assignments(table);
        // What is joined must match once: the row of the target decides.
        let from = if self.rng.chance(40) { self.joined_once() } else { String::new() };
        let condition = self.write_condition();
        let (returning, outputs) = self.returning(&written);
        self.levels.pop();
        let (from, joined) = from.split_once('|').unwrap_or(("", ""));
        let joined = if joined.is_empty() { String::new() } else { format!(" AND {joined}") };
        (format!("UPDATE {text} SET {set}{from} WHERE ({condition}){joined}{returning}"), outputs)
    }

    pub fn write_condition(&mut self) -> String {
        let mut all = vec![self.condition()];
        while self.rng.chance(50) {
            let more = self.condition();
            all.push(more);
        }
        all.iter().map(|c| format!("({c})")).collect::<Vec<_>>().join(" AND ")
    }

    /// ` FROM x` and the equality with a key of it, divided by `|`; the item joins the level.
    fn joined_once(&mut self) -> String {
        let keyed: Vec<&Table> =
            TABLES.iter().filter(|t| t.key == ["id"] && !t.name.starts_with("v_")).collect();
        let other = *self.rng.pick(&keyed);
        let Some((name, _)) = self.column(|c| c.values == Values::Id) else { return String::new() };
        let name = if name.contains('.') {
            name
        } else {
            format!("{}.{name}", self.levels.last().map(|l| l.items[0].alias.clone()).unwrap_or_default())
        };
        let alias = self.fresh("y");
        let relation = self.relation_name(other);
        let columns = other.columns.iter().map(super::from::col).collect();
        let item = Item { alias: alias.clone(), columns, table: Some(other), has_row: true, plain: false };
        if let Some(level) = self.levels.last_mut() {
            level.items.push(item);
        }
        format!(" FROM {relation} AS {alias}|{alias}.id = {name}")
    }

    pub fn delete(&mut self) -> (String, Vec<Col>) {
        let table = self.target();
        let text = self.open_target(table);
        let text = self.only(table, text);
        let from = if self.rng.chance(40) { self.joined_once() } else { String::new() };
        let condition = self.write_condition();
        let (returning, outputs) = self.returning(&[]);
        self.levels.pop();
        let (from, joined) = from.split_once('|').unwrap_or(("", ""));
        let joined = if joined.is_empty() { String::new() } else { format!(" AND {joined}") };
        let using = from.replacen(" FROM ", " USING ", 1);
        (format!("DELETE FROM {text}{using} WHERE ({condition}){joined}{returning}"), outputs)
    }

    /// WITH entries that write, below a SELECT.
    fn data_modifying(&mut self) -> String {
        let name = self.fresh("w");
        let (write, columns) = match self.rng.below(3) {
            0 => self.insert(),
            1 => self.update(),
            _ => self.delete(),
        };
        if columns.is_empty() {
            let query = self.query(None).0;
            return format!("WITH {name} AS ({write}) SELECT * FROM ({query}) AS q");
        }
        self.named.push(Named { name: name.clone(), columns });
        let (text, item) = self.named_item();
        self.levels.push(Level { items: vec![item], ambiguous: Vec::new() });
        let ty = self.some_type();
        let (value, condition) = (self.expression(ty), self.condition());
        self.levels.pop();
        format!("WITH {name} AS ({write}) SELECT {value} AS v FROM {text} WHERE {condition}")
    }
}

fn parent_of(key: &str) -> &'static str {
    match key {
        "customer_id" => "customers",
        "template_id" => "templates",
        "tag_id" => "tags",
        "parent_id" => "folders",
        _ => "documents",
    }
}
