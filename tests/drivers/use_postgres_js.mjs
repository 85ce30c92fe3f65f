// postgres.js: it prepares by itself, pipelines, and asks for array types at its first use of one.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import assert from 'node:assert';

const require = createRequire(process.env.DRIVER + '/');
const postgres = require('postgres');
const { version } = JSON.parse(readFileSync(process.env.DRIVER + '/node_modules/postgres/package.json'));
const SLOW = 'select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h';

const sql = postgres({ max: 3, onnotice: () => {} });
assert.deepEqual([...await sql`select tenant_id, count(*)::int as n from documents group by 1`], [{ tenant_id: 1, n: 40 }]);
assert.equal((await sql.unsafe('select 1 as a; select 2 as b'))[1][0].b, 2);
for (const id of [1111001, 1111002, 2222001, 1111001]) {
  const rows = await sql`select title, amount, d.created_at, status, tags from documents d join customers c on c.id = d.customer_id where d.id = ${id}`;
  assert.equal(rows.length, id < 2000000 ? 1 : 0);
}
assert.equal((await sql`select id from documents where id in ${sql([1111001, 2222001])}`).length, 1);
assert.equal((await sql`select id from documents where id = any(${[1111001, 2222001]})`).length, 1);
const moment = new Date('2026-01-02T03:04:05.678Z');
const [row] = await sql`select ${true}::bool as b, ${2 ** 40}::int8 as i, ${1.5}::float8 as f, ${'12.345'}::numeric as n, ${'é €'}::text as t,
  ${Buffer.from([0, 255])}::bytea as y, ${moment}::timestamptz as m, ${sql.json({ a: [1] })}::jsonb as j, ${['a', 'b']}::text[] as l, ${null}::text as z`;
assert.deepEqual(row, { b: true, i: String(2 ** 40), f: 1.5, n: '12.345', t: 'é €', y: Buffer.from([0, 255]), m: moment, j: { a: [1] }, l: ['a', 'b'], z: null });

await assert.rejects(sql.begin(async (sql) => {
  await sql`insert into tags ${sql([{ tenant_id: 1, id: 811, label: 'CANARY_A' }, { tenant_id: 1, id: 812, label: 'CANARY_A' }])}`;
  await assert.rejects(sql.savepoint((sql) => sql`insert into tags (tenant_id, id, label) values (2, 813, 'x')`), { code: '42501' });
  const left = await sql`select count(*)::int as n from tags where id between 811 and 813`;
  assert.equal(left[0].n, 2);
  await sql`update tags set ${sql({ label: 'CANARY_A changed' })} where id = 811`;
  throw new Error('roll back');
}), { message: 'roll back' });
const both = await sql.begin((sql) => [sql`select count(*)::int as n from documents`, sql`select count(*)::int as n from customers`]);
assert.deepEqual(both.map((r) => r[0].n), [40, 12]);

let seen = 0;
for await (const rows of sql`select id from documents order by id`.cursor(7)) seen += rows.length;
assert.equal(seen, 40);
await sql`select id from documents`.forEach(() => { seen += 1; });
assert.equal(seen, 80);

let copied = '';
for await (const chunk of await sql`copy (select id, title from documents) to stdout`.readable()) copied += chunk;
assert.equal(copied.split('\n').length, 41);
assert(!copied.includes('CANARY_B'));

const slow = sql.unsafe(SLOW);
setTimeout(() => slow.cancel(), 300);
await assert.rejects(slow, { code: '57014' });
const described = await sql`select id, title from documents where id = ${1}`.describe();
assert.deepEqual(described.columns.map((c) => c.name), ['id', 'title']);
const at_once = await Promise.all(Array.from({ length: 30 }, (_, n) => sql`select ${n}::int as n, count(*)::int as c from customers`));
at_once.forEach((rows, n) => assert.deepEqual([...rows], [{ n, c: 12 }]));
await sql.end();
console.log(`postgres.js ${version}: prepared by itself, multi-statement, 10 types, arrays, savepoint, pipelined transaction, cursor, COPY out, cancel, describe, pool`);
