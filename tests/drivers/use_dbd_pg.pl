# DBD::Pg: server-side prepare on and off, typed parameters, arrays, savepoints, cursors, COPY, asynchronous cancel.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types :async);

my $slow = 'select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h';
sub check { my ($holds, $what) = @_; $holds or die "failed: $what\n" }
my $dbh = DBI->connect("dbi:Pg:dbname=$ENV{PGDATABASE}", '', '', { RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 1 });
check($dbh->ping, 'ping');
check("@{$dbh->selectrow_arrayref('select tenant_id, count(*) from documents group by 1')}" eq '1 40', 'own rows');
$dbh->do('select 1; select 2');
for my $prepare (0, 1) {
  $dbh->{pg_server_prepare} = $prepare;
  my $by_id = $dbh->prepare('select title from documents where id = ?');
  for my $id (1111001, 2222001, 1111002, 2222001) {
    $by_id->execute($id);
    check($by_id->rows == ($id < 2000000 ? 1 : 0), "by id, server prepare $prepare");
  }
  my $typed = $dbh->prepare('select ?::bool, ?::int8, ?::float8, ?::numeric, ?::text, ?::bytea, ?::timestamptz, ?::int4[], ?::jsonb, ?::text');
  $typed->bind_param(6, "\0\xff", { pg_type => PG_BYTEA });
  $typed->bind_param($_->[0], $_->[1]) for [1, 't'], [2, 2**40], [3, 1.5], [4, '12.345'], [5, "it's \x{e9} \\"], [7, '2026-01-02 03:04:05+00'], [8, [1, 2]], [9, '{"a": "\'"}'], [10, undef];
  $typed->execute;
  my $row = $typed->fetchrow_arrayref;
  check($row->[1] == 2**40 && $row->[4] eq "it's \x{e9} \\" && $row->[5] eq "\0\xff" && $row->[7][1] == 2 && !defined $row->[9], "types, server prepare $prepare");
  $dbh->begin_work;
  my $insert = $dbh->prepare('insert into tags (tenant_id, id, label) values (?, ?, ?)');
  $insert->execute(1, 861, 'CANARY_A');
  $dbh->pg_savepoint('s');
  eval { $insert->execute(2, 862, 'x') };
  check($dbh->state eq '42501', 'a row for another tenant: ' . $dbh->state);
  $dbh->pg_rollback_to('s');
  $insert->execute_array({}, 1, [863, 864], 'CANARY_A');
  check($dbh->selectrow_array('select count(*) from tags where id between 861 and 864') == 3, 'savepoint');
  $dbh->do('declare c cursor for select id from documents order by id');
  check(@{$dbh->selectall_arrayref('fetch 7 from c')} == 7, 'cursor');
  $dbh->rollback;
}
check(@{$dbh->selectall_arrayref('select id from documents where id = any(?)', undef, [1111001, 2222001])} == 1, 'an array');
$dbh->do('copy (select id, title from documents) to stdout');
my ($lines, $line) = (0, '');
while ($dbh->pg_getcopydata(\$line) >= 0) { $lines++; check($line !~ /CANARY_B/, 'another tenant in COPY') }
check($lines == 40, 'copy');
check((grep { $_ eq 'title' } map { $_->{COLUMN_NAME} } values %{$dbh->column_info(undef, 'app', 'documents', '%')->fetchall_hashref('COLUMN_NAME')}), 'columns');
my $running = $dbh->prepare($slow, { pg_async => PG_ASYNC });
$running->execute;
select undef, undef, undef, 0.3;
$dbh->pg_cancel;
check($dbh->selectrow_array('select 7') == 7, 'after a cancel');
$dbh->do("set statement_timeout = '300ms'");
eval { $dbh->do($slow) };
check($dbh->state eq '57014', 'statement_timeout');
$dbh->disconnect;
$dbh = DBI->connect_cached("dbi:Pg:dbname=$ENV{PGDATABASE}", '', '', { RaiseError => 1 });
check($dbh->selectrow_array('select count(*) from documents') == 40, 'reconnect');
print "DBD::Pg $DBD::Pg::VERSION: server prepare on and off, 10 types, arrays, savepoint, cursor, execute_array, COPY out, metadata, asynchronous cancel, reconnect\n";
