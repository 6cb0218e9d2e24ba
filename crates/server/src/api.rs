//! The table of APIs: key, versions, handler. ApiVersions and `docs/protocol.md` derive from it.
//!
//! A [`Handler`] is implemented on the wire's request; its file in `handlers/` holds the protocol's
//! behaviour. [`take_up`] is what they share: find the row, decode, answer, encode.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use tidings_node::NodeError;
use tidings_wire::{Api, DecodeError, EncodeError, Prefix, Request, RequestHeader};

use crate::ErrorCode;
use crate::allowances::Counted;
use crate::context::{Connection, Context, FetchReservation};
use crate::handlers::{api_versions, produce};
use crate::unimplemented;

/// What the server does with one kind of request.
pub(crate) trait Handler: Request + Send + 'static {
    /// Checks the request, asks the node once, and maps the answer.
    fn answer(
        self,
        context: &Context,
        header: &RequestHeader,
    ) -> impl Future<Output = Result<Answered<Self::Response>, NoAnswer>> + Send;

    /// The response that says this error of the whole request, as well as its version can.
    fn refuse(error: ErrorCode) -> Self::Response;
}

/// A response, and what stays reserved for it until it has been written.
#[derive(Debug)]
pub(crate) struct Answered<R> {
    pub(crate) response: R,
    pub(crate) reserved: Option<FetchReservation>,
}

impl<R> From<R> for Answered<R> {
    fn from(response: R) -> Self {
        Self { response, reserved: None }
    }
}

/// Why a request gets no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Produce with acks=0 that succeeded.
    #[error("none wanted")]
    NotWanted,
    /// The connection's end is the only answer that acks=0 leaves.
    #[error("refused without an answer (acks=0): {}", .0.name)]
    Refused(ErrorCode),
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Why a connection is closed by us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    #[error("a request of {said} bytes is outside {min}..={most}", min = crate::limits::FRAME_BYTES_MIN)]
    FrameLength { said: i32, most: usize },
    #[error("malformed {api}: {error}")]
    Malformed { api: &'static str, error: DecodeError },
    #[error("api key {0} is not one of Kafka's")]
    UnknownKey(i16),
    #[error("an answer cannot be written: {0}")]
    Encode(#[from] EncodeError),
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
    #[error("a request did not arrive within {0:?}")]
    SlowRequest(std::time::Duration),
    #[error("no whole request within {0:?} of connecting")]
    NoFirstRequest(std::time::Duration),
    #[error("silent for {0:?}")]
    Idle(std::time::Duration),
    #[error("nothing of an answer was read for {0:?}")]
    Unread(std::time::Duration),
    #[error("an answer was not read within {0:?} while memory is short")]
    UnreadUnderShortage(std::time::Duration),
    #[error("its address makes more connections than its quota allows; held for {0:?}")]
    ConnectionQuota(std::time::Duration),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What happens after a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer { segments: Vec<Bytes>, reserved: Option<FetchReservation> },
    Nothing,
    Close(CloseReason),
}

impl From<Result<Outcome, CloseReason>> for Outcome {
    fn from(result: Result<Self, CloseReason>) -> Self {
        result.unwrap_or_else(Self::Close)
    }
}

/// A request whose turn to be answered will come.
pub(crate) enum Turn {
    Done(Outcome),
    Waiting(Serving),
}

pub(crate) type Serving = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One row: an API, which of its versions are advertised, and its handler.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) api: Api,
    /// Below the API's first version where clients want to see it advertised all the same.
    pub(crate) advertised_min: i16,
    /// For `docs/protocol.md`.
    pub(crate) notes: &'static str,
    serve: fn(Context, Bytes) -> Serving,
    refuse: fn(Prefix, ErrorCode) -> Result<Vec<Bytes>, EncodeError>,
}

const fn row<H: Handler>(notes: &'static str) -> Row {
    Row {
        api: H::API,
        advertised_min: H::API.version_min,
        notes,
        serve: |context, frame| Box::pin(serve_as::<H>(context, frame)),
        refuse: refuse_as::<H>,
    }
}

impl Row {
    const fn advertised_from(mut self, version: i16) -> Self {
        self.advertised_min = version;
        self
    }
}

use tidings_wire as w;

