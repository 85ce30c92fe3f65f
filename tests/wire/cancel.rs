//! CancelRequest: the statement that runs when it comes, and no other one.

use std::collections::HashSet;
use std::time::Duration;

use crate::messages::{packet, query, startup, startup_as};
use crate::raw::PASSWORD;
use crate::relay::Relay;
use crate::stage::{Stage, probe};
use crate::support::fixture::Proxy;
use crate::support::wire::Connection;

const CANCEL: u32 = 80_877_102;
const NOTES: &str = "select count(*) from notes";

/// A client and the key that it was given.
pub fn with_key(proxy: &Proxy, user: &str) -> (Connection, Vec<u8>) {
    let client = Connection::of(proxy, user);
    let key = client.heard.iter().find(|m| m.tag == b'K').expect("BackendKeyData").body.clone();
    (client, key)
}

/// Sends a CancelRequest and waits for the end, which says nothing.
pub fn cancel(proxy: &Proxy, key: &[u8]) {
    let mut connection = Connection::to(proxy);
    connection.say(&packet(CANCEL, key));
    assert_eq!(connection.until_closed(), "");
}

/// W33: a cancel ends the statement that runs, and neither one before nor one behind it, nor anybody else's.
pub fn a_cancel_ends_what_runs_and_nothing_else(stage: &Stage) {
    let (mut a, key) = with_key(&stage.proxy, "tenant_a");
    let (mut b, _) = with_key(&stage.proxy, "tenant_b");
    let held = stage.hold("notes");
    a.say(&query(NOTES));
    b.say(&query(NOTES));
    held.by(2);
    cancel(&stage.proxy, &key);
    assert_eq!(a.hear(), "E[57014] Z[I]");
    // After the statement has ended, and twice: nothing is said, nothing is cancelled.
    cancel(&stage.proxy, &key);
    cancel(&stage.proxy, &key);
    assert!(a.is_silent_for(Duration::from_millis(200)));
    a.is_usable();
    held.release();
    assert_eq!(b.hear(), "T D[3] C[SELECT 1] Z[I]");
}

/// W33: a client that waits for a server connection can be cancelled; who has the connection is not.
pub fn a_cancel_ends_the_wait_for_a_lease(stage: &Stage) {
    let proxy = stage.narrow("w33");
    let (mut a, key_of_a) = with_key(&proxy, "tenant_a");
    let (mut b, key_of_b) = with_key(&proxy, "tenant_b");
    let held = stage.hold("notes");
    a.say(&query(NOTES));
    held.by(1);
    b.say(&query("select 1"));
    assert!(b.is_silent_for(Duration::from_millis(200)));
    cancel(&proxy, &key_of_b);
    assert_eq!(b.hear(), "E[57014] Z[I]");
    held.release();
    assert_eq!(a.hear(), "T D[3] C[SELECT 1] Z[I]");
    // B has the only connection now: A's key cancels nothing on it.
    let held = stage.hold("notes");
    b.say(&query(NOTES));
    held.by(1);
    cancel(&proxy, &key_of_a);
    assert!(b.is_silent_for(Duration::from_millis(200)));
    held.release();
    assert_eq!(b.hear(), "T D[3] C[SELECT 1] Z[I]");
    probe(&proxy);
}

/// A's statement ends while its cancel is under way, and B's comes behind it over the same connection.
fn cancel_late(stage: &Stage, name: &str, delay: Duration) {
    let relay = Relay::start(stage.server.port());
    let proxy = stage.in_front_of(relay.port, name);
    let (mut a, key) = with_key(&proxy, "tenant_a");
    let (mut b, _) = with_key(&proxy, "tenant_b");
    relay.delay_cancels(delay);
    let (notes, folders) = (stage.hold("notes"), stage.hold("folders"));
    a.say(&query(NOTES));
    notes.by(1);
    cancel(&proxy, &key);
    notes.release();
    assert_eq!(a.hear(), "T D[3] C[SELECT 1] Z[I]");
    b.say(&query("select count(*) from folders"));
    while relay.cancels() == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    folders.release();
    assert_eq!(b.hear(), "T D[7] C[SELECT 1] Z[I]");
    assert_eq!(relay.cancels(), 1);
}

/// W33: a cancel that reaches the server late finds nobody else's statement: the connection is not used again
/// before it has arrived. Fails when a lease is given back while a cancel of it is on its way.
pub fn a_late_cancel_cancels_no_other_clients_statement(stage: &Stage) {
    cancel_late(stage, "w33-late", Duration::from_millis(1500));
}

