//! Statements of a few names that mean many things.

/// Names of columns, outputs and items: some are what PostgreSQL calls something by itself.
const NAMES: [&str; 16] = [
    "a",
    "b",
    "id",
    "title",
    "text",
    "\"case\"",
    "column1",
    "\"unnest\"",
    "q",
    "value",
    "meta",
    "\"coalesce\"",
    "amount",
    "content",
    "name",
    "int4",
];
const ALIASES: [&str; 9] =
    ["t", "u", "documents", "customers", "q", "\"unnest\"", "a", "\"coalesce\"", "document_pages"];
const RELATIONS: [&str; 9] = [
    "documents",
    "customers",
    "document_pages",
    "countries",
    "settings",
    "events",
    "templates",
    "app.documents",
    "v_titles_no_tenant",
];

/// An item of FROM, as far as the maker knows it.
#[derive(Clone, Default)]
struct Item {
    name: String,
    columns: Vec<String>,
}

/// Makes one statement from a seed (splitmix64).
pub struct Maker {
    state: u64,
    major: u32,
    levels: Vec<Vec<Item>>,
    ctes: Vec<Item>,
    budget: usize,
}

impl Maker {
    pub fn new(seed: u64, major: u32) -> Self {
        Self { state: seed, major, levels: Vec::new(), ctes: Vec::new(), budget: 9 }
    }

