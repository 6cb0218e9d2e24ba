package main

import (
	"context"
	"errors"
	"strings"
	"time"
)

// patience is what one call of a client may take on a busy machine.
const patience = 60 * time.Second

// errNotOffered is the answer of a call that the client does not have.
var errNotOffered = errors.New("the client has no call for it")

// The special times of ListOffsets.
const (
	latest   int64 = -1
	earliest int64 = -2
)

// nowhere stands for an offset that is not there.
const nowhere int64 = -1

// record is what must come back as it was sent; a nil value is a tombstone.
type record struct {
	key       string
	value     []byte
	header    string
	partition int32
	offset    int64
	timestamp int64
}

type producing struct {
	codec           string
	idempotent      bool
	transactionalID string
	// The group whose offset in the source's partition 0 the transactions move.
	group, source string
}

// The ways in which a group shares its partitions.
type protocol int

const (
	eager protocol = iota
	cooperative
	nextGeneration
)

// client is what the scenarios ask of every client.
type client interface {
	producer(settings producing) (producer, error)
	// read reads every partition from its beginning until count records came.
	read(topic string, partitions int32, committed bool, count int) ([]record, error)
	// fetchAt asks for records at an offset, whatever it is.
	fetchAt(topic string, partition int32, offset int64) error
	// member consumes in a group until the context ends, and leaves with its offsets committed.
	member(ctx context.Context, group, topic string, how protocol, hears ownership) error

	createTopic(name string, partitions, replicas int, configs map[string]string) error
	growTopic(name string, partitions int) error
	deleteTopic(name string) error
	// partitions is 0 when there is no such topic.
	partitions(topic string) (int, error)
	config(topic, name string) (string, error)
	alterConfig(topic string, change change) error

	listGroups() ([]string, error)
	describeGroup(group string) (state string, members int, err error)
	deleteGroup(group string) error
	committed(group, topic string, partition int32) (int64, error)
	commit(group, topic string, partition int32, offset int64) error
	deleteCommitted(group, topic string, partition int32) error

	// deleteRecords returns the partition's new start.
	deleteRecords(topic string, partition int32, before int64) (int64, error)
	listOffset(topic string, partition int32, at int64, committed bool) (int64, error)

	// code is the Kafka error in an error, or -1.
	code(err error) int
}

type producer interface {
	// send returns when every record is acknowledged. Records without a partition go by key.
	send(topic string, records []record) error
	begin() error
	commit() error
	abort() error
	// sendOffset makes the group's offset part of the transaction.
	sendOffset(offset int64) error
	close()
}

// ownership hears what a member is given, what it reads and what it gives up.
type ownership interface {
	assigned(partitions []int32)
	revoked(partitions []int32)
	saw(record record)
}

// change is one operation of IncrementalAlterConfigs.
type change struct {
	operation   operation
	name, value string
}

type operation int8

const (
	set operation = iota
	unset
	append_
	subtract
)

// byKey leaves the choice of a record's partition to its key.
const byKey int32 = -1

func sanitized(scenario string) string { return strings.ReplaceAll(scenario, " ", "-") }

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}
