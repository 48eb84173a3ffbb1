package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/txnkv"
	"github.com/tikv/client-go/v2/txnkv/transaction"
)

// put commits values under keys in one transaction.
func put(t *testing.T, client *txnkv.Client, value string, keys ...string) *transaction.KVTxn {
	t.Helper()
	txn, err := client.Begin()
	require.NoError(t, err)
	for _, key := range keys {
		require.NoError(t, txn.Set([]byte(key), []byte(value)))
	}
	require.NoError(t, txn.Commit(limited(t)))
	return txn
}

// get reads a key at a new timestamp; "" if it has no value.
func get(t *testing.T, client *txnkv.Client, key string) string {
	t.Helper()
	txn, err := client.Begin()
	require.NoError(t, err)
	value, err := txn.Get(limited(t), []byte(key))
	if tikverr.IsErrNotFound(err) {
		return ""
	}
	require.NoError(t, err)
	return string(value)
}

func TestATransactionCommitsOverFourRegions(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	client := c.txn()
	// After the split the client still has the old region in its cache.
	require.Equal(t, "", get(t, client, "a"))
	c.tell("split key=g", "split key=n", "split key=t", "transfer-leader key=n store=2", "transfer-leader key=t store=3")
	put(t, client, "v1", "a", "h", "o", "u")
	for _, key := range []string{"a", "h", "o", "u"} {
		require.Equal(t, "v1", get(t, client, key))
	}
	txn, err := client.Begin()
	require.NoError(t, err)
	values, err := txn.BatchGet(limited(t), bytesOf("a", "h", "o", "u", "z"))
	require.NoError(t, err)
	require.Len(t, values, 4)
	require.NoError(t, txn.Delete([]byte("h")))
	require.NoError(t, txn.Set([]byte("p"), []byte("v2")))
	forward, err := txn.Iter(nil, nil)
	require.NoError(t, err)
	var seen []string
	for ; forward.Valid(); require.NoError(t, forward.Next()) {
		seen = append(seen, string(forward.Key())+"="+string(forward.Value()))
	}
	require.Equal(t, []string{"a=v1", "o=v1", "p=v2", "u=v1"}, seen, "what is stored, and what the transaction will write")
	require.NoError(t, txn.Commit(limited(t)))
	require.Equal(t, "", get(t, client, "h"))
	back, err := client.GetSnapshot(txn.StartTS()).IterReverse([]byte("p"))
	require.NoError(t, err)
	seen = nil
	for ; back.Valid(); require.NoError(t, back.Next()) {
		seen = append(seen, string(back.Key()))
	}
	require.Equal(t, []string{"o", "h", "a"}, seen, "as it was when the transaction began")
}

func TestTheFirstCommitterWins(t *testing.T) {
	t.Parallel()
	client := start(t).txn()
	first, err := client.Begin()
	require.NoError(t, err)
	second, err := client.Begin()
	require.NoError(t, err)
	require.NoError(t, first.Set([]byte("k"), []byte("first")))
	require.NoError(t, second.Set([]byte("k"), []byte("second")))
	require.NoError(t, first.Commit(limited(t)))
	err = second.Commit(limited(t))
	require.True(t, tikverr.IsErrWriteConflict(err), "%v", err)
	require.Equal(t, "first", get(t, client, "k"))
}

func TestAnAsyncCommitIsFinishedByWhoeverMeetsItsLocks(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	c.tell("split key=m", "fault dead on=KvCommit do=lose")
	writer := c.txn()
	txn, err := writer.Begin()
	require.NoError(t, err)
	txn.SetEnableAsyncCommit(true)
	require.NoError(t, txn.Set([]byte("a"), []byte("v")))
	require.NoError(t, txn.Set([]byte("z"), []byte("v")))
	require.NoError(t, txn.Commit(limited(t)), "its locks are its commit")
	c.tell("wait dead hits=1 within=10s")
	// The locks outlive the writer; a reader asks for the transaction's fate and finds it committed.
	c.tell("advance-clock by=1m")
	reader := c.txn()
	require.Equal(t, "v", get(t, reader, "z"))
	require.Equal(t, "v", get(t, reader, "a"))
	require.Positive(t, c.calls("KvCheckSecondaryLocks"))
	c.tell("end dead")
}

