//! Names, operators, constants and types.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, Node, TypeName, a_const::Val};

use super::Printer;
use super::keywords::KEYWORDS;

/// The text of a string node.
pub(super) fn text_of(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(text)) => Some(&text.sval),
        _ => None,
    }
}

/// Whether a name needs no quotes: PostgreSQL's `quote_identifier`.
pub(super) fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| matches!(first, b'a'..=b'z' | b'_'))
        && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && KEYWORDS.binary_search(&name).is_err()
}

impl Printer {
    /// A name, in quotes where it needs them.
    pub(super) fn name(&mut self, name: &str) {
        if is_plain(name) {
            self.put(name);
        } else {
            self.text.push('"');
            self.doubling(name, '"');
            self.text.push('"');
        }
    }

    pub(super) fn name_of(&mut self, node: &Node) -> Option<()> {
        self.name(text_of(node)?);
        Some(())
    }

    /// A name of several parts.
    pub(super) fn qualified(&mut self, parts: &[Node]) -> Option<()> {
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                self.put(".");
            }
            self.name_of(part)?;
        }
        Some(())
    }

    fn doubling(&mut self, text: &str, doubled: char) {
        for (place, part) in text.split(doubled).enumerate() {
            if place > 0 {
                self.text.extend([doubled, doubled]);
            }
            self.put(part);
        }
    }

    /// An operator, with its schema where it has one.
    pub(super) fn operator(&mut self, name: &[Node]) -> Option<()> {
        match name {
            [only] if is_operator(text_of(only)?) => self.put(text_of(only)?),
            [schema, operator] => {
                self.put("OPERATOR(");
                self.name_of(schema)?;
                self.put(".");
                self.put(text_of(operator)?);
                self.put(")");
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn constant(&mut self, constant: &AConst) -> Option<()> {
        let AConst { isnull, location: _, val } = constant;
        if *isnull {
            self.put("NULL");
            return Some(());
        }
        match val.as_ref()? {
            Val::Ival(number) => self.number(number.ival),
            Val::Fval(number) => self.put(&number.fval),
            Val::Boolval(value) => self.put(if value.boolval { "true" } else { "false" }),
            Val::Sval(text) => self.string(&text.sval),
            Val::Bsval(bits) => {
                let digits = bits.bsval.get(1..)?;
                self.put(bits.bsval.get(..1).filter(|base| matches!(*base, "b" | "x"))?);
                self.string(digits);
            }
        }
        Some(())
    }

    fn string(&mut self, text: &str) {
        let escapes = text.contains('\\');
        self.put(if escapes { "E'" } else { "'" });
        if escapes {
            self.doubling(&text.replace('\\', "\\\\"), '\'');
        } else {
            self.doubling(text, '\'');
        }
        self.put("'");
    }

    pub(super) fn number(&mut self, number: i32) {
        self.put(&number.to_string());
    }

    /// A type's name. Modifiers of INTERVAL and of types with a time zone are left to pg_query.
    pub(super) fn type_name(&mut self, type_name: &TypeName) -> Option<()> {
        let TypeName {
            names,
            type_oid: _,
            setof: false,
            pct_type: false,
            typmods,
            typemod: _,
            array_bounds,
            location: _,
        } = type_name
        else {
            return None;
        };
        match names.as_slice() {
            [schema, name] if text_of(schema) == Some("pg_catalog") => {
                let name = text_of(name)?;
                let own_modifiers = matches!(name, "interval" | "timetz" | "timestamptz");
                if own_modifiers && !typmods.is_empty() {
                    return None;
                }
                self.built_in(name)?;
            }
            names => self.qualified(names)?,
        }
        if !typmods.is_empty() {
            self.put("(");
            self.list(typmods, |printer, modifier| match modifier.node.as_ref()? {
                NodeEnum::AConst(constant) => printer.constant(constant),
                _ => None,
            })?;
            self.put(")");
        }
        for bound in array_bounds {
            let NodeEnum::Integer(bound) = bound.node.as_ref()? else { return None };
            self.put("[");
            if bound.ival != -1 {
                self.number(bound.ival);
            }
            self.put("]");
        }
        Some(())
    }

    /// A type of pg_catalog by the name that the grammar has for it.
    fn built_in(&mut self, name: &str) -> Option<()> {
        let written = match name {
            "bpchar" => "char",
            "bool" => "boolean",
            "int2" => "smallint",
            "int4" => "int",
            "int8" => "bigint",
            "float4" => "real",
            "float8" => "double precision",
            "timetz" => "time with time zone",
            "timestamptz" => "timestamp with time zone",
            "real" | "varchar" | "numeric" | "time" | "timestamp" | "interval" => name,
            // pg_query does not quote it.
            other if is_plain(other) => {
                self.put("pg_catalog.");
                other
            }
            _ => return None,
        };
        self.put(written);
        Some(())
    }
}

fn is_operator(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| b"~!@#^&|`?+-*/%<>=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_capitals_need_quotes() {
        for name in ["select", "user", "between", "A", "a b", "1a", "", "ü", "a$"] {
            assert!(!is_plain(name), "{name}");
        }
        for name in ["a", "_1", "documents", "tenant_id", "name", "value"] {
            assert!(is_plain(name), "{name}");
        }
    }
}
