//! Functions in FROM that make columns of a document or a list: JSON_TABLE, XMLTABLE, records with a column list.

use super::maker::{Col, Item, Level, Maker};
use super::schema::{Ty, Values};

impl Maker {
    /// An item over a column of what stands left of it; nothing where there is none that fits.
    pub fn document_item(&mut self, left: &Level) -> Option<(String, Item)> {
        self.levels.push(left.clone());
        let json = self.column(|c| c.values == Values::Object("k")).map(|(name, _)| name);
        let tags = self.column(|c| c.ty == Ty::Texts).map(|(name, _)| name);
        let text = self.column(|c| c.ty == Ty::Text).map(|(name, _)| name);
        let tenant = self.column(|c| c.values == Values::Tenant).map(|(name, _)| name);
        self.levels.pop();
        let alias = self.alias();
        let lateral = if self.rng.chance(30) { "LATERAL " } else { "" };
        let (call, columns): (String, &[(&str, Ty)]) = match self.rng.below(7) {
            0 if self.major >= 17 => {
                let on_error = *self.rng.pick(&["", " ERROR ON ERROR"]);
                let path = *self.rng.pick(&["$", "$ ? (@.k like_regex \"CANARY_A\")"]);
                (
                    format!(
                        "JSON_TABLE({}, '{path}' COLUMNS (o FOR ORDINALITY, k text PATH '$.k', n int PATH '$.n'){on_error}) AS {alias}",
                        json?
                    ),
                    &[("o", Ty::Int), ("k", Ty::Text), ("n", Ty::Int)],
                )
            }
            0 | 1 => (
                format!("{lateral}jsonb_to_record({}) AS {alias}(k text, n int)", json?),
                &[("k", Ty::Text), ("n", Ty::Int)],
            ),
            2 => (
                format!(
                    "XMLTABLE('/r/i' PASSING xmlparse(document '<r><i>' || 2 / ({} - 2) || '</i></r>') COLUMNS v int PATH '.', w text PATH '@a' DEFAULT 'none') AS {alias}",
                    tenant?
                ),
                &[("v", Ty::Int), ("w", Ty::Text)],
            ),
            3 => (
                format!("{lateral}unnest({0}, ARRAY[1, 1 / ({1} - 2)]) AS {alias}(v, w)", tags?, tenant?),
                &[("v", Ty::Text), ("w", Ty::Int)],
            ),
            4 => (format!("{lateral}string_to_table({}, ' ') AS {alias}(v)", text?), &[("v", Ty::Text)]),
            5 => (format!("{lateral}echo({}) AS {alias}(v)", text?), &[("v", Ty::Text)]),
            _ => (format!("{lateral}upper({}) AS {alias}(v)", text?), &[("v", Ty::Text)]),
        };
        let columns =
            columns.iter().map(|(name, ty)| Col { name: (*name).into(), ty: *ty, values: Values::Unknown });
        Some((call, Item { alias, columns: columns.collect(), table: None, has_row: false, plain: false }))
    }
}
