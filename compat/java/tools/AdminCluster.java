package tools;

import static tools.AdminCalls.get;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.CreateDelegationTokenOptions;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.FeatureUpdate.UpgradeType;
import org.apache.kafka.clients.admin.RaftVoterEndpoint;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import tools.AdminCalls.Table;

/** Calls about the cluster as a whole: brokers, quorum, features, quotas, and what authenticates and authorizes. */
final class AdminCluster {
    private AdminCluster() {}

    static void fill(Table table) {
        cluster(table);
        features(table);
        quotas(table);
        security(table);
        metrics(table);
    }

    private static void cluster(Table table) {
        table.add("describeCluster", "all", admin -> {
            var found = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
            return List.of(found.nodes().thenApply(nodes -> nodes.stream()
                            .map(node -> node.id() + " " + node.rack() + " " + node.isFenced()).toList()),
                    found.controller().thenApply(node -> node.id()),
                    found.clusterId().thenApply(String::length), found.authorizedOperations());
        }).add("describeCluster", "with fenced brokers", admin -> admin
                .describeCluster(new DescribeClusterOptions().includeFencedBrokers(true)).nodes()
                .thenApply(nodes -> nodes.size()));
        table.add("describeMetadataQuorum", "all", admin -> admin.describeMetadataQuorum().quorumInfo()
                .thenApply(quorum -> "leader " + quorum.leaderId() + " voters "
                        + quorum.voters().stream().map(one -> one.replicaId()).toList() + " observers "
                        + quorum.observers().size() + " nodes " + quorum.nodes().keySet()));
        var endpoints = Set.of(new RaftVoterEndpoint("CONTROLLER", "localhost", 1));
        table.add("addRaftVoter", "another", admin -> admin.addRaftVoter(7, new Uuid(1, 2), endpoints).all());
        table.add("removeRaftVoter", "one that is none", admin -> admin.removeRaftVoter(7, new Uuid(1, 2)).all());
        table.add("unregisterBroker", "one that is not there", admin -> admin.unregisterBroker(7).all());
    }

    private static void features(Table table) {
        table.add("describeFeatures", "finalized", admin -> admin.describeFeatures().featureMetadata()
                .thenApply(found -> found.finalizedFeatures().entrySet().stream()
                        .map(one -> one.getKey() + " " + one.getValue().maxVersionLevel()).sorted().toList()));
        table.add("updateFeatures", "validated only", admin -> List.of(
                updated(admin, "transaction.version", 1, UpgradeType.SAFE_DOWNGRADE, true),
                updated(admin, "transaction.version", 1, UpgradeType.UPGRADE, true),
                updated(admin, "transaction.version", 9, UpgradeType.UPGRADE, true),
                updated(admin, "no.such", 1, UpgradeType.UPGRADE, true)))
                .add("updateFeatures", "down and up again", admin -> List.of(
                        AdminCalls.show(updated(admin, "transaction.version", 1, UpgradeType.SAFE_DOWNGRADE, false)),
                        AdminCalls.show(updated(admin, "transaction.version", 2, UpgradeType.UPGRADE, false))));
    }

    private static KafkaFuture<Void> updated(
            Admin admin, String name, int level, UpgradeType type, boolean validateOnly) {
        return admin.updateFeatures(Map.of(name, new FeatureUpdate((short) level, type)),
                new UpdateFeaturesOptions().validateOnly(validateOnly)).values().get(name);
    }

