# ruby-pg: parameters, prepared statements, binary, transactions, single-row mode, pipeline, COPY, cancel, notices.
require 'pg'

SLOW = 'select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h'
def check(holds, what) = holds || abort("failed: #{what}")

conn = PG.connect
check(conn.exec('select tenant_id, count(*) from documents group by 1').values == [%w[1 40]], 'own rows')
check(conn.exec('select 1; select 2').values == [%w[2]], 'several statements')
check(conn.exec_params('select title from documents where id = any($1::bigint[])', ['{1111001,2222001}']).values == [['CANARY_A title 1']], 'parameters')
conn.type_map_for_results = PG::BasicTypeMapForResults.new(conn)
conn.type_map_for_queries = PG::BasicTypeMapForQueries.new(conn)
values = [true, 2**40, 1.5, "it's é", nil, [1, 2]]
check(conn.exec_params('select $1::bool, $2::int8, $3::float8, $4::text, $5::text, $6::int4[]', values).values == [values], 'types')
conn.type_map_for_queries = PG::TypeMapAllStrings.new
binary = conn.exec_params('select id, $1::bytea from documents where id = $2', [{ value: "\0\xff".b, format: 1 }, { value: [1111001].pack('q>'), format: 1, type: 20 }], 1)
check(binary.getvalue(0, 1) == "\0\xff".b, 'binary')
conn.type_map_for_results = PG::TypeMapAllStrings.new
conn.prepare('by_id', 'select title from documents where id = $1')
[[1111001, 1], [2222001, 0]].each { |id, n| 4.times { check(conn.exec_prepared('by_id', [id]).ntuples == n, "prepared #{id}") } }
check(conn.describe_prepared('by_id').nparams == 1, 'describe')
insert = 'insert into tags (tenant_id, id, label) values ($1, $2, $3)'
conn.transaction do
  conn.exec_params(insert, [1, 831, 'CANARY_A'])
  conn.exec('savepoint s')
  begin
    conn.exec_params(insert, [2, 832, 'x'])
    abort 'a row for another tenant was written'
  rescue PG::InsufficientPrivilege
    conn.exec('rollback to savepoint s')
  end
  check(conn.exec('select id from tags where id in (831, 832)').ntuples == 1, 'savepoint')
  conn.exec('declare c cursor for select id from documents order by id')
  check(conn.exec('fetch 7 from c').ntuples == 7 && conn.exec('fetch all from c').ntuples == 33, 'cursor')
  raise PG::RollbackTransaction if defined?(PG::RollbackTransaction)
  conn.exec('delete from tags where id = 831')
end
conn.enter_pipeline_mode
3.times { |n| conn.send_query_params('select $1::int + count(*) from customers', [n]) }
conn.send_query_params('select count(*) from nowhere', [])
conn.pipeline_sync
got = []
while (result = conn.get_result) || got.last != :end
  next unless result
  got << (result.result_status == PG::PGRES_PIPELINE_SYNC ? :end : (result.result_status == PG::PGRES_TUPLES_OK ? result.getvalue(0, 0) : result.error_field(PG::PG_DIAG_SQLSTATE)))
end
check(got == ['12', '13', '14', '42P01', :end], "pipeline: #{got}")
conn.exit_pipeline_mode
conn.send_query('select id from documents')
conn.set_single_row_mode
rows = 0
while (result = conn.get_result)
  rows += result.ntuples
end
check(rows == 40, 'single-row mode')
copied = []
conn.copy_data('copy (select id, title from documents) to stdout') { copied << conn.get_copy_data while copied.last || copied.empty? }
check(copied.compact.length == 40 && copied.compact.none? { |line| line.include?('CANARY_B') }, 'copy')
conn.send_query(SLOW)
sleep 0.3
check(conn.cancel.nil?, 'cancel')
begin
  conn.get_last_result
  abort 'it was not cancelled'
rescue PG::QueryCanceled
  check(conn.exec('select 7').getvalue(0, 0) == '7', 'after a cancel')
end
conn.reset
check(conn.exec('select count(*) from documents').getvalue(0, 0) == '40', 'reset')
conn.close
puts "ruby-pg #{PG::VERSION}: simple, parameters of 6 types, binary, prepared, savepoint, cursor, single-row mode, pipeline, COPY out, cancel, reconnect"
