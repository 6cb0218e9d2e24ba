//! `tidings topic`: create, list, describe, delete.

use std::io::{IsTerminal, Write};

use serde_json::{Value, json};

use crate::args::{Common, Topic};
use crate::client::{Client, ConfigView, PartitionView, TopicView};
use crate::failure::Failure;
use crate::output::{Answer, Done, Item, show};
use crate::table::{Look, left, right, table};

pub(crate) async fn topic(command: Topic) -> Result<(), Failure> {
    match command {
        Topic::Create { name, partitions, replication, config, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            let (partitions, replication) = (partitions.unwrap_or(-1), replication.unwrap_or(-1));
            client.create_topic(&name, partitions, replication, &config).await?;
            show(common.output, &Done { what: "created", name: &name })
        }
        Topic::List { common } => {
            let topics = Client::connect(&common.kafka).await?.topics().await?;
            show(common.output, &Topics(topics))
        }
        Topic::Describe { name, common } => show(common.output, &described(&name, &common).await?),
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
            show(common.output, &Done { what: "deleted", name: &name })
        }
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

struct Topics(Vec<TopicView>);

impl Answer for Topics {
    fn document(&self) -> Value {
        json!({ "topics": self.0 })
    }

    fn items(&self) -> Vec<Item> {
        self.0.iter().map(|topic| Item::new(&topic.name, json!(topic))).collect()
    }

    fn text(&self, look: Look) -> String {
        let row = |topic: &TopicView| {
            let partitions = topic.partitions.iter();
            let behind = partitions.clone().filter(|p| p.in_sync.len() < p.replicas.len());
            let replicas = partitions.map(|p| p.replicas.len()).max().unwrap_or(0);
            [
                topic.name.clone(),
                topic.partitions.len().to_string(),
                replicas.to_string(),
                behind.count().to_string(),
                topic.records.to_string(),
                if topic.internal { "yes" } else { "no" }.to_owned(),
            ]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        let columns = [
            left("TOPIC"),
            right("PARTITIONS"),
            right("REPLICAS").wide(),
            right("OUT OF SYNC").wide(),
            right("RECORDS"),
            left("INTERNAL").wide(),
        ];
        table(columns, &rows, look)
    }
}

struct Described {
    topic: TopicView,
    configs: Vec<ConfigView>,
}

async fn described(name: &str, common: &Common) -> Result<Described, Failure> {
    let mut client = Client::connect(&common.kafka).await?;
    let topic = client.topic(name).await?;
    let configs = client.topic_configs(name).await?;
    Ok(Described { topic, configs })
}

impl Answer for Described {
    fn document(&self) -> Value {
        json!({ "topic": self.topic, "configs": self.configs })
    }

    fn items(&self) -> Vec<Item> {
        let partition =
            |p: &PartitionView| Item::new(format!("{}-{}", self.topic.name, p.id), json!(p));
        self.topic.partitions.iter().map(partition).collect()
    }

    fn text(&self, look: Look) -> String {
        let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let partition = |p: &PartitionView| {
            [
                p.id.to_string(),
                p.leader.to_string(),
                ids(&p.replicas),
                ids(&p.in_sync),
                p.start_offset.to_string(),
                p.end_offset.to_string(),
                (p.end_offset - p.start_offset).to_string(),
            ]
        };
        let rows: Vec<_> = self.topic.partitions.iter().map(partition).collect();
        let columns = [
            right("PARTITION"),
            right("LEADER"),
            right("REPLICAS"),
            right("IN SYNC"),
            right("FIRST"),
            right("NEXT"),
            right("RECORDS"),
        ];
        let partitions = table(columns, &rows, look);
        let config = |c: &ConfigView| {
            let source = if c.default { "default" } else { "topic" };
            [c.name.clone(), c.value.clone().unwrap_or_default(), source.to_owned()]
        };
        let rows: Vec<_> = self.configs.iter().map(config).collect();
        let configs = table([left("CONFIG"), left("VALUE"), left("FROM")], &rows, look);
        format!("{partitions}\n{configs}")
    }
}
