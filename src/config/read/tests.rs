use super::*;
use crate::config::model::{
    AuditSink, AuthMethod, Password, PoolMode, Secret, TableKind, TenantSource, TokenAlgorithm, UserAuth,
};

const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

/// A configuration that is right, with `more` after it.
fn with(more: &str) -> String {
    format!(
        "[general]\n[[databases]]\nname = \"ccm\"\nhost = \"127.0.0.1\"\nuser = \"app_backend\"\n\
         [tenancy]\ncolumn = \"tenant_id\"\n[audit]\nsink = \"none\"\n{more}"
    )
}

fn user(rest: &str) -> String {
    with(&format!("[[users]]\nname = \"u\"\nrole = \"app\"\nverifier = \"{VERIFIER}\"\n{rest}\n"))
}

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn good(text: &str) -> Config {
    parse("test.toml", text, &env(&[])).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What is wrong with a text, one message a line.
fn wrong(text: &str) -> String {
    let errors = parse("test.toml", text, &env(&[])).expect_err("the text is right");
    errors.problems().iter().map(|problem| problem.message.clone() + "\n").collect()
}

#[test]
fn the_reference_configuration_is_read() {
    let config = good(include_str!("../../../config/pgbulkhead.toml"));
    assert_eq!(config.databases.len(), 1);
    assert_eq!(config.general.pool_mode, PoolMode::Transaction);
    assert!(!config.users.is_empty());
}

/// What is commented out and no example is the default: written out, nothing changes.
#[test]
fn the_reference_configuration_shows_the_defaults_of_general() {
    let text = include_str!("../../../config/pgbulkhead.toml");
    let (general, _) = text.split_once("\n# [[listeners]]").unwrap();
    let is_default =
        |line: &&str| line.starts_with("# ") && line.contains(" = ") && !line.contains("example");
    let defaults: Vec<&str> = general.lines().filter(is_default).map(|line| &line[2..]).collect();
    let without = |keys: &[&str]| {
        let keep = |line: &&&str| !keys.iter().any(|key| line.starts_with(&format!("{key} =")));
        defaults.iter().filter(keep).fold(String::new(), |text, line| text + line + "\n")
    };
    // The defaults of the first two depend on the machine and on the size of the pool, and there is no certificate.
    let written = without(&["workers", "max_pinned", "tls_cert_file", "tls_key_file"]);
    assert!(written.lines().count() > 20, "{written}");
    let config = good(&with("").replace("[general]\n", &format!("[general]\n{written}")));
    assert_eq!(format!("{:?}", config.general), format!("{:?}", good(&with("")).general));
}

/// Each key that is asked for stands in the reference.
#[test]
fn the_reference_configuration_has_every_key() {
    let reference = include_str!("../../../config/pgbulkhead.toml");
    let sources = [
        include_str!("general.rs"),
        include_str!("databases.rs"),
        include_str!("rules.rs"),
        include_str!("users.rs"),
    ];
    let asks = [".or(", ".optional(", ".required(", ".spanned(", ".sections("];
    let mut keys = Vec::new();
    for source in sources {
        for rest in asks.iter().flat_map(|ask| source.split(ask).skip(1)) {
            keys.extend(rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()));
        }
    }
    assert!(keys.len() > 60, "{keys:?}");
    // A former key, which is asked for to say what came in its place.
    keys.retain(|key| *key != "max_held_connections");
    let words: Vec<&str> = reference.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    keys.retain(|key| !words.contains(key));
    assert_eq!(keys, [""; 0]);
}

#[test]
fn the_corpus_configuration_is_read_as_it_stands_but_for_its_verifiers() {
    let text = include_str!("../../../tests/corpus/pgbulkhead.toml").replace("SCRAM-SHA-256$…", VERIFIER);
    let config = good(&text);
    assert_eq!((config.users.len(), config.tables.len(), config.sequences.len()), (2, 6, 1));
    assert_eq!(config.databases[0].auth_method, AuthMethod::Trust);
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = good(&with(""));
    assert_eq!(config.general.default_pool_size, 16);
    assert_eq!(config.general.max_client_conn, 5000);
    assert_eq!(config.databases[0].dbname, "ccm");
    assert_eq!(config.databases[0].auth_method, AuthMethod::Trust);
    assert_eq!(config.audit.sink, AuditSink::None);
}

