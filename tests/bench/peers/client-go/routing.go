package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/tikv/client-go/v2/tikv"
	pd "github.com/tikv/pd/client"
)

// The region cache alone, on command: a line in, a line out. tests/bench/src/routing/peer.rs sends
//
//	regions N                  fill a new cache with N regions          -> KiB that the process has grown by
//	locate DRAW THREADS SEED MS  look regions up for about MS of CPU    -> ns of CPU for a lookup
//
// Keys and draws are those of tests/bench/src/routing/keys.rs.

const drawsOfRun = 16

// fakePD describes a cluster of so many regions, each of three peers, without a network.
type fakePD struct {
	pd.Client
	count int
}

func regionKey(number int) []byte {
	return []byte(fmt.Sprintf("bench/table/record/%08d", number))
}

func (p *fakePD) GetClusterID(context.Context) uint64 { return 1 }

func (p *fakePD) GetRegion(_ context.Context, key []byte, _ ...pd.GetRegionOption) (*pd.Region, error) {
	number := 0
	if _, err := fmt.Sscanf(string(key[:min(len(key), 27)]), "bench/table/record/%08d", &number); err != nil {
		return nil, err
	}
	id := uint64(number + 1)
	meta := &metapb.Region{Id: id, RegionEpoch: &metapb.RegionEpoch{ConfVer: 1, Version: 1}}
	if number > 0 {
		meta.StartKey = regionKey(number)
	}
	if number+1 < p.count {
		meta.EndKey = regionKey(number + 1)
	}
	for store := uint64(1); store <= 3; store++ {
		meta.Peers = append(meta.Peers, &metapb.Peer{Id: id*10 + store, StoreId: store})
	}
	return &pd.Region{Meta: meta, Leader: meta.Peers[id%3]}, nil
}

func (p *fakePD) GetStore(_ context.Context, id uint64) (*metapb.Store, error) {
	return &metapb.Store{Id: id, Address: fmt.Sprintf("store-%d:20160", id)}, nil
}

func (p *fakePD) GetAllStores(context.Context, ...pd.GetStoreOption) ([]*metapb.Store, error) {
	return nil, errors.New("not asked for")
}

type routing struct {
	cache *tikv.RegionCache
	count int
	keys  map[string][][]byte
}

func (r *routing) fill(count int) error {
	if r.cache != nil {
		r.cache.Close()
	}
	r.cache, r.count, r.keys = tikv.NewRegionCache(&fakePD{count: count}), count, map[string][][]byte{}
	bo := tikv.NewBackofferWithVars(context.Background(), 1000, nil)
	for number := 0; number < count; number++ {
		if _, err := r.cache.LocateKey(bo, regionKey(number)); err != nil {
			return err
		}
	}
	return nil
}

// drawn are the keys of a run, each within a region, one behind the other in memory.
func (r *routing) drawn(draw string, seed uint64) [][]byte {
	name := fmt.Sprintf("%s/%d", draw, seed)
	if keys, ok := r.keys[name]; ok {
		return keys
	}
	const length = 28
	all := make([]byte, 0, drawCount*drawsOfRun*length)
	for part := uint64(0); part < drawsOfRun; part++ {
		for _, number := range draws(draw, uint32(r.count), seed+part) {
			all = append(append(all, regionKey(int(number))...), 'm')
		}
	}
	keys := make([][]byte, 0, drawCount*drawsOfRun)
	for at := 0; at < len(all); at += length {
		keys = append(keys, all[at:at+length:at+length])
	}
	r.keys[name] = keys
	return keys
}

func (r *routing) locate(draw string, threads int, seed uint64, millis int) (float64, error) {
	keys := r.drawn(draw, seed)
	budget := time.Duration(millis) * time.Millisecond
	counts, failed := make([]int, threads), make([]error, threads)
	began := cpu()
	var wait sync.WaitGroup
	for thread := range counts {
		wait.Add(1)
		go func(thread int) {
			defer wait.Done()
			bo := tikv.NewBackofferWithVars(context.Background(), 1000, nil)
			at := thread * len(keys) / threads
			for cpu()-began < budget.Seconds()*float64(threads) {
				for n := 0; n < 4096; n++ {
					if _, err := r.cache.LocateKey(bo, keys[at]); err != nil {
						failed[thread] = err
						return
					}
					if at++; at == len(keys) {
						at = 0
					}
				}
				counts[thread] += 4096
			}
		}(thread)
	}
	wait.Wait()
	took, total := cpu()-began, 0
	for thread, count := range counts {
		if failed[thread] != nil {
			return 0, failed[thread]
		}
		total += count
	}
	return took * 1e9 / float64(total), nil
}

func serveRouting() error {
	var r routing
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var word, draw string
		var count, threads, millis int
		var seed uint64
		line := lines.Text()
		if n, _ := fmt.Sscanf(line, "regions %d", &count); n == 1 {
			before, err := residentKiB()
			if err != nil {
				return err
			}
			if err := r.fill(count); err != nil {
				return err
			}
			after, err := residentKiB()
			if err != nil {
				return err
			}
			fmt.Println(int64(after) - int64(before))
		} else if n, _ := fmt.Sscanf(line, "%s %s %d %d %d", &word, &draw, &threads, &seed, &millis); n == 5 {
			ns, err := r.locate(draw, threads, seed, millis)
			if err != nil {
				return err
			}
			fmt.Println(ns)
		} else {
			return fmt.Errorf("not understood: %s", line)
		}
	}
	return lines.Err()
}

// residentKiB is the process's memory now, after what is dead has been collected.
func residentKiB() (uint64, error) {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident uint64
	if _, err := fmt.Sscanf(string(status), "%d %d", &size, &resident); err != nil {
		return 0, err
	}
	return resident * uint64(os.Getpagesize()) / 1024, nil
}
