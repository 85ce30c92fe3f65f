//! What goes wrong while the clients work.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use super::stage::Stage;

/// Terminates a backend now and then, and lets the network stall, until `end`.
pub async fn make(stage: Arc<Stage>, seed: u64, end: Instant) {
    let mut random = StdRng::seed_from_u64(seed);
    while Instant::now() < end {
        sleep(Duration::from_millis(random.random_range(100..900))).await;
        if random.random_ratio(1, 6) {
            stage.relay.stall(true);
            sleep(Duration::from_millis(random.random_range(50..1500))).await;
            stage.relay.stall(false);
        } else {
            stage
                .superuser(
                    "select pg_terminate_backend(pid) from pg_stat_activity
                     where usename = 'app_backend' order by random() limit 1",
                )
                .await;
        }
    }
    stage.relay.stall(false);
}
