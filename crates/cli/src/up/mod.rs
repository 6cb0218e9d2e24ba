//! `tidings up`: a node with its Kafka listener, or a cluster; on it registry, console and demo, in
//! dependency order.
//!
//! All ports are bound before the data directory is touched or the cluster asked, so a taken port leaves
//! nothing behind. Stopping goes the other way round: the demo's services, HTTP, Kafka, then the node.

mod access;
pub(crate) mod figures;
mod files;
mod holder;
mod memory;
mod ports;
mod screen;
mod under;

use std::process::ExitCode;
use std::time::Instant;

use tidings_console::{Addresses, Console, ConsoleOptions};
use tidings_engine::Engine;
use tidings_node::{open_files, raise_open_files};
use tidings_otlp::{Exporter, Exporting, Refused, Spans, Wanted};
use tidings_shop::{Options, Shop, Speed};
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{print, print_json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::args::{Demo, LogFormat, Up};
use crate::command::objectives;
use crate::limits::STOP_GRACE;
use files::Files;
pub(crate) use holder::name_of as process_name;
pub(crate) use memory::Size;
use memory::{Budget, default_memory};
use ports::Ports;
use screen::{OfCluster, OfNode, Ready, Stands};
use under::Under;

/// The exit code of a command that a signal ended before it had done its work.
const INTERRUPTED: u8 = 130;

pub(crate) async fn up(said: Up) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    let wanted = Wanted::of(said.otlp_endpoint.as_deref(), |name| std::env::var(name).ok());
    let wanted = wanted.map_err(not_exported)?;
    let (exporter, spans) = wanted.map(Exporter::new).unzip();
    log_to_stderr(said.log_format, spans);
    let files = files()?;
    let meant = Meant::of(&said, files)?;
    let mut signals = Signals::listen()?;
    let ports = Ports::bind(&said).await?;
    let (running, shop) = tokio::select! {
        started = start(&said, meant, ports, exporter, begun) => started?,
        // What has begun ends when it is dropped; the next start recovers.
        () = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let ended = tokio::select! {
        ended = keep(&said, shop, &mut signals) => ended,
        ended = running.under.ended() => Err(ended),
    };
    signals.exit_on_next();
    let stopping = Instant::now();
    let stopped = running.stop().await;
    let ended = ended?;
    stopped?;
    let kept = match said.engine {
        None => format!("data kept in {}", said.data.display()),
        Some(_) => "all records are the cluster's".to_owned(),
    };
    eprintln!("stopped cleanly in {} ms, {kept}", stopping.elapsed().as_millis());
    Ok(ended)
}

fn not_exported(refused: Refused) -> Failure {
    let Refused { name, why, hint } = refused;
    let failure = Failure::new(Exit::Usage, format!("{name} cannot be used as it is said"));
    if hint.is_empty() { failure.why(why) } else { failure.why(why).hint(hint) }
}

/// What everything else shall stand on.
enum Meant<'s> {
    Node(Budget),
    /// The cluster of a URL; each HTTP listener may have so many connections.
    Cluster(&'s str, usize),
}

impl<'s> Meant<'s> {
    fn of(said: &'s Up, files: Files) -> Result<Self, Failure> {
        match &said.engine {
            None => budget(said, files).map(Self::Node),
            Some(url) => Ok(Self::Cluster(url, files.http)),
        }
    }
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
    meant: Meant<'_>,
    ports: Ports,
    exporter: Option<Exporter>,
    begun: Instant,
) -> Result<(Running, Option<Shop>), Failure> {
    let mut running = Running::start(said, meant, ports, exporter).await?;
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
    under: Under,
    engine: Engine,
    console: Console,
    exporting: Option<Exporting>,
    pages: [JoinHandle<std::io::Result<()>>; 2],
    stop_pages: watch::Sender<bool>,
    ready: Ready,
}

impl Running {
    async fn start(
        said: &Up,
        meant: Meant<'_>,
        ports: Ports,
        exporter: Option<Exporter>,
    ) -> Result<Self, Failure> {
        let objectives = objectives(&said.slo)?;
        let access = access::access(said, &ports)?;
        let Ports { kafka, http, registry } = ports;
        let (stands, under, engine, connections_max) = match meant {
            Meant::Node(budget) => {
                let mut shown = OfNode::new(said, &kafka, budget.memory)?;
                let advertised = shown.advertised.clone();
                let (under, engine, report) =
                    under::start_node(said, &budget, kafka, advertised).await?;
                shown.report = report;
                (Stands::OnNode(shown), under, engine, budget.http_connections())
            }
            Meant::Cluster(url, connections_max) => {
                let (under, engine) = under::connect(url).await?;
                let shown = OfCluster::new(&engine);
                (Stands::OnCluster(shown), under, engine, connections_max)
            }
        };
        let ready = Ready::new(said, stands, &http, &registry)?;
        let routes = tidings_gateway::registry(engine.clone())
            .await
            .map_err(|e| Failure::failed("the schema registry does not start").why(e))?;
        let counter = exporter.as_ref().map(Exporter::counter);
        let of_exporter = move || {
            let counted = counter.as_ref().map(|counter| counter.read());
            counted.map_or_else(Vec::new, figures::of_exporter)
        };
        let options = ConsoleOptions {
            version: env!("CARGO_PKG_VERSION"),
            addresses: Addresses { log: ready.log(), registry: ready.registry.clone() },
            figures: under.figures().and(of_exporter),
            objectives,
            access: access.clone(),
            ..ConsoleOptions::default()
        };
        let console = Console::start(engine.clone(), options).await;
        let metrics = console.metrics();
        let exporting = exporter.map(|exporter| exporter.start(move || metrics.read()));
        let (stop_pages, stopped) = watch::channel(false);
        let pages = [(http, console.router()), (registry, access.guard(routes))]
            .map(|(listener, routes)| serve(listener, routes, connections_max, stopped.clone()));
        Ok(Self { under, engine, console, exporting, pages, stop_pages, ready })
    }

    async fn stop(self) -> Result<(), Failure> {
        if let Some(exporting) = self.exporting {
            exporting.stop().await;
        }
        self.console.stop();
        self.stop_pages.send_replace(true);
        for page in self.pages {
            // A connection that outlasts the grace is cut with the process.
            let _ended_or_cut = timeout(STOP_GRACE, page).await;
        }
        drop(self.console);
        self.under.stop().await
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

/// Warnings and errors, unless `TIDINGS_LOG` says otherwise.
///
/// What is exported is filtered by itself: spans go to a collector whatever is logged.
fn log_to_stderr(format: LogFormat, spans: Option<Spans>) {
    let filter = EnvFilter::try_from_env("TIDINGS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Text => {
            log.with_ansi(tidings_terminal::table::colours(&std::io::stderr())).boxed()
        }
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let spans = spans.map(|spans| spans.with_filter(Spans::filter()));
    tracing_subscriber::registry().with(log.with_filter(filter)).with(spans).init();
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
