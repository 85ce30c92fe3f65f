//! Writes beside any FROM list, inserts of any query, writes that read what other writes of the same statement gave.
//!
//! Rows may join a target's row more than once, and PostgreSQL takes any of them then: so what is written and what is
//! returned reads the target alone, and the conditions read everything.

use super::maker::{Col, Level, Maker, Named};
use super::schema::{TABLES, Table, Ty, Values};

/// Tables without keys, into which any text goes: the column list's names beside the tenant column.
const OPEN: [(&str, &[&str]); 3] = [
    ("\"MixedCase\"", &["\"Odd \"\"Col\"", "\"a\\b\""]),
    ("\"secret\"\" --\"", &["x"]),
    ("\"таблица\"", &["\"колонка\""]),
];
/// Tables whose rows no trigger and no foreign key changes beside the one that is written.
const ALONE: [&str; 5] = ["settings", "notes", "users", "events", "\"secret\"\" --\""];

impl Maker {
    /// `UPDATE … FROM` or `DELETE … USING` with any FROM list.
    pub fn joined_write(&mut self) -> String {
        let table = self.target();
        let text = self.open_target(table);
        let text = self.only(table, text);
        let target = self.levels.pop().unwrap_or_default();
        let alias = target.items[0].alias.clone();
        let from = self.make_from_beside(&alias);
        let is_update = self.rng.chance(55);
        // Named in full: the FROM list has columns of the same names.
        let mut alone = target.clone();
        alone.ambiguous = alone.items[0].columns.iter().map(|c| c.name.clone()).collect();
        self.levels.push(alone.clone());
        let (set, written) = if is_update { self.assignments(table) } else { (String::new(), Vec::new()) };
        self.levels.pop();
        let mut both = target;
        both.items.extend(from.level.items);
        both.ambiguous = from.level.ambiguous;
        self.levels.push(both);
        let condition = self.write_condition();
        self.levels.pop();
        self.levels.push(alone);
        let returning = self.returning(&written).0;
        self.levels.pop();
        match is_update {
            true => format!("UPDATE {text} SET {set} FROM {} WHERE {condition}{returning}", from.text),
            false => format!("DELETE FROM {text} USING {} WHERE {condition}{returning}", from.text),
        }
    }

    /// Any query as the source of an INSERT.
    pub fn insert_of_query(&mut self) -> String {
        let (name, columns) = *self.rng.pick(&OPEN);
        let width = 1 + self.rng.below(columns.len());
        let chosen = &columns[..width];
        let query = self.query(Some(&vec![Ty::Text; width])).0;
        let values: Vec<_> = (0..width).map(|n| format!("q.v{n}")).collect();
        let given = values.join(", ");
        let tenant =
            *self.rng.pick(&["1", "1", "1", "(SELECT 1)", "1 + 0", "length(q.v0) - length(q.v0) + 1"]);
        let condition = if self.rng.chance(40) { " WHERE q.v0 > 'CANARY_A'" } else { "" };
        let source = format!("SELECT {tenant}, {given} FROM ({query}) AS q({})", given.replace("q.", ""));
        let returning =
            if self.rng.chance(40) { format!(" RETURNING {}", chosen.join(", ")) } else { String::new() };
        format!("INSERT INTO {name} (tenant_id, {}) {source}{condition}{returning}", chosen.join(", "))
    }

    /// A write that reads what an earlier one of the same statement returned, below a third that may read both.
    pub fn chained_writes(&mut self) -> String {
        let around = self.named.len();
        let mut entries = Vec::new();
        let mut tables: Vec<&Table> = TABLES.iter().filter(|t| ALONE.contains(&t.name)).collect();
        for _ in 0..2 {
            let table = tables.remove(self.rng.below(tables.len()));
            let name = self.fresh("w");
            let (write, columns) = self.plain_write(table);
            entries.push(format!("{name} AS ({write})"));
            self.named.push(Named { name, columns });
        }
        let last = match self.rng.below(3) {
            0 => self.plain_write(tables[0]).0,
            1 => self.insert_of_query(),
            _ => format!("SELECT * FROM ({}) AS q", self.query(None).0),
        };
        self.named.truncate(around);
        format!("WITH {} {last}", entries.join(", "))
    }

    /// UPDATE or DELETE that returns columns as they were or are now.
    fn plain_write(&mut self, table: &'static Table) -> (String, Vec<Col>) {
        let text = self.open_target(table);
        let is_update = self.rng.chance(60);
        let (set, written) = if is_update { self.assignments(table) } else { (String::new(), Vec::new()) };
        let condition = self.write_condition();
        let level = self.levels.pop().unwrap_or_default();
        let item = &level.items[0];
        let columns: Vec<Col> = item.columns.iter().map(|c| after(c, &written)).collect();
        let names: Vec<_> = columns.iter().map(|c| format!("{}.{}", item.alias, c.name)).collect();
        let returning = names.join(", ");
        let write = match is_update {
            true => format!("UPDATE {text} SET {set} WHERE {condition} RETURNING {returning}"),
            false => format!("DELETE FROM {text} WHERE {condition} RETURNING {returning}"),
        };
        (write, columns)
    }

    /// A source for a MERGE on `key`, of any FROM list, in which each key stands once.
    pub fn keys_of_any(&mut self, table: &Table, key: &str) -> Option<(String, Vec<Col>)> {
        let of = table.columns.iter().find(|c| c.name == key)?;
        let was = std::mem::take(&mut self.levels);
        let from = self.make_from();
        self.levels.push(Level { ..from.level });
        let wanted =
            |c: &Col| c.values == of.values && (c.ty == of.ty || c.ty == Ty::Int && of.ty == Ty::Big);
        let found = self.column(wanted);
        let condition = self.condition();
        self.levels = was;
        let (name, column) = found?;
        let source = format!("(SELECT DISTINCT {name} AS {key} FROM {} WHERE {condition}) AS src", from.text);
        Some((source, vec![Col { name: key.to_owned(), ..column }]))
    }
}

/// A column after a write.
fn after(column: &Col, written: &[&str]) -> Col {
    let values = if written.contains(&column.name.as_str()) { Values::Unknown } else { column.values };
    Col { values, ..column.clone() }
}
