//! The mutants: what is broken, where, and which check must notice.

use Check::{Simulator, Test};

/// One way to break a crate; entries of one name are broken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// The crate, and the file below its `src`.
    pub(super) file: &'static str,
    /// What the sources say, exactly once in the file. The part in « », or all of it, is what is broken: an
    /// expression, or whole statements without `let`.
    pub(super) text: &'static str,
    /// What the broken build does instead.
    pub(super) instead: &'static str,
    /// What must not end well.
    pub(super) caught_by: Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    /// A check of the simulator's.
    Simulator(&'static str),
    /// A test of a crate, `tests/NAME`, and one of its functions.
    Test(&'static str, &'static str, &'static str),
}

const TRANSACTIONS: Check =
    Test("coordinator", "transactions", "simulation::transactions_are_whole_by_the_second_version");
const POWER_CUTS: Check = Test(
    "broker",
    "broker",
    "transactions_crash::a_power_cut_leaves_all_of_a_transaction_or_nothing",
);
const DECIDED: Check = Test(
    "broker",
    "broker",
    "failing_disk::a_decided_transaction_is_carried_out_when_its_partitions_can_be_written",
);
const MIXED_GROUPS: Check = Test(
    "coordinator",
    "groups",
    "mixed_simulation::members_of_both_protocols_never_share_a_partition",
);
const CONSUMER_GROUPS: Check = Test(
    "coordinator",
    "groups",
    "consumer_simulation::members_that_freeze_leave_restart_and_repeat_themselves_never_share_a_partition",
);

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "answer-before-durable",
        file: "log/journal/mod.rs",
        text: "pub(crate) fn durable(&self) -> u64 {\n        «self.durable»\n",
        instead: "self.next",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "answer-for-frames-still-out",
        file: "log/journal/mod.rs",
        text: "self.durable += 1;",
        instead: "self.durable = self.next;",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "go-on-after-a-failed-write",
        file: "log/journal/mod.rs",
        text: "if let Err(fault) = outcome {\n            «self.failed.get_or_insert(fault);»",
        instead: "drop(fault);",
        caught_by: Simulator("failures"),
    },
    Mutant {
        name: "serve-what-was-found-before-it-is-durable",
        file: "log/journal/mod.rs",
        text: "ring_file.sync()?;",
        instead: "",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "start-one-frame-too-far",
        file: "log/journal/mod.rs",
        text: "self.control_from(«sequence.min(self.durable)»)",
        instead: "(sequence + 1).min(self.durable)",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "reuse-the-ring-before-its-start-is-durable",
        file: "log/journal/mod.rs",
        text: "self.outcome = Some(«self.control.write(&self.file)»);",
        instead: "Ok(())",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "no-new-epoch",
        file: "log/journal/control.rs",
        text: "control.epochs.push((«self.epoch() + 1», next.sequence));",
        instead: "self.epoch().max(1)",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "one-control-slot",
        file: "log/journal/control.rs",
        text: "«SLOTS_AT.iter()».try_for_each",
        instead: "SLOTS_AT[..1].iter()",
        caught_by: Simulator("damage"),
    },
    // Either alone is enough to tell an old frame.
    Mutant {
        name: "forget-epoch-and-chain-of-frames",
        file: "log/journal/control.rs",
        text: "Some(&(epoch, _)) => «frame.epoch == epoch»,",
        instead: "epoch > 0",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "forget-epoch-and-chain-of-frames",
        file: "log/journal/recovery.rs",
        text: "«header.previous == previous»\n                && control.owns(header)",
        instead: "previous == previous",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "stop-one-frame-early",
        file: "log/journal/recovery.rs",
        text: "let Some(frame) = found else { «return Ok(run)» };",
        instead: "run.pop(); return Ok(run)",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "segments-not-synced",
        file: "log/store/round.rs",
        text: "«unsynced.files.iter().try_for_each(|file| file.sync())»",
        instead: "Ok::<(), Fault>(())",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "checkpoint-before-every-part-is-done",
        file: "log/store/round.rs",
        text: "let is_done = «self.round.parts.is_empty() && self.parts_out == 0»;",
        instead: "self.round.parts.is_empty()",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "folder-of-a-new-segment-not-synced",
        file: "log/partition_log/flush.rs",
        text: "«unsynced.dirs.push(self.dir.to_string());»",
        instead: "",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "checkpoint-not-synced",
        file: "log/store/checkpoint.rs",
        text: "file.sync()?;",
        instead: "",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "folder-of-the-checkpoint-not-synced",
        file: "log/store/checkpoint.rs",
        text: "disk.rename(UNFINISHED_FILE, CHECKPOINT_FILE)?;\n        «disk.sync_dir(\"\")»",
        instead: "Ok(())",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "believe-a-failed-checkpoint",
        file: "log/store/flush.rs",
        text: "let checkpointed = «round.checkpointed.is_ok()»;",
        instead: "true",
        caught_by: Simulator("failures"),
    },
    Mutant {
        name: "go-on-after-a-failed-flush",
        file: "log/store/flush.rs",
        text: "«log.poison(fault);»",
        instead: "drop(fault);",
        caught_by: Simulator("failures"),
    },
    Mutant {
        name: "serve-past-durable",
        file: "log/partition_log/mod.rs",
        text: "let until = «until.min(self.durable_offset)»;\n        if from >= until {",
        instead: "until.min(self.end_offset)",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "transactions-decided-before-their-end-is-durable",
        file: "log/partition_log/mod.rs",
        text: "«open.into_iter().chain(self.undecided.first())».fold",
        instead: "open.into_iter().chain(None)",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "producers-not-restored",
        file: "log/partition_log/recovery/mod.rs",
        text: "                        «self.producers = producers;»\n                        from = Some(offset);",
        instead: "drop(producers);",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "start-offset-not-restored",
        file: "log/partition_log/recovery/mod.rs",
        text: "let start_offset = «flushed_start_offset.max(journaled.unwrap_or(0))»;",
        instead: "flushed_start_offset",
        caught_by: Simulator("crashes"),
    },
    Mutant {
        name: "cut-what-the-journal-has-lost",
        file: "log/partition_log/recovery/rest.rs",
        text: "if «trust_journal» {",
        instead: "trust_journal || !self.keep_all",
        caught_by: Simulator("damage"),
    },
    Mutant {
        name: "marked-closed-with-losses",
        file: "log/store/close.rs",
        text: "if all_in_segments && «lost.is_none()» {",
        instead: "true",
        caught_by: Simulator("failures"),
    },
    Mutant {
        name: "end-answered-before-it-is-durable",
        file: "broker/transactions.rs",
        text: "let answer = self.decide_and_close(now, request);\n        let waits = «if answer.is_ok() { \
               self.wait_for_transactions() } else { Vec::new() }»;",
        instead: "Vec::new()",
        caught_by: POWER_CUTS,
    },
    Mutant {
        name: "no-marker-in-one-partition",
        file: "broker/transactions.rs",
        text: "if !«self.end_in_partition(now, &topic, partition, closing.marker)» {",
        instead: "topic == \"b\" || self.end_in_partition(now, &topic, partition, closing.marker)",
        caught_by: POWER_CUTS,
    },
    Mutant {
        name: "decisions-not-carried-out-at-opening",
        file: "broker/opening.rs",
        text: "        «self.close_prepared(now);»\n        self.end_hanging(now, report);",
        instead: "",
        caught_by: DECIDED,
    },
    Mutant {
        name: "batch-of-a-fenced-producer",
        file: "coordinator/transaction/partitions.rs",
        text: "if «held.epoch != producer.epoch» {",
        instead: "held.epoch < producer.epoch",
        caught_by: TRANSACTIONS,
    },
    Mutant {
        name: "end-of-the-transaction-before",
        file: "coordinator/transaction/ending.rs",
        text: "let is_current = «self.epoch == request.epoch && !rotated»;",
        instead: "(self.epoch == request.epoch || is_raised) && !rotated",
        caught_by: TRANSACTIONS,
    },
    Mutant {
        name: "timeout-that-fences-nobody",
        file: "coordinator/transaction/ending.rs",
        text: "epoch: «ongoing.epoch.saturating_add(1)»,",
        instead: "ongoing.epoch",
        caught_by: TRANSACTIONS,
    },
    Mutant {
        name: "commit-of-an-older-generation",
        file: "coordinator/offsets.rs",
        text: "«self.validate_generation(request.generation)?;»\n        if self.state == State::Comp",
        instead: "",
        caught_by: MIXED_GROUPS,
    },
    Mutant {
        name: "commit-of-another-epoch",
        file: "coordinator/consumer_group/describe.rs",
        text: "«member.check_epoch(request.generation)»",
        instead: "member.check_epoch(request.generation.max(member.current.epoch))",
        caught_by: MIXED_GROUPS,
    },
    Mutant {
        name: "partition-given-before-it-is-given-up",
        file: "coordinator/consumer_group/reconcile.rs",
        text: "wanted.filtered(|topic, partition| «self.is_free_for(*topic, partition, step.id)»)",
        instead: "true",
        caught_by: CONSUMER_GROUPS,
    },
];
