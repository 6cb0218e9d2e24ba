//! `tidings up`: a node with its Kafka listener, registry and console, in dependency order.
//!
//! All ports are bound before the data directory is touched, so a taken port leaves nothing
//! behind. Stopping goes the other way round: the demo's services, HTTP, Kafka, then the node.

mod figures;
mod files;
mod holder;
mod memory;
mod ports;
mod screen;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tidings_engine::Engine;
use tidings_gateway::{Addresses, Console, ConsoleOptions, FigureSource};
use tidings_node::{Node, NodeConfig, NodeError, open_files, raise_open_files};
use tidings_server::{Server, ServerConfig};
use tidings_shop::{Options, Shop, Speed};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

use crate::args::{Demo, Up};
use crate::failure::{Exit, Failure};
use crate::limits::STOP_GRACE;
use crate::output::{print, print_json};
use files::Files;
pub(crate) use holder::name_of as process_name;
pub(crate) use memory::Size;
use memory::{Budget, default_memory};
use ports::Ports;
use screen::Ready;

/// The exit code of a command that a signal ended before it had done its work.
const INTERRUPTED: u8 = 130;

pub(crate) async fn up(said: Up) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    log_to_stderr();
    let files = files()?;
    let budget = budget(&said, files)?;
    let mut signals = Signals::listen()?;
    let ports = Ports::bind(&said).await?;
    let (running, shop) = tokio::select! {
        started = start(&said, budget, ports, begun) => started?,
        // What has begun ends when it is dropped; the next start recovers.
        () = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let node = running.node.clone();
    let ended = tokio::select! {
        ended = keep(&said, shop, &mut signals) => ended,
        ended = node.ended() => Err(node_ended(ended)),
    };
    signals.exit_on_next();
    let stopping = Instant::now();
    let stopped = running.stop().await;
    let ended = ended?;
    stopped?;
    eprintln!(
        "stopped cleanly in {} ms, data kept in {}",
        stopping.elapsed().as_millis(),
        said.data.display()
    );
    Ok(ended)
}

/// What the process may have open, which is as much as it can get, without what it has already.
fn files() -> Result<Files, Failure> {
    let unknown = |e| Failure::failed("the limit of open files is unknown").why(e);
    let limit = raise_open_files().map_err(unknown)?;
    let open = open_files().map_err(unknown)?;
    Files::of(limit, open).map_err(|why| {
        Failure::new(Exit::Usage, "too few files may be open")
            .why(why)
            .hint("more with `ulimit -n`, or LimitNOFILE in a unit of systemd")
    })
}

/// What the node may take of memory, as said or by default.
fn budget(said: &Up, files: Files) -> Result<Budget, Failure> {
    let memory = said.memory.unwrap_or_else(default_memory);
    let budget = Budget::of(memory, said.max_connections, said.max_connections_per_ip);
    let budget = budget.and_then(|budget| budget.within(files));
    budget.map_err(|why| {
        Failure::new(Exit::Usage, "there is not enough memory for this")
            .why(why)
            .hint("more with --memory SIZE")
    })
}

/// Starts everything, or nothing, and says that it is ready.
async fn start(
    said: &Up,
    budget: Budget,
    ports: Ports,
    begun: Instant,
) -> Result<(Running, Option<Shop>), Failure> {
    let mut running = Running::start(said, budget, ports).await?;
    let opened = match said.demo {
        None => Ok(None),
        Some(Demo::Shop) => open_shop(said, &running.engine).await.map(Some),
    };
    let shop = match opened {
        Ok(shop) => shop,
        Err(failure) => {
            running.stop().await?;
            return Err(failure);
        }
    };
    running.ready.fed = shop.as_ref().is_some_and(Shop::was_fed);
    running.ready.elapsed = begun.elapsed();
    running.ready.show()?;
    Ok((running, shop))
}

