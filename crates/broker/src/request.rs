//! What can be asked of the broker, and the answers. Version-free: `server` translates Kafka's
//! wire into these, `engine` calls them directly.

use bytes::Bytes;
pub use tidings_coordinator::{
    AboutMember, Beat, CommitOffsets, CommitPartition, Committed, CommittedPartition,
    ConsumerHeartbeat, ConsumerMember, DeleteGroups, DeleteOffsets, DeletedOffset,
    DescribeConsumerGroups, DescribeGroups, DescribedConsumerGroup, DescribedGroup, FetchOffsets,
    FetchedOffset, GroupMember, Heartbeat, JoinGroup, Joined, LeaveGroup, LeftMember, ListGroups,
    ListedGroup, NamedPartitions, Partitions, SyncGroup, Synced, TopicId, TopicName, WantedOffsets,
};

use crate::{
    AddOffsets, AddPartitions, AddedPartition, AlterQuotas, Alteration, CommitInTransaction,
    CommitInTransactionRefused, ConfigEntry, ConnectionOpened, CreatePartitions,
    DeleteRecordsRefused, DescribeFeatures, DescribeMetadataLog, DescribeProducers, DescribeQuotas,
    DescribeTransactions, DescribedProducers, DescribedQuota, DescribedTransaction, EndTransaction,
    Features, FeaturesRefused, FetchRefused, FetchSessionRefused, GroupRefused, GrownTopic,
    InitTransactions, ListTransactions, ListedTransactions, MetadataLog, ProduceRefused,
    QuotaRefused, Reassign, Reassigned, TopicRefused, TransactionRefused, UpdateFeatures,
    WriteMarkers, WrittenMarker,
};

/// A request of type `Self::Reply`; one impl per struct below.
pub trait Call: Sized {
    type Reply;
    fn into_request(self) -> Request;
    fn from_reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! calls {
    ($($name:ident => $reply:ty),+ $(,)?) => {
        #[derive(Clone, Debug)]
        pub enum Request { $($name($name)),+ }
        #[derive(Clone, Debug)]
        pub enum Reply { $($name($reply)),+ }
        $(impl Call for $name {
            type Reply = $reply;
            fn into_request(self) -> Request { Request::$name(self) }
            fn from_reply(reply: Reply) -> Option<$reply> {
                match reply { Reply::$name(reply) => Some(reply), _ => None }
            }
        })+
        impl Request {
            /// The request's name, for logs and figures.
            pub fn name(&self) -> &'static str {
                match self { $(Request::$name(_) => stringify!($name)),+ }
            }
        }
    };
}

calls! {
    DescribeTopics => Vec<TopicAnswer>,
    CreateTopics => Vec<CreatedTopic>,
    DeleteTopics => Vec<DeletedTopic>,
    DescribeConfigs => Vec<DescribedConfigs>,
    DescribeFeatures => Features,
    DescribeMetadataLog => MetadataLog,
    CreatePartitions => Vec<GrownTopic>,
    Reassign => Vec<Reassigned>,
    UpdateFeatures => Result<(), FeaturesRefused>,
    AlterConfigs => Vec<(ConfigResource, Result<(), TopicRefused>)>,
    ListConfigResources => Vec<ConfigResource>,
    DescribeQuotas => Result<Vec<DescribedQuota>, QuotaRefused>,
    AlterQuotas => Vec<Result<(), QuotaRefused>>,
    ConnectionOpened => u64,
    Produce => Vec<Produced>,
    Fetch => Vec<Fetched>,
    FetchInSession => Result<SessionFetched, FetchSessionRefused>,
    ListOffsets => Vec<ListedOffset>,
    EndsOfEpochs => Vec<EndOfEpoch>,
    DeleteRecords => Vec<DeletedRecords>,
    InitProducer => Result<ProducerIdentity, ProduceRefused>,
    InitTransactions => Result<ProducerIdentity, TransactionRefused>,
    AddPartitions => Vec<AddedPartition>,
    AddOffsets => Result<(), TransactionRefused>,
    EndTransaction => Result<ProducerIdentity, TransactionRefused>,
    CommitInTransaction => Result<Vec<CommittedPartition>, CommitInTransactionRefused>,
    WriteMarkers => Vec<WrittenMarker>,
    DescribeTransactions => Vec<DescribedTransaction>,
    ListTransactions => Result<ListedTransactions, TransactionRefused>,
    DescribeProducers => Vec<DescribedProducers>,
    JoinGroup => Result<Joined, GroupRefused>,
    SyncGroup => Result<Synced, GroupRefused>,
    Heartbeat => Result<(), GroupRefused>,
    LeaveGroup => Result<Vec<LeftMember>, GroupRefused>,
    ConsumerHeartbeat => Result<Beat, GroupRefused>,
    CommitOffsets => Result<Vec<CommittedPartition>, GroupRefused>,
    FetchOffsets => Result<Vec<FetchedOffset>, GroupRefused>,
    DeleteOffsets => Result<Vec<DeletedOffset>, GroupRefused>,
    ListGroups => Vec<ListedGroup>,
    DescribeGroups => Vec<DescribedGroup>,
    DescribeConsumerGroups => Vec<(String, Result<DescribedConsumerGroup, GroupRefused>)>,
    DeleteGroups => Vec<(String, Result<(), GroupRefused>)>,
}

