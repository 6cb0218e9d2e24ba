package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is twmb/franz-go, with kadm for administration.
type franz struct {
	bootstrap string
	admin     *kadm.Client
}

func newFranz(bootstrap string) client {
	f := &franz{bootstrap: bootstrap}
	f.admin = kadm.NewClient(must(kgo.NewClient(f.options()...)))
	return f
}

func (f *franz) options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(f.bootstrap),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, more...)
}

// franzProducer has a session when its transactions move a group's offsets.
type franzProducer struct {
	client  *kgo.Client
	session *kgo.GroupTransactSession
}

func (f *franz) producer(settings producing) (producer, error) {
	codecs := map[string]kgo.CompressionCodec{
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	}
	options := f.options(kgo.RecordPartitioner(franzPartitioner()))
	if codec, named := codecs[settings.codec]; named {
		options = append(options, kgo.ProducerBatchCompression(codec))
	} else {
		options = append(options, kgo.ProducerBatchCompression(kgo.NoCompression()))
	}
	switch {
	case settings.group != "":
		session, err := kgo.NewGroupTransactSession(append(options,
			kgo.TransactionalID(settings.transactionalID),
			kgo.ConsumerGroup(settings.group),
			kgo.ConsumeTopics(settings.source),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		if err != nil {
			return nil, err
		}
		return &franzProducer{session.Client(), session}, nil
	case settings.transactionalID != "":
		options = append(options, kgo.TransactionalID(settings.transactionalID))
	case !settings.idempotent:
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	return &franzProducer{client: client}, err
}

// franzPartitioner takes the partition of a record that has one, and else the hash of its key.
func franzPartitioner() kgo.Partitioner {
	keyed := kgo.StickyKeyPartitioner(nil)
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		hashed := keyed.ForTopic(topic)
		return func(r *kgo.Record, count int) int {
			if r.Partition != byKey {
				return int(r.Partition)
			}
			return hashed.Partition(r, count)
		}
	})
}

func (p *franzProducer) send(topic string, records []record) error {
	ctx, cancel := within()
	defer cancel()
	all := make([]*kgo.Record, len(records))
	for n, one := range records {
		all[n] = &kgo.Record{
			Topic:     topic,
			Partition: one.partition,
			Key:       []byte(one.key),
			Value:     one.value,
			Headers:   []kgo.RecordHeader{{Key: "h", Value: []byte(one.header)}},
		}
		if one.timestamp != 0 {
			all[n].Timestamp = time.UnixMilli(one.timestamp)
		}
	}
	return p.client.ProduceSync(ctx, all...).FirstErr()
}

// sendOffset reads up to the offset: the session sends the positions of what it polled.
func (p *franzProducer) sendOffset(offset int64) error {
	ctx, cancel := within()
	defer cancel()
	for read := int64(0); read < offset; {
		fetches := p.session.PollRecords(ctx, int(offset-read))
		if err := fetches.Err(); err != nil {
			return err
		}
		read += int64(fetches.NumRecords())
	}
	return nil
}

func (p *franzProducer) begin() error {
	if p.session != nil {
		return p.session.Begin()
	}
	return p.client.BeginTransaction()
}

func (p *franzProducer) commit() error { return p.end(kgo.TryCommit) }
func (p *franzProducer) abort() error  { return p.end(kgo.TryAbort) }

func (p *franzProducer) end(how kgo.TransactionEndTry) error {
	ctx, cancel := within()
	defer cancel()
	if p.session != nil {
		committed, err := p.session.End(ctx, how)
		if err == nil && bool(how) != committed {
			err = errors.New("the session aborted")
		}
		return err
	}
	return p.client.EndTransaction(ctx, how)
}

func (p *franzProducer) close() {
	if p.session != nil {
		p.session.Close()
		return
	}
	p.client.Close()
}

func (f *franz) read(topic string, _ int32, committed bool, count int) ([]record, error) {
	ctx, cancel := within()
	defer cancel()
	level := kgo.ReadUncommitted()
	if committed {
		level = kgo.ReadCommitted()
	}
	reader, err := kgo.NewClient(f.options(
		kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(level),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var read []record
	for len(read) < count {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return read, err
		}
		fetches.EachRecord(func(r *kgo.Record) { read = append(read, franzRecord(r)) })
	}
	return read, nil
}

func franzRecord(r *kgo.Record) record {
	one := record{
		key:       string(r.Key),
		value:     r.Value,
		partition: r.Partition,
		offset:    r.Offset,
		timestamp: r.Timestamp.UnixMilli(),
	}
	for _, header := range r.Headers {
		one.header = string(header.Value)
	}
	return one
}

func (f *franz) fetchAt(topic string, partition int32, offset int64) error {
	ctx, cancel := within()
	defer cancel()
	reader, err := kgo.NewClient(f.options(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			topic: {partition: kgo.NewOffset().At(offset)},
		}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return err
	}
	defer reader.Close()
	return reader.PollFetches(ctx).Err()
}

func (f *franz) member(
	ctx context.Context, group, topic string, how protocol, hears ownership,
) error {
	assigned := func(_ context.Context, _ *kgo.Client, given map[string][]int32) {
		hears.assigned(given[topic])
	}
	// What was polled is committed before it may belong to somebody else.
	revoked := func(_ context.Context, c *kgo.Client, taken map[string][]int32) {
		ctx, cancel := within()
		defer cancel()
		check(c.CommitUncommittedOffsets(ctx))
		hears.revoked(taken[topic])
	}
	options := f.options(
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.OnPartitionsAssigned(assigned),
		kgo.OnPartitionsRevoked(revoked),
	)
	switch how {
	case eager:
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	case cooperative:
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	case nextGeneration:
		options = append(options, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	}
	consumer, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer consumer.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		fetches.EachRecord(func(r *kgo.Record) { hears.saw(franzRecord(r)) })
		consumer.AllowRebalance()
	}
	return nil
}

func (f *franz) createTopic(name string, partitions, replicas int, configs map[string]string) error {
	ctx, cancel := within()
	defer cancel()
	settings := map[string]*string{}
	for name, value := range configs {
		settings[name] = &value
	}
	answer, err := f.admin.CreateTopic(ctx, int32(partitions), int16(replicas), settings, name)
	return errors.Join(err, answer.Err)
}

func (f *franz) growTopic(name string, partitions int) error {
	ctx, cancel := within()
	defer cancel()
	answers, err := f.admin.UpdatePartitions(ctx, partitions, name)
	return errors.Join(err, answers[name].Err)
}

func (f *franz) deleteTopic(name string) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := f.admin.DeleteTopic(ctx, name)
	return errors.Join(err, answer.Err)
}

func (f *franz) partitions(topic string) (int, error) {
	ctx, cancel := within()
	defer cancel()
	listed, err := f.admin.ListTopics(ctx, topic)
	return len(listed[topic].Partitions), err
}

func (f *franz) config(topic, name string) (string, error) {
	ctx, cancel := within()
	defer cancel()
	described, err := f.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	resource, err := described.On(topic, nil)
	for _, config := range resource.Configs {
		if config.Key == name {
			return config.MaybeValue(), err
		}
	}
	return "", errors.Join(err, resource.Err)
}

func (f *franz) alterConfig(topic string, change change) error {
	ctx, cancel := within()
	defer cancel()
	altered := kadm.AlterConfig{
		Op:    kadm.IncrementalOp(change.operation),
		Name:  change.name,
		Value: &change.value,
	}
	answers, err := f.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{altered}, topic)
	if err != nil {
		return err
	}
	answer, err := answers.On(topic, nil)
	return errors.Join(err, answer.Err)
}

