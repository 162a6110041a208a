// Package geofile writes small MMDB files for tests, because no real one may be
// redistributed.
package geofile

import (
	"net"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Write makes a file with the given records by network. Networks that are
// reserved for documentation are as good as others.
func Write(path string, records map[string]mmdbtype.DataType) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", IncludeReservedNetworks: true})
	if err != nil {
		return err
	}
	for network, record := range records {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			return err
		}
		if err := tree.Insert(n, record); err != nil {
			return err
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := tree.WriteTo(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
