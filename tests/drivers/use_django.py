"""Django: the ORM over psycopg 3: queries, bulk writes, savepoints, select_for_update, iterators, introspection."""
import datetime
import decimal
import os

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"], "USER": os.environ["PGUSER"], "PASSWORD": os.environ["PGPASSWORD"],
        "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"],
        "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True,
    }},
    INSTALLED_APPS=["django.contrib.postgres", "__main__"], USE_TZ=True, TIME_ZONE="Europe/Berlin", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models, transaction
from django.db.models import Avg, Count, F, OuterRef, Q, Subquery, Sum, Window
from django.db.models.functions import RowNumber
from django.db.utils import ProgrammingError


class Table(models.Model):
    tenant_id = models.IntegerField(default=1)

    class Meta:
        abstract = True
        managed = False


class Customer(Table):
    email = models.TextField()
    name = models.TextField()
    score = models.IntegerField(default=0)
    tags = ArrayField(models.TextField(), default=list)
    attrs = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Table.Meta):
        db_table = "customers"


class Document(Table):
    customer = models.ForeignKey(Customer, models.CASCADE)
    title = models.TextField()
    amount = models.DecimalField(max_digits=14, decimal_places=2, default=0)
    meta = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Table.Meta):
        db_table = "documents"


class Tag(Table):
    id = models.IntegerField(primary_key=True)
    label = models.TextField()

    class Meta(Table.Meta):
        db_table = "tags"


assert list(Document.objects.values_list("tenant_id").annotate(n=Count("id"))) == [(1, 40)]
assert not Document.objects.filter(pk=2222001).exists() and Document.objects.get(pk=1111001).title == "CANARY_A title 1"
page = Document.objects.select_related("customer").filter(Q(amount__gt=0) | Q(title__icontains="title"), customer__score__gt=0)
assert all(d.customer.name.startswith("CANARY_A") for d in page.order_by("-created_at", "id")[5:15])
totals = Customer.objects.annotate(n=Count("document"), total=Sum("document__amount")).filter(n__gt=1).order_by("-total")
assert totals.count() > 0 and Document.objects.aggregate(Avg("amount"))["amount__avg"]
latest = Document.objects.filter(customer=OuterRef("pk")).order_by("-id").values("title")[:1]
assert all(c.latest.startswith("CANARY_A") for c in Customer.objects.annotate(latest=Subquery(latest)).exclude(latest=None))
ranked = Document.objects.annotate(row=Window(RowNumber(), partition_by="customer", order_by="id"))
assert len(ranked) == 40
assert Customer.objects.filter(tags__contains=["CANARY_A"], attrs__seg__startswith="CANARY_A").count() == 12
assert Document.objects.filter(created_at__date__gte=datetime.date(2024, 1, 1), created_at__year=2024).count() > 0

with transaction.atomic():
    made = Customer.objects.create(email="CANARY_A@django.test", name="CANARY_A é", tags=["a"], attrs={"k": [1, None]})
    made.refresh_from_db()
    assert made.tags == ["a"] and made.attrs == {"k": [1, None]}
    document = Document.objects.create(customer=made, title="CANARY_A", amount=decimal.Decimal("12.34"))
    Tag.objects.bulk_create([Tag(id=n, label=f"CANARY_A {n}") for n in range(701, 751)], batch_size=20)
    try:
        with transaction.atomic():  # a savepoint
            Tag.objects.create(tenant_id=2, id=751, label="x")
        raise AssertionError("a row for another tenant was written")
    except ProgrammingError as error:
        assert error.__cause__.sqlstate == "42501", error
    Tag.objects.filter(id__gte=701, id__lt=711).update(label=F("label"))
    Customer.objects.bulk_create([Customer(email=made.email, name="CANARY_A upsert")], update_conflicts=True, unique_fields=["email"], update_fields=["name"])
    assert Customer.objects.get(pk=made.pk).name == "CANARY_A upsert"
    locked = list(Document.objects.select_for_update(skip_locked=True).filter(pk__in=[1111001, 2222001]))
    assert [d.pk for d in locked] == [1111001]
    assert Document.objects.update_or_create(pk=document.pk, defaults={"title": "CANARY_A changed"})[1] is False
    assert Tag.objects.filter(id__range=(701, 750)).delete()[0] == 50
    assert len(list(Document.objects.iterator(chunk_size=7))) == 41  # a server-side cursor
    transaction.set_rollback(True)
assert Customer.objects.count() == 12

with connection.cursor() as cursor:
    cursor.execute("select title from documents where id = %s", [1111001])
    assert cursor.fetchone() == ("CANARY_A title 1",)
    tables = {table.name for table in connection.introspection.get_table_list(cursor)}
    assert "documents" in tables
    columns = {column.name for column in connection.introspection.get_table_description(cursor, "documents")}
    assert {"tenant_id", "title"} <= columns
connection.close()
assert Document.objects.count() == 40  # it connects anew
print(f"Django {django.__version__}: joins, aggregates, windows, JSON and arrays, bulk_create, upsert, savepoint, "
      "select_for_update, server-side iterator, introspection, reconnect")
