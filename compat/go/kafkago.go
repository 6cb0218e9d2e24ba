package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

// segment is segmentio/kafka-go.
type segment struct {
	bootstrap string
	client    *kafka.Client
}

func newKafkaGo(bootstrap string) client {
	return &segment{bootstrap, &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: patience}}
}

type segmentProducer struct{ writer *kafka.Writer }

func (s *segment) producer(settings producing) (producer, error) {
	if settings.idempotent || settings.transactionalID != "" {
		return nil, errNotOffered
	}
	codecs := map[string]kafka.Compression{
		"gzip":   kafka.Gzip,
		"snappy": kafka.Snappy,
		"lz4":    kafka.Lz4,
		"zstd":   kafka.Zstd,
	}
	return &segmentProducer{&kafka.Writer{
		Addr:         kafka.TCP(s.bootstrap),
		Balancer:     &segmentBalancer{},
		BatchTimeout: time.Millisecond,
		RequiredAcks: kafka.RequireAll,
		Compression:  codecs[settings.codec],
		// A transport of its own: partitions that were made since are not in an older one.
		Transport: &kafka.Transport{},
	}}, nil
}

// segmentBalancer takes the partition of a record that has one, and else the hash of its key.
type segmentBalancer struct{ hashed kafka.Hash }

func (b *segmentBalancer) Balance(m kafka.Message, partitions ...int) int {
	if chosen, is := m.WriterData.(int32); is && chosen != byKey {
		return int(chosen)
	}
	return b.hashed.Balance(m, partitions...)
}

func (p *segmentProducer) send(topic string, records []record) error {
	ctx, cancel := within()
	defer cancel()
	all := make([]kafka.Message, len(records))
	for n, one := range records {
		all[n] = kafka.Message{
			Topic:      topic,
			Key:        []byte(one.key),
			Value:      one.value,
			Headers:    []kafka.Header{{Key: "h", Value: []byte(one.header)}},
			WriterData: one.partition,
		}
		if one.timestamp != 0 {
			all[n].Time = time.UnixMilli(one.timestamp)
		}
	}
	return p.writer.WriteMessages(ctx, all...)
}

func (p *segmentProducer) begin() error           { return errNotOffered }
func (p *segmentProducer) commit() error          { return errNotOffered }
func (p *segmentProducer) abort() error           { return errNotOffered }
func (p *segmentProducer) sendOffset(int64) error { return errNotOffered }
func (p *segmentProducer) close()                 { check(p.writer.Close()) }

func (s *segment) reader(topic string, partition int32, isolation kafka.IsolationLevel) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers:        []string{s.bootstrap},
		Topic:          topic,
		Partition:      int(partition),
		IsolationLevel: isolation,
		MaxWait:        100 * time.Millisecond,
	})
}

