//! The database as it was: sequences are set back before each case, rows where a case changed them.

use crate::support::wire::{Connection, CopyIn};

/// What a lane's database held at first.
#[derive(Debug)]
pub struct Pristine {
    tables: Vec<Table>,
    set_sequences: String,
    digest: String,
    others_digest: String,
    others: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Table {
    name: String,
    columns: String,
    rows: Vec<u8>,
    digest: String,
}

/// Tables that hold rows themselves, with the columns that can be written.
const TABLES: &str = "
select format('%I.%I', n.nspname, c.relname), n.nspname, c.relname,
       (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''),
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('app', 'rls') and c.relkind = 'r' order by 1";

const SEQUENCES: &str = "
select string_agg(format('select setval(%L, %s, %L)', format('%I.%I', schemaname, sequencename),
       coalesce(last_value, start_value), last_value is not null), '; ')
from pg_sequences where schemaname in ('app', 'rls')";

const LARGE_OBJECTS: &str = "
select 'large objects', coalesce(md5(string_agg(oid || encode(lo_get(oid), 'hex'), ',' order by oid)), '')
from pg_largeobject_metadata where oid in (2222000, 3333000)";

impl Pristine {
    pub fn remember(superuser: &mut Connection) -> Self {
        let set_sequences = superuser.values(SEQUENCES)[0][0].clone();
        let listed = superuser.values(TABLES);
        let digest = |filter: &dyn Fn(&[String]) -> Option<String>| {
            let of = listed.iter().filter_map(|row| Some((&row[0], &row[3], filter(row)?)));
            // Stored columns alone: a virtual one can raise.
            let parts = of.map(|(name, columns, filter)| {
                format!(
                    "select '{}', coalesce(md5(string_agg(row({columns})::text, E'\\n' order by row({columns})::text)), '') \
                     from only {name} t where {filter}",
                    name.replace('\'', "''")
                )
            });
            parts.collect::<Vec<_>>().join(" union all ")
        };
        let everything = digest(&|_| Some("true".into()));
        let others_digest = digest(&others_filter) + " union all " + LARGE_OBJECTS;
        let mut tables = Vec::new();
        let digests = superuser.values(&everything);
        for (row, digest) in listed.iter().zip(digests) {
            let (name, columns) = (row[0].clone(), row[3].clone());
            let copy = superuser.run(&format!("copy {name} ({columns}) to stdout")).outcomes();
            let rows = copy.into_iter().flat_map(|outcome| outcome.copied).collect();
            tables.push(Table { name, columns, rows, digest: digest[1].clone() });
        }
        let others = superuser.values(&others_digest);
        superuser.run("set session_replication_role = replica");
        Self { tables, set_sequences, digest: everything, others_digest, others }
    }

    /// Sets every sequence back. What `nextval` gave is not undone by a rollback.
    pub fn set_sequences(&self, superuser: &mut Connection) {
        superuser.run(&self.set_sequences);
    }

    /// The tables of `app` in which rows that are not tenant 1's have changed.
    pub fn changed_of_others(&self, superuser: &mut Connection) -> Vec<String> {
        let now = superuser.values(&self.others_digest);
        let pairs = now.iter().zip(&self.others);
        pairs.filter(|(now, then)| now != then).map(|(now, _)| now[0].clone()).collect()
    }

    /// Puts every changed row back.
    pub fn restore(&self, superuser: &mut Connection) {
        let now = superuser.values(&self.digest);
        let pairs = self.tables.iter().zip(now);
        let changed: Vec<&Table> =
            pairs.filter(|(then, now)| then.digest != now[1]).map(|(t, _)| t).collect();
        for table in &changed {
            superuser.run(&format!("delete from only {}", table.name));
        }
        for table in &changed {
            superuser.set_copy_in(Some(CopyIn::Data(vec![table.rows.clone()])));
            superuser.run(&format!("copy {} ({}) from stdin", table.name, table.columns));
        }
        // Large objects go only when the backend role itself is judged.
        superuser.run(
            "select lo_from_bytea((t * 1111000)::oid, convert_to('CANARY_' || chr(64 + t) || ' large object', 'UTF8'))
             from generate_series(1, 3) t
             where not exists (select from pg_largeobject_metadata m where m.oid = (t * 1111000)::oid)",
        );
    }
}

/// Which rows of a table of `app` are not tenant 1's.
fn others_filter(row: &[String]) -> Option<String> {
    let (schema, name, has_tenant) = (&row[1], &row[2], row[4] == "t");
    (schema == "app").then(|| match name.as_str() {
        "tenants" => "t.id <> 1".into(),
        "document_pages" => {
            "not exists (select from app.documents d where d.id = t.document_id and d.tenant_id = 1)".into()
        }
        _ if has_tenant => "t.tenant_id is distinct from 1".into(),
        _ => "true".into(),
    })
}