/// W33: a cancel of which nobody knows whether it has arrived costs the server connection: the proxy waits no
/// longer than 10 s for it. Fails when a lease is given back after its cancel has timed out.
pub fn a_cancel_that_is_lost_on_its_way_costs_the_connection(stage: &Stage) {
    cancel_late(stage, "w33-lost", Duration::from_secs(12));
}

/// W33, W34: keys that nobody was given, and packets of other lengths, end without a word.
pub fn wrong_keys_end_without_a_word(stage: &Stage) {
    // An address that guesses is not listened to for a while.
    let proxy = stage.proxy("w34", |config| config);
    let (mut a, key) = with_key(&proxy, "tenant_a");
    let held = stage.hold("notes");
    a.say(&query(NOTES));
    held.by(1);
    for wrong in 0..1000_u32 {
        let mut guess = key.clone();
        guess[4..].copy_from_slice(&wrong.to_be_bytes());
        if guess != key {
            cancel(&proxy, &guess);
        }
    }
    for length in [4, 12 + 20, 36, 260] {
        let mut other = key.clone();
        other.resize(length, 0);
        cancel(&proxy, &other);
    }
    assert!(a.is_silent_for(Duration::from_millis(200)));
    held.release();
    assert_eq!(a.hear(), "T D[3] C[SELECT 1] Z[I]");
}

/// W34: keys are the proxy's own, and differ in all of their bits: none is the server's, none tells of another.
pub fn keys_are_unguessable(stage: &Stage) {
    let clients: Vec<_> = (0..40).map(|_| with_key(&stage.proxy, "tenant_a")).collect();
    let keys: Vec<u64> =
        clients.iter().map(|(_, key)| u64::from_be_bytes(key[..].try_into().expect("8 bytes"))).collect();
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    // Each bit, but the sign of the process id, is 1 somewhere and 0 somewhere.
    assert_eq!(keys.iter().fold(0, |all, key| all | key), u64::MAX >> 1);
    assert_eq!(keys.iter().fold(u64::MAX, |all, key| all & key), 0);
    let pids = stage.superuser().values("select pid from pg_stat_activity");
    let known: HashSet<String> = pids.into_iter().flatten().collect();
    assert!(keys.iter().all(|key| !known.contains(&(key >> 32).to_string())));
}

/// W34: who asks for protocol 3.2 gets what the proxy says it has, and a key of a length that goes with it.
pub fn the_protocol_version_is_negotiated(stage: &Stage) {
    let proxy = stage.proxy("w34-version", |config| config);
    for (minor, options) in [(0_u32, false), (0, true), (1, false), (2, false), (9999, false), (2, true)] {
        let mut client = Connection::to(&proxy);
        let mut parameters = vec![("user", "tenant_a"), ("database", "ccm")];
        if options {
            parameters.push(("_pq_.later", "on"));
        }
        client.say(&startup_as(minor, &parameters));
        client.prove(PASSWORD).expect("it is let in");
        let told = client.heard.iter().find(|m| m.tag == b'v').map(|m| m.body.clone());
        // 3.1 was never a version: it is answered with the last one before it (PostgreSQL 18, ProcessStartupPacket).
        let granted = if minor >= 2 { 2 } else { 0 };
        let wanted = (granted != minor || options).then(|| {
            let names: &[u8] = if options { b"\0\0\0\x01_pq_.later\0" } else { b"\0\0\0\0" };
            [&((3_u32 << 16) | granted).to_be_bytes()[..], names].concat()
        });
        assert_eq!(told, wanted, "3.{minor}, options: {options}");
        let key = client.heard.iter().find(|m| m.tag == b'K').expect("BackendKeyData").body.clone();
        assert_eq!(key.len(), if granted == 2 { 36 } else { 8 }, "3.{minor}");
        // The key works, and works only whole.
        let held = stage.hold("notes");
        client.say(&query(NOTES));
        held.by(1);
        cancel(&proxy, &key[..key.len() - 4]);
        cancel(&proxy, &[&key[..], &[0; 4]].concat());
        assert!(client.is_silent_for(Duration::from_millis(100)));
        cancel(&proxy, &key);
        assert_eq!(client.hear(), "E[57014] Z[I]");
    }
    // Protocol 2, and 4.
    for version in [2_u32 << 16, 4 << 16] {
        let mut client = Connection::to(&proxy);
        let body = startup(&[("user", "tenant_a")])[8..].to_vec();
        client.say(&packet(version, &body));
        assert_eq!(client.until_closed(), "E[08P01]");
    }
}
