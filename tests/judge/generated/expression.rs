//! Expressions of a type that hold for each of tenant A's rows, and those that raise on every other's.

use super::maker::{Col, Maker};
use super::schema::{Ty, Values};

impl Maker {
    /// An expression of a type.
    pub fn expression(&mut self, ty: Ty) -> String {
        if self.rng.chance(12)
            && let Some(leak) = self.leak()
        {
            let value = self.simple(ty);
            let other = self.simple(ty);
            return format!("CASE WHEN {leak} THEN {value} ELSE {other} END");
        }
        if !self.rng.chance(45) || !self.spend() {
            return self.simple(ty);
        }
        match self.rng.below(9) {
            0 => format!("coalesce({}, {})", self.simple(ty), self.simple(ty)),
            1 => {
                let (when, then, other) = (self.condition(), self.expression(ty), self.simple(ty));
                format!("CASE WHEN {when} THEN {then} ELSE {other} END")
            }
            2 => self.scalar_query(ty),
            3 => format!("nullif({}, {})", self.simple(ty), self.simple(ty)),
            4 if self.rng.chance(30) => self.of_row(ty).unwrap_or_else(|| self.simple(ty)),
            _ => self.function(ty),
        }
    }

    /// A column or a constant.
    pub fn simple(&mut self, ty: Ty) -> String {
        if self.rng.chance(85)
            && let Some((name, _)) = self.column(|c| c.ty == ty)
        {
            return name;
        }
        self.constant(ty)
    }

    fn function(&mut self, ty: Ty) -> String {
        match ty {
            Ty::Int => match self.rng.below(8) {
                0 => format!("({} + {})", self.simple(Ty::Int), self.rng.below(9)),
                1 => format!("length({})", self.expression(Ty::Text)),
                2 => format!("({} % 7)", self.simple(Ty::Int)),
                3 => format!("cardinality({})", self.simple(Ty::Texts)),
                4 => format!("extract(month from {})::int", self.simple(Ty::Time)),
                5 => format!("({} % 100)::int", self.simple(Ty::Big)),
                6 => format!("({}->>'n')::int", self.json_with_number()),
                _ => format!("(- {})", self.simple(Ty::Int)),
            },
            Ty::Big => match self.rng.below(4) {
                0 => format!("({} + {})", self.simple(Ty::Big), self.rng.below(9)),
                1 => format!("abs({})", self.simple(Ty::Big)),
                2 => format!("{}::bigint", self.simple(Ty::Int)),
                _ => format!("greatest({}, {})", self.simple(Ty::Big), self.simple(Ty::Big)),
            },
            Ty::Num => match self.rng.below(4) {
                0 => format!("round({}, 1)", self.simple(Ty::Num)),
                1 => format!("({} * 1.19)", self.simple(Ty::Num)),
                2 => format!("vat({}, 19)", self.simple(Ty::Num)),
                _ => format!("{}::numeric", self.simple(Ty::Big)),
            },
            Ty::Text => match self.rng.below(11) {
                0 => format!("upper({})", self.expression(Ty::Text)),
                1 => format!("({} || '-' || {})", self.simple(Ty::Text), self.simple(Ty::Int)),
                2 => format!("left({}, 9)", self.simple(Ty::Text)),
                3 => format!("({}->>'k')", self.simple(Ty::Json)),
                4 => format!("replace({}, 'A', 'x')", self.simple(Ty::Text)),
                5 => format!("({})[1]", self.simple(Ty::Texts)),
                6 => format!("split_part({}, ' ', 2)", self.simple(Ty::Text)),
                7 => format!("array_to_string({}, ',')", self.simple(Ty::Texts)),
                8 => format!("to_char({}, 'YYYY-MM')", self.simple(Ty::Time)),
                9 => format!("concat({}, {})", self.simple(Ty::Text), self.simple(Ty::Big)),
                _ => self.word_text().unwrap_or_else(|| "'x'".into()),
            },
            Ty::Bool => self.condition(),
            Ty::Time => format!("({} + interval '1 hour')", self.simple(Ty::Time)),
            Ty::Json => match self.rng.below(3) {
                0 => format!("jsonb_build_object('v', {})", self.simple(Ty::Text)),
                1 => format!("to_jsonb({})", self.simple(Ty::Int)),
                _ => format!("({} || '{{\"z\": 1}}')", self.simple(Ty::Json)),
            },
            Ty::Texts => match self.rng.below(3) {
                0 => format!("array_append({}, 'z')", self.simple(Ty::Texts)),
                1 => format!("({})[1:1]", self.simple(Ty::Texts)),
                _ => format!("ARRAY[{}, {}]", self.simple(Ty::Text), self.simple(Ty::Text)),
            },
            Ty::Search => format!("to_tsvector('simple', {})", self.simple(Ty::Text)),
            Ty::Word(_) => self.simple(ty),
        }
    }

