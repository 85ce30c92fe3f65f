// node-postgres: text queries, parameters, named statements, a pool, errors, transactions.
import { createRequire } from 'node:module';
import assert from 'node:assert';

const require = createRequire(process.env.DRIVER + '/');
const pg = require('pg');
const pool = new pg.Pool({ max: 4 });

const all = await pool.query('SELECT tenant_id, count(*)::int AS n FROM documents GROUP BY 1');
assert.deepEqual(all.rows, [{ tenant_id: 1, n: 40 }]);

const some = await pool.query('SELECT id FROM documents WHERE id = ANY($1::bigint[])', [['1111001', '2222001']]);
assert.deepEqual(some.rows, [{ id: '1111001' }]);

const client = await pool.connect();
for (const id of [1111001, 1111002, 2222001]) {
  const row = await client.query({ name: 'by-id', text: 'SELECT title FROM documents WHERE id = $1', values: [id] });
  assert.equal(row.rowCount, id < 2000000 ? 1 : 0);
}
await client.query('BEGIN');
await assert.rejects(
  client.query('INSERT INTO tags (tenant_id, id, label) VALUES ($1, $2, $3)', [2, 5, 'x']),
  { code: '42501' },
);
await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
await client.query('ROLLBACK');
client.release();

const at_once = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => pool.query('SELECT $1::int AS n, count(*)::int AS c FROM customers', [n])));
at_once.forEach((result, i) => assert.deepEqual(result.rows, [{ n: i + 1, c: 12 }]));
await pool.end();
console.log('ok');