func (f *franz) listGroups() ([]string, error) {
	ctx, cancel := within()
	defer cancel()
	listed, err := f.admin.ListGroups(ctx)
	return listed.Groups(), err
}

func (f *franz) describeGroup(group string) (string, int, error) {
	ctx, cancel := within()
	defer cancel()
	described, err := f.admin.DescribeGroups(ctx, group)
	one := described[group]
	return one.State, len(one.Members), errors.Join(err, one.Err)
}

func (f *franz) deleteGroup(group string) error {
	ctx, cancel := within()
	defer cancel()
	answer, err := f.admin.DeleteGroup(ctx, group)
	return errors.Join(err, answer.Err)
}

func (f *franz) committed(group, topic string, partition int32) (int64, error) {
	ctx, cancel := within()
	defer cancel()
	fetched, err := f.admin.FetchOffsetsForTopics(ctx, group, topic)
	found, there := fetched.Lookup(topic, partition)
	if !there {
		return nowhere, err
	}
	return found.At, errors.Join(err, found.Err)
}

func (f *franz) commit(group, topic string, partition int32, offset int64) error {
	ctx, cancel := within()
	defer cancel()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, offset, -1)
	return f.admin.CommitAllOffsets(ctx, group, offsets)
}

func (f *franz) deleteCommitted(group, topic string, partition int32) error {
	ctx, cancel := within()
	defer cancel()
	places := kadm.TopicsSet{}
	places.Add(topic, partition)
	answers, err := f.admin.DeleteOffsets(ctx, group, places)
	return errors.Join(err, answers.Error())
}

func (f *franz) deleteRecords(topic string, partition int32, before int64) (int64, error) {
	ctx, cancel := within()
	defer cancel()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, before, -1)
	answers, err := f.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return nowhere, err
	}
	answer, err := answers.On(topic, partition, nil)
	return answer.LowWatermark, errors.Join(err, answer.Err)
}

func (f *franz) listOffset(topic string, partition int32, at int64, committed bool) (int64, error) {
	ctx, cancel := within()
	defer cancel()
	var listed kadm.ListedOffsets
	var err error
	switch {
	case at == latest && committed:
		listed, err = f.admin.ListCommittedOffsets(ctx, topic)
	case at == latest:
		listed, err = f.admin.ListEndOffsets(ctx, topic)
	case at == earliest:
		listed, err = f.admin.ListStartOffsets(ctx, topic)
	default:
		listed, err = f.admin.ListOffsetsAfterMilli(ctx, at, topic)
	}
	found, _ := listed.Lookup(topic, partition)
	if at >= 0 && found.Timestamp < 0 {
		// kadm answers with the end of the log where the broker found nothing.
		return nowhere, errors.Join(err, found.Err)
	}
	return found.Offset, errors.Join(err, found.Err)
}

func (f *franz) code(err error) int {
	var known *kerr.Error
	if errors.As(err, &known) {
		return int(known.Code)
	}
	return -1
}
