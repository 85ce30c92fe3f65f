//! The program from the outside: what it prints, and its exit codes.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A file that is gone when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgbulkhead-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn pgbulkhead(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgbulkhead"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const CONFIG: &str = "[general]\n[[databases]]\nname = \"ccm\"\nhost = \"127.0.0.1\"\nuser = \"app_backend\"\n\
    [tenancy]\ncolumn = \"tenant_id\"\n[audit]\nsink = \"none\"\n";

#[test]
fn config_errors_are_told_all_at_once_with_exit_code_2() {
    let config = Scratch::new(
        "wrong.toml",
        "[general]\npool_mod = \"session\"\nidle_timeout = 5\n[[users]]\nname = \"u\"\nrole = \"r\"\n",
    );
    let output = pgbulkhead(&["check", "--config", config.path()], "");
    assert_eq!(code(&output), 2);
    let told = text(&output.stderr);
    for what in [
        "unknown key `pool_mod` in [general]",
        "did you mean `pool_mode`?",
        &format!("{}:2:1", config.path()),
        "pool_mod = \"session\"",
        "`idle_timeout`: expected a duration",
        "there is no [[databases]]",
        "[tenancy] lacks `column`",
        "[[users]] \"u\" has no tenant",
        "errors in the configuration",
    ] {
        assert!(told.contains(what), "{what} is missing in\n{told}");
    }
    assert!(!told.contains('\u{1b}'), "colours outside a terminal");
    let missing = pgbulkhead(&["check", "--config", "/nonexistent.toml"], "");
    assert_eq!(code(&missing), 2);
    assert!(text(&missing.stderr).contains("/nonexistent.toml: cannot be read"));
}

#[test]
fn a_hashed_password_is_a_users_verifier() {
    let output = pgbulkhead(&["hash-password"], "correct horse\n");
    assert_eq!(code(&output), 0);
    let verifier = text(&output.stdout);
    assert!(verifier.starts_with("SCRAM-SHA-256$4096:") && verifier.lines().count() == 1);
    let user = format!(
        "{CONFIG}[[users]]\nname = \"u\"\nrole = \"r\"\ntenant = \"1\"\nverifier = \"{}\"\n",
        verifier.trim()
    );
    let config = Scratch::new("user.toml", &user);
    let checked = pgbulkhead(&["check", "--offline", "--config", config.path()], "");
    assert_eq!(code(&checked), 0, "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("1 database, 1 user"));
    assert_eq!(code(&pgbulkhead(&["hash-password"], "\n")), 1);
}

#[test]
fn check_fails_where_the_barrier_is_off() {
    let off = CONFIG.replace("column = \"tenant_id\"", "column = \"tenant_id\"\nbarrier = \"off\"");
    let config = Scratch::new("off.toml", &off);
    let output = pgbulkhead(&["check", "--offline", "--config", config.path()], "");
    assert_eq!(code(&output), 1);
    assert!(text(&output.stdout).contains("barrier = \"off\""));
}

#[test]
fn check_fails_where_certificates_or_the_password_cannot_be_had() {
    let pem = Scratch::new("no.pem", "this is no certificate\n");
    let listener =
        format!("[general]\ntls = \"require\"\ntls_cert_file = \"{0}\"\ntls_key_file = \"{0}\"", pem.path());
    let server = format!("user = \"app_backend\"\ntls = \"verify-full\"\ntls_ca_file = \"{}\"", pem.path());
    let command =
        "user = \"app_backend\"\npassword_command = [\"sh\", \"-c\", \"echo no token >&2; exit 7\"]";
    for (text_of, offline, what) in [
        (CONFIG.replace("[general]", &listener), true, pem.path()),
        (CONFIG.replace("user = \"app_backend\"", &server), true, pem.path()),
        (CONFIG.replace("user = \"app_backend\"", command), false, "failed (exit status: 7): no token"),
    ] {
        let config = Scratch::new("secrets.toml", &text_of);
        let mut arguments = vec!["check", "--config", config.path()];
        arguments.extend(offline.then_some("--offline"));
        let output = pgbulkhead(&arguments, "");
        assert_eq!(code(&output), 1, "{}", text(&output.stdout));
        assert!(text(&output.stdout).contains(what), "{what}: {}", text(&output.stdout));
    }
}

#[test]
fn tampering_with_an_audit_log_is_found() {
    let path = std::env::temp_dir().join(format!("pgbulkhead-cli-{}-audit.jsonl", std::process::id()));
    let sink = pgbulkhead::config::model::AuditSink::File(path.clone());
    let interval = std::time::Duration::from_millis(5);
    for _ in 0..3 {
        let audit =
            pgbulkhead::config::model::Audit { sink: sink.clone(), flush_interval: interval, queue: 64 };
        // Another test's fork holds the lock until its exec.
        let writer = loop {
            match pgbulkhead::audit::start(&audit, 1) {
                Ok((_, writer)) => break writer,
                Err(pgbulkhead::audit::SinkError::Locked { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        writer.stop().unwrap();
    }
    let log = Scratch(path);
    let good = std::fs::read_to_string(log.path()).unwrap();
    let verify = || pgbulkhead(&["audit", "verify", log.path()], "");
    let sound = verify();
    assert_eq!(code(&sound), 0, "{}", text(&sound.stdout));
    assert!(text(&sound.stdout).contains("sound: 6 lines"));
    let lines: Vec<&str> = good.lines().collect();
    let without_third = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
    for (tampered, what) in [
        (good.replacen("\"version\":\"", "\"version\":\"9", 1), "line 1: changed"),
        (without_third, "line 3: dropped: number 3"),
        (format!("{good}{}\n", lines[0]), "line 7: repeated"),
        (good[..good.len() - 10].to_owned(), "line 6: cut off"),
    ] {
        std::fs::write(log.path(), tampered).unwrap();
        let output = verify();
        assert_eq!(code(&output), 1);
        assert!(text(&output.stdout).contains(what), "{what}: {}", text(&output.stdout));
    }
    // Lines off the end leave no gap; only what was noted before shows it.
    let (_, hash) = good.trim_end().trim_end_matches("\"}").rsplit_once('"').unwrap();
    std::fs::write(log.path(), lines[..4].join("\n") + "\n").unwrap();
    assert_eq!(code(&verify()), 0);
    assert_eq!(code(&pgbulkhead(&["audit", "verify", log.path(), "--last", hash], "")), 1);
}
