package mirror

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// errAgain says that what was to be done is out of date: it is judged anew.
var errAgain = errors.New("it was changed meanwhile")

// errLater says that the attempt has come too early: an event will tell more, and it is made again in any case.
var errLater = errors.New("it may go on its own")

// errUnfit says that no envelope can be made of the object, which is noted.
var errUnfit = errors.New("it does not fit")

// unansweredError is that of a write or deletion of which nobody knows what has become.
type unansweredError struct{ error }

func (e unansweredError) Unwrap() error { return e.error }

// ending is how an attempt has ended.
type ending int

const (
	// answered: the cell has said what there is.
	answered ending = iota
	// unanswered: the cell was asked to change something, and did not say.
	unanswered
	// unsent: it was not asked to. The attempt is made again after a while.
	unsent
	// unfit: it was not asked to, and will not be.
	unfit
)

func endingOf(err error) ending {
	_, silent := errors.AsType[unansweredError](err)
	switch {
	case err == nil, errors.Is(err, errAgain):
		return answered
	case errors.Is(err, errUnfit):
		return unfit
	case silent:
		return unanswered
	}
	return unsent
}

// work does what there is to do in the cell until the queue is shut down.
func (c *cell) work(ctx context.Context) {
	for {
		it, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		err := c.do(ctx, it)
		c.queue.Done(it)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			c.queue.Forget(it)
		default:
			c.failed(it, err)
			c.queue.AddRateLimited(it)
		}
	}
}

// failed counts an attempt that is to be made again, and tells of the first of several.
func (c *cell) failed(it *item, err error) {
	if errors.Is(err, errAgain) || errors.Is(err, errLater) {
		return
	}
	c.m.config.Metrics.failures.WithLabelValues(c.name).Inc()
	if c.failing.CompareAndSwap(false, true) {
		c.m.config.Logger.Warn("cannot bring an envelope up to date, trying again, as for any others", "cell", c.name, "object", it.id.String(), "err", err)
	}
}

// task is what there is to do for one envelope, as it was when the mirror was asked.
type task struct {
	do     action
	entry  *entry // nil where there is none
	source *stream
	record record // a copy of the primary, of which entry is to be the envelope
	unit   string
	epoch  int64 // of the ring by which it was judged
	// asked are the cells that may have the object of an envelope that is to be removed.
	asked []string
}

// task asks what to do, and keeps events of the envelope back meanwhile.
func (c *cell) task(it *item) task {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.m.items[it.id] != it {
		return task{do: nothing} // it was forgotten while it waited here, and what has its name now is another one
	}
	d := c.m.judge(it)
	t := task{do: d.actions[c.name], entry: c.index[it.name], unit: d.unit, epoch: c.m.snapshot().Epoch}
	if t.do == nothing {
		if d.stored {
			c.m.settle(it, &d)
		}
		return t
	}
	if d.primary != nil {
		t.record, t.source = *d.primary, d.primary.stream
	}
	if t.do == remove {
		t.asked = c.m.asked(t.entry)
		if d.primary != nil {
			t.asked = nil // its envelopes are elsewhere
		}
	}
	c.busy[it.name] = nil
	return t
}

// done notes what has become of a task: how it has ended, and the envelope as the cell has answered, nil where there is none.
// What was unsent or unanswered is not judged anew here: its worker tries again.
func (c *cell) done(it *item, found *entry, how ending) {
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	missed, was := c.busy[it.name], c.index[it.name]
	delete(c.busy, it.name)
	switch how {
	case answered:
		delete(c.unsure, it.name)
		if found == nil {
			c.drop(it.name)
		} else {
			c.put(it.name, found)
			m.unsettle(it, found)
		}
	case unanswered:
		c.unsure[it.name] = struct{}{}
	case unsent, unfit:
	}
	switch {
	case missed == nil || !missed.newer(was) || !missed.newer(found):
	case missed.gone:
		m.lost(c, it.name, versionOf(missed.secretVersion))
	case how == answered && found == nil:
		c.unsure[it.name] = struct{}{} // it was made before it was not there, or after that
	default:
		m.written(c, it.name, missed)
	}
	if how == answered || how == unfit {
		m.schedule(it, it.urgent.Load())
	} else if d := m.judge(it); d.stored && d.unsaved {
		m.settle(it, &d) // it is named
	}
}

