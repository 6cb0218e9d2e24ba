//! Limits of the console, with what each protects.

use std::time::Duration;

use tidings_gateway::limits::{EVENT_STREAMS_MAX, HTTP_CONNECTIONS_MAX, HTTP_WRITE_STALL_MAX};

/// Time between two samples of topics and groups.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Samples kept of each topic and group: two minutes.
pub const SAMPLES_KEPT: usize = 120;
/// Topics whose history is kept; 1,000 topics of 4 partitions take 4 MB.
pub const SAMPLED_TOPICS_MAX: usize = 2_000;
/// Groups described in one sample; more are taken in turns.
pub const GROUPS_PER_SAMPLE: usize = 200;
/// Samples over which a rate is taken.
pub const RATE_SAMPLES: usize = 5;
/// A group that is behind and has committed nothing for this long is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);

/// Newest events kept for the console.
pub const EVENTS_KEPT: usize = 500;
/// Newest records read of one partition in one sample.
pub const EVENTS_PER_PARTITION: i64 = 8;
/// Partitions whose newest records are read in one sample.
pub const EVENT_PARTITIONS_PER_SAMPLE: usize = 64;
/// Bytes read of one partition in one sample.
pub const EVENT_READ_BYTES: usize = 256 * 1024;

/// Dead letters read in one sample.
pub const DEAD_PER_SAMPLE: usize = 2_000;
/// Newest dead letters kept for the console.
pub const DEAD_KEPT: usize = 200;
/// Distinct causes that are counted; letters with further causes are counted together.
pub const DEAD_CAUSES_MAX: usize = 200;
/// Characters of a cause that are shown and that tell causes apart.
pub const CAUSE_CHARS_MAX: usize = 300;
/// Characters of one text of a dead letter on its own page: all of what Tidings writes, the head of
/// what others wrote.
pub const LETTER_TEXT_CHARS_MAX: usize = 8 * 1024;
/// Things to look at that are named beside the section that lists them all.
pub const BADGE_PROBLEMS: usize = 5;

/// Services of which one page lists what they have put aside.
pub const DESK_SERVICES: usize = 30;
/// Causes of one service that are listed; keys with further causes are counted together.
pub const DESK_CAUSES: usize = 100;
/// Dead keys on one page.
pub const DESK_KEYS: usize = 50;
/// Commands on one page of the audit.
pub const DESK_COMMANDS: usize = 50;
/// Characters of an edit's value in the audit's list; the whole is in the control topic.
pub const EDIT_SHOWN_CHARS: usize = 2_000;
/// Keys named by a dry run; all are counted.
pub const DRY_RUN_KEYS: usize = 20;
/// Changelogs that are read at once; whoever comes then waits. Each takes up to
/// [`tidings::limits::PARKED_BYTES_MAX`] of memory for every partition.
pub const DESK_READS_MAX: usize = 2;
/// How long one look at what a service has put aside may take, waiting for its turn included.
pub const DESK_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the list of services waits for all of them; what has not answered by then is told as such.
pub const DESK_LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer waits for what becomes of a command.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(5);
/// Records of `<service>.dead` that are looked through for the letter of a key.
pub const LETTER_SCAN_RECORDS: usize = 1_000;
/// Bytes of the same.
pub const LETTER_SCAN_BYTES: usize = 16 * 1024 * 1024;
/// By how much the clock of a letter may be behind that of its key's death.
pub const LETTER_CLOCK_SKEW: Duration = Duration::from_secs(5);
/// Characters of who gives a command.
pub const BY_CHARS_MAX: usize = 100;
/// Characters of why.
pub const REASON_CHARS_MAX: usize = 500;
/// Keys a second and partition that a command may say.
pub const REDRIVE_RATE_MAX: u32 = 100_000;

