//! Loads by chance.

use std::fmt::Write as _;

use super::Load;

/// A generator of loads: xorshift64*.
pub(super) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// The rows in pieces of any length.
    pub fn pieces(&mut self, rows: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let length = match self.below(4) {
                0 => 1,
                1 => 1 + self.below(8),
                _ => rest.len(),
            };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces
    }

    /// A load that the major understands.
    pub fn load(&mut self, major: u32) -> Load {
        let inserted = self.below(4) == 0;
        let (table, columns, width, tenant) = match (inserted, self.below(3)) {
            (true, 0) => ("loads_of_documents", "", 3, None),
            (true, _) => ("loads_of_documents", "(b, document_id)", 2, None),
            (false, 0) => ("loads", "", 4, Some(1)),
            (false, 1) => ("loads", "(b, tenant_id)", 2, Some(1)),
            (false, _) => ("loads", "(b, a)", 2, None),
        };
        let csv = self.below(2) == 0;
        let mut options = String::from(if csv { "(format csv" } else { "(format text" });
        let delimiter = if csv { self.one(&[",", ";", "1"]) } else { self.one(&["\t", "|", ";"]) };
        let (mut quote, mut escape) = ("\"", "\"");
        let _ = write!(options, ", delimiter '{delimiter}'");
        if csv && self.below(2) == 0 {
            (quote, escape) = self.one(&[("\"", "\\"), ("^", "^"), ("^", "!")]);
            let _ = write!(options, ", quote '{quote}', escape '{escape}'");
        }
        if self.below(3) == 0 {
            let null = self.one(&["NULL", "1x", ""]);
            let _ = write!(options, ", null '{null}'");
            if csv && self.below(2) == 0 {
                options.push_str(self.one(&[", force_null (b)", ", force_not_null (b)"]));
            }
        }
        if self.below(4) == 0 && (csv || major >= 15) {
            options.push_str(", header");
        }
        options.push(')');
        let end = self.one(&["\n", "\n", "\r\n", "\r"]);
        let mut rows = String::new();
        for _ in 0..self.below(6) {
            let width = if self.below(30) == 0 { 1 + self.below(5) } else { width };
            for column in 0..width {
                if column > 0 {
                    rows.push_str(delimiter);
                }
                let field = self.field(table, columns, column, tenant);
                if csv && self.below(3) == 0 {
                    let doubled = field.replace(escape, &escape.repeat(2));
                    let doubled = if quote == escape {
                        doubled
                    } else {
                        doubled.replace(quote, &format!("{escape}{quote}"))
                    };
                    let _ = write!(rows, "{quote}{doubled}{quote}");
                } else {
                    rows.push_str(&field);
                }
            }
            rows.push_str(if self.below(40) == 0 { "\n" } else { end });
        }
        if self.below(6) == 0 {
            rows.push_str(self.one(&["\\.", "\\.\n", "\\.\r\n", "\\", "\"", "x\\.\n"]));
            rows.push_str(end);
        }
        let extended = self.below(3) == 0;
        Load { table, columns, options, rows: rows.into_bytes(), extended }
    }

    fn field(&mut self, table: &str, columns: &str, column: usize, tenant: Option<usize>) -> String {
        let odd = self.below(12) == 0;
        let text = [
            "x", "", "a b", "\\N", "NULL", "1x", "\\t", "\\\\", "\\x41", "\"", "^", "!", "\\.", "é", "\\",
            "a\nb", "\r",
        ];
        let kind = match (table, columns, column) {
            _ if odd => "text",
            (_, _, column) if Some(column) == tenant => "tenant",
            ("loads_of_documents", "", 0) | ("loads_of_documents", "(b, document_id)", 1) => "document",
            ("loads_of_documents", "", 2) | ("loads", "", 0) | ("loads", "(b, a)", 1) => "number",
            ("loads", "", 3) => "array",
            _ => "text",
        };
        match kind {
            "tenant" => {
                self.one(&["1", "1", "1", "1", "1", "1", "1", "1", " 1", "01", "2", "\\x31", "\\N", "x"])
            }
            "document" => self.one(&["1111001", "1111002", "1111003", "1111040", "1111005", "2222001", "5"]),
            "number" => self.one(&["1", "20", "-3", "\\N"]),
            "array" => self.one(&["{}", "{a}", "\\N"]),
            _ => self.one(&text),
        }
        .to_owned()
    }
}
