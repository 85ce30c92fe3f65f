//! Rows as values: of a relation, of a derived table, taken apart again.

use super::maker::Maker;
use super::schema::Ty;

impl Maker {
    /// An expression over the whole row of an item that is in sight.
    pub fn of_row(&mut self, ty: Ty) -> Option<String> {
        let rows = self.visible_items(|i| i.has_row);
        if rows.is_empty() {
            return None;
        }
        let row = self.rng.pick(&rows).clone();
        Some(match ty {
            Ty::Text => match self.rng.below(3) {
                0 => format!("left({row}::text, 9)"),
                1 => format!("left(row_to_json({row})::text, 9)"),
                _ => format!("left(ROW({row}.*)::text, 9)"),
            },
            Ty::Json => format!("to_jsonb({row})"),
            Ty::Int => format!("num_nulls({row})"),
            _ => return None,
        })
    }

    /// A condition that compares rows.
    pub fn row_condition(&mut self) -> Option<String> {
        let rows = self.visible_items(|i| i.has_row);
        if rows.is_empty() {
            return None;
        }
        let row = self.rng.pick(&rows).clone();
        Some(match self.rng.below(4) {
            // Rows of two relations cannot be compared, and whether that is tried is the planner's choice.
            0 => format!("{row} IS DISTINCT FROM {row}"),
            1 => format!("({row} IS NULL) IS NOT TRUE"),
            2 => format!("{row}::text = {}::text", self.rng.pick(&rows).clone()),
            _ => format!("to_jsonb({row}) @> '{{}}'"),
        })
    }
}
