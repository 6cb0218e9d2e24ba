//! DeleteTopics, 1 to 6: topics with their records; from version 6 by name or by id (KIP-516).
//!
//! A topic named by both, by neither or more than once gets INVALID_REQUEST, and an unknown id
//! UNKNOWN_TOPIC_ID. Where topics may not be deleted, each gets TOPIC_DELETION_DISABLED, below
//! version 3 INVALID_REQUEST. From version 5 a client that has used its quota up gets
//! THROTTLING_QUOTA_EXCEEDED (KIP-599); before, it is slowed down.

use std::collections::HashMap;

use tidings_broker::{DeletedTopic, TopicName};
use tidings_wire::RequestHeader;
use tidings_wire::delete_topics::{Request, Response, Topic, TopicResponse};

use crate::ErrorCode;
use crate::api::{Answered, Handler, NoAnswer};
use crate::context::{Context, over_quota};
use crate::error_code::{Refusal, code_of};

const TOPICS_SINCE: i16 = 6;
const DELETION_DISABLED_SINCE: i16 = 3;

const REFUSED_FOR_QUOTA_SINCE: i16 = 5;

impl Handler for Request {
    async fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> Result<Answered<Response>, NoAnswer> {
        let mut responses = Vec::new();
        let mut topics = Vec::new();
        if header.version >= TOPICS_SINCE {
            for topic in self.topics {
                match name_of(topic) {
                    Ok(name) => topics.push(name),
                    Err(refused) => responses.push(refused),
                }
            }
        } else {
            topics.extend(self.topic_names.into_iter().map(TopicName::Name));
        }
        responses.extend(take_repeated(&mut topics).into_iter().map(repeated));
        let deleted = context
            .ask_within(
                over_quota(header.version, REFUSED_FOR_QUOTA_SINCE),
                tidings_broker::DeleteTopics { topics },
            )
            .await?;
        responses.extend(deleted.into_iter().map(respond));
        if header.version < DELETION_DISABLED_SINCE {
            for response in &mut responses {
                if response.error_code == ErrorCode::TOPIC_DELETION_DISABLED.code {
                    response.error_code = ErrorCode::INVALID_REQUEST.code;
                }
            }
        }
        Ok(Response { responses, ..Response::default() }.into())
    }

    fn refuse(_error: ErrorCode) -> Response {
        Response::default()
    }
}

fn name_of(topic: Topic) -> Result<TopicName, TopicResponse> {
    match topic.name {
        Some(name) if topic.topic_id == [0; 16] => Ok(TopicName::Name(name)),
        None if topic.topic_id != [0; 16] => Ok(TopicName::Id(topic.topic_id)),
        name => Err(TopicResponse {
            name,
            topic_id: topic.topic_id,
            error_code: ErrorCode::INVALID_REQUEST.code,
            error_message: Some("a topic is named either by name or by id".into()),
        }),
    }
}

/// Takes out what is named more than once, each once.
fn take_repeated(topics: &mut Vec<TopicName>) -> Vec<TopicName> {
    let mut times: HashMap<TopicName, usize> = HashMap::new();
    for topic in topics.iter() {
        *times.entry(topic.clone()).or_default() += 1;
    }
    topics.retain(|topic| times.get(topic) == Some(&1));
    times.into_iter().filter(|(_, times)| *times > 1).map(|(topic, _)| topic).collect()
}

fn repeated(topic: TopicName) -> TopicResponse {
    let (name, topic_id) = match topic {
        TopicName::Name(name) => (Some(name), [0; 16]),
        TopicName::Id(id) => (None, id),
    };
    TopicResponse {
        name,
        topic_id,
        error_code: ErrorCode::INVALID_REQUEST.code,
        error_message: Some("a topic is named more than once".into()),
    }
}

fn respond(deleted: DeletedTopic) -> TopicResponse {
    let error_code = code_of(&deleted.outcome);
    match (deleted.outcome, deleted.asked) {
        (Ok((name, topic_id)), _) => {
            TopicResponse { name: Some(name), topic_id, error_code, error_message: None }
        }
        (Err(refused), TopicName::Name(name)) => TopicResponse {
            name: Some(name),
            error_code,
            error_message: Some(refused.text()),
            ..TopicResponse::default()
        },
        (Err(refused), TopicName::Id(topic_id)) => {
            TopicResponse { name: None, topic_id, error_code, error_message: Some(refused.text()) }
        }
    }
}
