//! `tidings group`: list, describe.

use serde_json::json;

use crate::args::{Common, Form, Group};
use crate::client::{Client, GroupListing, GroupView};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::table::{Align, heading, table};

pub(crate) async fn group(command: Group) -> Result<(), Failure> {
    match command {
        Group::List { common } => list(&common).await,
        Group::Describe { name, common } => {
            let group = Client::connect(&common.kafka).await?.group(&name).await?;
            match common.output {
                Form::Json => print_json(&group),
                Form::Table => print(&described(&group)),
            }
        }
    }
}

async fn list(common: &Common) -> Result<(), Failure> {
    let groups = Client::connect(&common.kafka).await?.groups().await?;
    match common.output {
        Form::Json => print_json(&json!({ "groups": groups })),
        Form::Table => {
            let row = |group: &GroupListing| {
                [group.name.clone(), group.state.clone(), group.protocol_type.clone()]
            };
            let rows: Vec<_> = groups.iter().map(row).collect();
            let columns = [("GROUP", Align::Left), ("STATE", Align::Left), ("TYPE", Align::Left)];
            print(&table(columns, &rows, heading()))
        }
    }
}

fn described(group: &GroupView) -> String {
    let GroupView { name, state, protocol, lag, members, offsets } = group;
    let protocol = if protocol.is_empty() { "none" } else { protocol };
    let mut text = format!("{name}: {state}, assignor {protocol}, lag {lag}\n\n");
    let rows: Vec<_> = offsets
        .iter()
        .map(|at| {
            [
                at.topic.clone(),
                at.partition.to_string(),
                at.committed.to_string(),
                at.end_offset.to_string(),
                at.lag.to_string(),
            ]
        })
        .collect();
    let columns = [
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("COMMITTED", Align::Right),
        ("END", Align::Right),
        ("LAG", Align::Right),
    ];
    text.push_str(&table(columns, &rows, heading()));
    text.push('\n');
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            let reads = member.assignment.iter().map(|assigned| {
                let ids: Vec<_> = assigned.partitions.iter().map(ToString::to_string).collect();
                format!("{}[{}]", assigned.topic, ids.join(","))
            });
            let reads = reads.collect::<Vec<_>>().join(" ");
            [member.client_id.clone(), member.host.clone(), member.member_id.clone(), reads]
        })
        .collect();
    let columns = [
        ("CLIENT", Align::Left),
        ("HOST", Align::Left),
        ("MEMBER", Align::Left),
        ("READS", Align::Left),
    ];
    text.push_str(&table(columns, &rows, heading()));
    text
}
