//! The queries of the catalog load. Every name is qualified: not even `=` is left to a search path.

/// The session's settings and its one snapshot. What `pg_get_viewdef` prints depends on the settings, and
/// its text is parsed again elsewhere, so they are fixed.
pub(super) const BEGIN: &str = "
SET search_path = pg_catalog, pg_temp;
SET standard_conforming_strings = on;
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET quote_all_identifiers = off;
SET client_min_messages = 'error';
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(super) const HEAD: &str = "
SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version,
       pg_catalog.current_database() AS database";

/// What changes when a part of the catalog changes that is read: for each catalog the number of its rows, and the sum
/// of the transactions that wrote them. TRUNCATE and the like rewrite rows of pg_class, so of those it is the parts
/// that matter. Temporary tables come and go.
pub(super) const FINGERPRINT: &str = "
WITH n AS MATERIALIZED (
  SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(toast|temp_)'
), c AS MATERIALIZED (
  SELECT c.oid, pg_catalog.hashtextextended(ROW(c.oid, c.relname, c.relnamespace, c.relkind, c.relispartition,
    c.relrowsecurity, c.relhasrules)::pg_catalog.text, 0) AS parts
  FROM pg_catalog.pg_class c WHERE c.relnamespace IN (SELECT n.oid FROM n)
), x AS (
  SELECT 1 AS catalog, c.parts AS writer FROM c
  UNION ALL SELECT 2, a.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_attribute a
    WHERE a.attrelid IN (SELECT c.oid FROM c)
  UNION ALL SELECT 3, i.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_index i
    WHERE i.indrelid IN (SELECT c.oid FROM c)
  UNION ALL SELECT 4, k.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_constraint k
    WHERE k.connamespace IN (SELECT n.oid FROM n)
  UNION ALL SELECT 5, h.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_inherits h
    WHERE h.inhrelid IN (SELECT c.oid FROM c)
  UNION ALL SELECT 6, r.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_rewrite r
  UNION ALL SELECT 7, d.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_attrdef d
    WHERE d.adrelid IN (SELECT c.oid FROM c)
  UNION ALL SELECT 8, t.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_type t
    WHERE t.typnamespace IN (SELECT n.oid FROM n)
  UNION ALL SELECT 9, p.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_proc p
  UNION ALL SELECT 10, o.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_operator o
  UNION ALL SELECT 11, s.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_cast s
  UNION ALL SELECT 12, l.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_opclass l
  UNION ALL SELECT 13, m.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_namespace m
    WHERE m.oid IN (SELECT n.oid FROM n)
  UNION ALL SELECT 14, g.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_collation g
  UNION ALL SELECT 15, e.xmin::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_extension e
)
SELECT pg_catalog.string_agg(y.catalog || ':' || y.rows || ':' || y.writers, ' ' ORDER BY y.catalog) AS fingerprint
FROM (SELECT x.catalog, pg_catalog.count(*) AS rows, pg_catalog.sum(x.writer) AS writers
      FROM x GROUP BY x.catalog) y";

/// Relations of every schema but those of TOAST and temporary tables. Indexes and composite types are
/// among them, because their names too hide others along the search path.
///
/// An operator class is trusted when it is PostgreSQL's own, or that of one of three extensions whose
/// support functions are known: it decides which rows' values an index hands to an operator.
pub(super) const RELATIONS: &str = "
WITH trusted AS (
  SELECT o.oid
  FROM pg_catalog.pg_opclass o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_opclass'::pg_catalog.regclass
    AND d.objid = o.oid AND d.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
  WHERE n.nspname = 'pg_catalog' OR e.extname IN ('pg_trgm', 'btree_gin', 'btree_gist')
), distrusted AS (
  SELECT DISTINCT i.indrelid AS oid
  FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indclass::pg_catalog.oid[]) AS c(class)
  WHERE c.class NOT IN (SELECT t.oid FROM trusted t)
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reltype AS row_type,
       c.relispartition AS is_partition, c.relrowsecurity AS row_security,
       ARRAY(SELECT i.inhparent FROM pg_catalog.pg_inherits i
             WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) AS inherits,
       CASE WHEN c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            THEN pg_catalog.pg_get_viewdef(c.oid) END AS view_definition,
       own.refobjid AS owner_relation, own.refobjsubid::pg_catalog.int2 AS owner_column,
       NOT EXISTS (SELECT 1 FROM distrusted x WHERE x.oid = c.oid) AS trusted_opclasses
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend own ON c.relkind = 'S'
  AND own.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND own.objid = c.oid AND own.objsubid = 0
  AND own.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND own.refobjsubid > 0
  AND own.deptype IN ('a', 'i')
WHERE c.relkind <> 't' AND n.nspname <> 'pg_toast' AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY c.oid";

pub(super) const COLUMNS: &str = "
SELECT a.attrelid AS relation, a.attnum AS number, a.attname AS name, a.atttypid AS type_oid,
       a.atttypmod AS typmod, a.attnotnull AS not_null, a.attgenerated AS generated,
       a.attidentity AS identity, a.attidentity <> '' OR a.atthasdef AS has_default,
       a.attcollation AS collation
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind NOT IN ('i', 'I', 't')
ORDER BY a.attrelid, a.attnum";