/// Every API that is served, by key.
pub(crate) static TABLE: &[Row] = &[
    row::<w::produce::Request>(
        "Versions 0 to 2 are advertised, because older librdkafka takes their absence for a broker \
         without compression, and refused with UNSUPPORTED_VERSION. acks=1 means the disk, like \
         acks=all. A transactional batch must be part of its producer's transaction; from version 12 \
         it becomes so. Version 13 names topics by their ids.",
    )
    .advertised_from(0),
    row::<w::fetch::Request>(
        "Long poll. Whole batches, the first of them whatever its size. Sessions from version 7, \
         topics by their ids from 13. Read committed ends at the last stable offset and names \
         aborted transactions. Replicas are refused with NOT_LEADER_OR_FOLLOWER.",
    ),
    row::<w::list_offsets::Request>(
        "Latest, earliest, largest timestamp (from version 7) and by timestamp. There is no tiered \
         storage: what is local is everything (from 8), what is remote is nowhere (from 9 and 11).",
    ),
    row::<w::metadata::Request>(
        "Creates missing topics where the client and the broker allow it. One broker, which is \
         the controller, unless more virtual ones are wanted. Lookup by topic id from version 12.",
    ),
    row::<w::offset_commit::Request>(
        "Retention times are not kept per commit. Topics by id in version 10.",
    ),
    row::<w::offset_fetch::Request>(
        "Several groups from version 8. Topics by id in version 10. UNSTABLE_OFFSET_COMMIT where a \
         transaction is not decided.",
    ),
    row::<w::find_coordinator::Request>("Of groups and transactional ids it is this node."),
    row::<w::join_group::Request>("Static members from version 5, MEMBER_ID_REQUIRED from 4."),
    row::<w::heartbeat::Request>(""),
    row::<w::leave_group::Request>("Several members from version 3."),
    row::<w::sync_group::Request>(""),
    row::<w::describe_groups::Request>(
        "Authorized operations are not computed. GROUP_ID_NOT_FOUND from version 6.",
    ),
    row::<w::list_groups::Request>("Filter by state from version 4, by type from 5."),
    row::<w::sasl_handshake::Request>("There is no authentication: ILLEGAL_SASL_STATE."),
    row::<w::api_versions::Request>(
        "Any version is answered; one that is not served with UNSUPPORTED_VERSION in the layout \
         of version 0 (KIP-511). Features with their finalized levels from version 3; those with \
         level 0 are said supported from version 4.",
    ),
    row::<w::create_topics::Request>(
        "The number of partitions and replicas may be left to the broker. As many replicas as there are \
         brokers. Names that differ in . and _ alone collide.",
    ),
    row::<w::delete_topics::Request>("By id from version 6."),
    row::<w::delete_records::Request>(
        "The answer comes when the new start is on disk; files go later.",
    ),
    row::<w::init_producer_id::Request>(
        "Of idempotent and transactional producers. An ongoing transaction is aborted before the \
         answer.",
    ),
    row::<w::offset_for_leader_epoch::Request>(
        "An epoch ends where the next begins; a partition's grows when it may have lost records.",
    ),
    row::<w::add_partitions_to_txn::Request>(
        "Several transactions, as brokers ask, from version 4.",
    ),
    row::<w::add_offsets_to_txn::Request>(""),
    row::<w::end_txn::Request>(
        "One write decides, tells every partition and completes. The epoch is raised from version 5.",
    ),
    row::<w::write_txn_markers::Request>("For transactions that hang."),
    row::<w::txn_offset_commit::Request>(
        "The offsets become part of the transaction from version 5.",
    ),
    row::<w::describe_acls::Request>("There is no authorizer: SECURITY_DISABLED."),
    row::<w::create_acls::Request>("There is no authorizer: SECURITY_DISABLED."),
    row::<w::delete_acls::Request>("There is no authorizer: SECURITY_DISABLED."),
    row::<w::describe_configs::Request>(
        "Topics, this broker and all brokers (\"\"), with synonyms and documentation. Loggers and \
         clients' metrics are refused.",
    ),
    row::<w::alter_configs::Request>(
        "Topics and brokers. Durable when answered; what is not named goes back to its default.",
    ),
    row::<w::alter_replica_log_dirs::Request>(
        "One directory: moving there changes nothing, elsewhere is refused.",
    ),
    row::<w::describe_log_dirs::Request>(
        "The data directory, sizes of partitions as they are, total and free bytes from version 4.",
    ),
    row::<w::sasl_authenticate::Request>("There is no authentication: ILLEGAL_SASL_STATE."),
    row::<w::create_partitions::Request>(
        "Durable when answered. The new partitions can be used at once.",
    ),
    row::<w::create_delegation_token::Request>(
        "Tokens need an authenticated client: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.",
    ),
    row::<w::renew_delegation_token::Request>("As CreateDelegationToken."),
    row::<w::expire_delegation_token::Request>("As CreateDelegationToken."),
    row::<w::describe_delegation_token::Request>("As CreateDelegationToken."),
    row::<w::delete_groups::Request>(""),
    row::<w::elect_leaders::Request>("The first replica leads always: ELECTION_NOT_NEEDED."),
    row::<w::incremental_alter_configs::Request>(
        "Topics and brokers; SET, DELETE, APPEND and SUBTRACT. Durable when answered.",
    ),
    row::<w::alter_partition_reassignments::Request>(
        "No data moves: done at once. With one broker only its own id is taken.",
    ),
    row::<w::list_partition_reassignments::Request>("None is ever under way."),
    row::<w::offset_delete::Request>(""),
    row::<w::describe_client_quotas::Request>("Of users, client ids and addresses."),
    row::<w::alter_client_quotas::Request>(
        "Of users, client ids and addresses, which are not looked up by name. Everybody is the user \
         ANONYMOUS. Durable when answered.",
    ),
    row::<w::describe_user_scram_credentials::Request>("No user has any: RESOURCE_NOT_FOUND."),
    row::<w::alter_user_scram_credentials::Request>("Not kept: UNSUPPORTED_SASL_MECHANISM."),
    row::<w::describe_quorum::Request>(
        "This node is the only voter; the log is that of its own metadata.",
    ),
    row::<w::update_features::Request>("All or none. An unknown upgrade type is refused."),
    row::<w::describe_cluster::Request>(
        "Brokers only: controllers have no listener (MISMATCHED_ENDPOINT_TYPE).",
    ),
    row::<w::describe_producers::Request>(""),
    row::<w::unregister_broker::Request>(
        "The brokers are this process: INVALID_REQUEST, others BROKER_ID_NOT_REGISTERED.",
    ),
    row::<w::describe_transactions::Request>(""),
    row::<w::list_transactions::Request>(
        "By state, producer id, duration (from version 1) and pattern (from version 2).",
    ),
    row::<w::consumer_group_heartbeat::Request>("Assignors uniform and range."),
    row::<w::consumer_group_describe::Request>("Authorized operations are not computed."),
    row::<w::list_config_resources::Request>("Every topic and this broker."),
    row::<w::describe_topic_partitions::Request>(
        "Page by page, at most 2,000 partitions each. Every operation is authorized.",
    ),
];

