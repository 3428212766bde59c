package store

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
)

// infoVerbosity is the klog level at which etcd's information shows: it is chatty at start.
const infoVerbosity = 4

// klogCore writes etcd's log lines to klog, so that a control plane has one log in one format.
type klogCore struct {
	fields  []zapcore.Field
	stderr  io.Writer
	closing *atomic.Bool
}

func (c klogCore) Enabled(level zapcore.Level) bool {
	// etcd reports the end of its own listeners as errors.
	if c.closing.Load() && level < zapcore.DPanicLevel {
		return false
	}
	return level >= zapcore.WarnLevel || (level >= zapcore.InfoLevel && klog.V(infoVerbosity).Enabled())
}

func (c klogCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields = append(slices.Clip(c.fields), fields...)
	return c
}

func (c klogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c klogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	var pairs []any
	for _, field := range append(slices.Clip(c.fields), fields...) {
		field.AddTo(values)
		if value, ok := values.Fields[field.Key]; ok {
			pairs = append(pairs, field.Key, value)
		}
	}
	message := "etcd: " + entry.Message
	if entry.Level < zapcore.ErrorLevel {
		klog.InfoS(message, pairs...)
		return nil
	}
	klog.ErrorS(nil, message, pairs...)
	if entry.Level >= zapcore.DPanicLevel {
		klog.Flush()
		fault.Print(c.stderr, fault.New(fmt.Errorf("etcd cannot go on: %s: %v", entry.Message, values.Fields["error"]),
			"check that the disk has free space and is writable; everything acknowledged is on it"))
	}
	return nil
}

func (c klogCore) Sync() error {
	klog.Flush()
	return nil
}
