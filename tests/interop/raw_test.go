package interop

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/rawkv"
	"github.com/tikv/client-go/v2/txnkv"
)

func (c *cluster) raw(options ...rawkv.ClientOpt) *rawkv.Client {
	c.t.Helper()
	client, err := rawkv.NewClientWithOpts(limited(c.t), c.pd, options...)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, client.Close()) })
	return client
}

// common is what every API version can.
func common(t *testing.T, c *cluster, client *rawkv.Client) {
	t.Helper()
	ctx := limited(t)
	require.NoError(t, client.Put(ctx, []byte("a"), []byte("1")))
	value, err := client.Get(ctx, []byte("a"))
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
	var keys, values [][]byte
	for i := 0; i < 100; i++ {
		keys = append(keys, []byte(fmt.Sprintf("k%03d", i)))
		values = append(values, []byte(fmt.Sprintf("v%03d", i)))
	}
	require.NoError(t, client.BatchPut(ctx, keys, values))
	read, err := client.BatchGet(ctx, keys)
	require.NoError(t, err)
	require.Equal(t, values, read)
	scanned, _, err := client.Scan(ctx, []byte("k"), []byte("l"), 1000)
	require.NoError(t, err)
	require.Equal(t, keys, scanned)
	back, _, err := client.ReverseScan(ctx, []byte("k050"), []byte("k"), 3)
	require.NoError(t, err)
	require.Equal(t, bytesOf("k049", "k048", "k047"), back)
	onlyKeys, none, err := client.Scan(ctx, []byte("k"), nil, 2, rawkv.ScanKeyOnly())
	require.NoError(t, err)
	require.Equal(t, bytesOf("k000", "k001"), onlyKeys)
	require.Empty(t, none[0])
	sum, err := client.Checksum(ctx, []byte("k"), []byte("k099"))
	require.NoError(t, err)
	require.Equal(t, uint64(99), sum.TotalKvs)
	require.NotZero(t, sum.Crc64Xor)
	require.NoError(t, client.DeleteRange(ctx, []byte("k010"), []byte("k090")))
	left, _, err := client.Scan(ctx, []byte("k"), []byte("l"), 1000)
	require.NoError(t, err)
	require.Len(t, left, 20)
	require.NoError(t, client.BatchDelete(ctx, keys))
	require.NoError(t, client.Delete(ctx, []byte("a")))
	value, err = client.Get(ctx, []byte("a"))
	require.NoError(t, err)
	require.Nil(t, value)

	client.SetAtomicForCAS(true)
	previous, swapped, err := client.CompareAndSwap(ctx, []byte("cas"), nil, []byte("one"))
	require.NoError(t, err)
	require.True(t, swapped)
	require.Nil(t, previous)
	previous, swapped, err = client.CompareAndSwap(ctx, []byte("cas"), []byte("two"), []byte("three"))
	require.NoError(t, err)
	require.False(t, swapped)
	require.Equal(t, "one", string(previous))
	client.SetAtomicForCAS(false)
	require.NoError(t, client.Delete(ctx, []byte("cas")))
}

// expiring is what API versions with a time to live can besides.
func expiring(t *testing.T, c *cluster, client *rawkv.Client) {
	t.Helper()
	ctx := limited(t)
	require.NoError(t, client.PutWithTTL(ctx, []byte("short"), []byte("v"), 100))
	require.NoError(t, client.Put(ctx, []byte("long"), []byte("v")))
	ttl, err := client.GetKeyTTL(ctx, []byte("short"))
	require.NoError(t, err)
	require.InDelta(t, 100, *ttl, 2)
	ttl, err = client.GetKeyTTL(ctx, []byte("long"))
	require.NoError(t, err)
	require.Zero(t, *ttl)
	ttl, err = client.GetKeyTTL(ctx, []byte("none"))
	require.NoError(t, err)
	require.Nil(t, ttl)
	c.tell("advance-clock by=101s")
	value, err := client.Get(ctx, []byte("short"))
	require.NoError(t, err)
	require.Nil(t, value)
	value, err = client.Get(ctx, []byte("long"))
	require.NoError(t, err)
	require.Equal(t, "v", string(value))
}

func TestRawKVOfAPIVersion1(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3", "--regions", "4")
	client := c.raw()
	common(t, c, client)
	ctx := limited(t)
	for _, family := range []string{"default", "lock", "write"} {
		require.NoError(t, client.Put(ctx, []byte("cf"), []byte(family), rawkv.SetColumnFamily(family)))
	}
	value, err := client.Get(ctx, []byte("cf"), rawkv.SetColumnFamily("lock"))
	require.NoError(t, err)
	require.Equal(t, "lock", string(value))
	_, err = client.Get(ctx, []byte("cf"), rawkv.SetColumnFamily("nothing"))
	require.Error(t, err)
	require.Error(t, client.PutWithTTL(ctx, []byte("k"), []byte("v"), 10), "without a time to live")
}

func TestRawKVOfAPIVersion1WithTTL(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3", "--regions", "4", "--api-version", "1ttl")
	client := c.raw(rawkv.WithAPIVersion(kvrpcpb.APIVersion_V1TTL))
	common(t, c, client)
	expiring(t, c, client)
}

func TestRawKVOfAPIVersion2(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3", "--api-version", "2")
	client := c.raw(rawkv.WithAPIVersion(kvrpcpb.APIVersion_V2))
	common(t, c, client)
	expiring(t, c, client)
}

func TestKeyspacesDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3", "--api-version", "2")
	before := len(c.state().Regions)
	for _, name := range []string{"one", "two"} {
		body := strings.NewReader(fmt.Sprintf(`{"name": %q, "config": {}}`, name))
		response, err := http.Post("http://"+c.pd[0]+"/pd/api/v2/keyspaces", "application/json", body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	v2 := rawkv.WithAPIVersion(kvrpcpb.APIVersion_V2)
	one, two := c.raw(v2, rawkv.WithKeyspace("one")), c.raw(v2, rawkv.WithKeyspace("two"))
	ctx := limited(t)
	require.NoError(t, one.Put(ctx, []byte("k"), []byte("of one")))
	value, err := two.Get(ctx, []byte("k"))
	require.NoError(t, err)
	require.Nil(t, value)
	keys, _, err := one.Scan(ctx, nil, nil, 10)
	require.NoError(t, err)
	require.Equal(t, bytesOf("k"), keys)
	_, err = rawkv.NewClientWithOpts(ctx, c.pd, v2, rawkv.WithKeyspace("none"))
	require.Error(t, err)

	txnV2 := txnkv.WithAPIVersion(kvrpcpb.APIVersion_V2)
	first, second := c.txn(txnV2, txnkv.WithKeyspace("one")), c.txn(txnV2, txnkv.WithKeyspace("two"))
	put(t, first, "of one", "k")
	require.Equal(t, "of one", get(t, first, "k"))
	require.Equal(t, "", get(t, second, "k"))
	require.GreaterOrEqual(t, len(c.state().Regions), before+2, "each keyspace begins regions of its own")
}
