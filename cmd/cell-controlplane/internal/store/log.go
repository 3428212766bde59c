package store

import (
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// infoVerbosity is the klog level at which etcd's information shows: it is chatty at start.
const infoVerbosity = 4

// klogCore writes etcd's log lines to klog, so that a control plane has one log in one format.
type klogCore struct {
	fields []zapcore.Field
}

func (c klogCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.WarnLevel || (level >= zapcore.InfoLevel && klog.V(infoVerbosity).Enabled())
}

func (c klogCore) With(fields []zapcore.Field) zapcore.Core {
	return klogCore{fields: append(append([]zapcore.Field{}, c.fields...), fields...)}
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
	for _, field := range append(append([]zapcore.Field{}, c.fields...), fields...) {
		field.AddTo(values)
		if value, ok := values.Fields[field.Key]; ok {
			pairs = append(pairs, field.Key, value)
		}
	}
	message := "etcd: " + entry.Message
	if entry.Level >= zapcore.ErrorLevel {
		klog.ErrorS(nil, message, pairs...)
	} else {
		klog.InfoS(message, pairs...)
	}
	return nil
}

func (c klogCore) Sync() error {
	klog.Flush()
	return nil
}
