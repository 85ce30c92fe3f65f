-- What an application would write for row-level security; it binds app_rls alone.
grant select, insert, update, delete on all tables in schema app to app_rls;
do $$ declare t text; begin
  foreach t in array array['customers', 'documents', 'deliveries', 'settings', 'events'] loop
    execute format('alter table app.%I enable row level security', t);
    execute format('create policy own on app.%I to app_rls using (tenant_id = current_setting(''app.tenant'')::int)', t);
  end loop;
end $$;
alter table app.pages enable row level security;
create policy own on app.pages to app_rls using (exists (select from app.documents d where d.id = document_id));
