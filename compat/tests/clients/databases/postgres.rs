//! The scenarios in PostgreSQL.

use tidings::sqlx::Postgres;

use super::{gone, kill, outbox};

#[tokio::test]
async fn events_of_a_key_are_published_in_the_order_of_commits() {
    outbox::order_is_that_of_commits::<Postgres>().await;
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_not_passed_over() {
    outbox::a_late_commit_is_published::<Postgres>().await;
}

#[tokio::test]
async fn one_relay_leads_and_another_follows_it() {
    outbox::one_relay_leads::<Postgres>().await;
}

#[tokio::test]
async fn debeziums_table_is_read_and_emptied() {
    outbox::debeziums_layout::<Postgres>("UUID", "'UUID'", "JSONB").await;
    outbox::debeziums_layout::<Postgres>("VARCHAR(36)", "'UUID'", "BYTEA").await;
}

#[tokio::test]
async fn a_killed_server_is_an_outage() {
    gone::a_killed_server_is_an_outage::<Postgres>().await;
}

#[tokio::test]
async fn each_effect_is_there_once_after_any_kill() {
    kill::each_effect_is_there_once::<Postgres>("databases::postgres::killed").await;
}

#[tokio::test]
#[ignore = "the process that the test before kills"]
async fn killed() {
    kill::work::<Postgres>().await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn how_fast_an_outbox_is() {
    outbox::how_fast_it_is::<Postgres>().await;
}
