import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** pgjdbc: prepared statements beyond its threshold, autocommit off, batches, errors, isValid, COPY, metadata. */
public class Pgjdbc {
    public static void main(String[] args) throws Exception {
        Properties login = new Properties();
        login.setProperty("user", System.getenv("PGUSER"));
        login.setProperty("password", System.getenv("PGPASSWORD"));
        String url = "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        try (Connection connection = DriverManager.getConnection(url, login)) {
            check(connection.isValid(5), "isValid");
            try (PreparedStatement byId = connection.prepareStatement("select title from documents where id = ?")) {
                for (int i = 0; i < 8; i++) {
                    byId.setLong(1, 1111001);
                    try (ResultSet rows = byId.executeQuery()) {
                        check(rows.next() && rows.getString(1).equals("CANARY_A title 1"), "the tenant's own row");
                    }
                    byId.setLong(1, 2222001);
                    try (ResultSet rows = byId.executeQuery()) {
                        check(!rows.next(), "a row of another tenant");
                    }
                }
            }
            connection.setAutoCommit(false);
            try (PreparedStatement insert = connection.prepareStatement("insert into tags (tenant_id, id, label) values (?, ?, ?)")) {
                for (int id = 801; id < 804; id++) {
                    insert.setInt(1, 1);
                    insert.setInt(2, id);
                    insert.setString(3, "CANARY_A " + id);
                    insert.addBatch();
                }
                check(insert.executeBatch().length == 3, "a batch");
                insert.setInt(1, 2);
                insert.setInt(2, 804);
                insert.setString(3, "x");
                try {
                    insert.executeUpdate();
                    throw new AssertionError("a row for another tenant was written");
                } catch (SQLException refused) {
                    check(refused.getSQLState().equals("42501"), refused.getSQLState());
                }
            }
            connection.rollback();
            CopyManager copies = connection.unwrap(PGConnection.class).getCopyAPI();
            String rows = "901,CANARY_A a\n902,\"CANARY_A, b\"\n";
            check(copies.copyIn("COPY tags (id, label) FROM STDIN (FORMAT csv)", new StringReader(rows)) == 2, "copyIn");
            check(copies.copyIn("COPY document_pages FROM STDIN", new StringReader("1111001\t901\tx\n")) == 1, "copyIn of a child");
            StringWriter out = new StringWriter();
            copies.copyOut("COPY (SELECT id, label FROM tags WHERE id IN (901, 902) ORDER BY id) TO STDOUT (FORMAT csv)", out);
            check(out.toString().equals(rows), out.toString());
            connection.rollback();
            try {
                copies.copyIn("COPY tags FROM STDIN", new StringReader("2\t903\tx\n"));
                throw new AssertionError("a row for another tenant was loaded");
            } catch (SQLException refused) {
                check(refused.getSQLState().equals("42501"), refused.getSQLState());
            }
            connection.rollback();
            connection.setReadOnly(true);
            try (PreparedStatement count = connection.prepareStatement("select count(*) from documents");
                 ResultSet counted = count.executeQuery()) {
                check(counted.next() && counted.getInt(1) == 40, "a count");
            }
            connection.rollback();
            try (ResultSet columns = connection.getMetaData().getColumns(null, "app", "documents", "%")) {
                check(columns.next(), "metadata");
            }
            connection.rollback();
        }
        System.out.println("pgjdbc " + org.postgresql.Driver.class.getPackage().getImplementationVersion() + ": prepared beyond the threshold, batch, rollback, read only, isValid, COPY both ways, metadata");
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
