//! The mutants: what is broken, where, and which check of the simulator must notice.

/// One way to break the log; entries of one name are broken together.
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
        name: "one-control-slot",
        file: "journal/control.rs",
        text: "«SLOTS_AT.iter()».try_for_each",
        instead: "SLOTS_AT[..1].iter()",
        caught_by: "damage",
    },
    // Either alone is enough to tell an old frame.
    Mutant {
        name: "forget-epoch-and-chain-of-frames",
        file: "journal/control.rs",
        text: "Some(&(epoch, _)) => «frame.epoch == epoch»,",
        instead: "epoch > 0",
        caught_by: "crashes",
    },
    Mutant {
        name: "forget-epoch-and-chain-of-frames",
        file: "journal/recovery.rs",
        text: "«header.previous == previous»\n                && control.owns(header)",
        instead: "previous == previous",
        caught_by: "crashes",
    },
    Mutant {
        name: "stop-one-frame-early",
        file: "journal/recovery.rs",
        text: "let Some(frame) = found else { «return Ok(run)» };",
        instead: "run.pop(); return Ok(run)",
        caught_by: "crashes",
    },
    Mutant {
        name: "segments-not-synced",
        file: "store/round.rs",
        text: "«unsynced.files.iter().try_for_each(|file| file.sync())»",
        instead: "Ok::<(), Fault>(())",
        caught_by: "crashes",
    },
    Mutant {
        name: "checkpoint-before-every-part-is-done",
        file: "store/round.rs",
        text: "let is_done = «self.round.parts.is_empty() && self.parts_out == 0»;",
        instead: "self.round.parts.is_empty()",
        caught_by: "crashes",
    },
    Mutant {
        name: "folder-of-a-new-segment-not-synced",
        file: "partition_log/flush.rs",
        text: "«unsynced.dirs.push(self.dir.to_string());»",
        instead: "",
        caught_by: "crashes",
    },
    Mutant {
        name: "checkpoint-not-synced",
        file: "store/checkpoint.rs",
        text: "file.sync()?;",
        instead: "",
        caught_by: "crashes",
    },
    Mutant {
        name: "folder-of-the-checkpoint-not-synced",
        file: "store/checkpoint.rs",
        text: "disk.rename(UNFINISHED_FILE, CHECKPOINT_FILE)?;\n        «disk.sync_dir(\"\")»",
        instead: "Ok(())",
        caught_by: "crashes",
    },
    Mutant {
        name: "believe-a-failed-checkpoint",
        file: "store/flush.rs",
        text: "let checkpointed = «round.checkpointed.is_ok()»;",
        instead: "true",
        caught_by: "failures",
    },
    Mutant {
        name: "go-on-after-a-failed-flush",
        file: "store/flush.rs",
        text: "«log.poison(fault);»",
        instead: "drop(fault);",
        caught_by: "failures",
    },
    Mutant {
        name: "serve-past-durable",
        file: "partition_log/mod.rs",
        text: "let until = «until.min(self.durable_offset)»;\n        if from >= until {",
        instead: "until.min(self.end_offset)",
        caught_by: "crashes",
    },
    Mutant {
        name: "transactions-decided-before-their-end-is-durable",
        file: "partition_log/mod.rs",
        text: "«open.into_iter().chain(self.undecided.first())».fold",
        instead: "open.into_iter().chain(None)",
        caught_by: "crashes",
    },
    Mutant {
        name: "producers-not-restored",
        file: "partition_log/recovery/mod.rs",
        text: "                        «self.producers = producers;»\n                        from = Some(offset);",
        instead: "drop(producers);",
        caught_by: "crashes",
    },
    Mutant {
        name: "start-offset-not-restored",
        file: "partition_log/recovery/mod.rs",
        text: "let start_offset = «flushed_start_offset.max(journaled.unwrap_or(0))»;",
        instead: "flushed_start_offset",
        caught_by: "crashes",
    },
    Mutant {
        name: "cut-what-the-journal-has-lost",
        file: "partition_log/recovery/rest.rs",
        text: "if «trust_journal» {",
        instead: "trust_journal || !self.keep_all",
        caught_by: "damage",
    },
];
