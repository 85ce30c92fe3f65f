//! Where PostgreSQL's server binaries are.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// A directory with `initdb` and `postgres` in it.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The directory.
    pub directory: PathBuf,
    /// The version, `15.20` or so.
    pub version: String,
}

impl Binaries {
    /// `wanted` if it is given. Else the newest among what `PG_CONFIG` (a program) names, PATH, and
    /// Debian's and Red Hat's places hold; what `PG_CONFIG` names comes first whatever its version.
    ///
    /// # Errors
    /// When there are none.
    pub fn find(wanted: Option<&Path>) -> Result<Self, EmbeddedError> {
        let chosen = match wanted {
            Some(directory) => Self::in_directory(directory),
            None => named_by_pg_config().and_then(|directory| Self::in_directory(&directory)),
        };
        if chosen.is_some() || wanted.is_some() {
            return chosen.ok_or(EmbeddedError::NoBinaries);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).collect();
        candidates.extend(versioned("/usr/lib/postgresql", "bin"));
        candidates.extend(versioned("/opt/homebrew/opt", "bin"));
        candidates.extend(versioned("/usr", "bin").filter(|p| p.to_string_lossy().contains("pgsql")));
        let found = candidates.iter().filter_map(|directory| Self::in_directory(directory));
        found.max_by_key(Self::order).ok_or(EmbeddedError::NoBinaries)
    }

    fn in_directory(directory: &Path) -> Option<Self> {
        // A link on PATH is followed: PostgreSQL looks for its share directory beside the binary.
        let server = directory.join("postgres").canonicalize().ok()?;
        let directory = server.parent()?;
        if !directory.join("initdb").exists() {
            return None;
        }
        let output = Command::new(&server).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        // postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)
        let version = text.split_whitespace().nth(2)?.to_owned();
        Some(Self { directory: directory.to_path_buf(), version })
    }

    fn order(&self) -> (u32, u32) {
        let mut numbers = self.version.split('.').map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

fn named_by_pg_config() -> Option<PathBuf> {
    let program = std::env::var_os("PG_CONFIG")?;
    let output = Command::new(program).arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// `parent/*/last`.
fn versioned(parent: &str, last: &'static str) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(parent).into_iter().flatten().flatten().map(move |entry| entry.path().join(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let version = |text: &str| Binaries { directory: PathBuf::new(), version: text.into() };
        assert!(version("9.6").order() < version("15.20").order());
        assert!(version("15.9").order() < version("15.20").order());
    }
}
