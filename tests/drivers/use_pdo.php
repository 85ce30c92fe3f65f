<?php
// PDO and the pgsql functions: prepares emulated and not, types, savepoints, cursors, COPY, persistent connections.
const SLOW = 'select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h';
function check($holds, $what) { if (!$holds) { fwrite(STDERR, "failed: $what\n"); exit(1); } }
$dsn = sprintf('pgsql:host=%s;port=%s;dbname=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'));
foreach ([true, false] as $emulated) {
    $pdo = new PDO($dsn, getenv('PGUSER'), getenv('PGPASSWORD'), [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => $emulated, PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_NUM,
    ]);
    $how = $emulated ? 'emulated' : 'prepared';
    check($pdo->query('select tenant_id, count(*) from documents group by 1')->fetchAll() == [[1, 40]], "own rows, $how");
    $by_id = $pdo->prepare('select title from documents where id = :id and title like :like');
    foreach ([1111001 => 1, 2222001 => 0, 1111002 => 1] as $id => $rows) {
        $by_id->execute(['id' => $id, 'like' => 'CANARY%']);
        check(count($by_id->fetchAll()) == $rows, "by id, $how");
    }
    $typed = $pdo->prepare('select ?::bool, ?::int8, ?::float8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::jsonb, ?::text');
    $typed->bindValue(1, true, PDO::PARAM_BOOL);
    $typed->bindValue(2, 2 ** 40, PDO::PARAM_INT);
    $typed->bindValue(3, 1.5);
    $typed->bindValue(4, '12.345');
    $typed->bindValue(5, "it's é \\ :x ?");
    $typed->bindValue(6, "\0\xff", PDO::PARAM_LOB);
    $typed->bindValue(7, '2026-01-02 03:04:05+00');
    $typed->bindValue(8, '{"a": 1}');
    $typed->bindValue(9, null, PDO::PARAM_NULL);
    $typed->execute();
    $row = $typed->fetch();
    check($row[0] === true && $row[1] == 2 ** 40 && $row[4] === "it's é \\ :x ?" && stream_get_contents($row[5]) === "\0\xff" && $row[8] === null, "types, $how");
    $pdo->beginTransaction();
    $insert = $pdo->prepare('insert into tags (tenant_id, id, label) values (?, ?, ?) returning id');
    $insert->execute([1, 871, 'CANARY_A']);
    check($insert->fetchColumn() == 871, "returning, $how");
    $pdo->exec('savepoint s');
    try {
        $insert->execute([2, 872, 'x']);
        check(false, 'a row for another tenant was written');
    } catch (PDOException $refused) {
        check($refused->getCode() === '42501', $refused->getMessage());
    }
    $pdo->exec('rollback to savepoint s');
    check($pdo->query('select count(*) from tags where id in (871, 872)')->fetchColumn() == 1, "savepoint, $how");
    $scroll = $pdo->prepare('select id from documents order by id', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $scroll->execute();
    check($scroll->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 5)[0] == 1111005 && $scroll->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_PRIOR)[0] == 1111004, "scrollable cursor, $how");
    $scroll = null;
    $pdo->rollBack();
    unset($by_id, $typed, $insert);  // each is deallocated by SQL
    check($pdo->query('select 7')->fetchColumn() == 7, "after DEALLOCATE, $how");
    check(count($pdo->pgsqlCopyToArray('customers', "\t", '\\\\N', 'id, name')) == 12, "COPY, $how");
    $pdo->exec("set statement_timeout = '300ms'");
    try {
        $pdo->query(SLOW);
        check(false, 'it was not cancelled');
    } catch (PDOException $slow) {
        check($slow->getCode() === '57014', $slow->getMessage());
    }
    $meta = $pdo->query('select id, title from documents limit 1')->getColumnMeta(1);
    check($meta['name'] === 'title', "metadata, $how");
    $pdo = null;
}
$login = sprintf('host=%s port=%s dbname=%s user=%s password=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'), getenv('PGUSER'), "'" . getenv('PGPASSWORD') . "'");
$connection = pg_pconnect($login);
check(pg_fetch_result(pg_query_params($connection, 'select count(*) from documents where id = any($1)', ['{1111001,2222001}']), 0, 0) == 1, 'pg_query_params');
pg_prepare($connection, 'named', 'select title from documents where id = $1');
check(pg_num_rows(pg_execute($connection, 'named', [1111001])) == 1 && pg_num_rows(pg_execute($connection, 'named', [2222001])) == 0, 'pg_execute');
pg_send_query($connection, SLOW);
usleep(300000);
check(pg_cancel_query($connection), 'pg_cancel_query');
check(pg_ping($connection), 'pg_ping');
printf("PHP PDO %s: emulated and real prepares, 9 types, RETURNING, savepoint, scrollable cursor, DEALLOCATE, COPY out, timeout; pgsql functions, cancel\n", PHP_VERSION);