/// Records on one page of a topic.
pub const PAGE_RECORDS: usize = 50;
/// Bytes of a payload that are shown; the rest is said to be there.
pub const PAYLOAD_SHOWN_BYTES: usize = 64 * 1024;
/// Levels by which JSON that is shown is indented at most; what is nested deeper begins below each other.
pub const JSON_INDENT_MAX: usize = 32;
/// Headers of a record that are shown; of more it is said how many there are.
pub const HEADERS_SHOWN_MAX: usize = 200;
/// Characters of a key or value in a table.
pub const PREVIEW_CHARS: usize = 160;
/// Rows of topics and of groups on the overview.
pub const OVERVIEW_ROWS: usize = 30;
/// Events on the overview.
pub const OVERVIEW_EVENTS: usize = 24;

/// Topics whose configuration is asked for in one sample; more are asked in turns.
pub const RETENTIONS_PER_SAMPLE: usize = 20;
/// Records below which shares of partitions say nothing.
pub const SKEW_RECORDS_MIN: i64 = 1_000;
/// Characters of one filter: a text, a regular expression, or an expression of CEL.
pub const FILTER_CHARS_MAX: usize = 1_000;
/// Conditions on JSON of one request.
pub const JSON_CONDITIONS_MAX: usize = 8;
/// Columns of one page, and characters of one of their fields.
pub const COLUMNS_MAX: usize = 8;
/// See [`COLUMNS_MAX`].
pub const COLUMN_CHARS: usize = 80;
/// Characters of one JSONPath.
pub const JSON_PATH_CHARS_MAX: usize = 300;
/// How deep brackets and parentheses of a JSONPath nest: what reading one takes grows with a power of it.
pub const JSON_PATH_NESTING_MAX: usize = 6;
/// `..` of one JSONPath, each of which multiplies what it costs by the depth of the JSON.
pub const JSON_PATH_DESCENTS_MAX: usize = 2;
/// Steps of one JSONPath in one value, of about 50 ns; what would take more is not looked into.
pub const JSON_PATH_STEPS_MAX: u64 = 1_000_000;
/// Bytes of a compiled regular expression, which is matched in linear time.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Nodes of an expression of CEL, and how deep it nests: each level takes stack.
pub const CEL_NODES_MAX: usize = 150;
/// See [`CEL_NODES_MAX`].
pub const CEL_DEPTH_MAX: u16 = 24;
/// How deep `exists`, `all` and `exists_one` nest.
pub const CEL_LOOPS_MAX: u32 = 2;
/// Steps of an expression in one record: its nodes, for each part of the JSON once in every loop, once more for each
/// [`CEL_STEP_BYTES`] of the value. One takes about 200 ns, and several microseconds where it searches such a text.
pub const CEL_STEPS_MAX: u64 = 200_000;
/// See [`CEL_STEPS_MAX`].
pub const CEL_STEP_BYTES: usize = 16 * 1024;
/// Bytes of a value that is looked into as JSON by a filter.
pub const FILTERED_JSON_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a value that are searched for a text.
pub const FILTERED_TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Records that a search reads of a partition at first: what is newest is soon there. It then reads up to
/// [`SEARCH_CHUNK_RECORDS`] at once.
pub const SEARCH_FIRST_RECORDS: usize = 64;
/// See [`SEARCH_FIRST_RECORDS`].
pub const SEARCH_CHUNK_RECORDS: usize = 4_096;
/// Bytes of the same, which is what a search has in memory; a larger record is there alone.
pub const SEARCH_CHUNK_BYTES: usize = 1024 * 1024;
/// Bytes after which a chunk whose records turn out to be large is given up for a smaller one.
pub const SEARCH_CHUNK_GIVEN_UP_BYTES: usize = 16 * SEARCH_CHUNK_BYTES;
/// Partitions of one search, the newest of whose records are merged; of a larger topic one partition is shown.
pub const SEARCH_PARTITIONS_MAX: usize = 64;
/// Searches at once; one more waits for [`SEARCH_WAIT`] and is then answered 503.
pub const SEARCHES_MAX: usize = 8;
/// See [`SEARCHES_MAX`].
pub const SEARCH_WAIT: Duration = Duration::from_secs(5);
/// What one page or its twin looks through; the next one goes on where it ended.
pub const SEARCH_PAGE: SearchBudget = SearchBudget {
    records: 100_000,
    bytes: 256 * 1024 * 1024,
    time: Duration::from_millis(150),
    rows: PAGE_RECORDS,
};
/// The same of one stream.
pub const SEARCH_STREAM: SearchBudget = SearchBudget {
    records: 20_000_000,
    bytes: 16 * 1024 * 1024 * 1024,
    time: Duration::from_secs(120),
    rows: 500,
};
/// Between two words of a search stream about how far it is.
pub const SEARCH_PROGRESS: Duration = Duration::from_millis(200);

