import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.ArrayList;
import java.util.List;

/** HikariCP over pgjdbc: isValid, autocommit off, setReadOnly, setNetworkTimeout, isolation, leak-free reuse. */
public class Hikari {
    public static void main(String[] args) throws Exception {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"));
        config.setUsername(System.getenv("PGUSER"));
        config.setPassword(System.getenv("PGPASSWORD"));
        config.setMaximumPoolSize(3);
        config.setAutoCommit(false);
        config.setConnectionInitSql("select 1");
        config.addDataSourceProperty("prepareThreshold", "1");
        config.addDataSourceProperty("reWriteBatchedInserts", "true");
        try (HikariDataSource pool = new HikariDataSource(config)) {
            for (int round = 0; round < 3; round++) {
                try (Connection connection = pool.getConnection()) {
                    check(connection.isValid(3), "isValid");
                    check(one(connection, "select count(*) from documents").equals("40"), "own rows");
                    connection.commit();
                    connection.setReadOnly(true);
                    check(one(connection, "select count(*) from customers").equals("12"), "read only");
                    try (Statement statement = connection.createStatement()) {
                        statement.executeUpdate("delete from tags");
                        throw new AssertionError("it was written in a read-only transaction");
                    } catch (SQLException refused) {
                        check(refused.getSQLState().equals("25006"), refused.toString());
                    }
                    connection.rollback();
                    connection.setReadOnly(false);
                    connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
                    check(one(connection, "select count(*) from documents where id = 2222001").equals("0"), "another tenant's row");
                    connection.rollback();
                }
            }
            try (Connection connection = pool.getConnection()) {
                Savepoint savepoint;
                try (PreparedStatement insert = connection.prepareStatement("insert into tags (tenant_id, id, label) values (?, ?, ?)")) {
                    for (int id = 891; id < 899; id++) {
                        insert.setInt(1, 1);
                        insert.setInt(2, id);
                        insert.setString(3, "CANARY_A " + id);
                        insert.addBatch();
                    }
                    check(insert.executeBatch().length == 8, "a rewritten batch");
                    savepoint = connection.setSavepoint();
                    insert.setInt(1, 2);
                    insert.setInt(2, 899);
                    insert.setString(3, "x");
                    insert.executeUpdate();
                    throw new AssertionError("a row for another tenant was written");
                } catch (SQLException refused) {
                    check("42501".equals(refused.getSQLState()), refused.toString());
                    connection.rollback();
                }
                try (Statement pages = connection.createStatement()) {
                    pages.setFetchSize(7);
                    int rows = 0;
                    try (ResultSet ids = pages.executeQuery("select id from documents order by id")) {
                        while (ids.next()) {
                            rows++;
                        }
                    }
                    check(rows == 40, "fetch size");
                    pages.setFetchSize(0);
                    pages.setQueryTimeout(1);
                    pages.executeQuery("select count(*) from customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h");
                    throw new AssertionError("it was not cancelled");
                } catch (SQLException cancelled) {
                    check("57014".equals(cancelled.getSQLState()), cancelled.toString());
                    connection.rollback();
                }
                connection.setNetworkTimeout(Runnable::run, 5000);
                check(one(connection, "select 7").equals("7"), "after a cancel");
                connection.rollback();
            }
            ExecutorService threads = Executors.newFixedThreadPool(6);
            List<Future<String>> counts = new ArrayList<>();
            for (int n = 0; n < 30; n++) {
                counts.add(threads.submit(() -> {
                    try (Connection connection = pool.getConnection()) {
                        String count = one(connection, "select count(*) from customers");
                        connection.commit();
                        return count;
                    }
                }));
            }
            for (Future<String> count : counts) {
                check(count.get().equals("12"), "the pool");
            }
            threads.shutdown();
        }
        System.out.println("HikariCP of Debian"
            + ": isValid, autocommit off, read only, isolation, rewritten batch, fetch size, query timeout, network timeout, threads");
    }

    private static String one(Connection connection, String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql); ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getString(1);
        }
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
