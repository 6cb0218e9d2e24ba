//! What a copy says at its end, for people and for programs.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_terminal::failure::Failure;
use tidings_terminal::output::{Answer, Item, show};
use tidings_terminal::table::{Look, left, right, table};

use super::carry::Carried;
use super::plan::{AtTarget, Left, Plan, TopicPlan};
use super::positions::GroupCopied;
use super::verify::Verdict;
use crate::args::Copy;

#[derive(Debug)]
pub(super) struct Copied {
    pub(super) carried: Vec<Carried>,
    /// For carrying, without the comparison.
    pub(super) took: Duration,
    pub(super) configs: Vec<Left>,
    pub(super) groups: Vec<GroupCopied>,
    pub(super) verdicts: Vec<Verdict>,
}

pub(super) fn plan(said: &Copy, plan: &Plan) -> Result<(), Failure> {
    show(said.output, plan)
}

pub(super) fn verified(said: &Copy, verdicts: &[Verdict]) -> Result<ExitCode, Failure> {
    show(said.output, &Verified(verdicts))?;
    Ok(if is_whole(verdicts) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn copied(said: &Copy, copied: &Copied) -> Result<ExitCode, Failure> {
    let refused = copied.groups.iter().any(|group| group.refused.is_some());
    let whole = is_whole(&copied.verdicts) && !refused;
    show(said.output, copied)?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The items are topics.
impl Answer for Plan {
    fn document(&self) -> Value {
        json!({ "plan": self.topics.iter().map(planned).collect::<Vec<_>>() })
    }

    fn items(&self) -> Vec<Item> {
        self.topics.iter().map(|topic| Item::new(&topic.name, planned(topic))).collect()
    }

    fn text(&self, look: Look) -> String {
        let row = |topic: &TopicPlan| {
            let offsets: i64 = topic.jobs.iter().map(|job| job.end - job.from).sum();
            [
                topic.name.clone(),
                topic.partitions.to_string(),
                at_target(topic.at_target).to_owned(),
                offsets.to_string(),
            ]
        };
        let rows: Vec<_> = self.topics.iter().map(row).collect();
        let columns =
            [left("TOPIC"), right("PARTITIONS"), left("AT THE TARGET"), right("OFFSETS TO COPY")];
        table(columns, &rows, look)
    }
}

fn planned(topic: &TopicPlan) -> Value {
    let jobs = topic.jobs.iter().map(|job| {
        json!({ "partition": job.at.partition, "from_offset": job.from, "end_offset": job.end })
    });
    json!({
        "topic": topic.name,
        "at_target": at_target(topic.at_target),
        "partitions": jobs.collect::<Vec<_>>(),
    })
}

fn at_target(at_target: AtTarget) -> &'static str {
    match at_target {
        AtTarget::Missing | AtTarget::Begun => "made",
        AtTarget::There(_) => "there",
    }
}

/// The items are verdicts of partitions.
struct Verified<'a>(&'a [Verdict]);

impl Answer for Verified<'_> {
    fn document(&self) -> Value {
        json!({ "verified": is_whole(self.0), "partitions": self.0 })
    }

    fn items(&self) -> Vec<Item> {
        verdict_items(self.0)
    }

    fn text(&self, look: Look) -> String {
        verdict_table(self.0, look) + &summary(self.0)
    }
}

/// Likewise.
impl Answer for Copied {
    fn document(&self) -> Value {
        copied_json(self)
    }

    fn items(&self) -> Vec<Item> {
        verdict_items(&self.verdicts)
    }

    fn text(&self, look: Look) -> String {
        copied_text(self, look)
    }
}

fn verdict_items(verdicts: &[Verdict]) -> Vec<Item> {
    let item = |verdict: &Verdict| {
        Item::new(format!("{}-{}", verdict.topic, verdict.partition), json!(verdict))
    };
    verdicts.iter().map(item).collect()
}

fn is_whole(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(Verdict::is_same)
}