/// What a search may take.
#[derive(Clone, Copy, Debug)]
pub struct SearchBudget {
    /// Records looked at.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From beginning to end.
    pub time: Duration,
    /// Records found.
    pub rows: usize,
}

/// Between two looks of a live tail, of the embedded log and of a cluster.
pub const TAIL_EVERY: Duration = Duration::from_millis(250);
/// See [`TAIL_EVERY`].
pub const TAIL_EVERY_CLUSTER: Duration = Duration::from_secs(1);
/// Records that a live tail shows of one look; of more it shows the newest and says how many were left out.
pub const TAIL_ROWS: usize = 20;
/// Records that a live tail looks at in one look and partition; more are left out.
pub const TAIL_RECORDS: i64 = 500;
/// Bytes of the same.
pub const TAIL_BYTES: usize = 1024 * 1024;
/// Between two tries of a live tail whose engine does not answer.
pub const TAIL_RETRY: Duration = Duration::from_secs(2);

/// Bytes of a record's value that are offered as the template of a new one.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Last records of a partition that are looked at, for the latest one that can be the template of a new one.
pub const TEMPLATE_RECORDS: usize = 20;
/// Levels of a schema of which a template is made.
pub const TEMPLATE_DEPTH_MAX: usize = 8;
/// How long records of one list are decoded, schemas compiled among it; those that come later are shown as they are.
pub const DECODE_LIST_TIME: Duration = Duration::from_millis(500);
/// Headers of one record that is produced in the console.
pub const PRODUCED_HEADERS_MAX: usize = 64;

/// Reports of services read in one sample.
pub const REPORTS_PER_SAMPLE: usize = 2_000;
/// Bytes of reports read at once, and how often in one sample.
pub const REPORT_READ_BYTES: usize = 1024 * 1024;
/// See [`REPORT_READ_BYTES`].
pub const REPORT_READS_PER_SAMPLE: usize = 4;
/// Instances of services whose last report is kept; the one that reported longest ago makes room.
pub const REPORTS_KEPT: usize = 1_000;
/// Bytes of their reports, and of the metrics that are made of them: as large as `/metrics` gets by them.
pub const REPORTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same of one report; a larger one is not shown. A handler takes about 6 KiB.
pub const REPORT_SHOWN_BYTES_MAX: usize = 1024 * 1024;
/// An instance that has reported nothing for this long is gone.
pub const REPORT_STALE_AFTER: Duration = Duration::from_secs(90);

/// Topics that `/metrics` names, by three figures each; the sums are of all.
pub const METRICS_TOPICS_MAX: usize = 2_000;
/// Groups that it names, the same.
pub const METRICS_GROUPS_MAX: usize = 2_000;
/// Bytes of a group's name, which may have 32 KiB, at `/metrics` and `/metrics/compat`; one with a longer name is left out there.
pub const GROUP_NAME_SHOWN_BYTES_MAX: usize = 1_024;

/// How long what was found for `/metrics/compat` is good for further scrapes.
pub const COMPAT_FRESH_FOR: Duration = Duration::from_secs(1);
/// Partitions of topics in one text of `/metrics/compat`, with up to nine figures each: about 9 MB.
pub const COMPAT_PARTITIONS_MAX: usize = 10_000;
/// Groups in one such text.
pub const COMPAT_GROUPS_MAX: usize = 1_000;
/// Positions of groups in one such text.
pub const COMPAT_POSITIONS_MAX: usize = 20_000;
/// Groups that are asked for at once.
pub const COMPAT_GROUPS_AT_ONCE: usize = 8;
/// How long groups are asked for, and so are cleanup policies: together less than the ten seconds that Prometheus
/// waits for an answer.
pub const COMPAT_GROUPS_WITHIN: Duration = Duration::from_secs(4);
/// Topics whose cleanup policy is asked for in one look.
pub const COMPAT_POLICIES_PER_LOOK: usize = 100;

