//! Waiting for something to become true, with a limit. Tests assert on what happens, never on when.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks `check` until it is true or `limit` has passed; tells which.
pub fn until(limit: Duration, mut check: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if check() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
