//! Plans and server-side statements are shared by all tenants, and hold none of them.

use std::process::Command;
use std::time::Duration;

use crate::messages::{bind, execute, once, parse, query, sync};
use crate::relay::Relay;
use crate::stage::{Stage, probe};
use crate::support::wire::Connection;

const OWN: &str = "select tenant_id, count(*) from documents where id > $1 group by 1";

/// W35: the same bytes of two tenants, in both protocols and under the same names, over one server connection:
/// each gets its own rows, and the server parses a statement once.
pub fn the_same_bytes_of_two_tenants_give_each_its_own(stage: &Stage) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, "w35");
    let mut clients = [Connection::of(&proxy, "tenant_a"), Connection::of(&proxy, "tenant_b")];
    relay.take_sent();
    for client in &mut clients {
        assert_eq!(client.ask(&[parse("s1", OWN, &[]), sync()].concat()), "1 Z[I]");
    }
    for round in 0..100_usize {
        for (client, tenant) in clients.iter_mut().zip(1..) {
            let simple = query("select tenant_id, count(*) from documents where id > 0 group by 1");
            let own = format!("D[{tenant}|40] C[SELECT 1] Z[I]");
            assert_eq!(client.ask(&simple), format!("T {own}"), "round {round}");
            let named = [bind("p1", "s1", &["0"]), execute("p1", 0), sync()].concat();
            assert_eq!(client.ask(&named), format!("2 {own}"), "round {round}");
            assert_eq!(
                client.ask(&[once(OWN, &["0"]), sync()].concat()),
                format!("1 2 {own}"),
                "round {round}"
            );
            client.take_heard();
        }
    }
    let sent = relay.take_sent();
    assert_eq!(sent.iter().filter(|m| m.tag == b'P').count(), 1, "the server parses it once");
    let texts = sent.iter().filter(|m| m.tag == b'P').map(|m| String::from_utf8_lossy(&m.body).into_owned());
    assert!(texts.clone().all(|text| text.contains("$2")), "{:?}", texts.collect::<Vec<_>>());
}

/// W36, R9: a cache whose plans turn each other out, and a catalog that is read anew between Parse and
/// Execute: a plan is the statement's own, of its role and its time.
pub fn evicted_and_outdated_plans_are_made_anew(stage: &Stage) {
    let mut superuser = stage.superuser();
    superuser.run(
        "create table app.w36 (tenant_id int not null, id int primary key, v text);
         insert into app.w36 values (1, 1, 'CANARY_A'), (2, 2, 'CANARY_B');
         grant select on app.w36 to app_backend",
    );
    let proxy = stage.proxy("w36", |config| {
        config.replace("[general]", "[general]\nplan_cache_entries = 16").replace("size = 4", "size = 1")
    });
    let mut clients = [Connection::of(&proxy, "tenant_a"), Connection::of(&proxy, "tenant_b")];
    for round in 0..15_usize {
        for (client, tenant) in clients.iter_mut().zip(1..) {
            for number in 0..10 {
                let column = ["id", "title", "status", "amount", "customer_id"][number % 5];
                let sql = format!("select tenant_id, count({column}) from documents as d{number} group by 1");
                let own = format!("D[{tenant}|40] C[SELECT 1] Z[I]");
                assert_eq!(client.ask(&query(&sql)), format!("T {own}"), "round {round}");
                assert_eq!(client.ask(&[once(&sql, &[]), sync()].concat()), format!("1 2 {own}"));
            }
            client.take_heard();
        }
    }
    // The tenant column of a prepared statement's table becomes another one.
    let [a, _] = &mut clients;
    let own = "select id from w36";
    assert_eq!(a.ask(&[parse("w36", own, &[]), sync()].concat()), "1 Z[I]");
    assert_eq!(a.ask(&[bind("", "w36", &[]), execute("", 0), sync()].concat()), "2 D[1] C[SELECT 1] Z[I]");
    superuser.run(
        "alter table app.w36 rename column tenant_id to was; alter table app.w36 add tenant_id int not null default 2",
    );
    reload(&proxy.process().to_string());
    let mut answer = String::new();
    for _ in 0..40 {
        answer = a.ask(&[bind("", "w36", &[]), execute("", 0), sync()].concat());
        if answer == "2 C[SELECT 0] Z[I]" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(answer, "2 C[SELECT 0] Z[I]");
    superuser.run("drop table app.w36");
    reload(&proxy.process().to_string());
    probe(&proxy);
}

/// SIGHUP.
fn reload(process: &str) {
    assert!(Command::new("kill").args(["-HUP", process]).status().expect("kill").success());
}
