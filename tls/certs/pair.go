package certs

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"time"

	"sluice/conf"
)

// pair is a certificate file and its key file.
type pair struct {
	files   conf.Certificate
	sum     [sha256.Size]byte // of the content that cert was made from
	cert    *tls.Certificate  // with Leaf; never modified
	refused string            // what was last warned about
}

// content is what a pair of files held when it was read.
type content struct {
	files     conf.Certificate
	cert, key []byte
}

// maxFile bounds what is read: a chain takes some kilobytes.
const maxFile = 1 << 20

func read(files conf.Certificate) (*content, error) {
	c := &content{files: files}
	var err error
	if c.cert, err = readFile("certificate", files.Cert); err != nil {
		return nil, err
	}
	if c.key, err = readFile("key", files.Key); err != nil {
		return nil, err
	}
	return c, nil
}

func readFile(what, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %s is not a file", what, path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %s is larger than %d bytes", what, path, maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return b, nil
}

func (c *content) sum() (s [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(c.cert))
	h.Write(c.cert)
	h.Write(c.key)
	return [sha256.Size]byte(h.Sum(nil))
}

// parse makes a certificate of the two files, or says which of them is wrong
// and how. Nothing of a key is ever in an error.
func (c *content) parse() (*tls.Certificate, error) {
	chain, err := parseChain(c.files.Cert, c.cert)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(c.files.Key, c.key)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, fmt.Errorf("key: %s is of a kind that TLS has no use for: %T", c.files.Key, key)
	}
	if !public.Equal(chain[0].PublicKey) {
		for _, other := range chain[1:] {
			if public.Equal(other.PublicKey) {
				return nil, fmt.Errorf("certificate: %s: the server's certificate must come first, before the authorities'", c.files.Cert)
			}
		}
		return nil, fmt.Errorf("key: %s does not match the certificate %s", c.files.Key, c.files.Cert)
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, x := range chain {
		cert.Certificate = append(cert.Certificate, x.Raw)
	}
	return cert, nil
}

func parseChain(path string, data []byte) ([]*x509.Certificate, error) {
	var (
		chain []*x509.Certificate
		other string // a block that is no certificate
	)
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			other = block.Type
			continue
		}
		x, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate: %s: block %d: %w", path, len(chain)+1, err)
		}
		chain = append(chain, x)
	}
	switch {
	case len(chain) > 0:
		return chain, nil
	case other != "":
		return nil, fmt.Errorf("certificate: %s holds a %s and no certificate; are cert and key swapped?", path, other)
	}
	return nil, notPEM("certificate", path, data)
}

func parseKey(path string, data []byte) (crypto.Signer, error) {
	other := ""
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, fmt.Errorf("key: %s is encrypted; store it without a passphrase (openssl pkey -in FILE -out FILE)", path)
		}
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			other = block.Type // such as EC PARAMETERS, which OpenSSL puts first
			continue
		}
		return parseKeyBlock(path, block)
	}
	if other != "" {
		return nil, fmt.Errorf("key: %s holds a %s and no private key; are cert and key swapped?", path, other)
	}
	return nil, notPEM("key", path, data)
}

func parseKeyBlock(path string, block *pem.Block) (crypto.Signer, error) {
	var (
		key any
		err error
	)
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("key: %s holds a %s, which TLS has no use for", path, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("key: %s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key: %s is of a kind that cannot sign: %T", path, key)
	}
	return signer, nil
}

func notPEM(what, path string, data []byte) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return fmt.Errorf("%s: %s is empty", what, path)
	case data[0] == 0x30: // an ASN.1 sequence
		return fmt.Errorf("%s: %s is not PEM; it looks like DER or PKCS #12, convert it with openssl", what, path)
	}
	return fmt.Errorf("%s: %s is not PEM", what, path)
}

// checkTime says whether the certificate is valid at now.
func checkTime(files conf.Certificate, cert *tls.Certificate, now time.Time) error {
	switch leaf := cert.Leaf; {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("certificate: %s expired at %s", files.Cert, leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("certificate: %s is valid only from %s on", files.Cert, leaf.NotBefore.Format(time.RFC3339))
	}
	return nil
}
