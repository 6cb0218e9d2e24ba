package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// codecs sends with every compression and counts the records that come back as they went, in the
// order of their keys.
func codecs(c client, prefix string) facts {
	const count = 200
	saw := facts{}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := prefix + "." + codec
		create(c, topic, 4, nil)
		sent := numbered(codec, count)
		sent[count-1].value = nil
		p := must(c.producer(producing{codec: codec}))
		check(p.send(topic, sent))
		p.close()
		saw[codec] = sameByKey(sent, must(c.read(topic, 4, false, count)))
	}
	return saw
}

// idempotence sends many batches at once to one partition.
func idempotence(c client, prefix string) facts {
	const count = 500
	create(c, prefix, 1, nil)
	p, err := c.producer(producing{idempotent: true})
	check(err)
	check(p.send(prefix, numbered("once", count)))
	p.close()
	read := must(c.read(prefix, 1, false, count))
	inOrder := slices.IsSortedFunc(read, func(a, b record) int { return number(a) - number(b) })
	return facts{
		"read":     len(read),
		"in order": inOrder,
		"latest":   must(c.listOffset(prefix, 0, latest, false)),
	}
}

// transactions commits, aborts, commits, leaves one open for a while, moves a group's offset, and
// is fenced by a second producer of the same name.
func transactions(c client, prefix string) facts {
	const each = 5
	create(c, prefix, 1, nil)
	p := must(c.producer(producing{transactionalID: prefix}))
	for _, tag := range []string{"a", "b", "c"} {
		check(p.begin())
		check(p.send(prefix, numbered(tag, each)))
		if tag == "b" {
			check(p.abort())
		} else {
			check(p.commit())
		}
	}
	saw := facts{
		"committed":   tags(must(c.read(prefix, 1, true, 2*each))),
		"uncommitted": tags(must(c.read(prefix, 1, false, 3*each))),
	}
	check(p.begin())
	check(p.send(prefix, numbered("d", each)))
	saw["stable while open"] = must(c.listOffset(prefix, 0, latest, true))
	saw["latest while open"] = must(c.listOffset(prefix, 0, latest, false))
	check(p.abort())

	group := prefix + ".group"
	reader := must(c.producer(producing{transactionalID: group, group: group, source: prefix}))
	check(reader.begin())
	check(reader.sendOffset(3))
	check(reader.abort())
	saw["offset after abort"] = must(c.committed(group, prefix, 0))
	check(reader.begin())
	check(reader.sendOffset(5))
	check(reader.commit())
	// The coordinator answers before the group has its marker.
	eventually("the offset", func() bool { return must(c.committed(group, prefix, 0)) == 5 })
	saw["offset after commit"] = must(c.committed(group, prefix, 0))
	reader.close()

	check(p.begin())
	check(p.send(prefix, numbered("e", 1)))
	second := must(c.producer(producing{transactionalID: prefix}))
	check(second.begin())
	check(second.send(prefix, numbered("f", each)))
	saw["fenced"] = p.commit() != nil
	check(second.commit())
	saw["after fencing"] = tags(must(c.read(prefix, 1, true, 3*each)))
	p.close()
	second.close()
	return saw
}

func topics(c client, prefix string) facts {
	saw := facts{}
	made := prefix + ".made"
	create(c, made, 3, map[string]string{"max.message.bytes": "2000000"})
	note(saw, "again", c.code, c.createTopic(made, 3, 1, nil))
	note(saw, "bad name", c.code, c.createTopic(prefix+"/slash", 1, 1, nil))
	note(saw, "three replicas", c.code, c.createTopic(prefix+".replicas", 1, 3, nil))
	unknown := map[string]string{"no.such.config": "1"}
	note(saw, "bad config", c.code, c.createTopic(prefix+".config", 1, 1, unknown))
	check(c.growTopic(made, 6))
	note(saw, "shrunk", c.code, c.growTopic(made, 2))
	eventually("six partitions", func() bool { return must(c.partitions(made)) == 6 })
	p := must(c.producer(producing{}))
	check(p.send(made, []record{{key: "k", value: []byte("v"), partition: 5}}))
	p.close()
	saw["in the new partition"] = len(must(c.read(made, 6, false, 1)))
	check(c.deleteTopic(made))
	eventually("the topic is gone", func() bool { return must(c.partitions(made)) == 0 })
	note(saw, "deleted again", c.code, c.deleteTopic(made))
	return saw
}

