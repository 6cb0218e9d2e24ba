//! Scenarios in SQLite that need processes of their own; `tidings` has the others among its tests.

use tidings::sqlx::Sqlite;

use super::{kill, outbox};

#[tokio::test]
async fn events_of_a_key_are_published_in_the_order_of_commits() {
    outbox::order_is_that_of_commits::<Sqlite>().await;
}

#[tokio::test]
async fn each_effect_is_there_once_after_any_kill() {
    kill::each_effect_is_there_once::<Sqlite>("databases::sqlite::killed").await;
}

#[tokio::test]
#[ignore = "the process that the test before kills"]
async fn killed() {
    kill::work::<Sqlite>().await;
}