    fn json_with_number(&mut self) -> String {
        match self.column(|c| c.values == Values::Object("k")) {
            Some((name, _)) => name,
            None => "'{\"n\": 4}'::jsonb".into(),
        }
    }

    fn word_text(&mut self) -> Option<String> {
        self.column(|c| matches!(c.ty, Ty::Word(_))).map(|(name, _)| format!("{name}::text"))
    }

    /// A condition.
    pub fn condition(&mut self) -> String {
        match self.rng.below(20) {
            0..4 => self.leak().unwrap_or_else(|| "true".into()),
            4..6 if self.spend() => {
                let word = *self.rng.pick(&["AND", "OR"]);
                format!("({} {word} {})", self.condition(), self.condition())
            }
            6 if self.spend() => {
                let condition = self.condition();
                let how = *self.rng.pick(&["TRUE", "NOT FALSE", "NOT UNKNOWN", "FALSE"]);
                match self.rng.below(3) {
                    0 => format!("(({condition}) IS {how})"),
                    _ => format!("(NOT {condition})"),
                }
            }
            7..9 if self.spend() => self.membership(),
            9 => self.special_condition(),
            10 => {
                let ty = self.some_type();
                let not = if self.rng.chance(50) { "NOT " } else { "" };
                format!("{} IS {not}NULL", self.simple(ty))
            }
            11 => {
                let (a, b) = (self.some_type(), self.some_type());
                let (l1, l2, r1, r2) = (self.simple(a), self.simple(b), self.simple(a), self.simple(b));
                let operator = *self.rng.pick(&["=", "<", ">=", "<>"]);
                format!("({l1}, {l2}) {operator} ({r1}, {r2})")
            }
            _ => self.comparison(),
        }
    }

    pub fn some_type(&mut self) -> Ty {
        let near: Vec<_> = self.columns().into_iter().map(|(_, c)| c.ty).collect();
        if near.is_empty() || self.rng.chance(20) {
            return *self.rng.pick(&[Ty::Int, Ty::Big, Ty::Text, Ty::Bool, Ty::Num]);
        }
        *self.rng.pick(&near)
    }

    fn comparison(&mut self) -> String {
        let ty = self.some_type();
        let left = self.expression(ty);
        match ty {
            Ty::Json => {
                let right = self.constant(Ty::Json);
                let operator = *self.rng.pick(&["@>", "<@", "="]);
                format!("{left} {operator} {right}")
            }
            Ty::Texts => format!(
                "{left} {} {}",
                self.rng.pick(&["&&", "@>", "="]).to_owned(),
                self.constant(Ty::Texts)
            ),
            Ty::Search => format!("{left} @@ to_tsquery('simple', 'title & {}')", self.rng.below(9)),
            Ty::Text if self.rng.chance(30) => {
                let not = if self.rng.chance(30) { "NOT " } else { "" };
                let how = *self.rng.pick(&["LIKE", "ILIKE"]);
                let pattern = *self.rng.pick(&["'%A%'", "'%1'", "'CANARY_B%'", "'k_'"]);
                format!("{left} {not}{how} {pattern}")
            }
            Ty::Bool => left,
            _ => match self.rng.below(8) {
                0 => format!("{left} IN ({}, {})", self.simple(ty), self.constant(ty)),
                1 => format!("{left} BETWEEN {} AND {}", self.simple(ty), self.simple(ty)),
                2 => format!("{left} IS DISTINCT FROM {}", self.simple(ty)),
                3 if !matches!(ty, Ty::Word(_)) => {
                    format!("{left} = ANY (ARRAY[{}, {}])", self.simple(ty), self.constant(ty))
                }
                _ => {
                    let operator = *self.rng.pick(&["=", "<", "<=", ">", ">=", "<>"]);
                    format!("{left} {operator} {}", self.simple(ty))
                }
            },
        }
    }

