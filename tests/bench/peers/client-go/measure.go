package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Latencies in steps of 1/128, as in tests/bench/load/src/measure.rs.
const power = 7

type histogram struct{ buckets [128 * 58]atomic.Uint64 }

func (h *histogram) add(value uint64) {
	index := value
	if value >= 1<<(power+1) {
		high := bits.Len64(value) - 1
		index = uint64(high-power+1)<<power + (value>>(high-power))&(1<<power-1)
	}
	h.buckets[index].Add(1)
}

// most is the largest value of a bucket.
func most(index uint64) uint64 {
	if index < 1<<(power+1) {
		return index
	}
	shift := index>>power - 1
	return (1<<power+index&(1<<power-1)+1)<<shift - 1
}

func (h *histogram) clear() {
	for i := range h.buckets {
		h.buckets[i].Store(0)
	}
}

func (h *histogram) quantiles(wanted ...float64) (uint64, []float64) {
	total, counts := uint64(0), make([]uint64, len(h.buckets))
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	micros := make([]float64, len(wanted))
	for i, quantile := range wanted {
		seen := uint64(0)
		for index, count := range counts {
			seen += count
			if float64(seen) >= quantile*float64(total) {
				micros[i] = float64(most(uint64(index))) / 1e3
				break
			}
		}
	}
	return total, micros
}

func measure(t task, k *keys, operate func(caller uint32, turn uint64) error) (*outcome, error) {
	var stop atomic.Bool
	latencies, failed := new(histogram), make(chan error, t.Callers)
	for caller := uint32(0); caller < t.Callers; caller++ {
		go func(caller uint32) {
			began := time.Now()
			for turn := uint64(0); !stop.Load(); turn++ {
				if err := operate(caller, turn); err != nil {
					failed <- err
					return
				}
				now := time.Now()
				latencies.add(uint64(now.Sub(began)))
				began = now
			}
		}(caller)
	}
	wait := func(seconds float64) error {
		select {
		case err := <-failed:
			return err
		case <-time.After(time.Duration(seconds * float64(time.Second))):
			return nil
		}
	}
	if err := wait(t.WarmUp); err != nil {
		return nil, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpuBefore, began := cpu(), time.Now()
	latencies.clear()
	if err := wait(t.Seconds); err != nil {
		return nil, err
	}
	operations, micros := latencies.quantiles(0.5, 0.99, 0.999)
	cpuAfter, seconds := cpu(), time.Since(began).Seconds()
	runtime.ReadMemStats(&after)
	stop.Store(true)
	if operations == 0 {
		return nil, errors.New("not one operation ended in the whole time")
	}
	peak, err := peakKiB()
	if err != nil {
		return nil, err
	}
	allocations := float64(after.Mallocs-before.Mallocs) / float64(operations)
	return &outcome{
		Operations:  operations,
		PerSecond:   float64(operations) / seconds,
		CPUMicros:   (cpuAfter - cpuBefore) * 1e6 / float64(operations),
		P50Micros:   micros[0],
		P99Micros:   micros[1],
		P999Micros:  micros[2],
		Allocations: &allocations,
		PeakKiB:     peak,
		Draws:       k.checksum(),
	}, nil
}

// cpu is the CPU time of this process in seconds, user and kernel.
func cpu() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// peakKiB is the most memory this process has held; rusage would count what its parent held before it.
func peakKiB() (uint64, error) {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		var kib uint64
		if strings.HasPrefix(lines.Text(), "VmHWM:") {
			_, err := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib)
			return kib, err
		}
	}
	return 0, errors.New("no VmHWM")
}
