//! `tidings group`: list, describe, reset, delete.

use serde::Serialize;
use serde_json::{Value, json};
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Answer, Done, Item, show};
use tidings_terminal::table::{Look, left, right, table};

use super::consent::{Decided, decide};
use super::watch::watched;
use crate::args::Group;
use crate::client::{Client, GroupListing, GroupView, MemberView, OffsetView};
use crate::offsets::Offsets;
use crate::time::now_ms;

pub(crate) async fn group(command: Group) -> Result<(), Failure> {
    match command {
        Group::List { watch, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            watched(watch, common.output, async || Ok(Groups(client.groups().await?))).await
        }
        Group::Describe { name, watch, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            watched(watch, common.output, async || client.group(&name).await).await
        }
        Group::Reset { name, to, topic, consent, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            let plan = Reset(resets(&mut client, &name, &to, topic).await?);
            let what = format!("group {name} was not reset");
            if decide(consent, common.output, &plan, &name, &what)? == Decided::Told {
                return Ok(());
            }
            let positions = plan.0.iter().map(|at| (at.topic.clone(), at.partition, at.to));
            client.commit(&name, positions).await?;
            show(common.output, &plan)
        }
        Group::Delete { name, consent, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            let group = client.group(&name).await?;
            without_members(&group, "deleted")?;
            let what = format!("group {name} was not deleted");
            if decide(consent, common.output, &group, &name, &what)? == Decided::Told {
                return Ok(());
            }
            client.delete_group(&name).await?;
            show(common.output, &Done { what: "deleted", name: &name })
        }
    }
}

/// A position of a group, and what becomes of it.
#[derive(Debug, Serialize)]
struct Repositioned {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    to: i64,
}

/// What becomes of the positions in these topics, or in all where the group has any.
async fn resets(
    client: &mut Client,
    name: &str,
    to: &str,
    topics: Vec<String>,
) -> Result<Vec<Repositioned>, Failure> {
    let to = Offsets::parse(to, now_ms())?;
    let offsets = match client.group(name).await {
        Ok(group) => {
            without_members(&group, "reset")?;
            group.offsets
        }
        Err(failure) if failure.exit == Exit::NotFound && !topics.is_empty() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let mut names = topics;
    if names.is_empty() {
        names = offsets.iter().map(|at| at.topic.clone()).collect();
    }
    names.sort();
    names.dedup();
    let mut all = Vec::new();
    for topic in names {
        let leaders = client.leaders(&topic, false).await?;
        let points = to.points((0..).take(leaders.len()))?;
        for (partition, to) in client.offsets_at(&topic, &leaders, &points).await? {
            let before = offsets.iter().find(|at| at.topic == topic && at.partition == partition);
            let committed = before.map(|at| at.committed);
            all.push(Repositioned { topic: topic.clone(), partition, committed, to });
        }
    }
    if all.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("group {name} has no positions"))
            .hint("--topic TOPIC says where it gets some"));
    }
    Ok(all)
}

fn without_members(group: &GroupView, what: &str) -> Result<(), Failure> {
    let count = group.members.len();
    if count == 0 {
        return Ok(());
    }
    let what = format!("group {} was not {what}", group.name);
    Err(Failure::new(Exit::Conflict, what)
        .why(format!("it has {}", super::log::count(count as u64, "member")))
        .hint("stop its members first; `tidings group describe` names them"))
}

struct Reset(Vec<Repositioned>);

impl Answer for Reset {
    fn document(&self) -> Value {
        json!({ "positions": self.0 })
    }

    fn items(&self) -> Vec<Item> {
        let item =
            |at: &Repositioned| Item::new(format!("{}-{}", at.topic, at.partition), json!(at));
        self.0.iter().map(item).collect()
    }

    fn text(&self, look: Look) -> String {
        let row = |at: &Repositioned| {
            let committed = at.committed.map_or_else(|| "-".to_owned(), |at| at.to_string());
            [at.topic.clone(), at.partition.to_string(), committed, at.to.to_string()]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        let columns = [left("TOPIC"), right("PARTITION"), right("COMMITTED"), right("TO")];
        table(columns, &rows, look)
    }
}

struct Groups(Vec<GroupListing>);

impl Answer for Groups {
    fn document(&self) -> Value {
        json!({ "groups": self.0 })
    }

    fn items(&self) -> Vec<Item> {
        self.0.iter().map(|group| Item::new(&group.name, json!(group))).collect()
    }

    fn text(&self, look: Look) -> String {
        let row = |group: &GroupListing| {
            [
                group.name.clone(),
                group.state.clone(),
                group.protocol_type.clone(),
                group.coordinator.to_string(),
            ]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        let columns = [left("GROUP"), left("STATE"), left("TYPE"), right("COORDINATOR").wide()];
        table(columns, &rows, look)
    }
}

/// The items are its positions.
impl Answer for GroupView {
    fn document(&self) -> Value {
        json!(self)
    }

    fn items(&self) -> Vec<Item> {
        let item = |at: &OffsetView| Item::new(format!("{}-{}", at.topic, at.partition), json!(at));
        self.offsets.iter().map(item).collect()
    }

    fn text(&self, look: Look) -> String {
        let Self { name, state, protocol, lag, members, offsets } = self;
        let protocol = if protocol.is_empty() { "none" } else { protocol };
        let row = |at: &OffsetView| {
            [
                at.topic.clone(),
                at.partition.to_string(),
                at.committed.to_string(),
                at.end_offset.to_string(),
                at.lag.to_string(),
                at.metadata.clone().unwrap_or_default(),
            ]
        };
        let rows: Vec<_> = offsets.iter().map(row).collect();
        let columns = [
            left("TOPIC"),
            right("PARTITION"),
            right("COMMITTED"),
            right("END"),
            right("LAG"),
            left("METADATA").wide(),
        ];
        let positions = table(columns, &rows, look);
        let rows: Vec<_> = members.iter().map(member_row).collect();
        let columns = [left("CLIENT"), left("HOST"), left("MEMBER"), left("READS")];
        let members = table(columns, &rows, look);
        format!("{name}: {state}, assignor {protocol}, lag {lag}\n\n{positions}\n{members}")
    }
}

fn member_row(member: &MemberView) -> [String; 4] {
    let reads = member.assignment.iter().map(|assigned| {
        let ids: Vec<_> = assigned.partitions.iter().map(ToString::to_string).collect();
        format!("{}[{}]", assigned.topic, ids.join(","))
    });
    let reads = reads.collect::<Vec<_>>().join(" ");
    [member.client_id.clone(), member.host.clone(), member.member_id.clone(), reads]
}
