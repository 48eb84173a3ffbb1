package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"github.com/tikv/client-go/v2/txnkv"
)

func isRaw(action string) bool { return strings.HasPrefix(action, "raw-") }

func complete(found int, wanted uint32) error {
	if found != int(wanted) {
		return fmt.Errorf("%d of %d keys were found", found, wanted)
	}
	return nil
}

// connect gives the operation of a task on a connected client.
func connect(t task, k *keys) (func(caller uint32, turn uint64) error, error) {
	if isRaw(t.Action) {
		client, err := rawkv.NewClient(context.Background(), t.PD, config.DefaultConfig().Security)
		if err != nil {
			return nil, err
		}
		return raw(client, t, k)
	}
	client, err := txnkv.NewClient(t.PD)
	if err != nil {
		return nil, err
	}
	return txn(client, t, k)
}

func raw(client *rawkv.Client, t task, k *keys) (func(caller uint32, turn uint64) error, error) {
	ctx := context.Background()
	switch t.Action {
	case "raw-get":
		return func(caller uint32, turn uint64) error {
			value, err := client.Get(ctx, k.key(k.draw(caller, turn)))
			if err == nil && value == nil {
				err = fmt.Errorf("a key that was written has no value")
			}
			return err
		}, nil
	case "raw-put":
		return func(caller uint32, turn uint64) error {
			return client.Put(ctx, k.key(k.draw(caller, turn)), k.value)
		}, nil
	case "raw-batch-get":
		return func(caller uint32, turn uint64) error {
			values, err := client.BatchGet(ctx, k.batch(k.draw(caller, turn), 100))
			if err != nil {
				return err
			}
			found := 0
			for _, value := range values {
				if value != nil {
					found++
				}
			}
			return complete(found, 100)
		}, nil
	case "raw-scan":
		return func(caller uint32, turn uint64) error {
			from, to := k.scan(k.draw(caller, turn), 100)
			keys, _, err := client.Scan(ctx, from, to, 100)
			if err != nil {
				return err
			}
			return complete(len(keys), 100)
		}, nil
	}
	return nil, fmt.Errorf("%s is not known", t.Action)
}

func txn(client *txnkv.Client, t task, k *keys) (func(caller uint32, turn uint64) error, error) {
	ctx := context.Background()
	ts, err := client.GetTimestamp(ctx)
	if err != nil {
		return nil, err
	}
	// A snapshot remembers what it has read: a new one for each operation.
	switch t.Action {
	case "snapshot-get":
		return func(caller uint32, turn uint64) error {
			_, err := client.GetSnapshot(ts).Get(ctx, k.key(k.draw(caller, turn)))
			return err
		}, nil
	case "snapshot-batch-get":
		return func(caller uint32, turn uint64) error {
			values, err := client.GetSnapshot(ts).BatchGet(ctx, k.batch(k.draw(caller, turn), 100))
			if err != nil {
				return err
			}
			return complete(len(values), 100)
		}, nil
	case "snapshot-scan":
		return func(caller uint32, turn uint64) error {
			from, to := k.scan(k.draw(caller, turn), 100)
			return scan(client, ts, from, to)
		}, nil
	case "txn-get":
		return func(caller uint32, turn uint64) error {
			txn, err := client.Begin()
			if err != nil {
				return err
			}
			_, err = txn.Get(ctx, k.key(k.draw(caller, turn)))
			return err
		}, nil
	case "commit-1", "commit-10":
		many := uint64(1)
		if t.Action == "commit-10" {
			many = 10
		}
		return func(caller uint32, turn uint64) error {
			txn, err := client.Begin()
			if err != nil {
				return err
			}
			for _, key := range k.fresh(caller, turn, many) {
				if err := txn.Set(key, k.value); err != nil {
					return err
				}
			}
			return txn.Commit(ctx)
		}, nil
	}
	return nil, fmt.Errorf("%s is not known", t.Action)
}

// scan reads the pairs of a range; like the other clients it asks for a hundred at once.
func scan(client *txnkv.Client, ts uint64, from, to []byte) error {
	snapshot := client.GetSnapshot(ts)
	snapshot.SetScanBatchSize(100)
	pairs, err := snapshot.Iter(from, to)
	if err != nil {
		return err
	}
	defer pairs.Close()
	found := 0
	for ; pairs.Valid(); found++ {
		if err := pairs.Next(); err != nil {
			return err
		}
	}
	return complete(found, 100)
}
