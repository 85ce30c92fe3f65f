//! COPY's options: an allow-list by name, old syntax and new. The server judges them again, since they are sent as
//! they are; what is read here holds for those that it accepts.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, Node};

use super::super::build;
use super::super::refusals::unsupported;
use super::values::{boolean, is_match, printable, refused, word};
use super::{Columns, Form, Format, Header};
use crate::policy::{Refusal, Rule, SqlState};

pub(super) const RULE: Rule = Rule("copy");

/// The first major whose CSV has no end marker.
const NO_CSV_MARKER: u32 = 180_000;

/// What a COPY FROM was asked for.
pub(in crate::sql) struct Choices {
    pub form: Form,
    /// ON_ERROR ignore: rows whose values are malformed are left out.
    pub skips_errors: bool,
    /// FREEZE: the server wants a table that the same transaction made or emptied.
    pub freezes: bool,
}

/// Reads the options of a COPY FROM.
pub(in crate::sql) fn form(options: &[Node], server_version_num: u32) -> Result<Choices, Refusal> {
    printable(options)?;
    let major = server_version_num / 10_000;
    let mut given = Given::default();
    for option in options {
        if let Some(NodeEnum::DefElem(option)) = &option.node {
            given.take(option, major)?;
        }
    }
    let format = given.format.unwrap_or(Format::Text);
    let csv = format == Format::Csv;
    let quote = given.quote.unwrap_or(b'"');
    let null = given.null.unwrap_or_else(|| Box::from(if csv { &b""[..] } else { &b"\\N"[..] }));
    let form = Form {
        format,
        delimiter: given.delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
        quote,
        escape: given.escape.unwrap_or(quote),
        null,
        default: given.default,
        header: given.header,
        force_not_null: given.force_not_null,
        force_null: given.force_null,
        csv_marker: server_version_num < NO_CSV_MARKER,
    };
    let fits = compatible(&form, &given.seen, given.skips_errors, major).and_then(|()| check(&form));
    if let Err(refusal) = fits {
        recognised(options, server_version_num)?;
        return Err(refusal);
    }
    Ok(Choices { form, skips_errors: given.skips_errors, freezes: given.freezes })
}

/// Refuses with 42601 what the server would not know as an option.
pub(in crate::sql) fn recognised(options: &[Node], server_version_num: u32) -> Result<(), Refusal> {
    let since = |option: &str| match option {
        "default" => 16,
        "on_error" | "log_verbosity" => 17,
        "reject_limit" => 18,
        _ => 0,
    };
    for option in options {
        if let Some(NodeEnum::DefElem(option)) = &option.node
            && since(&option.defname) > server_version_num / 10_000
        {
            let message = format!("option \"{}\" not recognized", option.defname);
            return Err(Refusal::new(SqlState::SYNTAX, RULE, message).at(option.location));
        }
    }
    Ok(())
}

/// Characters that would take part in more than one rule of the format are refused, beyond those that PostgreSQL
/// refuses.
fn check(form: &Form) -> Result<(), Refusal> {
    let plain = |c: u8| c.is_ascii() && !matches!(c, b'\n' | b'\r' | b'\0' | b'\\' | b'.');
    let fine = match form.format {
        Format::Text => plain(form.delimiter) && !form.delimiter.is_ascii_alphanumeric(),
        Format::Csv => {
            let escape_fits = plain(form.escape) || form.escape == b'\\';
            plain(form.delimiter) && plain(form.quote) && escape_fits && form.delimiter != form.escape
        }
        Format::Binary => true,
    };
    if fine {
        return Ok(());
    }
    Err(unsupported("COPY with this delimiter, quote or escape", -1))
}

/// Options that exclude each other, in the order and with the codes of `ProcessCopyOptions` (copy.c): where the rows
/// are inserted, the server does not see them.
fn compatible(form: &Form, seen: &[String], skips_errors: bool, major: u32) -> Result<(), Refusal> {
    let has = |name: &str| seen.iter().any(|seen| seen == name);
    let refuse = |state, message: &str| Err(Refusal::new(state, RULE, message));
    let (binary, csv) = (form.format == Format::Binary, form.format == Format::Csv);
    let text_only = ["delimiter", "null", "default"];
    if let Some(name) = text_only.iter().find(|name| binary && has(name)) {
        let message = format!("cannot specify {} in BINARY mode", name.to_ascii_uppercase());
        return refuse(SqlState::SYNTAX, &message);
    }
    delimits(form)?;
    if binary && form.header != Header::No {
        return refuse(SqlState::NOT_SUPPORTED, "cannot specify HEADER in BINARY mode");
    }
    if form.header != Header::No && !csv && major < 15 {
        return refuse(SqlState::NOT_SUPPORTED, "COPY HEADER available only in CSV mode");
    }
    let only_csv = ["quote", "escape", "force_not_null", "force_null"];
    if let Some(name) = only_csv.iter().find(|name| !csv && has(name)) {
        return refuse(SqlState::NOT_SUPPORTED, &format!("COPY {name} available only in CSV mode"));
    }
    if csv && form.delimiter == form.quote {
        return refuse(SqlState::INVALID_PARAMETER, "COPY delimiter and quote must be different");
    }
    if !binary {
        markers(form, major)?;
    }
    if skips_errors && binary {
        return refuse(SqlState::SYNTAX, "only ON_ERROR STOP is allowed in BINARY mode");
    }
    if has("reject_limit") && !skips_errors && major >= 18 {
        let message = "COPY REJECT_LIMIT requires ON_ERROR to be set to IGNORE";
        return refuse(SqlState::INVALID_PARAMETER, message);
    }
    Ok(())
}

