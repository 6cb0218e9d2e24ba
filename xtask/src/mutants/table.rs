//! The mutants: what is broken, where, and which check of the simulator must notice.

/// One way to break the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// Below `crates/log/src`.
    pub(super) file: &'static str,
    /// What the sources say, exactly once in the file. The part in « », or all of it, is what is broken: an
    /// expression, or whole statements without `let`.
    pub(super) text: &'static str,
    /// What the broken build does instead.
    pub(super) instead: &'static str,
    /// The simulator's check that must end with a violation.
    pub(super) caught_by: &'static str,
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "answer-before-durable",
        file: "journal/mod.rs",
        text: "pub(crate) fn durable(&self) -> u64 {\n        «self.durable»\n",
        instead: "self.next",
        caught_by: "crashes",
    },
    Mutant {
        name: "answer-for-frames-still-out",
        file: "journal/mod.rs",
        text: "self.durable += 1;",
        instead: "self.durable = self.next;",
        caught_by: "crashes",
    },
    Mutant {
        name: "go-on-after-a-failed-write",
        file: "journal/mod.rs",
        text: "if let Err(fault) = outcome {\n            «self.failed.get_or_insert(fault);»",
        instead: "drop(fault);",
        caught_by: "failures",
    },
    Mutant {
        name: "serve-what-was-found-before-it-is-durable",
        file: "journal/mod.rs",
        text: "ring_file.sync()?;",
        instead: "",
        caught_by: "crashes",
    },
    Mutant {
        name: "start-one-frame-too-far",
        file: "journal/mod.rs",
        text: "self.control_from(«sequence.min(self.durable)»)",
        instead: "(sequence + 1).min(self.durable)",
        caught_by: "crashes",
    },
    Mutant {
        name: "reuse-the-ring-before-its-start-is-durable",
        file: "journal/mod.rs",
        text: "self.outcome = Some(«self.control.write(&self.file)»);",
        instead: "Ok(())",
        caught_by: "crashes",
    },
    Mutant {
        name: "no-new-epoch",
        file: "journal/control.rs",
        text: "control.epochs.push((«self.epoch() + 1», next.sequence));",
        instead: "self.epoch().max(1)",
        caught_by: "crashes",
    },
    Mutant {
        name: "forget-the-epoch-of-frames",
        file: "journal/control.rs",
        text: "Some(&(epoch, _)) => «frame.epoch == epoch»,",
        instead: "epoch > 0",
        caught_by: "crashes",
    },
    Mutant {
        name: "one-control-slot",
        file: "journal/control.rs",
        text: "«SLOTS_AT.iter()».try_for_each",
        instead: "SLOTS_AT[..1].iter()",
        caught_by: "damage",
    },
    Mutant {
        name: "stop-one-frame-early",
        file: "journal/recovery.rs",
        text: "let Some(frame) = found else { «return Ok(run)» };",
        instead: "run.pop(); return Ok(run)",
        caught_by: "crashes",
    },
];