func (s *segment) read(topic string, partitions int32, committed bool, count int) ([]record, error) {
	isolation := kafka.ReadUncommitted
	if committed {
		isolation = kafka.ReadCommitted
	}
	ctx, cancel := within()
	defer cancel()
	came := make(chan record)
	for partition := range partitions {
		reader := s.reader(topic, partition, isolation)
		defer reader.Close()
		go func() {
			for {
				m, err := reader.ReadMessage(ctx)
				if err != nil {
					return
				}
				select {
				case came <- segmentRecord(m):
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
		case <-ctx.Done():
			return read, ctx.Err()
		}
	}
	return read, nil
}

func segmentRecord(m kafka.Message) record {
	one := record{
		key:       string(m.Key),
		value:     m.Value,
		partition: int32(m.Partition),
		offset:    m.Offset,
		timestamp: m.Time.UnixMilli(),
	}
	for _, header := range m.Headers {
		one.header = string(header.Value)
	}
	return one
}

func (s *segment) fetchAt(topic string, partition int32, offset int64) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.Fetch(ctx, &kafka.FetchRequest{
		Topic: topic, Partition: int(partition), Offset: offset, MinBytes: 1, MaxBytes: 1 << 20,
		MaxWait: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	return answer.Error
}

// member reads each partition of a generation until the generation ends, and then commits.
func (s *segment) member(
	ctx context.Context, group, topic string, how protocol, hears ownership,
) error {
	if how != eager {
		return errNotOffered
	}
	consumer, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                group,
		Brokers:           []string{s.bootstrap},
		Topics:            []string{topic},
		GroupBalancers:    []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		HeartbeatInterval: 200 * time.Millisecond,
		SessionTimeout:    10 * time.Second,
		JoinGroupBackoff:  100 * time.Millisecond,
		StartOffset:       kafka.FirstOffset,
	})
	if err != nil {
		return err
	}
	// Closing ends the generation: its functions return and commit before the member leaves.
	left := make(chan error)
	context.AfterFunc(ctx, func() { left <- consumer.Close() })
	for {
		generation, err := consumer.Next(context.Background())
		switch {
		case errors.Is(err, kafka.ErrGroupClosed):
			return <-left
		case errors.Is(err, io.EOF):
			continue
		case err != nil:
			return err
		}
		s.consume(generation, topic, hears)
	}
}

func (s *segment) consume(generation *kafka.Generation, topic string, hears ownership) {
	for _, given := range generation.Assignments[topic] {
		partition := int32(given.ID)
		hears.assigned([]int32{partition})
		generation.Start(func(ctx context.Context) {
			reader := s.reader(topic, partition, kafka.ReadUncommitted)
			defer reader.Close()
			next := given.Offset
			check(reader.SetOffset(next))
			for {
				m, err := reader.ReadMessage(ctx)
				if err != nil {
					break
				}
				hears.saw(segmentRecord(m))
				next = m.Offset + 1
			}
			done := map[string]map[int]int64{topic: {int(partition): next}}
			if next >= 0 {
				check(generation.CommitOffsets(done))
			}
			hears.revoked([]int32{partition})
		})
	}
}

func (s *segment) createTopic(
	name string, partitions, replicas int, configs map[string]string,
) error {
	ctx, cancel := within()
	defer cancel()
	topic := kafka.TopicConfig{
		Topic: name, NumPartitions: partitions, ReplicationFactor: replicas,
	}
	for name, value := range configs {
		topic.ConfigEntries = append(topic.ConfigEntries,
			kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := s.client.CreateTopics(ctx,
		&kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[name]
}

func (s *segment) growTopic(name string, partitions int) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: name, Count: int32(partitions)}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[name]
}

func (s *segment) deleteTopic(name string) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil {
		return err
	}
	return answer.Errors[name]
}

func (s *segment) partitions(topic string) (int, error) {
	ctx, cancel := within()
	defer cancel()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	fresh := &kafka.Client{Addr: s.client.Addr, Transport: transport}
	answer, err := fresh.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || errors.Is(answer.Topics[0].Error, kafka.UnknownTopicOrPartition) {
		return 0, err
	}
	return len(answer.Topics[0].Partitions), answer.Topics[0].Error
}

func (s *segment) config(topic, name string) (string, error) {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name},
		}},
	})
	if err != nil {
		return "", err
	}
	resource := answer.Resources[0]
	if resource.Error != nil {
		return "", resource.Error
	}
	return resource.ConfigEntries[0].ConfigValue, nil
}

func (s *segment) alterConfig(topic string, change change) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic,
			ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{
				Name: change.name, Value: change.value,
				ConfigOperation: kafka.ConfigOperation(change.operation),
			}},
		}},
	})
	if err != nil {
		return err
	}
	return answer.Resources[0].Error
}

func (s *segment) listGroups() ([]string, error) {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, group := range answer.Groups {
		groups = append(groups, group.GroupID)
	}
	return groups, answer.Error
}

func (s *segment) describeGroup(group string) (string, int, error) {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.DescribeGroups(ctx,
		&kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", 0, err
	}
	one := answer.Groups[0]
	return one.GroupState, len(one.Members), one.Error
}

func (s *segment) deleteGroup(group string) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return answer.Errors[group]
}

func (s *segment) committed(group, topic string, partition int32) (int64, error) {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: group, Topics: map[string][]int{topic: {int(partition)}},
	})
	if err != nil {
		return nowhere, err
	}
	one := answer.Topics[topic][0]
	return one.CommittedOffset, errors.Join(answer.Error, one.Error)
}

func (s *segment) commit(group, topic string, partition int32, offset int64) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID:      group,
		GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{
			topic: {{Partition: int(partition), Offset: offset}},
		},
	})
	if err != nil {
		return err
	}
	return answer.Topics[topic][0].Error
}

func (s *segment) deleteCommitted(group, topic string, partition int32) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := s.client.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{
		GroupID: group, Topics: map[string][]int{topic: {int(partition)}},
	})
	if err != nil {
		return err
	}
	return errors.Join(answer.Error, answer.Topics[topic][0].Error)
}

func (s *segment) deleteRecords(string, int32, int64) (int64, error) {
	return nowhere, errNotOffered
}

func (s *segment) listOffset(topic string, partition int32, at int64, committed bool) (int64, error) {
	ctx, cancel := within()
	defer cancel()
	request := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {{Partition: int(partition), Timestamp: at}},
	}}
	if committed {
		request.IsolationLevel = kafka.ReadCommitted
	}
	answer, err := s.client.ListOffsets(ctx, request)
	if err != nil {
		return nowhere, err
	}
	one := answer.Topics[topic][0]
	switch at {
	case latest:
		return one.LastOffset, one.Error
	case earliest:
		return one.FirstOffset, one.Error
	}
	for offset := range one.Offsets {
		return offset, one.Error
	}
	return nowhere, one.Error
}

func (s *segment) code(err error) int {
	var known kafka.Error
	if errors.As(err, &known) {
		return int(known)
	}
	var several kafka.WriteErrors
	if errors.As(err, &several) {
		for _, one := range several {
			if one != nil {
				return s.code(one)
			}
		}
	}
	return -1
}