    private static KafkaFuture<Void> quota(Admin admin, ClientQuotaEntity entity, String name, Double value) {
        var alteration = new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op(name, value)));
        return admin.alterClientQuotas(List.of(alteration)).values().get(entity);
    }

    private static void quotas(Table table) {
        var client = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, "c"));
        var user = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, "u"));
        var address = new ClientQuotaEntity(Map.of(ClientQuotaEntity.IP, "127.0.0.2"));
        table.add("alterClientQuotas", "of a client, a user, an address", admin -> List.of(
                quota(admin, client, "producer_byte_rate", 5e6), quota(admin, user, "request_percentage", 50.0),
                quota(admin, address, "connection_creation_rate", 10.0)))
                .add("alterClientQuotas", "refused", admin -> List.of(
                        quota(admin, client, "no.such", 1.0), quota(admin, client, "producer_byte_rate", -1.0),
                        quota(admin, new ClientQuotaEntity(Map.of("no.such", "c")), "producer_byte_rate", 1.0)));
        table.add("describeClientQuotas", "all, of a client, of those with a user", admin -> List.of(
                described(admin, ClientQuotaFilter.all()),
                described(admin, ClientQuotaFilter.containsOnly(List.of(
                        ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, "c")))),
                described(admin, ClientQuotaFilter.contains(List.of(
                        ClientQuotaFilterComponent.ofEntityType(ClientQuotaEntity.USER))))));
        table.add("alterClientQuotas", "removed", admin -> quota(admin, client, "producer_byte_rate", null));
    }

    private static KafkaFuture<List<String>> described(Admin admin, ClientQuotaFilter filter) {
        return admin.describeClientQuotas(filter).entities().thenApply(found -> found.entrySet().stream()
                .map(one -> one.getKey().entries() + " " + one.getValue()).sorted().toList());
    }

    private static void security(Table table) {
        var binding = new AclBinding(new ResourcePattern(ResourceType.TOPIC, "t", PatternType.LITERAL),
                new AccessControlEntry("User:a", "*", AclOperation.READ, AclPermissionType.ALLOW));
        table.add("createAcls", "one", admin -> admin.createAcls(List.of(binding)).all());
        table.add("describeAcls", "all", admin -> admin.describeAcls(AclBindingFilter.ANY).values());
        table.add("deleteAcls", "all", admin -> admin.deleteAcls(List.of(AclBindingFilter.ANY)).all());
        byte[] hmac = {1, 2, 3};
        table.add("createDelegationToken", "one", admin -> admin
                .createDelegationToken(new CreateDelegationTokenOptions()).delegationToken());
        table.add("renewDelegationToken", "one", admin -> admin.renewDelegationToken(hmac).expiryTimestamp());
        table.add("expireDelegationToken", "one", admin -> admin.expireDelegationToken(hmac).expiryTimestamp());
        table.add("describeDelegationToken", "all", admin -> admin.describeDelegationToken().delegationTokens());
        table.add("alterUserScramCredentials", "set", admin -> admin.alterUserScramCredentials(List.of(
                new UserScramCredentialUpsertion("a",
                        new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192), "secret"))).all())
                .add("alterUserScramCredentials", "removed from one who has none", admin -> admin
                        .alterUserScramCredentials(List.of(
                                new UserScramCredentialDeletion("b", ScramMechanism.SCRAM_SHA_256))).all());
        table.add("describeUserScramCredentials", "all, of one who has none", admin -> List.of(
                admin.describeUserScramCredentials().users(),
                admin.describeUserScramCredentials(List.of("b")).description("b")));
    }

    private static void metrics(Table table) {
        table.add("clientInstanceId", "without telemetry", admin -> admin.clientInstanceId(Duration.ofSeconds(5)));
        table.add("metrics", "connections", admin -> {
            get(admin.describeCluster().clusterId());
            return admin.metrics().keySet().stream().anyMatch(name -> name.name().equals("connection-count"));
        });
        table.add("registerMetricForSubscription", "one", admin -> {
            admin.registerMetricForSubscription((KafkaMetric) admin.metrics().values().iterator().next());
            return "kept";
        });
        table.add("unregisterMetricFromSubscription", "one", admin -> {
            admin.unregisterMetricFromSubscription((KafkaMetric) admin.metrics().values().iterator().next());
            return "gone";
        });
    }
}
