package lambda

import (
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/function"
)

// The environment variables by which a function says that it is a program that
// serves HTTP. Lambda's API has no parameter for it; AWS_LWA_… and the wrapper
// are those of AWS's Lambda Web Adapter, so that packages made for it run as they
// are.
const (
	envWebCommand     = "MAYFLY_WEB_COMMAND"     // program and arguments, split at spaces
	envWebConcurrency = "MAYFLY_WEB_CONCURRENCY" // requests at one time in an instance

	envWrapper     = "AWS_LAMBDA_EXEC_WRAPPER"
	adapterWrapper = "/opt/bootstrap"
	adapterPrefix  = "AWS_LWA_"
	adapterPort    = "AWS_LWA_PORT"
	adapterReady   = "AWS_LWA_READINESS_CHECK_PATH"
	adapterEvents  = "AWS_LWA_PASS_THROUGH_PATH"
)

// Defaults of a web server's settings.
const (
	webConcurrency = 80
	webEvents      = "/events"
)

// webOf reads from a configuration whether it is one of a web server. What can't
// be a number becomes -1, which no rule allows.
func webOf(c *function.Config) *function.Web {
	w := &function.Web{Port: function.DefaultWebPort, Ready: c.Env[adapterReady], Events: webEvents, Concurrency: 1}
	command, ours := c.Env[envWebCommand]
	switch {
	case ours:
		w.Command, w.Concurrency = strings.Fields(command), webConcurrency
	case !adapted(c.Env):
		return nil
	case strings.HasPrefix(c.Runtime, "provided"):
		w.Command = []string{"bootstrap"}
	default:
		w.Command = []string{c.Handler}
	}
	number := func(to *int, names ...string) {
		for _, name := range names {
			if text := c.Env[name]; text != "" {
				n, err := strconv.Atoi(text)
				if err != nil {
					n = -1
				}
				*to = n
				return
			}
		}
	}
	number(&w.Port, adapterPort, "PORT")
	number(&w.Concurrency, envWebConcurrency)
	if path := c.Env[adapterEvents]; path != "" {
		w.Events = path
	}
	return w
}

// adapted reports whether an environment is one for the Lambda Web Adapter.
func adapted(env map[string]string) bool {
	if env[envWrapper] == adapterWrapper {
		return true
	}
	for name := range env {
		if strings.HasPrefix(name, adapterPrefix) {
			return true
		}
	}
	return false
}