fn copied_json(copied: &Copied) -> Value {
    let carried = copied.carried.iter().map(|carried| {
        json!({
            "topic": carried.job.at.topic,
            "partition": carried.job.at.partition,
            "records": carried.records,
            "bytes": carried.bytes,
            "end_offset": carried.job.end,
            "offsets_since": carried.since,
        })
    });
    let configs = copied.configs.iter().map(|left| {
        json!({ "topic": left.topic, "name": left.name, "value": left.value, "why": left.why })
    });
    let groups = copied.groups.iter().map(|group| {
        json!({
            "group": group.name,
            "set": group.set,
            "same": group.same,
            "further": group.further,
            "waiting": group.waiting,
            "refused": group.refused,
        })
    });
    json!({
        "verified": is_whole(&copied.verdicts),
        "copied": carried.collect::<Vec<_>>(),
        "milliseconds": u64::try_from(copied.took.as_millis()).unwrap_or(u64::MAX),
        "configs_left": configs.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "partitions": copied.verdicts,
    })
}

fn copied_text(copied: &Copied, look: Look) -> String {
    let records: u64 = copied.carried.iter().map(|carried| carried.records).sum();
    let bytes: u64 = copied.carried.iter().map(|carried| carried.bytes).sum();
    let since: i64 = copied.carried.iter().map(|carried| carried.since).sum();
    let mut text = verdict_table(&copied.verdicts, look);
    if !copied.groups.is_empty() {
        text.push('\n');
        text += &group_table(&copied.groups, look);
    }
    text.push('\n');
    for left in &copied.configs {
        let Left { topic, name, value, why } = left;
        text += &format!("{topic}: {name}={value} is not set at the target: {why}\n");
    }
    for group in &copied.groups {
        if let Some(why) = &group.refused {
            text += &format!("group {}: its positions are not set: {why}\n", group.name);
        }
    }
    text += &format!("copied {records} records, {}\n", pace(bytes, copied.took));
    text += &summary(&copied.verdicts);
    if since > 0 {
        text += &format!("{since} offsets have come since it began: run it again for them\n");
    }
    text
}

/// `12.3 MB in 4.5 s (2.7 MB/s)`.
fn pace(bytes: u64, took: Duration) -> String {
    let tenths = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = bytes.saturating_mul(1000) / took_ms;
    let seconds = took.as_secs_f64();
    format!("{} MB in {seconds:.1} s ({} MB/s)", tenths(bytes), tenths(rate))
}

fn summary(verdicts: &[Verdict]) -> String {
    let records: u64 = verdicts.iter().map(|verdict| verdict.target_records).sum();
    let other: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.is_same()).collect();
    let mut text = String::new();
    for verdict in &other {
        for difference in &verdict.differences {
            text += &format!("{}-{}: {difference}\n", verdict.topic, verdict.partition);
        }
    }
    match other.len() {
        0 => text + &format!("verified {records} records in {} partitions\n", verdicts.len()),
        count => text + &format!("{count} of {} partitions differ\n", verdicts.len()),
    }
}

fn verdict_table(verdicts: &[Verdict], look: Look) -> String {
    let row = |verdict: &Verdict| {
        let wrong = verdict.missing + verdict.differing + verdict.foreign;
        [
            verdict.topic.clone(),
            verdict.partition.to_string(),
            verdict.source_records.to_string(),
            verdict.target_records.to_string(),
            verdict.gone_at_source.to_string(),
            verdict.gone_at_target.to_string(),
            verdict.source_checksum.clone(),
            verdict.target_checksum.clone(),
            if verdict.is_same() { "same".to_owned() } else { format!("{wrong} DIFFER") },
        ]
    };
    let rows: Vec<_> = verdicts.iter().map(row).collect();
    let columns = [
        left("TOPIC"),
        right("PARTITION"),
        right("SOURCE"),
        right("TARGET"),
        right("GONE AT SOURCE"),
        right("GONE AT TARGET"),
        left("SOURCE CHECKSUM").wide(),
        left("CHECKSUM"),
        left("VERDICT"),
    ];
    table(columns, &rows, look)
}

fn group_table(groups: &[GroupCopied], look: Look) -> String {
    let row = |group: &GroupCopied| {
        [
            group.name.clone(),
            group.set.to_string(),
            group.same.to_string(),
            group.further.to_string(),
            group.waiting.to_string(),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    let columns = [
        left("GROUP"),
        right("POSITIONS SET"),
        right("RIGHT ALREADY"),
        right("FURTHER AT TARGET"),
        right("RECORDS TO COME"),
    ];
    table(columns, &rows, look)
}