#[test]
fn every_error_is_told_in_one_pass_with_its_line() {
    let text = "[general]\nlisten = [\"localhost\"]\ndefault_poolsize = 4\nidle_timeout = 5\n\
        [[databases]]\nname = \"ccm\"\nport = 99999\npassword_env = \"NOT_SET\"\n\
        [tenancy]\nmode = \"enforced\"\n[[tables]]\nname = \"documents\"\nkind = \"tenant\"\n\
        [[users]]\nname = \"u\"\nverifier = \"secret\"\n[adit]\n";
    let errors = parse("x.toml", text, &env(&[])).expect_err("the text is wrong");
    let told = errors.to_string();
    for (line, what) in [
        (2, "`listen`: expected an address"),
        (3, "unknown key `default_poolsize` in [general]"),
        (4, "`idle_timeout`: expected a duration"),
        (5, "[[databases]] \"ccm\" lacks `host`"),
        (7, "`port`: must lie between 1 and 65535"),
        (8, "`password_env`: NOT_SET is not set"),
        (9, "[tenancy] lacks `column`"),
        (10, "`mode`: \"enforced\" is none of"),
        (12, "`name`: expected schema.name"),
        (14, "[[users]] \"u\" lacks `role`"),
        (14, "the `verifier` of [[users]] \"u\""),
        (14, "[[users]] \"u\" has no tenant"),
        (17, "unknown key `adit`"),
    ] {
        let at = told.find(what).unwrap_or_else(|| panic!("{what} is missing in\n{told}"));
        let place = told[at..].find("x.toml:").map(|offset| &told[at + offset + 7..]).unwrap();
        assert_eq!(place.split(':').next(), Some(line.to_string().as_str()), "{what}\n{told}");
    }
    assert!(told.contains("did you mean `default_pool_size`?") && told.contains("did you mean `audit`?"));
    assert!(told.contains("[audit] lacks `sink`"));
}

#[test]
fn a_syntax_error_does_not_hide_the_others() {
    let told = wrong(&with("[[tables]]\nname = \nkind = \"tenant\"\n[[sequences]]\nname = \"a.b\"\n"));
    assert!(told.contains("[[sequences]] \"a.b\" lacks `access`"), "{told}");
    assert!(told.lines().count() >= 2, "{told}");
    assert!(wrong(&with("[general]\n")).contains("duplicate"));
}

#[test]
fn variables_override_and_are_checked_the_same_way() {
    let set = env(&[
        ("PGBULKHEAD_GENERAL_LISTEN", "127.0.0.1:1,127.0.0.1:2"),
        ("PGBULKHEAD_GENERAL_DEFAULT_POOL_SIZE", "3"),
        ("PGBULKHEAD_GENERAL_POOL_MODE", "session"),
        ("PGBULKHEAD_GENERAL_IDLE_TIMEOUT", "5s"),
        ("PGBULKHEAD_LOG", "debug"),
    ]);
    let config = parse("x", &with(""), &set).unwrap();
    assert_eq!((config.general.listen.len(), config.general.default_pool_size), (2, 3));
    assert_eq!(config.general.pool_mode, PoolMode::Session);
    let unset = env(&[("PGBULKHEAD_GENERAL_POOL_MOD", "session"), ("PGBULKHEAD_AUDIT_QUEUE", "many")]);
    let told = parse("x", &with(""), &unset).expect_err("wrong").to_string();
    assert!(told.contains("PGBULKHEAD_GENERAL_POOL_MOD: unknown key `pool_mod`"), "{told}");
    assert!(told.contains("PGBULKHEAD_AUDIT_QUEUE: `queue`: expected a whole number"), "{told}");
}

