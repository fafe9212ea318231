/*
 * Which of Apache's loggers a source file's lines belong to: that of the class which does the same there. So levels,
 * appenders and searches that administrators have for Kafka mean the same here. What has no row, or a folder without
 * one, has a logger of its own name, as base.loop.
 *
 * The component is what Apache's class puts in front of each line; # stands for the broker's id. A line that begins
 * with a bracket of its own has none put before it.
 */
#ifndef BARNABAS_LOGGER_NAMES_H
#define BARNABAS_LOGGER_NAMES_H

/* X(file or folder, Apache's logger, component) */
/* clang-format off */
#define LOGGER_NAMES(X)                                                                                                \
    X("main", "kafka.Kafka", NULL)                                                                                     \
    X("broker", "kafka.server.KafkaServer", "[KafkaServer id=#] ")                                                     \
    X("broker.authorization", "kafka.security.authorizer.AclAuthorizer", NULL)                                         \
    X("broker.delegation", "kafka.server.DelegationTokenManager", "[Token Manager on Node #]: ")                       \
    X("monitor.cruise_control", "com.linkedin.kafka.cruisecontrol.metricsreporter.CruiseControlMetricsReporter", NULL) \
    X("broker.live_settings", "kafka.server.DynamicBrokerConfig", NULL)                                                \
    X("server", "kafka.server.KafkaApis", "[KafkaApi-#] ")                                                             \
    X("server.leader_and_isr", "state.change.logger", "[Broker id=#] ")                                                \
    X("server.listener_tls", "kafka.server.DynamicBrokerConfig", NULL)                                                 \
    X("server.log_dirs", "kafka.server.ReplicaManager", "[ReplicaManager broker=#] ")                                  \
    X("server.sasl", "org.apache.kafka.common.network.Selector", "[SocketServer listenerType=ZK_BROKER, nodeId=#] ")   \
    X("server.session", "org.apache.kafka.common.network.Selector", "[SocketServer listenerType=ZK_BROKER, nodeId=#] ") \
    X("transaction", "kafka.coordinator.transaction.TransactionCoordinator", "[TransactionCoordinator id=#] ")         \
    X("transaction.markers", "kafka.coordinator.transaction.TransactionMarkerChannelManager",                          \
      "[Transaction Marker Channel Manager #]: ")                                                                      \
    X("transaction.producer_ids", "kafka.coordinator.transaction.RPCProducerIdManager", "[RPC ProducerId Manager #]: ") \
    X("transaction.records", "kafka.coordinator.transaction.TransactionStateManager", "[Transaction State Manager #]: ") \
    X("transaction.verifier", "kafka.server.AddPartitionsToTxnManager", "[AddPartitionsToTxnSenderThread-#] ")         \
    X("group", "kafka.coordinator.group.GroupCoordinator", "[GroupCoordinator #]: ")                                   \
    X("group.cleanup", "kafka.coordinator.group.GroupMetadataManager", "[GroupMetadataManager brokerId=#] ")           \
    X("group.coordinator", "kafka.coordinator.group.GroupMetadataManager", "[GroupMetadataManager brokerId=#] ")       \
    X("group.records", "kafka.coordinator.group.GroupMetadataManager", "[GroupMetadataManager brokerId=#] ")           \
    X("group.txn_offsets", "kafka.coordinator.group.GroupMetadataManager", "[GroupMetadataManager brokerId=#] ")       \
    X("coordinator", "kafka.coordinator", NULL)                                                                        \
    X("controller", "kafka.controller.KafkaController", "[Controller id=#] ")                                          \
    X("controller.admin", "kafka.zk.AdminZkClient", NULL)                                                              \
    X("controller.channel", "kafka.controller.RequestSendThread", "[RequestSendThread controllerId=#] ")               \
    X("controller.deletion", "kafka.controller.TopicDeletionManager", "[Topic Deletion Manager #] ")                   \
    X("controller.elections", "kafka.controller.ZkPartitionStateMachine", "[PartitionStateMachine controllerId=#] ")   \
    X("controller.events", "kafka.controller.ControllerEventManager$ControllerEventThread",                            \
      "[ControllerEventThread controllerId=#] ")                                                                       \
    X("controller.outbox", "kafka.controller.ControllerChannelManager", "[Channel manager on controller #]: ")         \
    X("controller.replicas", "kafka.controller.ZkReplicaStateMachine", "[ReplicaStateMachine controllerId=#] ")        \
    X("replica", "kafka.server.ReplicaManager", "[ReplicaManager broker=#] ")                                          \
    X("replica.dir_move", "kafka.server.ReplicaAlterLogDirsManager", "[ReplicaAlterLogDirsManager on broker #] ")      \
    X("replica.fetched", "kafka.server.ReplicaFetcherThread", "[ReplicaFetcher replicaId=#] ")                         \
    X("replica.fetcher", "kafka.server.ReplicaFetcherThread", "[ReplicaFetcher replicaId=#] ")                         \
    X("replica.followers", "kafka.cluster.Partition", NULL)                                                            \
    X("replica.isr_changes", "kafka.server.DefaultAlterPartitionManager", NULL)                                        \
    X("cluster", "kafka.zk.KafkaZkClient", NULL)                                                                       \
    X("cluster.acl_watch", "kafka.security.authorizer.AclAuthorizer", NULL)                                            \
    X("cluster.broker_settings", "kafka.server.DynamicBrokerConfig", NULL)                                             \
    X("cluster.config_watch", "kafka.server.ZkConfigManager", NULL)                                                    \
    X("cluster.controlled_shutdown", "kafka.server.KafkaServer", "[KafkaServer id=#] ")                                \
    X("cluster.missing_partitions", "kafka.server.ReplicaManager", "[ReplicaManager broker=#] ")                       \
    X("cluster.quotas", "kafka.server.ClientQuotaManager", NULL)                                                       \
    X("cluster.scram_users", "kafka.server.ZkConfigManager", NULL)                                                     \
    X("cluster.token_watch", "kafka.server.DelegationTokenManager", "[Token Manager on Node #]: ")                     \
    X("cluster.zk", "kafka.zookeeper.ZooKeeperClient", "[ZooKeeperClient Kafka server] ")                              \
    X("cluster.zk_bridge", "kafka.zookeeper.ZooKeeperClient", "[ZooKeeperClient Kafka server] ")                       \
    X("cluster.zk_requests", "kafka.zookeeper.ZooKeeperClient", "[ZooKeeperClient Kafka server] ")                     \
    X("storage", "kafka.log.LogManager", NULL)                                                                         \
    X("storage.cleaner", "kafka.log.LogCleaner", NULL)                                                                 \
    X("storage.meta", "kafka.server.BrokerMetadataCheckpoint", NULL)                                                   \
    X("log", "kafka.log.UnifiedLog", NULL)                                                                             \
    X("log.compact", "kafka.log.LogCleaner", NULL)                                                                     \
    X("log.plog_load", "kafka.log.LogLoader", NULL)                                                                    \
    X("log.producers", "org.apache.kafka.storage.internals.log.ProducerStateManager", NULL)                            \
    X("log.segment", "org.apache.kafka.storage.internals.log.LogSegment", NULL)                                        \
    X("net", "kafka.network.SocketServer", "[SocketServer listenerType=ZK_BROKER, nodeId=#] ")                         \
    X("net.acceptor", "kafka.network.DataPlaneAcceptor", "[SocketServer listenerType=ZK_BROKER, nodeId=#] ")           \
    X("net.client", "org.apache.kafka.clients.NetworkClient", NULL)                                                    \
    X("net.connection", "org.apache.kafka.common.network.Selector", "[SocketServer listenerType=ZK_BROKER, nodeId=#] ") \
    X("security", "org.apache.kafka.common.security", NULL)                                                            \
    X("config.environment", "kafka.docker.KafkaDockerWrapper", NULL)
/* clang-format on */

#endif
