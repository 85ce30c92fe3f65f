-- What the benchmarks run on: a table of :tenants tenants with :rows rows each, as the proxy protects it (schema
-- app), and the same under row-level security (schema rls).
create role app_backend login;
create role app_rls login;
create schema app;
create table app.documents (
  tenant_id int not null,
  id bigint primary key,
  title text not null,
  status text not null,
  body text not null,
  amount numeric(14, 2) not null
);
insert into app.documents
select t, t * 1000000 + n, 'document ' || n || ' of tenant ' || t, 'sent', repeat('0123456789', 30), n % 1000
from generate_series(1, :tenants) t, generate_series(1, :rows) n;
create index on app.documents (tenant_id, id);
create schema rls;
create table rls.documents (like app.documents including all);
insert into rls.documents select * from app.documents;
alter table rls.documents enable row level security;
create policy own on rls.documents using (tenant_id = current_setting('app.tenant')::int);
grant usage on schema app to app_backend;
grant select, insert, update, delete on all tables in schema app to app_backend;
grant usage on schema rls to app_rls;
grant select, insert, update, delete on all tables in schema rls to app_rls;
alter role app_backend set search_path = app;
alter role app_rls set search_path = rls;
vacuum analyze app.documents;
vacuum analyze rls.documents;