/// Which topics [`DescribeTopics`] means.
#[derive(Clone, Debug)]
pub enum Topics {
    All,
    These(Vec<TopicName>),
}

/// Topics with their partitions; missing ones are created first when `auto_create` says so.
#[derive(Clone, Debug)]
pub struct DescribeTopics {
    pub topics: Topics,
    pub auto_create: bool,
}

#[derive(Clone, Debug)]
pub struct TopicAnswer {
    pub asked: TopicName,
    pub topic: Result<TopicDescription, TopicRefused>,
}

#[derive(Clone, Debug)]
pub struct TopicDescription {
    pub name: String,
    pub id: TopicId,
    pub internal: bool,
    /// Indexed by partition id.
    pub partitions: Vec<PartitionDescription>,
}

#[derive(Clone, Debug)]
pub struct PartitionDescription {
    pub leader_epoch: i32,
    pub start_offset: i64,
    pub high_watermark: i64,
    pub size_bytes: u64,
    /// False when its log or the journal has failed: it takes no more appends.
    pub writable: bool,
    /// The brokers that it is said to be on, all in sync; the first leads it.
    pub replicas: Vec<i32>,
}

impl PartitionDescription {
    pub fn leader(&self) -> Option<i32> {
        self.replicas.first().copied()
    }
}

#[derive(Clone, Debug)]
pub struct CreateTopics {
    pub topics: Vec<NewTopic>,
    /// Check only; create nothing.
    pub validate_only: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    pub name: String,
    /// None: the broker's default.
    pub partitions: Option<i32>,
    /// None: the broker's default. At most as many as there are brokers.
    pub replication: Option<i16>,
    /// Explicit replica assignment, when the client sent one: partition id → broker ids.
    pub assignment: Vec<(i32, Vec<i32>)>,
    pub configs: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug)]
pub struct CreatedTopic {
    pub name: String,
    pub outcome: Result<TopicCreation, TopicRefused>,
}

#[derive(Clone, Debug)]
pub struct TopicCreation {
    /// All zero under `validate_only`.
    pub id: TopicId,
    pub partitions: i32,
    pub replicas: i16,
    pub configs: Vec<ConfigEntry>,
}

#[derive(Clone, Debug)]
pub struct DeleteTopics {
    pub topics: Vec<TopicName>,
}

#[derive(Clone, Debug)]
pub struct DeletedTopic {
    pub asked: TopicName,
    pub outcome: Result<(String, TopicId), TopicRefused>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    Topic(String),
    Broker(String),
    /// A consumer group; that it is there does not matter.
    Group(String),
    /// A resource type that this node has no configuration for.
    Other {
        kind: i8,
        name: String,
    },
}

#[derive(Clone, Debug)]
pub struct DescribeConfigs {
    /// The names wanted; none means all.
    pub resources: Vec<(ConfigResource, Option<Vec<String>>)>,
}

#[derive(Clone, Debug)]
pub struct DescribedConfigs {
    pub resource: ConfigResource,
    pub configs: Result<Vec<ConfigEntry>, TopicRefused>,
}

/// Changes configuration; every resource has its own outcome, in the order of the request.
#[derive(Clone, Debug)]
pub struct AlterConfigs {
    pub resources: Vec<(ConfigResource, Alteration)>,
    /// Check only; change nothing.
    pub validate_only: bool,
}

/// Asks what has a configuration: topics, this broker, groups of which something was said.
#[derive(Clone, Debug)]
pub struct ListConfigResources;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// As soon as it is decided. What follows it in the journal is durable after it, so who waits for that need
    /// not wait twice.
    None,
    /// One and all mean the same here: on disk.
    Durable,
}

#[derive(Clone, Debug)]
pub struct Produce {
    pub acks: Acks,
    /// Set when the client named a transactional id.
    pub transaction: Option<ProduceTransaction>,
    /// zstd is refused below Produce v7.
    pub zstd_allowed: bool,
    pub partitions: Vec<ProducePartition>,
}

/// Whose transaction the transactional batches of a request are part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTransaction {
    pub transactional_id: String,
    /// A partition becomes part of it with its first batch (KIP-890); otherwise it must be already.
    pub adds: bool,
}

#[derive(Clone, Debug)]
pub struct ProducePartition {
    pub topic: TopicName,
    pub partition: i32,
    /// What the client sent: must be exactly one batch, magic 2.
    pub batch: Bytes,
}

#[derive(Clone, Debug)]
pub struct Produced {
    pub topic: TopicName,
    pub partition: i32,
    pub outcome: Result<ProducedAt, ProduceRefused>,
    /// Of a refusal by the log or by what its topic asks of records: where the log starts.
    pub refused_from: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedAt {
    pub base_offset: i64,
    pub log_start_offset: i64,
    /// Set when the topic uses log append time.
    pub log_append_time_ms: Option<i64>,
}

/// Whether a reader is shown records of transactions that have not been committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    #[default]
    Uncommitted,
    /// Only what is below the last stable offset, and told which transactions were aborted.
    Committed,
}

