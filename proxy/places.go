package proxy

import (
	"errors"
	"strconv"
	"time"

	"sluice/waf/bans"
	"sluice/waf/geo"
)

// places are the databases of a configuration, and which places it refuses.
type places struct {
	country, asn *geo.Database
	filters      bool
	deny, allow  map[string]*bans.Entry // by country; allow nil: every one
	denyASN      map[string]*bans.Entry
}

// elsewhere stands for an address outside the countries that are served.
var elsewhere = bans.FromFile(bans.Target{}, bans.Block, "the country is not one of those that are served", forever)

// forever is the end of what the configuration refuses.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// refuses returns what the configuration has against the caller's place, nil for
// nothing.
func (p *places) refuses(c *bans.Caller) *bans.Entry {
	if p == nil || !p.filters {
		return nil
	}
	if e := p.deny[c.Country]; e != nil {
		return e
	}
	if e := p.denyASN[c.ASN]; e != nil {
		return e
	}
	if p.allow != nil && p.allow[c.Country] == nil {
		return elsewhere
	}
	return nil
}

// compilePlaces opens the databases.
func (c *compiler) compilePlaces() {
	conf := c.doc.WAF.Geo
	if conf == nil {
		return
	}
	if c.g.deps.Places == nil {
		c.fault("waf.geo", errors.New("this process reads no databases"))
		return
	}
	p := &places{filters: len(conf.Deny)+len(conf.Allow)+len(conf.DenyASN) > 0}
	var err error
	p.country, err = c.g.deps.Places.Open(conf.Database)
	c.fault("waf.geo.database", err)
	p.asn = p.country
	if conf.ASN != "" {
		p.asn, err = c.g.deps.Places.Open(conf.ASN)
		c.fault("waf.geo.asn", err)
	}
	p.deny = refusedPlaces(bans.Country, conf.Deny)
	p.allow = refusedPlaces(bans.Country, conf.Allow)
	var numbers []string
	for _, n := range conf.DenyASN {
		numbers = append(numbers, strconv.Itoa(n))
	}
	p.denyASN = refusedPlaces(bans.ASN, numbers)
	c.out.places = p
}

func refusedPlaces(kind bans.Kind, values []string) map[string]*bans.Entry {
	if len(values) == 0 {
		return nil
	}
	m := make(map[string]*bans.Entry, len(values))
	for _, v := range values {
		m[v] = bans.FromFile(bans.Target{Kind: kind, Value: v}, bans.Block, "refused by waf.geo", forever)
	}
	return m
}
