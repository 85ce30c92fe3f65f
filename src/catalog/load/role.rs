//! What the backend role must not be. Every client's statement runs as this role, so what it may do
//! beyond its tables is what a hole in the proxy would be worth.

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::{LoadError, failed, field, queries};
use crate::config::model::ServerFloor;

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Say it in the log.
    Warn,
    /// Do not serve this database.
    Refuse,
}

/// One thing about the server or the role that should not be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a sentence without its full stop.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// For each major the first `server_version_num` that may hold the fixes of 12 November 2026 (among them
/// CVE-2026-120154, where ON CONFLICT's condition runs before a policy). All releases up to the one before
/// are known not to.
const FLOORS: [(u32, u32); 5] = [(14, 140_024), (15, 150_020), (16, 160_015), (17, 170_011), (18, 180_007)];

/// The first version with the privilege to vacuum, reindex, refresh and lock what another role owns.
const MAINTAIN: u32 = 170_000;

/// Looks at the server's version and at the backend role, which `client` has logged in as and whose tables lie
/// in `protected_schemas`. `floor` says what a server below its major's floor means.
///
/// # Errors
/// When the connection is lost.
pub async fn check_backend_role(
    client: &Client,
    protected_schemas: &[String],
    floor: ServerFloor,
) -> Result<Vec<Finding>, LoadError> {
    let what = "the backend role";
    client.batch_execute(queries::BEGIN).await.map_err(failed(what))?;
    let rows = client
        .query_typed(queries::ROLE, &[(&protected_schemas, Type::TEXT_ARRAY)])
        .await
        .map_err(failed(what))?;
    let row = rows.first().ok_or_else(|| LoadError::Unexpected { what, found: "no such role".into() })?;
    let name: String = field(row, what, "name")?;
    let flag = |column: &str| field::<bool>(row, what, column);
    let list = |column: &str| field::<Vec<String>>(row, what, column);

    let mut findings = Findings { role: name, list: Vec::new() };
    findings.refuse_if(flag("rolsuper")?, "is a superuser");
    findings.refuse_if(flag("rolbypassrls")?, "has BYPASSRLS");
    findings.refuse_if(flag("rolreplication")?, "has REPLICATION: it can read the write-ahead log");
    findings.refuse_if(flag("rolcreaterole")?, "has CREATEROLE");
    findings.warn_if(flag("rolcreatedb")?, "has CREATEDB");
    findings.refuse_list("is a member of", &list("member_of")?);
    findings.refuse_list("owns", &list("owns")?);
    findings.warn_list("owns the large objects", &list("large_objects")?);
    findings.warn_list("may create objects in the schemas", &list("may_create_in")?);
    findings.warn_if(flag("may_create_schemas")?, "may create schemas in this database");
    findings.warn_if(flag("may_temp")?, "may create temporary tables in this database");
    let version: i32 = field(row, what, "version")?;
    let version = u32::try_from(version).unwrap_or(0);
    if version >= MAINTAIN {
        let schemas: [(&(dyn ToSql + Sync), Type); 1] = [(&protected_schemas, Type::TEXT_ARRAY)];
        let rows = client.query_typed(queries::MAINTAINED, &schemas).await.map_err(failed(what))?;
        let names = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>();
        findings.warn_list("has MAINTAIN on", &names.map_err(failed(what))?);
    }
    findings.list.extend(version_finding(version, floor));
    Ok(findings.list)
}

/// What there is to say about the server's version, if anything.
fn version_finding(version: u32, floor: ServerFloor) -> Option<Finding> {
    let severity = match floor {
        ServerFloor::Warn => Severity::Warn,
        ServerFloor::Refuse => Severity::Refuse,
    };
    let (major, minor) = (version / 10_000, version % 10_000);
    let Some((_, least)) = FLOORS.iter().find(|(of, _)| *of == major) else {
        let message = format!("PostgreSQL {major} is not one of the proven majors, 14 to 18");
        let severity = if major < 14 { Severity::Refuse } else { severity };
        return Some(Finding { severity, message });
    };
    (version < *least).then(|| Finding {
        severity,
        message: format!(
            "PostgreSQL {major}.{minor} has known holes: update to {major}.{} or later",
            least % 10_000
        ),
    })
}

struct Findings {
    role: String,
    list: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, severity: Severity, what: &str) {
        self.list.push(Finding { severity, message: format!("the backend role {:?} {what}", self.role) });
    }

    fn refuse_if(&mut self, so: bool, what: &str) {
        if so {
            self.add(Severity::Refuse, what);
        }
    }

    fn warn_if(&mut self, so: bool, what: &str) {
        if so {
            self.add(Severity::Warn, what);
        }
    }

    fn refuse_list(&mut self, what: &str, of: &[String]) {
        self.refuse_if(!of.is_empty(), &format!("{what} {}", of.join(", ")));
    }

    fn warn_list(&mut self, what: &str, of: &[String]) {
        self.warn_if(!of.is_empty(), &format!("{what} {}", of.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_below_its_majors_floor_is_named() {
        let finding = version_finding(150_018, ServerFloor::Refuse).expect("15.18 is below");
        assert_eq!(finding.severity, Severity::Refuse);
        assert!(finding.message.contains("15.20"), "{finding}");
        assert_eq!(version_finding(150_020, ServerFloor::Refuse), None);
    }

    #[test]
    fn a_major_without_a_proof_is_named() {
        assert_eq!(version_finding(190_000, ServerFloor::Warn).map(|f| f.severity), Some(Severity::Warn));
        assert_eq!(version_finding(130_099, ServerFloor::Warn).map(|f| f.severity), Some(Severity::Refuse));
    }
}
