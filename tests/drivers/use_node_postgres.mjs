// node-postgres: text queries, parameters, named statements, cursors, a pool, errors, savepoints, timeouts.
import { createRequire } from 'node:module';
import assert from 'node:assert';

const require = createRequire(process.env.DRIVER + '/');
const pg = require('pg');
const Cursor = require('pg-cursor');
const { version } = require('pg/package.json');
const SLOW = 'select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h';
const pool = new pg.Pool({ max: 4 });

const all = await pool.query('SELECT tenant_id, count(*)::int AS n FROM documents GROUP BY 1');
assert.deepEqual(all.rows, [{ tenant_id: 1, n: 40 }]);
assert.deepEqual((await pool.query('SELECT 1 AS a; SELECT 2 AS b')).map((r) => r.rows[0]), [{ a: 1 }, { b: 2 }]);

const some = await pool.query('SELECT id FROM documents WHERE id = ANY($1::bigint[])', [['1111001', '2222001']]);
assert.deepEqual(some.rows, [{ id: '1111001' }]);
const moment = new Date('2026-01-02T03:04:05.678Z');
const typed = await pool.query({
  text: 'SELECT $1::bool AS b, $2::int8 AS i, $3::float8 AS f, $4::text AS t, $5::bytea AS y, $6::timestamptz AS m, $7::jsonb AS j, $8::text[] AS l, $9::text AS z',
  values: [true, '1099511627776', 1.5, "it's é", Buffer.from([0, 255]), moment, { a: [1] }, ['a', 'b'], null],
});
assert.deepEqual(typed.rows, [{ b: true, i: '1099511627776', f: 1.5, t: "it's é", y: Buffer.from([0, 255]), m: moment, j: { a: [1] }, l: ['a', 'b'], z: null }]);
const binary = await pool.query({ text: 'SELECT id, tenant_id FROM documents WHERE id = $1', values: [1111001], binary: true });
assert.equal(binary.rows[0].tenant_id, 1);

const client = await pool.connect();
for (const id of [1111001, 1111002, 2222001]) {
  const row = await client.query({ name: 'by-id', text: 'SELECT title FROM documents WHERE id = $1', values: [id] });
  assert.equal(row.rowCount, id < 2000000 ? 1 : 0);
}
const insert = 'INSERT INTO tags (tenant_id, id, label) VALUES ($1, $2, $3)';
await client.query('BEGIN');
await client.query(insert, [1, 821, 'CANARY_A']);
await client.query('SAVEPOINT s');
await assert.rejects(client.query(insert, [2, 822, 'x']), { code: '42501' });
await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
await client.query('ROLLBACK TO SAVEPOINT s');
assert.equal((await client.query('SELECT id FROM tags WHERE id IN (821, 822)')).rowCount, 1);
const cursor = client.query(new Cursor('SELECT id FROM documents WHERE id > $1 ORDER BY id', [0]));
assert.equal((await cursor.read(7)).length, 7);
assert.equal((await cursor.read(100)).length, 33);
await cursor.close();
await client.query('ROLLBACK');
client.release();

const impatient = new pg.Client({ statement_timeout: 300 });
await impatient.connect().then(async () => {
  await assert.rejects(impatient.query(SLOW), { code: '57014' });
  await impatient.end();
}, (refused) => assert.equal(refused.code, '0A000')); // a setting of the startup packet that is not taken
const slow = new pg.Client({ query_timeout: 300 });
slow.on('error', () => {});
await slow.connect();
await assert.rejects(slow.query(SLOW), /timeout/);
slow.connection.stream.destroy();

const at_once = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => pool.query('SELECT $1::int AS n, count(*)::int AS c FROM customers', [n])));
at_once.forEach((result, i) => assert.deepEqual(result.rows, [{ n: i + 1, c: 12 }]));
await pool.end();
console.log(`node-postgres ${version}: simple, multi-statement, named statements, 9 types, binary results, savepoint, cursor, timeouts, pool`);
