//! MERGE.

use super::maker::{Col, Item, Level, Maker, scoped};
use super::schema::{Table, Ty};

impl Maker {
    /// A MERGE with arms of every kind.
    pub fn merge(&mut self) -> String {
        let table = loop {
            let table = self.target();
            if table.key.len() == 1 && !table.name.starts_with('"') && !table.name.starts_with("v_") {
                break table;
            }
        };
        let key = table.key[0];
        let text = self.open_target(table);
        let target = self.levels.last().map(|l| l.items[0].alias.clone()).unwrap_or_default();
        // A source in which each key stands once.
        let any = if self.rng.chance(35) { self.keys_of_any(table, key) } else { None };
        let (source, columns) = match (any, self.rng.below(3)) {
            (Some(any), _) => any,
            (None, 0) => {
                let columns: Vec<Col> = table.columns.iter().map(super::from::col).collect();
                (format!("{} AS src", self.relation_name(table)), columns)
            }
            (None, _) => {
                let condition = scoped(self, |maker| {
                    let item = Item {
                        alias: "z".into(),
                        columns: table.columns.iter().map(super::from::col).collect(),
                        table: Some(table),
                        has_row: true,
                        plain: false,
                    };
                    let was = std::mem::replace(
                        &mut maker.levels,
                        vec![Level { items: vec![item], ambiguous: Vec::new() }],
                    );
                    let condition = maker.condition();
                    maker.levels = was;
                    condition
                });
                let columns: Vec<Col> = table
                    .columns
                    .iter()
                    .filter(|c| c.name == key || c.name == "tenant_id")
                    .map(super::from::col)
                    .collect();
                let names: Vec<_> = columns.iter().map(|c| format!("z.{}", c.name)).collect();
                let union = match table.name {
                    "settings" => " UNION ALL SELECT 1, 'k77'",
                    _ => " UNION ALL SELECT 1, 7777777",
                };
                (
                    format!(
                        "(SELECT {} FROM app.{} z WHERE {condition}{union}) AS src",
                        names.join(", "),
                        table.name
                    ),
                    columns,
                )
            }
        };
        let source_item = Item { alias: "src".into(), columns, table: None, has_row: false, plain: false };
        let mut both = self.levels.pop().unwrap_or_default();
        let only_source = Level { items: vec![source_item.clone()], ambiguous: Vec::new() };
        both.items.push(source_item);
        self.levels.push(both);
        let on = match self.rng.below(10) {
            0..5 => self.leak().map_or(String::new(), |leak| format!(" AND ({leak})")),
            5..7 => format!(" AND ({})", self.condition()),
            _ => String::new(),
        };
        let mut arms = String::new();
        for _ in 0..1 + self.rng.below(2) {
            let condition =
                if self.rng.chance(60) { format!(" AND {}", self.condition()) } else { String::new() };
            let action = match self.rng.below(4) {
                0 => "DELETE".into(),
                1 => "DO NOTHING".into(),
                _ => self.update_action(table, &arms),
            };
            arms.push_str(&format!(" WHEN MATCHED{condition} THEN {action}"));
        }
        if self.major >= 17 && self.rng.chance(30) {
            let arm = self.not_in_source(table, &arms);
            arms.push_str(&arm);
        }
        self.levels.pop();
        self.levels.push(only_source);
        if self.rng.chance(60) {
            let condition = if self.rng.chance(40) {
                format!(" AND {}", self.leak().unwrap_or_else(|| "true".into()))
            } else {
                String::new()
            };
            let all: Vec<_> = table.columns.iter().filter(|c| c.ty != Ty::Search).collect();
            let names = all.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
            let values: Vec<_> = all
                .iter()
                .map(|c| {
                    if c.name == key {
                        format!("src.{key}")
                    } else {
                        self.new_value(table, c.name, c.ty, c.values, 7_654_321)
                    }
                })
                .collect();
            arms.push_str(&format!(
                " WHEN NOT MATCHED{condition} THEN INSERT ({names}) VALUES ({})",
                values.join(", ")
            ));
        }
        self.levels.pop();
        let returning = match self.major {
            17.. if self.rng.chance(30) => {
                let column = self.rng.pick(table.columns).name;
                let tested = self.rng.pick(table.columns).name;
                let old = if self.major >= 18 { *self.rng.pick(&["", "old.", "new."]) } else { "" };
                let row = if old.is_empty() { format!("{target}.") } else { old.to_owned() };
                format!(
                    " RETURNING merge_action(), {target}.{column} AS o1, src.{key} AS o2, \
                     CASE WHEN merge_action() <> 'INSERT' THEN {row}{tested}::text END AS o3"
                )
            }
            _ => String::new(),
        };
        format!("MERGE INTO {text} USING {source} ON {target}.{key} = src.{key}{on}{arms}{returning}")
    }

    /// PostgreSQL mixes up, or crashes over, rows of sub-selects that more than one arm assigns.
    fn update_action(&mut self, table: &'static Table, arms: &str) -> String {
        let row = ") = (SELECT ";
        match format!("UPDATE SET {}", self.assignments(table).0) {
            again if again.contains(row) && arms.contains(row) => "DO NOTHING".into(),
            action => action,
        }
    }

    /// An arm for the rows that the source has not; it sees the target alone.
    fn not_in_source(&mut self, table: &'static Table, arms: &str) -> String {
        let both = self.levels.pop().unwrap_or_default();
        let only = Level { items: both.items.iter().take(1).cloned().collect(), ambiguous: Vec::new() };
        self.levels.push(only);
        let condition = self.condition();
        let action = match self.rng.below(3) {
            0 => "DELETE".into(),
            1 => "DO NOTHING".into(),
            _ => self.update_action(table, arms),
        };
        self.levels.pop();
        self.levels.push(both);
        format!(" WHEN NOT MATCHED BY SOURCE AND {condition} THEN {action}")
    }
}
