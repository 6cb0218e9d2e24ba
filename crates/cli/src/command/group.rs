//! `tidings group`: list, describe.

use serde_json::{Value, json};

use crate::args::Group;
use crate::client::{Client, GroupListing, GroupView, MemberView, OffsetView};
use crate::failure::Failure;
use crate::output::{Answer, Item, show};
use crate::table::{Look, left, right, table};

pub(crate) async fn group(command: Group) -> Result<(), Failure> {
    match command {
        Group::List { common } => {
            let groups = Client::connect(&common.kafka).await?.groups().await?;
            show(common.output, &Groups(groups))
        }
        Group::Describe { name, common } => {
            let group = Client::connect(&common.kafka).await?.group(&name).await?;
            show(common.output, &group)
        }
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
