package conf

import (
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"
)

// binding is an address that some setting listens on.
type binding struct {
	path string
	text string
	host string
	port int
}

func (v *validator) listeners() {
	if v.given("listeners") && len(v.doc.Listeners) == 0 && !v.broken("listeners") {
		v.errorf("listeners", `add one, such as {address: ":8080"}`, "there is no listener")
	}
	for i := range v.doc.Listeners {
		l := &v.doc.Listeners[i]
		path := indexPath("listeners", i)
		if l.Redirect != "" && l.TLS != nil {
			v.errorf(path+".redirect", "keep redirect on the plain listener, and tls on another", "a listener with tls cannot redirect to itself")
		}
		if l.HTTP3 && l.TLS == nil && !v.broken(path+".tls") {
			v.errorf(path+".http3", "add tls, or remove http3", "HTTP/3 needs TLS")
		}
		if l.ProxyProtocol && len(l.TrustedProxies) == 0 && !v.broken(path+".trusted_proxies") {
			v.errorf(path+".proxy_protocol", "name the load balancer's networks in trusted_proxies", "nobody is trusted to send a PROXY header")
		}
		for j, p := range l.TrustedProxies {
			if p.IsValid() && p.Bits() == 0 {
				v.warnf(indexPath(path+".trusted_proxies", j), "name the networks of your load balancers", "everybody is trusted, so any client can forge its address")
			}
		}
		v.listenerTLS(path+".tls", l.TLS)
	}
	v.bindings()
}

func (v *validator) listenerTLS(path string, t *TLS) {
	if t == nil {
		return
	}
	if len(t.Certificates) == 0 && !v.broken(path+".certificates") {
		if t.ACME != nil {
			v.errorf(path, "add certificates: [{cert: FILE, key: FILE}]", "there is no certificate, and this version obtains none")
		} else {
			v.errorf(path, "add certificates: [{cert: FILE, key: FILE}]", "there is no certificate")
		}
	}
	for i, c := range t.Certificates {
		at := indexPath(path+".certificates", i)
		if c.Cert != "" && c.Cert == c.Key && !strings.HasSuffix(c.Cert, ".pem") {
			v.warnf(at+".key", "name the file with the private key", "certificate and key are the same file")
		}
	}
	if t.ACME == nil {
		return
	}
	if t.ACME.Email != "" && !strings.Contains(t.ACME.Email, "@") {
		v.errorf(path+".acme.email", "write it as ops@example.com", "%s is not an e-mail address", v.quote(path+".acme.email", t.ACME.Email))
	}
	for i, name := range t.ACME.Domains {
		at := indexPath(path+".acme.domains", i)
		if name != "" && !validHost(strings.TrimPrefix(name, "*.")) {
			v.errorf(at, "write it as api.example.com or *.example.com", "%s is not a host name", v.quote(at, name))
		}
	}
	v.unique(path+".acme.domains", t.ACME.Domains, strings.ToLower)
}

// bindings checks every address that is listened on, and that no two of them
// need the same port. Port 0 is any free one.
func (v *validator) bindings() {
	var all []binding
	add := func(path, address string) {
		if v.broken(path) || address == "" {
			return
		}
		host, port, err := hostPort(address)
		if err != nil {
			v.syntax(path, address, err)
			return
		}
		all = append(all, binding{path, address, host, port})
	}
	// What the file does not give comes first, so that the conflict is
	// reported where it can be changed.
	if !v.given("admin.address") {
		add("admin.address", v.doc.Admin.Address)
	}
	if v.doc.Cluster != nil && !v.given("cluster.bind") {
		add("cluster.bind", v.doc.Cluster.Bind)
	}
	for i, l := range v.doc.Listeners {
		add(indexPath("listeners", i)+".address", l.Address)
	}
	if v.given("admin.address") {
		add("admin.address", v.doc.Admin.Address)
	}
	if v.doc.Cluster != nil && v.given("cluster.bind") {
		add("cluster.bind", v.doc.Cluster.Bind)
	}
	for i, b := range all {
		for _, a := range all[:i] {
			if a.overlaps(b) {
				v.errorf(b.path, "choose another port", "%s is already taken by %s (%s)", v.quote(b.path, b.text), a.path, strings.Trim(v.quote(a.path, a.text), `"`))
				break
			}
		}
	}
}

func (b binding) overlaps(other binding) bool {
	if b.port != other.port || b.port == 0 {
		return false
	}
	if strings.EqualFold(b.host, other.host) {
		return true
	}
	one, _ := netip.ParseAddr(b.host)
	two, _ := netip.ParseAddr(other.host)
	if one == two && one.IsValid() {
		return true
	}
	return b.host == "" || other.host == "" ||
		// :: listens on IPv4 too; 0.0.0.0 leaves IPv6 alone.
		one == netip.IPv6Unspecified() || two == netip.IPv6Unspecified() ||
		one == netip.IPv4Unspecified() && !two.Is6() || two == netip.IPv4Unspecified() && !one.Is6()
}

