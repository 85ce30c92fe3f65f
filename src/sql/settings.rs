//! Settings: which a client may set, to which values, and which it may see. An allow-list; values are literals.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, VariableSetKind, VariableSetStmt, a_const};

use crate::policy::{Refusal, Rule, SqlState};

use super::bind::unsupported;

/// The rule of SET and SHOW.
pub(in crate::sql) const RULE: Rule = Rule("setting");

/// The setting that binds transactions to a tenant. It is no setting of the server.
pub(in crate::sql) const TENANT_TOKEN: &str = "pgbulkhead.tenant_token";

/// What a setting takes.
#[derive(Clone, Copy)]
enum Takes {
    /// Any literal.
    Any,
    /// One of these words, in any case.
    Words(&'static [&'static str]),
    /// A zone's name of letters, or a numeric offset: a POSIX form with `<…>` once ran code in the server.
    TimeZone,
    /// A limit of time: digits with an optional unit, and not 0, which would be no limit.
    Limit,
}

const BOOLEAN: &[&str] = &["on", "off", "true", "false", "yes", "no", "1", "0", "t", "f"];
const ON: &[&str] = &["on", "true", "yes", "1"];

/// Settings that a client may set. What lexing and planning rely on takes the value it has already.
const SETTABLE: &[(&str, Takes)] = &[
    ("application_name", Takes::Any),
    ("array_nulls", Takes::Words(ON)),
    ("bytea_output", Takes::Words(&["hex", "escape"])),
    ("client_encoding", Takes::Words(&["utf8", "utf-8", "unicode"])),
    ("client_min_messages", Takes::Words(&["notice", "warning", "error"])),
    (
        "datestyle",
        Takes::Words(&["iso", "iso, mdy", "iso, dmy", "iso, ymd", "iso,mdy", "iso,dmy", "iso,ymd"]),
    ),
    ("enable_bitmapscan", Takes::Words(BOOLEAN)),
    ("escape_string_warning", Takes::Words(BOOLEAN)),
    ("extra_float_digits", Takes::Words(&["1", "2", "3"])),
    ("idle_in_transaction_session_timeout", Takes::Limit),
    ("intervalstyle", Takes::Words(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"])),
    ("jit", Takes::Words(BOOLEAN)),
    ("lock_timeout", Takes::Limit),
    ("plan_cache_mode", Takes::Words(&["auto", "force_generic_plan", "force_custom_plan"])),
    ("standard_conforming_strings", Takes::Words(ON)),
    ("statement_timeout", Takes::Limit),
    ("timezone", Takes::TimeZone),
    ("transaction_deferrable", Takes::Words(BOOLEAN)),
    (
        "transaction_isolation",
        Takes::Words(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
    ),
    ("transaction_read_only", Takes::Words(BOOLEAN)),
];

/// Settings that can be seen and not set.
const SHOWABLE: &[&str] = &[
    "block_size",
    "default_table_access_method",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_with_oids",
    "integer_datetimes",
    "in_hot_standby",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "max_connections",
    "max_identifier_length",
    "max_index_keys",
    "max_prepared_transactions",
    "row_security",
    "search_path",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "transaction_timeout",
    "wal_level",
];

/// What a SET, RESET or SHOW of the list is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sql) enum Setting {
    /// A setting of the server: its name, and its value as SET takes it; none: the default.
    Server { name: String, value: Option<String>, local: bool },
    /// The tenant token, as the literal at this place; none: it is taken back.
    Token { location: Option<i32>, local: bool },
    /// SET TRANSACTION and SET SESSION CHARACTERISTICS: sent as they are.
    Transaction,
}

/// Whether SHOW and `current_setting` may read a setting.
pub(in crate::sql) fn may_show(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SHOWABLE.contains(&name.as_str()) || takes(&name).is_some()
}

/// The refusal of a setting that is not on the list.
pub(in crate::sql) fn refused(name: &str, location: i32) -> Refusal {
    Refusal::new(
        SqlState::DENIED,
        RULE,
        format!("setting \"{name}\" is not on the list of settings that may be read or set"),
    )
    .at(location)
}

/// Whether a setting of the list may be set to a value.
pub(in crate::sql) fn check(name: &str, value: &str, location: i32) -> Result<(), Refusal> {
    let takes = takes(name).ok_or_else(|| refused(name, location))?;
    if fits(takes, value) {
        return Ok(());
    }
    let message = format!("setting \"{name}\" may not be set to this value");
    Err(Refusal::new(SqlState::DENIED, RULE, message).at(location))
}

/// Judges a SET or RESET.
pub(in crate::sql) fn judge(set: &VariableSetStmt) -> Result<Setting, Refusal> {
    let name = set.name.to_ascii_lowercase();
    let local = set.is_local;
    match VariableSetKind::try_from(set.kind) {
        Ok(VariableSetKind::VarSetValue) if name == TENANT_TOKEN => token(set),
        Ok(VariableSetKind::VarReset | VariableSetKind::VarSetDefault) if name == TENANT_TOKEN => {
            Ok(Setting::Token { location: None, local })
        }
        Ok(VariableSetKind::VarSetMulti) => multi(set, &name),
        Ok(VariableSetKind::VarSetValue) => {
            let value = value(set)?;
            check(&name, &value, set.location)?;
            Ok(Setting::Server { name, value: Some(quoted(&value)), local })
        }
        Ok(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => {
            takes(&name).ok_or_else(|| refused(&name, set.location))?;
            Ok(Setting::Server { name, value: None, local })
        }
        _ => Err(Refusal::new(SqlState::DENIED, RULE, "this SET or RESET is refused").at(set.location)),
    }
}

fn multi(set: &VariableSetStmt, name: &str) -> Result<Setting, Refusal> {
    let options_are_plain = set.args.iter().all(|arg| match &arg.node {
        Some(NodeEnum::DefElem(option)) => {
            matches!(
                option.defname.as_str(),
                "transaction_isolation" | "transaction_read_only" | "transaction_deferrable"
            )
        }
        _ => false,
    });
    // SESSION CHARACTERISTICS would outlive the transaction without being remembered.
    if name == "transaction" && options_are_plain {
        Ok(Setting::Transaction)
    } else {
        Err(unsupported(&format!("SET {name}"), set.location))
    }
}

fn token(set: &VariableSetStmt) -> Result<Setting, Refusal> {
    match set.args.as_slice() {
        [Node { node: Some(NodeEnum::AConst(constant)) }]
            if matches!(constant.val, Some(a_const::Val::Sval(_))) =>
        {
            Ok(Setting::Token { location: Some(constant.location), local: set.is_local })
        }
        _ => Err(Refusal::new(SqlState::INVALID_PARAMETER, RULE, "the tenant token is one string literal")),
    }
}

fn takes(name: &str) -> Option<Takes> {
    SETTABLE.iter().find(|(known, _)| *known == name).map(|(_, takes)| *takes)
}

/// The value of a SET: its constants, joined as `flatten_set_variable_args` does.
fn value(set: &VariableSetStmt) -> Result<String, Refusal> {
    let mut parts = Vec::new();
    for arg in &set.args {
        let text = match &arg.node {
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(a_const::Val::Sval(text)) => text.sval.clone(),
                Some(a_const::Val::Ival(number)) => number.ival.to_string(),
                Some(a_const::Val::Fval(number)) => number.fval.clone(),
                Some(a_const::Val::Boolval(value)) => value.boolval.to_string(),
                Some(a_const::Val::Bsval(_)) | None => return Err(unsupported("this value", set.location)),
            },
            _ => return Err(unsupported("a value that is no literal", set.location)),
        };
        parts.push(text);
    }
    Ok(parts.join(", "))
}

fn fits(takes: Takes, value: &str) -> bool {
    let value = value.trim();
    match takes {
        Takes::Any => value.len() <= 256,
        Takes::Words(words) => words.iter().any(|w| w.eq_ignore_ascii_case(value)),
        Takes::TimeZone => {
            let name = value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-' | b'.' | b':'));
            !value.is_empty() && value.len() <= 64 && name
        }
        Takes::Limit => {
            let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
            let limited = digits.bytes().any(|b| (b'1'..=b'9').contains(&b));
            limited && digits.len() <= 12 && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        }
    }
}

/// A value as SET takes it.
pub(in crate::sql) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