/// The row of a key.
pub(crate) fn find(key: i16) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.api.key == key)
}

/// Keys whose answers are about as large as their requests, or have a limit of their own: many may be
/// under way on a connection. Every other answer is worked out alone.
const BRIEF: &[i16] = &[
    w::produce::API.key,
    w::fetch::API.key,
    w::offset_commit::API.key,
    w::find_coordinator::API.key,
    w::join_group::API.key,
    w::heartbeat::API.key,
    w::leave_group::API.key,
    w::sync_group::API.key,
    w::api_versions::API.key,
    w::init_producer_id::API.key,
    w::add_partitions_to_txn::API.key,
    w::add_offsets_to_txn::API.key,
    w::end_txn::API.key,
    w::txn_offset_commit::API.key,
    w::consumer_group_heartbeat::API.key,
];

/// Whether the answer to a frame may be much larger than the frame.
pub(crate) fn answers_at_length(frame: &Bytes) -> bool {
    Prefix::decode(frame)
        .is_ok_and(|prefix| !BRIEF.contains(&prefix.key) && find(prefix.key).is_some())
}

/// Answers one request frame, waiting for its outcome.
pub(crate) async fn answer(connection: &Arc<Connection>, frame: Bytes) -> Outcome {
    let (context, _passed) = Context::new(Arc::clone(connection));
    serve(context, connection, frame).await
}

