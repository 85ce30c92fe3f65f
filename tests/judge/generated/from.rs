//! FROM: relations in every disguise, derived tables, functions, joins of all forms.

use super::maker::{Col, Item, Level, Maker, scoped};
use super::schema::{TABLES, Table, Ty, Values};

/// What is made of a FROM: its text, its items, and the names that are merged or not unique.
#[derive(Debug, Default)]
pub struct From {
    pub text: String,
    pub level: Level,
}

impl Maker {
    /// A FROM list without the word.
    pub fn make_from(&mut self) -> From {
        self.make_from_with(Vec::new())
    }

    /// A FROM list beside an item of this name.
    pub fn make_from_beside(&mut self, name: &str) -> From {
        self.make_from_with(vec![name.to_owned()])
    }

    fn make_from_with(&mut self, taken: Vec<String>) -> From {
        let around = std::mem::replace(&mut self.taken, taken);
        let mut from = self.tree(&Level::default(), 2);
        if self.rng.chance(15) {
            let right = self.tree(&from.level, 1);
            from.text = format!("{}, {}", from.text, right.text);
            from.level.items.extend(right.level.items);
            from.level.ambiguous.extend(right.level.ambiguous);
        }
        self.taken = around;
        from
    }

    /// One item, or a tree of joins. `left` is what stands left of it.
    fn tree(&mut self, left: &Level, depth: usize) -> From {
        let chance = if depth == 2 { 55 } else { 20 };
        if depth == 0 || !self.rng.chance(chance) || !self.spend() {
            return self.item(left);
        }
        let first = self.tree(left, depth - 1);
        self.join(left, first, depth)
    }

    fn join(&mut self, left: &Level, first: From, depth: usize) -> From {
        let kind = *self.rng.pick(&[
            "JOIN",
            "JOIN",
            "LEFT JOIN",
            "LEFT JOIN",
            "RIGHT JOIN",
            "FULL JOIN",
            "CROSS JOIN",
        ]);
        let mut seen = left.clone();
        if matches!(kind, "JOIN" | "LEFT JOIN" | "CROSS JOIN") {
            seen.items.extend(first.level.items.iter().cloned());
        }
        let second = if self.rng.chance(20) { self.tree(&seen, depth - 1) } else { self.item(&seen) };
        let common: Vec<Col> = common_columns(&first.level, &second.level);
        let mut level = first.level;
        level.items.extend(second.level.items);
        level.ambiguous.extend(second.level.ambiguous);
        let nested = second.text.contains(" JOIN ") && !second.text.starts_with('(');
        let right = if nested { format!("({})", second.text) } else { second.text };
        let mut text = match kind {
            "CROSS JOIN" => format!("{} CROSS JOIN {right}", first.text),
            _ if !common.is_empty() && self.rng.chance(20) => {
                level.ambiguous.extend(common.iter().map(|c| c.name.clone()));
                if common.len() < 3
                    && self.rng.chance(30)
                    && !level.items.iter().any(|i| i.table.is_some_and(|t| !t.whole))
                {
                    format!("{} NATURAL {kind} {right}", first.text)
                } else {
                    let using = self.rng.pick(&common).clone();
                    let mut text = format!("{} {kind} {right} USING ({})", first.text, using.name);
                    if self.rng.chance(20) {
                        let alias = self.fresh("j");
                        text = format!("{text} AS {alias}");
                        let columns = vec![Col { values: Values::Unknown, ..using }];
                        level.items.push(Item { alias, columns, table: None, has_row: false, plain: false });
                    }
                    text
                }
            }
            _ => {
                let on = self.on(&level, kind == "FULL JOIN");
                format!("{} {kind} {right} ON {on}", first.text)
            }
        };
        if self.rng.chance(6) && !text.contains("LATERAL") {
            let alias = self.alias();
            text = format!("({text}) AS {alias}");
            level = hidden_by(&alias, &level);
        } else if self.rng.chance(15) {
            text = format!("({text})");
        }
        From { text, level }
    }

