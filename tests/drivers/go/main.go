// lib/pq and pgx v4: database/sql and pgx's own interface: prepared statements, types, savepoints, cursors,
// batches, COPY's absence, contexts that end, pools.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
	_ "github.com/jackc/pgx/v4/stdlib"
	"github.com/lib/pq"
)

const slow = "select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h"
const insert = "insert into tags (tenant_id, id, label) values ($1, $2, $3)"

func check(holds bool, what ...interface{}) {
	if !holds {
		fmt.Fprintln(os.Stderr, append([]interface{}{"failed:"}, what...)...)
		os.Exit(1)
	}
}

func none(err error, what string) {
	check(err == nil, what, err)
}

func code(err error) string {
	var of_pq *pq.Error
	var of_pgx *pgconn.PgError
	switch {
	case errors.As(err, &of_pq):
		return string(of_pq.Code)
	case errors.As(err, &of_pgx):
		return of_pgx.Code
	}
	return fmt.Sprint(err)
}

// database/sql over either driver.
func standard(driver, login string) {
	db, err := sql.Open(driver, login)
	none(err, driver)
	defer db.Close()
	db.SetMaxOpenConns(4)
	none(db.Ping(), driver+": ping")
	var tenant, count int
	none(db.QueryRow("select tenant_id, count(*) from documents group by 1").Scan(&tenant, &count), driver)
	check(tenant == 1 && count == 40, driver, "own rows", tenant, count)
	by_id, err := db.Prepare("select title from documents where id = $1")
	none(err, driver+": prepare")
	for _, id := range []int64{1111001, 2222001, 1111002, 2222001} {
		var title string
		err := by_id.QueryRow(id).Scan(&title)
		check((id < 2000000 && err == nil) || (id > 2000000 && err == sql.ErrNoRows), driver, "by id", id, err)
	}
	moment := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var (
		b    bool
		i    int64
		f    float64
		n, t string
		y    []byte
		m    time.Time
		z    sql.NullString
		l    []string
	)
	row := db.QueryRow("select $1::bool, $2::int8, $3::float8, $4::numeric, $5::text, $6::bytea, $7::timestamptz, $8::text, $9::text[]",
		true, int64(1)<<40, 1.5, "12.345", "it's é", []byte{0, 255}, moment, nil, pq.Array([]string{"a", "b"}))
	none(row.Scan(&b, &i, &f, &n, &t, &y, &m, &z, pq.Array(&l)), driver+": types")
	check(b && i == 1<<40 && f == 1.5 && n == "12.345" && t == "it's é" && string(y) == "\x00\xff" && m.Equal(moment) && !z.Valid && l[1] == "b", driver, "types")
	tx, err := db.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	none(err, driver+": begin")
	_, err = tx.Exec(insert, 1, 881, "CANARY_A")
	none(err, driver+": insert")
	_, err = tx.Exec("savepoint s")
	none(err, driver+": savepoint")
	_, err = tx.Exec(insert, 2, 882, "x")
	check(code(err) == "42501", driver, "a row for another tenant", err)
	_, err = tx.Exec("rollback to savepoint s")
	none(err, driver+": rollback to")
	_, err = tx.Exec("declare c cursor for select id from documents order by id")
	none(err, driver+": declare")
	rows, err := tx.Query("fetch 7 from c")
	none(err, driver+": fetch")
	fetched := 0
	for rows.Next() {
		fetched++
	}
	check(fetched == 7 && rows.Err() == nil, driver, "cursor", fetched)
	none(tx.Rollback(), driver+": rollback")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	_, err = db.ExecContext(ctx, slow)
	cancel()
	check(err != nil, driver, "it was not cancelled")
	var wait sync.WaitGroup
	for n := 0; n < 20; n++ {
		wait.Add(1)
		go func(n int) {
			defer wait.Done()
			var got int
			none(db.QueryRow("select $1::int + count(*)::int from customers", n).Scan(&got), driver+": pool")
			check(got == n+12, driver, "pool", n, got)
		}(n)
	}
	wait.Wait()
}

func pgx_itself() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "")
	none(err, "pgx")
	batch := &pgx.Batch{}
	batch.Queue("select count(*) from documents")
	batch.Queue("select title from documents where id = $1", 2222001)
	batch.Queue("select title from documents where id = $1", 1111001)
	results := conn.SendBatch(ctx, batch)
	var count int
	var title string
	none(results.QueryRow().Scan(&count), "pgx: batch")
	check(results.QueryRow().Scan(&title) == pgx.ErrNoRows, "pgx: another tenant's row")
	none(results.QueryRow().Scan(&title), "pgx: batch")
	none(results.Close(), "pgx: batch")
	check(count == 40 && title == "CANARY_A title 1", "pgx: batch", count, title)
	tx, err := conn.Begin(ctx)
	none(err, "pgx: begin")
	nested, err := tx.Begin(ctx)
	none(err, "pgx: savepoint")
	_, err = nested.Exec(ctx, insert, 2, 883, "x")
	check(code(err) == "42501", "pgx: a row for another tenant", err)
	none(nested.Rollback(ctx), "pgx: rollback to")
	none(tx.QueryRow(ctx, "select count(*) from tags where id = any($1)", []int32{883}).Scan(&count), "pgx")
	check(count == 0, "pgx: savepoint")
	none(tx.Rollback(ctx), "pgx: rollback")
	var out strings.Builder
	_, err = conn.PgConn().CopyTo(ctx, &out, "copy (select id, title from documents) to stdout")
	none(err, "pgx: copy")
	check(strings.Count(out.String(), "\n") == 40 && !strings.Contains(out.String(), "CANARY_B"), "pgx: copy")
	none(conn.QueryRow(ctx, "select count(*) from documents where id = $1", pgx.QuerySimpleProtocol(true), 2222001).Scan(&count), "pgx: simple protocol")
	check(count == 0, "pgx: simple protocol")
	none(conn.Close(ctx), "pgx: close")
	pool, err := pgxpool.Connect(ctx, "pool_max_conns=3")
	none(err, "pgx: pool")
	none(pool.QueryRow(ctx, "select count(*) from documents").Scan(&count), "pgx: pool")
	check(count == 40, "pgx: pool")
	pool.Close()
}

func main() {
	standard("postgres", "sslmode=disable")
	standard("pgx", "")
	pgx_itself()
	fmt.Println("lib/pq and pgx v4 of Debian: database/sql, prepared, 9 types, isolation, savepoint, cursor, batch, COPY out, simple protocol, cancelled contexts, pools")
}
