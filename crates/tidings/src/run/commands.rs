//! The control topic, read as it grows.

use tidings_engine::{Engine, Offset, Record, TopicPartition};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Broken, Worker};
use crate::{
    control::{Command, Entry, make_control_topic},
    desk::CONTROL_READ,
    limits,
    publisher::now_ms,
    replay::read_all,
    task::Task,
};

/// What the control topic says.
pub(super) enum Told {
    /// A command, with the offset behind it.
    Command(i64, Command),
    /// The topic is not the one of before: every command in it is new.
    Anew,
}

/// New commands.
pub(super) struct Commands {
    /// Where the topic ended when it began to be read.
    pub(super) from: i64,
    queue: mpsc::Receiver<Told>,
    /// Ends with what holds this.
    _reading: JoinSet<()>,
}

impl Commands {
    /// Those from the topic's end on.
    pub(super) async fn of(engine: &Engine, topic: &str) -> Result<Self, tidings_engine::Error> {
        make_control_topic(engine, topic).await?;
        let next = engine.offset(topic, 0, Offset::Latest).await?;
        let (sender, queue) = mpsc::channel(limits::COMMANDS_QUEUED_MAX);
        let mut reading = JoinSet::new();
        reading.spawn(read(engine.clone(), topic.to_owned(), next, sender));
        Ok(Self { from: next, queue, _reading: reading })
    }

    /// Waits for one.
    pub(super) async fn next(&mut self) -> Option<Told> {
        self.queue.recv().await
    }
}

async fn read(engine: Engine, topic: String, mut next: i64, queue: mpsc::Sender<Told>) {
    loop {
        let read = match engine.read(&topic, 0, next, CONTROL_READ).await {
            Ok(read) => read,
            Err(tidings_engine::Error::OffsetOutOfRange { first, .. }) => {
                tracing::warn!(topic, next, first, "the commands were made anew");
                next = first;
                if queue.send(Told::Anew).await.is_err() {
                    return;
                }
                continue;
            }
            Err(error) => {
                tracing::debug!(topic, %error, "commands are asked for again");
                tokio::time::sleep(limits::RESUBSCRIBE_MAX).await;
                continue;
            }
        };
        next = read.next;
        for record in read.records {
            if let Some(Entry::Command(command)) = Entry::from_record(&record)
                && queue.send(Told::Command(record.offset + 1, command)).await.is_err()
            {
                return;
            }
        }
    }
}

impl Worker {
    /// Does what the control topic says.
    pub(super) fn obey(&mut self, told: Told) {
        match told {
            Told::Command(next, command) => self.carry_out(next, &command),
            Told::Anew => {
                self.commanded = 0;
                self.tasks.iter_mut().for_each(Task::reset_control);
            }
        }
    }

    /// Lets every task carry a command out.
    fn carry_out(&mut self, next: i64, command: &Command) {
        self.commanded = next;
        let bytes_max = self.topics.most_in(&self.topics.changelog);
        let inputs = |record: &Record| Self::inputs_of(&self.service, record);
        for task in &mut self.tasks {
            if let Some(carried) = command.carry_out(task, (next, now_ms()), bytes_max, &inputs) {
                let service = &self.service.name;
                let (at, done) = (task.at(), carried.done);
                tracing::info!(%service, by = command.by, %at, done, "a command about dead events");
                self.pending.add(Entry::Carried(carried).into_record(service));
            }
        }
    }

    /// Lets new tasks carry out what was commanded while nobody had their partitions.
    pub(super) async fn carry_out_all(&mut self, tasks: &mut [Task]) -> Result<(), Broken> {
        if tasks.iter().all(|task| task.shelf().dead().next().is_none()) {
            return Ok(());
        }
        let topic = self.topics.control.clone();
        let bytes_max = self.topics.most_in(&self.topics.changelog);
        let end = self.engine.offset(&topic, 0, Offset::Latest).await?;
        for task in tasks.iter_mut().filter(|task| task.control() > end) {
            task.reset_control();
        }
        let (service, pending) = (&self.service.name, &mut self.pending);
        let inputs = |record: &Record| Self::inputs_of(&self.service, record);
        let take = |record: Record| {
            let Some(Entry::Command(command)) = Entry::from_record(&record) else { return };
            for task in &mut *tasks {
                let when = (record.offset + 1, now_ms());
                if let Some(carried) = command.carry_out(task, when, bytes_max, &inputs) {
                    pending.add(Entry::Carried(carried).into_record(service));
                }
            }
        };
        Ok(read_all(&self.engine, &[TopicPartition { topic, partition: 0 }], take).await?)
    }
}