#[test]
fn a_password_comes_from_one_place() {
    let base = "[general]\n[tenancy]\ncolumn = \"t\"\n[audit]\nsink = \"none\"\n\
        [[databases]]\nname = \"ccm\"\nhost = \"h\"\nuser = \"u\"\n";
    let set = env(&[("PW", "s3cret")]);
    let config = parse("x", &format!("{base}password_env = \"PW\"\n"), &set).unwrap();
    let database = &config.databases[0];
    assert_eq!(database.password, Password::Text(Secret("s3cret".to_owned())));
    assert_eq!(database.auth_method, AuthMethod::ScramSha256);
    assert!(!format!("{config:?}").contains("s3cret"));
    let both = parse("x", &format!("{base}password_env = \"PW\"\npassword = \"hush hush\"\n"), &set);
    let told = both.expect_err("both").to_string();
    assert!(told.contains("only one of") && !told.contains("hush"), "{told}");
    assert!(wrong(&format!("{base}password_file = \"/nonexistent/pw\"\n")).contains("No such file"));
    assert!(wrong(&format!("{base}auth_method = \"scram-sha-256\"\n")).contains("needs a password"));
    assert!(wrong(&format!("{base}tls = \"verify-full\"\n")).contains("needs `tls_ca_file`"));
    assert!(wrong(&format!("{base}search_path = [\"$user\"]\n")).contains("differs from session"));
}

