"""psycopg2: client-side parameters, autocommit, savepoints, named cursors, execute_values, COPY, cancel, async."""
import datetime
import decimal
import select
import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras

SLOW = "select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h"

conn = psycopg2.connect("")
with conn, conn.cursor() as cur:
    cur.execute("select tenant_id, count(*) from documents group by 1")
    assert cur.fetchall() == [(1, 40)]
    cur.execute("select title from documents where id in %s", ((1111001, 2222001),))
    assert cur.fetchall() == [("CANARY_A title 1",)]
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    values = (True, 2**40, 1.5, decimal.Decimal("12.345"), "it's é \\ %", moment, datetime.date(2026, 1, 2), [1, 2], None)
    cur.execute("select %s, %s, %s, %s, %s, %s, %s, %s, %s", values)
    assert cur.fetchone() == values
    cur.execute("select %s", (psycopg2.Binary(b"\0\xff'\\"),))
    assert bytes(cur.fetchone()[0]) == b"\0\xff'\\"
    cur.execute("select %s", (psycopg2.extras.Json({"a": "it's"}),))

with conn.cursor() as cur:
    psycopg2.extras.execute_values(cur, "insert into tags (tenant_id, id, label) values %s",
                                   [(1, id, f"CANARY_A {id}") for id in range(951, 961)])
    cur.execute("savepoint s")
    try:
        cur.execute("insert into tags (tenant_id, id, label) values (%s, %s, %s)", (2, 961, "x"))
        raise AssertionError("a row for another tenant was written")
    except psycopg2.errors.InsufficientPrivilege:
        cur.execute("rollback to savepoint s")
    cur.execute("select count(*) from tags where id between 951 and 961")
    assert cur.fetchone() == (10,)
conn.rollback()

with conn, conn.cursor(name="pages", scrollable=True) as cur:
    cur.itersize = 7
    cur.execute("select id from documents order by id")
    assert len(cur.fetchall()) == 40
    cur.scroll(5, mode="absolute")
    assert cur.fetchone() == (1111006,)

with conn, conn.cursor() as cur:
    import io
    out = io.StringIO()
    cur.copy_expert("copy (select id, title from documents) to stdout with csv", out)
    assert out.getvalue().count("\n") == 40 and "CANARY_B" not in out.getvalue()

conn.autocommit = True
with conn.cursor() as cur:
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    try:
        cur.execute(SLOW)
        raise AssertionError("it was not cancelled")
    except psycopg2.errors.QueryCanceled:
        cur.execute("select 7")
conn.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
with conn, conn.cursor() as cur:
    cur.execute("select count(*) from documents")
    try:
        cur.execute("delete from tags")
        raise AssertionError("it was written in a read-only transaction")
    except psycopg2.errors.ReadOnlySqlTransaction:
        conn.rollback()
conn.reset()
conn.close()

conn = psycopg2.connect("", async_=1)
def wait():
    while (state := conn.poll()) != psycopg2.extensions.POLL_OK:
        select.select([conn] if state == psycopg2.extensions.POLL_READ else [], [conn] if state == psycopg2.extensions.POLL_WRITE else [], [], 5)
wait()
cur = conn.cursor()
cur.execute("select count(*) from documents")
wait()
assert cur.fetchone() == (40,)
conn.close()
print(f"psycopg2 {psycopg2.__version__.split()[0]}: parameters of 11 types, savepoint, named scrollable cursor, "
      "execute_values, COPY out, cancel, session characteristics, reset, asynchronous")
