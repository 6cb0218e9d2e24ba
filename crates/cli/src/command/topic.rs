//! `tidings topic`: create, list, describe, delete.

use std::io::{IsTerminal, Write};

use serde_json::json;

use crate::args::{Common, Form, Topic};
use crate::client::{Client, ConfigView, TopicView};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::table::{Align, heading, table};

pub(crate) async fn topic(command: Topic) -> Result<(), Failure> {
    match command {
        Topic::Create { name, partitions, replication, config, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            let (partitions, replication) = (partitions.unwrap_or(-1), replication.unwrap_or(-1));
            client.create_topic(&name, partitions, replication, &config).await?;
            done(&common, "created", &name)
        }
        Topic::List { common } => list(&common).await,
        Topic::Describe { name, common } => describe(&name, &common).await,
        Topic::Delete { name, yes, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            if !yes && std::io::stdin().is_terminal() {
                let topic = client.topic(&name).await?;
                if !agreed(&format!("Delete {name} with {} records?", topic.records))? {
                    return Err(
                        Failure::failed(format!("topic {name} was not deleted")).why("you said no")
                    );
                }
            }
            client.delete_topic(&name).await?;
            done(&common, "deleted", &name)
        }
    }
}

fn done(common: &Common, what: &str, name: &str) -> Result<(), Failure> {
    match common.output {
        Form::Table => print(&format!("{what} {name}\n")),
        Form::Json => print_json(&json!({ what: name })),
    }
}

pub(super) fn agreed(question: &str) -> Result<bool, Failure> {
    let mut said = String::new();
    eprint!("{question} [y/N] ");
    std::io::stderr()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut said))
        .map_err(|e| Failure::failed("the question could not be asked").why(e).hint("--yes"))?;
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}

async fn list(common: &Common) -> Result<(), Failure> {
    let topics = Client::connect(&common.kafka).await?.topics().await?;
    match common.output {
        Form::Json => print_json(&json!({ "topics": topics })),
        Form::Table => {
            let rows: Vec<_> = topics
                .iter()
                .map(|t| [t.name.clone(), t.partitions.len().to_string(), t.records.to_string()])
                .collect();
            let columns =
                [("TOPIC", Align::Left), ("PARTITIONS", Align::Right), ("RECORDS", Align::Right)];
            print(&table(columns, &rows, heading()))
        }
    }
}

async fn describe(name: &str, common: &Common) -> Result<(), Failure> {
    let mut client = Client::connect(&common.kafka).await?;
    let topic = client.topic(name).await?;
    let configs = client.topic_configs(name).await?;
    match common.output {
        Form::Json => print_json(&json!({ "topic": topic, "configs": configs })),
        Form::Table => print(&described(&topic, &configs)),
    }
}

fn described(topic: &TopicView, configs: &[ConfigView]) -> String {
    let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|p| {
            [
                p.id.to_string(),
                p.leader.to_string(),
                ids(&p.replicas),
                ids(&p.in_sync),
                p.start_offset.to_string(),
                p.end_offset.to_string(),
                (p.end_offset - p.start_offset).to_string(),
            ]
        })
        .collect();
    let columns = [
        ("PARTITION", Align::Right),
        ("LEADER", Align::Right),
        ("REPLICAS", Align::Right),
        ("IN SYNC", Align::Right),
        ("FIRST", Align::Right),
        ("NEXT", Align::Right),
        ("RECORDS", Align::Right),
    ];
    let mut text = table(columns, &partitions, heading());
    let configs: Vec<_> = configs
        .iter()
        .map(|c| {
            let source = if c.default { "default" } else { "topic" };
            [c.name.clone(), c.value.clone().unwrap_or_default(), source.to_owned()]
        })
        .collect();
    let columns = [("CONFIG", Align::Left), ("VALUE", Align::Left), ("FROM", Align::Left)];
    text.push('\n');
    text.push_str(&table(columns, &configs, heading()));
    text
}
