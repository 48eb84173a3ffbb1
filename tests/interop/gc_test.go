package interop

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/oracle"
)

func TestGCResolvesLocksAndMovesTheSafePointBelowServices(t *testing.T) {
	t.Parallel()
	c := start(t)
	client := c.txn()
	put(t, client, "old", "k")
	c.tell("fault dead on=KvCommit,KvBatchRollback do=lose")
	dead, err := client.Begin()
	require.NoError(t, err)
	require.NoError(t, dead.Set([]byte("locked"), []byte("v")))
	go func() { _ = dead.Commit(limited(t)) }()
	c.tell("wait dead hits=1 within=10s", "end dead", "advance-clock by=1h")
	now, err := client.GetTimestamp(limited(t))
	require.NoError(t, err)
	pd := client.GetPDClient()
	// Transactions older than this may not begin any more; only then may their versions go.
	least, err := pd.UpdateServiceGCSafePoint(limited(t), "gc_worker", math.MaxInt64, now)
	require.NoError(t, err)
	require.Equal(t, now, least)
	safePoint, err := client.GC(limited(t), now)
	require.NoError(t, err)
	require.Equal(t, now, safePoint)
	require.Positive(t, c.calls("KvResolveLock"))
	require.Equal(t, "old", get(t, client, "k"), "the newest version stays")
	require.Equal(t, "", get(t, client, "locked"))

	// A service holds the safe point back for all others.
	_, err = pd.UpdateServiceGCSafePoint(limited(t), "backup", 600, now+1000)
	require.NoError(t, err)
	least, err = pd.UpdateServiceGCSafePoint(limited(t), "gc_worker", math.MaxInt64, now+2000)
	require.NoError(t, err)
	require.Equal(t, now+1000, least)
	// It never goes back.
	again, err := client.GC(limited(t), now-1)
	require.NoError(t, err)
	require.Equal(t, now, again)
}

func TestARangeIsDeletedAndAnotherDestroyed(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	c.tell("split key=m")
	client := c.txn()
	put(t, client, "v", "a", "b", "n", "o", "z")
	regions, err := client.DeleteRange(limited(t), []byte("b"), []byte("o"), 1)
	require.NoError(t, err)
	require.Equal(t, 2, regions)
	for key, value := range map[string]string{"a": "v", "b": "", "n": "", "o": "v", "z": "v"} {
		require.Equal(t, value, get(t, client, key), key)
	}
	require.NoError(t, client.UnsafeDestroyRange(limited(t), []byte("o"), []byte("z")))
	require.Equal(t, "", get(t, client, "o"))
	require.Equal(t, "v", get(t, client, "z"))
}

func TestRegionsAreSplitAndScattered(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	client := c.txn()
	before := len(c.state().Regions)
	ids, err := client.SplitRegions(limited(t), bytesOf("d", "h", "p"), true, nil)
	require.NoError(t, err)
	require.Len(t, ids, 3)
	for _, id := range ids {
		require.NoError(t, client.WaitScatterRegionFinish(limited(t), id, 1000))
		scattering, err := client.CheckRegionInScattering(id)
		require.NoError(t, err)
		require.False(t, scattering)
	}
	require.Len(t, c.state().Regions, before+3)
	put(t, client, "v", "a", "e", "k", "z")
}

func TestAReadBehindTheSafePointIsRefused(t *testing.T) {
	t.Parallel()
	client := start(t).txn()
	put(t, client, "v", "k")
	old, err := client.GetTimestamp(limited(t))
	require.NoError(t, err)
	require.NoError(t, client.GetSafePointKV().Put("/tidb/store/gcworker/saved_safe_point", fmt.Sprint(old+1)))
	client.UpdateSPCache(old+1, oracle.GetTimeFromTS(old))
	require.Error(t, client.CheckVisibility(old))
	_, err = client.GetSnapshot(old).Get(limited(t), []byte("k"))
	require.Error(t, err)
	require.False(t, tikverr.IsErrNotFound(err))
}
