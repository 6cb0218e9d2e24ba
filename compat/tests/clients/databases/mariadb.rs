//! The scenarios in MariaDB, which is what Debian has for MySQL.

use tidings::sqlx::MySql;

use super::{gone, kill, outbox};

#[tokio::test]
async fn events_of_a_key_are_published_in_the_order_of_commits() {
    outbox::order_is_that_of_commits::<MySql>().await;
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_not_passed_over() {
    outbox::a_late_commit_is_published::<MySql>().await;
}

#[tokio::test]
async fn one_relay_leads_and_another_follows_it() {
    outbox::one_relay_leads::<MySql>().await;
}

#[tokio::test]
async fn debeziums_table_is_read_and_emptied() {
    outbox::debeziums_layout::<MySql>("CHAR(36)", "'UUID'", "JSON").await;
    outbox::debeziums_layout::<MySql>("BINARY(16)", "x'HEX'", "LONGTEXT").await;
}

#[tokio::test]
async fn a_killed_server_is_an_outage() {
    gone::a_killed_server_is_an_outage::<MySql>().await;
}

// MariaDB is one process; PostgreSQL has one for each connection.
#[tokio::test]
async fn a_frozen_server_is_an_outage() {
    gone::a_frozen_server_is_an_outage::<MySql>().await;
}

#[tokio::test]
async fn each_effect_is_there_once_after_any_kill() {
    kill::each_effect_is_there_once::<MySql>("databases::mariadb::killed").await;
}

#[tokio::test]
#[ignore = "the process that the test before kills"]
async fn killed() {
    kill::work::<MySql>().await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn how_fast_an_outbox_is() {
    outbox::how_fast_it_is::<MySql>().await;
}
