# ActiveRecord: models, associations, bulk writes, upsert, savepoints, locking, batches, schema cache, reconnect.
require 'active_record'

def check(holds, what) = holds || abort("failed: #{what}")

ActiveRecord::Base.establish_connection(
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'], database: ENV['PGDATABASE'],
  username: ENV['PGUSER'], password: ENV['PGPASSWORD'], pool: 3, variables: { statement_timeout: 5000 },
  insert_returning: true
)

class Customer < ActiveRecord::Base
  has_many :documents
end

class Document < ActiveRecord::Base
  belongs_to :customer
end

class Folder < ActiveRecord::Base
end

class Setting < ActiveRecord::Base
  self.primary_key = 'key'
end

check(Document.group(:tenant_id).count == { 1 => 40 }, 'own rows')
check(Document.find_by(id: 2222001).nil? && Document.find(1111001).title == 'CANARY_A title 1', 'by id')
check(Customer.column_names.include?('tenant_id') && Document.columns_hash['meta'].type == :jsonb, 'columns')
page = Document.includes(:customer).joins(:customer).where('customers.score > ?', 0).where.not(title: nil).order(created_at: :desc, id: :asc).limit(5).offset(2)
check(page.all? { |d| d.customer.name.start_with?('CANARY_A') } && page.length == 5, 'join')
check(Customer.where(country: %w[DE FR]).where(score: 1..).pluck(:name).all? { |n| n.start_with?('CANARY_A') }, 'pluck')
check(Document.where(customer: Customer.where('score > 0')).sum(:amount).positive?, 'sub-select')
check(Document.distinct.count(:customer_id).positive? && Document.average(:amount), 'aggregates')
ActiveRecord::Base.transaction do
  made = Customer.create!(tenant_id: 1, email: 'CANARY_A@ar.test', name: 'CANARY_A é', tags: ['a'], attrs: { k: [1, nil] })
  made.reload
  check(made.tags == ['a'] && made.attrs == { 'k' => [1, nil] }, 'types')
  made.update!(score: 5)
  made.documents.create!(tenant_id: 1, title: 'CANARY_A', amount: '12.34')
  Folder.insert_all!((7841..7850).map { |id| { tenant_id: 1, id: id, name: "CANARY_A #{id}" } })
  begin
    ActiveRecord::Base.transaction(requires_new: true) { Folder.create!(tenant_id: 2, id: 7851, name: 'x') }
    abort 'a row for another tenant was written'
  rescue ActiveRecord::StatementInvalid => e
    check(e.cause.is_a?(PG::InsufficientPrivilege), e.message)
  end
  check(Folder.where(id: 7841..7851).count == 10, 'savepoint')
  Setting.upsert({ tenant_id: 1, key: 'k1', value: 'CANARY_A new' }, unique_by: %i[tenant_id key])
  check(Setting.find_by(key: 'k1').value == 'CANARY_A new', 'upsert')
  check(Document.lock('FOR UPDATE SKIP LOCKED').where(id: [1111001, 2222001]).pluck(:id) == [1111001], 'lock')
  check(Folder.where(id: 7841..7850).update_all(name: 'CANARY_A') == 10 && Folder.where(id: 7841..7850).delete_all == 10, 'bulk')
  raise ActiveRecord::Rollback
end
seen = 0
Document.find_each(batch_size: 7) { seen += 1 }
check(seen == 40, 'batches')
connection = ActiveRecord::Base.connection
check(connection.select_value('select count(*) from documents').to_i == 40 && connection.active?, 'connection')
check(connection.tables.include?('documents') && connection.primary_key('documents') == 'id', 'schema')
check(connection.indexes('documents').any?, 'indexes')
check(connection.exec_query('select title from documents where id = $1', 'q', [ActiveRecord::Relation::QueryAttribute.new('id', 1111001, ActiveRecord::Type::BigInteger.new)]).rows.length == 1, 'exec_query')
connection.reconnect!
check(Document.count == 40, 'reconnect')
threads = 6.times.map { |n| Thread.new { ActiveRecord::Base.connection_pool.with_connection { Customer.where('score >= ?', n - 6).count } } }
check(threads.map(&:value).all?(12), 'pool')
puts "ActiveRecord #{ActiveRecord::VERSION::STRING}: models, joins, aggregates, types, insert_all, upsert, savepoint, locking, batches, schema, reconnect, pool"
