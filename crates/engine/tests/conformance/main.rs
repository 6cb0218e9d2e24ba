//! The conformance suite of the seam: what every engine must do, in the words of an application.
//!
//! A behaviour is an `async fn(Stage)`; it knows nothing of the engine it runs on. Each engine is
//! one entry below. Names of topics and groups come from [`Stage::name`], so that behaviours can
//! share one cluster. Nothing sleeps: what takes time is awaited with a deadline.

mod group_descriptions;
mod groups;
mod records;
mod restart;
mod sends;
mod stage;
mod topics;

macro_rules! conformance {
    ($suite:ident with $engine:ident: $($module:ident { $($behaviour:ident),+ $(,)? })+) => {
        mod $suite {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    let stage = crate::stage::Stage::$engine(stringify!($behaviour)).await;
                    crate::stage::within(crate::$module::$behaviour(stage)).await;
                })+
            })+
        }
    };
}

macro_rules! on_every_engine {
    ($($behaviours:tt)+) => {
        conformance!(in_memory with in_memory: $($behaviours)+);
        conformance!(on_disk with on_disk: $($behaviours)+);
    };
}

on_every_engine! {
    topics {
        created_topics_are_described,
        a_topic_exists_once,
        impossible_topics_are_refused,
        deleted_topics_are_gone_with_their_records,
        configurations_are_kept,
        unknown_topics_are_refused_everywhere,
    }
    records {
        records_come_back_as_they_were_sent,
        reads_begin_where_they_are_told,
        reads_outside_the_log_are_refused,
        a_read_at_the_end_waits_for_the_next_record,
        a_follower_sees_every_record_in_order,
        times_lead_to_offsets,
    }
    sends {
        order_is_kept_per_partition,
        keys_choose_partitions_as_kafkas_clients_do,
        keyless_records_are_spread,
        records_beyond_the_limit_are_refused,
        sends_beyond_a_batch_are_split,
        batches_fit_what_the_topic_takes,
        a_fresh_producer_keeps_the_order_where_large_batches_are_refused,
        concurrent_senders_keep_their_own_order,
        dropped_sends_leave_no_gap_and_no_copy,
    }
    groups {
        a_lone_member_gets_everything,
        members_start_where_they_are_told,
        committed_positions_resume_with_their_metadata,
        two_members_share_until_one_leaves,
        a_dropped_member_leaves_too,
        topics_are_assigned_together,
        revoked_partitions_may_be_committed_until_the_next_poll,
        commits_after_a_rebalance_are_fenced,
        a_topic_that_appears_later_is_assigned,
        a_topic_made_again_is_read_from_its_start,
        paused_partitions_wait_and_sought_ones_go_back,
        dropped_polls_lose_nothing,
        two_groups_do_not_disturb_each_other,
    }
    group_descriptions {
        a_group_shows_members_positions_and_lag,
        groups_are_listed_by_name,
        a_group_nobody_made_is_dead,
        positions_are_reset_only_without_members,
    }
}

conformance! { durable with on_disk: restart {
    everything_survives_a_clean_stop,
    everything_acknowledged_survives_an_unclean_one,
    a_directory_has_one_owner,
    a_stopped_engine_says_so,
} }
