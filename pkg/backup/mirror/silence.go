package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// silentFor is how long a cell that has given no answer is not asked for objects.
const silentFor = 5 * time.Second

// errSilent says that a cell was not asked.
var errSilent = errors.New("it has just given no answer")

// silence keeps all but one from asking a cell for objects that gives no answer: the workers who wait for it are those of the
// cells that envelopes are written to, and others' envelopes would wait with them. It may be used by many goroutines at once.
type silence struct {
	mu sync.Mutex // guards what follows
	// until is when the cell may be asked again, zero where it has answered last. trying is set while somebody does.
	until  time.Time
	trying bool
}

// ask says whether to ask the cell. Whoever does says what he heard.
func (s *silence) ask(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until.IsZero() {
		return true
	}
	if s.trying || now.Before(s.until) {
		return false
	}
	s.trying = true
	return true
}

func (s *silence) heard(now time.Time, answer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trying = false
	if s.until = (time.Time{}); !answer {
		s.until = now.Add(silentFor)
	}
}

// readObject asks the cell for an object, unless it has just given no answer.
func (c *cell) readObject(ctx context.Context, path string) ([]byte, error) {
	if !c.silence.ask(c.m.config.Now()) {
		return nil, fmt.Errorf("read it in cell %s: %w", c.name, errSilent)
	}
	var body []byte
	err := c.pace.wait(ctx)
	if err == nil {
		began := c.m.config.Now()
		body, err = c.raw.Get().AbsPath(path).Do(ctx).Raw()
		c.pace.observe(c.m.config.Now().Sub(began), err)
	}
	_, status := errors.AsType[*apierrors.StatusError](err)
	c.silence.heard(c.m.config.Now(), err == nil || status || ctx.Err() != nil)
	if err != nil {
		return nil, fmt.Errorf("read it in cell %s: %w", c.name, err)
	}
	return body, nil
}