// configs changes a topic with the four operations of IncrementalAlterConfigs.
func configs(c client, prefix string) facts {
	create(c, prefix, 1, map[string]string{"max.message.bytes": "2000000"})
	saw := facts{"created with": must(c.config(prefix, "max.message.bytes"))}
	for _, change := range []change{
		{set, "retention.ms", "1000000"},
		{append_, "cleanup.policy", "compact"},
	} {
		if !offered(c.alterConfig(prefix, change)) {
			return saw
		}
	}
	is := func(name, value string) func() bool {
		return func() bool { return must(c.config(prefix, name)) == value }
	}
	eventually("set", is("retention.ms", "1000000"))
	eventually("appended", is("cleanup.policy", "delete,compact"))
	saw["set"] = must(c.config(prefix, "retention.ms"))
	saw["appended"] = must(c.config(prefix, "cleanup.policy"))
	check(c.alterConfig(prefix, change{subtract, "cleanup.policy", "delete"}))
	check(c.alterConfig(prefix, change{unset, "retention.ms", ""}))
	eventually("subtracted", is("cleanup.policy", "compact"))
	eventually("unset", is("retention.ms", "604800000"))
	saw["subtracted"] = must(c.config(prefix, "cleanup.policy"))
	saw["unset"] = must(c.config(prefix, "retention.ms"))
	saw["untouched"] = must(c.config(prefix, "max.message.bytes"))
	note(saw, "unknown", c.code, c.alterConfig(prefix, change{set, "no.such.config", "1"}))
	note(saw, "bad value", c.code, c.alterConfig(prefix, change{set, "retention.ms", "soon"}))
	return saw
}

// groups looks at a group while it has a member and after, and changes and deletes its offsets.
func groups(c client, prefix string) facts {
	create(c, prefix, 1, nil)
	p := must(c.producer(producing{}))
	check(p.send(prefix, numbered("read", 10)))
	p.close()

	group := prefix + ".group"
	saw := facts{}
	shared := newSharing()
	member := shared.join(c, group, prefix, eager)
	eventually("ten records", func() bool { return shared.distinct() == 10 })
	saw["listed"] = slices.Contains(must(c.listGroups()), group)
	state, members, err := c.describeGroup(group)
	check(err)
	saw["state"], saw["members"] = state, members
	note(saw, "deleted while busy", c.code, c.deleteGroup(group))
	member.leave()
	state, _, err = c.describeGroup(group)
	check(err)
	saw["state after leaving"] = state

	saw["committed"] = must(c.committed(group, prefix, 0))
	if offered(c.commit(group, prefix, 0, 4)) {
		saw["altered"] = must(c.committed(group, prefix, 0))
	}
	if offered(c.deleteCommitted(group, prefix, 0)) {
		saw["offset deleted"] = must(c.committed(group, prefix, 0))
	}
	check(c.deleteGroup(group))
	saw["listed after deletion"] = slices.Contains(must(c.listGroups()), group)
	note(saw, "deleted again", c.code, c.deleteGroup(group))
	return saw
}

