//! What is large or deep.

use pgbulkhead::policy::SqlState;
use pgbulkhead::sql::{Limits, Tree, statements, template, verify};

use crate::SERVER;

/// As a planning thread does it, with its stack: nothing aborts.
#[test]
fn what_is_large_or_deep_is_served_or_refused() {
    let work = || {
        for (name, text, served) in [
            ("IN list", format!("select a in ({}1) from t", "1,".repeat(100_000)), true),
            ("negative numbers", format!("select a in ({}1) from t", "-1,".repeat(60_000)), true),
            ("strings", format!("select a in ({}'1') from t", "'x',".repeat(60_000)), true),
            ("AND chain", format!("select a from t where {}true", "true and ".repeat(50_000)), true),
            ("rows", format!("insert into t values {}(1)", "(1, 'a', 2.5),".repeat(10_000)), true),
            ("4 900 additions", format!("select {}1", "1+".repeat(4_900)), true),
            ("6 000 additions", format!("select {}1", "1+".repeat(6_000)), false),
            ("sub-selects", format!("select {}1{}", "(select ".repeat(1_400), ")".repeat(1_400)), true),
            (
                "deeper sub-selects",
                format!("select {}1{}", "(select ".repeat(1_600), ")".repeat(1_600)),
                false,
            ),
            ("CASE", format!("select {}1{}", "case when a then ".repeat(1_900), " end".repeat(1_900)), true),
            ("UNION", format!("select 1{}", " union all select 1".repeat(9_900)), true),
            ("joins", format!("select 1 from t{}", " join t on true".repeat(4_900)), true),
            ("minus", format!("select {}1", "- ".repeat(40_000)), false),
        ] {
            let result = statements(&text, &Limits::default()).and_then(|found| {
                let tree = Tree::parse(&found[0], SERVER)?;
                let (template, _) = template(&tree.node, &found[0], &[])?;
                verify(&tree.node, template, &found[0], u16::MAX)
            });
            match result {
                Ok(_) => assert!(served, "{name} was served"),
                Err(refusal) => {
                    assert!(!served, "{name}: {} {}", refusal.state, refusal.message);
                    assert_eq!(refusal.state, SqlState::TOO_COMPLEX, "{name}");
                }
            }
        }
    };
    std::thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap().join().unwrap();
}
