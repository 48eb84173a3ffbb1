// Package interop runs the released client-go, unchanged, against the embedded cluster: what a real client needs
// from PD and TiKV, scenario by scenario. Each test starts a cluster of its own and stops it at its end.
//
// TIKV_EMBEDDED names the program; without it `cargo build` makes it.
package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/log"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/txnkv"
	"go.uber.org/zap"
)

// patience bounds everything that a test waits for: a cluster in memory answers in milliseconds.
const patience = 30 * time.Second

var program string

func TestMain(m *testing.M) {
	// The client logs each retry; a test says what it expects.
	log.ReplaceGlobals(zap.NewNop(), &log.ZapProperties{})
	var err error
	if program, err = build(); err != nil {
		fmt.Fprintln(os.Stderr, "tikv-embedded could not be built:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// build returns the path of the program.
func build() (string, error) {
	if path := os.Getenv("TIKV_EMBEDDED"); path != "" {
		return filepath.Abs(path)
	}
	cargo := exec.Command("cargo", "build", "--quiet", "--package", "tikv-embedded", "--message-format", "json")
	cargo.Dir = "../.."
	cargo.Stderr = os.Stderr
	out, err := cargo.Output()
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(out), "\n") {
		var artifact struct {
			Executable string `json:"executable"`
		}
		if json.Unmarshal([]byte(line), &artifact) == nil && artifact.Executable != "" {
			return artifact.Executable, nil
		}
	}
	return "", fmt.Errorf("cargo made no program")
}

// cluster is a running tikv-embedded.
type cluster struct {
	t     *testing.T
	pd    []string
	admin string
}

// start runs tikv-embedded with these arguments until the end of the test.
func start(t *testing.T, arguments ...string) *cluster {
	t.Helper()
	command := exec.Command(program, append([]string{"--admin-port", "0"}, arguments...)...)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		require.NoError(t, command.Process.Signal(os.Interrupt))
		_, _ = io.Copy(io.Discard, out)
		require.NoError(t, command.Wait(), "tikv-embedded ends well")
	})
	lines := bufio.NewReader(out)
	c := &cluster{t: t}
	c.pd = strings.Split(c.after(lines, "TIKV_PD="), ",")
	c.admin = c.after(lines, "TIKV_ADMIN=")
	return c
}

// after returns what follows prefix on the next line.
func (c *cluster) after(lines *bufio.Reader, prefix string) string {
	c.t.Helper()
	line, err := lines.ReadString('\n')
	require.NoError(c.t, err)
	rest, found := strings.CutPrefix(strings.TrimSpace(line), prefix)
	require.True(c.t, found, "%q begins with %q", line, prefix)
	return rest
}

// outcome is what an instruction has brought about.
type outcome struct {
	Store   uint64
	Regions []uint64
	Hits    int
}

// tell gives instructions, one an argument, and returns what the last has brought about.
func (c *cluster) tell(instructions ...string) outcome {
	c.t.Helper()
	response, err := http.Post(c.admin+"/", "text/plain", strings.NewReader(strings.Join(instructions, "\n")))
	require.NoError(c.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	require.Equal(c.t, http.StatusOK, response.StatusCode, "%q: %s", instructions, body)
	var outcomes []outcome
	require.NoError(c.t, json.Unmarshal(body, &outcomes))
	return outcomes[len(outcomes)-1]
}

// state is what the admin port tells of the cluster, as far as tests ask.
type state struct {
	Stores []struct {
		ID      uint64
		Address string
		Leaders int
		Calls   map[string]int
	}
	Regions []struct {
		ID     uint64
		Start  string
		Leader uint64
		Peers  []struct{ Store uint64 }
	}
	Faults map[string]int
}

func (c *cluster) state() state {
	c.t.Helper()
	response, err := http.Get(c.admin + "/")
	require.NoError(c.t, err)
	defer response.Body.Close()
	var seen state
	require.NoError(c.t, json.NewDecoder(response.Body).Decode(&seen))
	return seen
}

// calls is how many calls of a method all stores have had.
func (c *cluster) calls(method string) int {
	c.t.Helper()
	sum := 0
	for _, store := range c.state().Stores {
		sum += store.Calls[method]
	}
	return sum
}

// txn connects a transactional client.
func (c *cluster) txn(options ...txnkv.ClientOpt) *txnkv.Client {
	c.t.Helper()
	client, err := txnkv.NewClient(c.pd, options...)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, client.Close()) })
	return client
}

// limited is a context that a test's calls cannot outlast.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until done.
func eventually(t *testing.T, done func() bool, what string) {
	t.Helper()
	require.Eventually(t, done, patience, 10*time.Millisecond, what)
}

func bytesOf(words ...string) [][]byte {
	all := make([][]byte, 0, len(words))
	for _, word := range words {
		all = append(all, []byte(word))
	}
	return all
}