/// Columns whose default is a plain call of nextval (as `pg_get_expr` prints it with an empty search path), and
/// identity columns, of tables without rules.
pub(super) const DRAWS: &str = "
SELECT d.adrelid AS relation, d.adnum AS number, s.oid AS sequence
FROM pg_catalog.pg_attrdef d
JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
  AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
WHERE NOT c.relhasrules
  AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\\(''([^'']|'''')*''::regclass\\)$'
UNION ALL
SELECT p.refobjid, p.refobjsubid::pg_catalog.int2, p.objid
FROM pg_catalog.pg_depend p
JOIN pg_catalog.pg_class s ON s.oid = p.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_class c ON c.oid = p.refobjid AND NOT c.relhasrules
JOIN pg_catalog.pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid AND a.attidentity <> ''
WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.objsubid = 0
  AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.deptype = 'i'";

/// Unique indexes on plain columns without a predicate. INCLUDE columns are no part of a key; an index
/// that is not valid promises nothing; one that is checked late (`indimmediate`) is a primary key, but not
/// unique at every moment.
pub(super) const KEYS: &str = "
SELECT i.indrelid AS relation, i.indisprimary AS is_primary, i.indimmediate AS is_immediate,
       ARRAY(SELECT k.number FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(number, at)
             WHERE k.at <= i.indnkeyatts ORDER BY k.at) AS columns
FROM pg_catalog.pg_index i
WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid";

/// Keys of full indexes: valid, without a predicate, over every row that anybody can see (`indcheckxmin` is set
/// where older snapshots can see rows that it has not), and over the rows of every partition. An index of an
/// inheritance parent says nothing of its children, and a foreign partition has no indexes. The indexes of constraints
/// come first: they are dropped the least. One that is called `…_no_proof` is about to be dropped.
pub(super) const INDEX_KEYS: &str = "
SELECT i.indrelid AS relation, i.indexrelid AS index, k.number, a.amname = 'btree' AS btree,
       CASE WHEN k.number = 0 THEN pg_catalog.pg_get_indexdef(i.indexrelid, k.at::pg_catalog.int4, false) END
         AS expression
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_am a ON a.oid = x.relam
CROSS JOIN pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(number, at)
WHERE i.indisvalid AND i.indisready AND i.indislive AND NOT i.indcheckxmin AND i.indpred IS NULL
  AND x.relname !~ '_no_proof$' AND k.at <= i.indnkeyatts AND t.relkind IN ('r', 'p', 'm')
  AND t.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace AND x.relnamespace <> 'pg_toast'::pg_catalog.regnamespace
  AND CASE WHEN t.relkind = 'p' THEN
        NOT EXISTS (SELECT FROM pg_catalog.pg_partition_tree(i.indrelid) p
                    JOIN pg_catalog.pg_class c ON c.oid = p.relid WHERE c.relkind NOT IN ('r', 'p'))
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_tree(i.indexrelid) p
                        JOIN pg_catalog.pg_index c ON c.indexrelid = p.relid
                        WHERE c.indcheckxmin OR NOT (c.indisvalid AND c.indisready AND c.indislive))
      ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = i.indrelid) END
ORDER BY i.indrelid, NOT EXISTS (SELECT FROM pg_catalog.pg_constraint s WHERE s.conindid = i.indexrelid
  AND s.conrelid = i.indrelid), i.indexrelid, k.at";

/// Validated foreign keys. One that points at a partitioned table has a copy for each partition
/// (`conparentid` of the same relation): the copies say nothing more.
pub(super) const FOREIGN_KEYS: &str = "
SELECT k.conrelid AS relation, k.conname AS name, k.confrelid AS target, k.conkey AS own, k.confkey AS other
FROM pg_catalog.pg_constraint k
LEFT JOIN pg_catalog.pg_constraint p ON p.oid = k.conparentid
WHERE k.contype = 'f' AND k.convalidated AND p.conrelid IS DISTINCT FROM k.conrelid
ORDER BY k.conrelid, k.oid";

/// The same for 18 and later, where a key can be NOT ENFORCED and then proves no parent. A key with PERIOD
/// is in: it points at rows of the other relation all the same.
pub(super) const FOREIGN_KEYS_18: &str = "
SELECT k.conrelid AS relation, k.conname AS name, k.confrelid AS target, k.conkey AS own, k.confkey AS other
FROM pg_catalog.pg_constraint k
LEFT JOIN pg_catalog.pg_constraint p ON p.oid = k.conparentid
WHERE k.contype = 'f' AND k.convalidated AND k.conenforced AND p.conrelid IS DISTINCT FROM k.conrelid
ORDER BY k.conrelid, k.oid";

/// `typelem` counts where subscripts reach into a true array; `name` and `point` have one too. An array
/// belongs to its element's extension, which pg_depend does not say.
pub(super) const TYPES: &str = "
WITH kept AS (
  SELECT t.*, CASE WHEN t.typlen = -1
      AND t.typsubscript = 'pg_catalog.array_subscript_handler(internal)'::pg_catalog.regprocedure
    THEN t.typelem ELSE 0 END AS element
  FROM pg_catalog.pg_type t
)
SELECT t.oid, n.nspname AS schema, t.typname AS name, t.typtype AS kind, t.typcategory AS category,
       t.typispreferred AS preferred, t.element::pg_catalog.oid AS element, t.typarray AS array,
       t.typrelid AS relation, t.typbasetype AS base, t.typcollation AS collation, e.extname AS extension
FROM kept t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
  AND d.objid = CASE WHEN t.element <> 0 THEN t.element ELSE t.oid END AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE n.nspname <> 'pg_toast' AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY t.oid";

/// 10 is BOOTSTRAP_SUPERUSERID (pg_authid.dat), 16384 FirstNormalObjectId (access/transam.h).
pub(super) const FUNCTIONS: &str = "
SELECT p.oid, n.nspname AS schema, p.proname AS name, p.proargtypes::pg_catalog.oid[] AS arguments,
       p.provariadic AS variadic, p.pronargdefaults AS defaults, p.proargnames AS all_names,
       p.proargmodes AS all_modes, p.proallargtypes AS all_types, p.prorettype AS result,
       p.proretset AS returns_set, p.prokind AS kind, p.provolatile AS volatility,
       p.proisstrict AS strict, p.proleakproof AS leakproof,
       p.proowner = 10 AND p.proconfig IS NULL AND NOT p.prosecdef AND p.prosupport::pg_catalog.oid < 16384
         AS pristine, l.lanname = 'internal' AS internal,
       CASE WHEN l.lanname IN ('internal', 'c') THEN p.prosrc ELSE '' END AS source, e.extname AS extension
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  AND d.objid = p.oid AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY p.oid";

/// 16384 is FirstNormalObjectId (access/transam.h): everything below came with the server.
pub(super) const OPERATORS: &str = "
SELECT o.oid, n.nspname AS schema, o.oprname AS name, o.oprleft AS left, o.oprright AS right,
       o.oprresult AS result, o.oprcode::pg_catalog.oid AS function,
       o.oprrest::pg_catalog.oid < 16384 AND o.oprjoin::pg_catalog.oid < 16384 AS builtin_estimators,
       e.extname AS extension
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass
  AND d.objid = o.oid AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY o.oid";

pub(super) const CASTS: &str = "
SELECT c.castsource AS source, c.casttarget AS target, c.castcontext AS context, c.castmethod AS method,
       c.castfunc AS function
FROM pg_catalog.pg_cast c";

pub(super) const RANGES: &str = "
SELECT r.rngtypid AS range, r.rngsubtype AS subtype, r.rngmultitypid AS multirange
FROM pg_catalog.pg_range r";

/// Those of this database's encoding, and those of any.
pub(super) const COLLATIONS: &str = "
SELECT c.oid, n.nspname AS schema, c.collname AS name, c.collisdeterministic AS deterministic
FROM pg_catalog.pg_collation c
JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE c.collencoding IN (-1, pg_catalog.pg_char_to_encoding(pg_catalog.getdatabaseencoding()))
ORDER BY c.oid";

/// What the backend role is and has; `$1` are the protected schemas.
pub(super) const ROLE: &str = "
SELECT r.rolname AS name, pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version,
       r.rolsuper, r.rolbypassrls, r.rolreplication, r.rolcreaterole, r.rolcreatedb,
       ARRAY(SELECT g.rolname FROM pg_catalog.pg_auth_members m
             JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
             WHERE m.member = r.oid ORDER BY 1) AS member_of,
       pg_catalog.has_database_privilege(d.oid, 'TEMPORARY') AS may_temp,
       pg_catalog.has_database_privilege(d.oid, 'CREATE') AS may_create_schemas,
       ARRAY(SELECT n.nspname FROM pg_catalog.pg_namespace n
             WHERE n.nspname = ANY($1) AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')
             ORDER BY 1) AS may_create_in,
       ARRAY(SELECT pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid)
             FROM pg_catalog.pg_shdepend s
             WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid
               AND s.deptype = 'o' AND (s.dbid = d.oid OR s.dbid = 0)
               AND s.classid <> 'pg_catalog.pg_largeobject'::pg_catalog.regclass
             ORDER BY 1 LIMIT 20) AS owns,
       ARRAY(SELECT s.objid::pg_catalog.text
             FROM pg_catalog.pg_shdepend s
             WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid
               AND s.deptype = 'o' AND s.dbid = d.oid
               AND s.classid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass
             ORDER BY 1 LIMIT 20) AS large_objects
FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
WHERE r.rolname = current_user AND d.datname = pg_catalog.current_database()";

/// Relations that the role may maintain, which is a privilege since 17.
pub(super) const MAINTAINED: &str = "
SELECT c.oid::pg_catalog.regclass::pg_catalog.text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'm') AND pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')
ORDER BY 1 LIMIT 20";
