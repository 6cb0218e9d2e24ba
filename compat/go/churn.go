package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// sharing is what the members of one group own and read, as they see it.
type sharing struct {
	lock     sync.Mutex
	owners   map[int32]*member
	owned    map[*member][]int32
	read     map[string]int
	overlaps int
	together int
}

func newSharing() *sharing {
	return &sharing{
		owners: map[int32]*member{},
		owned:  map[*member][]int32{},
		read:   map[string]int{},
	}
}

type member struct {
	shared *sharing
	stop   context.CancelFunc
	done   chan error
}

func (s *sharing) join(c client, group, topic string, how protocol) *member {
	ctx, stop := context.WithCancel(context.Background())
	m := &member{shared: s, stop: stop, done: make(chan error, 1)}
	go func() { m.done <- c.member(ctx, group, topic, how, m) }()
	return m
}

// failed ends the scenario with what ended the member.
func (m *member) failed() {
	select {
	case err := <-m.done:
		panic(fmt.Sprint("a member ended: ", err))
	default:
	}
}

// leave returns when the member is out of the group.
func (m *member) leave() {
	m.stop()
	check(<-m.done)
}

func (m *member) assigned(partitions []int32) {
	s := m.shared
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, partition := range partitions {
		if owner := s.owners[partition]; owner != nil && owner != m {
			s.overlaps++
		}
		s.owners[partition] = m
		if !slices.Contains(s.owned[m], partition) {
			s.owned[m] = append(s.owned[m], partition)
		}
	}
	busy := 0
	for _, owned := range s.owned {
		if len(owned) > 0 {
			busy++
		}
	}
	s.together = max(s.together, busy)
}

func (m *member) revoked(partitions []int32) {
	s := m.shared
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, partition := range partitions {
		if s.owners[partition] == m {
			s.owners[partition] = nil
		}
	}
	s.owned[m] = slices.DeleteFunc(s.owned[m], func(p int32) bool {
		return slices.Contains(partitions, p)
	})
}

func (m *member) saw(one record) {
	s := m.shared
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.owners[one.partition] != m {
		s.overlaps++
	}
	s.read[string(one.value)]++
}

func (s *sharing) distinct() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.read)
}

// shares is how many of the partitions each of these members owns.
func (s *sharing) shares(members ...*member) []int {
	s.lock.Lock()
	defer s.lock.Unlock()
	shares := make([]int, len(members))
	for n, m := range members {
		shares[n] = len(s.owned[m])
	}
	return shares
}

const partitions, batch = 4, 40

// flowing is a group through which records flow while members come and go.
type flowing struct {
	client client
	name   string
	out    producer
	shared *sharing
	sent   int
}

func newFlowing(c client, name string) *flowing {
	create(c, name, partitions, nil)
	return &flowing{client: c, name: name, out: must(c.producer(producing{})), shared: newSharing()}
}

func (f *flowing) flow() {
	records := numbered(fmt.Sprintf("batch%d", f.sent), batch)
	for n := range records {
		records[n].partition = int32(n % partitions)
	}
	check(f.out.send(f.name, records))
	f.sent += batch
}

func (f *flowing) join(how protocol) *member {
	f.flow()
	return f.shared.join(f.client, f.name, f.name, how)
}

func (f *flowing) settled(members ...*member) {
	eventually("every partition has an owner among those who are there", func() bool {
		for _, m := range members {
			m.failed()
		}
		shares, sum := f.shared.shares(members...), 0
		for _, share := range shares {
			sum += share
		}
		return sum == partitions && slices.Min(shares) > 0
	})
	f.flow()
}

// end lets the last member read what is left, and leave.
func (f *flowing) end(last *member) facts {
	defer f.out.close()
	eventually("every record", func() bool {
		last.failed()
		return f.shared.distinct() == f.sent
	})
	last.leave()
	repeated := 0
	for _, times := range f.shared.read {
		repeated += times - 1
	}
	return facts{
		"read":             f.shared.distinct(),
		"read twice":       repeated,
		"two owners":       f.shared.overlaps,
		"owners at a time": f.shared.together,
	}
}

// churnWith lets members join and leave while records flow.
func churnWith(how protocol) func(c client, prefix string) facts {
	return func(c client, prefix string) facts {
		group := newFlowing(c, prefix)
		first := group.join(how)
		group.settled(first)
		second := group.join(how)
		group.settled(first, second)
		third := group.join(how)
		group.settled(first, second, third)
		first.leave()
		group.settled(second, third)
		second.leave()
		group.settled(third)
		return group.end(third)
	}
}

// migrationFrom lets a classic group become one of KIP-848, go back, and move for good.
func migrationFrom(classic protocol) func(c client, prefix string) facts {
	return func(c client, prefix string) facts {
		group := newFlowing(c, prefix)
		first := group.join(classic)
		group.settled(first)
		second := group.join(classic)
		group.settled(first, second)
		third := group.join(nextGeneration)
		group.settled(first, second, third)
		third.leave()
		group.settled(first, second)
		fourth := group.join(nextGeneration)
		group.settled(first, second, fourth)
		first.leave()
		group.settled(second, fourth)
		second.leave()
		group.settled(fourth)
		return group.end(fourth)
	}
}
