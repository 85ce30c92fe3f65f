//! TLS on both sides, with certificates that openssl makes: who is let in how, what is verified, and that a
//! certificate can be replaced while connections are open.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pgbulkhead::auth::verifier;
use pgbulkhead::cli::serve::{self, Proxy};
use pgbulkhead::config::model::{
    AuthMethod, BackendTls, ChannelBinding, Database, Password, PasswordCommand, Secret,
};
use pgbulkhead::config::{self, Environment};
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::pool::{ConnectError, Target, driver};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::{Client, NoTls};

/// A directory with a CA and what it has signed.
struct Authority(PathBuf);

impl Authority {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("pgbulkhead-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let authority = Self(directory);
        authority.openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Test CA"],
        );
        authority
    }

    /// Signs a certificate for `localhost`.
    fn sign(&self, name: &str) {
        let (key, request, signed) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        std::fs::write(self.0.join("leaf.ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
            .unwrap();
        self.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", &key, "-out", &request, "-subj", "/CN=localhost"],
        );
        self.openssl(
            &["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"],
            &["-out", &signed, "-days", "30", "-extfile", "leaf.ext"],
        );
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) {
        let output =
            Command::new("openssl").args(first).args(rest).current_dir(&self.0).output().expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SCHEMA: &str = "
    create role app_backend login password 'backend';
    create role in_clear login password 'token';
    create schema app;
    create table app.documents(tenant_id int not null, id int primary key);
    insert into app.documents values (1, 1), (2, 2);
    grant usage on schema app to app_backend;
    grant select on app.documents to app_backend;";

async fn superuser(postgres: &EmbeddedPostgres, password: &str) -> Client {
    let login = format!(
        "host=127.0.0.1 port={} user={} dbname=postgres password='{password}'",
        postgres.port(),
        EmbeddedPostgres::SUPERUSER
    );
    let (client, connection) = tokio_postgres::connect(&login, NoTls).await.expect("the superuser");
    tokio::spawn(connection);
    client
}

fn psql(address: SocketAddr, how: &str, root: &Path) -> Command {
    let mut command = Command::new("psql");
    let url = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=acme dbname=ccm {how} sslrootcert={}",
        address.port(),
        root.display()
    );
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url]).env("PGPASSWORD", "pencil");
    command
}

/// Whether a statement runs; what psql complains of otherwise.
fn reach(address: SocketAddr, how: &str, root: &Path) -> Result<(), String> {
    let output = psql(address, how, root).args(["-c", "select id from documents"]).output().expect("psql");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => {
            assert_eq!(out.trim(), "1");
            Ok(())
        }
        false => Err(err.into_owned()),
    }
}

/// psql, kept open.
struct Open(Child, BufReader<std::process::ChildStdout>);