    pub fn statement(&mut self) -> String {
        match self.below(12) {
            0 => self.write(),
            _ => self.query(None).0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = z ^ (z >> 31);
        usize::try_from(z % u64::try_from(end.max(1)).expect("fits")).expect("fits")
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn of(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    fn list(&mut self, count: usize, mut make: impl FnMut(&mut Self) -> String) -> String {
        (0..count).map(|_| make(self)).collect::<Vec<_>>().join(", ")
    }

    fn write(&mut self) -> String {
        let table = self.of(&["documents", "app.customers", "document_pages"]);
        let alias = if self.chance(40) { self.of(&ALIASES).to_owned() } else { String::new() };
        let named =
            if alias.is_empty() { table.trim_start_matches("app.").to_owned() } else { alias.clone() };
        self.levels.push(vec![Item { name: named, columns: columns_of(table) }]);
        let from = if self.chance(60) { self.item(true) } else { String::new() };
        let outputs = self.outputs(3);
        self.levels.pop();
        match self.below(2) {
            0 => {
                let from = if from.is_empty() { from } else { format!("FROM {from}") };
                format!("UPDATE {table} {alias} SET {} {from} WHERE false RETURNING {outputs}", set_of(table))
            }
            _ => {
                let from = if from.is_empty() { from } else { format!("USING {from}") };
                format!("DELETE FROM {table} {alias} {from} WHERE false RETURNING {outputs}")
            }
        }
    }

    /// A query of so many outputs, or of any number, and the names of those that have one.
    fn query(&mut self, outputs: Option<usize>) -> (String, Vec<String>) {
        self.budget = self.budget.saturating_sub(1);
        let own = self.ctes.len();
        let mut with = String::new();
        if self.budget > 2 && self.chance(12) {
            let recursive = self.chance(30);
            let name = self.of(&["c", "documents", "q"]);
            let count = 1 + self.below(3);
            let (mut body, mut columns) = self.query(Some(count));
            if recursive && self.chance(60) {
                let (right, _) = self.query(Some(count));
                body = format!("{body} UNION ALL {right}");
            }
            let mut list = String::new();
            if self.chance(50) {
                let names = self.names(count);
                columns = names.split(", ").map(str::to_owned).collect();
                list = format!("({names})");
            }
            self.ctes.push(Item { name: name.to_owned(), columns });
            with = format!("WITH {}{name}{list} AS ({body}) ", if recursive { "RECURSIVE " } else { "" });
        }
        let (body, columns) = self.body(outputs);
        self.ctes.truncate(own);
        (format!("{with}{body}"), columns)
    }

    fn body(&mut self, outputs: Option<usize>) -> (String, Vec<String>) {
        if self.budget > 2 && self.chance(14) {
            let count = outputs.unwrap_or(2);
            let ((left, columns), (right, _)) = (self.select(Some(count)), self.select(Some(count)));
            let kind = self.of(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
            let third = match self.chance(25) {
                true => format!(" UNION ALL {}", self.select(Some(count)).0),
                false => String::new(),
            };
            return (format!("{left} {kind} {right}{third}"), columns);
        }
        if self.chance(8) {
            let width = outputs.unwrap_or(2);
            return (self.values(width), (1..=width).map(|n| format!("column{n}")).collect());
        }
        self.select(outputs)
    }

    fn values(&mut self, width: usize) -> String {
        let rows = 1 + self.below(2);
        let rows: Vec<String> =
            (0..rows).map(|_| format!("({})", self.list(width, |m| m.expression(1)))).collect();
        format!("VALUES {}", rows.join(", "))
    }

    fn select(&mut self, outputs: Option<usize>) -> (String, Vec<String>) {
        self.levels.push(Vec::new());
        let items = 1 + self.below(2);
        let mut from = Vec::new();
        for _ in 0..items {
            from.push(self.item(true));
        }
        let condition = match self.chance(25) {
            true => format!(" WHERE {} IS NOT NULL", self.expression(1)),
            false => String::new(),
        };
        let (count, stars) = match outputs {
            Some(count) => (count, false),
            None => (1 + self.below(3), true),
        };
        let mut names = Vec::new();
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(match self.below(9) {
                kind @ 0..4 if stars => self.star(kind),
                _ => {
                    let value = self.expression(2);
                    if self.chance(45) {
                        let name = self.of(&NAMES);
                        names.push(name.to_owned());
                        format!("{value} AS {name}")
                    } else {
                        value
                    }
                }
            });
        }
        if texts.iter().any(|text| text.ends_with('*')) {
            let level = self.levels.last().into_iter().flatten();
            names.extend(level.flat_map(|item| item.columns.iter().cloned()));
        }
        self.levels.pop();
        (format!("SELECT {} FROM {}{condition}", texts.join(", "), from.join(", ")), names)
    }

    fn star(&mut self, kind: usize) -> String {
        match kind {
            0 => "*".to_owned(),
            1 => format!("{}.*", self.item_name()),
            2 => format!("({}).*", self.item_name()),
            _ => format!("app.{}.*", self.of(&["documents", "customers"])),
        }
    }

    fn outputs(&mut self, count: usize) -> String {
        self.list(count, |maker| match maker.below(9) {
            kind @ 0..4 => maker.star(kind),
            _ => maker.expression(2),
        })
    }

    fn names(&mut self, count: usize) -> String {
        let mut names: Vec<&str> = Vec::new();
        while names.len() < count {
            let name = self.of(&NAMES);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(", ")
    }

    fn item_name(&mut self) -> String {
        let level = if self.chance(80) { self.levels.last() } else { self.levels.first() };
        let names: Vec<String> = level.into_iter().flatten().map(|item| item.name.clone()).collect();
        match names.len() {
            0 => self.of(&ALIASES).to_owned(),
            some => {
                let at = self.below(some);
                names[at].clone()
            }
        }
    }

    /// Remembers an item, and gives it an alias now and then.
    fn aliased(&mut self, text: &str, own: &str, must: bool, mut columns: Vec<String>) -> String {
        let alias = if must || self.chance(60) { Some(self.of(&ALIASES)) } else { None };
        let text = match alias {
            None => text.to_owned(),
            Some(alias) if self.chance(30) => {
                let count = 1 + self.below(columns.len().clamp(1, 3));
                let names = self.names(count);
                for (column, name) in columns.iter_mut().zip(names.split(", ")) {
                    name.clone_into(column);
                }
                format!("{text} AS {alias}({names})")
            }
            Some(alias) => format!("{text} AS {alias}"),
        };
        let item = Item { name: alias.unwrap_or(own).to_owned(), columns };
        if let Some(level) = self.levels.last_mut() {
            level.push(item);
        }
        text
    }

    fn item(&mut self, joins: bool) -> String {
        if joins && self.budget > 1 && self.chance(35) {
            self.budget -= 1;
            return self.join();
        }
        match self.below(12) {
            0..4 => {
                let relation = self.of(&RELATIONS);
                let own = relation.trim_start_matches("app.");
                let text = if self.chance(8) { format!("ONLY {relation}") } else { relation.to_owned() };
                self.aliased(&text, own, false, columns_of(own))
            }
            4 if !self.ctes.is_empty() => {
                let at = self.below(self.ctes.len());
                let Item { name, columns } = self.ctes[at].clone();
                self.aliased(&name, &name, false, columns)
            }
            5..9 if self.budget > 0 => {
                let lateral = self.chance(50);
                let here = if lateral { None } else { self.levels.pop() };
                let outputs = if self.chance(70) { None } else { Some(2) };
                let (query, columns) = self.query(outputs);
                self.levels.extend(here);
                self.aliased(
                    &format!("{}({query})", if lateral { "LATERAL " } else { "" }),
                    "",
                    true,
                    columns,
                )
            }
            9 => {
                let values = self.values(2);
                let columns = vec!["column1".to_owned(), "column2".to_owned()];
                self.aliased(&format!("({values})"), "", true, columns)
            }
            _ => self.function(),
        }
    }

    fn function(&mut self) -> String {
        let ordinality = if self.chance(35) { " WITH ORDINALITY" } else { "" };
        let argument = self.expression(0);
        match self.below(14) {
            0 | 1 => self.aliased(
                &format!("unnest(ARRAY[{argument}]){ordinality}"),
                "\"unnest\"",
                false,
                vec!["\"unnest\"".to_owned()],
            ),
            2 => self.aliased(
                &format!("unnest(ARRAY[1], ARRAY['x']){ordinality}"),
                "\"unnest\"",
                false,
                vec!["\"unnest\"".to_owned()],
            ),
            3 => self.aliased(
                &format!("generate_series(1, 2){ordinality}"),
                "generate_series",
                false,
                vec!["generate_series".to_owned()],
            ),
            4 => self.aliased(
                &format!("jsonb_each_text('{{}}'){ordinality}"),
                "jsonb_each_text",
                false,
                vec!["jsonb_each_text".to_owned()],
            ),
            5 => {
                let names = self.names(2);
                let (first, second) = names.split_once(", ").expect("two names");
                let text = format!("json_to_record('{{}}') AS q({first} text, {second} numeric)");
                if let Some(level) = self.levels.last_mut() {
                    level.push(Item { name: "q".into(), columns: vec![first.to_owned(), second.to_owned()] });
                }
                text
            }
            6 => self.aliased("coalesce('x', 'y')", "\"coalesce\"", false, vec!["\"coalesce\"".to_owned()]),
            7 => {
                let text =
                    format!("ROWS FROM (generate_series(1, 2), unnest(ARRAY[{argument}])){ordinality}");
                self.aliased(&text, "generate_series", false, vec!["generate_series".to_owned()])
            }
            8 => self.aliased(
                "json_populate_record(NULL::app.templates, '{}')",
                "json_populate_record",
                false,
                vec!["json_populate_record".to_owned()],
            ),
            9 => self.aliased(
                "regexp_matches('x', 'x')",
                "regexp_matches",
                false,
                vec!["regexp_matches".to_owned()],
            ),
            10 => {
                self.aliased("current_date", "\"current_date\"", false, vec!["\"current_date\"".to_owned()])
            }
            11 => self.aliased("CAST('x' AS text)", "text", false, vec!["text".to_owned()]),
            12 => self.aliased(
                &format!("jsonb_array_elements_text('[]'){ordinality}"),
                "jsonb_array_elements_text",
                false,
                vec!["jsonb_array_elements_text".to_owned()],
            ),
            _ => self.aliased(&format!("lower('x'){ordinality}"), "lower", false, vec!["lower".to_owned()]),
        }
    }

    fn join(&mut self) -> String {
        let (left, right) = (self.item(true), self.item(false));
        let kind = self.of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let text = match self.below(4) {
            0 => format!("{left} NATURAL {kind} {right}"),
            1 => {
                let count = 1 + self.below(2);
                let names = self.names(count);
                let alias = if self.major >= 14 && self.chance(30) { " AS uu" } else { "" };
                format!("{left} {kind} {right} USING ({names}){alias}")
            }
            _ => format!("{left} {kind} {right} ON true"),
        };
        if self.chance(30) {
            let alias = self.of(&ALIASES);
            let names = if self.chance(40) { format!("({})", self.names(2)) } else { String::new() };
            if let Some(level) = self.levels.last_mut() {
                level.push(Item { name: alias.to_owned(), columns: Vec::new() });
            }
            return format!("({text}) AS {alias}{names}");
        }
        format!("({text})")
    }

    fn column(&mut self) -> String {
        let known: Vec<String> = self
            .levels
            .iter()
            .flatten()
            .flat_map(|item| item.columns.iter().flat_map(|c| [c.clone(), format!("{}.{c}", item.name)]))
            .collect();
        match self.below(10) {
            0..7 if !known.is_empty() => {
                let at = self.below(known.len());
                known[at].clone()
            }
            0..8 => self.of(&NAMES).to_owned(),
            8 => format!("{}.{}", self.item_name(), self.of(&NAMES)),
            _ => format!(
                "app.{}.{}",
                self.of(&["documents", "customers"]),
                self.of(&["id", "title", "name", "meta"])
            ),
        }
    }

    fn scalar_query(&mut self) -> String {
        let (query, _) = self.query(Some(1));
        format!("({query} LIMIT 1)")
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.chance(45) {
            return match self.below(8) {
                0 => self.of(&["5", "7.5", "'x'", "true", "NULL", "5000000000"]).to_owned(),
                _ => self.column(),
            };
        }
        let inner = |maker: &mut Self| maker.expression(depth - 1);
        match self.below(22) {
            0 => format!("{}::text", inner(self)),
            1 => format!("'5'::text::{}", self.of(&["int4", "numeric", "varchar"])),
            2 => format!("CASE WHEN true THEN {} ELSE {} END", inner(self), inner(self)),
            3 => format!("CASE WHEN true THEN {} ELSE NULL::text END", inner(self)),
            4 => format!("coalesce({}, {})", inner(self), inner(self)),
            5 => format!("nullif({}, {})", inner(self), inner(self)),
            6 => format!("ARRAY[{}]", inner(self)),
            7 => format!("(ARRAY[{}])[1]", inner(self)),
            8 | 9 if self.budget > 0 => self.scalar_query(),
            10 if self.budget > 0 => format!("EXISTS {}", self.scalar_query()),
            11 if self.budget > 0 => format!("ARRAY{}", self.scalar_query()),
            12 => format!("lower({})", inner(self)),
            13 => format!("greatest({}, {})", inner(self), inner(self)),
            14 => format!("ROW({}, 1)", inner(self)),
            15 => format!("{} IS NULL", inner(self)),
            16 => format!("({} + 1)", inner(self)),
            17 => format!("({}).title", self.item_name()),
            18 => self.item_name(),
            19 => format!("{} IN ({}, {})", inner(self), inner(self), inner(self)),
            20 => format!("({} || 'x')", inner(self)),
            _ => format!("{}::text::varchar(7)", inner(self)),
        }
    }
}

fn set_of(table: &str) -> &'static str {
    match table {
        "documents" => "title = 'x'",
        "document_pages" => "content = 'x'",
        _ => "name = 'x'",
    }
}

fn columns_of(relation: &str) -> Vec<String> {
    let columns: &[&str] = match relation.trim_start_matches("app.") {
        "documents" => &["tenant_id", "id", "customer_id", "template_id", "title", "body", "status"],
        "customers" => &["tenant_id", "id", "email", "name"],
        "document_pages" => &["document_id", "page_no", "content"],
        "countries" => &["code", "name", "vat"],
        "settings" => &["tenant_id", "key", "value"],
        "events" => &["tenant_id", "id", "at", "kind", "payload"],
        "templates" => &["tenant_id", "id", "name", "lang"],
        _ => &["id", "title"],
    };
    columns.iter().map(|column| (*column).to_owned()).collect()
}
