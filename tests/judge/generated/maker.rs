//! What is known while a statement is made: names in scope, parameters, how much may still be made.

use super::rng::Rng;
use super::schema::{Table, Ty, Values};

/// A column as it can be named at a place.
#[derive(Debug, Clone)]
pub struct Col {
    pub name: String,
    pub ty: Ty,
    pub values: Values,
}

/// An item of FROM.
#[derive(Debug, Clone)]
pub struct Item {
    pub alias: String,
    pub columns: Vec<Col>,
    /// The relation itself: it has system columns, can be locked, grouped by its key.
    pub table: Option<&'static Table>,
    /// Its row can be named.
    pub has_row: bool,
    /// A relation without an alias: its columns can be named with its schema.
    pub plain: bool,
}

/// A query level.
#[derive(Debug, Clone, Default)]
pub struct Level {
    pub items: Vec<Item>,
    /// Names that mean more than one column, or a merged one.
    pub ambiguous: Vec<String>,
}

/// A common table expression in scope.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: String,
    pub columns: Vec<Col>,
}

#[derive(Debug, Clone)]
pub struct Parameter {
    pub type_oid: u32,
    pub value: Option<String>,
}

/// Makes one statement.
#[derive(Debug)]
pub struct Maker {
    pub rng: Rng,
    pub levels: Vec<Level>,
    pub named: Vec<Named>,
    pub parameters: Vec<Parameter>,
    /// The server's major version.
    pub major: u32,
    /// Literals become parameters now and then.
    pub extended: bool,
    /// Sub-selects and deep expressions that may still be made.
    pub budget: usize,
    /// A window function or an aggregate may not stand here.
    pub plain: bool,
    /// Names that the FROM which is being made has already.
    pub taken: Vec<String>,
    aliases: usize,
}

