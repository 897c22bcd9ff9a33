package node

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/sandbox/gvisor"
	"github.com/mayfly-dev/mayfly/internal/sandbox/gvisor/egress"
	"github.com/mayfly-dev/mayfly/internal/sandbox/process"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

const goarch = runtime.GOARCH

// Reexec must be the first call of main: see gvisor.Reexec.
func Reexec() { gvisor.Reexec(guest.Inside(), spine.StopSampling) }

// openDriver makes the driver, with its network, and sweeps what a dead node
// left.
func (n *Node) openDriver(ctx context.Context) (err error) {
	switch n.cfg.Driver {
	case DriverProcess:
		n.warn("functions run as plain processes of this machine, without isolation (driver process): only run code that you trust")
		n.driver, err = process.New(n.path("run"))
	default:
		err = n.openGVisor()
	}
	if err != nil {
		return err
	}
	return n.driver.Sweep(ctx)
}

func (n *Node) openGVisor() error {
	cfg := gvisor.Config{Dir: n.path("run"), Serves: true, Log: n.log}
	switch {
	case n.cfg.Egress == EgressNone:
	case os.Geteuid() != 0:
		n.warn("the node does not run as root: functions have no network, and memory and CPU limits hold only where cgroups are delegated to this user; start it as root for both")
	default:
		network, err := n.openNetwork()
		if err != nil {
			return err
		}
		if network != nil { // not an interface that holds a nil pointer
			cfg.Network, n.network = network, network
			if l := network.API(); l != nil {
				n.callers = l
			}
		}
	}
	driver, err := gvisor.New(cfg)
	if err != nil {
		return fmt.Errorf("the gvisor driver does not work on this machine; `mayfly doctor` says why: %w", err)
	}
	n.driver = driver
	return nil
}

// openNetwork makes the way out for functions; nil when this machine can't, which
// is a warning and not the end.
func (n *Node) openNetwork() (*egress.Network, error) {
	network, err := egress.New(egress.Config{
		DataDir: n.cfg.DataDir,
		Policy:  egress.Policy{Mode: egress.Mode(n.cfg.Egress), Allow: n.cfg.EgressAllow, Deny: n.cfg.EgressDeny, Host: n.cfg.EgressHost},
		Log:     n.log,
	})
	if errs.Is(err, errs.Unsupported) {
		n.warn("functions have no network: " + err.Error())
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("make the functions' network: %w", err)
	}
	return network, nil
}

// warn keeps a sentence for whoever starts the node to show: see Warnings.
func (n *Node) warn(sentence string) { n.warnings = append(n.warnings, sentence) }
