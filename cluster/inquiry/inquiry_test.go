package inquiry

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cluster"
	"sluice/cluster/simnet"
	"sluice/conf"
)

// member is a node that answers with its name and the question.
type member struct {
	*cluster.Node
	*Asker
	stop func()
}

func start(t *testing.T, net *simnet.Network, i int) member {
	t.Helper()
	addr := fmt.Sprintf("10.0.0.%d:7946", i+1)
	o := cluster.Options{
		Name:      fmt.Sprint("gw-", i),
		Config:    conf.Cluster{Bind: "0.0.0.0:7946", Secret: conf.Secret(base64.StdEncoding.EncodeToString(make([]byte, 32)))},
		Transport: net.Transport(addr),
	}
	if i > 0 {
		o.Config.Join = []string{"10.0.0.1:7946"}
	}
	n, err := cluster.New(o)
	if err != nil {
		t.Fatal(err)
	}
	a := New(n, "test", func(q []byte) []byte {
		if string(q) == "silence" && i == 1 {
			return nil
		}
		if string(q) == "long" {
			return []byte(strings.Repeat(n.Name(), 50_000))
		}
		return []byte(n.Name() + " " + string(q))
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return member{n, a, func() { cancel(); <-done }}
}

func TestEveryMemberAnswersOrIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		net.Shape(simnet.Link{Delay: time.Millisecond})
		var nodes []member
		for i := range 4 {
			nodes = append(nodes, start(t, net, i))
			defer nodes[i].stop()
		}
		time.Sleep(30 * time.Second)

		ask := func(q string) (map[string][]byte, []string, time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			began := time.Now()
			answers, missing := nodes[0].Ask(ctx, []byte(q))
			return answers, missing, time.Since(began)
		}
		answers, missing, took := ask("hello")
		if len(answers) != 3 || string(answers["gw-3"]) != "gw-3 hello" || len(missing) != 0 || took >= 2*time.Second {
			t.Errorf("%q, missing %v, after %v", answers, missing, took)
		}
		if answers, _, _ := ask("long"); len(answers["gw-2"]) != 200_000 {
			t.Errorf("a long answer has %d bytes", len(answers["gw-2"]))
		}
		answers, missing, took = ask("silence")
		if len(answers) != 2 || !slices.Equal(missing, []string{"gw-1"}) || took != 2*time.Second {
			t.Errorf("%q, missing %v, after %v", answers, missing, took)
		}
		if len(nodes[0].pending) != 0 {
			t.Errorf("%d questions are still pending", len(nodes[0].pending))
		}
		// Somebody who was not asked, and nonsense.
		nodes[0].receive(7, []byte("a\x00\x00\x00\x00\x00\x00\x00\x01x"))
		nodes[0].receive(7, nil)
	})
}

func TestANodeAloneAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, simnet.New(1), 0)
		defer n.stop()
		time.Sleep(time.Second)
		if answers, missing := n.Ask(t.Context(), nil); len(answers)+len(missing) != 0 {
			t.Errorf("%v, missing %v", answers, missing)
		}
	})
}
