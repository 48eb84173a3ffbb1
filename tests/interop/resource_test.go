package interop

import (
	"context"
	"testing"
	"time"

	rmpb "github.com/pingcap/kvproto/pkg/resource_manager"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/tikv"
	pd "github.com/tikv/pd/client"
	"github.com/tikv/pd/client/resource_group/controller"
)

// provider is PD as the controller of this client version knows it. It reads its settings from a global configuration
// path that PD refuses since (server/grpc_service.go: LoadGlobalConfig), where it takes an empty answer as "defaults".
type provider struct{ pd.Client }

func (provider) LoadGlobalConfig(context.Context, []string, string) ([]pd.GlobalConfigItem, int64, error) {
	return nil, 0, nil
}

// A resource group's interceptor is one for the whole process, so this test does not run beside others.
func TestAResourceGroupIsThrottledToItsRate(t *testing.T) {
	c := start(t, "--stores", "3")
	client := c.txn()
	server := client.GetPDClient()
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	const rate = 500
	group := &rmpb.ResourceGroup{
		Name: "slow",
		Mode: rmpb.GroupMode_RUMode,
		RUSettings: &rmpb.GroupRequestUnitSettings{
			RU: &rmpb.TokenBucket{Settings: &rmpb.TokenLimitSettings{FillRate: rate}},
		},
	}
	_, err := server.AddResourceGroup(ctx, group)
	require.NoError(t, err)
	known, err := server.GetResourceGroup(ctx, "slow")
	require.NoError(t, err)
	require.EqualValues(t, rate, known.RUSettings.RU.Settings.FillRate)
	all, err := server.ListResourceGroups(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, all)

	limits, err := controller.NewResourceGroupController(ctx, 1, provider{server}, nil, controller.WithMaxWaitDuration(patience))
	require.NoError(t, err)
	limits.Start(ctx)
	defer func() { require.NoError(t, limits.Stop()) }()
	tikv.EnableResourceControl()
	tikv.SetResourceControlInterceptor(limits)
	defer func() {
		tikv.DisableResourceControl()
		tikv.UnsetResourceControlInterceptor()
	}()

	write := func(count int) time.Duration {
		begin := time.Now()
		for i := 0; i < count; i++ {
			txn, err := client.Begin()
			require.NoError(t, err)
			txn.SetResourceGroupName("slow")
			require.NoError(t, txn.Set([]byte{byte(i)}, make([]byte, 4096)))
			require.NoError(t, txn.Commit(ctx))
		}
		return time.Since(begin)
	}
	write(100) // what the bucket starts with
	slow := write(100)
	require.Greater(t, slow, time.Second, "100 writes of some 10 request units each, at %d a second", rate)
	_, err = server.DeleteResourceGroup(ctx, "slow")
	require.NoError(t, err)
}
