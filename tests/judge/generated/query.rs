//! Queries: SELECT with every clause, set operations, VALUES, TABLE, WITH.

use super::maker::{Col, Item, Level, Maker, Named, scoped};
use super::schema::{TABLES, Ty, Values};

const NAMES: [&str; 10] =
    ["tenant_id", "id", "title", "a1", "b2", "n", "name", "x", "column1", "\"coalesce\""];

impl Maker {
    /// A query; of these types where they are given.
    pub fn query(&mut self, types: Option<&[Ty]>) -> (String, Vec<Col>) {
        scoped(self, |maker| {
            let with = if maker.rng.chance(14) && maker.spend() { maker.with() } else { String::new() };
            let (body, columns) = match maker.rng.below(20) {
                0..2 if maker.spend() => maker.set_operation(types),
                2 if types.is_some() => {
                    let types = types.unwrap_or_default();
                    (maker.values(types), unknown(types))
                }
                3 if types.is_none() => maker.table_query(),
                _ => maker.select(types),
            };
            (format!("{with}{body}"), columns)
        })
    }

    pub fn values(&mut self, types: &[Ty]) -> String {
        let rows = 1 + self.rng.below(3);
        let row = |maker: &mut Self| {
            let values: Vec<_> = types.iter().map(|ty| maker.constant(*ty)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<_> = (0..rows).map(|_| row(self)).collect();
        format!("VALUES {}", rows.join(", "))
    }

    fn table_query(&mut self) -> (String, Vec<Col>) {
        let whole: Vec<_> = TABLES.iter().filter(|t| t.whole).collect();
        let table = *self.rng.pick(&whole);
        let name = self.relation_name(table);
        (format!("TABLE {name}"), table.columns.iter().map(super::from::col).collect())
    }

    fn set_operation(&mut self, types: Option<&[Ty]>) -> (String, Vec<Col>) {
        let chosen = match types {
            Some(types) => types.to_vec(),
            None => self.types(),
        };
        let (left, columns) = self.select(Some(&chosen));
        let (right, others) = scoped(self, |maker| maker.query(Some(&chosen)));
        let kinds = ["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "UNION ALL", "INTERSECT ALL", "EXCEPT ALL"];
        let kind = *self.rng.pick(&kinds);
        let columns: Vec<Col> = columns
            .into_iter()
            .zip(others)
            .map(|(l, r)| Col { values: if l.values == r.values { l.values } else { Values::Unknown }, ..l })
            .collect();
        let limit = self.limit(columns.len());
        (format!("({left}) {kind} ({right}){limit}"), columns)
    }

    fn types(&mut self) -> Vec<Ty> {
        let all = [Ty::Int, Ty::Big, Ty::Num, Ty::Text, Ty::Text, Ty::Bool, Ty::Time, Ty::Json, Ty::Texts];
        (0..1 + self.rng.below(3)).map(|_| *self.rng.pick(&all)).collect()
    }

    /// ORDER BY everything, so that LIMIT takes the same rows everywhere.
    fn limit(&mut self, width: usize) -> String {
        if width == 0 || !self.rng.chance(25) {
            return String::new();
        }
        let order = |maker: &mut Self, n: usize| {
            format!("{n}{}", maker.rng.pick(&["", " DESC", " NULLS FIRST"]).to_owned())
        };
        let all: Vec<_> = (1..=width).map(|n| order(self, n)).collect();
        let all = all.join(", ");
        match self.rng.below(6) {
            0 => format!(" ORDER BY {all}"),
            1 => format!(" ORDER BY {all} OFFSET 1 LIMIT {}", 1 + self.rng.below(5)),
            2 => format!(" ORDER BY {all} FETCH FIRST {} ROWS WITH TIES", 1 + self.rng.below(5)),
            3 if self.spend() => {
                let count = self.aggregated("count(*)");
                format!(" ORDER BY {all} LIMIT ({count})")
            }
            _ => format!(" ORDER BY {all} LIMIT {}", 1 + self.rng.below(5)),
        }
    }

    /// A SELECT with its FROM.
    pub fn select(&mut self, types: Option<&[Ty]>) -> (String, Vec<Col>) {
        let from = self.make_from();
        self.levels.push(from.level);
        let condition = if self.rng.chance(70) {
            let mut all = vec![self.condition()];
            while self.rng.chance(35) {
                let more = self.condition();
                all.push(more);
            }
            format!(" WHERE {}", all.iter().map(|c| format!("({c})")).collect::<Vec<_>>().join(" AND "))
        } else {
            String::new()
        };
        let rest = format!(" FROM {}{condition}", from.text);
        let made = match self.rng.below(10) {
            0..2 => self.grouped(types, &rest),
            2 if types.is_none() => self.starred(&rest).unwrap_or_else(|| self.flat(types, &rest)),
            _ => self.flat(types, &rest),
        };
        self.levels.pop();
        made
    }

    /// `item.*` with what else there is.
    fn starred(&mut self, rest: &str) -> Option<(String, Vec<Col>)> {
        let level = self.levels.last()?.clone();
        let whole: Vec<&Item> =
            level.items.iter().filter(|i| i.has_row && i.table.is_none_or(|t| t.whole)).collect();
        if whole.is_empty() {
            return None;
        }
        let item = *self.rng.pick(&whole);
        let alone = level.items.len() == 1 && self.rng.chance(50);
        let mut columns = item.columns.clone();
        let mut text = match self.rng.below(10) {
            _ if alone => "*".into(),
            0..3 => format!("({}).*", item.alias),
            3 if item.plain => format!("app.{}.*", item.alias),
            _ => format!("{}.*", item.alias),
        };
        if self.rng.chance(40) {
            let (value, column) = self.output(Ty::Text, "extra");
            text = format!("{text}, {value} AS extra");
            columns.push(column);
        }
        let limit = self.limit(columns.len());
        let locking = if limit.is_empty() { self.locking(&level) } else { String::new() };
        Some((format!("SELECT {text}{rest}{limit}{locking}"), columns))
    }

    fn flat(&mut self, types: Option<&[Ty]>, rest: &str) -> (String, Vec<Col>) {
        let chosen: Vec<Ty> = match types {
            Some(types) => types.to_vec(),
            None => (0..1 + self.rng.below(4)).map(|_| self.some_type()).collect(),
        };
        let mut outputs = Vec::new();
        let mut columns: Vec<Col> = Vec::new();
        let windows = !self.plain && self.rng.chance(12);
        let named = windows && self.rng.chance(30);
        let mut special = false;
        for ty in &chosen {
            let name = self.output_name(&columns);
            if windows && let Some(window) = self.window(*ty, named) {
                special = true;
                outputs.push(format!("{window} AS {name}"));
                columns.push(Col { name, ty: *ty, values: Values::Unknown });
                continue;
            }
            if *ty == Ty::Int
                && self.rng.chance(5)
                && let Some((tenant, _)) = self.column(|c| c.values == Values::Tenant)
            {
                special = true;
                outputs.push(format!("generate_series(1, 2, 2 - {tenant}) AS {name}"));
                columns.push(Col { name, ty: *ty, values: Values::Unknown });
                continue;
            }
            let (value, column) = self.output(*ty, &name);
            match self.unnamed(&value, &columns) {
                Some((value, name)) => {
                    outputs.push(value);
                    columns.push(Col { name, ..column });
                }
                None => {
                    outputs.push(format!("{value} AS {name}"));
                    columns.push(column);
                }
            }
        }
        let outputs = outputs.join(", ");
        let rest = &if named { format!("{rest}{}", self.window_clause()) } else { rest.to_owned() };
        let distinct = match self.rng.below(14) {
            0 | 1 => "DISTINCT ",
            2 => "DISTINCT ON (1) ",
            _ => "",
        };
        if distinct == "DISTINCT ON (1) " {
            let all: Vec<_> = (1..=columns.len()).map(|n| n.to_string()).collect();
            return (format!("SELECT {distinct}{outputs}{rest} ORDER BY {}", all.join(", ")), columns);
        }
        let mut tail = self.limit(columns.len());
        if tail.is_empty() && distinct.is_empty() && self.rng.chance(12) {
            let ty = self.some_type();
            tail = format!(" ORDER BY {}", self.expression(ty));
        } else if tail.is_empty() && distinct.is_empty() && !special {
            let level = self.levels.last().cloned().unwrap_or_default();
            tail = self.locking(&level);
        }
        (format!("SELECT {distinct}{outputs}{rest}{tail}"), columns)
    }

    /// The same value in a form that PostgreSQL gives a name to, and that name.
    fn unnamed(&mut self, value: &str, others: &[Col]) -> Option<(String, String)> {
        if !self.rng.chance(10) {
            return None;
        }
        let (form, name) = match self.rng.below(5) {
            0 => (format!("coalesce({value}, {value})"), "\"coalesce\""),
            1 => (format!("(VALUES ({value}))"), "column1"),
            2 => (format!("(SELECT * FROM (SELECT {value} AS title) x)"), "title"),
            3 => (format!("(SELECT {value} AS n UNION ALL SELECT {value} AS m LIMIT 1)"), "n"),
            _ => (format!("(WITH k AS (SELECT {value} AS id) SELECT * FROM k)"), "id"),
        };
        let taken = others.iter().any(|other| other.name == name);
        (!taken).then(|| (form, name.to_owned()))
    }

    fn locking(&mut self, level: &Level) -> String {
        if !self.rng.chance(4) || level.items.iter().any(|i| i.table.is_none_or(|t| !t.writable)) {
            return String::new();
        }
        let strength = *self.rng.pick(&["UPDATE", "SHARE", "NO KEY UPDATE", "KEY SHARE"]);
        let of = if self.rng.chance(40) { format!(" OF {}", level.items[0].alias) } else { String::new() };
        let wait = *self.rng.pick(&["", " NOWAIT", " SKIP LOCKED"]);
        format!(" FOR {strength}{of}{wait}")
    }

    /// An output: a column as it is, or an expression.
    fn output(&mut self, ty: Ty, name: &str) -> (String, Col) {
        if self.rng.chance(60)
            && let Some((text, column)) = self.column(|c| c.ty == ty)
        {
            return (text, Col { name: name.into(), ..column });
        }
        (self.expression(ty), Col { name: name.into(), ty, values: Values::Unknown })
    }

    fn output_name(&mut self, others: &[Col]) -> String {
        let name = *self.rng.pick(&NAMES);
        if self.rng.chance(50) && !others.iter().any(|c| c.name == name) {
            name.into()
        } else {
            format!("c{}", others.len() + 1)
        }
    }

    /// GROUP BY: outputs are its keys, or aggregates.
    fn grouped(&mut self, types: Option<&[Ty]>, rest: &str) -> (String, Vec<Col>) {
        let was = std::mem::replace(&mut self.plain, true);
        let full = self.levels.last().cloned().unwrap_or_default();
        let (keys, group) = self.group_keys(&full);
        let chosen: Vec<Ty> = match types {
            Some(types) => types.to_vec(),
            None => (0..1 + self.rng.below(3)).map(|_| self.grouped_type(&keys)).collect(),
        };
        let mut outputs = Vec::new();
        let mut columns: Vec<Col> = Vec::new();
        for ty in &chosen {
            let name = self.output_name(&columns);
            if *ty == Ty::Int
                && self.rng.chance(40)
                && let Some((grouped, _)) = self.at(&keys, |maker| maker.column(|_| true))
            {
                outputs.push(format!("grouping({grouped}) AS {name}"));
                columns.push(Col { name, ty: *ty, values: Values::Unknown });
                continue;
            }
            let key =
                self.at(&keys, |maker| maker.rng.chance(50).then(|| maker.column(|c| c.ty == *ty)).flatten());
            let (value, values) = match key {
                Some((text, column)) => (text, column.values),
                None => match self.aggregate(*ty, &full) {
                    Some(text) => (text, Values::Unknown),
                    None => (self.constant(*ty), Values::Unknown),
                },
            };
            outputs.push(format!("{value} AS {name}"));
            columns.push(Col { name, ty: *ty, values });
        }
        let having = if self.rng.chance(40) {
            let condition = if self.rng.chance(60) {
                self.at(&keys, Self::condition)
            } else {
                let ty = *self.rng.pick(&[Ty::Int, Ty::Text, Ty::Big]);
                let value = self.aggregate(ty, &full).unwrap_or_else(|| "1".into());
                format!("{value} IS NOT NULL")
            };
            format!(" HAVING {condition}")
        } else {
            String::new()
        };
        self.plain = was;
        // PostgreSQL up to 17 sorts grouping sets wrong where a column of them equals a constant, the tenant's say.
        let sorts = !["CUBE", "ROLLUP", "SETS"].iter().any(|word| group.contains(word));
        let limit = if sorts { self.limit(columns.len()) } else { String::new() };
        (format!("SELECT {}{rest}{group}{having}{limit}", outputs.join(", ")), columns)
    }

    fn grouped_type(&mut self, keys: &Level) -> Ty {
        let near: Vec<Ty> = keys.items.iter().flat_map(|i| &i.columns).map(|c| c.ty).collect();
        if near.is_empty() || self.rng.chance(50) {
            return *self.rng.pick(&[Ty::Big, Ty::Text, Ty::Num, Ty::Bool, Ty::Texts, Ty::Int]);
        }
        *self.rng.pick(&near)
    }

    /// The columns that outputs may name, and the clause.
    fn group_keys(&mut self, full: &Level) -> (Level, String) {
        let mut keys = full.clone();
        for item in &mut keys.items {
            (item.table, item.has_row) = (None, false);
        }
        let lean: Vec<&Item> =
            full.items.iter().filter(|i| i.table.is_some_and(|t| t.groups_by_key)).collect();
        if !lean.is_empty() && self.rng.chance(25) {
            let item = *self.rng.pick(&lean);
            let is_key = |c: &&Col| {
                item.table.is_some_and(|t| {
                    t.columns
                        .iter()
                        .zip(&item.columns)
                        .any(|(real, shown)| t.key[0] == real.name && shown.name == c.name)
                })
            };
            if let Some(key) = item.columns.iter().find(is_key) {
                let clause = format!(" GROUP BY {}.{}", item.alias, key.name);
                keys.items.retain(|i| i.alias == item.alias);
                return (keys, clause);
            }
        }
        let count = self.rng.below(3);
        let mut chosen: Vec<(String, String)> = Vec::new();
        for _ in 0..count {
            let items: Vec<&Item> = full.items.iter().filter(|i| !i.columns.is_empty()).collect();
            if items.is_empty() {
                break;
            }
            let item = *self.rng.pick(&items);
            let column = self.rng.pick(&item.columns).name.clone();
            chosen.push((item.alias.clone(), column));
        }
        for item in &mut keys.items {
            item.columns.retain(|c| chosen.contains(&(item.alias.clone(), c.name.clone())));
        }
        let names: Vec<String> = chosen.iter().map(|(item, column)| format!("{item}.{column}")).collect();
        let all = names.join(", ");
        let clause = match (names.len(), self.rng.below(7)) {
            (0, _) => String::new(),
            (2, 0) => format!(" GROUP BY ROLLUP ({all})"),
            (2, 1) => format!(" GROUP BY GROUPING SETS (({}), ({}), ())", names[0], names[1]),
            (2, 2) => format!(" GROUP BY CUBE ({all})"),
            (2, 3) => format!(" GROUP BY DISTINCT ROLLUP ({all}), GROUPING SETS (({}), ({all}))", names[0]),
            _ => format!(" GROUP BY {all}"),
        };
        (keys, clause)
    }

    /// Makes something at another view of the innermost level.
    fn at<T>(&mut self, level: &Level, make: impl FnOnce(&mut Self) -> T) -> T {
        let top = self.levels.len() - 1;
        let was = std::mem::replace(&mut self.levels[top], level.clone());
        let made = make(self);
        self.levels[top] = was;
        made
    }

    /// An aggregate that gives the same in any order of its rows.
    fn aggregate(&mut self, ty: Ty, full: &Level) -> Option<String> {
        self.at(full, |maker| {
            let call = match ty {
                Ty::Big => match maker.rng.below(3) {
                    0 => "count(*)".into(),
                    1 => {
                        let ty = maker.some_type();
                        format!("count(DISTINCT {})", maker.expression(ty))
                    }
                    _ => format!("sum({})", maker.expression(Ty::Int)),
                },
                Ty::Int | Ty::Time => format!("max({})", maker.expression(ty)),
                Ty::Num if maker.rng.chance(50) => format!("sum({})", maker.expression(Ty::Num)),
                Ty::Num => format!("avg({})", maker.expression(Ty::Big)),
                Ty::Text => {
                    let value = maker.expression(Ty::Text);
                    match maker.rng.below(4) {
                        0 => format!("min({value})"),
                        1 => format!("percentile_disc(0.5) WITHIN GROUP (ORDER BY {value})"),
                        2 => {
                            let first = maker.expression(Ty::Int);
                            format!("string_agg({value}, ',' ORDER BY {first}, {value})")
                        }
                        _ => format!("string_agg(DISTINCT {value}, ',' ORDER BY {value})"),
                    }
                }
                Ty::Bool => format!("bool_or({})", maker.condition()),
                Ty::Json => {
                    let value = maker.expression(Ty::Json);
                    format!("jsonb_agg({value} ORDER BY {value})")
                }
                Ty::Texts => {
                    let value = maker.expression(Ty::Text);
                    format!("array_agg({value} ORDER BY {value})")
                }
                Ty::Word(_) | Ty::Search => return None,
            };
            let filter = if maker.rng.chance(25) {
                format!(" FILTER (WHERE {})", maker.condition())
            } else {
                String::new()
            };
            let call = format!("{call}{filter}");
            // Below another level it is still this one's, if it names a column of it.
            if !comparable(ty) || !maker.rng.chance(12) || !maker.spend() {
                return Some(call);
            }
            let was = std::mem::take(&mut maker.levels);
            let source = maker.aggregated("1");
            maker.levels = was;
            Some(format!("(SELECT {call} FROM ({source}) AS o ORDER BY 1 LIMIT 1)"))
        })
    }

    /// A query of one value.
    pub fn scalar_query(&mut self, ty: Ty) -> String {
        let (query, _) = scoped(self, |maker| maker.select(Some(&[ty])));
        if comparable(ty) && self.rng.chance(50) {
            return format!("(SELECT max(s.c1) FROM ({query}) AS s(c1))");
        }
        format!("(SELECT s.c1 FROM ({query}) AS s(c1) ORDER BY 1 LIMIT 1)")
    }

    fn aggregated(&mut self, what: &str) -> String {
        scoped(self, |maker| {
            let from = maker.make_from();
            maker.levels.push(from.level);
            let condition = maker.condition();
            maker.levels.pop();
            format!("SELECT {what} FROM {} WHERE {condition}", from.text)
        })
    }

    /// EXISTS, IN, ANY, ALL.
    pub fn membership(&mut self) -> String {
        let ty = self.some_type();
        let tested = self.simple(ty);
        let not = if self.rng.chance(30) { "NOT " } else { "" };
        match self.rng.below(10) {
            9 => {
                let (a, b) = (self.simple(ty), self.simple(ty));
                format!("{tested} {not}IN (VALUES ({a}), ({b}))")
            }
            8 => {
                let other = self.some_type();
                let second = self.simple(other);
                let (query, _) = scoped(self, |maker| maker.query(Some(&[ty, other])));
                let operator = *self.rng.pick(&["=", "<>", ">="]);
                format!(
                    "({tested}, {second}) {operator} (SELECT s.* FROM ({query}) AS s(c1, c2) ORDER BY 1, 2 LIMIT 1)"
                )
            }
            7 => {
                let (query, _) = scoped(self, |maker| maker.query(Some(&[ty])));
                format!("cardinality(ARRAY({query})) >= {}", self.rng.below(2))
            }
            6 => {
                let (a, b, c) = (self.simple(ty), self.simple(ty), self.simple(ty));
                let more = match ty {
                    Ty::Int | Ty::Big | Ty::Num => ", 5::float8",
                    _ => "",
                };
                format!("{tested} {not}IN ({a}, {b}, {c}{more})")
            }
            0 | 1 => {
                let (query, _) = scoped(self, |maker| maker.query(None));
                format!("{not}EXISTS ({query})")
            }
            2 | 3 => {
                let (query, _) = scoped(self, |maker| maker.query(Some(&[ty])));
                format!("{tested} {not}IN ({query})")
            }
            4 => {
                let other = self.some_type();
                let second = self.simple(other);
                let (query, _) = scoped(self, |maker| maker.query(Some(&[ty, other])));
                format!("({tested}, {second}) {not}IN ({query})")
            }
            _ => {
                let (query, _) = scoped(self, |maker| maker.query(Some(&[ty])));
                let how = *self.rng.pick(&["= ANY", "<> ALL", ">= ANY"]);
                format!("{tested} {how} ({query})")
            }
        }
    }

    /// A WITH clause; its names stay in scope.
    pub fn with(&mut self) -> String {
        if self.rng.chance(20) {
            return self.recursive();
        }
        if self.rng.chance(8) {
            let (query, columns) = scoped(self, |maker| maker.set_operation(None));
            let name = self.fresh("w");
            let text = format!("WITH RECURSIVE {name} AS ({query}) ");
            self.named.push(Named { name, columns });
            return text;
        }
        let mut all = Vec::new();
        for _ in 0..1 + self.rng.below(2) {
            let (query, mut columns) = scoped(self, |maker| maker.query(None));
            let taken: Vec<String> = all.iter().map(|(name, _)| name).cloned().collect();
            let odd = *self.rng.pick(&["documents", "customers", "countries", "c", "d"]);
            let name = if self.rng.chance(40) && !taken.iter().any(|t| t == odd) {
                odd.into()
            } else {
                self.fresh("w")
            };
            let mut list = String::new();
            if self.rng.chance(20) && !columns.is_empty() {
                let names: Vec<String> = (1..=columns.len()).map(|n| format!("k{n}")).collect();
                for (column, name) in columns.iter_mut().zip(&names) {
                    column.name.clone_from(name);
                }
                list = format!(" ({})", names.join(", "));
            }
            let materialized = *self.rng.pick(&["", "", " MATERIALIZED", " NOT MATERIALIZED"]);
            all.push((name.clone(), format!("{name}{list} AS{materialized} ({query})")));
            self.named.push(Named { name, columns });
        }
        format!("WITH {} ", all.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", "))
    }

    fn recursive(&mut self) -> String {
        let name = self.fresh("r");
        let folders = TABLES.iter().find(|t| t.name == "folders").expect("folders");
        let item = |alias: &str| Item {
            alias: alias.into(),
            columns: folders.columns.iter().map(super::from::col).collect(),
            table: Some(folders),
            has_row: true,
            plain: false,
        };
        let columns = vec![
            Col { name: "n".into(), ty: Ty::Int, values: Values::Id },
            Col { name: "label".into(), ty: Ty::Text, values: Values::Numbered("CANARY_A f") },
        ];
        let was = std::mem::replace(
            &mut self.levels,
            vec![Level { items: vec![item("f")], ambiguous: Vec::new() }],
        );
        let start = self.leak().unwrap_or_else(|| "true".into());
        let own =
            Item { alias: name.clone(), columns: columns.clone(), table: None, has_row: false, plain: false };
        self.levels = vec![Level { items: vec![item("f"), own], ambiguous: Vec::new() }];
        let (on, step) =
            (self.leak().unwrap_or_else(|| "true".into()), self.leak().unwrap_or_else(|| "true".into()));
        self.levels = was;
        let union = *self.rng.pick(&["UNION", "UNION ALL"]);
        let after = *self.rng.pick(&[
            "",
            "",
            " SEARCH BREADTH FIRST BY n SET seq",
            " CYCLE n SET is_cycle USING path",
        ]);
        let text = format!(
            "WITH RECURSIVE {name}(n, label) AS (SELECT f.id, f.name FROM app.folders f WHERE f.parent_id IS NULL AND ({start}) \
             {union} SELECT f.id, f.name FROM app.folders f JOIN {name} ON f.parent_id = {name}.n AND ({on}) WHERE {step}){after} "
        );
        self.named.push(Named { name, columns });
        text
    }
}

fn comparable(ty: Ty) -> bool {
    matches!(ty, Ty::Int | Ty::Big | Ty::Num | Ty::Text | Ty::Time)
}

fn unknown(types: &[Ty]) -> Vec<Col> {
    let column =
        |(at, ty): (usize, &Ty)| Col { name: format!("column{}", at + 1), ty: *ty, values: Values::Unknown };
    types.iter().enumerate().map(column).collect()
}
