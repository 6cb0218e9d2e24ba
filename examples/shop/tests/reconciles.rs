//! The month on the embedded engine, in memory: it adds up, and running it again changes nothing.

use tidings_engine::Engine;
use tidings_shop::{Options, Reconciliation, Shop, Speed};

async fn run(engine: &Engine) -> Reconciliation {
    let mut shop = Shop::start(engine, Options { speed: Speed::Max }).await.unwrap();
    let reconciliation = shop.until_done().await.unwrap();
    shop.stop().await.unwrap();
    reconciliation
}

async fn ends(engine: &Engine) -> Vec<(String, i64)> {
    let topics = engine.topics().await.unwrap();
    topics
        .into_iter()
        .filter(|t| !t.internal)
        .map(|t| (t.name, t.partitions.iter().map(|p| p.end_offset).sum()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_month_reconciles_and_a_second_start_changes_nothing() {
    let engine = Engine::in_memory().await.unwrap();
    let first = run(&engine).await;
    assert_eq!(first.problems, Vec::<String>::new());
    assert!(first.reconciled);
    assert_eq!(first.charged_pence, first.chargeable_pence);
    assert!(first.out_of_stock > 0 && first.units_returned > 0, "{first:?}");
    assert_eq!(first.units_left, first.units_open - first.units_shipped + first.units_returned);
    let before = ends(&engine).await;
    let second = run(&engine).await;
    assert_eq!(Reconciliation { seconds: 0.0, ..second }, Reconciliation { seconds: 0.0, ..first });
    assert_eq!(ends(&engine).await, before);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_stopped_in_the_middle_goes_on_where_it_was() {
    let engine = Engine::in_memory().await.unwrap();
    for _ in 0..3 {
        let mut shop = Shop::start(&engine, Options { speed: Speed::Max }).await.unwrap();
        let before: i64 = ends(&engine).await.iter().map(|(_, end)| end).sum();
        tokio::select! {
            _ = shop.until_done() => {}
            () = grown_by(&engine, before, 2_000) => {}
        }
        shop.stop().await.unwrap();
    }
    let last = run(&engine).await;
    assert_eq!(last.problems, Vec::<String>::new());
    assert!(last.reconciled);
    engine.close().await.unwrap();
}

async fn grown_by(engine: &Engine, before: i64, records: i64) {
    while ends(engine).await.iter().map(|(_, end)| end).sum::<i64>() < before + records {
        tokio::task::yield_now().await;
    }
}
