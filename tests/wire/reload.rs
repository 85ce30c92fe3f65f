//! SIGHUP: who is removed is out at once, who is added gets in, and a configuration that is not one changes nothing.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::messages::{query, startup};
use crate::raw::PASSWORD;
use crate::stage::Stage;
use crate::support::fixture::Proxy;
use crate::support::wire::Connection;

const OWN: &str = "select tenant_id, count(*) from documents group by 1";

/// A proxy, its configuration file, and what that said at first.
struct Reloading {
    proxy: Proxy,
    file: PathBuf,
    first: String,
}

impl Reloading {
    fn new(stage: &Stage) -> Self {
        let verifier = postgres_protocol::password::scram_sha_256(PASSWORD.as_bytes());
        let proxy = stage.proxy("reload", |config| {
            format!(
                "{config}\n[[users]]\nname = \"several\"\nverifier = \"{verifier}\"\nrole = \"app\"\ntenants = [\"1\", \"2\"]\n"
            )
        });
        let file = proxy.directory.join("pgbulkhead.toml");
        let first = std::fs::read_to_string(&file).expect("the configuration");
        Self { proxy, file, first }
    }

    /// Writes another configuration, and waits until the proxy has said what it makes of it.
    fn reload(&self, text: &str, said: &str) {
        std::fs::write(&self.file, text).expect("the configuration");
        let before = self.proxy.log().matches(said).count();
        let id = self.proxy.process().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().expect("kill").success());
        for _ in 0..600 {
            if self.proxy.log().matches(said).count() > before {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{said:?} is not said: {}", self.proxy.log());
    }

    fn several(&self, tenant: &str) -> Connection {
        let options = format!("-c pgbulkhead.tenant={tenant}");
        let parameters = [("user", "several"), ("database", "ccm"), ("options", options.as_str())];
        Connection::start(&self.proxy, &parameters).expect("it is let in")
    }

    /// Whether a login ends well.
    fn lets_in(&self, user: &str, password: &str) -> bool {
        let mut client = Connection::to(&self.proxy);
        client.say(&startup(&[("user", user), ("database", "ccm")]));
        client.prove(password).is_ok()
    }
}

const TAKEN: &str = "the configuration and the catalogs were read anew";
const REFUSED: &str = "the new configuration is refused";

/// The configuration with another user in this one's place.
fn without(config: &str, user: &str) -> String {
    let name = format!("name = \"{user}\"");
    assert!(config.contains(&name), "no {user}");
    config.replace(&name, "name = \"somebody_else\"")
}

/// W15: a removed user's and a removed tenant's sessions end with 57P01 at once, idle, in a transaction and with a
/// statement that runs; one whose verifier only has changed goes on, and the new one is asked for; a file that is no
/// configuration, or does not fit, changes nothing.
pub fn a_reload_ends_the_sessions_of_who_is_removed(stage: &Stage) {
    let reloading = Reloading::new(stage);
    let proxy = &reloading.proxy;
    let mut kept = Connection::of(proxy, "tenant_a");
    let (mut idle, mut open, mut busy) = (
        Connection::of(proxy, "tenant_b"),
        Connection::of(proxy, "tenant_b"),
        Connection::of(proxy, "tenant_b"),
    );
    let (mut first, mut second) = (reloading.several("1"), reloading.several("2"));
    let mut by_token = Connection::of(proxy, "by_token");
    by_token.is_usable();
    assert_eq!(open.ask(&query("begin")), "C[BEGIN] Z[T]");
    open.ask(&query(OWN));

    // What is no configuration changes nothing.
    for wrong in [
        reloading.first.replace("[tenancy]", "[tenancy"),
        format!("{}\n[[tables]]\nname = \"app.nowhere\"\nkind = \"shared\"\n", reloading.first),
        format!("{}\nunknown = 1\n", reloading.first),
    ] {
        reloading.reload(&wrong, REFUSED);
        assert_eq!(kept.ask(&query(OWN)), "T D[1|40] C[SELECT 1] Z[I]");
        assert_eq!(open.ask(&query("select 1")), "T D[1] C[SELECT 1] Z[T]");
    }

    // tenant_b is gone, and so are tenant 2 of the others; tenant_a has another
    // password; what takes a restart is told.
    busy.say(&query("select pg_sleep(60)"));
    let other = postgres_protocol::password::scram_sha_256(b"another");
    let changed =
        without(&reloading.first, "tenant_b").replace("tenants = [\"1\", \"2\"]", "tenants = [\"1\"]");
    let changed = changed.replace("default_pool_size = 4", "default_pool_size = 5");
    let at = changed.find("name = \"tenant_a\"").expect("tenant_a");
    let (before, after) = changed.split_at(at);
    let from = after.find("verifier = \"").expect("a verifier");
    let length = after[from + 12..].find('"').expect("its end");
    let changed = format!("{before}{}{other}{}", &after[..from + 12], &after[from + 12 + length..]);
    reloading.reload(&changed, TAKEN);
    for ended in [&mut idle, &mut open] {
        assert_eq!(ended.until_closed(), "E[57P01]");
    }
    assert!(busy.until_closed().ends_with("E[57P01]"));
    assert_eq!(second.until_closed(), "E[57P01]");
    assert_eq!(first.ask(&query(OWN)), "T D[1|40] C[SELECT 1] Z[I]");
    assert_eq!(kept.ask(&query(OWN)), "T D[1|40] C[SELECT 1] Z[I]");
    assert!(proxy.log().contains("general.default_pool_size"), "{}", proxy.log());
    assert!(!reloading.lets_in("tenant_a", PASSWORD) && reloading.lets_in("tenant_a", "another"));
    assert!(!reloading.lets_in("tenant_b", PASSWORD) && reloading.lets_in("somebody_else", PASSWORD));

    // And everything is as it was.
    reloading.reload(&reloading.first, TAKEN);
    let mut back = Connection::of(proxy, "tenant_b");
    assert_eq!(back.ask(&query(OWN)), "T D[2|40] C[SELECT 1] Z[I]");
    kept.is_usable();
}

/// W15, W36: rules that have changed hold for the next statement of a session, also of one that was prepared before.
pub fn a_reload_empties_the_plans(stage: &Stage) {
    use crate::messages::{bind, execute, parse, sync};
    const SHARED: &str = "select count(*) < 0 from countries";
    let reloading = Reloading::new(stage);
    let mut client = Connection::of(&reloading.proxy, "tenant_a");
    assert_eq!(client.ask(&[parse("s", SHARED, &[]), sync()].concat()), "1 Z[I]");
    let run = [bind("", "s", &[]), execute("", 0), sync()].concat();
    assert_eq!(client.ask(&run), "2 D[f] C[SELECT 1] Z[I]");
    assert_eq!(client.ask(&query(SHARED)), "T D[f] C[SELECT 1] Z[I]");
    let denied = reloading.first.replace("kind = \"shared\"", "kind = \"denied\"");
    reloading.reload(&denied, TAKEN);
    for message in [run.clone(), query(SHARED)] {
        let answer = client.ask(&message);
        assert!(answer.contains("E[42P01]") && !answer.contains("D["), "{answer}");
    }
    reloading.reload(&reloading.first, TAKEN);
    assert_eq!(client.ask(&run), "2 D[f] C[SELECT 1] Z[I]");
}

/// An index that is a proof is dropped behind the proxy's back, and another tenant's row is there that its expression
/// raises on: nobody sees it, neither at once nor later; and the catalog is read anew by itself. The relation is a child,
/// whose own predicate is dear: the server looks at the cast first.
pub fn a_dropped_index_is_no_proof_any_more(stage: &Stage) {
    use crate::messages::{bind, execute, parse, sync};
    const ASKED: &str = "select count(*) from proved_pages where body::int >= 0";
    const MADE: &str = "create index proved_body on app.proved_pages ((body::int))";
    const RAISING: &str = "insert into app.proved_pages values (2, 'not a number')";
    let mut owner = stage.superuser();
    owner.run(&format!(
        "create table app.proved (tenant_id int not null, id int primary key); \
         create table app.proved_pages (proved_id int not null references app.proved, body text); \
         grant select on app.proved, app.proved_pages to public; {MADE}; \
         insert into app.proved values (1, 1), (2, 2); insert into app.proved_pages values (1, '1'), (2, '2')"
    ));
    let proxy = stage.proxy("proved", |config| {
        format!(
            "{config}\n[[tables]]\nname = \"app.proved_pages\"\nkind = \"child\"\nparent = \"app.proved\"\n\
             on = {{ proved_id = \"id\" }}\n"
        )
    });
    let mut client = Connection::of(&proxy, "tenant_a");
    let run = [bind("", "s", &[]), execute("", 0), sync()].concat();
    let fine = |client: &mut Connection| {
        client.ask(&query(ASKED)) == "T D[1] C[SELECT 1] Z[I]"
            && client.ask(&run) == "2 D[1] C[SELECT 1] Z[I]"
    };
    assert_eq!(client.ask(&[parse("s", ASKED, &[]), sync()].concat()), "1 Z[I]");
    assert!(fine(&mut client));

    let taken = |proxy: &Proxy| proxy.log().matches(TAKEN).count();

    // Another index under the name, and then none.
    for change in ["create index proved_body on app.proved_pages ((length(body)))", "select 1"] {
        owner.run(&format!("drop index app.proved_body; {change}; {RAISING}"));
        for message in [&query(ASKED), &run] {
            let answer = client.ask(message);
            assert!(answer.contains("E[40001]") || answer.contains("D[1]"), "{answer}");
        }
        until(|| fine(&mut client), &proxy);
        owner.run("delete from app.proved_pages where body = 'not a number'");
        let before = taken(&proxy);
        owner.run(&format!("drop index if exists app.proved_body; {MADE}"));
        until(|| taken(&proxy) > before, &proxy);
        assert!(fine(&mut client), "the index is a proof again");
    }
    assert!(proxy.log().contains("a catalog has changed"), "{}", proxy.log());
    owner.run("drop table app.proved_pages; drop table app.proved");
}

/// A relation that was made or dropped is noticed without a signal.
pub fn a_change_of_the_schema_is_noticed(stage: &Stage) {
    const ASKED: &str = "select count(*) from noticed";
    let mut owner = stage.superuser();
    let proxy = stage.proxy("noticed", |config| config);
    let mut client = Connection::of(&proxy, "tenant_a");
    assert!(client.ask(&query(ASKED)).contains("E[42P01]"));
    owner.run(
        "create table app.noticed (tenant_id int not null); grant select on app.noticed to public; \
         insert into app.noticed values (1), (2), (2)",
    );
    until(|| client.ask(&query(ASKED)) == "T D[1] C[SELECT 1] Z[I]", &proxy);
    owner.run("drop table app.noticed");
}

/// Waits until something holds.
fn until(mut holds: impl FnMut() -> bool, proxy: &Proxy) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it does not come to hold: {}", proxy.log());
}