#[test]
fn a_child_has_one_parent_or_any_of_several() {
    let child = |rest: &str| with(&format!("[[tables]]\nname = \"app.x\"\nkind = \"child\"\n{rest}\n"));
    let parents = |rest: &str| match &good(&child(rest)).tables[0].kind {
        TableKind::Child { parents } => parents.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(parents("parent = \"app.y\"\non = { y_id = \"id\" }"), 1);
    let two = "any = [{ parent = \"app.y\", on = { y_id = \"id\" } }, { parent = \"app.z\", on = { z_id = \"id\" } }]";
    assert_eq!(parents(two), 2);
    assert!(wrong(&child("")).contains("lacks `parent`"));
    assert!(wrong(&child("any = []")).contains("`any` is empty"));
    assert!(wrong(&child("parent = \"app.y\"\non = {}")).contains("expected pairs"));
    assert!(wrong(&child(&format!("parent = \"app.y\"\n{two}"))).contains("in the place of `parent`"));
    assert!(wrong(&child("parent = \"app.y\"\non = { y = \"id\" }\ncolumn = \"c\"")).contains("unknown key"));
}

#[test]
fn a_user_says_how_it_logs_in_and_whose_it_is() {
    assert_eq!(good(&user("tenant = \"1\"")).users[0].tenant, TenantSource::Fixed("1".into()));
    let choice = good(&user("tenants = [\"1\", \"2\"]"));
    assert_eq!(choice.users[0].tenant, TenantSource::Choice(vec!["1".into(), "2".into()]));
    for (rest, what) in [
        ("", "has no tenant"),
        ("tenant = \"1\"\ntenants = [\"2\"]", "both `tenant` and `tenants`"),
        ("tenant = 1", "expected a string"),
        ("tenant = \"1' or true\"", "a tenant is 1 to 128 bytes"),
        ("tenants = []", "must not be empty"),
        ("tenant_from = \"token\"", "no key verifies one"),
        ("tenant = \"1\"\nauth = \"tenant_token\"", "both `auth` and `verifier`"),
        ("tenant = \"1\"\n[[users]]\nname = \"u\"", "a second [[users]] \"u\""),
    ] {
        assert!(wrong(&user(rest)).contains(what), "{rest}: {}", wrong(&user(rest)));
    }
    let no_auth = with("[[users]]\nname = \"u\"\nrole = \"app\"\ntenant = \"1\"\n");
    assert!(wrong(&no_auth).contains("cannot log in"));
}

#[test]
fn a_token_user_needs_a_key_and_a_safe_way() {
    let key = std::env::temp_dir().join(format!("pgbulkhead-key-{}", std::process::id()));
    std::fs::write(&key, [7; 32]).unwrap();
    let text = with(&format!(
        "[[token_keys]]\nkid = \"k\"\nalgorithm = \"HS256\"\nfile = \"{}\"\n\
         [[users]]\nname = \"u\"\nrole = \"app\"\nauth = \"tenant_token\"\ntenants = [\"1\"]\n",
        key.display()
    ));
    let config = good(&text);
    assert_eq!(config.token_keys[0].algorithm, TokenAlgorithm::Hs256);
    assert_eq!(config.users[0].auth, UserAuth::TenantToken);
    assert_eq!(config.users[0].tenant, TenantSource::Token { allowed: vec!["1".into()] });
    let open = text.replace("[general]\n", "[general]\nlisten = [\"0.0.0.0:6432\"]\n");
    assert!(wrong(&open).contains("would cross the network in clear"));
    std::fs::remove_file(key).unwrap();
}

#[test]
fn rules_of_roles_are_read() {
    let config = good(&with(
        "[[roles]]\nname = \"viewer\"\nread_only = true\ndefault_allow = false\n\
         [[roles.rules]]\ntable = \"app.documents\"\nallow = [\"select\"]\ndenied_columns = [\"secret\"]\n",
    ));
    let role = &config.roles[0];
    assert!(role.read_only && !role.default_allow);
    assert_eq!(role.rules[0].denied_columns, ["secret"]);
    assert!(
        wrong(&with("[[roles]]\nname = \"r\"\n[[roles.rules]]\ntable = \"a.b\"\n")).contains("lacks `allow`")
    );
}

/// A configuration whose database has these lines more.
fn database(lines: &str) -> String {
    with("").replace("user = \"app_backend\"\n", &format!("user = \"app_backend\"\n{lines}\n"))
}

#[test]
fn a_command_gives_the_password() {
    let command = "password_command = [\"aws\", \"rds\", \"token\"]\npassword_lifetime = \"10m\"";
    let config = good(&database(command));
    let Password::Command(command) = &config.databases[0].password else { panic!("no command") };
    assert_eq!(command.words, ["aws", "rds", "token"]);
    assert_eq!(config.databases[0].auth_method, AuthMethod::ScramSha256);
    for (lines, what) in [
        ("password = \"x\"\npassword_command = [\"y\"]", "only one of `password`"),
        ("password = \"x\"\npassword_lifetime = \"1m\"", "belong to `password_command`"),
        ("password_command = []", "`password_command`: must not be empty"),
        ("password_file = \"/nowhere/password\"", "`password_file`: /nowhere/password"),
        ("auth_method = \"password\"", "needs a password"),
    ] {
        let told = wrong(&database(lines));
        assert!(told.contains(what), "{lines}: {told}");
    }
}

#[test]
fn a_password_in_clear_needs_a_verified_server() {
    for tls in ["disable", "prefer", "require"] {
        let lines = format!("password = \"x\"\nauth_method = \"password\"\ntls = \"{tls}\"");
        assert!(wrong(&database(&lines)).contains("in clear to an unverified server"), "{tls}");
    }
    let lines =
        "password = \"x\"\nauth_method = \"password\"\ntls = \"verify-full\"\ntls_ca_file = \"Cargo.toml\"";
    assert_eq!(good(&database(lines)).databases[0].auth_method, AuthMethod::Password);
    let lines = "password = \"x\"\nchannel_binding = \"require\"\ntls = \"disable\"";
    assert!(wrong(&database(lines)).contains("needs TLS"));
}

#[test]
fn sizes_of_a_pool_fit_each_other() {
    assert!(wrong(&with("").replace("[general]\n", "[general]\nmin_pool_size = 17\n")).contains("larger"));
    assert!(wrong(&database("pool_size = 2\nmin_pool_size = 3")).contains("larger than `pool_size`"));
    let config = good(&database(
        "pool_size = 3\nmin_pool_size = 3\nreserve_pool_size = 2\nmax_tenant_connections = 1",
    ));
    assert_eq!(config.databases[0].reserve_pool_size, Some(2));
}

#[test]
fn a_mode_that_enforces_nothing_is_refused() {
    let told = wrong(&with("").replace("column =", "mode = \"observe\"\ncolumn ="));
    assert!(told.contains("\"observe\" is none of \"enforce\""), "{told}");
    good(&with("").replace("column =", "mode = \"enforce\"\ncolumn ="));
}

#[test]
fn listeners_have_their_own_tls() {
    let listener = "[[listeners]]\naddress = \"127.0.0.1:7000\"\ntls = \"require\"\n";
    assert!(wrong(&with(listener)).contains("needs `tls_cert_file`"));
    let files = "[general]\ntls_cert_file = \"Cargo.toml\"\ntls_key_file = \"Cargo.toml\"\n";
    let config = good(&with(listener).replace("[general]\n", files));
    let tls: Vec<_> = config.general.listeners().map(|listener| listener.has_tls()).collect();
    assert_eq!(tls, [false, true]);
    assert!(wrong(&with("[[listeners]]\naddress = \"7000\"\n")).contains("lacks `tls`"));
}