async fn keep(said: &Up, shop: Option<Shop>, signals: &mut Signals) -> Result<ExitCode, Failure> {
    match shop {
        Some(shop) => keep_shop(said, shop, signals).await,
        None => {
            signals.next().await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn node_ended(ended: Result<(), NodeError>) -> Failure {
    let failure = Failure::failed("the node has ended by itself");
    match ended {
        Ok(()) => failure,
        Err(why) => failure.why(why),
    }
    .hint("the log above says more; a restart recovers what is on disk")
}

async fn open_shop(said: &Up, engine: &Engine) -> Result<Shop, Failure> {
    let options = Options { speed: said.speed.unwrap_or(Speed::DEFAULT) };
    Shop::start(engine, options).await.map_err(shop_failed)
}

fn shop_failed(error: tidings_shop::Error) -> Failure {
    Failure::failed("the shop cannot go on").why(error)
}

/// Runs the shop until it is done, if that is wanted, or until a signal or a failure.
async fn keep_shop(said: &Up, mut shop: Shop, signals: &mut Signals) -> Result<ExitCode, Failure> {
    let done = async {
        if said.until_done {
            shop.until_done().await.map(Some)
        } else {
            Err(shop.until_broken().await)
        }
    };
    let outcome = tokio::select! {
        outcome = done => outcome,
        () = signals.next() => Ok(None),
    };
    // A service that ended by itself says why when it is stopped.
    shop.stop().await.map_err(shop_failed)?;
    let Some(reconciliation) = outcome.map_err(shop_failed)? else {
        // Nothing was reconciled, which a script must not take for success.
        return Ok(if said.until_done { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    };
    if screen::is_terminal() {
        let text = serde_json::to_string_pretty(&reconciliation);
        let text = text.map_err(|e| Failure::failed("no reconciliation can be shown").why(e))?;
        print(&format!("\n{text}\n"))?;
    } else {
        print_json(&reconciliation)?;
    }
    Ok(if reconciliation.reconciled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whatever has to be stopped.
struct Running {
    node: Node,
    server: Arc<Server>,
    engine: Engine,
    console: Console,
    pages: [JoinHandle<std::io::Result<()>>; 2],
    stop_pages: watch::Sender<bool>,
    ready: Ready,
}

impl Running {
    async fn start(said: &Up, budget: Budget, ports: Ports) -> Result<Self, Failure> {
        let Ports { kafka, http, registry } = ports;
        let mut ready = Ready::new(said, &kafka, &http, &registry)?;
        ready.memory = budget.memory;
        let dir = said.data.clone();
        let config = NodeConfig { brokers: said.virtual_brokers, ..budget.node() };
        let opened = tokio::task::spawn_blocking(move || Node::open(dir, config));
        let opened = opened.await.map_err(|e| Failure::failed("the node does not start").why(e))?;
        let (node, report) = opened.map_err(|e| not_opened(said, &e))?;
        ready.report = report;
        let engine = Engine::embedded(node.clone());
        let advertised = ready.advertised.clone();
        let config = ServerConfig { advertised, limits: budget.connections() };
        let server = tidings_server::start(node.clone(), kafka, config)
            .await
            .map_err(|e| Failure::failed("the Kafka listener does not start").why(e))?;
        let server = Arc::new(server);
        let routes = tidings_gateway::registry(engine.clone())
            .await
            .map_err(|e| Failure::failed("the schema registry does not start").why(e))?;
        let (of_node, of_server) = (node.clone(), Arc::downgrade(&server));
        let options = ConsoleOptions {
            version: env!("CARGO_PKG_VERSION"),
            addresses: Addresses { kafka: ready.kafka.clone(), registry: ready.registry.clone() },
            figures: FigureSource::new(move || {
                figures::read(&of_node, of_server.upgrade().as_deref())
            }),
            ..ConsoleOptions::default()
        };
        let console = Console::start(engine.clone(), options).await;
        let (stop_pages, stopped) = watch::channel(false);
        let pages = [(http, console.router()), (registry, routes)].map(|(listener, routes)| {
            serve(listener, routes, budget.http_connections(), stopped.clone())
        });
        Ok(Self { node, server, engine, console, pages, stop_pages, ready })
    }

    async fn stop(self) -> Result<(), Failure> {
        self.console.stop();
        self.stop_pages.send_replace(true);
        for page in self.pages {
            // A connection that outlasts the grace is cut with the process.
            let _ended_or_cut = timeout(STOP_GRACE, page).await;
        }
        drop(self.console);
        if let Some(server) = Arc::into_inner(self.server) {
            server.stop().await;
        }
        self.node.stop().await.map_err(|e| Failure::failed("the node did not stop cleanly").why(e))
    }
}

fn serve(
    listener: TcpListener,
    routes: tidings_gateway::Router,
    connections_max: usize,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<std::io::Result<()>> {
    let stop = async move {
        // An error means that the sender, and so the whole command, is gone.
        let _gone = stopped.wait_for(|stopped| *stopped).await;
    };
    tokio::spawn(tidings_gateway::serve(listener, routes, connections_max, stop))
}

fn not_opened(said: &Up, error: &NodeError) -> Failure {
    let dir = said.data.display();
    match error {
        NodeError::Locked { pid, .. } => {
            Failure::new(Exit::Conflict, format!("the data in {dir} is in use"))
                .why(format!("process {pid} ({}) has it open", holder::name_of(pid)))
                .hint("stop that process, or use other data with --data DIR")
        }
        error => Failure::failed(format!("the data in {dir} cannot be opened"))
            .why(error)
            .hint("other data with --data DIR"),
    }
}

/// Warnings and errors, unless `TIDINGS_LOG` says otherwise.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TIDINGS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::table::colours(&std::io::stderr()))
        .init();
}

/// Ctrl-c and SIGTERM. One more during stopping ends the process at once.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    stopping: bool,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|e| Failure::failed("signals cannot be received").why(e));
        let (interrupt, terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, stopping: false })
    }

    async fn next(&mut self) {
        self.received().await;
        eprintln!("stopping");
        self.exit_on_next();
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// From now on nobody waits for a clean stop once a signal comes.
    fn exit_on_next(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        tokio::spawn(async {
            let Ok(mut again) = Self::listen() else { return };
            again.received().await;
            std::process::exit(i32::from(INTERRUPTED));
        });
    }
}