    /// The condition of a join: mostly an equality, so that few rows come out.
    fn on(&mut self, level: &Level, is_full: bool) -> String {
        self.levels.push(level.clone());
        let split = level.items.len() - 1;
        let mut pairs = Vec::new();
        for a in level.items.iter().take(split) {
            for b in level.items.iter().skip(split) {
                for x in &a.columns {
                    for y in b.columns.iter().filter(|y| joins(x, y)) {
                        pairs.push(format!("{}.{} = {}.{}", a.alias, x.name, b.alias, y.name));
                    }
                }
            }
        }
        let mut all = Vec::new();
        if !pairs.is_empty() && (is_full || self.rng.chance(85)) {
            all.push(self.rng.pick(&pairs).clone());
        }
        // FULL JOIN wants conditions that can be merged or hashed.
        if !is_full && (all.is_empty() || self.rng.chance(45)) {
            let condition = self.condition();
            all.insert(self.rng.below(all.len() + 1), format!("({condition})"));
        } else if is_full && all.is_empty() {
            all.push("true".into());
        } else if is_full
            && self.rng.chance(40)
            && let Some(leak) = self.leak()
        {
            all.push(format!("({leak})"));
        }
        self.levels.pop();
        all.join(" AND ")
    }

    fn item(&mut self, left: &Level) -> From {
        let (text, item) = match self.rng.below(20) {
            0..3 if self.spend() => self.derived(),
            3 if self.spend() && !left.items.is_empty() => self.lateral(left),
            4 if !left.items.is_empty() => self.function_item(Some(left)),
            4 => self.function_item(None),
            5 if !self.named.is_empty() => self.named_item(),
            6 if !self.named.is_empty() => self.named_item(),
            7 => self.values_item(),
            _ => self.table(),
        };
        From { text, level: Level { items: vec![item], ambiguous: Vec::new() } }
    }

    /// How a relation is named: a name that a common table expression has needs its schema.
    pub fn relation_name(&mut self, table: &Table) -> String {
        let shadowed = self.named.iter().any(|n| n.name == table.name);
        if shadowed || self.rng.chance(25) { format!("app.{}", table.name) } else { table.name.to_owned() }
    }