    /// Rows, system columns and what else only a relation has.
    fn special_condition(&mut self) -> String {
        let rows: Vec<String> = self.visible_items(|i| i.has_row);
        let stored: Vec<String> = self.visible_items(|i| i.has_row && i.table.is_some());
        let tables: Vec<String> = self.visible_items(|i| i.table.is_some_and(|t| !t.name.starts_with("v_")));
        match self.rng.below(6) {
            0 if !rows.is_empty() => format!("{} IS NOT NULL", self.rng.pick(&rows).clone()),
            1 if !stored.is_empty() => format!("app.leak({})", self.rng.pick(&stored).clone()),
            2 if !rows.is_empty() => {
                let row = self.rng.pick(&rows).clone();
                format!("length({row}::text) > 3")
            }
            3 if !tables.is_empty() => format!("{}.tableoid > 0", self.rng.pick(&tables).clone()),
            4 if !tables.is_empty() && self.rng.chance(70) => {
                format!("{}.ctid IS NOT NULL", self.rng.pick(&tables).clone())
            }
            // Of whatever stands alone in the nearest FROM that has such a relation.
            4 => "ctid IS NOT NULL".into(),
            5 => self.row_condition().unwrap_or_else(|| "true".into()),
            _ => "now() IS NOT NULL".into(),
        }
    }

    pub fn visible_items(&self, wanted: impl Fn(&super::maker::Item) -> bool) -> Vec<String> {
        let mut hidden: Vec<&String> = Vec::new();
        let mut found = Vec::new();
        for level in self.levels.iter().rev() {
            let seen = level.items.iter().filter(|i| !hidden.contains(&&i.alias) && wanted(i));
            // A row by a name that is a column's too means the column.
            let is_column = |name: &str| {
                self.levels.iter().flat_map(|l| &l.items).flat_map(|i| &i.columns).any(|c| c.name == name)
            };
            found.extend(seen.filter(|i| !is_column(&i.alias)).map(|i| i.alias.clone()));
            hidden.extend(level.items.iter().map(|i| &i.alias));
        }
        found
    }

    /// A condition that is true or null on each row of A's and raises on others', often with their values in the
    /// message.
    pub fn leak(&mut self) -> Option<String> {
        if self.rng.chance(30) {
            let (name, column) = self.column(|c| c.values != Values::Unknown)?;
            let how = if self.rng.chance(50) { "leak" } else { "app.leak" };
            return Some(match column.ty {
                Ty::Word(_) if self.rng.chance(50) => format!("{how}({name}::text)"),
                _ => format!("{how}({name})"),
            });
        }
        let (name, column) = self.column(|c| !matches!(c.values, Values::Plain | Values::Unknown))?;
        Some(self.raising(&name, &column))
    }

