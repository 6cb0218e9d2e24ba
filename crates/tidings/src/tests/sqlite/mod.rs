//! Outbox and inbox in SQLite; PostgreSQL and MySQL have the same in `compat`.

mod inbox;
mod outbox;

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;

use super::*;

/// Longest that a statement waits for another writer.
const BUSY: Duration = Duration::from_millis(300);

/// A database in a folder of its own.
async fn database() -> (TempDir, SqlitePool) {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(&folder).await;
    (folder, pool)
}

async fn pool(folder: &TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(folder.path().join("shop.db"));
    let options = options.create_if_missing(true).busy_timeout(BUSY);
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await.expect("a database")
}

async fn run(pool: &SqlitePool, sql: &'static str) {
    sqlx::query(sql).execute(pool).await.expect(sql);
}

async fn count(pool: &SqlitePool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect(sql)
}