    pub fn any_table(&mut self) -> &'static Table {
        // The first ones have more to tell.
        let end = if self.rng.chance(60) { 6 } else { TABLES.len() };
        &TABLES[self.rng.below(end)]
    }

    pub fn table(&mut self) -> (String, Item) {
        let table = self.any_table();
        let mut text = self.relation_name(table);
        let is_view = table.name.starts_with("v_");
        if !is_view && self.rng.chance(6) {
            text = if self.rng.chance(50) && table.name != "notes" {
                format!("ONLY {text}")
            } else {
                format!("{text} *")
            };
        }
        // A partitioned table has no rows of its own; both sides agree on that.
        let mut columns: Vec<Col> = table.columns.iter().map(col).collect();
        let mut plain = false;
        let bare = table.name.to_owned();
        let alias = if self.rng.chance(25) && !self.taken.contains(&bare) && !text.ends_with('*') {
            self.taken.push(bare.clone());
            plain = true;
            bare
        } else {
            let alias = self.alias();
            text = format!("{text} {}{alias}", if self.rng.chance(50) { "AS " } else { "" });
            if table.whole && self.rng.chance(12) {
                let names = self.renamed(&mut columns);
                text = format!("{text} ({names})");
            }
            alias
        };
        if !is_view && self.rng.chance(4) {
            let method = *self.rng.pick(&["BERNOULLI", "SYSTEM"]);
            text = format!("{text} TABLESAMPLE {method} (100)");
        }
        (text, Item { alias, columns, table: Some(table), has_row: true, plain })
    }

    /// New names for the first columns: each other's.
    fn renamed(&mut self, columns: &mut [Col]) -> String {
        let count = 1 + self.rng.below(columns.len());
        let mut names: Vec<String> = columns.iter().take(count).map(|c| c.name.clone()).collect();
        let shift = self.rng.below(count);
        names.rotate_left(shift);
        if self.rng.chance(30) {
            names[0] = "first".into();
        }
        for (column, name) in columns.iter_mut().zip(&names) {
            column.name.clone_from(name);
        }
        names.join(", ")
    }

    fn derived(&mut self) -> (String, Item) {
        let (query, columns) = scoped(self, |maker| maker.query(None));
        self.aliased(&format!("({query})"), columns)
    }

    fn lateral(&mut self, left: &Level) -> (String, Item) {
        self.levels.push(left.clone());
        let (query, columns) = scoped(self, |maker| maker.query(None));
        self.levels.pop();
        self.aliased(&format!("LATERAL ({query})"), columns)
    }

    fn aliased(&mut self, text: &str, mut columns: Vec<Col>) -> (String, Item) {
        let alias = self.alias();
        let mut text = format!("{text} AS {alias}");
        if self.rng.chance(15) && !columns.is_empty() {
            let names = self.renamed(&mut columns);
            text = format!("{text} ({names})");
        }
        (text, Item { alias, columns, table: None, has_row: true, plain: false })
    }

    pub fn named_item(&mut self) -> (String, Item) {
        let visible: Vec<usize> = (0..self.named.len())
            .filter(|i| !self.named.iter().skip(i + 1).any(|later| later.name == self.named[*i].name))
            .collect();
        let named = self.named[*self.rng.pick(&visible)].clone();
        let alias = self.alias();
        let mut columns = named.columns;
        let mut text = format!("{} AS {alias}", named.name);
        if self.rng.chance(10) && !columns.is_empty() {
            let names = self.renamed(&mut columns);
            text = format!("{text} ({names})");
        }
        (text, Item { alias, columns, table: None, has_row: true, plain: false })
    }

    fn values_item(&mut self) -> (String, Item) {
        let types =
            [*self.rng.pick(&[Ty::Int, Ty::Big, Ty::Text]), *self.rng.pick(&[Ty::Bool, Ty::Text, Ty::Num])];
        let text = self.values(&types);
        let alias = self.alias();
        let columns = types.iter().zip(["v", "w"]).map(|(ty, name)| Col {
            name: name.into(),
            ty: *ty,
            values: Values::Unknown,
        });
        (
            format!("({text}) AS {alias}(v, w)"),
            Item { alias, columns: columns.collect(), table: None, has_row: true, plain: false },
        )
    }

    fn function_item(&mut self, left: Option<&Level>) -> (String, Item) {
        if let Some(left) = left
            && self.rng.chance(40)
            && let Some(item) = self.document_item(left)
        {
            return item;
        }
        if let Some(left) = left {
            self.levels.push(left.clone());
        }
        let tags = self.column(|c| c.ty == Ty::Texts).map(|(name, _)| name);
        let json = self.column(|c| matches!(c.values, Values::Object(_))).map(|(name, _)| name);
        let tenant = self.column(|c| c.values == Values::Tenant).map(|(name, _)| name);
        if left.is_some() {
            self.levels.pop();
        }
        let lateral = if self.rng.chance(30) { "LATERAL " } else { "" };
        let alias = self.alias();
        let (text, columns): (String, Vec<(&str, Ty)>) = match (self.rng.below(6), tags, json, tenant) {
            (0 | 1, Some(tags), _, _) => {
                (format!("{lateral}unnest({tags}) AS {alias}(v)"), vec![("v", Ty::Text)])
            }
            (2, _, Some(json), _) => (
                format!("{lateral}jsonb_each_text({json}) AS {alias}(k, v)"),
                vec![("k", Ty::Text), ("v", Ty::Text)],
            ),
            (3, _, _, Some(tenant)) => {
                (format!("{lateral}generate_series(1, 3, 2 - {tenant}) AS {alias}(v)"), vec![("v", Ty::Int)])
            }
            (4, _, _, Some(tenant)) => (
                format!(
                    "{lateral}ROWS FROM (generate_series(1, 2), unnest(ARRAY[1 / ({tenant} - 2), 3])) WITH ORDINALITY AS {alias}(v, w, o)"
                ),
                vec![("v", Ty::Int), ("w", Ty::Int), ("o", Ty::Big)],
            ),
            (5, Some(tags), _, _) if self.rng.chance(50) => {
                let text = format!("{lateral}unnest({tags}) WITH ORDINALITY AS {alias}");
                let (name, order) = (alias.clone(), "ordinality".to_owned());
                let columns = [(name, Ty::Text), (order, Ty::Big)];
                let columns = columns.map(|(name, ty)| Col { name, ty, values: Values::Unknown });
                return (
                    text,
                    Item { alias, columns: columns.into(), table: None, has_row: false, plain: false },
                );
            }
            (5, Some(tags), _, _) => (
                format!("{lateral}unnest({tags}) WITH ORDINALITY AS {alias}(v, o)"),
                vec![("v", Ty::Text), ("o", Ty::Big)],
            ),
            _ => (format!("generate_series(1, 3) AS {alias}(v)"), vec![("v", Ty::Int)]),
        };
        let columns =
            columns.into_iter().map(|(name, ty)| Col { name: name.into(), ty, values: Values::Unknown });
        (text, Item { alias, columns: columns.collect(), table: None, has_row: false, plain: false })
    }
}

