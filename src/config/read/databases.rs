//! `[[databases]]`: the servers behind the proxy, and their passwords.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::model::{
    AuthMethod, BackendTls, ChannelBinding, Database, Password, PasswordCommand, Secret,
};

use super::Environment;
use super::section::Section;
use super::values::{duration, existing_file, filled, identifier, number, one_of, port, string, text};

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
    let password = password(&mut section, env);
    let tls = section.or("tls", BackendTls::Prefer, one_of(&BACKEND_TLS));
    let tls_ca_file = section.optional("tls_ca_file", existing_file);
    if matches!(tls, BackendTls::VerifyCa | BackendTls::VerifyFull) && tls_ca_file.is_none() {
        section.complain_here(format!("{}: this `tls` needs `tls_ca_file`", section.title()), None);
    }
    let search_path = section.or("search_path", vec!["public".to_owned()], filled(schema));
    let pool_size = section.optional("pool_size", number(1, 10_000));
    let min_pool_size = section.optional("min_pool_size", number(0, 10_000));
    let reserve_pool_size = section.optional("reserve_pool_size", number(0, 10_000));
    let max_tenant_connections = section.optional("max_tenant_connections", number(1, 10_000));
    if let (Some(least), Some(most)) = (min_pool_size, pool_size)
        && least > most
    {
        let message = format!("{}: `min_pool_size` is larger than `pool_size`", section.title());
        section.complain_here(message, None);
    }
    let (auth_method, channel_binding) = method(&mut section, tls, password.as_ref());
    section.finish();
    Some(Database {
        name: name?,
        host: host?,
        port,
        dbname: dbname?,
        user: user?,
        password: password?,
        tls,
        tls_ca_file,
        search_path,
        pool_size,
        min_pool_size,
        reserve_pool_size,
        max_tenant_connections,
        auth_method,
        channel_binding,
    })
}

/// `password`, `password_env`, `password_file` or `password_command`; nothing where it is wrong, and told.
fn password(section: &mut Section<'_>, env: &Environment) -> Option<Password> {
    let names = ["password", "password_env", "password_file", "password_command"];
    let given = names.iter().filter(|name| section.has(name)).count();
    let (in_file, by_command) = (section.has("password_file"), section.has("password_command"));
    let file = section.optional("password_file", readable_file);
    let words = section.optional("password_command", filled(text));
    let lifetime = section.optional("password_lifetime", duration);
    let timeout = section.optional("password_timeout", duration);
    let secret = secret(section, ["password", "password_env", "password_file"], env);
    let complain = |message: &str| section.complain_here(format!("{}: {message}", section.title()), None);
    if given > 1 {
        complain("only one of `password`, `password_env`, `password_file`, `password_command`");
        return None;
    }
    if !by_command && (lifetime.is_some() || timeout.is_some()) {
        complain("`password_lifetime` and `password_timeout` belong to `password_command`");
    }
    if in_file {
        return file.map(Password::File);
    }
    if by_command {
        let lifetime = lifetime.unwrap_or(PASSWORD_LIFETIME);
        let timeout = timeout.unwrap_or(PASSWORD_TIMEOUT);
        return words.map(|words| Password::Command(PasswordCommand { words, lifetime, timeout }));
    }
    match secret {
        Given::Secret(text) => Some(Password::Text(Secret(text))),
        Given::Nothing => Some(Password::None),
        Given::Wrong => None,
    }
}

/// `auth_method` and `channel_binding`, which must fit TLS and the password.
fn method(
    section: &mut Section<'_>,
    tls: BackendTls,
    password: Option<&Password>,
) -> (AuthMethod, ChannelBinding) {
    let given = section.optional("auth_method", one_of(&AUTH_METHODS));
    let binding = section.or("channel_binding", ChannelBinding::Prefer, one_of(&CHANNEL_BINDINGS));
    let without = password == Some(&Password::None);
    let method = given.unwrap_or(if without { AuthMethod::Trust } else { AuthMethod::ScramSha256 });
    let title = section.title().to_owned();
    if method != AuthMethod::Trust && without {
        let word = if method == AuthMethod::Password { "password" } else { "scram-sha-256" };
        section.complain_here(format!("{title}: `auth_method = \"{word}\"` needs a password"), None);
    }
    if method == AuthMethod::Password && tls != BackendTls::VerifyFull {
        let message = format!(
            "{title}: `auth_method = \"password\"` would send the password in clear to an unverified server"
        );
        section.complain_here(message, Some("set tls = \"verify-full\" and tls_ca_file".to_owned()));
    }
    if binding == ChannelBinding::Require && (method != AuthMethod::ScramSha256 || tls == BackendTls::Disable)
    {
        let message = format!("{title}: `channel_binding = \"require\"` needs TLS and scram-sha-256");
        section.complain_here(message, None);
    }
    (method, binding)
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

fn readable_file(value: &toml::de::DeValue<'_>) -> Result<PathBuf, String> {
    let path = existing_file(value)?;
    from_file(&path).map(|_| path)
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

/// Two thirds of what an IAM token of RDS lives.
const PASSWORD_LIFETIME: Duration = Duration::from_secs(600);
const PASSWORD_TIMEOUT: Duration = Duration::from_secs(10);
const CHANNEL_BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];
const BACKEND_TLS: [(&str, BackendTls); 5] = [
    ("disable", BackendTls::Disable),
    ("prefer", BackendTls::Prefer),
    ("require", BackendTls::Require),
    ("verify-ca", BackendTls::VerifyCa),
    ("verify-full", BackendTls::VerifyFull),
];
const AUTH_METHODS: [(&str, AuthMethod); 3] = [
    ("scram-sha-256", AuthMethod::ScramSha256),
    ("trust", AuthMethod::Trust),
    ("password", AuthMethod::Password),
];