impl Open {
    fn new(address: SocketAddr, how: &str, root: &Path) -> Self {
        let mut child = psql(address, how, root);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql");
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql}").unwrap();
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn proxy(postgres: &EmbeddedPostgres, authority: &Authority) -> Proxy {
    let text = format!(
        "[general]\nlisten = [\"127.0.0.1:0\"]\ntls = \"require\"\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\ntls = \"allow\"\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\ntls = \"disable\"\n\
         [[databases]]\nname = \"ccm\"\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\n\
         user = \"app_backend\"\ntls = \"disable\"\nsearch_path = [\"app\"]\n\
         [tenancy]\ncolumn = \"tenant_id\"\n\
         [[users]]\nname = \"acme\"\nrole = \"app\"\ntenant = \"1\"\nverifier = \"{}\"\n\
         [audit]\nsink = \"none\"\n",
        authority.path("proxy.pem").display(),
        authority.path("proxy.key").display(),
        postgres.port(),
        verifier::make("pencil"),
    );
    let config = config::parse("test.toml", &text, &Environment::new()).expect("the configuration");
    // It has runtimes of its own.
    tokio::task::spawn_blocking(|| serve::start(config)).await.unwrap().expect("the proxy")
}

async fn reloaded(mut proxy: Proxy) -> Proxy {
    let reload = move || {
        proxy.reload();
        proxy
    };
    tokio::task::spawn_blocking(reload).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_have_their_own_tls_and_the_certificate_can_be_replaced() {
    let postgres = EmbeddedPostgres::start(&Options::default()).expect("a PostgreSQL");
    superuser(&postgres, "").await.batch_execute(SCHEMA).await.unwrap();
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    authority.sign("proxy");
    other.sign("proxy");
    let (root, other_root) = (authority.path("ca.pem"), other.path("ca.pem"));
    let proxy = proxy(&postgres, &authority).await;
    let [require, allow, disable] = *proxy.addresses() else { panic!("three addresses") };

    let bound = "sslmode=verify-full channel_binding=require";
    for (address, how, fault) in [
        (require, bound, None),
        (require, "sslmode=disable", Some("without TLS is refused")),
        (allow, bound, None),
        (allow, "sslmode=disable", None),
        (disable, "sslmode=disable", None),
        (disable, "sslmode=require", Some("server does not support SSL")),
    ] {
        match (reach(address, how, &root), fault) {
            (Ok(()), None) => {}
            (Err(told), Some(fault)) if told.contains(fault) => {}
            (outcome, _) => panic!("{how}: {outcome:?}"),
        }
    }

    direct_tls_needs_the_name_of_the_protocol(require, &root).await;

    // A certificate that cannot be used changes nothing.
    let mut open = Open::new(require, bound, &root);
    assert_eq!(open.ask("select id from documents;"), "1");
    std::fs::copy(other.path("proxy.pem"), authority.path("proxy.pem")).unwrap();
    let proxy = reloaded(proxy).await;
    reach(require, bound, &root).expect("the old one stays");
    // With its key it does; who is connected stays so.
    std::fs::copy(other.path("proxy.key"), authority.path("proxy.key")).unwrap();
    let proxy = reloaded(proxy).await;
    reach(require, bound, &other_root).expect("the new one is shown");
    assert!(reach(require, bound, &root).is_err());
    assert_eq!(open.ask("select id from documents;"), "1");

    // A change of the files is noticed without a signal.
    other.sign("next");
    std::fs::copy(other.path("next.key"), authority.path("proxy.key")).unwrap();
    std::fs::copy(other.path("next.pem"), authority.path("proxy.pem")).unwrap();
    let wanted = CertificateDer::from_pem_file(other.path("next.pem")).unwrap();
    let mut shown = false;
    for _ in 0..300 {
        shown = certificate(require, &other_root).await.is_some_and(|shown| shown == wanted);
        if shown {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(shown, "the change was not noticed");
    reach(require, bound, &other_root).unwrap();
    drop(open);
    tokio::task::spawn_blocking(move || proxy.stop(Duration::ZERO)).await.unwrap().unwrap();
}

fn connector(root: &Path, alpn: Option<&[u8]>) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    Arc::new(config).into()
}

async fn direct(
    address: SocketAddr,
    root: &Path,
    alpn: Option<&[u8]>,
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let tcp = tokio::net::TcpStream::connect(address).await?;
    connector(root, alpn).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

/// The certificate that the proxy shows.
async fn certificate(address: SocketAddr, root: &Path) -> Option<CertificateDer<'static>> {
    let stream = direct(address, root, Some(b"postgresql")).await.ok()?;
    stream.get_ref().1.peer_certificates()?.first().map(|shown| shown.clone().into_owned())
}

/// The first byte that answers a StartupMessage under TLS that began at once; none: an end.
async fn greeting(address: SocketAddr, root: &Path, alpn: Option<&[u8]>) -> Option<u8> {
    let mut stream = direct(address, root, alpn).await.ok()?;
    stream.write_all(b"\0\0\0\x20\0\x03\0\0user\0acme\0database\0ccm\0\0\0").await.ok()?;
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).await.ok()?;
    Some(byte[0])
}

async fn direct_tls_needs_the_name_of_the_protocol(address: SocketAddr, root: &Path) {
    assert_eq!(greeting(address, root, Some(b"postgresql")).await, Some(b'R'));
    assert_eq!(greeting(address, root, None).await, None);
    assert_eq!(greeting(address, root, Some(b"http/1.1")).await, None);
}

/// A server with TLS, which lets `in_clear` in with its password in clear under TLS and everybody else by SCRAM.
fn server(authority: &Authority) -> EmbeddedPostgres {
    let hba = authority.path("pg_hba.conf");
    std::fs::write(
        &hba,
        "hostssl all in_clear all password\nhost all in_clear all reject\nhost all all all scram-sha-256\n",
    )
    .unwrap();
    // The server refuses a key that is not its own; a test that does not run as root runs as the server does.
    let key = authority.path("server.key");
    let _ = Command::new("chown").arg("postgres").arg(&key).arg(&hba).status();
    let _ = Command::new("chmod").arg("600").arg(&key).status();
    let setting = |name: &str, file: &str| (name.to_owned(), authority.path(file).display().to_string());
    let settings = vec![
        ("ssl".to_owned(), "on".to_owned()),
        setting("ssl_cert_file", "server.pem"),
        setting("ssl_key_file", "server.key"),
        setting("hba_file", "pg_hba.conf"),
    ];
    EmbeddedPostgres::start(&Options { password: Some("admin".to_owned()), settings, binaries: None })
        .expect("a PostgreSQL")
}

/// Whether the server says that it is talked to under TLS.
async fn ask(database: &Database) -> Result<bool, ConnectError> {
    let target = Target::new(database, Duration::from_secs(10)).expect("the settings");
    let client = driver::client(&target).await?;
    let row = client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await?;
    Ok(row.get(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_is_verified_as_far_as_tls_says_and_scram_is_bound_to_it() {
    let (authority, other) = (Authority::new("server"), Authority::new("stranger"));
    authority.sign("server");
    let postgres = server(&authority);
    superuser(&postgres, "admin").await.batch_execute(SCHEMA).await.unwrap();
    let database = |host: &str, tls, ca: &Authority| {
        let mut database = Database::new("postgres", host, postgres.port(), "app_backend");
        database.password = Password::Text(Secret("backend".to_owned()));
        database.auth_method = AuthMethod::ScramSha256;
        database.tls = tls;
        database.tls_ca_file = Some(ca.path("ca.pem"));
        database
    };
    use BackendTls::{Disable, Prefer, Require, VerifyCa, VerifyFull};
    for (host, tls, ca, outcome) in [
        ("127.0.0.1", Disable, &other, Some(false)),
        ("127.0.0.1", Prefer, &other, Some(true)),
        ("127.0.0.1", Require, &other, Some(true)),
        ("127.0.0.1", VerifyCa, &other, None),
        ("127.0.0.1", VerifyCa, &authority, Some(true)),
        ("127.0.0.1", VerifyFull, &authority, None),
        ("localhost", VerifyFull, &other, None),
        ("localhost", VerifyFull, &authority, Some(true)),
    ] {
        let asked = ask(&database(host, tls, ca)).await;
        assert_eq!(asked.as_ref().ok().copied(), outcome, "{host} {tls:?}: {asked:?}");
    }
    for binding in [ChannelBinding::Disable, ChannelBinding::Prefer, ChannelBinding::Require] {
        let mut database = database("localhost", VerifyFull, &authority);
        database.channel_binding = binding;
        ask(&database).await.unwrap_or_else(|error| panic!("{binding:?}: {error}"));
        database.password = Password::Text(Secret("wrong".to_owned()));
        assert!(ask(&database).await.is_err());
    }

    // A token in clear, as RDS takes it: printed by a command, for a verified server.
    let mut by_token = database("localhost", VerifyFull, &authority);
    by_token.user = "in_clear".to_owned();
    by_token.auth_method = AuthMethod::Password;
    by_token.password = Password::Command(PasswordCommand {
        words: ["echo", "token"].map(str::to_owned).to_vec(),
        lifetime: Duration::from_secs(600),
        timeout: Duration::from_secs(10),
    });
    assert!(ask(&by_token).await.unwrap());
    by_token.tls = Require;
    assert!(matches!(ask(&by_token).await, Err(ConnectError::Method { .. })));
}
