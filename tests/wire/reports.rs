//! ParameterStatus: what a client is told of its settings, as PostgreSQL tells it.

use std::collections::BTreeMap;

use crate::messages::{once, query, startup, sync};
use crate::raw::PASSWORD;
use crate::stage::{DATABASE, Stage};
use crate::support::wire::Connection;

type Told = BTreeMap<String, String>;

/// What both sides report alike.
const NAMES: [&str; 5] =
    ["TimeZone", "DateStyle", "IntervalStyle", "application_name", "default_transaction_read_only"];

/// What a client may begin with.
const BEGINNINGS: [&[(&str, &str)]; 5] = [
    &[],
    &[("application_name", "app")],
    &[("TimeZone", "europe/berlin"), ("DateStyle", "ISO,DMY"), ("IntervalStyle", "ISO_8601")],
    &[("options", "-c timezone=+2 -c default_transaction_read_only=on"), ("application_name", "x y")],
    &[("TimeZone", "Etc/UTC"), ("lock_timeout", "7s")],
];

const STATEMENTS: [&str; 26] = [
    "select 1",
    "set timezone to 'asia/tokyo'",
    "reset timezone",
    "set timezone to 'asia/tokyo'",
    "set datestyle to 'ISO,YMD'",
    "set datestyle to 'iso'",
    "show datestyle",
    "set application_name to 'other'",
    "reset all",
    "show timezone",
    "set timezone to 'asia/tokyo'",
    "set application_name to 'other'",
    "discard all",
    "show timezone",
    "begin",
    "set timezone to 'asia/tokyo'",
    "rollback",
    "begin",
    "set intervalstyle to 'sql_standard'",
    "commit",
    "show intervalstyle",
    "show datestyle",
    "set session characteristics as transaction read only",
    "discard all",
    "show intervalstyle",
    "show default_transaction_read_only",
];

/// At login, as settings change, and as they go back to what the session began with: whoever had the server connection
/// in between.
pub fn a_client_is_told_of_its_settings_as_by_postgresql(stage: &Stage) {
    let proxy = stage.narrow("reports");
    for beginning in BEGINNINGS {
        for extended in [false, true] {
            let user = [("user", "tenant_a"), ("database", "ccm")];
            let mut of_proxy = Side::open(proxy.port, PASSWORD, &[&user, beginning].concat());
            let direct = stage.server.direct("postgres", DATABASE);
            let user = [("user", &*direct.user), ("database", &*direct.database)];
            let password = direct.password.as_deref().unwrap_or_default();
            let mut of_server = Side::open(direct.port, password, &[&user, beginning].concat());
            assert_eq!(of_proxy.told, of_server.told, "{beginning:?}: at login");
            for (at, statement) in STATEMENTS.iter().enumerate() {
                if !of_proxy.in_transaction {
                    let mut other = Connection::of(&proxy, "tenant_b");
                    other.ask(&query(&format!("set timezone to '+{}'; set datestyle to 'ISO,DMY'", at % 12)));
                }
                let answers = (of_proxy.ask(statement, extended), of_server.ask(statement, extended));
                assert_eq!(answers.0, answers.1, "{beginning:?}: {statement} ({extended})");
                assert_eq!(of_proxy.told, of_server.told, "{beginning:?}: {statement} ({extended})");
            }
        }
    }
}

/// The server's refusal is the client's, at login, and costs no server connection.
pub fn a_setting_that_the_server_does_not_take_is_refused_at_login(stage: &Stage) {
    let mut watcher = stage.superuser();
    let mut backends =
        || watcher.values("select pid from pg_stat_activity where usename = 'app_backend' order by 1");
    let others = backends();
    let proxy = stage.narrow("reports-refused");
    let mut client = Connection::of(&proxy, "tenant_a");
    client.ask(&query("set timezone to 'Asia/Tokyo'"));
    let own: Vec<_> = backends().into_iter().filter(|pid| !others.contains(pid)).collect();
    for _ in 0..3 {
        let parameters =
            [("user", "tenant_a"), ("database", "ccm"), ("DateStyle", "ISO,DMY"), ("TimeZone", "Nowhere")];
        let error = Connection::start(&proxy, &parameters).expect_err("a refusal").to_string();
        assert!(error.contains("22023") && error.contains("Nowhere"), "{error}");
        let mut next = Connection::of(&proxy, "tenant_b");
        assert_eq!(next.values("show datestyle"), [["ISO, MDY"]]);
    }
    assert_eq!(client.values("show timezone"), [["Asia/Tokyo"]]);
    let now = backends();
    assert!(own.iter().all(|pid| now.contains(pid)), "{own:?} became {now:?}");
}

/// What the server has made of a setting before is told without asking it again.
pub fn a_known_setting_needs_no_connection_at_login(stage: &Stage) {
    let proxy = stage.narrow("reports-known");
    let parameters = [("user", "tenant_a"), ("database", "ccm"), ("TimeZone", "america/lima")];
    let open = || Side::open(proxy.port, PASSWORD, &parameters);
    assert_eq!(open().told["TimeZone"], "America/Lima");
    let mut holder = Connection::of(&proxy, "tenant_b");
    holder.ask(&query("begin"));
    assert!(holder.ask(&query("select count(*) > 0 from tags")).ends_with("Z[T]"));
    assert_eq!(open().told["TimeZone"], "America/Lima");
}

/// A connection and what it was told last.
struct Side {
    connection: Connection,
    told: Told,
    in_transaction: bool,
}

impl Side {
    fn open(port: u16, password: &str, parameters: &[(&str, &str)]) -> Self {
        let mut connection = Connection::dial(port).expect("a connection");
        connection.say(&startup(parameters));
        connection.prove(password).unwrap_or_else(|error| panic!("{parameters:?}: {error}"));
        let mut side = Self { connection, told: Told::new(), in_transaction: false };
        side.listen();
        side
    }

    fn ask(&mut self, statement: &str, extended: bool) -> String {
        let bytes = if extended { [once(statement, &[]), sync()].concat() } else { query(statement) };
        let answer = self.connection.ask(&bytes);
        assert!(!answer.contains("E["), "{statement}: {answer}");
        self.in_transaction = answer.ends_with("Z[T]");
        self.listen();
        answer
    }

    fn listen(&mut self) {
        for message in self.connection.take_heard().into_iter().filter(|message| message.tag == b'S') {
            let text = String::from_utf8(message.body).expect("a report is text");
            let mut fields = text.split('\0');
            if let (Some(name), Some(value)) = (fields.next(), fields.next())
                && NAMES.contains(&name)
            {
                self.told.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
