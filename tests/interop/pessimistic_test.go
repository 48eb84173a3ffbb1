package interop

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/kv"
	"github.com/tikv/client-go/v2/txnkv"
	"github.com/tikv/client-go/v2/txnkv/transaction"
)

func pessimistic(t *testing.T, client *txnkv.Client) *transaction.KVTxn {
	t.Helper()
	txn, err := client.Begin()
	require.NoError(t, err)
	txn.SetPessimistic(true)
	return txn
}

// lock locks keys at a fresh timestamp, waiting as long as it takes.
func lock(t *testing.T, client *txnkv.Client, txn *transaction.KVTxn, wait int64, keys ...string) (*kv.LockCtx, error) {
	t.Helper()
	forUpdateTS, err := client.GetTimestamp(limited(t))
	require.NoError(t, err)
	lockCtx := kv.NewLockCtx(forUpdateTS, wait, time.Now())
	lockCtx.InitReturnValues(len(keys))
	return lockCtx, txn.LockKeys(limited(t), lockCtx, bytesOf(keys...)...)
}

func TestPessimisticIncrementsOfTwoClientsAllCount(t *testing.T) {
	t.Parallel()
	c := start(t)
	const each = 20
	put(t, c.txn(), "0", "counter")
	var group sync.WaitGroup
	for i := 0; i < 2; i++ {
		client := c.txn()
		group.Add(1)
		go func() {
			defer group.Done()
			for done := 0; done < each; {
				txn := pessimistic(t, client)
				locked, err := lock(t, client, txn, kv.LockAlwaysWait, "counter")
				if tikverr.IsErrWriteConflict(err) {
					require.NoError(t, txn.Rollback())
					continue
				}
				require.NoError(t, err)
				was, err := strconv.Atoi(string(locked.Values["counter"].Value))
				require.NoError(t, err)
				require.NoError(t, txn.Set([]byte("counter"), []byte(strconv.Itoa(was+1))))
				require.NoError(t, txn.Commit(limited(t)))
				done++
			}
		}()
	}
	group.Wait()
	require.Equal(t, strconv.Itoa(2*each), get(t, c.txn(), "counter"))
}

func TestAWaiterIsWokenByTheCommitAndToldTheNewValue(t *testing.T) {
	t.Parallel()
	c := start(t)
	client := c.txn()
	holder := pessimistic(t, client)
	_, err := lock(t, client, holder, kv.LockNoWait, "k")
	require.NoError(t, err)
	woken := make(chan error, 1)
	waiter := pessimistic(t, client)
	begin := time.Now()
	go func() {
		_, err := lock(t, client, waiter, kv.LockAlwaysWait, "k")
		woken <- err
	}()
	eventually(t, func() bool { return c.calls("KvPessimisticLock") >= 2 }, "the waiter asks")
	require.NoError(t, holder.Set([]byte("k"), []byte("v")))
	require.NoError(t, holder.Commit(limited(t)))
	err = <-woken
	require.True(t, err == nil || tikverr.IsErrWriteConflict(err), "%v", err)
	require.Less(t, time.Since(begin), 10*time.Second, "woken, not timed out")
	require.NoError(t, waiter.Rollback())
}

func TestALockThatIsHeldIsRefusedToWhoDoesNotWait(t *testing.T) {
	t.Parallel()
	client := start(t).txn()
	holder := pessimistic(t, client)
	_, err := lock(t, client, holder, kv.LockNoWait, "k")
	require.NoError(t, err)
	other := pessimistic(t, client)
	_, err = lock(t, client, other, kv.LockNoWait, "k")
	require.ErrorIs(t, err, tikverr.ErrLockAcquireFailAndNoWaitSet)
	begin := time.Now()
	_, err = lock(t, client, other, 100, "k")
	require.ErrorIs(t, err, tikverr.ErrLockWaitTimeout)
	require.GreaterOrEqual(t, time.Since(begin), 100*time.Millisecond)
	require.NoError(t, holder.Rollback())
	_, err = lock(t, client, other, kv.LockNoWait, "k")
	require.NoError(t, err)
	require.NoError(t, other.Rollback())
}

func TestADeadlockIsFoundAndOneOfTheTwoGoesOn(t *testing.T) {
	t.Parallel()
	c := start(t, "--stores", "3")
	c.tell("split key=m")
	client := c.txn()
	first, second := pessimistic(t, client), pessimistic(t, client)
	_, err := lock(t, client, first, kv.LockNoWait, "a")
	require.NoError(t, err)
	_, err = lock(t, client, second, kv.LockNoWait, "z")
	require.NoError(t, err)
	waits := make(chan error, 1)
	go func() {
		_, err := lock(t, client, first, kv.LockAlwaysWait, "z")
		waits <- err
	}()
	eventually(t, func() bool { return c.calls("KvPessimisticLock") >= 3 }, "the first waits for the second")
	time.Sleep(50 * time.Millisecond)
	_, err = lock(t, client, second, kv.LockAlwaysWait, "a")
	var deadlock *tikverr.ErrDeadlock
	require.True(t, errors.As(err, &deadlock), "%v", err)
	require.NotZero(t, deadlock.DeadlockKeyHash)
	require.Len(t, deadlock.WaitChain, 2)
	require.NoError(t, second.Rollback())
	err = <-waits
	require.True(t, err == nil || tikverr.IsErrWriteConflict(err), "woken, and perhaps told to look again: %v", err)
	require.NoError(t, first.Rollback())
}

func TestFairLockingLocksDespiteAConflictAndTellsOfIt(t *testing.T) {
	t.Parallel()
	c := start(t)
	client := c.txn()
	txn := pessimistic(t, client)
	forUpdateTS, err := client.GetTimestamp(limited(t))
	require.NoError(t, err)
	put(t, client, "newer", "k")
	txn.StartAggressiveLocking()
	lockCtx := kv.NewLockCtx(forUpdateTS, kv.LockAlwaysWait, time.Now())
	lockCtx.InitReturnValues(1)
	require.NoError(t, txn.LockKeys(limited(t), lockCtx, []byte("k")))
	require.Greater(t, lockCtx.MaxLockedWithConflictTS, forUpdateTS)
	require.Equal(t, "newer", string(lockCtx.Values["k"].Value))
	txn.DoneAggressiveLocking(limited(t))
	other := pessimistic(t, client)
	_, err = lock(t, client, other, kv.LockNoWait, "k")
	require.ErrorIs(t, err, tikverr.ErrLockAcquireFailAndNoWaitSet, "it is locked")
	require.NoError(t, other.Rollback())
	require.NoError(t, txn.Set([]byte("k"), []byte("mine")))
	require.NoError(t, txn.Commit(limited(t)))
	require.Equal(t, "mine", get(t, client, "k"))
}

func TestALongTransactionKeepsItsLocksAlive(t *testing.T) {
	t.Parallel()
	c := start(t)
	client := c.txn()
	txn := pessimistic(t, client)
	_, err := lock(t, client, txn, kv.LockNoWait, "k")
	require.NoError(t, err)
	eventually(t, func() bool { return c.calls("KvTxnHeartBeat") >= 1 }, "a heartbeat")
	require.NoError(t, txn.Set([]byte("k"), []byte("v")))
	require.NoError(t, txn.Commit(limited(t)))
	require.Equal(t, "v", get(t, client, "k"))
}
