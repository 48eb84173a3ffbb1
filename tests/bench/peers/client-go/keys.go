package main

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"sort"
)

// The numbers of tests/bench/load/src/keys.rs.
const (
	drawCount = 1 << 16
	freshKeys = 1_000_000
	stride    = 97
	scatter   = 7919
	regions   = 3
)

// keys is what a task's callers read and write.
type keys struct {
	task  task
	keys  [][]byte
	draws []uint32
	value []byte
}

func keyOf(space string, valueBytes uint32, number uint64) []byte {
	return []byte(fmt.Sprintf("bench/%s/%06d/%08d", space, valueBytes, number))
}

func newKeys(t task) *keys {
	k := &keys{task: t, draws: draws(t.Draw, t.Keys, t.Seed), value: make([]byte, t.ValueBytes)}
	space := "txn"
	if isRaw(t.Action) {
		space = "raw"
	}
	for number := uint64(0); number < uint64(t.Keys); number++ {
		k.keys = append(k.keys, keyOf(space, t.ValueBytes, number))
	}
	for i := range k.value {
		k.value[i] = 'v'
	}
	return k
}

func (k *keys) draw(caller uint32, turn uint64) uint32 {
	from := uint64(caller) * (drawCount / uint64(k.task.Callers))
	return k.draws[(from+turn)%drawCount]
}

func (k *keys) key(number uint32) []byte {
	return k.keys[int(number)%len(k.keys)]
}

func (k *keys) batch(number, many uint32) [][]byte {
	batch := make([][]byte, 0, many)
	for nth := uint32(0); nth < many; nth++ {
		batch = append(batch, k.key(number+stride*nth))
	}
	return batch
}

func (k *keys) scan(number, many uint32) ([]byte, []byte) {
	count := uint32(len(k.keys))
	third := count / regions
	region := min(number/third, regions-1)
	end := (region + 1) * third
	if region == regions-1 {
		end = count
	}
	from := min(number, end-many-1)
	return k.key(from), k.key(from + many)
}

func (k *keys) fresh(caller uint32, turn uint64, many uint64) [][]byte {
	slots := freshKeys / many
	slot := (uint64(caller) + uint64(k.task.Callers)*turn) % slots
	fresh := make([][]byte, 0, many)
	for nth := uint64(0); nth < many; nth++ {
		number := slot + slots*nth
		if many == 1 {
			number = slot * scatter % freshKeys
		}
		key := keyOf("new", k.task.ValueBytes, number)
		fresh = append(fresh, fmt.Appendf(key, "/%x", k.task.Run))
	}
	return fresh
}

func (k *keys) checksum() string {
	hash := fnv.New64a()
	for _, draw := range k.draws {
		hash.Write([]byte{byte(draw), byte(draw >> 8), byte(draw >> 16), byte(draw >> 24)})
	}
	return fmt.Sprintf("%016x", hash.Sum64())
}

func draws(draw string, count uint32, seed uint64) []uint32 {
	random := splitMix(seed)
	drawn := make([]uint32, drawCount)
	if draw == "uniform" {
		for i := range drawn {
			high, _ := bits.Mul64(random.next(), uint64(count))
			drawn[i] = uint32(high)
		}
		return drawn
	}
	sum, upTo := 0.0, make([]float64, count)
	for i := range upTo {
		sum += 1 / float64(i+1)
		upTo[i] = sum
	}
	for i := range drawn {
		at := float64(float64(random.next()>>11)/float64(uint64(1)<<53)) * sum
		rank := min(sort.Search(len(upTo), func(i int) bool { return upTo[i] > at }), int(count)-1)
		drawn[i] = uint32(uint64(rank) * scatter % uint64(count))
	}
	return drawn
}

// splitMix is Sebastiano Vigna's SplitMix64.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
