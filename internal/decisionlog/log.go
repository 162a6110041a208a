package decisionlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Record is one charge of one decision.
type Record struct {
	BeforeNS int64  // CLOCK_MONOTONIC when the request came; the decision is not earlier
	TookNS   uint32 // until it was decided; saturates at 4.29 s
	WaitNS   uint32 // of that, in the limiter
	Cost     uint32
	Key      uint64 // the first half of the bucket's name
	Limit    uint32
	WindowMS uint32
	Admitted bool
	Zone     uint8 // limiter.Zone
}

// AfterNS is when the decision had been taken.
func (r *Record) AfterNS() int64 { return r.BeforeNS + int64(r.TookNS) }

// The file: a header, then slots. Integers are in the machine's byte order; a file
// is read on the machine that wrote it.
const (
	magic      = 0x736c64656373_0001 // and the version
	headBytes  = 64
	slotBytes  = 40
	atCapacity = 8
	atCount    = 16 // slots handed out, including those beyond capacity

	slotBefore = 0 // stored last; 0: the record is not whole
	slotTook   = 8
	slotCost   = 12
	slotKey    = 16
	slotLimit  = 24
	slotWindow = 28
	slotFlags  = 32
	slotWait   = 36

	flagAdmitted = 1
	zoneShift    = 1
)

// Writer appends records to a file.
type Writer struct {
	data     []byte
	count    *atomic.Uint64
	capacity uint64
}

// Create makes a file for up to capacity records; on most file systems it takes
// up no more room than it has records.
func Create(path string, capacity int) (*Writer, error) {
	size := headBytes + capacity*slotBytes
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping keeps the file
	if err := f.Truncate(int64(size)); err != nil {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("decision log: map %s: %w", path, err)
	}
	binary.NativeEndian.PutUint64(data[atCapacity:], uint64(capacity))
	binary.NativeEndian.PutUint64(data, magic)
	return &Writer{data: data, count: word(data, atCount), capacity: uint64(capacity)}, nil
}

// word is the aligned 8 bytes at an offset of a mapping, which starts at a page.
func word(data []byte, at int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&data[at]))
}

// Add appends a record.
func (w *Writer) Add(r Record) {
	n := w.count.Add(1) - 1
	if n >= w.capacity {
		return
	}
	at := headBytes + int(n)*slotBytes
	slot := w.data[at : at+slotBytes]
	binary.NativeEndian.PutUint32(slot[slotTook:], r.TookNS)
	binary.NativeEndian.PutUint32(slot[slotCost:], r.Cost)
	binary.NativeEndian.PutUint64(slot[slotKey:], r.Key)
	binary.NativeEndian.PutUint32(slot[slotLimit:], r.Limit)
	binary.NativeEndian.PutUint32(slot[slotWindow:], r.WindowMS)
	binary.NativeEndian.PutUint32(slot[slotWait:], r.WaitNS)
	slot[slotFlags] = r.Zone << zoneShift
	if r.Admitted {
		slot[slotFlags] |= flagAdmitted
	}
	word(w.data, at+slotBefore).Store(uint64(r.BeforeNS))
}

// Close unmaps the file. Add must not be called after it.
func (w *Writer) Close() error { return unix.Munmap(w.data) }

var errFormat = errors.New("decision log: not one of this version")

// Read returns the whole records of a file from a slot on, in the order of their
// slots, how many slots there are now, and how many records did not fit.
func Read(path string, from int) (records []Record, slots int, lost uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, 0, err
	}
	if info.Size() < headBytes {
		return nil, 0, 0, fmt.Errorf("%s: %w", path, errFormat)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("decision log: map %s: %w", path, err)
	}
	defer unix.Munmap(data)
	records, slots, lost, err = parse(data, from)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return records, slots, lost, err
}

func parse(data []byte, from int) (records []Record, slots int, lost uint64, err error) {
	if len(data) < headBytes || binary.NativeEndian.Uint64(data) != magic {
		return nil, 0, 0, errFormat
	}
	capacity := binary.NativeEndian.Uint64(data[atCapacity:])
	if capacity > uint64(len(data)-headBytes)/slotBytes {
		return nil, 0, 0, errFormat
	}
	count := word(data, atCount).Load()
	if count > capacity {
		count, lost = capacity, count-capacity
	}
	slots = int(count)
	records = make([]Record, 0, max(0, slots-from))
	for n := from; n < slots; n++ {
		at := headBytes + n*slotBytes
		slot := data[at : at+slotBytes]
		before := word(data, at+slotBefore).Load()
		if before == 0 {
			continue // its writer was killed on the way
		}
		records = append(records, Record{
			BeforeNS: int64(before),
			TookNS:   binary.NativeEndian.Uint32(slot[slotTook:]),
			WaitNS:   binary.NativeEndian.Uint32(slot[slotWait:]),
			Cost:     binary.NativeEndian.Uint32(slot[slotCost:]),
			Key:      binary.NativeEndian.Uint64(slot[slotKey:]),
			Limit:    binary.NativeEndian.Uint32(slot[slotLimit:]),
			WindowMS: binary.NativeEndian.Uint32(slot[slotWindow:]),
			Admitted: slot[slotFlags]&flagAdmitted != 0,
			Zone:     slot[slotFlags] >> zoneShift,
		})
	}
	return records, slots, lost, nil
}

// NowNS reads CLOCK_MONOTONIC.
func NowNS() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		panic("BUG: no CLOCK_MONOTONIC")
	}
	return t.Nano()
}
