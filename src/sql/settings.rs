//! Settings: which a client may set, to which values, and which it may see. An allow-list; values are literals, or
//! parameters that are checked when they are known.

mod change;
mod search_path;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, VariableSetKind, VariableSetStmt, a_const};

use crate::policy::{Refusal, Rule, SqlState};

use super::refusals::unsupported;

pub use change::{Change, Given, SettingChange};

/// The rule of SET and SHOW.
pub(in crate::sql) const RULE: Rule = Rule("setting");

/// The setting that binds transactions to a tenant. It is no setting of the server.
const TENANT_TOKEN: &str = "pgbulkhead.tenant_token";

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

const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
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
    ("default_transaction_deferrable", Takes::Words(BOOLEAN)),
    ("default_transaction_isolation", Takes::Words(ISOLATION)),
    ("default_transaction_read_only", Takes::Words(BOOLEAN)),
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
    ("transaction_isolation", Takes::Words(ISOLATION)),
    ("transaction_read_only", Takes::Words(BOOLEAN)),
];

/// Settings that can be seen and not set.
const SHOWABLE: &[&str] = &[
    "block_size",
    "default_table_access_method",
    "default_text_search_config",
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
    /// Settings of the server.
    Server(Vec<SettingChange>),
    /// The tenant token, as the literal at this place; none: it is taken back.
    Token { location: Option<i32>, local: bool },
    /// SET TRANSACTION: sent as it is.
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

/// Whether a session may begin with a setting of this name: one that may be set, and outlives a transaction.
pub fn may_begin_with(name: &str) -> bool {
    takes(name).is_some() && !name.starts_with("transaction_")
}

/// Whether a setting is on the list of those that may be set.
pub(in crate::sql) fn may_set(name: &str) -> Result<(), Refusal> {
    takes(name).map(|_| ()).ok_or_else(|| refused(name, -1))
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
        Ok(VariableSetKind::VarSetMulti) => multi(set),
        Ok(VariableSetKind::VarSetValue) => {
            let value = value(set)?;
            check(&name, &value, set.location)?;
            Ok(Setting::Server(vec![SettingChange::known(name, Some(value), local)]))
        }
        Ok(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => {
            takes(&name).ok_or_else(|| refused(&name, set.location))?;
            Ok(Setting::Server(vec![SettingChange::known(name, None, local)]))
        }
        Ok(VariableSetKind::VarResetAll) => Ok(Setting::Server(vec![SettingChange::ResetAll])),
        _ => Err(Refusal::new(SqlState::DENIED, RULE, "this SET or RESET is refused").at(set.location)),
    }
}

/// SET TRANSACTION is over with its transaction; SET SESSION CHARACTERISTICS AS TRANSACTION sets the defaults of
/// those that follow (`ExecSetVariableStmt`, utils/misc/guc_funcs.c).
fn multi(set: &VariableSetStmt) -> Result<Setting, Refusal> {
    let mut defaults = Vec::new();
    for arg in &set.args {
        let option = match &arg.node {
            Some(NodeEnum::DefElem(option)) => option,
            _ => return Err(unsupported(&format!("SET {}", set.name), set.location)),
        };
        let value = option.arg.as_deref().and_then(constant_text);
        let value = match (option.defname.as_str(), value) {
            ("transaction_isolation", Some(value)) => value,
            ("transaction_read_only" | "transaction_deferrable", Some(value)) => {
                if value == "0" {
                    "off".to_owned()
                } else {
                    "on".to_owned()
                }
            }
            _ => return Err(unsupported(&format!("SET {}", set.name), set.location)),
        };
        let name = format!("default_{}", option.defname);
        check(&name, &value, set.location)?;
        defaults.push(SettingChange::known(name, Some(value), false));
    }
    match set.name.as_str() {
        "TRANSACTION" => Ok(Setting::Transaction),
        "SESSION CHARACTERISTICS" => Ok(Setting::Server(defaults)),
        name => Err(unsupported(&format!("SET {name}"), set.location)),
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
        let text = constant_text(arg).or_else(|| interval(arg));
        parts.push(text.ok_or_else(|| unsupported("a value that is no literal", set.location))?);
    }
    Ok(parts.join(", "))
}

fn constant_text(node: &Node) -> Option<String> {
    let Some(NodeEnum::AConst(constant)) = &node.node else { return None };
    match constant.val.as_ref()? {
        a_const::Val::Sval(text) => Some(text.sval.clone()),
        a_const::Val::Ival(number) => Some(number.ival.to_string()),
        a_const::Val::Fval(number) => Some(number.fval.clone()),
        a_const::Val::Boolval(value) => Some(value.boolval.to_string()),
        a_const::Val::Bsval(_) => None,
    }
}

/// `SET TIME ZONE INTERVAL '+01:00' HOUR TO MINUTE`, in the form that `check_timezone` reads (variable.c).
fn interval(node: &Node) -> Option<String> {
    let Some(NodeEnum::TypeCast(cast)) = &node.node else { return None };
    let names = super::build::names(&cast.type_name.as_ref()?.names)?;
    let offset = constant_text(cast.arg.as_ref()?)?;
    (names.last() == Some(&"interval")).then(|| format!("INTERVAL '{offset}'"))
}

/// An offset of hours and minutes.
fn is_offset(value: &str) -> bool {
    let digits = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let offset = value.strip_prefix(['+', '-']).unwrap_or(value);
    offset.split_once(':').is_some_and(|(hours, minutes)| digits(hours) && digits(minutes))
}

fn fits(takes: Takes, value: &str) -> bool {
    if let Some(offset) = value.strip_prefix("INTERVAL '").and_then(|v| v.strip_suffix('\'')) {
        return matches!(takes, Takes::TimeZone) && is_offset(offset);
    }
    let value = value.trim();
    match takes {
        Takes::Any => value.len() <= 256 && !value.contains('\0'),
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
