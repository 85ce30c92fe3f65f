-- A million documents of 20 tenants; tenant 1 has 60 % of them. `app.documents` and its kin stand without row-level
-- security for the proxy and under it for app_rls, whose policies are what an application would write.
create schema ext;
create schema app;
set search_path = app, ext;
create extension pg_trgm schema ext;
create role app_rls;
grant usage on schema app, ext to app_rls;

create type document_status as enum ('draft', 'approved', 'sent', 'archived');

create unlogged table countries(code char(2) not null, name text not null);
create unlogged table customers(
  id bigint not null, tenant_id int not null, number numeric not null, name varchar(80) not null,
  email text not null, country char(2) not null, vip boolean not null, score int not null);
create unlogged table documents(
  id bigint not null, tenant_id int not null, customer_id bigint not null, customer_number numeric not null,
  status document_status not null, title varchar(120) not null, kind text not null, reference text not null,
  amount numeric(12,2) not null, created_at timestamptz not null, due_on date, paid boolean not null,
  deleted_at timestamptz, external_id uuid not null, number int not null, tags text[] not null,
  meta jsonb not null, search tsvector not null);
create unlogged table pages(document_id bigint not null, page_no int not null, content text not null);
create unlogged table deliveries(
  id bigint not null, tenant_id int not null, document_id bigint not null, channel text not null,
  cost numeric(12,4) not null, sent_at timestamptz, valid tstzrange not null, address inet not null);
create unlogged table settings(tenant_id int not null, key text not null, value text not null);
create table events(tenant_id int not null, id bigint not null, at timestamptz not null, kind text not null, payload jsonb)
  partition by range (at);
create unlogged table events_1 partition of events for values from ('2025-01-01') to ('2025-04-01');
create unlogged table events_2 partition of events for values from ('2025-04-01') to ('2025-07-01');
create unlogged table events_3 partition of events for values from ('2025-07-01') to ('2025-10-01');
create unlogged table events_4 partition of events for values from ('2025-10-01') to ('2026-01-01');
create view open_documents as
  select id, tenant_id, customer_id, title, amount, created_at from documents where deleted_at is null;

-- Rows come in no tenant's order: the heap mixes them as an application's life would.
create function tenant_of(n bigint) returns int language sql immutable as
  $$ select case when (n * 7919) % 100 < 60 then 1 else 2 + ((n * 7919) % 19)::int end $$;

insert into countries values ('DE', 'Germany'), ('FR', 'France'), ('US', 'United States'), ('JP', 'Japan');
insert into customers
  select n, tenant_of(n), n * 10 + 0.5, 'Customer ' || md5(n::text), 'User' || n || '@Mail' || n % 500 || '.test',
    (array['DE','FR','US','JP'])[1 + n % 4], n % 50 = 0, n % 1000
  from generate_series(1::bigint, 50000) n;
insert into documents
  select n, tenant_of(n), c, c * 10 + 0.5, (array['archived','archived','archived','sent','sent','approved','draft'])[1 + n % 7]::document_status,
    'No ' || substr(md5(n::text), 1, 6), (array['invoice','letter','offer','reminder'])[1 + n % 4],
    'R' || lpad(((n * 104729) % 1000000)::text, 7, '0'),
    (n * 31 % 1000000) / 100.0, timestamptz '2025-01-01' + n * interval '31 seconds', date '2025-01-01' + (n % 730)::int,
    n % 200 <> 0, case when n % 500 = 0 then timestamptz '2025-06-01' end, md5(n::text)::uuid, (n % 100000)::int,
    array['t' || n % 5000, 'u' || n % 7],
    jsonb_build_object('k', 'v' || n % 10000, 'n', n % 20000),
    array_to_tsvector(array['w' || n % 3000, 'x' || n % 11, 'y' || n % 101])
  from (select n, 1 + (n * 48271) % 50000 as c from generate_series(1::bigint, 1000000) n) s;
insert into pages select d, p, 'page ' || p || ' of ' || d from generate_series(1::bigint, 100000) d, generate_series(1::bigint, 2) p;
insert into deliveries
  select n, tenant_of(n * 10), n * 10, (array['email','post','sms'])[1 + n % 3], n % 1000 / 10.0,
    case when n % 100 <> 0 then timestamptz '2025-01-01' + n * interval '2 minutes' end,
    tstzrange(timestamptz '2025-01-01' + n * interval '2 minutes', timestamptz '2025-01-01' + n * interval '2 minutes' + interval '1 hour'),
    ('10.' || n % 200 || '.' || n % 250 || '.' || n % 240)::inet
  from generate_series(1::bigint, 60000) n;
insert into settings select t, 'key' || k, 'value ' || k from generate_series(1, 20) t, generate_series(1, 500) k;
insert into events
  select tenant_of(n), n, timestamptz '2025-01-01 00:00+00' + n * interval '150 seconds', 'kind' || n % 9, '{}'
  from generate_series(1::bigint, 200000) n;
