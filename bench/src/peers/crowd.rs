//! Many connections on one thread: clients that each wait for their answer, connections that say
//! nothing, members of groups that only live.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tidings_wire::{self as wire, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::light::{PRODUCE_VERSION, batch, frame, produce_request, produced};
use crate::measured::Measured;

/// Connections from one address: fewer than brokers allow, and than there are ports.
const PER_ADDRESS: usize = 2000;
/// Connections that are made at a time.
const AT_A_TIME: usize = 64;
/// A member's heartbeats, as clients send them by default.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
const COORDINATOR_COMES: [i16; 3] = [14, 15, 16];
const COORDINATOR_WITHIN: Duration = Duration::from_secs(60);
const COORDINATOR_ASKED_EVERY: Duration = Duration::from_millis(100);

pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Connection number `number`, from an address of its own for every [`PER_ADDRESS`].
async fn connect(address: SocketAddr, number: usize) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = u8::try_from(2 + number / PER_ADDRESS)?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0))?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn call<R: Request>(
    stream: &mut TcpStream,
    version: i16,
    request: &R,
) -> anyhow::Result<R::Response> {
    stream.write_all(&frame(version, request)?).await?;
    let body = answer(stream).await?;
    Ok(wire::decode_response::<R>(version, body.into())?.1)
}

async fn answer(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let length = stream.read_u32().await.context("the peer has closed the connection")?;
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// `clients` that each send a batch of one record of 100 bytes and wait until it is acknowledged.
pub(super) fn waiting(
    address: &str,
    topic: &'static str,
    clients: usize,
    span: Duration,
) -> anyhow::Result<Measured> {
    let address: SocketAddr = address.parse()?;
    runtime()?.block_on(async {
        let produce = frame(PRODUCE_VERSION, &produce_request(topic, &batch(100)))?;
        let mut streams = Vec::new();
        for number in 0..clients {
            streams.push(connect(address, number).await?);
        }
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for mut stream in streams {
            let produce = produce.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while begun.elapsed() < span {
                    let sent = Instant::now();
                    stream.write_all(&produce).await?;
                    let body = answer(&mut stream).await?;
                    latencies.push(sent.elapsed());
                    type Produce = wire::produce::Request;
                    let answer = wire::decode_response::<Produce>(PRODUCE_VERSION, body.into())?;
                    produced(&answer.1)?;
                }
                anyhow::Ok(latencies)
            });
        }
        let mut latencies = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            latencies.extend(ended??);
        }
        let bytes = latencies.len() as u64 * 100;
        Ok(Measured::of(latencies, bytes, begun.elapsed()))
    })
}

/// Connections that have said who they are and say no more; they end with what is returned.
pub(super) fn idle(
    runtime: &Runtime,
    address: &str,
    count: usize,
) -> anyhow::Result<Vec<TcpStream>> {
    let address: SocketAddr = address.parse()?;
    runtime.block_on(async {
        let mut idle = Vec::with_capacity(count);
        for first in (0..count).step_by(AT_A_TIME) {
            let mut tasks = JoinSet::new();
            for number in first..count.min(first + AT_A_TIME) {
                tasks.spawn(async move {
                    let mut stream = connect(address, number).await?;
                    let hello = wire::api_versions::Request::default();
                    let answer = call(&mut stream, 0, &hello).await?;
                    ensure!(answer.error_code == 0, "ApiVersions: error {}", answer.error_code);
                    Ok(stream)
                });
            }
            while let Some(connected) = tasks.join_next().await {
                idle.push(connected??);
            }
        }
        Ok(idle)
    })
}

/// The members of as many groups, one each, in state Stable.
pub(super) fn members(
    runtime: &Runtime,
    address: &str,
    count: usize,
) -> anyhow::Result<Vec<Member>> {
    let streams = idle(runtime, address, count)?;
    runtime.block_on(async {
        let mut members = Vec::with_capacity(count);
        for (number, stream) in streams.into_iter().enumerate() {
            members.push(Member::join(stream, format!("bench-{number}")).await?);
        }
        Ok(members)
    })
}

/// Keeps the members alive for `span`.
pub(super) fn live(runtime: &Runtime, members: Vec<Member>, span: Duration) -> anyhow::Result<()> {
    runtime.block_on(async {
        let (begun, count) = (tokio::time::Instant::now(), members.len());
        let mut tasks = JoinSet::new();
        for (number, mut member) in members.into_iter().enumerate() {
            // Evenly over the time between two heartbeats.
            let mut due = begun + HEARTBEAT_EVERY.mul_f64(number as f64 / count as f64);
            tasks.spawn(async move {
                while due.duration_since(begun) < span {
                    tokio::time::sleep_until(due).await;
                    member.beat().await?;
                    due += HEARTBEAT_EVERY;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// The only member of a group.
#[derive(Debug)]
pub(super) struct Member {
    stream: TcpStream,
    group: String,
    id: String,
    generation: i32,
}

impl Member {
    async fn join(mut stream: TcpStream, group: String) -> anyhow::Result<Self> {
        let join = wire::join_group::Request {
            group_id: group.clone(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![wire::join_group::Protocol {
                name: "range".to_owned(),
                ..wire::join_group::Protocol::default()
            }],
            ..wire::join_group::Request::default()
        };
        let (id, generation) = Self::joined(&mut stream, &join).await?;
        let sync = wire::sync_group::Request {
            group_id: group.clone(),
            generation_id: generation,
            member_id: id.clone(),
            assignments: vec![wire::sync_group::Assignment {
                member_id: id.clone(),
                ..wire::sync_group::Assignment::default()
            }],
            ..wire::sync_group::Request::default()
        };
        let synced = call(&mut stream, 1, &sync).await?;
        ensure!(synced.error_code == 0, "SyncGroup: error {}", synced.error_code);
        Ok(Self { stream, group, id, generation })
    }

    /// Id and generation of a member, once the group's coordinator is there.
    async fn joined(
        stream: &mut TcpStream,
        join: &wire::join_group::Request,
    ) -> anyhow::Result<(String, i32)> {
        let begun = Instant::now();
        loop {
            // What makes a broker that has no coordinator yet get one.
            let find = wire::find_coordinator::Request {
                key: join.group_id.clone(),
                ..wire::find_coordinator::Request::default()
            };
            call(stream, 0, &find).await?;
            // Below version 4 a member need not join twice.
            let joined = call(stream, 2, join).await?;
            if joined.error_code == 0 {
                return Ok((joined.member_id, joined.generation_id));
            }
            let goes_on = COORDINATOR_COMES.contains(&joined.error_code);
            ensure!(
                goes_on && begun.elapsed() < COORDINATOR_WITHIN,
                "JoinGroup: error {}",
                joined.error_code
            );
            tokio::time::sleep(COORDINATOR_ASKED_EVERY).await;
        }
    }

    async fn beat(&mut self) -> anyhow::Result<()> {
        let beat = wire::heartbeat::Request {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..wire::heartbeat::Request::default()
        };
        let answer = call(&mut self.stream, 1, &beat).await?;
        ensure!(answer.error_code == 0, "Heartbeat: error {}", answer.error_code);
        Ok(())
    }
}
