//! Loads written by hand: one of each form, and each that has been wrong once.

use super::Load;

/// The loads for a major.
pub(super) fn loads(major: u32) -> Vec<Load> {
    let mut loads = Vec::new();
    let mut add = |table, columns, options: &str, rows: &[u8]| {
        for extended in [false, true] {
            loads.push(Load { table, columns, options: options.to_owned(), rows: rows.to_vec(), extended });
        }
    };
    let (given, left) = ("(a, tenant_id, b, c)", "(a, b)");
    add("loads", given, "", b"1\t1\tx\t{a,b}\n2\t1\t\\N\t\\N\n");
    add("loads", given, "", b"1\t1\tx\t{}\n2\t2\tCANARY\t{}\n");
    add("loads", given, "", b"1\t1\\\n\tx\t{}\n");
    add("loads", given, "", b"1\t\\x32\tx\t{}\n");
    add("loads", given, "csv", b"1,\"2\",x,{}\n");
    add("loads", given, "csv", b"1,\"1\",\"a\nb\",{}\r\n");
    add("loads", "", "", b"1\t1\tx\t{}\n\\.\n2\t2\ty\t{}\n");
    add("loads", "", "csv", b"1,1,x,{}\n\\.\n2,2,y,{}\n");
    add("loads", left, "(header)", b"a\tb\n1\tx\n");
    add("loads", left, "(format csv, header match)", b"a,b\n1,x\n");
    add("loads", left, "(format csv, header match)", b"b,a\n1,x\n");
    add("loads", left, "(format csv, null 'NULL', delimiter ';')", b"NULL;x\n1;\"NULL\"\n");
    add("loads", left, "(format csv, force_null (b), null 'z')", b"1,\"z\"\n2,z\n");
    add("loads", left, "(format csv, force_not_null (b))", b"1,\n2,\"\"\n");
    add("loads", left, "where a > 1 and b <> 'z'", b"1\tx\n2\ty\n3\tz\n");
    add("loads", left, "where b::int > 0", b"1\tx\n");
    add("loads", left, "csv quote '''' escape '\\'", b"1,'a\\'b'\n2,'\\\\'\n");
    add("loads", left, "", b"1\tx\textra\n");
    add("loads", left, "", b"1\n");
    add("loads", left, "", b"x\ty\n");
    add("loads", left, "", b"1\tx\n2\r\ty\n");
    add("loads", left, "", b"1\tx\r\n2\ty\n");
    add("loads", left, "", b"1\tx\n2\t\xff\n");
    add("loads", left, "csv", b"1,\"x\n");
    add("loads", left, "", b"1\tx\\.\n2\ty\n");
    add("loads", left, "", b"1\tx\n\\.more\n");
    add("loads", left, "", b"");
    let one: &[u8] = &[0, 0, 0, 1];
    let binary = |fields: &[&[&[u8]]]| {
        let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for row in fields {
            out.extend_from_slice(&(row.len() as i16).to_be_bytes());
            for field in *row {
                out.extend_from_slice(&(field.len() as i32).to_be_bytes());
                out.extend_from_slice(field);
            }
        }
        out.extend_from_slice(&[0xff, 0xff]);
        out
    };
    add("loads", left, "binary", &binary(&[&[one, b"x"], &[one, b"y"]]));
    add("loads", "(tenant_id, b)", "(format binary)", &binary(&[&[one, b"x"]]));
    add("loads", "(tenant_id, b)", "(format binary)", &binary(&[&[one, b"x"], &[&[0, 0, 0, 2], b"y"]]));
    add("loads", "(tenant_id, b)", "(format binary)", &binary(&[&[&[0, 1], b"y"]]));
    add("loads", "(tenant_id, b)", "(format binary)", &binary(&[&[one, b"x", b"z"]]));
    add("loads", "(tenant_id, b)", "(format binary)", b"PGCOPX\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    add("loads", "(tenant_id, b)", "(format binary)", &binary(&[&[one, b"x"]])[..30]);
    let mut lying = binary(&[&[one, b"x"]]);
    lying[21..25].copy_from_slice(&(-2i32).to_be_bytes());
    add("loads", "(tenant_id, b)", "(format binary)", &lying);
    add("loads", "(tenant_id, b)", "(format binary)", &[binary(&[&[one, b"x"]]), b"more".to_vec()].concat());
    let id: &[u8] = &1_111_001_i64.to_be_bytes();
    add("loads_of_documents", "(document_id, b)", "(format binary)", &binary(&[&[id, b"x"]]));
    add(
        "loads_of_documents",
        "(document_id, b)",
        "(format binary)",
        &binary(&[&[&2_222_001_i64.to_be_bytes(), b"x"]]),
    );
    add("loads_of_documents", "", "", b"1111001\tx\t1\n1111002\t\\N\t\\N\n");
    add("loads_of_documents", "", "", b"1111001\tx\t1\n2222001\ty\t2\n");
    add("loads_of_documents", "", "", b"1111001\tx\tone\n");
    add("loads_of_documents", "", "", b"1111001\tx\n");
    add("loads_of_documents", "(document_id)", "csv header", b"document_id\n1111001\n");
    let freezing = ["freeze", "(freeze)", "(freeze on)", "(freeze 'True', header 1)", "csv header freeze"];
    for freezing in freezing {
        add("loads", left, freezing, b"1\tx\n");
        add("loads_of_documents", "(document_id)", freezing, b"1111001\n");
    }
    for plain in
        ["(freeze off)", "(freeze 0, header on)", "(format csv, delimiter '\t', header on)", "(freeze 2)"]
    {
        add("loads", left, plain, b"1\tx\n2\ty\n");
        add("loads_of_documents", "(document_id, b)", plain, b"1111001\tx\n1111002\ty\n");
    }
    if major >= 16 {
        add("loads", given, "(default '\\D')", b"1\t\\D\t\\N\t{}\n");
        add("loads", left, "(default '\\D')", b"\\N\tx\n");
    }
    if major >= 17 {
        add("loads", given, "(on_error ignore)", b"x\t1\tx\t{}\n2\t1\ty\t{}\n");
        add("loads", left, "(format csv, force_null *)", b"\"\",\"\"\n");
    }
    // The server fails before it reads anything, and answers the Sync that it would have passed over.
    loads.retain(|load| !load.extended || !freezing.contains(&load.options.as_str()));
    loads
}
