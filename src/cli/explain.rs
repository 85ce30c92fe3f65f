//! `pgbulkhead explain`: what would become of a statement, without running it.

use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::config::Config;
use crate::config::model::{Database, Operation, TenantSource, User};
use crate::policy::{Refusal, TenantId};
use crate::sql::{self, Action, Limits, Planned, Statement, VerifiedSql, Witnessed};

use super::failure::Failure;
use super::world::{Place, configuration, deep, runtime, target, world};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "pgbulkhead.toml")]
    config: PathBuf,
    /// Who sends the statement: a name in [[users]]
    #[arg(long)]
    user: String,
    /// For which tenant; left out: the user's own, if it has one alone
    #[arg(long)]
    tenant: Option<String>,
    /// In which database; left out: the first
    #[arg(long)]
    database: Option<String>,
    /// One or more statements
    sql: String,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = configuration(&args.config)?;
    let user = config.users.iter().find(|user| user.name == args.user);
    let user = user.ok_or_else(|| Failure::User(args.user.clone(), args.config.clone()))?;
    let tenant = tenant(user, args.tenant.as_deref())?;
    let database = database(&config, args)?;
    let target = &target(&config, database)?;
    let world = runtime()?.block_on(world(&Place { config: &config, database, target }, 1))?;
    let limits = Limits { max_bytes: config.general.max_statement_bytes, ..Limits::default() };
    let statements = match sql::statements(&args.sql, &limits) {
        Ok(statements) => statements,
        Err(refusal) => {
            refused(&args.sql, 0, &refusal);
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut all = true;
    for statement in &statements {
        match deep(|| sql::plan(&world, &user.role, statement))? {
            Ok(planned) => allowed(statement, &planned, tenant.as_ref()),
            Err(refusal) => {
                all = false;
                refused(&args.sql, statement.offset, &refusal);
            }
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn database<'c>(config: &'c Config, args: &Args) -> Result<&'c Database, Failure> {
    let name = args.database.as_deref();
    let found = config.databases.iter().find(|database| name.is_none_or(|name| database.name == name));
    found.ok_or_else(|| Failure::Database(name.unwrap_or_default().to_owned(), args.config.clone()))
}

/// The tenant that the user would be bound to.
fn tenant(user: &User, wanted: Option<&str>) -> Result<Option<TenantId>, Failure> {
    let own: &[String] = match &user.tenant {
        TenantSource::Fixed(tenant) => std::slice::from_ref(tenant),
        TenantSource::Choice(tenants) | TenantSource::Token { allowed: tenants } => tenants,
    };
    let any = matches!(&user.tenant, TenantSource::Token { allowed } if allowed.is_empty());
    match wanted {
        Some(wanted) => {
            let tenant = TenantId::new(wanted).filter(|_| any || own.iter().any(|tenant| tenant == wanted));
            let failure = || Failure::Tenant { user: user.name.clone(), tenant: wanted.to_owned() };
            tenant.map(Some).ok_or_else(failure)
        }
        None => match own {
            [only] => Ok(TenantId::new(only)),
            _ => Ok(None),
        },
    }
}

fn allowed(statement: &Statement<'_>, planned: &Planned, tenant: Option<&TenantId>) {
    let decision = &planned.decision;
    anstream::println!("{GOOD}allowed{GOOD:#} [{}]  {}", decision.rule, decision.reason);
    for (relation, operation) in &decision.relations {
        row("touches", &format!("{:<6} {relation}", word(*operation)));
    }
    for edit in &decision.edits {
        let place = edit.position.map_or(String::new(), |at| format!("at {at}: "));
        row("edit", &format!("{place}{}", edit.reason));
    }
    row(
        "witness",
        match decision.witnessed {
            Witnessed::Agrees => "agrees",
            Witnessed::CannotRead => "cannot read it",
            Witnessed::NoRelation => "no relation",
        },
    );
    match &planned.action {
        Action::Send { sql, .. } | Action::Set { sql, .. } | Action::Savepoint { sql, .. } => {
            row("sends", &format!("{SQL}{}{SQL:#}", rendered(sql, statement, planned, tenant)));
        }
        Action::Prepare { name, .. } => {
            row("sends", &format!("the statement behind it, as a session's statement \"{name}\""));
        }
        Action::Execute(execute) => {
            row("sends", &format!("{SQL}{}{SQL:#}", rendered(&execute.plain, statement, planned, tenant)));
        }
        Action::BindTenant { .. } => row("sends", "nothing: it binds the tenant of a token"),
        Action::UnbindTenant => row("sends", "nothing: it takes the tenant back"),
        Action::Deallocate { .. } => row("sends", "nothing: prepared statements are the session's own"),
        Action::Discard(_) => row("sends", "nothing: what it discards is the session's own"),
        Action::Empty => row("sends", "nothing: it is empty"),
    }
    anstream::println!();
}

/// The text for the simple protocol where the tenant is known, else the one with its parameter.
fn rendered(
    sql: &VerifiedSql,
    statement: &Statement<'_>,
    planned: &Planned,
    tenant: Option<&TenantId>,
) -> String {
    let mut text = Vec::new();
    let literal = |index| statement.token(index).unwrap_or_default().as_bytes();
    match tenant {
        Some(_) => sql.render_simple(&mut text, tenant, literal),
        None => sql.render_extended(&mut text, planned.parameters.saturating_add(1), literal),
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `offset` is where the statement begins in the whole text.
fn refused(text: &str, offset: usize, refusal: &Refusal) {
    anstream::println!("{BAD}refused{BAD:#} [{}]  {} ({})", refusal.rule, refusal.message, refusal.state);
    if let Some(detail) = &refusal.detail {
        row("detail", detail);
    }
    if let Some(hint) = &refusal.hint {
        row("hint", hint);
    }
    if let Some(quarantined) = &refusal.quarantined {
        row("because", &quarantined.reason);
        row("not sent", &quarantined.rewritten);
    }
    if let Some((line, column)) = refusal.position.and_then(|at| line_at(text, offset.checked_add(at)?)) {
        row("at", line);
        row("", &format!("{}{BAD}^{BAD:#}", " ".repeat(column)));
    }
    anstream::println!();
}

/// The line that a byte is on, and how many characters stand before it.
fn line_at(text: &str, at: usize) -> Option<(&str, usize)> {
    let before = text.get(..at)?;
    let start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
    let line = text.get(start..)?.lines().next().unwrap_or_default();
    Some((line, text.get(start..at)?.chars().count()))
}

fn row(name: &str, value: &str) {
    anstream::println!("  {DIM}{name:<8}{DIM:#} {value}");
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Select => "select",
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const SQL: Style = AnsiColor::Cyan.on_default();
const DIM: Style = Style::new().dimmed();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::UserAuth;

    #[test]
    fn a_position_is_shown_on_its_line() {
        assert_eq!(line_at("select\n  ä, b", 13), Some(("  ä, b", 5)));
        assert_eq!(line_at("select", 0), Some(("select", 0)));
        assert_eq!(line_at("select", 99), None);
    }

    #[test]
    fn a_tenant_is_the_users_own() {
        let user = |tenant| User { name: "u".into(), auth: UserAuth::TenantToken, role: "r".into(), tenant };
        let fixed = user(TenantSource::Fixed("1".into()));
        assert_eq!(tenant(&fixed, None).unwrap(), TenantId::new("1"));
        assert!(tenant(&fixed, Some("2")).is_err());
        let any = user(TenantSource::Token { allowed: Vec::new() });
        assert_eq!(tenant(&any, Some("2")).unwrap(), TenantId::new("2"));
        assert_eq!(tenant(&any, None).unwrap(), None);
        assert!(tenant(&any, Some("2'")).is_err());
    }
}
