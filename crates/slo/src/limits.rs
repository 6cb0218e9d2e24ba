//! Limits of what is followed, with what each protects.

use std::time::Duration;

/// Services whose objectives are followed; each takes about 36 KiB.
pub const SERVICES_MAX: usize = 200;
/// Instances whose last counts are kept, so that the next are told from them.
pub const INSTANCES_MAX: usize = 2_000;
/// A service or an instance that has not reported for this long is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);
