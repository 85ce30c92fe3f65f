use super::*;
pub(super) fn judge(_: &LeakSafe, _: &Snapshot, _: &Expr) -> Total {
    Total::No { reason: "shim", pins: Vec::new() }
}
