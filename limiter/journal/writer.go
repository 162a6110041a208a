package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Begin makes the journal active, with a new segment, as soon as Run runs. It may
// be called again after Close.
func (j *Journal) Begin(ctx context.Context) error {
	return j.do(ctx, func() {
		j.wanted = true
		j.begin()
	})
}

// Close writes what was appended, gives the directory free and ends the journal
// without a snapshot: another process goes on, or this one by Begin.
func (j *Journal) Close(ctx context.Context) error {
	return j.do(ctx, func() {
		j.commit()
		j.release()
	})
}

// do has the goroutine of Run do something, and waits for it.
func (j *Journal) do(ctx context.Context, what func()) error {
	done := make(chan struct{})
	select {
	case j.control <- func() { what(); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run writes until ctx ends. Then, if the journal is active, it leaves one segment
// with a whole snapshot.
func (j *Journal) Run(ctx context.Context) error {
	defer j.release()
	for {
		var more <-chan time.Time // at once: the snapshot is not whole
		if j.file != nil && j.next >= 0 && j.isActive() {
			more = always
		}
		select {
		case <-ctx.Done():
			return j.finish()
		case what := <-j.control:
			what()
		case <-j.wake:
			j.commit()
		case <-more:
			j.step()
		case <-j.retry.C:
			if j.wanted && !j.isActive() {
				j.begin()
			}
		}
		if j.file != nil && !j.isActive() { // it failed, here or for somebody who waited
			j.abandon()
		}
		if j.next < 0 && j.written-j.base > max(slackBytes, 2*j.base) {
			j.rotate()
		}
	}
}

// always is a channel that can be received from at any time.
var always = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

func (j *Journal) isActive() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.active
}

// begin starts a segment after everything that is there, with a new epoch.
func (j *Journal) begin() {
	if err := j.start(); err != nil {
		j.fail(fmt.Errorf("begin a lease file: %w", err))
		j.abandon()
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stats.Err != nil {
		j.o.Logger.Info("limits are kept on disk again", "dir", j.o.Dir, "after", time.Since(j.stats.Since).Round(time.Millisecond))
	}
	j.stats.Err, j.stats.Since = nil, time.Time{}
	j.active = true
	j.epoch++
}

// start creates and syncs the next segment.
func (j *Journal) start() error {
	if j.lock == nil {
		lock, err := lockDir(j.o.Dir)
		if err != nil {
			return err
		}
		j.lock = lock
	}
	list, err := segments(j.o.Dir)
	if err != nil {
		return err
	}
	number := uint64(1)
	if len(list) > 0 {
		number = list[len(list)-1] + 1
	}
	file, err := j.o.Create(segmentPath(j.o.Dir, number))
	if err != nil {
		return err
	}
	frame := append(make([]byte, frameHead), j.o.Head()...)
	seal(frame)
	text := append([]byte(magic), frame...)
	if err := errors.Join(writeAll(file, text), file.Sync(), syncDir(j.o.Dir)); err != nil {
		file.Close()
		os.Remove(segmentPath(j.o.Dir, number))
		return err
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.number, j.older = file, number, list
	j.written, j.base, j.next = int64(len(text)), 0, 0
	return nil
}

// rotate goes on in a new segment.
func (j *Journal) rotate() {
	if err := j.start(); err != nil {
		j.fail(fmt.Errorf("begin a lease file: %w", err))
		j.abandon()
	}
}

// abandon gives up the segment, and tries again later.
func (j *Journal) abandon() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
	j.pause = min(max(retryFirst, 2*j.pause), retryLast)
	j.retry.Reset(j.pause)
}

// release ends the journal for this process.
func (j *Journal) release() {
	j.mu.Lock()
	j.endLocked()
	j.mu.Unlock()
	if j.file != nil {
		j.file.Close()
	}
	if j.lock != nil {
		j.lock.Close()
	}
	j.file, j.lock, j.wanted = nil, nil, false
	j.retry.Stop()
}

// commit writes what was appended.
func (j *Journal) commit() {
	j.mu.Lock()
	batch, frame := j.open, j.buf
	if batch == nil {
		j.mu.Unlock()
		return
	}
	j.open, j.flight = nil, batch
	j.buf = j.spare
	j.mu.Unlock()

	seal(frame)
	err := errors.Join(writeAll(j.file, frame), j.file.Sync())
	j.written += int64(len(frame))
	if j.spare = frame[:0]; cap(frame) > slackBytes {
		j.spare = nil
	}
	if err != nil {
		j.fail(fmt.Errorf("write to %s: %w", segmentPath(j.o.Dir, j.number), err))
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Syncs++
	j.stats.Bytes = j.written
	if j.flight == batch { // else it was given up
		close(batch.done)
		j.flight = nil
	}
}

// step makes a part of the snapshot; with the last one the former segments go.
func (j *Journal) step() {
	next, err := j.o.Snapshot(j.next)
	if err != nil {
		j.next, j.base = -1, j.written // another time
		return
	}
	j.next = next
	j.commit()
	if next >= 0 || !j.isActive() {
		return
	}
	j.base, j.pause = j.written, 0
	for _, n := range j.older {
		if err := os.Remove(segmentPath(j.o.Dir, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.o.Logger.Warn("old lease file stays", "error", err)
		}
	}
	j.older = nil
}

// finish leaves a whole snapshot behind.
func (j *Journal) finish() error {
	if !j.isActive() {
		return nil
	}
	j.commit()
	j.rotate()
	for j.next >= 0 && j.isActive() {
		j.step()
	}
	if s := j.Stats(); s.Err != nil {
		return s.Err
	}
	return nil
}
