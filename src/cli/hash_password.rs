//! `pgbulkhead hash-password`: from a password to a SCRAM verifier.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use zeroize::Zeroizing;

use crate::auth::verifier;

use super::failure::Failure;

/// The password is read from standard input, and asked for twice where that is a terminal. It is never an
/// argument: other users of the machine can see those.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<ExitCode, Failure> {
    let password = if io::stdin().is_terminal() { asked()? } else { piped()? };
    if password.is_empty() {
        return Err(Failure::Usage("the password is empty"));
    }
    anstream::println!("{}", verifier::make(&password));
    Ok(ExitCode::SUCCESS)
}

fn asked() -> Result<Zeroizing<String>, Failure> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(Failure::system("cannot ask"))
    };
    let first = ask("Password: ")?;
    match *first == *ask("Once more: ")? {
        true => Ok(first),
        false => Err(Failure::Usage("the two are not the same")),
    }
}

/// The first line.
fn piped() -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line).map_err(Failure::system("cannot read standard input"))?;
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    Ok(line)
}
