package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// ibm is IBM/sarama with its ClusterAdmin.
type ibm struct {
	bootstrap []string
	admin     sarama.ClusterAdmin
	client    sarama.Client
}

func newSarama(bootstrap string) client {
	s := &ibm{bootstrap: []string{bootstrap}}
	s.client = must(sarama.NewClient(s.bootstrap, saramaConfig()))
	s.admin = must(sarama.NewClusterAdminFromClient(s.client))
	return s
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	config.Metadata.Retry.Backoff = 50 * time.Millisecond
	return config
}

type saramaProducer struct {
	sarama.SyncProducer
	settings producing
}

func (s *ibm) producer(settings producing) (producer, error) {
	config := saramaConfig()
	config.Producer.Compression = map[string]sarama.CompressionCodec{
		"gzip":   sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy,
		"lz4":    sarama.CompressionLZ4,
		"zstd":   sarama.CompressionZSTD,
	}[settings.codec]
	config.Producer.Partitioner = saramaPartitioner
	config.Producer.MaxMessageBytes = 100_000
	if settings.idempotent || settings.transactionalID != "" {
		config.Producer.Idempotent = true
		config.Producer.Transaction.ID = settings.transactionalID
		config.Net.MaxOpenRequests = 1
	}
	p, err := sarama.NewSyncProducer(s.bootstrap, config)
	return &saramaProducer{p, settings}, err
}

// saramaByChoice takes the partition of a record that has one, and else the hash of its key.
type saramaByChoice struct{ hashed sarama.Partitioner }

func saramaPartitioner(topic string) sarama.Partitioner {
	return &saramaByChoice{sarama.NewHashPartitioner(topic)}
}

func (p *saramaByChoice) Partition(m *sarama.ProducerMessage, count int32) (int32, error) {
	if m.Partition != byKey {
		return m.Partition, nil
	}
	return p.hashed.Partition(m, count)
}

func (p *saramaByChoice) RequiresConsistency() bool { return true }

func (p *saramaProducer) send(topic string, records []record) error {
	all := make([]*sarama.ProducerMessage, len(records))
	for n, one := range records {
		all[n] = &sarama.ProducerMessage{
			Topic:     topic,
			Partition: one.partition,
			Key:       sarama.StringEncoder(one.key),
			Headers:   []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(one.header)}},
		}
		if one.value != nil {
			all[n].Value = sarama.ByteEncoder(one.value)
		}
		if one.timestamp != 0 {
			all[n].Timestamp = time.UnixMilli(one.timestamp)
		}
	}
	err := p.SendMessages(all)
	var refused sarama.ProducerErrors
	if errors.As(err, &refused) && len(refused) > 0 {
		return refused[0]
	}
	return err
}

func (p *saramaProducer) sendOffset(offset int64) error {
	offsets := map[string][]*sarama.PartitionOffsetMetadata{
		p.settings.source: {{Partition: 0, Offset: offset}},
	}
	return p.AddOffsetsToTxn(offsets, p.settings.group)
}

func (p *saramaProducer) begin() error  { return p.BeginTxn() }
func (p *saramaProducer) commit() error { return p.CommitTxn() }
func (p *saramaProducer) abort() error  { return p.AbortTxn() }

// close may fail for a producer that was fenced: it is gone all the same.
func (p *saramaProducer) close() { _ = p.Close() }