/// How long a sample may take before the engine counts as not answering.
pub const SAMPLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Live streams at once; one more is answered 503.
pub const LIVE_STREAMS_MAX: usize = 64;
/// How long a live stream's client may leave an event unread before it is dropped.
pub const LIVE_STALL_MAX: Duration = Duration::from_secs(20);

/// Over how long the rates and times of a service are taken, at least; at most twice as long.
pub const SERVICE_RATE_WINDOW: Duration = Duration::from_secs(60);
/// Services whose throughput is kept for a chart.
pub const SERVICES_CHARTED_MAX: usize = 1_000;

/// Searches for an event's life at once; whoever comes then waits. Each remembers [`TRACE_RECORDS`] records by 40 bytes.
pub const TRACE_SEARCHES_MAX: usize = 2;
/// How long one waits for its turn; then it is answered 503.
pub const TRACE_WAIT: Duration = Duration::from_secs(10);
/// Records that one search looks at; the page goes on from there.
pub const TRACE_RECORDS: usize = 200_000;
/// How long it looks, so that there is something to see soon.
pub const TRACE_TIME: Duration = Duration::from_secs(3);
/// Partitions of one search. A log with more is searched by topic.
pub const TRACE_PARTITIONS_MAX: usize = 1_000;
/// Partitions that are read at once.
pub const TRACE_READS: usize = 4;
/// Records that the first look at a partition takes, which tells how old its records are, and each further one.
pub const TRACE_FIRST_RECORDS: i64 = 50;
/// See [`TRACE_FIRST_RECORDS`].
pub const TRACE_CHUNK_RECORDS: i64 = 500;
/// Bytes of one read.
pub const TRACE_READ_BYTES: usize = 1024 * 1024;
/// Bytes of keys and values that a search holds of one partition; a record that is larger is held alone.
pub const TRACE_PIECE_BYTES: usize = 8 * 1024 * 1024;
/// Records that mention what is searched for, of one search; it stops there, and can be gone on with.
pub const TRACE_MATCHES_MAX: usize = 200;
/// Events of one page, those that the URL carries from earlier pages among them.
pub const TRACE_EVENTS_MAX: usize = 400;
/// Lives that are listed when what is searched for is in several.
pub const TRACE_LIVES: usize = 50;
/// Characters of what is searched for.
pub const TRACE_QUERY_CHARS_MAX: usize = 300;
/// Groups that are asked how far they are with the events of a life.
pub const TRACE_GROUPS_MAX: usize = 50;
/// Records of a service's changelog, of one partition, in which its shelf is looked for.
pub const TRACE_SHELF_RECORDS: usize = 100_000;
/// Steps from the first event that are drawn, unless the URL says otherwise, and how many it may say.
pub const TRACE_DEPTH: usize = 12;
/// See [`TRACE_DEPTH`].
pub const TRACE_DEPTH_MAX: usize = 100;
/// Quiet time that is a gap in a timeline if it is also so many times as long as the shorter pauses between two events.
pub const TRACE_GAP_MIN: Duration = Duration::from_secs(1);
/// See [`TRACE_GAP_MIN`].
pub const TRACE_GAP_TIMES: i64 = 8;

/// Pairs of a topic and a source that were seen to write to it; further ones are not on the map.
pub const MAP_SIGHTINGS_MAX: usize = 5_000;
/// Nodes that one map draws, the busiest.
pub const MAP_NODES_MAX: usize = 60;
/// Steps around a node, unless the URL says otherwise, and how many it may say.
pub const MAP_DEPTH: usize = 2;
/// See [`MAP_DEPTH`].
pub const MAP_DEPTH_MAX: usize = 8;

/// A partition is hot when it has so many times the lag of the topic's other partitions, on average,
pub const HOT_TIMES: i64 = 4;
/// and at least so many records.
pub const HOT_LAG_MIN: i64 = 100;
/// Partitions of a group of which is remembered how far behind it is in each, those with the most lag.
pub const GROUP_BEHIND_MAX: usize = 200;
/// Samples over which the time to drain is taken.
pub const DRAIN_SAMPLES: usize = 30;