/// The delimiter by itself.
fn delimits(form: &Form) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::new(SqlState::INVALID_PARAMETER, RULE, message));
    match form.delimiter {
        b'\n' | b'\r' => refuse("COPY delimiter cannot be newline or carriage return"),
        c @ (b'\\' | b'.' | b'a'..=b'z' | b'0'..=b'9') if form.format == Format::Text => {
            refuse(&format!("COPY delimiter cannot be \"{}\"", char::from(c)))
        }
        _ => Ok(()),
    }
}

/// What stands for NULL and for a default holds neither delimiter nor quote.
fn markers(form: &Form, major: u32) -> Result<(), Refusal> {
    let of_null = if major < 17 { SqlState::NOT_SUPPORTED } else { SqlState::INVALID_PARAMETER };
    let markers =
        [("NULL", Some(&form.null), of_null), ("DEFAULT", form.default.as_ref(), SqlState::NOT_SUPPORTED)];
    let markers = markers.iter().filter_map(|(name, marker, state)| Some((name, (*marker)?, *state)));
    for (name, marker, state) in markers {
        let refuse = |what| {
            let message = format!("{what} must not appear in the {name} specification");
            Err(Refusal::new(state, RULE, message))
        };
        if marker.contains(&form.delimiter) {
            return refuse("COPY delimiter");
        }
        if form.format == Format::Csv && marker.contains(&form.quote) {
            return refuse("CSV quote character");
        }
    }
    if form.default.as_ref() == Some(&form.null) {
        let message = "NULL specification and DEFAULT specification cannot be the same";
        return Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message));
    }
    Ok(())
}

struct Given {
    format: Option<Format>,
    delimiter: Option<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
    null: Option<Box<[u8]>>,
    default: Option<Box<[u8]>>,
    header: Header,
    force_not_null: Columns,
    force_null: Columns,
    skips_errors: bool,
    freezes: bool,
    seen: Vec<String>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            format: None,
            delimiter: None,
            quote: None,
            escape: None,
            null: None,
            default: None,
            header: Header::No,
            force_not_null: Columns::Named(Vec::new()),
            force_null: Columns::Named(Vec::new()),
            skips_errors: false,
            freezes: false,
            seen: Vec::new(),
        }
    }
}

impl Given {
    fn take(&mut self, option: &DefElem, major: u32) -> Result<(), Refusal> {
        if self.seen.contains(&option.defname) {
            let message = "conflicting or redundant options";
            return Err(Refusal::new(SqlState::SYNTAX, RULE, message).at(option.location));
        }
        self.seen.push(option.defname.clone());
        let word = || word(option).map(|word| word.to_ascii_lowercase());
        match option.defname.as_str() {
            "format" => {
                self.format = Some(match word().as_deref() {
                    Some("text") => Format::Text,
                    Some("csv") => Format::Csv,
                    Some("binary") => Format::Binary,
                    _ => return Err(wrong(option, SqlState::INVALID_PARAMETER)),
                });
            }
            "delimiter" => self.delimiter = Some(one_byte(option)?),
            "quote" => self.quote = Some(one_byte(option)?),
            "escape" => self.escape = Some(one_byte(option)?),
            "null" => self.null = Some(marker(option)?),
            "default" => self.default = Some(marker(option)?),
            "header" => {
                self.header = match (boolean(option), word().as_deref()) {
                    (Some(true), _) => Header::Skip,
                    (Some(false), _) => Header::No,
                    (None, Some(word)) if is_match(word) && major >= 15 => Header::Match,
                    _ => return Err(wrong(option, SqlState::SYNTAX)),
                };
            }
            "force_not_null" => self.force_not_null = columns(option)?,
            "force_null" => self.force_null = columns(option)?,
            "encoding" => {
                if !matches!(word().as_deref(), Some("utf8" | "utf-8")) {
                    return Err(unsupported("COPY in an encoding other than UTF8", option.location));
                }
            }
            "freeze" => {
                self.freezes = match boolean(option) {
                    Some(freezes) => freezes,
                    None => return Err(wrong(option, SqlState::SYNTAX)),
                };
            }
            "on_error" => match word().as_deref() {
                Some("stop") => {}
                Some("ignore") => self.skips_errors = true,
                _ => return Err(wrong(option, SqlState::INVALID_PARAMETER)),
            },
            "reject_limit" => {}
            // Verbose notices quote rows.
            "log_verbosity" => {
                if !matches!(word().as_deref(), Some("default" | "silent")) {
                    return Err(refused(option));
                }
            }
            _ => return Err(refused(option)),
        }
        Ok(())
    }
}

