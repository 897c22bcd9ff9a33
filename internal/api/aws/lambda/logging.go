package lambda

import (
	"cmp"
	"regexp"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// The names that a log group can have.
const (
	logGroupPattern = `[\.\-_/#A-Za-z0-9]+`
	maxLogGroup     = 512
)

var logGroupForm = regexp.MustCompile(`^` + logGroupPattern + `$`)

func (s *settings) checkLogging(c *constraints) {
	l := s.logging
	c.oneOf("loggingConfig.logFormat", l.LogFormat, LogFormatJson, LogFormatText)
	c.oneOf("loggingConfig.applicationLogLevel", l.ApplicationLogLevel,
		ApplicationLogLevelTrace, ApplicationLogLevelDebug, ApplicationLogLevelInfo,
		ApplicationLogLevelWarn, ApplicationLogLevelError, ApplicationLogLevelFatal)
	c.oneOf("loggingConfig.systemLogLevel", l.SystemLogLevel, SystemLogLevelDebug, SystemLogLevelInfo, SystemLogLevelWarn)
	if g := wire.Value(l.LogGroup); l.LogGroup != nil {
		if len(g) > maxLogGroup {
			c.longest("loggingConfig.logGroup", g, maxLogGroup)
		} else if !logGroupForm.MatchString(g) {
			c.pattern("loggingConfig.logGroup", g, logGroupPattern)
		}
	}
}

// checkLevels refuses levels for a log that has none.
func (s *settings) checkLevels() error {
	if l := s.logging; l != nil && l.LogFormat == LogFormatText && (l.ApplicationLogLevel != "" || l.SystemLogLevel != "") {
		return invalid("ApplicationLogLevel and SystemLogLevel can be set only with LogFormat JSON.")
	}
	return nil
}

// applyLogging puts the settings over those there are. Text has no levels.
func (s *settings) applyLogging(l function.Logging) function.Logging {
	in := s.logging
	if in.LogFormat != "" {
		l.JSON = in.LogFormat == LogFormatJson
	}
	l.Code = cmp.Or(in.ApplicationLogLevel, l.Code)
	l.System = cmp.Or(in.SystemLogLevel, l.System)
	if !l.JSON {
		l.Code, l.System = "", ""
	}
	if in.LogGroup != nil {
		l.Group = *in.LogGroup
	}
	return l
}

// loggingOf shows how a version's log is written.
func loggingOf(v *function.Version) *LoggingConfig {
	l := &LoggingConfig{LogFormat: LogFormatText, LogGroup: new(cmp.Or(v.Logging.Group, logGroup(v.Function)))}
	if v.Logging.JSON {
		l.LogFormat = LogFormatJson
		l.ApplicationLogLevel = cmp.Or(v.Logging.Code, ApplicationLogLevelInfo)
		l.SystemLogLevel = cmp.Or(v.Logging.System, SystemLogLevelInfo)
	}
	return l
}
