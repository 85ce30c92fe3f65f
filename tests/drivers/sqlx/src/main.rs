//! sqlx: prepared statements in binary, types, savepoints, streams, COPY, dropped futures, a pool.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, Row};

const SLOW: &str = "select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h";
/// Some seconds: sqlx reads a statement to its end whose future was dropped.
const A_WHILE: &str =
    "select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g";
const INSERT: &str = "insert into tags (tenant_id, id, label) values ($1, $2, $3)";

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "doc_status", rename_all = "lowercase")]
enum Status {
    Draft,
    Approved,
    Sent,
    Archived,
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let login = PgConnectOptions::new();
    let mut conn = PgConnection::connect_with(&login).await?;
    conn.ping().await?;
    let rows: Vec<(i32, i64)> =
        sqlx::query_as("select tenant_id, count(*) from documents group by 1").fetch_all(&mut conn).await?;
    assert_eq!(rows, [(1, 40)]);
    conn.execute("select 1; select 2").await?;
    for id in [1_111_001_i64, 2_222_001, 1_111_001, 2_222_001] {
        let row: Option<(String, Status)> =
            sqlx::query_as("select title, status from documents where id = $1").bind(id).fetch_optional(&mut conn).await?;
        assert_eq!(row.is_some(), id < 2_000_000);
    }
    let sent: i64 = sqlx::query_scalar("select count(*) from documents where status = $1 or status = any($2)")
        .bind(Status::Sent)
        .bind(vec![Status::Draft, Status::Approved, Status::Archived])
        .fetch_one(&mut conn)
        .await?;
    assert_eq!(sent, 40);
    let row = sqlx::query("select $1::bool, $2::int8, $3::float8, $4::text, $5::bytea, $6::uuid, $7::int4[], $8::text, $9::jsonb")
        .bind(true)
        .bind(1_i64 << 40)
        .bind(1.5)
        .bind("it's é")
        .bind(&b"\0\xff"[..])
        .bind(sqlx::types::Uuid::from_u128(7))
        .bind(vec![1, 2])
        .bind(None::<String>)
        .bind(sqlx::types::Json(vec![1, 2]))
        .fetch_one(&mut conn)
        .await?;
    assert_eq!((row.get::<i64, _>(1), row.get::<Vec<u8>, _>(4)), (1 << 40, b"\0\xff".to_vec()));
    assert_eq!((row.get::<Vec<i32>, _>(6), row.get::<Option<String>, _>(7)), (vec![1, 2], None));

    let mut transaction = Connection::begin(&mut conn).await?;
    sqlx::query(INSERT).bind(1).bind(911).bind("CANARY_A").execute(&mut *transaction).await?;
    let mut savepoint = Connection::begin(&mut *transaction).await?;
    let refused = sqlx::query(INSERT).bind(2).bind(912).bind("x").execute(&mut *savepoint).await.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|e| e.code()).as_deref(), Some("42501"));
    savepoint.rollback().await?;
    let left: i64 = sqlx::query_scalar("select count(*) from tags where id = any($1)")
        .bind(vec![911, 912])
        .fetch_one(&mut *transaction)
        .await?;
    assert_eq!(left, 1);
    drop(transaction); // rolls back

    let mut ids = sqlx::query("select id from documents order by id").fetch(&mut conn);
    assert!(ids.try_next().await?.is_some());
    drop(ids); // the rest is read before the next statement
    let out: Vec<_> = conn.copy_out_raw("copy (select id, title from documents) to stdout").await?.try_collect().await?;
    let lines = out.concat();
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 40);
    conn.execute("set statement_timeout = '300ms'").await?;
    let slow = conn.execute(SLOW).await.unwrap_err();
    assert_eq!(slow.as_database_error().and_then(|e| e.code()).as_deref(), Some("57014"));
    conn.close().await?;

    let pool = PgPoolOptions::new().max_connections(3).connect_with(login).await?;
    let late = tokio::time::timeout(Duration::from_millis(200), sqlx::query(A_WHILE).execute(&pool)).await;
    assert!(late.is_err(), "a future is dropped in the middle of a statement");
    let counts = (0..20_i64).map(|n| sqlx::query_scalar("select $1 + count(*) from customers").bind(n).fetch_one(&pool));
    let counts: Vec<i64> = futures_util::future::try_join_all(counts).await?;
    assert_eq!(counts, (12..32).collect::<Vec<_>>());
    pool.close().await;
    println!("sqlx 0.8: prepared in binary, enums, 9 types, savepoint, streams, COPY out, timeouts, dropped futures, pool");
    Ok(())
}
