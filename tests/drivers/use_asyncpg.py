"""asyncpg: its statement cache, binary types, savepoints, cursors, executemany, COPY, timeouts, many connections."""
import asyncio
import datetime
import decimal
import uuid

import asyncpg

SLOW = "select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h"


async def main():
    conn = await asyncpg.connect()
    assert [tuple(row) for row in await conn.fetch("select tenant_id, count(*) from documents group by 1")] == [(1, 40)]
    await conn.execute("select 1; select 2")  # the simple protocol

    for id, there in [(1111001, True), (2222001, False)] * 4:  # the cached statement
        row = await conn.fetchrow("select title, amount, created_at, status, meta from documents where id = $1", id)
        assert (row is not None) == there, id
    by_id = await conn.prepare("select title from documents where id = any($1)")
    assert by_id.get_parameters()[0].name == "int8[]"
    assert [row["title"] for row in await by_id.fetch([1111001, 2222001])] == ["CANARY_A title 1"]

    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.timezone.utc)
    values = (True, 2**40, 1.5, decimal.Decimal("12.345"), "é €", b"\0\xff", moment, moment.date(),
              datetime.timedelta(days=1, seconds=2), uuid.UUID(int=7), [1, None, 3], ["a", "b"], None)
    types = "bool int8 float8 numeric text bytea timestamptz date interval uuid int4[] text[] text".split()
    row = await conn.fetchrow("select " + ", ".join(f"${i}::{t}" for i, t in enumerate(types, 1)), *values)
    assert tuple(row) == values, row

    insert = "insert into tags (tenant_id, id, label) values ($1, $2, $3)"
    outer = conn.transaction()
    await outer.start()
    await conn.execute(insert, 1, 921, "CANARY_A 921")
    try:
        async with conn.transaction():  # a savepoint
            await conn.execute(insert, 1, 922, "CANARY_A 922")
            await conn.execute(insert, 2, 923, "x")
        raise AssertionError("a row for another tenant was written")
    except asyncpg.InsufficientPrivilegeError:
        pass
    assert await conn.fetchval("select array_agg(id) from tags where id between 921 and 923") == [921]
    await outer.rollback()

    async with conn.transaction():
        rows = [row["id"] async for row in conn.cursor("select id from documents order by id", prefetch=7)]
        assert len(rows) == 40
        cursor = await conn.cursor("select id from documents where id > $1 order by id", 1111010)
        assert [row["id"] for row in await cursor.fetch(2)] == [1111011, 1111012]

    await conn.executemany(insert, [(1, id, f"CANARY_A {id}") for id in range(931, 951)])
    assert await conn.execute("delete from tags where id between 931 and 950") == "DELETE 20"
    try:
        await conn.executemany(insert, [(1, 931, "CANARY_A"), (2, 932, "x"), (1, 933, "CANARY_A")])
        raise AssertionError("a row for another tenant was written")
    except asyncpg.InsufficientPrivilegeError:
        assert await conn.fetchval("select count(*) from tags where id between 931 and 950") == 0

    out = bytearray()
    async def take(data):
        out.extend(data)
    await conn.copy_from_query("select id, title from documents", output=take)
    assert out.count(b"\n") == 40 and b"CANARY_B" not in out
    out.clear()
    await conn.copy_from_table("customers", columns=["id", "name"], output=take, format="binary")
    assert out.startswith(b"PGCOPY\n") and b"CANARY_B" not in out

    try:
        await conn.fetch(SLOW, timeout=0.3)
        raise AssertionError("it was not cancelled")
    except asyncio.TimeoutError:
        assert await conn.fetchval("select 7") == 7
    await conn.close()

    async def one(n):
        conn = await asyncpg.connect()
        try:
            return await conn.fetchval("select $1::int + count(*) from customers", n)
        finally:
            await conn.close()

    assert await asyncio.gather(*(one(n) for n in range(10))) == [n + 12 for n in range(10)]
    print(f"asyncpg {asyncpg.__version__}: simple, cached statements, 13 types in binary, savepoint, cursors, "
          "executemany, COPY out text and binary, cancel by timeout, many connections")


asyncio.run(main())
