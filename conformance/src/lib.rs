//! The conformance suite of the seam: what every engine must do, in the words of an application.
//!
//! A behaviour is an `async fn(Stage)`; it knows nothing of the engine it runs on. [`behaviours!`] lists
//! those of every engine and hands the list to a macro of the caller's; [`all`] is the same as a table, for who
//! runs them on one cluster. Names of topics and groups are each behaviour's own, so that they can share one.
//! What takes time is awaited with a deadline; only what an engine does by itself, as compaction, is looked for
//! again and again.
//!
//! [`durable_behaviours!`] needs a directory of the engine's own, and [`cutting_behaviours!`] a producer that
//! cuts a refused batch anew: librdkafka hands such a batch back whole.

pub mod group_descriptions;
pub mod groups;
pub mod records;
pub mod restart;
pub mod sends;
mod stage;
pub mod topics;
pub mod transactions;
pub mod upkeep;

use std::pin::Pin;

pub use stage::{Stage, within};
use tidings_engine::Engine;

/// Hands the behaviours of every engine to `$with`.
#[macro_export]
macro_rules! behaviours {
    ($with:ident) => {
        $with! {
            topics {
                created_topics_are_described,
                a_topic_that_was_just_made_is_there,
                a_topic_exists_once,
                a_topic_is_checked_before_it_is_made,
                impossible_topics_are_refused,
                deleted_topics_are_gone_with_their_records,
                configurations_are_kept,
                configurations_change_one_by_one,
                topics_grow,
                unknown_topics_are_refused_everywhere,
                an_engine_shows_its_brokers_and_where_partitions_are,
            }
            records {
                records_come_back_as_they_were_sent,
                headers_of_any_bytes_come_back,
                reads_begin_where_they_are_told,
                reads_outside_the_log_are_refused,
                a_read_at_the_end_waits_for_the_next_record,
                a_follower_sees_every_record_in_order,
                times_lead_to_offsets,
                reads_go_on_beside_each_other,
                a_wait_is_as_long_as_it_was_told,
                large_records_come_back,
            }
            sends {
                order_is_kept_per_partition,
                keys_choose_partitions_as_kafkas_clients_do,
                keyless_records_are_spread,
                records_beyond_the_limit_are_refused,
                sends_beyond_a_batch_are_split,
                batches_fit_what_the_topic_takes,
                concurrent_senders_keep_their_own_order,
                dropped_sends_leave_no_gap_and_no_copy,
                a_producer_takes_more_than_its_queue_holds,
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
                groups_are_deleted_only_without_members,
            }
            transactions {
                a_transaction_is_seen_whole_and_only_when_it_is_committed,
                an_aborted_transaction_is_never_seen,
                a_dropped_transaction_aborts,
                a_new_holder_fences_the_former,
                a_crash_between_send_and_commit_leaves_nothing,
                positions_count_with_the_records,
                positions_of_an_aborted_transaction_do_not_count,
                a_member_that_was_put_out_commits_no_positions,
                a_new_member_waits_for_the_positions_of_a_transaction,
                a_refused_append_only_aborts,
                an_open_transaction_holds_back_what_follows,
                transactions_pass_by_compacted_and_aborted_records,
                a_member_passes_the_markers_of_transactions,
                a_successor_does_not_wait_for_what_is_left_open,
                a_transaction_that_takes_too_long_is_aborted,
                read_process_write_is_exactly_once_under_crashes,
            }
            upkeep {
                retention_moves_the_beginning,
                compaction_keeps_the_last_of_each_key_and_every_offset,
            }
        }
    };
}

/// Hands the behaviours of an engine with a directory to `$with`.
#[macro_export]
macro_rules! durable_behaviours {
    ($with:ident) => {
        $with! {
            restart {
                everything_survives_a_clean_stop,
                everything_acknowledged_survives_an_unclean_one,
                a_directory_has_one_owner,
                a_stopped_engine_says_so,
            }
        }
    };
}

/// Hands the behaviours of producers that cut refused batches anew to `$with`.
#[macro_export]
macro_rules! cutting_behaviours {
    ($with:ident) => {
        $with! { sends { a_fresh_producer_keeps_the_order_where_large_batches_are_refused } }
    };
}

/// A behaviour under its name.
pub struct Behaviour {
    pub name: &'static str,
    run: fn(Stage) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

macro_rules! table {
    ($($module:ident { $($behaviour:ident),+ $(,)? })+) => {
        vec![$($(Behaviour {
            name: stringify!($behaviour),
            run: |stage| Box::pin($module::$behaviour(stage)),
        }),+),+]
    };
}

/// The behaviours of every engine.
pub fn all() -> Vec<Behaviour> {
    behaviours!(table)
}

impl Behaviour {
    /// Runs it on an engine; its panic is the failure.
    pub async fn run(&self, engine: Engine) -> Result<(), String> {
        let stage = Stage::on(engine, self.name);
        let run = self.run;
        let ended = tokio::spawn(async move { within(run(stage)).await }).await;
        ended.map_err(|stop| match stop.try_into_panic() {
            Ok(panic) => said(&*panic),
            Err(stop) => stop.to_string(),
        })
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