// do brings the envelope of an object in this cell up to date.
func (c *cell) do(ctx context.Context, it *item) error {
	t := c.task(it)
	var found *entry
	var err error
	switch t.do {
	case nothing:
		return nil
	case verify:
		found, err = c.verify(ctx, it, &t)
	case write:
		found, err = c.write(ctx, it, &t)
	case remove:
		found, err = c.remove(ctx, it, &t)
	}
	how := endingOf(err)
	c.done(it, found, how)
	if how == unfit {
		return nil
	}
	return err
}

// read reads an envelope, nil where there is none.
func (c *cell) read(ctx context.Context, it *item) (*corev1.Secret, error) {
	if err := c.pace.wait(ctx); err != nil {
		return nil, err
	}
	secret, err := c.secrets.Get(ctx, it.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absence is an answer
	case err != nil:
		return nil, fmt.Errorf("read envelope %s: %w", it.name, err)
	}
	return secret, nil
}

// readMetadata reads what there is of an envelope beside its content, nil where there is none.
func (c *cell) readMetadata(ctx context.Context, it *item) (*entry, error) {
	secret, err := c.envelope.Get(ctx, it.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absence is an answer
	case err != nil:
		return nil, fmt.Errorf("read envelope %s: %w", it.name, err)
	}
	return entryOf(secret), nil
}

// verify reads an envelope that somebody else has written.
func (c *cell) verify(ctx context.Context, it *item, t *task) (*entry, error) {
	secret, err := c.read(ctx, it)
	if secret == nil {
		return nil, err
	}
	found := entryOf(secret)
	problem := ""
	if _, err := envelope.Open(secret); err != nil {
		problem = err.Error()
	} else if t.source != nil && found.source == t.source.cell.name && found.version > t.record.version {
		// It may be the router's, which was quicker than the watch. Or it is none.
		problem, err = c.contradicts(ctx, it, t, found)
		if err != nil {
			return nil, err
		}
	}
	if problem != "" {
		found.problem = problem
	}
	return found, nil
}

// contradicts says in what an envelope is ahead of the object itself.
func (c *cell) contradicts(ctx context.Context, it *item, t *task, found *entry) (string, error) {
	_, meta, err := t.source.get(ctx, it.id)
	switch {
	case apierrors.IsNotFound(err):
		return "", nil // the watch will tell
	case err != nil:
		return "", err
	case versionOf(meta.ResourceVersion) < found.version:
		return fmt.Sprintf("it says to have the version %d of its object, which is at %s", found.version, meta.ResourceVersion), nil
	}
	return "", nil
}

// get reads an object as its cell serves it.
func (s *stream) get(ctx context.Context, id identity) ([]byte, *metadata, error) {
	body, err := s.cell.readObject(ctx, s.path(id.namespace)+"/"+id.name)
	if err != nil {
		return nil, nil, err
	}
	meta, err := parseMetadata(body)
	return body, meta, err
}

