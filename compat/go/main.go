// Go's clients against a broker: one line of JSON per scenario.
//
// Usage: compat CLIENT BOOTSTRAP SCENARIO...
//
// Scenarios run side by side, each with topics and groups of its own. A line is either
// {"scenario": NAME, "saw": FACTS} or {"scenario": NAME, "failed": REASON}. Every client is seen
// through the same interface, so facts have the same names and meanings; a fact that a client has
// no call for is not in its line.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
)

// facts are what a scenario saw.
type facts map[string]any

var clients = map[string]func(bootstrap string) client{
	"franz-go": newFranz,
	"sarama":   newSarama,
	"kafka-go": newKafkaGo,
}

var scenarios = map[string]func(c client, prefix string) facts{
	"codecs":            codecs,
	"idempotence":       idempotence,
	"transactions":      transactions,
	"group":             churnWith(eager),
	"cooperative group": churnWith(cooperative),
	"consumer protocol": churnWith(nextGeneration),
	"migration":         migrationFrom(eager),
	"topics":            topics,
	"configs":           configs,
	"groups":            groups,
	"records":           deleteAndFind,
	"refusals":          refusals,

	"cooperative migration": migrationFrom(cooperative),
}

type line struct {
	Scenario string `json:"scenario"`
	Saw      facts  `json:"saw,omitempty"`
	Failed   string `json:"failed,omitempty"`
}

func main() {
	if len(os.Args) < 4 || clients[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: compat franz-go|sarama|kafka-go BOOTSTRAP SCENARIO...")
		os.Exit(2)
	}
	name, bootstrap := os.Args[1], os.Args[2]
	client := clients[name](bootstrap)
	var running sync.WaitGroup
	var out sync.Mutex
	for _, scenario := range os.Args[3:] {
		running.Go(func() {
			said := play(client, name, scenario)
			out.Lock()
			defer out.Unlock()
			check(json.NewEncoder(os.Stdout).Encode(said))
		})
	}
	running.Wait()
}

func play(c client, name, scenario string) (said line) {
	said.Scenario = scenario
	run := scenarios[scenario]
	if run == nil {
		said.Failed = "there is no such scenario"
		return said
	}
	defer func() {
		if failed := recover(); failed != nil {
			said.Failed = fmt.Sprint(failed)
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", scenario, failed, debug.Stack())
		}
	}()
	said.Saw = run(c, fmt.Sprintf("%s.%s.%d", name, sanitized(scenario), os.Getpid()))
	return said
}

// check ends a scenario at an error that it does not expect.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// must is check for calls that also return a value.
func must[T any](value T, err error) T {
	check(err)
	return value
}
