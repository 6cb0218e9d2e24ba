//! The mutants: what is broken, where, and which check of the simulator must notice.

/// One way to break the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// Below `crates/log/src`.
    pub(super) file: &'static str,
    /// What the sources say, exactly once in the file: an expression or whole statements without `let`.
    pub(super) text: &'static str,
    /// What the broken build does instead.
    pub(super) instead: &'static str,
    /// The simulator's check that must end with a violation.
    pub(super) caught_by: &'static str,
}

pub(super) const MUTANTS: &[Mutant] = &[];