// deleteAndFind finds offsets by time and deletes the first records.
func deleteAndFind(c client, prefix string) facts {
	create(c, prefix, 1, nil)
	start := time.Now().UnixMilli() - 100_000
	sent := numbered("timed", 10)
	for n := range sent {
		sent[n].timestamp = start + int64(n)*1000
	}
	p := must(c.producer(producing{}))
	for _, one := range sent {
		check(p.send(prefix, []record{one}))
	}
	p.close()

	at := func(time int64) int64 { return must(c.listOffset(prefix, 0, time, false)) }
	saw := facts{
		"earliest":   at(earliest),
		"latest":     at(latest),
		"at a time":  at(start + 3500),
		"after last": at(start + 1_000_000),
	}
	first, err := c.deleteRecords(prefix, 0, 6)
	if offered(err) {
		saw["deleted before"] = first
		saw["earliest then"] = at(earliest)
		saw["read then"] = len(must(c.read(prefix, 1, false, 4)))
		_, err = c.deleteRecords(prefix, 0, 11)
		note(saw, "deleted beyond the end", c.code, err)
	}
	return saw
}

func refusals(c client, prefix string) facts {
	saw := facts{}
	create(c, prefix, 1, map[string]string{"max.message.bytes": "1000"})
	p := must(c.producer(producing{}))
	large := record{key: "k", value: bytes.Repeat([]byte("x"), 5000)}
	note(saw, "too large", c.code, p.send(prefix, []record{large}))
	check(p.send(prefix, numbered("small", 1)))
	p.close()
	saw["read"] = len(must(c.read(prefix, 1, false, 1)))
	note(saw, "out of range", c.code, c.fetchAt(prefix, 0, 1000))
	return saw
}

// create makes a topic and waits until the client sees it.
func create(c client, topic string, partitions int, configs map[string]string) {
	check(c.createTopic(topic, partitions, 1, configs))
	eventually("the topic is there", func() bool { return must(c.partitions(topic)) == partitions })
}

// note keeps the Kafka error of a call, 0 when it is granted; nothing if there is no such call.
func note(saw facts, name string, code func(error) int, err error) {
	switch {
	case err == nil:
		saw[name] = 0
	case errors.Is(err, errNotOffered):
	case code(err) < 0:
		saw[name] = err.Error()
	default:
		saw[name] = code(err)
	}
}

// offered is whether the client has the call that ended so; any other error ends the scenario.
func offered(err error) bool {
	if errors.Is(err, errNotOffered) {
		return false
	}
	check(err)
	return true
}

func numbered(tag string, count int) []record {
	records := make([]record, count)
	for n := range records {
		records[n] = record{
			key:       fmt.Sprintf("k%d", n%7),
			value:     []byte(fmt.Sprintf("%s %d", tag, n)),
			header:    fmt.Sprintf("h%d", n/50),
			partition: byKey,
		}
	}
	return records
}

func number(r record) int {
	var n int
	_, err := fmt.Sscanf(string(r.value), "once %d", &n)
	check(err)
	return n
}

// sameByKey counts the records that were read as they were sent, in the order of their keys.
func sameByKey(sent, read []record) int {
	of := func(records []record) map[string][]record {
		keys := map[string][]record{}
		for _, one := range records {
			keys[one.key] = append(keys[one.key], one)
		}
		return keys
	}
	same, came := 0, of(read)
	for key, wanted := range of(sent) {
		for n, one := range wanted {
			if n < len(came[key]) && sameRecord(one, came[key][n]) {
				same++
			}
		}
	}
	return same
}

func sameRecord(a, b record) bool {
	return bytes.Equal(a.value, b.value) && (a.value == nil) == (b.value == nil) &&
		a.header == b.header
}

// tags is how many records of each tag came, in order: "a5 c5".
func tags(records []record) string {
	var order []string
	counts := map[string]int{}
	for _, one := range records {
		tag, _, _ := strings.Cut(string(one.value), " ")
		if counts[tag] == 0 {
			order = append(order, tag)
		}
		counts[tag]++
	}
	for n, tag := range order {
		order[n] = fmt.Sprintf("%s%d", tag, counts[tag])
	}
	return strings.Join(order, " ")
}

// eventually waits for a condition that nothing tells of.
func eventually(what string, holds func() bool) {
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			panic("not within " + patience.String() + ": " + what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
