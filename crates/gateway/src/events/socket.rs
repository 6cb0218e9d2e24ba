//! `GET /api/topics/{topic}/events/socket`: a stream over a WebSocket.
//!
//! Messages are text: `{"cursor":…,"record":{…}}`, where the record is a line of the server-sent stream, and
//! `{"cursor":…}` for a heartbeat. A stream that the server ends is closed with 1008 (the client is too slow),
//! 1011 (the engine failed) or 1001 (the server stops), and the reason. A client has nothing to say but
//! to close.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Events;
use super::follow::{Asked, Following, Message, follow, stalled};
use crate::limits::{EVENT_STALL_MAX, SOCKET_MESSAGE_BYTES_MAX};
use crate::trouble::{ApiTrouble, Trouble};

const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;
const INTERNAL: u16 = 1011;
/// Bytes of a close frame's reason, by RFC 6455, section 5.5.
const REASON_BYTES_MAX: usize = 123;

pub(super) async fn socket(
    State(events): State<Arc<Events>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiTrouble> {
    let (Path(topic), Query(asked)) = (path?, asked?);
    let upgrade = upgrade.map_err(|rejection| {
        Trouble::new(rejection.status(), rejection.body_text())
            .hint("connect with a WebSocket, or leave out /socket for server-sent events")
    })?;
    let following = follow(&events, &topic, asked).await?;
    let upgrade = upgrade.max_message_size(SOCKET_MESSAGE_BYTES_MAX);
    Ok(upgrade
        .max_frame_size(SOCKET_MESSAGE_BYTES_MAX)
        .on_upgrade(|socket| converse(socket, following)))
}

/// Hands messages over until either side ends it.
async fn converse(mut socket: WebSocket, mut following: Following) {
    let close = loop {
        let message = tokio::select! {
            message = following.messages.recv() => message,
            heard = socket.recv() => match heard {
                // Pings are answered below; anything else is not for us.
                Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Text(_) | Frame::Binary(_))) => continue,
                Some(Ok(Frame::Close(_))) => {
                    // Reading on is what sends the answer.
                    let _answered_or_gone = timeout(EVENT_STALL_MAX, socket.recv()).await;
                    return;
                }
                Some(Err(_)) | None => return,
            },
        };
        let text = match message {
            Some(Message::Line { cursor, line }) => {
                format!("{{\"cursor\":{},\"record\":{line}}}", Value::from(cursor))
            }
            Some(Message::Still { cursor }) => json!({ "cursor": cursor }).to_string(),
            Some(Message::Closed(trouble)) => break frame(INTERNAL, &trouble.detail),
            None if *following.stalled.borrow() => break frame(POLICY, &stalled().detail),
            None => break frame(GOING_AWAY, "the server stops"),
        };
        match timeout(EVENT_STALL_MAX, socket.send(Frame::Text(text.into()))).await {
            Ok(Ok(())) => {}
            // Gone, or not reading: there is nobody to tell.
            Ok(Err(_)) | Err(_) => return,
        }
    };
    // Whoever does not take this is cut off without it.
    let _told_or_not = timeout(EVENT_STALL_MAX, socket.send(Frame::Close(Some(close)))).await;
}

fn frame(code: u16, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code, reason: reason[..end].into() }
}
