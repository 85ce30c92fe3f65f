"""SQLAlchemy 2 over psycopg and asyncpg: engine, session, savepoints, bulk insert with RETURNING, upsert,
server-side streaming, reflection, pre-ping."""
import asyncio
import datetime
import decimal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert as upsert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    tenant_id: Mapped[int]
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    score: Mapped[int]
    tags: Mapped[list[str]] = mapped_column(ARRAY(sa.Text))
    attrs: Mapped[dict] = mapped_column(JSONB)
    created_at: Mapped[datetime.datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    documents: Mapped[list["Document"]] = relationship(back_populates="customer")


class Document(Base):
    __tablename__ = "documents"
    tenant_id: Mapped[int]
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customers.id"))
    title: Mapped[str]
    amount: Mapped[decimal.Decimal]
    customer: Mapped[Customer] = relationship(back_populates="documents")


class Tag(Base):
    __tablename__ = "tags"
    tenant_id: Mapped[int]
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]


class Setting(Base):
    __tablename__ = "settings"
    tenant_id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


def with_psycopg():
    engine = sa.create_engine("postgresql+psycopg://", pool_pre_ping=True, pool_size=2)
    with Session(engine) as session:
        assert session.execute(sa.select(Document.tenant_id, sa.func.count()).group_by(Document.tenant_id)).all() == [(1, 40)]
        found = session.scalars(sa.select(Customer).options(selectinload(Customer.documents)).order_by(Customer.id).limit(3)).all()
        assert len(found) == 3 and all(d.title.startswith("CANARY_A") for c in found for d in c.documents)
        assert session.get(Document, 2222001) is None
        joined = sa.select(Document).join(Document.customer).where(Customer.score > 0, Document.amount.between(1, 10**9))
        assert len(session.scalars(joined.order_by(Document.id.desc()).offset(1).limit(5)).all()) == 5
        session.add(Customer(tenant_id=1, id=990001, email="CANARY_A@x.test", name="CANARY_A", score=1, tags=["a", "é"], attrs={"k": [1]}))
        session.flush()
        session.add_all(Tag(tenant_id=1, id=id, label=f"CANARY_A {id}") for id in range(961, 971))
        session.flush()
        try:
            with session.begin_nested():
                session.add(Tag(tenant_id=2, id=971, label="x"))
                session.flush()
            raise AssertionError("a row for another tenant was written")
        except sa.exc.ProgrammingError as error:
            assert error.orig.sqlstate == "42501", error
        assert session.scalar(sa.select(sa.func.count()).select_from(Tag).where(Tag.id.between(961, 971))) == 10
        loaded = session.get(Customer, 990001)
        session.refresh(loaded)
        assert loaded.tags == ["a", "é"] and loaded.attrs == {"k": [1]} and loaded.created_at
        put = upsert(Setting).values(tenant_id=1, key="k1", value="CANARY_A new")
        put = put.on_conflict_do_update(index_elements=["tenant_id", "key"], set_={"value": put.excluded.value})
        session.execute(put)
        returned = session.scalars(sa.insert(Tag).returning(Tag.id), [{"tenant_id": 1, "id": n, "label": "CANARY_A"} for n in (981, 982)])
        assert sorted(returned.all()) == [981, 982]
        session.execute(sa.update(Tag).where(Tag.id == 981).values(label="CANARY_A changed"))
        session.execute(sa.delete(Tag).where(Tag.id.in_([981, 982])))
        session.rollback()
    with engine.connect().execution_options(stream_results=True, max_row_buffer=7) as conn:
        assert len(conn.execute(sa.select(Document.id)).fetchall()) == 40
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        assert conn.scalar(sa.text("select count(*) from documents where id = :id"), {"id": 2222001}) == 0
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
        assert conn.scalar(sa.text("select count(*) from documents")) == 40
    inspector = sa.inspect(engine)
    columns = {column["name"] for column in inspector.get_columns("documents", schema="app")}
    assert {"tenant_id", "title", "meta"} <= columns
    assert inspector.get_pk_constraint("documents", schema="app")["constrained_columns"] == ["id"]
    assert inspector.has_table("documents")
    engine.dispose()


async def with_asyncpg():
    engine = create_async_engine("postgresql+asyncpg://", pool_pre_ping=True)
    async with engine.connect() as conn:
        assert (await conn.execute(sa.select(Document.tenant_id, sa.func.count()).group_by(Document.tenant_id))).all() == [(1, 40)]
        for id, there in [(1111001, True), (2222001, False)] * 3:
            row = (await conn.execute(sa.select(Document.title, Document.amount).where(Document.id == id))).first()
            assert (row is not None) == there
        await conn.execute(sa.insert(Tag), [{"tenant_id": 1, "id": n, "label": "CANARY_A"} for n in range(985, 989)])
        try:
            async with conn.begin_nested():
                await conn.execute(sa.insert(Tag), {"tenant_id": 2, "id": 989, "label": "x"})
            raise AssertionError("a row for another tenant was written")
        except sa.exc.DBAPIError as error:
            assert error.orig.sqlstate == "42501", error
        assert await conn.scalar(sa.select(sa.func.count()).select_from(Tag).where(Tag.id.between(985, 989))) == 4
        await conn.rollback()
        result = await conn.stream(sa.select(Document.id))
        assert len([row async for row in result]) == 40
    await engine.dispose()


with_psycopg()
asyncio.run(with_asyncpg())
print(f"SQLAlchemy {sa.__version__}: psycopg and asyncpg: ORM, relationships, savepoint, bulk insert, upsert, RETURNING, "
      "streaming, isolation levels, reflection, pre-ping")
