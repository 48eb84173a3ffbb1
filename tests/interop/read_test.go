package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/kv"
	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/txnkv"
	"github.com/tikv/client-go/v2/txnkv/txnsnapshot"
)

// readAt is a snapshot at the present.
func readAt(t *testing.T, client *txnkv.Client) *txnsnapshot.KVSnapshot {
	t.Helper()
	ts, err := client.GetTimestamp(limited(t))
	require.NoError(t, err)
	return client.GetSnapshot(ts)
}

func TestAFollowerAnswersReplicaReads(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	client := c.txn()
	put(t, client, "v", "k")
	leader := c.state().Regions[0].Leader
	readByLeader := func() int {
		for _, store := range c.state().Stores {
			if store.ID == leader {
				return store.Calls["KvGet"]
			}
		}
		return 0
	}
	before := readByLeader()
	for i := 0; i < 10; i++ {
		snapshot := readAt(t, client)
		snapshot.SetReplicaRead(kv.ReplicaReadFollower)
		value, err := snapshot.Get(limited(t), []byte("k"))
		require.NoError(t, err)
		require.Equal(t, "v", string(value))
	}
	require.Equal(t, before, readByLeader())
	require.GreaterOrEqual(t, c.calls("KvGet"), 10)
}

func TestAStaleReadIsServedByWhomItsLabelsFitOnceResolved(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "2")
	id := c.tell("add-store labels=zone:far").Store
	c.tell(fmt.Sprintf("add-peer key=k store=%d role=voter", id))
	client := c.txn()
	txn := put(t, client, "v", "k")
	// PD and the stores resolve what is older than a moment.
	eventually(t, func() bool { return client.GetMinSafeTS(oracle.GlobalTxnScope) > txn.StartTS() }, "the safe timestamp passes")
	snapshot := client.GetSnapshot(client.GetMinSafeTS(oracle.GlobalTxnScope))
	snapshot.SetIsStalenessReadOnly(true)
	snapshot.SetReplicaRead(kv.ReplicaReadMixed)
	snapshot.SetMatchStoreLabels([]*metapb.StoreLabel{{Key: "zone", Value: "far"}})
	value, err := snapshot.Get(limited(t), []byte("k"))
	require.NoError(t, err)
	require.Equal(t, "v", string(value))
	for _, store := range c.state().Stores {
		require.Equal(t, store.ID == id, store.Calls["KvGet"] > 0, "store %d", store.ID)
	}
}

func TestAStaleReadAheadOfWhatIsResolvedFallsBackToTheLeader(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	client := c.txn()
	put(t, client, "v", "k")
	c.tell("fault behind on=KvGet saying=stale-read do=refuse:data-is-not-ready times=1")
	snapshot := readAt(t, client)
	snapshot.SetIsStalenessReadOnly(true)
	snapshot.SetReplicaRead(kv.ReplicaReadMixed)
	value, err := snapshot.Get(limited(t), []byte("k"))
	require.NoError(t, err)
	require.Equal(t, "v", string(value))
	require.Equal(t, 1, c.tell("end behind").Hits)
}

func TestABusyLeaderIsLeftForAFollower(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	client := c.txn()
	put(t, client, "v", "k")
	c.tell(fmt.Sprintf("busy store=%d wait=1s", c.state().Regions[0].Leader))
	snapshot := readAt(t, client)
	snapshot.SetLoadBasedReplicaReadThreshold(50 * time.Millisecond)
	value, err := snapshot.Get(limited(t), []byte("k"))
	require.NoError(t, err)
	require.Equal(t, "v", string(value))
	stores := 0
	for _, store := range c.state().Stores {
		if store.Calls["KvGet"] > 0 {
			stores++
		}
	}
	require.Equal(t, 2, stores, "the leader was asked, then a follower")
}

func TestOldVersionsAreReadAsTheyWere(t *testing.T) {
	t.Parallel()
	client := start(t).txn()
	put(t, client, "one", "k")
	between := readAt(t, client)
	put(t, client, "two", "k")
	value, err := between.Get(limited(t), []byte("k"))
	require.NoError(t, err)
	require.Equal(t, "one", string(value))
	require.Equal(t, "two", get(t, client, "k"))
}