// write makes an envelope of what the primary is now.
func (c *cell) write(ctx context.Context, it *item, t *task) (*entry, error) {
	body := t.record.body
	if body == nil {
		var meta *metadata
		var err error
		body, meta, err = t.source.get(ctx, it.id)
		switch {
		case apierrors.IsNotFound(err):
			return nil, errLater // the watch will tell
		case err != nil:
			c.m.unreadable(c, it, t, err)
			return nil, err
		case meta.status() != t.record.status:
			return nil, errLater
		}
	}
	secret, err := c.m.sealer.Seal(envelope.Source{
		Resource: it.id.resource, Unit: t.unit, Cell: t.source.cell.name, BackupCell: c.name, Epoch: t.epoch, Written: c.m.config.Now(),
	}, body)
	if tooLarge := (*envelope.TooLargeError)(nil); errors.As(err, &tooLarge) {
		c.m.refuse(it, &refusal{uid: t.record.uid, version: t.record.version, cell: c.name, reason: TooLarge, message: tooLarge.Error()})
		return nil, errUnfit
	}
	if err != nil {
		return nil, err
	}
	if err := c.pace.wait(ctx); err != nil {
		return nil, err
	}
	began := c.m.config.Now()
	stored, err := c.store(ctx, secret, t.entry)
	c.pace.observe(c.m.config.Now().Sub(began), err)
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err) && t.entry != nil:
		found, readErr := c.readMetadata(ctx, it)
		if readErr != nil {
			return nil, unansweredError{readErr}
		}
		if found != nil && found.problem == "" && found.promoted == "" {
			found.suspect = true
		}
		return found, errAgain
	case apierrors.IsInvalid(err) && t.entry != nil:
		// Somebody has made it immutable, or of another type.
		if err := c.discard(ctx, it, t.entry); err != nil {
			return nil, err
		}
		c.m.remade(c, it, RemadeCorrupt, "its Secret cannot be changed: "+err.Error())
		return nil, errAgain
	case err != nil:
		return nil, unansweredError{fmt.Errorf("write the envelope: %w", err)}
	}
	c.m.config.Metrics.written.WithLabelValues(t.source.cell.name, c.name).Inc()
	if t.entry != nil && t.entry.problem != "" {
		c.m.remade(c, it, RemadeCorrupt, t.entry.problem)
	}
	if c.failing.CompareAndSwap(true, false) {
		c.m.config.Logger.Info("envelopes are brought up to date again", "cell", c.name)
	}
	c.rehearse.want(it, t.record.uid, t.record.generation, t.record.version)
	return entryOf(stored), nil
}

func (c *cell) store(ctx context.Context, secret *corev1.Secret, known *entry) (*corev1.Secret, error) {
	if known == nil {
		return c.secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	}
	secret.UID, secret.ResourceVersion = known.secret, known.secretVersion
	return c.secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
}

// discard deletes an envelope as it was seen. The error wraps errAgain where it is another one by now.
func (c *cell) discard(ctx context.Context, it *item, seen *entry) error {
	err := c.envelope.Delete(ctx, it.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{
		UID: &seen.secret, ResourceVersion: &seen.secretVersion,
	}})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return fmt.Errorf("%w: %w", errAgain, err)
	case err != nil:
		return unansweredError{fmt.Errorf("delete the envelope: %w", err)}
	}
	return nil
}

// remove deletes an envelope whose object is gone, or has its envelopes elsewhere.
func (c *cell) remove(ctx context.Context, it *item, t *task) (*entry, error) {
	if err := c.m.mayDelete(ctx, t.entry.source, t.epoch); err != nil {
		return nil, err
	}
	for _, name := range t.asked {
		if err := c.m.confirmGone(ctx, it, t.entry, name); err != nil {
			return nil, err
		}
	}
	if err := c.pace.wait(ctx); err != nil {
		return nil, err
	}
	began := c.m.config.Now()
	err := c.discard(ctx, it, t.entry)
	c.pace.observe(c.m.config.Now().Sub(began), err)
	switch {
	case errors.Is(err, errAgain):
		found, readErr := c.readMetadata(ctx, it)
		if readErr != nil {
			return nil, unansweredError{readErr}
		}
		return found, errAgain
	case err != nil:
		return nil, err
	}
	c.m.config.Metrics.deleted.WithLabelValues(t.entry.source, c.name).Inc()
	return nil, nil //nolint:nilnil // it is gone
}
