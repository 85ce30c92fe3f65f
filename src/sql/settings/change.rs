//! What a SET or `set_config` changes, known when it is planned or when its parameters are.

use super::{RULE, check};
use crate::policy::{Refusal, SqlState};

/// A part of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given<T> {
    /// Known when it is planned.
    Known(T),
    /// The value of `$n`.
    Parameter(u16),
}

/// What one SET, RESET or `set_config` changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingChange {
    /// One setting.
    One {
        /// Its name.
        name: Given<String>,
        /// Its value; none: the default.
        value: Given<Option<String>>,
        /// For the transaction alone.
        local: Given<bool>,
    },
    /// RESET ALL.
    ResetAll,
}

/// A change whose values are known. The name is on the list, and so is the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The setting's name, in lower case; none: all of them.
    pub name: Option<String>,
    /// Its value; none: the default.
    pub value: Option<String>,
    /// It does not outlive its transaction.
    pub local: bool,
}

impl SettingChange {
    /// A change that is known when it is planned.
    pub(in crate::sql) fn known(name: String, value: Option<String>, local: bool) -> Self {
        Self::One { name: Given::Known(name), value: Given::Known(value), local: Given::Known(local) }
    }

    /// The change with its parameters' values, checked against the list. `parameter` gives the text of `$n`, nothing
    /// within for NULL; none where it is no text. What belongs to a transaction does not outlive it.
    ///
    /// # Errors
    /// 42501 for what is not on the list, 22004 for a NULL name, 22P02 for no boolean.
    pub fn with<'v>(&self, parameter: impl Fn(u16) -> Option<Option<&'v str>>) -> Result<Change, Refusal> {
        let Self::One { name, value, local } = self else {
            return Ok(Change { name: None, value: None, local: false });
        };
        let text = |number: u16| {
            let message = format!("parameter ${number} of set_config has no text");
            parameter(number).ok_or_else(|| Refusal::new(SqlState::INVALID_PARAMETER, RULE, message))
        };
        let name = match name {
            Given::Known(name) => name.clone(),
            Given::Parameter(number) => {
                let null = || Refusal::new(SqlState("22004"), RULE, "SET requires parameter name");
                text(*number)?.ok_or_else(null)?.to_ascii_lowercase()
            }
        };
        let value = match value {
            Given::Known(value) => value.clone(),
            Given::Parameter(number) => text(*number)?.map(str::to_owned),
        };
        super::may_set(&name)?;
        if let Some(value) = &value {
            check(&name, value, -1)?;
        }
        let local = match local {
            Given::Known(local) => *local,
            Given::Parameter(number) => text(*number)?.map_or(Ok(false), boolean)?,
        };
        let local = local || name.starts_with("transaction_");
        Ok(Change { name: Some(name), value, local })
    }
}

/// A boolean as the server reads it (`parse_bool_with_len`, utils/adt/bool.c), or in its binary form.
fn boolean(text: &str) -> Result<bool, Refusal> {
    let word = text.trim().to_ascii_lowercase();
    let starts = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    match word.as_str() {
        "1" | "\u{1}" => Ok(true),
        "0" | "\0" => Ok(false),
        _ if starts("true", 1) || starts("yes", 1) || starts("on", 2) => Ok(true),
        _ if starts("false", 1) || starts("no", 1) || starts("off", 2) => Ok(false),
        _ => Err(Refusal::new(SqlState("22P02"), RULE, "invalid input syntax for type boolean")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(value: Option<&'static str>, local: Option<&'static str>) -> Result<Change, Refusal> {
        let change = SettingChange::One {
            name: Given::Known("timezone".into()),
            value: Given::Parameter(1),
            local: Given::Parameter(2),
        };
        change.with(|number| Some(if number == 1 { value } else { local }))
    }

    #[test]
    fn values_of_parameters_are_held_to_the_list() {
        assert_eq!(change(Some("UTC"), Some("f")).unwrap().value.as_deref(), Some("UTC"));
        assert_eq!(change(None, None).unwrap().value, None);
        assert!(change(Some("<+07>-7"), Some("f")).is_err());
        assert!(change(Some("UTC"), Some("tru")).unwrap().local);
        assert_eq!(change(Some("UTC"), Some("2")).unwrap_err().state, SqlState("22P02"));
    }

    #[test]
    fn names_of_parameters_are_held_to_the_list() {
        let change = SettingChange::One {
            name: Given::Parameter(1),
            value: Given::Known(Some("x".into())),
            local: Given::Known(false),
        };
        assert!(change.with(|_| Some(Some("Application_Name"))).is_ok());
        assert_eq!(change.with(|_| Some(Some("search_path"))).unwrap_err().state, SqlState::DENIED);
        assert_eq!(change.with(|_| Some(None)).unwrap_err().state, SqlState("22004"));
    }
}
