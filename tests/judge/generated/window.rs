//! Window functions whose values do not depend on how ties are broken; frames and named windows.

use super::maker::Maker;
use super::schema::Ty;

/// Frames that take peers together.
const FRAMES: [&str; 8] = [
    "",
    " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
    " GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING EXCLUDE TIES",
    " RANGE UNBOUNDED PRECEDING",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE GROUP",
    " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW",
    " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE NO OTHERS",
];

impl Maker {
    /// A WINDOW clause with its word, for the window `w`.
    pub fn window_clause(&mut self) -> String {
        format!(" WINDOW w AS ({})", self.window_order())
    }

    /// A call over a window: over `w` where there is one.
    pub fn window(&mut self, ty: Ty, named: bool) -> Option<String> {
        let was = std::mem::replace(&mut self.plain, true);
        let frame = *self.rng.pick(&FRAMES);
        let over = match named {
            true if self.rng.chance(50) => "OVER w".into(),
            true => format!("OVER (w{frame})"),
            false => format!("OVER ({}{frame})", self.window_order()),
        };
        let filter =
            if self.rng.chance(25) { format!("FILTER (WHERE {}) ", self.condition()) } else { String::new() };
        let made = match ty {
            Ty::Big if self.rng.chance(50) => {
                Some(format!("{}() {over}", self.rng.pick(&["rank", "dense_rank"]).to_owned()))
            }
            Ty::Big => Some(format!("count(*) {filter}{over}")),
            Ty::Int | Ty::Text | Ty::Num | Ty::Time => {
                Some(format!("max({}) {filter}{over}", self.expression(ty)))
            }
            _ => None,
        };
        self.plain = was;
        made
    }

    fn window_order(&mut self) -> String {
        let was = std::mem::replace(&mut self.plain, true);
        let (key, other) = (self.some_type(), self.some_type());
        let key = self.expression(key);
        let partition = if self.rng.chance(50) {
            format!("PARTITION BY {} ", self.expression(other))
        } else {
            String::new()
        };
        self.plain = was;
        format!("{partition}ORDER BY {key}")
    }
}
