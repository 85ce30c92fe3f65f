//! Taking another configuration, and the catalogs as they are now, into a running proxy.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::Config;
use crate::config::model::{Barrier, Role};
use crate::metrics::Reload;
use crate::sql::World;

use super::failure::Failure;
use super::serve::{Proxy, proven_world, renew};
use super::world::{Place, runtime};

impl Proxy {
    /// Reads the certificate and the servers' catalogs anew under the configuration as it is. Where that fails the
    /// old ones stay.
    pub fn reload(&mut self) {
        self.take((*self.config).clone());
    }

    /// Takes users, token keys, tenancy and rules of another configuration, and reads the certificate and the servers'
    /// catalogs anew: every plan is made again, and sessions that could not be had any more end with 57P01. What has
    /// to wait for a restart is told.
    ///
    /// A configuration that does not fit is refused as a whole. Where a server cannot be asked, rules and catalogs
    /// stay, and nobody is let in who was not before; but who is removed is removed.
    pub fn take(&mut self, config: Config) {
        if let Some(tls) = &self.tls {
            renew(tls);
        }
        let (config, waiting) = config.under(&self.config);
        for key in waiting {
            tracing::warn!(key, "takes a restart: the old value stays");
        }
        let outcome = match self.take_all(&config) {
            Ok(()) => {
                tracing::info!("the configuration and the catalogs were read anew");
                Reload::Taken
            }
            Err(failure @ (Failure::Policy { .. } | Failure::Key(_))) => return self.refuse(&failure),
            Err(failure) => {
                tracing::error!(%failure, "rules and catalogs stay; who was removed is removed");
                if let Err(failure) = self.take_away(&config) {
                    tracing::error!(%failure, "the old users stay");
                }
                Reload::Refused
            }
        };
        self.metrics.reloaded(outcome);
    }

    /// A configuration that cannot be taken: everything stays.
    pub fn refuse(&self, failure: &Failure) {
        if let Failure::Policy { errors, .. } = failure {
            for error in errors {
                tracing::error!(%error, "the new configuration does not fit");
            }
        }
        tracing::error!(%failure, "the new configuration is refused: the old one stays");
        self.metrics.reloaded(Reload::Refused);
    }

    fn take_all(&mut self, config: &Config) -> Result<(), Failure> {
        let access = self.running.access().renewed(config)?;
        self.epoch = self.epoch.saturating_add(1);
        let rules = with_retired_roles(config, &self.config);
        let runtime = runtime()?;
        let load = |(database, target)| {
            let place = Place { config: &rules, database, target };
            runtime.block_on(proven_world(&place, self.epoch))
        };
        let worlds =
            rules.databases.iter().zip(&self.targets).map(load).collect::<Result<Vec<World>, _>>()?;
        if config.tenancy.barrier == Barrier::Off && self.config.tenancy.barrier != Barrier::Off {
            tracing::warn!(
                "barrier = \"off\": conditions and the planner's statistics can show other tenants' values"
            );
        }
        // The rules come first: nobody has a new role before it has its rules.
        for (planner, world) in self.planners.iter().zip(worlds) {
            planner.set_world(world);
        }
        self.running.admit(access);
        self.config = Arc::new(config.clone());
        Ok(())
    }

    /// Of the new users those whose rules are in force: they were there before, with the same role and tenants.
    fn take_away(&mut self, config: &Config) -> Result<(), Failure> {
        let mut kept = (*self.config).clone();
        let same = |user: &&crate::config::model::User| {
            let before = self.config.users.iter().find(|before| before.name == user.name);
            before.is_some_and(|before| before.role == user.role && before.tenant == user.tenant)
        };
        kept.users = config.users.iter().filter(same).cloned().collect();
        kept.token_keys.clone_from(&config.token_keys);
        self.running.admit(self.running.access().renewed(&kept)?);
        self.config = Arc::new(kept);
        Ok(())
    }
}

/// A role without an entry may do everything that tenancy allows. One that had users or an entry and has neither any
/// more is no such role, as long as a session may still have it: it may do nothing.
fn with_retired_roles(config: &Config, before: &Config) -> Config {
    let mut config = config.clone();
    let names = |config: &Config| -> BTreeSet<String> {
        let of_users = config.users.iter().map(|user| &user.role);
        of_users.chain(config.roles.iter().map(|role| &role.name)).cloned().collect()
    };
    let retired = names(before).difference(&names(&config)).cloned().collect::<Vec<_>>();
    let nothing = |name| Role { name, read_only: true, default_allow: false, rules: Vec::new() };
    config.roles.extend(retired.into_iter().map(nothing));
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    fn config(role: &str) -> Config {
        let verifier = crate::auth::verifier::make("x");
        let text = format!(
            "[general]\nlisten = [\"127.0.0.1:0\"]\n[[databases]]\nname = \"db\"\nhost = \"h\"\nuser = \"u\"\n\
             [tenancy]\ncolumn = \"t\"\n[audit]\nsink = \"none\"\n\
             [[users]]\nname = \"a\"\nrole = \"{role}\"\ntenant = \"1\"\nverifier = \"{verifier}\"\n"
        );
        config::parse("test", &text, &Environment::new()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn role_that_nobody_has_any_more_may_do_nothing() {
        let rules = with_retired_roles(&config("new"), &config("old"));
        let [retired] = rules.roles.as_slice() else { panic!("{:?}", rules.roles) };
        assert!(retired.name == "old" && retired.read_only && !retired.default_allow);
        assert!(with_retired_roles(&config("same"), &config("same")).roles.is_empty());
    }
}
