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

    # COPY FROM: rows as Python values, text and binary, with and without the tenant, into a child table.
    with conn.cursor() as cur:
        with cur.copy("copy tags (id, label) from stdin") as copy:
            for id in range(5000):
                copy.write_row((70000 + id, f"CANARY_A\t{id}"))
        assert cur.rowcount == 5000, cur.rowcount
        with cur.copy("copy tags (tenant_id, id, label) from stdin (format binary)") as copy:
            copy.set_types(["int4", "int4", "text"])
            copy.write_row((1, 80000, "CANARY_A binary"))
        with cur.copy("copy document_pages (document_id, page_no, content) from stdin") as copy:
            for page in range(300):
                copy.write_row((1111001, 1000 + page, None))
        assert cur.rowcount == 300, cur.rowcount
        cur.execute("select count(*), min(label) from tags where id between 70000 and 80000")
        assert cur.fetchone() == (5001, "CANARY_A\t0")
    conn.rollback()
    for rows, code in [([(2, 5, "x")], "42501"), ([(1, 5, "x"), (1, 5, "y")], "23505"), ([("one", 5, "x")], "22P02")]:
        try:
            with conn.cursor() as cur, cur.copy("copy tags (tenant_id, id, label) from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
            raise AssertionError(f"{rows} were written")
        except psycopg.Error as error:
            assert error.sqlstate == code, error
            conn.rollback()
    try:
        with conn.cursor() as cur, cur.copy("copy document_pages (document_id, page_no) from stdin") as copy:
            copy.write_row((2222001, 5))
        raise AssertionError("a page of another tenant's document was written")
    except psycopg.errors.InsufficientPrivilege:
        conn.rollback()
    try:
        with conn.cursor() as cur, cur.copy("copy tags (id, label) from stdin") as copy:
            copy.write_row((5, "x"))
            raise KeyError("the client changed its mind")
    except KeyError:
        conn.rollback()
    assert conn.execute("select count(*) from tags where id between 70000 and 80000 or id = 5").fetchone() == (0,)
print(f"psycopg {psycopg.__version__}: parameters, prepared, pipeline mode, executemany, server-side cursor, COPY both ways")