func TestOnePhaseCommitsOneRegionAndFallsBackOverTwo(t *testing.T) {
	t.Parallel()
	c := start(t)
	client := c.txn()
	onePhase := func(keys ...string) {
		txn, err := client.Begin()
		require.NoError(t, err)
		txn.SetEnable1PC(true)
		for _, key := range keys {
			require.NoError(t, txn.Set([]byte(key), []byte("v")))
		}
		require.NoError(t, txn.Commit(limited(t)))
	}
	onePhase("a", "b")
	require.Zero(t, c.calls("KvCommit"), "the prewrite commits")
	c.tell("split key=m")
	onePhase("c", "x")
	require.Positive(t, c.calls("KvCommit"), "two regions take two phases")
	for _, key := range []string{"a", "b", "c", "x"} {
		require.Equal(t, "v", get(t, client, key))
	}
}

func TestALockWhoseOwnerIsGoneIsRolledBack(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.tell("fault dead on=KvCommit,KvBatchRollback do=fail:unavailable")
	writer, err := c.txn().Begin()
	require.NoError(t, err)
	require.NoError(t, writer.Set([]byte("k"), []byte("lost")))
	failed := make(chan error, 1)
	go func() { failed <- writer.Commit(limited(t)) }()
	c.tell("wait dead hits=1 within=10s", "advance-clock by=1h")
	reader := c.txn()
	require.Equal(t, "", get(t, reader, "k"), "a lock that has expired does not stop a reader")
	c.tell("end dead")
	require.Error(t, <-failed, "its transaction has been rolled back")
}

func TestStoresThatComeGoAndMoveDoNotStopACommit(t *testing.T) {
	// Not in parallel, and without batch streams: when a connection breaks, this client may keep a request that it
	// never sends (seen from the server: the new stream stays empty) until that times out after a minute.
	defer config.UpdateGlobal(func(conf *config.Config) { conf.TiKVClient.MaxBatchSize = 0 })()
	c := start(t, "--stores", "3", "--regions", "4")
	client := c.txn()
	put(t, client, "v0", "a", "m", "z")
	steps := [][]string{
		{"stop node=store:1", "fail-over store=1"},
		{"restart node=store:1"},
		{"swap stores=1,2"},
		{"move store=3"},
		{"disconnect node=store:2"},
		{"transfer-leader key=m store=1"},
		{"transfer-leader key=m store=3"},
	}
	for i, step := range steps {
		c.tell(step...)
		value := fmt.Sprintf("v%d", i+1)
		put(t, client, value, "a", "m", "z")
		for _, key := range []string{"a", "m", "z"} {
			require.Equal(t, value, get(t, client, key), "after %v", step)
		}
	}
}

func TestALeaderThatMovesBetweenPrewriteAndCommitIsFollowed(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	client := c.txn()
	put(t, client, "old", "k")
	// The commit is held until the region has another leader, and then is at the wrong store.
	c.tell("fault held on=KvCommit at=store:1 do=hold times=1")
	done := make(chan struct{})
	go func() {
		defer close(done)
		put(t, client, "new", "k")
	}()
	c.tell("wait held hits=1 within=10s", "transfer-leader key=k store=2", "end held")
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the commit hangs")
	}
	require.Equal(t, "new", get(t, client, "k"))
}

func TestRegionErrorsAreRetriedWithoutNotice(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	client := c.txn()
	for _, refusal := range []string{
		"not-leader", "not-leader:2", "epoch-not-match", "epoch-not-match:1", "region-not-found", "server-is-busy",
		"stale-command", "store-not-match", "max-timestamp-not-synced", "read-index-not-ready", "proposal-in-merging-mode",
	} {
		c.tell("fault once on=KvPrewrite times=1 do=refuse:" + refusal)
		put(t, client, refusal, "k")
		require.Equal(t, refusal, get(t, client, "k"))
		require.Equal(t, 1, c.tell("end once").Hits, refusal)
	}
}

func TestAStreamThatIsCutEveryFewFramesLosesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3", "--regions", "4")
	client := c.txn()
	c.tell("fault cut on=KvPrewrite,KvCommit,KvGet every=7 do=break")
	for i := 0; i < 60; i++ {
		key := fmt.Sprintf("k%02d", i)
		put(t, client, key, key, "z"+key)
		require.Equal(t, key, get(t, client, "z"+key))
	}
	require.Greater(t, c.tell("end cut").Hits, 20)
}
