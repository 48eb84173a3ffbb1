// The program of client-go (the released v2.0.7) as `tikv-bench` runs it: one argument, a task; one line, its outcome.
//
// keys.go and measure.go do in Go what tests/bench/load does in Rust; that both draw the same keys is checked in each round.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/pingcap/log"
	"go.uber.org/zap"
)

// task is tests/bench/load/src/task.rs: Task.
type task struct {
	PD         []string `json:"pd"`
	Action     string   `json:"action"`
	Callers    uint32   `json:"callers"`
	ValueBytes uint32   `json:"value_bytes"`
	Draw       string   `json:"draw"`
	Keys       uint32   `json:"keys"`
	Seed       uint64   `json:"seed"`
	Run        uint64   `json:"run"`
	WarmUp     float64  `json:"warm_up"`
	Seconds    float64  `json:"seconds"`
}

// outcome is tests/bench/load/src/task.rs: Outcome.
type outcome struct {
	Operations  uint64   `json:"operations"`
	PerSecond   float64  `json:"per_second"`
	CPUMicros   float64  `json:"cpu_us"`
	P50Micros   float64  `json:"p50_us"`
	P99Micros   float64  `json:"p99_us"`
	P999Micros  float64  `json:"p999_us"`
	Allocations *float64 `json:"allocations"`
	PeakKiB     uint64   `json:"peak_kib"`
	Draws       string   `json:"draws"`
}

func main() {
	line, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(line)
}

func run() (string, error) {
	if len(os.Args) < 2 {
		return "", errors.New("no task")
	}
	if os.Args[1] == "routing" {
		return "", serveRouting()
	}
	var t task
	if err := json.Unmarshal([]byte(os.Args[1]), &t); err != nil {
		return "", err
	}
	// Its log at the level of warnings costs nothing and would be noise on the terminal.
	logger, properties, err := log.InitLogger(&log.Config{Level: "error"})
	if err != nil {
		return "", err
	}
	log.ReplaceGlobals(logger, properties)
	zap.ReplaceGlobals(logger)
	k := newKeys(t)
	operate, err := connect(t, k)
	if err != nil {
		return "", err
	}
	result, err := measure(t, k, operate)
	if err != nil {
		return "", err
	}
	line, err := json.Marshal(result)
	return string(line), err
}
