//! Single values: each function says in its error what was expected.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::TenantId;
use crate::config::model::{Operation, QualifiedName};

/// Longest identifier that PostgreSQL keeps (`NAMEDATALEN - 1`).
const LONGEST_NAME: usize = 63;

/// A string.
pub(super) fn string(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| not("a string", value))
}

/// A string with something in it and no control characters.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let text = string(value)?;
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err("must not be empty or contain control characters".to_owned()),
        false => Ok(text),
    }
}

/// The name of one object of the server.
pub(super) fn identifier(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    match name.len() > LONGEST_NAME {
        true => Err(format!("is longer than {LONGEST_NAME} bytes")),
        false => Ok(name),
    }
}

/// `schema.name`; a part with a dot in it stands in double quotes.
pub(super) fn qualified(value: &DeValue<'_>) -> Result<QualifiedName, String> {
    let text = text(value)?;
    let wrong = || "expected schema.name, in double quotes a part that has a dot in it".to_owned();
    let (schema, rest) = part(&text).ok_or_else(wrong)?;
    let (name, rest) = rest.strip_prefix('.').and_then(part).ok_or_else(wrong)?;
    let fits = |part: &str| (1..=LONGEST_NAME).contains(&part.len());
    match rest.is_empty() && fits(&schema) && fits(&name) {
        true => Ok(QualifiedName { schema, name }),
        false => Err(wrong()),
    }
}

/// The first part of a dotted name, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    match text.strip_prefix('"') {
        None => {
            let end = text.find(['.', '"']).unwrap_or(text.len());
            let (part, rest) = text.split_at_checked(end)?;
            Some((part.to_owned(), rest))
        }
        Some(quoted) => {
            let (part, rest) = quoted.split_once('"')?;
            Some((part.to_owned(), rest))
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| not("true or false", value))
}

/// A whole number within bounds.
pub(super) fn number(least: usize, most: usize) -> impl Fn(&DeValue<'_>) -> Result<usize, String> {
    move |value| {
        let integer = value.as_integer().ok_or_else(|| not("a whole number", value))?;
        let number = usize::from_str_radix(integer.as_str(), integer.radix()).ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("must lie between {least} and {most}"))
    }
}

/// A TCP port.
pub(super) fn port(value: &DeValue<'_>) -> Result<u16, String> {
    let port = number(1, usize::from(u16::MAX))(value)?;
    u16::try_from(port).map_err(|_| "is no port".to_owned())
}

/// `"5s"`, `"250ms"`, `"1h 30m"`: at least a millisecond, at most a year.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let expected = || "expected a duration such as \"5s\", \"250ms\" or \"1h 30m\"".to_owned();
    let text = value.as_str().ok_or_else(expected)?;
    let signed: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    let duration = Duration::try_from(signed).map_err(|_| expected())?;
    let range = Duration::from_millis(1)..=Duration::from_secs(365 * 24 * 3600);
    match range.contains(&duration) {
        true => Ok(duration),
        false => Err("must lie between 1ms and a year".to_owned()),
    }
}

/// `"64MiB"`, or a number of bytes.
pub(super) fn size(least: usize, most: usize) -> impl Fn(&DeValue<'_>) -> Result<usize, String> {
    move |value| {
        let expected = || "expected a size such as \"64MiB\", \"512KiB\" or a number of bytes".to_owned();
        let bytes = match value.as_str() {
            None => number(least, most)(value).map_err(|error| match value.is_integer() {
                true => error,
                false => expected(),
            })?,
            Some(text) => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let (count, unit) = text.split_at_checked(digits).ok_or_else(expected)?;
                let unit: usize = match unit.trim_start() {
                    "" | "B" => 1,
                    "KiB" => 1 << 10,
                    "MiB" => 1 << 20,
                    "GiB" => 1 << 30,
                    _ => return Err(expected()),
                };
                let count: usize = count.parse().map_err(|_| expected())?;
                count.checked_mul(unit).ok_or_else(expected)?
            }
        };
        match (least..=most).contains(&bytes) {
            true => Ok(bytes),
            false => Err(format!("must lie between {least} and {most} bytes")),
        }
    }
}

/// `"127.0.0.1:6432"` or `"[::1]:6432"`.
pub(super) fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let expected = || "expected an address with its port, such as \"127.0.0.1:6432\"".to_owned();
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(expected)
}

/// A path of a file that need not exist.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

/// A path of a file that exists.
pub(super) fn existing_file(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = path(value)?;
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => Err(format!("{} is no file", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// A tenant's value.
pub(super) fn tenant(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or_else(|| format!("{} (write tenant = \"1\")", not("a string", value)))?;
    let expected = "a tenant is 1 to 128 bytes of printable ASCII without quotes, backslash and space";
    TenantId::new(text).map(|tenant| tenant.as_str().to_owned()).ok_or_else(|| expected.to_owned())
}

/// One of the names, each standing for a value.
pub(super) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let listed = || names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let text = value.as_str().ok_or_else(|| format!("expected one of {}", listed()))?;
        choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            match nearest(text, &names) {
                Some(near) => format!("\"{text}\" is none of {}; did you mean \"{near}\"?", listed()),
                None => format!("\"{text}\" is none of {}", listed()),
            }
        })
    }
}