    fn raising(&mut self, c: &str, column: &Col) -> String {
        let small = self.rng.below(9) + 1;
        let other = 2_222_000 + small;
        match column.values {
            Values::Tenant => match self.rng.below(8) {
                0 => format!("1 / ({c} - 2) < 5"),
                1 => format!("5 > 1 / ({c} - 3)"),
                2 => format!("sqrt(1.5 - {c}) IS NOT NULL"),
                3 => format!("ln(2 - {c}) = 0"),
                4 => format!("substr('abcdef', 1, 10 - ({c} - 1) * 100) <> 'x'"),
                5 => format!("width_bucket(1.0, 0, 2 - {c}, 3) > 0"),
                6 => format!("chr(65 + ({c} - 1) * 2000000) = 'A'"),
                _ => format!("({c} - 1) * 2000000000 < 9"),
            },
            Values::Id => match self.rng.below(5) {
                0 => format!("1 / ({c} - {other}) < 9"),
                1 => format!("10 % ({c} - {other}) <> -999"),
                2 => format!("left('abc', (({c} - 1111000) * 2000)::int) IS NOT NULL"),
                3 => format!("('[' || {c} || ',2000000]')::int8range IS NOT NULL"),
                _ => format!("1 / ({c} - {other}) = ({c} - {c})"),
            },
            Values::Numbered(prefix) => match self.rng.below(5) {
                0 => format!("replace({c}, '{prefix}', '')::int < 1000"),
                1 => format!(
                    "('2024-01-' || lpad(left(replace({c}, '{prefix}', ''), 1), 2, '1'))::date IS NOT NULL"
                ),
                2 => format!("to_number(replace({c}, '{prefix}', ''), '99') >= 0"),
                3 => format!("5 > ALL (SELECT 1 / nullif(strpos({c}, 'CANARY_A'), 2))"),
                _ => self.raising_text(c),
            },
            Values::Canary => self.raising_text(c),
            Values::Tags => match self.rng.below(4) {
                0 => format!("array[coalesce({c}, '{{p,q}}'), '{{x,y}}'] IS NOT NULL"),
                1 => format!("1 / (cardinality({c}) - 3) < 2"),
                2 => format!(
                    "left({c}[1], 8)::text = ANY (ARRAY[({c})[2], replace({c}[1], 'CANARY_B', '(((')]) OR 'a' ~ replace({c}[1], 'CANARY_B', '(((') IS NOT NULL"
                ),
                _ => format!("replace(({c})[1], 'CANARY_A', '1')::int = 1"),
            },
            Values::Object(key) => match self.rng.below(4) {
                0 => format!("(replace(replace({c}->>'{key}', 'CANARY_A', ''), '', '1') || '1')::int > 0"),
                1 => format!("'a' ~ replace({c}->>'{key}', 'CANARY_B', '(((') IS NOT NULL"),
                2 if key == "k" => format!("1 / (({c}->>'n')::int - {other}) < 3"),
                _ => format!("app.leak({c}->>'{key}')"),
            },
            Values::Amount(fraction) => match self.rng.below(2) {
                0 if fraction.is_empty() => format!("1 / ({c} - 2222000) < 3"),
                0 => format!("1 / ({c} - {other}{fraction}) < 3"),
                _ => format!("sqrt(2000000 - {c}) IS NOT NULL"),
            },
            Values::Plain | Values::Unknown => format!("{c} IS NOT NULL"),
        }
    }

    fn raising_text(&mut self, c: &str) -> String {
        match self.rng.below(7) {
            // An escape at the end raises when a match gets as far as that.
            0 => format!("{c} NOT LIKE '%CANARY_B%\\'"),
            1 => format!("'a' ~ replace({c}, 'CANARY_B', '(((') IS NOT NULL"),
            2 => format!("('x' ~ ANY (ARRAY[replace({c}, 'CANARY_B', '[')])) IS NOT NULL"),
            3 => format!("jsonb_build_object(nullif(left(coalesce({c}, ''), 8), 'CANARY_B'), 1) IS NOT NULL"),
            4 => format!(
                "(CASE left({c}, 8) WHEN 'CANARY_B' THEN {c} WHEN 'CANARY_C' THEN {c} ELSE '1' END)::int = 1"
            ),
            5 => format!("decode(replace(left({c}, 8), 'CANARY_A', '00'), 'hex') IS NOT NULL"),
            _ => format!("to_date(replace(left({c}, 8), 'CANARY_A', '2024'), 'YYYY') > '1999-01-01'"),
        }
    }
}
