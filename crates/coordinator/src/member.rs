//! One member of a group.

use bytes::Bytes;

use crate::{GroupMember, JoinGroup, MemberSnapshot, Waiter, limits};

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    client_id: String,
    client_host: String,
    session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    /// Name and metadata, in the member's order of preference.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// The join that waits for the rebalance to complete.
    pub(crate) joining: Option<Waiter>,
    /// The sync that waits for the leader's assignment.
    pub(crate) syncing: Option<Waiter>,
    /// Whether the member has asked for its assignment in this generation.
    pub(crate) synced: bool,
    /// Until its first join is answered.
    is_new: bool,
    session_ends_ms: u64,
}

impl Member {
    pub(crate) fn new(request: JoinGroup, joining: Waiter, now_ms: u64) -> Self {
        Self {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms.max(0),
            protocols: own(&request.protocols),
            assignment: Bytes::new(),
            joining: Some(joining),
            syncing: None,
            synced: false,
            is_new: true,
            session_ends_ms: now_ms + limits::NEW_MEMBER_JOIN_MAX_MS,
        }
    }

    /// The member as the log kept it; only the protocol then chosen is known of what it offered.
    pub(crate) fn load(snapshot: MemberSnapshot, protocol: &str, now_ms: u64) -> Self {
        let mut member = Self {
            instance_id: snapshot.instance_id,
            client_id: snapshot.client_id,
            client_host: snapshot.client_host,
            session_timeout_ms: snapshot.session_timeout_ms,
            rebalance_timeout_ms: snapshot.rebalance_timeout_ms,
            protocols: vec![(protocol.to_owned(), snapshot.subscription)],
            assignment: snapshot.assignment,
            joining: None,
            syncing: None,
            synced: true,
            is_new: false,
            session_ends_ms: 0,
        };
        member.touch(now_ms);
        member
    }

    pub(crate) fn snapshot(&self, member_id: &str, protocol: &str) -> MemberSnapshot {
        MemberSnapshot {
            member_id: member_id.to_owned(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// The metadata is that of a stable group's protocol; the assignment is the last that the member was
    /// given, also while its group rebalances.
    pub(crate) fn describe(&self, member_id: &str, stable_protocol: Option<&str>) -> GroupMember {
        GroupMember {
            member_id: member_id.to_owned(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: stable_protocol.map(|name| self.metadata(name)).unwrap_or_default(),
            assignment: self.assignment.clone(),
        }
    }

    /// Takes what a repeated join says anew.
    pub(crate) fn update(&mut self, request: JoinGroup) {
        self.client_id = request.client_id;
        self.client_host = request.client_host;
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = request.rebalance_timeout_ms.max(0);
        self.protocols = own(&request.protocols);
    }

    pub(crate) fn touch(&mut self, now_ms: u64) {
        self.session_ends_ms = now_ms + u64::try_from(self.session_timeout_ms).unwrap_or(0);
    }

    /// The member's join is answered; from here its session counts.
    pub(crate) fn joined(&mut self, now_ms: u64) {
        self.is_new = false;
        self.synced = false;
        self.touch(now_ms);
    }

    /// When the member counts as gone unless it is heard of; a waiting request keeps it alive.
    pub(crate) fn session_ends_ms(&self) -> Option<u64> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !waits).then_some(self.session_ends_ms)
    }

    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let offered = self.protocols.iter().find(|(name, _)| name == protocol);
        offered.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(crate) fn metadata_bytes(&self) -> usize {
        metadata_bytes(&self.protocols)
    }

    /// Bytes of what it is called; its instance id is in a map of its group too.
    pub(crate) fn names_bytes(&self) -> usize {
        let instance = self.instance_id.as_ref().map_or(0, String::len);
        2 * instance + self.client_id.len() + self.client_host.len()
    }
}

/// Copies, for a request's bytes are part of its whole frame and would keep that.
fn own(protocols: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    let all = protocols.iter();
    all.map(|(name, metadata)| (name.clone(), Bytes::copy_from_slice(metadata))).collect()
}

pub(crate) fn metadata_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum()
}