func (v *validator) admin() {
	a := &v.doc.Admin
	if n := len(a.Token.Reveal()); n > 0 && n < 16 {
		v.warnf("admin.token", "use at least 16 random characters, such as the output of: openssl rand -hex 32", "the token is short enough to be guessed")
	}
	if host, _, err := hostPort(a.Address); err == nil && publicHost(host) {
		v.warnf("admin.address", "write 127.0.0.1:9090 or a private address", "%s is reachable from outside", v.quote("admin.address", a.Address))
	}
	if a.OIDC != nil {
		v.issuerURL("admin.oidc.issuer", a.OIDC.Issuer)
	}
}

// publicHost reports whether a listener on host can be reached from everywhere.
// Of names only their owner knows.
func publicHost(host string) bool {
	if host == "" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && !addr.IsLoopback() && !addr.IsPrivate() && !addr.IsLinkLocalUnicast()
}

// backing checks the services that nodes lean on: store, Redis and each other.
func (v *validator) backing() {
	if s := v.doc.Store; s != nil && s.URL != "" {
		// Secret: nothing of it is quoted.
		u, err := url.Parse(s.URL.Reveal())
		if err != nil || u.Scheme != "sqlite" && u.Scheme != "postgres" && u.Scheme != "postgresql" {
			v.errorf("store.url", "write sqlite://FILE or postgres://USER@HOST/DATABASE", "the address is of no known database")
		} else if u.Host+u.Path == "" {
			v.errorf("store.url", "write sqlite://FILE or postgres://USER@HOST/DATABASE", "the address names no database")
		}
	}
	if r := v.doc.Redis; r != nil {
		v.callable("redis.addresses", r.Addresses)
		if len(r.Addresses) == 0 {
			v.errorf("redis.addresses", `add one, such as "127.0.0.1:6379"`, "there is no address")
		}
		if r.Master != "" && r.Cluster {
			v.errorf("redis.master", "remove master for a Redis Cluster, or cluster for sentinels", "sentinels and a Redis Cluster are two different things")
		}
	}
	if c := v.doc.Cluster; c != nil {
		v.gossipSecret("cluster.secret", c.Secret)
		for i, s := range c.AcceptSecrets {
			v.gossipSecret(indexPath("cluster.accept_secrets", i), s)
		}
		if len(c.AcceptSecrets) > 2 {
			v.errorf("cluster.accept_secrets", "remove those that no node uses any more", "more than two further keys")
		}
		if a := c.Advertise; a != "" && !validAdvertise(a) {
			v.errorf("cluster.advertise", "write an IP address, such as 10.0.0.7 or 10.0.0.7:7946", "%s is no IP address", v.quote("cluster.advertise", a))
		}
		if len(c.Label) > 63 {
			v.errorf("cluster.label", "shorten it to 63 bytes", "the label is too long")
		}
		for i, address := range c.Join {
			at := indexPath("cluster.join", i)
			if address == "" || validHost(address) {
				continue
			}
			if host, _, err := hostPort(address); err != nil {
				v.syntax(at, address, &valueError{err.Message, "write host:port or a DNS name, such as gw-2:7946"})
			} else if host == "" {
				v.errorf(at, "write host:port or a DNS name, such as gw-2:7946", "%s names no host", v.quote(at, address))
			}
		}
		v.unique("cluster.join", c.Join, strings.ToLower)
	}
}

// validAdvertise says whether other nodes can be told this address: names could
// mean another address on every node.
func validAdvertise(a string) bool {
	if _, err := netip.ParseAddr(a); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(a)
	return err == nil
}

func (v *validator) gossipSecret(path string, s Secret) {
	if s == "" {
		return
	}
	key, err := base64.StdEncoding.DecodeString(s.Reveal())
	if n := len(key); err != nil || n != 16 && n != 24 && n != 32 {
		v.errorf(path, "use the output of: openssl rand -base64 32", "the key is not 16, 24 or 32 bytes in base64")
	}
}

// callable checks a list of host:port to connect to.
func (v *validator) callable(path string, addresses []string) {
	for i, address := range addresses {
		at := indexPath(path, i)
		if v.broken(at) || address == "" {
			continue
		}
		host, port, err := hostPort(address)
		switch {
		case err != nil:
			v.syntax(at, address, &valueError{err.Message, "write host:port, such as 127.0.0.1:6379"})
		case host == "" || port == 0:
			v.errorf(at, "write host:port, such as 127.0.0.1:6379", "%s names no host and port to connect to", v.quote(at, address))
		}
	}
	v.unique(path, addresses, strings.ToLower)
}
