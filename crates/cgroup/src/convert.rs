//! From the spec's numbers, which are those of cgroup v1, to those of v2. Pure.

use crate::{Error, Result};

/// `cpu.shares` (2 to 262144, usual 1024) as `cpu.weight` (1 to 10000, usual 100).
///
/// The quadratic in log2(shares) that goes through (2, 1), (1024, 100) and (262144, 10000): runc's since 1.3.2 and
/// crun's since 1.23. The line used before gave the usual 1024 shares a weight of 39 only.
pub fn shares_to_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// `blkio.weight` (10 to 1000) as `io.weight` (1 to 10000).
pub fn blkio_weight_to_io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

/// Memory and swap together, as v1 and the spec count, into the swap alone of v2 (-1 is no limit).
pub fn swap_to_v2(limit: Option<i64>, swap: Option<i64>) -> Result<Option<i64>> {
    match (limit, swap) {
        // Taking the memory limit away takes away what was derived from it.
        (Some(-1), None | Some(0)) => Ok(Some(-1)),
        (_, None | Some(0)) => Ok(None),
        (_, Some(-1)) => Ok(Some(-1)),
        (None | Some(0 | -1), Some(_)) => {
            Err(Error::Invalid("unable to set swap limit without memory limit".into()))
        }
        (Some(limit), Some(swap)) if limit < 0 || swap < 0 => {
            Err(Error::Invalid(format!("invalid memory limit {limit} or memory+swap limit {swap}")))
        }
        (Some(limit), Some(swap)) if swap < limit => {
            Err(Error::Invalid("memory+swap limit should be >= memory limit".into()))
        }
        (Some(limit), Some(swap)) => Ok(Some(swap - limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        let cases = [(0, 1), (1, 1), (2, 1), (1024, 100), (262_144, 10_000), (1 << 40, 10_000)];
        for (shares, weight) in cases {
            assert_eq!(shares_to_weight(shares), weight, "{shares} shares");
        }
        assert!((2..262_144).all(|s| shares_to_weight(s) <= shares_to_weight(s + 1)), "not monotonic");
        for (weight, io) in [(10, 1), (500, 4950), (1000, 10_000), (0, 1)] {
            assert_eq!(blkio_weight_to_io_weight(weight), io);
        }
    }

    #[test]
    fn swap() {
        let cases = [
            (None, None, Some(None)),
            (Some(100), None, Some(None)),
            (Some(-1), None, Some(Some(-1))),
            (Some(100), Some(100), Some(Some(0))),
            (Some(100), Some(250), Some(Some(150))),
            (Some(100), Some(-1), Some(Some(-1))),
            (None, Some(-1), Some(Some(-1))),
            (None, Some(5), None),
            (Some(-1), Some(5), None),
            (Some(100), Some(99), None),
            (Some(-7), Some(99), None),
        ];
        for (limit, swap, expected) in cases {
            assert_eq!(swap_to_v2(limit, swap).ok(), expected, "{limit:?} {swap:?}");
        }
    }
}
