//! Kafka Streams: a word count, exactly once, over a kill of the broker and of its own first instance.

use tempfile::TempDir;
use tidings_compat::{Conversation, Server};

use super::{PATIENCE, java};

#[test]
fn words_are_counted_exactly_once() {
    let mut server = Server::start().expect("the server starts");
    let folder = TempDir::new().expect("a folder");
    let mut command = java("streams.WordCount");
    command.arg(server.kafka()).arg(folder.path());
    let mut talk = Conversation::start(&mut command, PATIENCE).expect("it starts");
    talk.expect("half").expect("half of the words are counted");
    server.kill_and_restart().expect("the server starts again");
    let said = talk.finish().expect("the program ends").success().expect("the program is content");
    assert_eq!(said.last().map(String::as_str), Some("ok"), "{said:?}");
}