/// What is done to a relation.
pub(super) fn operation(value: &DeValue<'_>) -> Result<Operation, String> {
    one_of(&[
        ("select", Operation::Select),
        ("insert", Operation::Insert),
        ("update", Operation::Update),
        ("delete", Operation::Delete),
    ])(value)
}

/// A list. One string stands for a list of what its commas separate, so that a variable can set it.
pub(super) fn list<T>(
    read: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> impl Fn(&DeValue<'_>) -> Result<Vec<T>, String> {
    move |value| match value {
        DeValue::Array(items) => items.iter().map(|item| read(item.get_ref())).collect(),
        DeValue::String(text) => {
            text.split(',').map(|item| read(&DeValue::String(item.trim().to_owned().into()))).collect()
        }
        other => Err(not("a list", other)),
    }
}

/// A list with something in it.
pub(super) fn filled<T>(
    read: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> impl Fn(&DeValue<'_>) -> Result<Vec<T>, String> {
    let list = list(read);
    move |value| match list(value)? {
        items if items.is_empty() => Err("must not be empty".to_owned()),
        items => Ok(items),
    }
}

/// `{ key = "value", … }` of names.
pub(super) fn pairs(value: &DeValue<'_>) -> Result<Vec<(String, String)>, String> {
    let expected = || "expected pairs of columns such as { document_id = \"id\" }".to_owned();
    let table = value.as_table().ok_or_else(expected)?;
    let pairs = table.iter().map(|(key, value)| {
        Ok((key.get_ref().clone().into_owned(), identifier(value.get_ref()).map_err(|_| expected())?))
    });
    match pairs.collect::<Result<Vec<_>, String>>()? {
        pairs if pairs.is_empty() => Err(expected()),
        pairs => Ok(pairs),
    }
}

fn not(expected: &str, value: &DeValue<'_>) -> String {
    format!("expected {expected}, found {}", value.type_str())
}

/// The known word that was probably meant: at most a third of the letters differ.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let most = (word.chars().count() / 3).max(1);
    let near = known.iter().map(|known| (distance(word, known), *known));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for (cb, (up_left, up)) in b.iter().zip(row.iter().zip(row.iter().skip(1))) {
            let left = next.last().copied().unwrap_or(0);
            let replaced = up_left.saturating_add(usize::from(ca != *cb));
            next.push(replaced.min(up.saturating_add(1)).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> DeValue<'_> {
        DeValue::String(text.into())
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration(&value("5s")), Ok(Duration::from_secs(5)));
        assert_eq!(duration(&value("250ms")), Ok(Duration::from_millis(250)));
        assert_eq!(duration(&value("1h 30m")), Ok(Duration::from_secs(5400)));
        for bad in ["", "5", "-5s", "0s", "5 lightyears", "400d", "s"] {
            assert!(duration(&value(bad)).is_err(), "{bad}");
        }
        assert!(duration(&DeValue::Boolean(true)).is_err());
    }

    #[test]
    fn sizes_have_binary_units() {
        let size = size(1, 1 << 40);
        assert_eq!(size(&value("64MiB")), Ok(64 << 20));
        assert_eq!(size(&value("1 KiB")), Ok(1024));
        assert_eq!(size(&value("17")), Ok(17));
        for bad in
            ["", "64Mib", "64MB", "MiB", "0", "-1", "99999999999999999999GiB", "18446744073709551615GiB"]
        {
            assert!(size(&value(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_have_a_schema() {
        let name = |schema: &str, name: &str| QualifiedName { schema: schema.into(), name: name.into() };
        assert_eq!(qualified(&value("app.documents")), Ok(name("app", "documents")));
        assert_eq!(qualified(&value("\"a.b\".\"c d\"")), Ok(name("a.b", "c d")));
        for bad in ["documents", "a.b.c", ".b", "a.", "\"a.b", "a.\"b\"c", "\"\".x", ""] {
            assert!(qualified(&value(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_word_is_a_near_one() {
        let known = ["listen", "pool_mode", "default_pool_size"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("defaultpoolsize", &known), Some("default_pool_size"));
        assert_eq!(nearest("banana", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
    }

    #[test]
    fn lists_can_come_from_a_variable() {
        let addresses = filled(address);
        assert_eq!(addresses(&value("127.0.0.1:1, [::1]:2")).map(|list| list.len()), Ok(2));
        assert!(addresses(&value("127.0.0.1")).is_err());
        assert!(addresses(&DeValue::Array(toml::de::DeArray::default())).is_err());
    }
}
