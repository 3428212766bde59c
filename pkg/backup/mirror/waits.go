package mirror

import "time"

// reopens is within what a watch that has ended is open again where nothing is wrong.
const reopens = time.Second

// listens notes that a stream is told what happens from now on, or is not any more.
func (m *Mirror) listens(s *stream, open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case open:
		s.deaf = time.Time{}
	case s.deaf.IsZero():
		s.deaf = m.config.Now()
	}
}

// waits is since when something may have happened that is in no envelope: since the oldest open event was told, or since when
// nobody was told any. It is zero where neither is so: then the envelopes have all that had happened a moment ago.
func (s *stream) waits(now time.Time) time.Time {
	var oldest time.Time
	if !s.deaf.IsZero() && now.Sub(s.deaf) > reopens {
		oldest = s.deaf
	}
	for r := range s.progress.open {
		if oldest.IsZero() || r.since.Before(oldest) {
			oldest = r.since
		}
	}
	return oldest
}