impl Maker {
    pub fn new(seed: u64, major: u32, extended: bool) -> Self {
        let mut rng = Rng::new(seed);
        let budget = 2 + rng.below(10);
        Self {
            rng,
            levels: Vec::new(),
            named: Vec::new(),
            parameters: Vec::new(),
            major,
            extended,
            budget,
            plain: false,
            taken: Vec::new(),
            aliases: 0,
        }
    }

    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        // Now and then a name that a relation or a column has, or one that is used further out.
        let odd = match self.rng.below(24) {
            0 => "documents",
            1 => "customers",
            2 => "tenant_id",
            3 => "\"A\"",
            4..6 => "t1",
            _ => "",
        };
        let alias = if odd.is_empty() || self.taken.iter().any(|t| t == odd) {
            format!("t{}", self.aliases)
        } else {
            odd.to_owned()
        };
        self.taken.push(alias.clone());
        alias
    }

    /// A name that nothing else has.
    pub fn fresh(&mut self, what: &str) -> String {
        self.aliases += 1;
        format!("{what}{}", self.aliases)
    }

    pub fn spend(&mut self) -> bool {
        let left = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        left
    }

    /// Every column that can be named here, with how it is named.
    pub fn columns(&mut self) -> Vec<(String, Col)> {
        let mut found: Vec<(String, Col)> = Vec::new();
        let (mut hidden, mut plain): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let mut further_in: Vec<&str> = Vec::new();
        for (depth, level) in self.levels.iter().rev().enumerate() {
            for item in &level.items {
                // An alias further in does not hide it there.
                let by_schema = item.plain && !plain.contains(&item.alias);
                let is_hidden = hidden.contains(&item.alias);
                for column in &item.columns {
                    if by_schema && (is_hidden || self.rng.chance(6)) {
                        found.push((format!("app.{}.{}", item.alias, column.name), column.clone()));
                    }
                    if is_hidden {
                        continue;
                    }
                    let unique = !further_in.contains(&column.name.as_str())
                        && !level.ambiguous.contains(&column.name)
                        && level.items.iter().flat_map(|i| &i.columns).filter(|c| c.name == column.name).count() == 1
                        // A bare name that is an item's too would be fine, but not what is meant here.
                        && !level.items.iter().any(|i| i.alias == column.name);
                    let bare = unique && self.rng.chance(if depth == 0 { 30 } else { 12 });
                    let name =
                        if bare { column.name.clone() } else { format!("{}.{}", item.alias, column.name) };
                    found.push((name, column.clone()));
                }
            }
            hidden.extend(level.items.iter().map(|i| i.alias.clone()));
            further_in.extend(level.items.iter().flat_map(|i| &i.columns).map(|c| c.name.as_str()));
            further_in.extend(level.items.iter().map(|i| i.alias.as_str()));
            plain.extend(level.items.iter().filter(|i| i.plain).map(|i| i.alias.clone()));
        }
        found
    }

    /// A column for which `wanted` holds; the nearest level twice as likely.
    pub fn column(&mut self, wanted: impl Fn(&Col) -> bool) -> Option<(String, Col)> {
        let all: Vec<_> = self.columns().into_iter().filter(|(_, c)| wanted(c)).collect();
        if all.is_empty() {
            return None;
        }
        let nearest = if self.rng.chance(60) { all.len().div_ceil(2) } else { all.len() };
        Some(all[self.rng.below(nearest)].clone())
    }

    /// A constant: a literal, or a parameter.
    pub fn constant(&mut self, ty: Ty) -> String {
        let (oid, cast, value) = self.value(ty);
        let quoted = format!("'{}'", value.replace('\'', "''"));
        if self.extended && self.rng.chance(50) {
            let declared = self.rng.chance(50);
            let mut number = self.parameters.len() + 1;
            let known =
                self.parameters.iter().position(|p| p.value.as_deref() == Some(&value) && p.type_oid == oid);
            match known {
                Some(at) if declared && self.rng.chance(50) => number = at + 1,
                _ => {
                    self.parameters
                        .push(Parameter { type_oid: if declared { oid } else { 0 }, value: Some(value) });
                }
            }
            let is_declared = self.parameters[number - 1].type_oid != 0;
            return if is_declared && self.rng.chance(50) {
                format!("${number}")
            } else {
                format!("${number}::{cast}")
            };
        }
        match ty {
            Ty::Int | Ty::Num | Ty::Bool if self.rng.chance(80) => value,
            Ty::Big if self.rng.chance(60) => value,
            Ty::Text if self.rng.chance(10) => format!("E{quoted}"),
            Ty::Text if self.rng.chance(10) => format!("$q${value}$q$"),
            _ => format!("{quoted}::{cast}"),
        }
    }

    /// Type oid (0: of the schema's own), type name and a value.
    fn value(&mut self, ty: Ty) -> (u32, &'static str, String) {
        let small = self.rng.below(9) + 1;
        let tenant = if self.rng.chance(25) { 2 } else { 1 };
        let letter = if tenant == 2 { 'B' } else { 'A' };
        let id = tenant * 1_111_000 + small;
        match ty {
            Ty::Int if self.rng.chance(50) => (23, "int", small.to_string()),
            Ty::Int => (23, "int", id.to_string()),
            Ty::Big => (20, "bigint", id.to_string()),
            Ty::Num => (1700, "numeric", format!("{id}.5")),
            Ty::Text => {
                let words = ["title ", "cust ", "note", "ref", "page ", "tag"];
                let word = *self.rng.pick(&words);
                let texts = [
                    format!("CANARY_{letter} {word}{small}"),
                    format!("k{small}"),
                    "it's".into(),
                    "%".into(),
                    String::new(),
                ];
                (25, "text", texts[self.rng.below(12).saturating_sub(7)].clone())
            }
            Ty::Bool => (16, "bool", (*self.rng.pick(&["true", "false"])).into()),
            Ty::Time => {
                (1184, "timestamptz", format!("2024-0{}-0{small} 0{small}:00:00+00", 1 + self.rng.below(3)))
            }
            Ty::Json => (3802, "jsonb", format!("{{\"k\": \"CANARY_{letter}\", \"n\": {id}}}")),
            Ty::Texts => (1009, "text[]", format!("{{CANARY_{letter},CANARY_{letter}vip}}")),
            Ty::Search => (0, "tsvector", format!("title {small}")),
            Ty::Word("doc_status") => {
                (0, "doc_status", (*self.rng.pick(&["draft", "approved", "sent", "archived"])).into())
            }
            Ty::Word("chan") => (0, "chan", (*self.rng.pick(&["email", "post", "sms"])).into()),
            Ty::Word("deliv_state") => {
                (0, "deliv_state", (*self.rng.pick(&["queued", "sent", "failed"])).into())
            }
            Ty::Word("user_role") => {
                (0, "user_role", (*self.rng.pick(&["viewer", "editor", "admin"])).into())
            }
            Ty::Word("plan_kind") => (0, "plan_kind", (*self.rng.pick(&["std", "gold"])).into()),
            Ty::Word(_) => (1042, "char(2)", (*self.rng.pick(&["DE", "FR", "US", "en"])).into()),
        }
    }
}

/// Common table expressions made in `make` are out of scope afterwards.
pub fn scoped<T>(maker: &mut Maker, make: impl FnOnce(&mut Maker) -> T) -> T {
    let (named, plain) = (maker.named.len(), maker.plain);
    let made = make(maker);
    maker.named.truncate(named);
    maker.plain = plain;
    made
}