/// Time between two points of a group's history, and how long all of them are kept.
pub const LAG_POINT_EVERY: Duration = Duration::from_secs(30);
/// See [`LAG_POINT_EVERY`].
pub const LAG_FINE_FOR: Duration = Duration::from_secs(30 * 60);
/// Time between two points of older history, and how long those are kept.
pub const LAG_COARSE_EVERY: Duration = Duration::from_secs(5 * 60);
/// See [`LAG_COARSE_EVERY`].
pub const LAG_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Points of one group: 60 fine ones, 288 coarse ones, and one of each that is about to go.
pub const LAG_POINTS_MAX: usize = 350;
/// Groups whose history is kept: 20 MB of memory.
pub const LAG_GROUPS_MAX: usize = 2_000;
/// Bytes of a group's name in the history; that of a longer one is not kept.
pub const LAG_GROUP_NAME_BYTES_MAX: usize = 1_024;
/// Records of the history written in one sample, and read in one.
pub const LAG_WRITES_PER_SAMPLE: usize = 500;
/// See [`LAG_WRITES_PER_SAMPLE`].
pub const LAG_READS_PER_SAMPLE: usize = 20_000;
/// Bytes of one read of it.
pub const LAG_READ_BYTES: usize = 1024 * 1024;
/// Between two tries to write what cannot be written.
pub const LAG_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long records stay in the topic of the history, whether or not somebody takes them back.
pub const LAG_RETENTION: Duration = Duration::from_secs(48 * 3600);
/// Segments of it; the newest one is never compacted.
pub const LAG_SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// Positions that one reset of a group may change.
pub const RESET_PARTITIONS_MAX: usize = 2_000;
const _: () = assert!(LIVE_STREAMS_MAX + EVENT_STREAMS_MAX < HTTP_CONNECTIONS_MAX);
const _: () = assert!(LIVE_STALL_MAX.as_secs() < HTTP_WRITE_STALL_MAX.as_secs());
const _: () = assert!(SEARCH_FIRST_RECORDS <= SEARCH_CHUNK_RECORDS);
const _: () = assert!(SEARCH_PAGE.time.as_secs() < HTTP_WRITE_STALL_MAX.as_secs());
const _: () = assert!(DRY_RUN_KEYS <= DESK_KEYS);
const _: () = assert!(DESK_LIST_TIMEOUT.as_secs() < DESK_READ_TIMEOUT.as_secs());
const _: () = assert!(RATE_SAMPLES < SAMPLES_KEPT);
const _: () = assert!(STUCK_AFTER.as_secs() < SAMPLES_KEPT as u64);
const _: () = assert!(OVERVIEW_EVENTS <= EVENTS_KEPT);
const _: () =
    assert!(REPORT_STALE_AFTER.as_secs() == 3 * tidings::limits::REPORT_EVERY_MAX.as_secs());
const _: () = assert!(tidings::limits::REPORT_BYTES_MAX < REPORT_READ_BYTES);
const _: () = assert!(REPORT_SHOWN_BYTES_MAX < REPORTS_BYTES_MAX);
const _: () = assert!(TRACE_MATCHES_MAX <= TRACE_EVENTS_MAX && TRACE_EVENTS_MAX <= TRACE_RECORDS);
const _: () = assert!(TRACE_DEPTH <= TRACE_DEPTH_MAX);
const _: () = assert!(DRAIN_SAMPLES < SAMPLES_KEPT && RATE_SAMPLES <= DRAIN_SAMPLES);
const _: () = assert!(LAG_COARSE_EVERY.as_secs().is_multiple_of(LAG_POINT_EVERY.as_secs()));
const _: () = assert!(
    LAG_FINE_FOR.as_secs() / LAG_POINT_EVERY.as_secs()
        + LAG_KEPT_FOR.as_secs() / LAG_COARSE_EVERY.as_secs()
        < LAG_POINTS_MAX as u64
);
const _: () = assert!(LAG_KEPT_FOR.as_secs() < LAG_RETENTION.as_secs());
