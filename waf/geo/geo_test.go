package geo

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sluice/internal/geofile"
)

func write(t testing.TB, path string, records map[string]mmdbtype.DataType) {
	t.Helper()
	if err := geofile.Write(path, records); err != nil {
		t.Fatal(err)
	}
}

func at(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestPlacesAreReadInEveryVendorsForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	country := func(code string) mmdbtype.Map { return mmdbtype.Map{"iso_code": mmdbtype.String(code)} }
	write(t, path, map[string]mmdbtype.DataType{
		"203.0.113.0/24":  mmdbtype.Map{"country": country("KP"), "registered_country": country("CN")},
		"198.51.100.0/24": mmdbtype.Map{"registered_country": country("CN"), "autonomous_system_number": mmdbtype.Uint32(64496)},
		"192.0.2.0/24":    mmdbtype.Map{"country_code": mmdbtype.String("DE"), "asn": mmdbtype.String("AS64497")},
		"2001:db8::/32":   mmdbtype.Map{"country": mmdbtype.String("FR")},
	})
	d, err := NewFiles(nil).Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string][2]string{
		"203.0.113.7": {"KP", ""}, "198.51.100.7": {"CN", "64496"}, "192.0.2.7": {"DE", "64497"}, "2001:db8::7": {"FR", ""},
		"::ffff:203.0.113.7": {"KP", ""}, "8.8.8.8": {"", ""},
	} {
		if got := [2]string{d.Country(at(address)), d.ASN(at(address))}; got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
	}
	var none *Database
	if none.Country(at("203.0.113.7")) != "" || none.ASN(at("203.0.113.7")) != "" || d.Country(netip.Addr{}) != "" {
		t.Error("a database that is not there, or no address, knows a place")
	}
}

func TestAReplacedFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	place := func(code string) map[string]mmdbtype.DataType {
		return map[string]mmdbtype.DataType{"203.0.113.0/24": mmdbtype.Map{"country_code": mmdbtype.String(code)}}
	}
	write(t, path, place("DE"))
	f := NewFiles(nil)
	d, err := f.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	touch := func(seconds int) {
		later := time.Now().Add(time.Duration(seconds) * time.Second)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
		f.reload()
	}
	write(t, path, place("FR"))
	touch(1)
	if got := d.Country(at("203.0.113.7")); got != "FR" {
		t.Errorf("after the file was replaced: %s", got)
	}
	if err := os.WriteFile(path, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch(2)
	if got := d.Country(at("203.0.113.7")); got != "FR" {
		t.Errorf("after the file was broken: %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.reload()
	if got := d.Country(at("203.0.113.7")); got != "FR" {
		t.Errorf("after the file was removed: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoDatabaseIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	f := NewFiles(nil)
	if _, err := f.Open(path); err == nil {
		t.Error("a file that is not there is opened")
	}
	if err := os.WriteFile(path, []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(path); err == nil || !strings.Contains(err.Error(), "no MMDB file") {
		t.Errorf("%v", err)
	}
	write(t, path, nil)
	d, err := f.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := f.Open(path); again != d {
		t.Error("one file is held twice")
	}
	if f.Use(); len(f.all) != 0 {
		t.Error("what nobody uses is kept")
	}
}

func BenchmarkCountry(b *testing.B) {
	path := filepath.Join(b.TempDir(), "geo.mmdb")
	write(b, path, map[string]mmdbtype.DataType{"203.0.113.0/24": mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("KP")}}})
	d, err := NewFiles(nil).Open(path)
	if err != nil {
		b.Fatal(err)
	}
	a := at("203.0.113.7")
	b.ReportAllocs()
	for b.Loop() {
		d.Country(a)
	}
}
