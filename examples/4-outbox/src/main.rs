//! An order and its event in one transaction, stock booked once: `cargo run -p tidings-example-outbox`.
//!
//! The database is `shop.db` in the current folder. For PostgreSQL, write `Postgres` for `Sqlite` and
//! take the feature of that name.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidings::sqlx::{self, Sqlite, SqlitePool, sqlite::SqliteConnectOptions};
use tidings::{Event, Inbox, Outbox, Outcome, Received, Service, Tx, done};
use tidings_engine::Engine;

type Failure = Box<dyn std::error::Error>;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shop.orders", key = "order")]
struct OrderPlaced {
    order: String,
    units: i64,
}

/// What it does to the database happens once for each order, however often the order is delivered.
async fn book(event: Received<OrderPlaced>, mut tx: Tx<Sqlite>) -> Outcome<()> {
    let book = sqlx::query("UPDATE stock SET units = units - ?").bind(event.units);
    book.execute(&mut *tx).await?;
    done(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    println!("{} units are left", sell(Path::new("shop.db")).await?);
    Ok(())
}

async fn sell(file: &Path) -> Result<i64, Failure> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS orders (name TEXT)").execute(&pool).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS stock (units INTEGER)").execute(&pool).await?;
    sqlx::query("INSERT INTO stock SELECT 10 WHERE NOT EXISTS (SELECT 1 FROM stock)")
        .execute(&pool)
        .await?;

    let engine = Engine::in_memory().await?;
    let outbox = Outbox::open(&pool, "shop_outbox").await?;
    let relay = outbox.relay(&engine);
    let stock = Service::new("stock").with(Inbox::open(&pool).await?).on(book);
    let stock = stock.start(&engine).await?;

    for (order, is_paid) in [("536365", true), ("536366", false)] {
        let mut tx = pool.begin().await?;
        sqlx::query("INSERT INTO orders VALUES (?)").bind(order).execute(&mut *tx).await?;
        outbox.add(&mut tx, OrderPlaced { order: order.into(), units: 3 }).await?;
        // Both or neither: an order that is not paid is in no table and in no topic.
        if is_paid { tx.commit().await? } else { tx.rollback().await? }
    }
    stock.until(|figures| figures.processed == 1).await;
    stock.stop().await?;
    relay.stop().await;
    engine.close().await?;
    Ok(sqlx::query_scalar("SELECT units FROM stock").fetch_one(&pool).await?)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn stock_is_booked_once_for_each_order_that_was_committed() {
        let folder = tempfile::tempdir().expect("a folder");
        for left in [7, 4] {
            assert_eq!(super::sell(&folder.path().join("shop.db")).await.expect("sold"), left);
        }
    }
}
