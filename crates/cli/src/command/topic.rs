//! `tidings topic`: create, list, describe, trim, delete.

use serde::Serialize;
use serde_json::{Value, json};
use tidings_terminal::failure::Failure;
use tidings_terminal::output::{Answer, Done, Item, show};
use tidings_terminal::table::{Look, left, right, table};

use super::consent::{Decided, decide};
use super::watch::watched;
use crate::args::{Common, Consent, Topic};
use crate::client::{Client, ConfigView, PartitionView, TopicView};
use crate::offsets::Offsets;
use crate::time::now_ms;

pub(crate) async fn topic(command: Topic) -> Result<(), Failure> {
    match command {
        Topic::Create { name, partitions, replication, config, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            let (partitions, replication) = (partitions.unwrap_or(-1), replication.unwrap_or(-1));
            client.create_topic(&name, partitions, replication, &config).await?;
            show(common.output, &Done { what: "created", name: &name })
        }
        Topic::List { watch, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            watched(watch, common.output, async || Ok(Topics(client.topics().await?))).await
        }
        Topic::Describe { name, watch, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            watched(watch, common.output, async || described(&mut client, &name).await).await
        }
        Topic::Delete { name, consent, common } => {
            let mut client = Client::connect(&common.kafka).await?;
            let topic = client.topic_to_delete(&name).await?;
            let what = format!("topic {name} was not deleted");
            if decide(consent, common.output, &Topics(vec![topic]), &name, &what)? == Decided::Told
            {
                return Ok(());
            }
            client.delete_topic(&name).await?;
            show(common.output, &Done { what: "deleted", name: &name })
        }
        Topic::Trim { name, before, consent, common } => {
            trim(&name, &before, consent, &common).await
        }
    }
}

async fn trim(name: &str, before: &str, consent: Consent, common: &Common) -> Result<(), Failure> {
    let offsets = Offsets::parse(before, now_ms())?;
    let mut client = Client::connect(&common.kafka).await?;
    let leaders = client.leaders(name, false).await?;
    let points = offsets.points((0..).take(leaders.len()))?;
    let offsets = client.offsets_at(name, &leaders, &points).await?;
    let topic = client.topic(name).await?;
    let trimmed = |p: PartitionView| {
        let before = *offsets.get(&p.id)?;
        Some(Trimmed { topic: name.to_owned(), partition: p.id, start: p.start_offset, before })
    };
    let plan = Trim(topic.partitions.into_iter().filter_map(trimmed).collect());
    let what = format!("topic {name} was not trimmed");
    if decide(consent, common.output, &plan, name, &what)? == Decided::Told {
        return Ok(());
    }
    client.delete_records(name, &leaders, &offsets).await?;
    show(common.output, &plan)
}

/// What goes of each partition.
struct Trim(Vec<Trimmed>);

#[derive(Serialize)]
struct Trimmed {
    topic: String,
    partition: i32,
    /// Where it begins.
    #[serde(rename = "start_offset")]
    start: i64,
    /// Where it begins afterwards.
    #[serde(rename = "before_offset")]
    before: i64,
}

impl Answer for Trim {
    fn document(&self) -> Value {
        json!({ "trimmed": self.0 })
    }

    fn items(&self) -> Vec<Item> {
        let item = |t: &Trimmed| Item::new(format!("{}-{}", t.topic, t.partition), json!(t));
        self.0.iter().map(item).collect()
    }

    fn text(&self, look: Look) -> String {
        let row = |t: &Trimmed| {
            let gone = (t.before - t.start).max(0);
            [t.partition.to_string(), t.start.to_string(), t.before.to_string(), gone.to_string()]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        let columns = [right("PARTITION"), right("FIRST"), right("BEFORE"), right("OFFSETS GONE")];
        table(columns, &rows, look)
    }
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

async fn described(client: &mut Client, name: &str) -> Result<Described, Failure> {
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