/// Takes up one request frame: polls it until it has its outcome, or until the node has it and the
/// next request may be taken up.
pub(crate) async fn take_up(connection: &Arc<Connection>, frame: Bytes) -> Turn {
    let (context, passed) = Context::new(Arc::clone(connection));
    let mut serving = serve(context, connection, frame);
    let outcome = poll_fn(|task| match serving.as_mut().poll(task) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if passed.load(Ordering::Relaxed) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match outcome.await {
        Some(outcome) => Turn::Done(outcome),
        None => Turn::Waiting(serving),
    }
}

fn serve(context: Context, connection: &Connection, frame: Bytes) -> Serving {
    let peer = connection.peer;
    let prefix = match Prefix::decode(&frame) {
        Ok(prefix) => prefix,
        Err(error) => return close(CloseReason::Malformed { api: "header", error }),
    };
    match find(prefix.key) {
        Some(row) if row.api.knows(prefix.version) => (row.serve)(context, frame),
        Some(row) => {
            let Prefix { version, .. } = prefix;
            tracing::info!(%peer, api = row.api.name, version, "unsupported version");
            ready(refuse_version(row, prefix, frame).into())
        }
        None => match unimplemented::answer(prefix) {
            Some((api, answer)) => {
                let Prefix { key, version, .. } = prefix;
                if let Some(left_out) = connection.lines.may_say() {
                    tracing::warn!(%peer, key, api, version, left_out, "not implemented");
                }
                let answer = answer.map(|segments| Outcome::Answer { segments, reserved: None });
                ready(answer.map_err(CloseReason::from).into())
            }
            None => close(CloseReason::UnknownKey(prefix.key)),
        },
    }
}

fn refuse_version(row: &Row, prefix: Prefix, frame: Bytes) -> Result<Outcome, CloseReason> {
    let error = ErrorCode::UNSUPPORTED_VERSION;
    let segments = if row.api.key == w::api_versions::API.key {
        api_versions::answer_unknown_version(prefix)?
    } else if row.api.key == w::produce::API.key
        && (0..row.api.version_min).contains(&prefix.version)
    {
        match produce::refuse_old(prefix, frame)
            .map_err(|error| CloseReason::Malformed { api: row.api.name, error })?
        {
            Some(answer) => answer?,
            None => return Err(NoAnswer::Refused(error).into()),
        }
    } else {
        (row.refuse)(prefix, error)?
    };
    Ok(Outcome::Answer { segments, reserved: None })
}

fn ready(outcome: Outcome) -> Serving {
    Box::pin(std::future::ready(outcome))
}

fn close(reason: CloseReason) -> Serving {
    ready(Outcome::Close(reason))
}

async fn serve_as<H: Handler>(context: Context, frame: Bytes) -> Outcome {
    let Counted { header, request, held } = match context.elements().decode::<H>(frame).await {
        Ok(counted) => counted,
        Err(error) => {
            return Outcome::Close(CloseReason::Malformed { api: H::API.name, error });
        }
    };
    context.asked_by(header.client_id.as_deref());
    // A fetch may wait for minutes; how many partitions those name is the broker's to bound.
    let _held = (H::API.key != w::fetch::API.key).then_some(held);
    let Answered { mut response, reserved } = match request.answer(&context, &header).await {
        Ok(answered) => answered,
        Err(NoAnswer::NotWanted) => {
            context.begin_pause();
            return Outcome::Nothing;
        }
        Err(no_answer) => return Outcome::Close(no_answer.into()),
    };
    H::set_throttle(&mut response, context.begin_pause());
    match tidings_wire::encode_response::<H>(header.version, header.correlation_id, &response) {
        Ok(segments) => Outcome::Answer { segments, reserved },
        Err(error) => Outcome::Close(error.into()),
    }
}

/// In the layout of the version nearest to the one asked for.
fn refuse_as<H: Handler>(prefix: Prefix, error: ErrorCode) -> Result<Vec<Bytes>, EncodeError> {
    let version = prefix.version.clamp(H::API.version_min, H::API.version_max);
    tidings_wire::encode_response::<H>(version, prefix.correlation_id, &H::refuse(error))
}
