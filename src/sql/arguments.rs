//! What arguments say before they are evaluated: constants, parameters, and names in literals.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};

use super::build;

/// A string constant and its place.
pub(in crate::sql) fn string_constant(node: &Node) -> Option<(String, i32)> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Sval(text)) => Some((text.sval.clone(), constant.location)),
            _ => None,
        },
        Some(NodeEnum::TypeCast(cast)) => {
            let name = cast.type_name.as_ref().and_then(|t| build::names(&t.names))?;
            let is_text =
                matches!(name.as_slice(), ["text"] | ["pg_catalog", "text" | "varchar"] | ["varchar"]);
            if is_text { string_constant(cast.arg.as_ref()?) } else { None }
        }
        _ => None,
    }
}

/// A parameter, also with a cast: what is checked is the value as the client gives it, whose text a cast to text or
/// boolean leaves as it is.
pub(in crate::sql) fn parameter_argument(node: &Node) -> Option<u16> {
    match &node.node {
        Some(NodeEnum::ParamRef(parameter)) => u16::try_from(parameter.number).ok(),
        Some(NodeEnum::TypeCast(cast)) => {
            let name = cast.type_name.as_ref().and_then(|t| build::names(&t.names))?;
            let keeps = matches!(name.last(), Some(&("text" | "varchar" | "bool")));
            let plain =
                cast.type_name.as_ref().is_some_and(|t| t.typmods.is_empty() && t.array_bounds.is_empty());
            if keeps && plain { parameter_argument(cast.arg.as_ref()?) } else { None }
        }
        _ => None,
    }
}

/// A boolean constant, also as a text that is cast.
pub(in crate::sql) fn boolean_constant(node: &Node) -> Option<bool> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Boolval(value)) => Some(value.boolval),
            _ => None,
        },
        Some(NodeEnum::TypeCast(cast)) => {
            let name = cast.type_name.as_ref().and_then(|t| build::names(&t.names))?;
            let (text, _) = string_constant(cast.arg.as_ref()?)?;
            match (name.last(), text.as_str()) {
                (Some(&"bool"), "t" | "true") => Some(true),
                (Some(&"bool"), "f" | "false") => Some(false),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `stringToQualifiedNameList`: dot-separated identifiers, folded where they are not quoted.
pub(in crate::sql) fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_identifier(quoted)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (part, after) = rest.split_at_checked(end)?;
                let part = part.trim();
                if part.is_empty() || part.contains(['"', ' ']) {
                    return None;
                }
                (part.to_ascii_lowercase(), after)
            }
        };
        parts.push(part);
        let after = after.trim_start();
        match after.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

fn quoted_identifier(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if matches!(chars.peek(), Some((_, '"'))) {
            chars.next();
            name.push('"');
        } else {
            return Some((name, text.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::identifiers;

    #[test]
    fn names_in_literals_are_split_as_postgresql_does() {
        let parts = |text| identifiers(text);
        assert_eq!(parts("App.Documents"), Some(vec!["app".into(), "documents".into()]));
        assert_eq!(parts("\"Odd \"\"x\".y"), Some(vec!["Odd \"x".into(), "y".into()]));
        assert_eq!(parts("a.\"b"), None);
        assert_eq!(parts("a b"), None);
        assert_eq!(parts(""), None);
    }
}
