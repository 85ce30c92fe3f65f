//! `[[databases]]`: the servers behind the proxy, and their passwords.

use std::path::Path;

use crate::config::model::{AuthMethod, BackendTls, Database, Secret};

use super::Environment;
use super::section::Section;
use super::values::{existing_file, filled, identifier, number, one_of, port, string, text};

/// Reads every `[[databases]]`.
pub(super) fn databases(root: &mut Section<'_>, env: &Environment) -> Vec<Database> {
    let sections = root.sections("databases");
    if sections.is_empty() {
        root.complain_here("there is no [[databases]]".to_owned(), None);
    }
    let mut databases: Vec<Database> = Vec::new();
    for mut section in sections {
        let name = section.required("name", text);
        if let Some(name) = &name {
            section.name_it(name);
            if databases.iter().any(|database| database.name == *name) {
                section.complain_here(format!("a second [[databases]] \"{name}\""), None);
            }
        }
        databases.extend(database(section, name, env));
    }
    databases
}

fn database(mut section: Section<'_>, name: Option<String>, env: &Environment) -> Option<Database> {
    let host = section.required("host", text);
    let port = section.or("port", 5432, port);
    let dbname = section.optional("dbname", identifier).or_else(|| name.clone());
    let user = section.required("user", identifier);
    let password = secret(&mut section, ["password", "password_env", "password_file"], env);
    let tls = section.or("tls", BackendTls::Prefer, one_of(&BACKEND_TLS));
    let tls_ca_file = section.optional("tls_ca_file", existing_file);
    if matches!(tls, BackendTls::VerifyCa | BackendTls::VerifyFull) && tls_ca_file.is_none() {
        section.complain_here(format!("{}: this `tls` needs `tls_ca_file`", section.title()), None);
    }
    let search_path = section.or("search_path", vec!["public".to_owned()], filled(schema));
    let pool_size = section.optional("pool_size", number(1, 10_000));
    let method = section.optional("auth_method", one_of(&AUTH_METHODS));
    let auth_method = match (method, &password) {
        (Some(AuthMethod::ScramSha256), Given::Nothing) => {
            let message = format!("{}: `auth_method = \"scram-sha-256\"` needs a password", section.title());
            section.complain_here(message, None);
            AuthMethod::ScramSha256
        }
        (Some(method), _) => method,
        (None, Given::Nothing) => AuthMethod::Trust,
        (None, _) => AuthMethod::ScramSha256,
    };
    section.finish();
    Some(Database {
        name: name?,
        host: host?,
        port,
        dbname: dbname?,
        user: user?,
        password: password.secret().map(Secret),
        tls,
        tls_ca_file,
        search_path,
        pool_size,
        auth_method,
    })
}

/// What was found under the three names of a secret.
pub(super) enum Given {
    /// None of them is there.
    Nothing,
    /// One was there and could not be resolved: told already.
    Wrong,
    /// The secret.
    Secret(String),
}

impl Given {
    /// The secret, if there is one.
    pub(super) fn secret(self) -> Option<String> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::Nothing | Self::Wrong => None,
        }
    }
}

/// Reads a secret that stands in the file, in a variable or in a file of its own (without the newline at
/// its end): at most one of the three.
pub(super) fn secret(section: &mut Section<'_>, names: [&'static str; 3], env: &Environment) -> Given {
    let given = names.iter().filter(|name| section.has(name)).count();
    let [plain, variable, file] = names;
    let from_variable = |name: String| env.get(&name).cloned().ok_or(format!("{name} is not set"));
    let in_file = section.optional(plain, string);
    let in_variable = section.optional(variable, |value| from_variable(text(value)?));
    let in_own_file = section.optional(file, |value| from_file(&existing_file(value)?));
    if given > 1 {
        let message = format!("{}: only one of `{plain}`, `{variable}`, `{file}`", section.title());
        section.complain_here(message, None);
    }
    match in_file.or(in_variable).or(in_own_file) {
        Some(secret) if secret.is_empty() => {
            section.complain_here(format!("{}: `{plain}` is empty", section.title()), None);
            Given::Wrong
        }
        Some(secret) => Given::Secret(secret),
        None if given > 0 => Given::Wrong,
        None => Given::Nothing,
    }
}

fn from_file(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// A schema that can be pinned: one that is the same for every session.
fn schema(value: &toml::de::DeValue<'_>) -> Result<String, String> {
    let name = identifier(value)?;
    match name.starts_with("pg_temp") || name == "$user" {
        true => Err(format!("\"{name}\" differs from session to session")),
        false => Ok(name),
    }
}

const BACKEND_TLS: [(&str, BackendTls); 5] = [
    ("disable", BackendTls::Disable),
    ("prefer", BackendTls::Prefer),
    ("require", BackendTls::Require),
    ("verify-ca", BackendTls::VerifyCa),
    ("verify-full", BackendTls::VerifyFull),
];
const AUTH_METHODS: [(&str, AuthMethod); 2] =
    [("scram-sha-256", AuthMethod::ScramSha256), ("trust", AuthMethod::Trust)];
