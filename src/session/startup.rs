//! What a client may say in its StartupMessage. Everything that is not on the list is refused by name.

use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::may_begin_with;

/// A StartupMessage that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Startup {
    /// `user`.
    pub user: String,
    /// `database`; the user's name without one.
    pub database: String,
    /// `options=-c pgbulkhead.tenant=…`.
    pub tenant: Option<String>,
    /// `application_name`, reported back to the client.
    pub application_name: String,
    /// Settings that differ from what server connections begin with, in order: to be planned as SET.
    pub settings: Vec<(String, String)>,
    /// The minor version that is spoken: 0, or 2.
    pub minor: u16,
    /// The client wants NegotiateProtocolVersion: it asked for another minor version or these options.
    pub negotiate: Option<Vec<String>>,
}

/// Protocol 3.2 is the latest: it has longer cancel keys.
const LATEST_MINOR: u16 = 2;
/// The setting whose value is a list of names.
const SEARCH_PATH: &str = "search_path";
/// Longest value of a setting.
const LONGEST_VALUE: usize = 256;

/// Reads the keys of a StartupMessage. Errors: 08P01 for a key that comes twice or is empty, 28000 without a
/// user, 0A000 or 22023 for a key or value that is not on the list.
pub fn read(minor: u16, parameters: &[(&str, &str)]) -> Result<Startup, Refusal> {
    let mut startup = Startup::default();
    let mut unsupported = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in parameters {
        if seen.iter().any(|earlier| earlier.eq_ignore_ascii_case(key)) {
            return Err(refuse(SqlState::PROTOCOL, format!("startup parameter {} comes twice", name(key))));
        }
        seen.push(key);
        match *key {
            "user" => (*value).clone_into(&mut startup.user),
            "database" => (*value).clone_into(&mut startup.database),
            "options" => options(value, &mut startup)?,
            "replication" => {
                return Err(refuse(SqlState::NOT_SUPPORTED, "startup parameter \"replication\" is refused"));
            }
            key if key.starts_with("_pq_.") => unsupported.push(key.to_owned()),
            key => setting(key, value, &mut startup)?,
        }
    }
    if startup.user.is_empty() {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(refuse(SqlState::NO_AUTHORIZATION, message));
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    // There never was a 3.1 (protocol, "Protocol Versions").
    startup.minor = if minor >= LATEST_MINOR { LATEST_MINOR } else { 0 };
    startup.negotiate = (minor != startup.minor || !unsupported.is_empty()).then_some(unsupported);
    Ok(startup)
}

/// The SET that a setting of a StartupMessage is.
pub fn as_set(name: &str, value: &str) -> String {
    let literal = |value: &str| format!("'{}'", value.replace('\'', "''"));
    let values = match name {
        SEARCH_PATH => names(value).iter().map(|name| literal(name)).collect::<Vec<_>>().join(", "),
        _ => literal(value),
    };
    format!("SET {name} TO {values}")
}

/// The names of a list, as the server reads it (`SplitIdentifierString`, utils/adt/varlena.c).
fn names(list: &str) -> Vec<String> {
    let (mut names, mut is_quoted) = (vec![String::new()], false);
    let mut characters = list.chars().peekable();
    while let Some(c) = characters.next() {
        let is_doubled = c == '"' && is_quoted && characters.next_if_eq(&'"').is_some();
        match c {
            '"' if !is_doubled => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(String::new()),
            c if c.is_whitespace() && !is_quoted => {}
            c => {
                let kept = if is_quoted { c } else { c.to_ascii_lowercase() };
                names.last_mut().into_iter().for_each(|name| name.push(kept));
            }
        }
    }
    names
}

fn setting(key: &str, value: &str, startup: &mut Startup) -> Result<(), Refusal> {
    let plain = value.len() <= LONGEST_VALUE && value.chars().all(|c| !c.is_control() && c != '\\');
    if !plain && !key.eq_ignore_ascii_case("application_name") {
        return Err(bad_value(key));
    }
    match key.to_ascii_lowercase().as_str() {
        "application_name" => {
            let kept = value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
            startup.application_name = kept.take(63).collect();
        }
        "client_encoding" => {
            let encoding: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            if !matches!(encoding.to_ascii_lowercase().as_str(), "utf8" | "unicode") {
                return Err(bad_value(key));
            }
        }
        "datestyle" => {
            let mut parts = value.split(',').map(str::trim);
            if !parts.next().is_some_and(|style| style.eq_ignore_ascii_case("iso")) {
                return Err(bad_value(key));
            }
            if parts.next().is_some() {
                startup.settings.push(("datestyle".to_owned(), value.to_owned()));
            }
        }
        // Since PostgreSQL 12 every value above 0 prints the shortest exact form, which is the default.
        "extra_float_digits" if matches!(value.trim(), "1" | "2" | "3") => {}
        name if name == SEARCH_PATH || may_begin_with(name) => {
            startup.settings.push((name.to_owned(), value.to_owned()));
        }
        _ => {
            let message = format!("startup parameter {} is refused", name(key));
            return Err(refuse(SqlState::NOT_SUPPORTED, message));
        }
    }
    Ok(())
}

/// `options`: words of `-c name=value`, `-cname=value` or `--name=value` (PostgreSQL: process_postgres_switches),
/// a backslash keeps the next character.
fn options(value: &str, startup: &mut Startup) -> Result<(), Refusal> {
    let mut words = words(value).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c") {
            Some("") => words.next().unwrap_or_default(),
            Some(rest) => rest.to_owned(),
            None => match word.strip_prefix("--") {
                Some(rest) => rest.to_owned(),
                None => return Err(bad_option(&word)),
            },
        };
        let Some((key, value)) = assignment.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(bad_option(&assignment));
        };
        if key.eq_ignore_ascii_case("pgbulkhead.tenant") {
            if startup.tenant.replace(value.to_owned()).is_some() {
                return Err(refuse(SqlState::PROTOCOL, "pgbulkhead.tenant comes twice"));
            }
        } else {
            setting(&key.replace('-', "_"), value, startup)?;
        }
    }
    Ok(())
}

fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn bad_value(key: &str) -> Refusal {
    refuse(
        SqlState::INVALID_PARAMETER,
        format!("startup parameter {} has a value that is refused", name(key)),
    )
}

fn bad_option(word: &str) -> Refusal {
    refuse(SqlState::NOT_SUPPORTED, format!("startup parameter \"options\": {} is refused", name(word)))
}

fn refuse(state: SqlState, message: impl Into<String>) -> Refusal {
    Refusal::new(state, Rule("startup"), message)
}

/// A client's word, quoted, cut and without control characters.
fn name(word: &str) -> String {
    let kept: String = word.chars().map(|c| if c.is_control() { '?' } else { c }).take(64).collect();
    format!("\"{kept}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(parameters: &[(&str, &str)]) -> SqlState {
        read(0, parameters).unwrap_err().state
    }

    #[test]
    fn duplicate_keys_are_a_protocol_violation() {
        assert_eq!(state(&[("user", "a"), ("user", "b")]), SqlState::PROTOCOL);
        assert_eq!(state(&[("user", "a"), ("database", "x"), ("database", "y")]), SqlState::PROTOCOL);
    }

    #[test]
    fn keys_off_the_list_are_refused_by_name() {
        for key in ["work_mem", "role", "session_authorization", "replication", "row_security"] {
            let refusal = read(0, &[("user", "a"), (key, "x")]).unwrap_err();
            assert!(refusal.message.contains(key), "{refusal}");
        }
    }

    #[test]
    fn settings_of_the_list_become_sets() {
        let options = "-c statement_timeout=5s --jit=off -c search_path=app,\\ \"E\"\"x\"";
        let startup = read(0, &[("user", "a"), ("TimeZone", "it's"), ("options", options)]).unwrap();
        let sets: Vec<_> = startup.settings.iter().map(|(name, value)| as_set(name, value)).collect();
        assert_eq!(
            sets,
            [
                "SET timezone TO 'it''s'",
                "SET statement_timeout TO '5s'",
                "SET jit TO 'off'",
                "SET search_path TO 'app', 'E\"x'",
            ]
        );
        assert_eq!(state(&[("user", "a"), ("transaction_read_only", "on")]), SqlState::NOT_SUPPORTED);
    }

    #[test]
    fn malformed_options_are_refused() {
        for options in ["-c=", "-c =x", "--=", "-c", "-crole=rls\\", "-c search_path=x -c role=y", "x"] {
            assert!(read(0, &[("user", "a"), ("options", options)]).is_err(), "{options}");
        }
        let blanks = " ".repeat(9_000);
        assert!(read(0, &[("user", "a"), ("options", &blanks)]).is_ok());
    }

    #[test]
    fn tenant_comes_by_options_once() {
        let startup = read(0, &[("user", "a"), ("options", "-c pgbulkhead.tenant=acme")]).unwrap();
        assert_eq!(startup.tenant.as_deref(), Some("acme"));
        let twice = "-c pgbulkhead.tenant=a --pgbulkhead.tenant=b";
        assert_eq!(state(&[("user", "a"), ("options", twice)]), SqlState::PROTOCOL);
    }

    #[test]
    fn only_utf8_and_iso_are_taken() {
        assert!(read(0, &[("user", "a"), ("client_encoding", "'utf-8'"), ("DateStyle", "ISO")]).is_ok());
        assert_eq!(state(&[("user", "a"), ("client_encoding", "SJIS")]), SqlState::INVALID_PARAMETER);
        assert_eq!(state(&[("user", "a"), ("DateStyle", "German")]), SqlState::INVALID_PARAMETER);
    }

    #[test]
    fn protocol_options_are_negotiated_away() {
        let startup = read(2, &[("user", "a"), ("_pq_.x", "1")]).unwrap();
        assert_eq!((startup.minor, startup.negotiate), (2, Some(vec!["_pq_.x".to_owned()])));
        for (asked, spoken, told) in [(0, 0, false), (1, 0, true), (2, 2, false), (3, 2, true)] {
            let startup = read(asked, &[("user", "a")]).unwrap();
            assert_eq!((startup.minor, startup.negotiate.is_some()), (spoken, told), "3.{asked}");
        }
    }
}