#[derive(Clone, Debug)]
pub struct Fetch {
    pub isolation: Isolation,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: u32,
    pub min_bytes: usize,
    pub max_bytes: usize,
    pub partitions: Vec<FetchPartition>,
}

/// A fetch that begins or carries on a session, in which only what has changed is said (KIP-227).
#[derive(Clone, Debug)]
pub struct FetchInSession {
    pub step: SessionStep,
    /// Its topics are named by their ids, or else by their names.
    pub by_id: bool,
    /// The partitions of a new session, or those that come or change.
    pub fetch: Fetch,
    /// The partitions that go.
    pub forgotten: Vec<(TopicName, i32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStep {
    /// A session begins, if there is room; the one with this id ends.
    Begin { ends: i32 },
    /// A fetch outside any session; the one with this id ends.
    End { ends: i32 },
    /// The next fetch of the session; the epoch counts its fetches.
    Next { id: i32, epoch: i32 },
}

#[derive(Clone, Debug)]
pub struct SessionFetched {
    /// 0: there is no session, and all partitions were answered.
    pub session_id: i32,
    /// In a session's later fetches, those that changed.
    pub partitions: Vec<Fetched>,
}

#[derive(Clone, Debug)]
pub struct FetchPartition {
    pub topic: TopicName,
    pub partition: i32,
    pub offset: i64,
    pub max_bytes: usize,
    /// The epoch the client believes in, if it said.
    pub current_leader_epoch: Option<i32>,
    /// The epoch of the last record that the client has, if it said: it is told when the log has
    /// gone another way since.
    pub last_fetched_epoch: Option<i32>,
}

#[derive(Clone, Debug)]
pub struct Fetched {
    pub topic: TopicName,
    pub partition: i32,
    pub outcome: Result<FetchedData, FetchRefused>,
}

#[derive(Clone, Debug)]
pub struct FetchedData {
    pub high_watermark: i64,
    /// The first offset of the oldest open transaction, or the high watermark.
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// Whole batches in order, each piece some of them; the first may begin before the offset asked
    /// for.
    pub batches: Vec<Bytes>,
    /// Aborted transactions among the batches, for a reader of committed records: producer and
    /// first offset, by first offset.
    pub aborted: Vec<(i64, i64)>,
    /// The log has gone another way than the client's: no batches, but where they part.
    pub diverging: Option<EpochEnd>,
}

impl FetchedData {
    /// Bytes of the batches.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    Earliest,
    Latest,
    /// What is in tiered storage, or on its way: there is none.
    Tiered,
    MaxTimestamp,
    /// First record at or after this many milliseconds since the epoch.
    Timestamp(i64),
}

#[derive(Clone, Debug)]
pub struct ListOffsets {
    pub isolation: Isolation,
    pub partitions: Vec<ListOffsetsPartition>,
}

#[derive(Clone, Debug)]
pub struct ListOffsetsPartition {
    pub topic: String,
    pub partition: i32,
    pub at: OffsetSpec,
    pub current_leader_epoch: Option<i32>,
}

#[derive(Clone, Debug)]
pub struct ListedOffset {
    pub topic: String,
    pub partition: i32,
    pub outcome: Result<OffsetAt, FetchRefused>,
}

/// Offset and timestamp are -1 where no record answers the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAt {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// Where leader epochs end, so that a client finds out whether its log has diverged (KIP-320).
#[derive(Clone, Debug)]
pub struct EndsOfEpochs {
    pub partitions: Vec<EpochPartition>,
}

#[derive(Clone, Debug)]
pub struct EpochPartition {
    pub topic: String,
    pub partition: i32,
    pub current_leader_epoch: Option<i32>,
    /// The epoch whose end is wanted.
    pub epoch: i32,
}

#[derive(Clone, Debug)]
pub struct EndOfEpoch {
    pub topic: String,
    pub partition: i32,
    /// None: no such epoch is known.
    pub outcome: Result<Option<EpochEnd>, FetchRefused>,
}

/// The largest epoch that is not larger than the one asked about, and the offset after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: i32,
    pub end_offset: i64,
}

/// Makes the records below an offset unreadable, for good.
#[derive(Clone, Debug)]
pub struct DeleteRecords {
    pub partitions: Vec<DeleteRecordsPartition>,
}

#[derive(Clone, Debug)]
pub struct DeleteRecordsPartition {
    pub topic: String,
    pub partition: i32,
    /// The new log start offset, if it is beyond the present one; none: the high watermark.
    pub before: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct DeletedRecords {
    pub topic: String,
    pub partition: i32,
    /// The log start offset, on disk.
    pub outcome: Result<i64, DeleteRecordsRefused>,
}

/// Asks for an idempotent producer's id. With `resume`, the next epoch of that id.
#[derive(Clone, Debug)]
pub struct InitProducer {
    pub resume: Option<(i64, i16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    pub id: i64,
    pub epoch: i16,
}
