//! Values by key: what a handler that changes one for each event gets through, and how long a start takes that must
//! have them again, with values in memory and on disk.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tidings::{Kept, Keyed, OrCreate, Outcome, Publisher, Received, Service, done};
use tidings_engine::Engine;

use crate::measured::{Heading, Limit, Measured};
use crate::orders::{Order, fill_keys, make_topics, order_of};
use crate::suite::Round;

/// Values, each of which every pass over the events changes once.
const VALUES: u64 = 100_000;
const EVENTS: u64 = 2 * VALUES;
/// With what else a value has it is about 150 bytes.
const TEXT_BYTES: usize = 100;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Account {
    orders: u64,
    last: u64,
    text: String,
}

async fn count(
    event: Received<Order>,
    account: Keyed<Account, OrCreate>,
) -> Outcome<Kept<Account>> {
    done(account.change(|account| {
        account.orders += 1;
        account.last = event.number;
        account.text = "x".repeat(TEXT_BYTES);
    }))
}

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    let dir = round.dir.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let engine = Engine::open(dir.join("log")).await?;
        make_topics(&engine).await?;
        fill_keys(&engine, EVENTS, VALUES).await?;
        let till = Publisher::open(&engine, "till").await?;
        let folder = dir.join("values");
        let memory = || Service::new("memory").keyed::<Account>("account").on(count);
        let disk = || Service::new("disk").keyed::<Account>("account").on(count);
        let disk = || disk().values_in(&folder);
        let (in_memory, on_disk) = ("handle, a value changed, in memory", "handle, on disk");
        round.put(Heading::plain(in_memory), until(&engine, memory(), EVENTS, EVENTS).await?);
        let limit = Limit::Operations(in_memory.to_owned());
        let measured = until(&engine, disk(), EVENTS, EVENTS).await?;
        round.put(Heading::against(on_disk, limit, ""), measured);

        // The first event after a start is handled when all values are there.
        let restored = async |service: Service| {
            till.publish(vec![order_of(EVENTS, VALUES, 0)]).await?;
            until(&engine, service, 1, VALUES).await
        };
        let anew = "start, values read from the log into memory";
        round.put(Heading::plain(anew), restored(memory()).await?);
        round.put(Heading::plain("start, values on disk, nothing new"), restored(disk()).await?);
        remove(&folder)?;
        let lost = "start, values on disk, the folder lost";
        round.put(Heading::plain(lost), restored(disk()).await?);
        Ok(engine.close().await?)
    })
}

/// From a service's start until it has handled so many events, which are that many operations.
async fn until(
    engine: &Engine,
    service: Service,
    events: u64,
    operations: u64,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let running = service.start(engine).await?;
    let figures = running.until(|figures| figures.processed >= events).await;
    let took = begun.elapsed();
    ensure!(figures.processed >= events && figures.failed == 0, "{figures:?}");
    running.stop().await?;
    Ok(Measured { operations, ..Measured::once(0, took) })
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    Ok(std::fs::remove_dir_all(folder)?)
}