func (s *ibm) read(topic string, partitions int32, committed bool, count int) ([]record, error) {
	config := saramaConfig()
	if committed {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	consumer, err := sarama.NewConsumer(s.bootstrap, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	came := make(chan record)
	failed := make(chan error)
	ctx, cancel := within()
	defer cancel()
	for partition := range partitions {
		one, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return nil, err
		}
		defer one.AsyncClose()
		go func() {
			for {
				select {
				case m := <-one.Messages():
					select {
					case came <- saramaRecord(m):
					case <-ctx.Done():
						return
					}
				case err := <-one.Errors():
					failed <- err
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	var read []record
	for len(read) < count {
		select {
		case one := <-came:
			read = append(read, one)
		case err := <-failed:
			return read, err
		case <-ctx.Done():
			return read, fmt.Errorf("%d of %d records came", len(read), count)
		}
	}
	return read, nil
}

func saramaRecord(m *sarama.ConsumerMessage) record {
	one := record{
		key:       string(m.Key),
		value:     m.Value,
		partition: m.Partition,
		offset:    m.Offset,
		timestamp: m.Timestamp.UnixMilli(),
	}
	for _, header := range m.Headers {
		one.header = string(header.Value)
	}
	return one
}

// fetchAt speaks to the leader itself: the consumer looks at the offset before it asks.
func (s *ibm) fetchAt(topic string, partition int32, offset int64) error {
	leader, err := s.client.Leader(topic, partition)
	if err != nil {
		return err
	}
	request := &sarama.FetchRequest{Version: 4, MaxWaitTime: 100, MinBytes: 1, MaxBytes: 1 << 20}
	request.AddBlock(topic, partition, offset, 1<<20, -1)
	answer, err := leader.Fetch(request)
	if err != nil {
		return err
	}
	return answer.GetBlock(topic, partition).Err
}

// saramaMember is the handler of one member: a session is one generation.
type saramaMember struct {
	topic string
	hears ownership
}

func (m *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	m.hears.assigned(session.Claims()[m.topic])
	return nil
}

func (m *saramaMember) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	m.hears.revoked(session.Claims()[m.topic])
	return nil
}

func (m *saramaMember) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			m.hears.saw(saramaRecord(message))
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func (s *ibm) member(
	ctx context.Context, group, topic string, how protocol, hears ownership,
) error {
	if how != eager {
		return errNotOffered
	}
	config := saramaConfig()
	config.Consumer.Offsets.AutoCommit.Enable = false
	consumer, err := sarama.NewConsumerGroup(s.bootstrap, group, config)
	if err != nil {
		return err
	}
	go func() {
		for range consumer.Errors() {
		}
	}()
	for ctx.Err() == nil {
		err := consumer.Consume(ctx, []string{topic}, &saramaMember{topic, hears})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return consumer.Close()
}

func (s *ibm) createTopic(name string, partitions, replicas int, configs map[string]string) error {
	settings := map[string]*string{}
	for name, value := range configs {
		settings[name] = &value
	}
	return s.admin.CreateTopic(name, &sarama.TopicDetail{
		NumPartitions:     int32(partitions),
		ReplicationFactor: int16(replicas),
		ConfigEntries:     settings,
	}, false)
}

func (s *ibm) growTopic(name string, partitions int) error {
	return s.admin.CreatePartitions(name, int32(partitions), nil, false)
}

func (s *ibm) deleteTopic(name string) error { return s.admin.DeleteTopic(name) }

func (s *ibm) partitions(topic string) (int, error) {
	listed, err := s.admin.DescribeTopics([]string{topic})
	if err != nil || errors.Is(listed[0].Err, sarama.ErrUnknownTopicOrPartition) {
		return 0, err
	}
	return len(listed[0].Partitions), nil
}

func (s *ibm) config(topic, name string) (string, error) {
	entries, err := s.admin.DescribeConfig(sarama.ConfigResource{
		Type: sarama.TopicResource, Name: topic, ConfigNames: []string{name},
	})
	if err != nil || len(entries) != 1 {
		return "", errors.Join(err, fmt.Errorf("%d entries", len(entries)))
	}
	return entries[0].Value, nil
}

func (s *ibm) alterConfig(topic string, change change) error {
	entry := sarama.IncrementalAlterConfigsEntry{
		Operation: sarama.IncrementalAlterConfigsOperation(change.operation),
		Value:     &change.value,
	}
	return s.admin.IncrementalAlterConfig(sarama.TopicResource, topic,
		map[string]sarama.IncrementalAlterConfigsEntry{change.name: entry}, false)
}

func (s *ibm) listGroups() ([]string, error) {
	listed, err := s.admin.ListConsumerGroups()
	var groups []string
	for group := range listed {
		groups = append(groups, group)
	}
	return groups, err
}

func (s *ibm) describeGroup(group string) (string, int, error) {
	described, err := s.admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", 0, err
	}
	return described[0].State, len(described[0].Members), nil
}

func (s *ibm) deleteGroup(group string) error { return s.admin.DeleteConsumerGroup(group) }

func (s *ibm) committed(group, topic string, partition int32) (int64, error) {
	places := map[string][]int32{topic: {partition}}
	answer, err := s.admin.ListConsumerGroupOffsets(group, places)
	if err != nil {
		return nowhere, err
	}
	return answer.GetBlock(topic, partition).Offset, nil
}

func (s *ibm) commit(group, topic string, partition int32, offset int64) error {
	offsets := map[string]map[int32]sarama.OffsetAndMetadata{
		topic: {partition: {Offset: offset, LeaderEpoch: -1}},
	}
	answer, err := s.admin.AlterConsumerGroupOffsets(group, offsets, nil)
	if err != nil {
		return err
	}
	if refused := answer.Errors[topic][partition]; refused != sarama.ErrNoError {
		return refused
	}
	return nil
}

func (s *ibm) deleteCommitted(group, topic string, partition int32) error {
	return s.admin.DeleteConsumerGroupOffset(group, topic, partition)
}

func (s *ibm) deleteRecords(topic string, partition int32, before int64) (int64, error) {
	if err := s.admin.DeleteRecords(topic, map[int32]int64{partition: before}); err != nil {
		return nowhere, err
	}
	return s.listOffset(topic, partition, earliest, false)
}

func (s *ibm) listOffset(topic string, partition int32, at int64, committed bool) (int64, error) {
	options := &sarama.ListOffsetsOptions{}
	if committed {
		options.IsolationLevel = sarama.ReadCommitted
	}
	places := map[string]map[int32]int64{topic: {partition: at}}
	listed, err := s.admin.ListOffsets(places, options)
	if err != nil {
		return nowhere, err
	}
	found := listed[topic][partition]
	if errors.Is(found.Err, sarama.ErrNoError) {
		return found.Offset, nil
	}
	return found.Offset, found.Err
}

func (s *ibm) code(err error) int {
	var known sarama.KError
	if errors.As(err, &known) {
		return int(known)
	}
	var about *sarama.TopicError
	if errors.As(err, &about) {
		return int(about.Err)
	}
	var grown *sarama.TopicPartitionError
	if errors.As(err, &grown) {
		return int(grown.Err)
	}
	return -1
}
