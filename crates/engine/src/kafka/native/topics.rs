//! Topics, their configurations, and offsets of many partitions at once.

use std::ffi::c_int;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{
    Options, Owned, Place, Refused, ask, c_text, entries, error_outcome, no_options, order,
    outcome, place, text, unusable,
};
use crate::kafka::Looker;
use crate::{Config, Isolation};

/// Whether a topic is made, or it is only asked whether it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Making {
    Done,
    Checked,
}

pub(in crate::kafka) fn create_topic(
    looker: &Looker,
    name: &str,
    (partitions, replication): (i32, i32),
    configs: &[(String, String)],
    making: Making,
) -> Result<(), Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS as OP;

    let name = c_text(name)?;
    let mut said = [0; 512];
    // SAFETY: the texts live until librdkafka has copied them.
    unsafe {
        let new = c::rd_kafka_NewTopic_new(
            name.as_ptr(),
            partitions,
            replication,
            said.as_mut_ptr(),
            said.len(),
        );
        let new = Owned::of(new, c::rd_kafka_NewTopic_destroy);
        let new =
            new.ok_or_else(|| Refused { code: Code::InvalidArgument, text: text(said.as_ptr()) })?;
        for (config, value) in configs {
            let (config, value) = (c_text(config)?, c_text(value)?);
            let set = c::rd_kafka_NewTopic_set_config(new.pointer, config.as_ptr(), value.as_ptr());
            outcome(set, std::ptr::null())?;
        }
        let mut list = [new.pointer];
        let event = order(looker, OP, |client, options, queue| {
            let only = c_int::from(making == Making::Checked);
            // It fails for another operation's options only.
            c::rd_kafka_AdminOptions_set_validate_only(
                options,
                only,
                said.as_mut_ptr(),
                said.len(),
            );
            c::rd_kafka_CreateTopics(client, list.as_mut_ptr(), 1, options, queue);
        })?;
        let mut count = 0;
        let result = c::rd_kafka_event_CreateTopics_result(event.pointer);
        topic_outcome(c::rd_kafka_CreateTopics_result_topics(result, &raw mut count), count)
    }
}

/// SAFETY of the caller: as of [`entries`].
unsafe fn topic_outcome(
    results: *mut *const c::rd_kafka_topic_result_t,
    count: usize,
) -> Result<(), Refused> {
    // SAFETY: as the caller says.
    unsafe {
        for result in entries(results, count) {
            outcome(
                c::rd_kafka_topic_result_error(result),
                c::rd_kafka_topic_result_error_string(result),
            )?;
        }
    }
    Ok(())
}

pub(in crate::kafka) fn delete_topic(looker: &Looker, name: &str) -> Result<(), Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS as OP;

    let name = c_text(name)?;
    // SAFETY: the text lives until librdkafka has copied it.
    unsafe {
        let gone = c::rd_kafka_DeleteTopic_new(name.as_ptr());
        let gone = Owned::of(gone, c::rd_kafka_DeleteTopic_destroy);
        let gone = gone.ok_or_else(|| unusable("the topic's name"))?;
        let mut list = [gone.pointer];
        let event = order(looker, OP, |client, options, queue| {
            c::rd_kafka_DeleteTopics(client, list.as_mut_ptr(), 1, options, queue);
        })?;
        let mut count = 0;
        let result = c::rd_kafka_event_DeleteTopics_result(event.pointer);
        topic_outcome(c::rd_kafka_DeleteTopics_result_topics(result, &raw mut count), count)
    }
}

pub(in crate::kafka) fn grow_topic(
    looker: &Looker,
    name: &str,
    partitions: usize,
) -> Result<(), Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS as OP;

    let name = c_text(name)?;
    let mut said = [0; 512];
    // SAFETY: the text lives until librdkafka has copied it.
    unsafe {
        let more =
            c::rd_kafka_NewPartitions_new(name.as_ptr(), partitions, said.as_mut_ptr(), said.len());
        let more = Owned::of(more, c::rd_kafka_NewPartitions_destroy);
        let more =
            more.ok_or_else(|| Refused { code: Code::InvalidArgument, text: text(said.as_ptr()) })?;
        let mut list = [more.pointer];
        let event = order(looker, OP, |client, options, queue| {
            c::rd_kafka_CreatePartitions(client, list.as_mut_ptr(), 1, options, queue);
        })?;
        let mut count = 0;
        let result = c::rd_kafka_event_CreatePartitions_result(event.pointer);
        topic_outcome(c::rd_kafka_CreatePartitions_result_topics(result, &raw mut count), count)
    }
}

type Resource = Owned<c::rd_kafka_ConfigResource_t>;

/// What is configured.
#[derive(Clone, Copy, Debug)]
enum Configured {
    Topic,
    Broker,
}

fn resource(what: Configured, name: &str) -> Result<Resource, Refused> {
    use c::rd_kafka_ResourceType_t::{RD_KAFKA_RESOURCE_BROKER, RD_KAFKA_RESOURCE_TOPIC};

    let name = c_text(name)?;
    let kind = match what {
        Configured::Topic => RD_KAFKA_RESOURCE_TOPIC,
        Configured::Broker => RD_KAFKA_RESOURCE_BROKER,
    };
    // SAFETY: the text lives until librdkafka has copied it.
    let resource = unsafe { c::rd_kafka_ConfigResource_new(kind, name.as_ptr()) };
    let resource = Owned::of(resource, c::rd_kafka_ConfigResource_destroy);
    resource.ok_or_else(|| unusable("the name"))
}

