//! The dashboard's loop: looks in a task, keys from a thread, a picture after either.
//!
//! The terminal is given back whatever ends the dashboard: a key, a signal, a failure, a panic. A look that fails is said
//! on the screen, and tried again.

use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tidings_terminal::failure::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::board::Board;
use super::draw::{About, draw};
use super::sample::{Reports, Sample};
use super::screen::{Asked, Screen};
use crate::args::Top;
use crate::client::Client;
use crate::limits::{TOP_EVENTS_AHEAD, TOP_KEY_WAIT};

/// How often at most.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// What a look found.
type Looked = Result<(Sample, Vec<tidings::Report>), Failure>;

/// Gives the terminal back.
struct Borrowed(DefaultTerminal);

impl Drop for Borrowed {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

pub(super) async fn run(said: Top) -> Result<(), Failure> {
    // Who cannot be reached at all is told on a plain screen.
    let client = Client::connect(&said.common.kafka).await?;
    let every = said.every.0.max(EVERY_MIN);
    let colours = tidings_terminal::table::colours(&std::io::stdout());
    let about = About { kafka: &said.common.kafka, every_seconds: every.as_secs(), colours };
    let unheard = |e| Failure::failed("signals cannot be received").why(e);
    let mut terminated = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(unheard)?;

    // A panic of whatever thread gives the terminal back first, by ratatui's hook.
    let drawn_on = ratatui::try_init();
    let drawn_on = drawn_on.map_err(|e| Failure::failed("the terminal cannot be drawn on").why(e));
    let mut terminal = Borrowed(drawn_on?);
    let (pause, paused) = watch::channel(false);
    let (sender, mut looks) = mpsc::channel(1);
    let looking = tokio::spawn(look(client, every, paused, sender));
    let mut keys = keys();
    let (mut board, mut screen) = (Board::default(), Screen::default());
    let undrawn = |e| Failure::failed("the terminal cannot be drawn on").why(e);
    loop {
        terminal.0.draw(|frame| draw(frame, &board, &screen, &about)).map_err(undrawn)?;
        tokio::select! {
            looked = looks.recv() => match looked {
                Some(Ok((sample, reports))) => board.take(sample, &reports),
                Some(Err(failure)) => board.fail(failure.to_string().replace('\n', " ")),
                None => return Err(Failure::failed("the dashboard's looks have ended")),
            },
            event = keys.recv() => match event {
                Some(Event::Key(key)) => {
                    if screen.key(key, &board) == Asked::Quit {
                        break;
                    }
                    pause.send_replace(screen.paused);
                }
                // A new size, or a focus: it is drawn anew.
                Some(_) => {}
                None => break,
            },
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
    }
    looking.abort();
    Ok(())
}

/// Looks again and again; none while it is paused.
async fn look(
    mut client: Client,
    every: Duration,
    mut paused: watch::Receiver<bool>,
    looks: mpsc::Sender<Looked>,
) {
    let mut reports = Reports::default();
    loop {
        if paused.wait_for(|paused| !paused).await.is_err() {
            return;
        }
        let looked = async {
            let sample = Sample::take(&mut client).await?;
            let reports = reports.read(&mut client, &sample).await?;
            Ok((sample, reports))
        };
        if looks.send(looked.await).await.is_err() {
            return;
        }
        sleep(every).await;
    }
}

/// Keys and changes of size, from a thread that waits for them and ends when nobody listens.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(TOP_EVENTS_AHEAD);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let read = match event::poll(TOP_KEY_WAIT) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            // Without keys nothing can be asked: the dashboard ends.
            let Ok(event) = read else { return };
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}
