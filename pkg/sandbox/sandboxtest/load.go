package sandboxtest

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Load is processor time so far, in steps of 10 ms (Linux). Unlike elapsed time it says nearly the same beside busy
// neighbours.
type Load struct {
	// Test is what this process took, Planes what all control planes took that it started.
	Test, Planes time.Duration
}

// All is what everything took together.
func (l Load) All() time.Duration { return l.Test + l.Planes }

// Since is what was taken since an earlier look.
func (l Load) Since(earlier Load) Load { return Load{l.Test - earlier.Test, l.Planes - earlier.Planes} }

// LoadNow looks into /proc.
func LoadNow(t testing.TB) Load {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(paths) == 0 {
		t.Fatalf("look for processes: %v", err)
	}
	parents, ticks := map[int]int{}, map[int]int64{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (command) state ppid …; fields 14 and 15 of all are user and system time.
		pid, _, _ := strings.Cut(string(raw), " ")
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		parents[number(t, pid)] = number(t, fields[1])
		ticks[number(t, pid)] = int64(number(t, fields[11]) + number(t, fields[12]))
	}
	const tick = 10 * time.Millisecond
	self := os.Getpid()
	l := Load{Test: time.Duration(ticks[self]) * tick}
	for pid := range ticks {
		for parent := parents[pid]; parent > 1; parent = parents[parent] {
			if parent == self {
				l.Planes += time.Duration(ticks[pid]) * tick
				break
			}
		}
	}
	return l
}

func number(t testing.TB, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Requests are how many requests an apiserver has answered, by verb and resource, such as "PUT rings/status". Watches
// count when they end.
type Requests map[string]int

// RequestsOf reads them from the apiserver's own metrics, whoever asked.
func RequestsOf(t testing.TB, config *rest.Config) Requests {
	t.Helper()
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	out := Requests{}
	eachMetric(t, config, "apiserver_request_total{", func(line string, value float64) {
		labels := map[string]string{}
		for _, pair := range label.FindAllStringSubmatch(line, -1) {
			labels[pair[1]] = pair[2]
		}
		what := labels["verb"] + " " + labels["resource"]
		if labels["subresource"] != "" {
			what += "/" + labels["subresource"]
		}
		out[what] += int(value)
	})
	return out
}

// ProcessorTime is what an apiserver has taken so far, by its own metrics; where etcd is in the same process, with etcd.
func ProcessorTime(t testing.TB, config *rest.Config) time.Duration {
	t.Helper()
	var out time.Duration
	eachMetric(t, config, "process_cpu_seconds_total ", func(_ string, value float64) {
		out = time.Duration(value * float64(time.Second))
	})
	return out
}

// eachMetric visits the lines of an apiserver's metrics that begin with a prefix, which is cut off.
func eachMetric(t testing.TB, config *rest.Config, prefix string, visit func(line string, value float64)) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	text, err := kube.RESTClient().Get().AbsPath("/metrics").Stream(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		line, is := strings.CutPrefix(lines.Text(), prefix)
		if !is {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		visit(line, value)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("read metrics: %v", err)
	}
}

// Since are those that were answered since an earlier look.
func (r Requests) Since(earlier Requests) Requests {
	out := Requests{}
	for what, n := range r {
		if n > earlier[what] {
			out[what] = n - earlier[what]
		}
	}
	return out
}

// Of is how many there are of all verbs of some resources.
func (r Requests) Of(resources ...string) int {
	n := 0
	for what, count := range r {
		for _, resource := range resources {
			if strings.HasSuffix(what, " "+resource) {
				n += count
			}
		}
	}
	return n
}
