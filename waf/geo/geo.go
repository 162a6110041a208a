// Package geo tells in which country, and in which autonomous system, an address
// is, from MMDB files (MaxMind DB file format 2.0): those of MaxMind, DB-IP, IPinfo
// and others. The operator supplies them; none is shipped.
//
// A file that is replaced is read again within [Poll]. One that cannot be read
// then leaves the one before in force, and is told in the log.
//
// Files are held in memory, not mapped: a file that is written over in place
// must not change under a reader.
//
// Files and Databases are safe for concurrent use.
package geo

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"sluice/telemetry"
)

// Poll is how often files are looked at.
const Poll = 5 * time.Second

// maxFile bounds a file, in bytes.
const maxFile = 1 << 30

// Files are the databases in use, by path.
type Files struct {
	log *slog.Logger
	mu  sync.Mutex
	all map[string]*Database // guarded by mu
}

// NewFiles returns no files.
func NewFiles(log *slog.Logger) *Files {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Files{log: log, all: make(map[string]*Database)}
}

// Database is one file. It follows the file's replacements while it is in use.
type Database struct {
	path   string
	reader atomic.Pointer[maxminddb.Reader]
	stamp  stamp // Files' lock guards it
}

// stamp tells one version of a file from another.
type stamp struct {
	size     int64
	modified time.Time
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime()} }

// Open returns the database at path, which several configurations may share.
func (f *Files) Open(path string) (*Database, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.all[path]; d != nil {
		return d, nil
	}
	d := &Database{path: path}
	if err := d.loadLocked(); err != nil {
		return nil, err
	}
	f.all[path] = d
	return d, nil
}

// Use forgets the databases that are not among those in use.
func (f *Files) Use(inUse ...*Database) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.all)
	for _, d := range inUse {
		if d != nil {
			f.all[d.path] = d
		}
	}
}

func (d *Database) loadLocked() error {
	info, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%s: is larger than 1 GiB", d.path)
	}
	text, err := os.ReadFile(d.path)
	if err != nil {
		return err
	}
	r, err := maxminddb.OpenBytes(text)
	if err != nil {
		return fmt.Errorf("%s is no MMDB file: %w", d.path, err)
	}
	d.reader.Store(r)
	d.stamp = stampOf(info)
	return nil
}

// Run follows the files until ctx is done.
func (f *Files) Run(ctx context.Context) error {
	t := time.NewTicker(Poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			f.reload()
		}
	}
}

// reload reads the files that have changed.
func (f *Files) reload() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.all {
		info, err := os.Stat(d.path)
		if err != nil || stampOf(info) == d.stamp {
			continue // a file that is gone is being replaced, or the one in memory is the last
		}
		if err := d.loadLocked(); err != nil {
			f.log.Warn("a replaced database is not read; the one before stays", telemetry.KeyFile, d.path, telemetry.KeyError, err)
			d.stamp = stampOf(info) // told once
			continue
		}
		f.log.Info("database read again", telemetry.KeyFile, d.path)
	}
}

// Country returns the ISO 3166 code of the country that a is in, "" when it is
// not known. Of an address whose place is not known it is the country of its
// registration. A nil Database knows nothing.
func (d *Database) Country(a netip.Addr) string {
	if d == nil || !a.IsValid() {
		return ""
	}
	r := d.reader.Load().Lookup(a.Unmap())
	if !r.Found() {
		return ""
	}
	for _, path := range countryPaths {
		var code string
		if r.DecodePath(&code, path...) == nil && len(code) == 2 {
			return code
		}
	}
	return ""
}

// countryPaths are where the vendors keep the code.
var countryPaths = [][]any{{"country", "iso_code"}, {"registered_country", "iso_code"}, {"country_code"}, {"country"}}

// ASN returns the number of the autonomous system that a is in, "" when it is
// not known. A nil Database knows nothing.
func (d *Database) ASN(a netip.Addr) string {
	if d == nil || !a.IsValid() {
		return ""
	}
	r := d.reader.Load().Lookup(a.Unmap())
	if !r.Found() {
		return ""
	}
	var number uint
	if r.DecodePath(&number, "autonomous_system_number") == nil && number != 0 {
		return strconv.FormatUint(uint64(number), 10)
	}
	var text string
	if r.DecodePath(&text, "asn") == nil { // AS64496, as IPinfo writes it
		return strings.TrimPrefix(text, "AS")
	}
	return ""
}