/// A word that the option does not have.
fn wrong(option: &DefElem, state: SqlState) -> Refusal {
    let message = format!("COPY's option {} has no such value", option.defname);
    Refusal::new(state, RULE, message).at(option.location)
}

fn string(option: &DefElem) -> Result<&str, Refusal> {
    match option.arg.as_deref().map(|arg| &arg.node) {
        Some(Some(NodeEnum::String(value))) => Ok(&value.sval),
        _ => Err(refused(option)),
    }
}

fn one_byte(option: &DefElem) -> Result<u8, Refusal> {
    match string(option)?.as_bytes() {
        [byte] => Ok(*byte),
        _ => {
            let message = format!("COPY {} must be a single one-byte character", option.defname);
            Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message).at(option.location))
        }
    }
}

fn marker(option: &DefElem) -> Result<Box<[u8]>, Refusal> {
    let text = string(option)?;
    if text.contains(['\n', '\r']) {
        let message = format!("COPY {} cannot use newline or carriage return", option.defname);
        return Err(Refusal::new(SqlState::INVALID_PARAMETER, RULE, message).at(option.location));
    }
    Ok(text.as_bytes().into())
}

fn columns(option: &DefElem) -> Result<Columns, Refusal> {
    match option.arg.as_deref().map(|arg| &arg.node) {
        Some(Some(NodeEnum::AStar(_))) => Ok(Columns::All),
        Some(Some(NodeEnum::List(list))) => {
            let names = build::names(&list.items).ok_or_else(|| refused(option))?;
            Ok(Columns::Named(names.into_iter().map(str::to_owned).collect()))
        }
        _ => Err(refused(option)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::parse_one;

    /// What each of these majors says, as it does itself: copy.c of 14.23, 16.14, 17.10, 18.4.
    #[test]
    fn options_are_refused_as_the_connected_major_does() {
        let cases: [(&str, [&str; 4]); 23] = [
            ("format binary, header", ["0A000"; 4]),
            ("format binary, delimiter ','", ["42601"; 4]),
            ("format binary, quote 'x'", ["0A000"; 4]),
            ("format text, force_null (a)", ["0A000"; 4]),
            ("format text, header", ["0A000", "", "", ""]),
            ("format csv, header match", ["42601", "", "", ""]),
            ("format csv, header sometimes", ["42601"; 4]),
            ("freeze, header off", [""; 4]),
            ("freeze 'ON'", [""; 4]),
            ("freeze sometimes", ["42601"; 4]),
            ("freeze 2", ["42601"; 4]),
            ("format csv, quote 'xx'", ["0A000"; 4]),
            ("format csv, quote ','", ["22023"; 4]),
            ("format csv, null 'a,b'", ["0A000", "0A000", "22023", "22023"]),
            ("format csv, null 'a\"b'", ["0A000", "0A000", "22023", "22023"]),
            ("format csv, default 'a,b'", ["42601", "0A000", "0A000", "0A000"]),
            ("default '', null ''", ["42601", "0A000", "0A000", "0A000"]),
            ("delimiter 'a'", ["22023"; 4]),
            ("delimiter E'\\n'", ["22023"; 4]),
            ("format nonsense", ["22023"; 4]),
            ("on_error ignore", ["42601", "42601", "", ""]),
            ("format binary, on_error ignore", ["42601"; 4]),
            ("reject_limit 3", ["42601", "42601", "42601", "22023"]),
        ];
        for (options, states) in cases {
            let statement = parse_one(&format!("COPY t FROM STDIN ({options})")).map(|s| s.node);
            let Ok(Some(NodeEnum::CopyStmt(copy))) = statement else { panic!("{options}") };
            for (major, state) in [14, 16, 17, 18].into_iter().zip(states) {
                let known = form(&copy.options, major * 10_000)
                    .and_then(|_| recognised(&copy.options, major * 10_000));
                let refusal = known.err();
                let found = refusal.as_ref().map_or("", |r| r.state.0);
                assert_eq!(found, state, "{options} on {major}: {refusal:?}");
            }
        }
    }
}
