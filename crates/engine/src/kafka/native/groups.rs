//! Groups as seen from outside.

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::Consumer as _;

use super::{
    Owned, Place, Refused, ask, ask_coordinator, c_text, entries, error_outcome, no_options,
    places, text, unusable,
};
use crate::kafka::Looker;

#[derive(Clone, Debug)]
pub(in crate::kafka) struct ListedGroup {
    pub(in crate::kafka) name: String,
    pub(in crate::kafka) state: String,
    /// Positions without members, by no protocol of consumers.
    pub(in crate::kafka) is_simple: bool,
}

#[derive(Clone, Debug)]
pub(in crate::kafka) struct DescribedGroup {
    pub(in crate::kafka) state: String,
    pub(in crate::kafka) assignor: String,
    pub(in crate::kafka) members: Vec<DescribedMember>,
}

#[derive(Clone, Debug)]
pub(in crate::kafka) struct DescribedMember {
    pub(in crate::kafka) member_id: String,
    pub(in crate::kafka) client_id: String,
    pub(in crate::kafka) host: String,
    pub(in crate::kafka) assignment: Vec<Place>,
}

pub(in crate::kafka) fn list_groups(looker: &Looker) -> Result<Vec<ListedGroup>, Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS as OP;

    // SAFETY: the answer lives as long as its event.
    unsafe {
        let event = ask(looker, OP, no_options, |client, options, queue| {
            c::rd_kafka_ListConsumerGroups(client, options, queue);
        })?;
        let result = c::rd_kafka_event_ListConsumerGroups_result(event.pointer);
        let mut count = 0;
        let errors = c::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut count);
        for error in entries(errors, count) {
            error_outcome(error)?;
        }
        let listed = c::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
        let group = |group| ListedGroup {
            name: text(c::rd_kafka_ConsumerGroupListing_group_id(group)),
            state: text(c::rd_kafka_consumer_group_state_name(
                c::rd_kafka_ConsumerGroupListing_state(group),
            )),
            is_simple: c::rd_kafka_ConsumerGroupListing_is_simple_consumer_group(group) != 0,
        };
        Ok(entries(listed, count).into_iter().map(group).collect())
    }
}

pub(in crate::kafka) fn describe_group(
    looker: &Looker,
    name: &str,
) -> Result<DescribedGroup, Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS as OP;

    let group_id = c_text(name)?;
    let mut list = [group_id.as_ptr()];
    // SAFETY: the name lives until the answer has come, the answer as long as its event.
    unsafe {
        let event = ask_coordinator(
            looker,
            OP,
            looker.context().answer_timeout(),
            |client, options, queue| {
                c::rd_kafka_DescribeConsumerGroups(client, list.as_mut_ptr(), 1, options, queue);
            },
        )?;
        let mut count = 0;
        let result = c::rd_kafka_event_DescribeConsumerGroups_result(event.pointer);
        let groups = c::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        let group = entries(groups, count).into_iter().next();
        let group = group.ok_or_else(|| unusable("an empty answer"))?;
        error_outcome(c::rd_kafka_ConsumerGroupDescription_error(group))?;
        let members = c::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |index| {
            let member = c::rd_kafka_ConsumerGroupDescription_member(group, index);
            let assignment = c::rd_kafka_MemberDescription_assignment(member);
            DescribedMember {
                member_id: text(c::rd_kafka_MemberDescription_consumer_id(member)),
                client_id: text(c::rd_kafka_MemberDescription_client_id(member)),
                host: text(c::rd_kafka_MemberDescription_host(member)),
                assignment: places(c::rd_kafka_MemberAssignment_partitions(assignment)),
            }
        };
        Ok(DescribedGroup {
            state: text(c::rd_kafka_consumer_group_state_name(
                c::rd_kafka_ConsumerGroupDescription_state(group),
            )),
            assignor: text(c::rd_kafka_ConsumerGroupDescription_partition_assignor(group)),
            members: (0..members).map(member).collect(),
        })
    }
}

/// SAFETY of the caller: as of [`entries`].
unsafe fn group_places(
    results: *mut *const c::rd_kafka_group_result_t,
    count: usize,
) -> Result<Vec<Place>, Refused> {
    let mut all = Vec::new();
    // SAFETY: as the caller says.
    unsafe {
        for group in entries(results, count) {
            error_outcome(c::rd_kafka_group_result_error(group))?;
            all.extend(places(c::rd_kafka_group_result_partitions(group)));
        }
    }
    Ok(all)
}

/// Everything that a group has committed.
pub(in crate::kafka) fn group_offsets(looker: &Looker, name: &str) -> Result<Vec<Place>, Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS as OP;

    let name = c_text(name)?;
    // SAFETY: the name lives until librdkafka has copied it, the answer as long as its event.
    unsafe {
        let of = c::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), std::ptr::null());
        let of = Owned::of(of, c::rd_kafka_ListConsumerGroupOffsets_destroy);
        let of = of.ok_or_else(|| unusable("the group's name"))?;
        let mut list = [of.pointer];
        let event = ask_coordinator(
            looker,
            OP,
            looker.context().answer_timeout(),
            |client, options, queue| {
                c::rd_kafka_ListConsumerGroupOffsets(client, list.as_mut_ptr(), 1, options, queue);
            },
        )?;
        let mut count = 0;
        let result = c::rd_kafka_event_ListConsumerGroupOffsets_result(event.pointer);
        group_places(
            c::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count),
            count,
        )
    }
}

/// Sets positions of a group without members.
pub(in crate::kafka) fn set_group_offsets(
    looker: &Looker,
    name: &str,
    offsets: &TopicPartitionList,
) -> Result<Vec<Place>, Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS as OP;

    let name = c_text(name)?;
    // SAFETY: name and list live until librdkafka has copied them, the answer as long as its event.
    unsafe {
        let of = c::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), offsets.ptr());
        let of = Owned::of(of, c::rd_kafka_AlterConsumerGroupOffsets_destroy);
        let of = of.ok_or_else(|| unusable("the group's name"))?;
        let mut list = [of.pointer];
        let event = ask_coordinator(
            looker,
            OP,
            looker.context().request_timeout(),
            |client, options, queue| {
                c::rd_kafka_AlterConsumerGroupOffsets(client, list.as_mut_ptr(), 1, options, queue);
            },
        )?;
        let mut count = 0;
        let result = c::rd_kafka_event_AlterConsumerGroupOffsets_result(event.pointer);
        group_places(
            c::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count),
            count,
        )
    }
}

pub(in crate::kafka) fn delete_group(looker: &Looker, name: &str) -> Result<(), Refused> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS as OP;

    let name = c_text(name)?;
    // SAFETY: the name lives until librdkafka has copied it, the answer as long as its event.
    unsafe {
        let gone = c::rd_kafka_DeleteGroup_new(name.as_ptr());
        let gone = Owned::of(gone, c::rd_kafka_DeleteGroup_destroy);
        let gone = gone.ok_or_else(|| unusable("the group's name"))?;
        let mut list = [gone.pointer];
        let event = ask_coordinator(
            looker,
            OP,
            looker.context().request_timeout(),
            |client, options, queue| {
                c::rd_kafka_DeleteGroups(client, list.as_mut_ptr(), 1, options, queue);
            },
        )?;
        let mut count = 0;
        let result = c::rd_kafka_event_DeleteGroups_result(event.pointer);
        let groups = c::rd_kafka_DeleteGroups_result_groups(result, &raw mut count);
        group_places(groups, count).map(drop)
    }
}