pub fn col(column: &super::schema::Column) -> Col {
    Col { name: column.name.into(), ty: column.ty, values: column.values }
}

fn joins(a: &Col, b: &Col) -> bool {
    let number = |c: &Col| matches!(c.ty, Ty::Int | Ty::Big);
    match (a.values, b.values) {
        (Values::Id, Values::Id) => true,
        (Values::Unknown, Values::Unknown) => a.ty == b.ty && number(a),
        (Values::Unknown, Values::Id) | (Values::Id, Values::Unknown) => number(a) && number(b),
        _ => false,
    }
}

/// Columns that both sides have once, of one type.
fn common_columns(left: &Level, right: &Level) -> Vec<Col> {
    let once = |level: &Level, name: &str| {
        let mut columns = level.items.iter().flat_map(|i| &i.columns).filter(|c| c.name == name);
        let first = columns.next().cloned();
        first.filter(|_| columns.next().is_none() && !level.ambiguous.iter().any(|a| a == name))
    };
    let names = left.items.iter().flat_map(|i| &i.columns).map(|c| c.name.clone());
    let both = names.filter_map(|name| Some((once(left, &name)?, once(right, &name)?)));
    both.filter_map(|(l, r)| match (l.ty, r.ty) {
        (left, right) if left == right => Some(l),
        // The column is of the wider type then.
        (Ty::Int | Ty::Big, Ty::Num) | (Ty::Int, Ty::Big) => Some(Col { values: Values::Unknown, ..r }),
        (Ty::Num, Ty::Int | Ty::Big) | (Ty::Big, Ty::Int) => Some(Col { values: Values::Unknown, ..l }),
        _ => None,
    })
    .collect()
}

/// `(a JOIN b) AS j`: the columns of both, under one name.
fn hidden_by(alias: &str, level: &Level) -> Level {
    let all: Vec<&Col> = level.items.iter().flat_map(|i| &i.columns).collect();
    let unique = |c: &&&Col| all.iter().filter(|o| o.name == c.name).count() == 1;
    let columns = all.iter().filter(unique).map(|c| (*c).clone()).collect();
    let item = Item { alias: alias.into(), columns, table: None, has_row: false, plain: false };
    Level { items: vec![item], ambiguous: level.ambiguous.clone() }
}
