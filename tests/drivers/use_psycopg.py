"""psycopg 3: parameters, prepared statements, transactions, errors, pipeline mode, server-side cursor, COPY."""
import psycopg

with psycopg.connect() as conn:
    rows = conn.execute("select id, title from documents where id = any(%s)", ([1111001, 2222001],)).fetchall()
    assert rows == [(1111001, "CANARY_A title 1")], rows
    for _ in range(8):  # psycopg prepares after five
        count = conn.execute("select count(*) from customers where score > %s", (0,), prepare=True).fetchone()
        assert count == (12,), count
    conn.rollback()

    try:
        conn.execute("insert into tags (tenant_id, id, label) values (%s, %s, %s)", (2, 5, "x"))
        raise AssertionError("a row for another tenant was written")
    except psycopg.errors.InsufficientPrivilege:
        conn.rollback()

    with conn.cursor() as cur:
        cur.executemany("insert into tags (id, label) values (%s, %s)", [(901, "CANARY_A a"), (902, "CANARY_A b")])
        cur.execute("select tenant_id from tags where id in (901, 902)")
        assert cur.fetchall() == [(1,), (1,)]
    conn.rollback()

    with conn.pipeline():
        first = conn.execute("select count(*) from documents")
        second = conn.execute("select count(*) from deliveries where tenant_id = %s", (2,))
    assert first.fetchone() == (40,) and second.fetchone() == (0,)
    conn.rollback()

    with conn.transaction():
        with conn.cursor(name="pages") as cur:
            cur.itersize = 7
            cur.execute("select id from documents order by id")
            assert len(cur.fetchall()) == 40

    with conn.cursor() as cur, cur.copy("copy documents (id, title) to stdout") as copy:
        lines = b"".join(bytes(block) for block in copy).decode().splitlines()
    assert len(lines) == 40 and all("CANARY_A" in line for line in lines), lines[:3]
print(f"psycopg {psycopg.__version__}: parameters, prepared, pipeline mode, executemany, server-side cursor, COPY out")
