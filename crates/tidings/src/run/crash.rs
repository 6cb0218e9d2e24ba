//! A process that ends at a chosen point between handling, append and commit.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tidings_engine::Transaction;

use super::Broken;

/// Counts the points that are passed; at zero the service is gone.
#[derive(Clone, Debug)]
pub(crate) struct Crash(Arc<AtomicI64>);

impl Crash {
    pub(crate) fn never() -> Self {
        Self::after(i64::MAX)
    }

    pub(crate) fn after(points: i64) -> Self {
        Self(Arc::new(AtomicI64::new(points)))
    }

    /// The same with a transaction open, which nobody aborts.
    pub(super) fn leaving(&self, transaction: Transaction) -> Result<Transaction, Broken> {
        if let Err(crashed) = self.here() {
            std::mem::forget(transaction);
            return Err(crashed);
        }
        Ok(transaction)
    }

    pub(super) fn here(&self) -> Result<(), Broken> {
        match self.0.fetch_sub(1, Ordering::Relaxed) {
            ..=0 => Err(Broken::Crashed),
            _ => Ok(()),
        }
    }
}