/// SAFETY of the caller: the resource lives.
unsafe fn resource_outcome(resource: *const c::rd_kafka_ConfigResource_t) -> Result<(), Refused> {
    // SAFETY: as the caller says.
    unsafe {
        outcome(
            c::rd_kafka_ConfigResource_error(resource),
            c::rd_kafka_ConfigResource_error_string(resource),
        )
    }
}

/// Sets configurations, or takes them back to their defaults where there is no value.
pub(in crate::kafka) fn configure_topic(
    looker: &Looker,
    name: &str,
    changes: &[(String, Option<String>)],
) -> Result<(), Refused> {
    use c::rd_kafka_AlterConfigOpType_t::{
        RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE as DELETE, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET as SET,
    };
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS as OP;

    let resource = resource(Configured::Topic, name)?;
    for (config, value) in changes {
        let config = c_text(config)?;
        let op = if value.is_some() { SET } else { DELETE };
        let value = value.as_deref().map(c_text).transpose()?;
        let value = value.as_ref().map_or(std::ptr::null(), |value| value.as_ptr());
        // SAFETY: the texts live until librdkafka has copied them; the error is destroyed here.
        unsafe {
            let error = c::rd_kafka_ConfigResource_add_incremental_config(
                resource.pointer,
                config.as_ptr(),
                op,
                value,
            );
            let refused = error_outcome(error);
            if let Some(error) = Owned::of(error, c::rd_kafka_error_destroy) {
                drop(error);
            }
            refused?;
        }
    }
    let mut list = [resource.pointer];
    // SAFETY: the resource lives until the answer has come.
    unsafe {
        let event = order(looker, OP, |client, options, queue| {
            c::rd_kafka_IncrementalAlterConfigs(client, list.as_mut_ptr(), 1, options, queue);
        })?;
        let mut count = 0;
        let result = c::rd_kafka_event_IncrementalAlterConfigs_result(event.pointer);
        let results = c::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
        for resource in entries(results, count) {
            resource_outcome(resource)?;
        }
    }
    Ok(())
}

pub(in crate::kafka) fn topic_configs(looker: &Looker, name: &str) -> Result<Vec<Config>, Refused> {
    configs(looker, &resource(Configured::Topic, name)?)
}

pub(in crate::kafka) fn broker_configs(looker: &Looker, id: i32) -> Result<Vec<Config>, Refused> {
    configs(looker, &resource(Configured::Broker, &id.to_string())?)
}

/// Without the values of what is secret.
fn configs(looker: &Looker, resource: &Resource) -> Result<Vec<Config>, Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS as OP;

    let mut list = [resource.pointer];
    let mut configs = Vec::new();
    // SAFETY: the resource lives until the answer has come, the answer as long as its event.
    unsafe {
        let event = ask(looker, OP, no_options, |client, options, queue| {
            c::rd_kafka_DescribeConfigs(client, list.as_mut_ptr(), 1, options, queue);
        })?;
        let mut count = 0;
        let result = c::rd_kafka_event_DescribeConfigs_result(event.pointer);
        let results = c::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        for resource in entries(results, count) {
            resource_outcome(resource)?;
            let mut count = 0;
            let listed = c::rd_kafka_ConfigResource_configs(resource, &raw mut count);
            for entry in entries(listed, count) {
                let value = c::rd_kafka_ConfigEntry_value(entry);
                let value = (!value.is_null()).then(|| text(value));
                configs.push(Config {
                    name: text(c::rd_kafka_ConfigEntry_name(entry)),
                    value,
                    is_default: c::rd_kafka_ConfigEntry_is_default(entry) != 0,
                });
            }
        }
    }
    Ok(configs)
}

/// The offsets behind the places in the list, whose offsets are librdkafka's `OFFSET_SPEC_*` or times.
pub(in crate::kafka) fn list_offsets(
    looker: &Looker,
    wanted: &TopicPartitionList,
    isolation: Isolation,
) -> Result<Vec<Place>, Refused> {
    use c::rd_kafka_IsolationLevel_t::{
        RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED as COMMITTED,
        RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED as UNCOMMITTED,
    };
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS as OP;

    if wanted.count() == 0 {
        return Ok(Vec::new());
    }
    let level = match isolation {
        Isolation::Committed => COMMITTED,
        Isolation::All => UNCOMMITTED,
    };
    let set = |options: Options| {
        // SAFETY: the options live. It fails only for another operation's options.
        unsafe {
            let error = c::rd_kafka_AdminOptions_set_isolation_level(options, level);
            drop(Owned::of(error, c::rd_kafka_error_destroy));
        }
    };
    // SAFETY: the list lives until the answer has come, the answer as long as its event.
    unsafe {
        let event = ask(looker, OP, set, |client, options, queue| {
            c::rd_kafka_ListOffsets(client, wanted.ptr(), options, queue);
        })?;
        let mut count = 0;
        let result = c::rd_kafka_event_ListOffsets_result(event.pointer);
        let infos = entries(c::rd_kafka_ListOffsets_result_infos(result, &raw mut count), count);
        let listed = infos.into_iter();
        Ok(listed
            .map(|info| place(c::rd_kafka_ListOffsetsResultInfo_topic_partition(info)))
            .collect())
    }
}
