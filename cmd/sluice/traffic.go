package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"

	"sluice/admin"
	"sluice/cluster"
	"sluice/cluster/inquiry"
	"sluice/telemetry/series"
)

// trafficTopic is where nodes ask each other for their traffic.
const trafficTopic = "traffic"

// askWait is how long the other nodes may take to answer.
const askWait = time.Second

// traffic answers for the traffic of the last day, of this node and of the others.
type traffic struct {
	node  string
	store *series.Store
	asker atomic.Pointer[inquiry.Asker] // nil: in no cluster
}

func newTraffic(node string, store *series.Store, g *gossip) *traffic {
	t := &traffic{node: node, store: store}
	g.introduce = append(g.introduce, func(member *cluster.Node) {
		t.asker.Store(inquiry.New(member, trafficTopic, t.answer))
	})
	return t
}

// trafficQuestion is what one node asks another. Each answers by its own clock.
type trafficQuestion struct {
	Windows []time.Duration  `json:"windows,omitempty"`
	History *historyQuestion `json:"history,omitempty"`
}

type historyQuestion struct {
	Kind   string        `json:"kind"`
	Name   string        `json:"name"`
	Window time.Duration `json:"window"`
}

// trafficAnswer has a report for each window that was asked for, in the order of
// the question.
type trafficAnswer struct {
	Windows []*series.Report `json:"windows,omitempty"`
	History []series.Step    `json:"history,omitempty"`
}

func (t *traffic) own(q *trafficQuestion) *trafficAnswer {
	now := time.Now().Truncate(time.Second) // what is collected by then is whole
	a := new(trafficAnswer)
	for _, d := range q.Windows {
		a.Windows = append(a.Windows, t.store.Report(now, d))
	}
	if h := q.History; h != nil && len(h.Kind) == 1 {
		a.History = t.store.History(series.Key{Kind: series.Kind(h.Kind[0]), Name: h.Name}, now, h.Window)
	}
	return a
}

// answer answers another node.
func (t *traffic) answer(question []byte) []byte {
	var q trafficQuestion
	if json.Unmarshal(question, &q) != nil {
		return nil // of another version
	}
	for {
		text, err := json.Marshal(t.own(&q))
		if err != nil {
			return nil
		}
		if len(text) < cluster.MaxMessage-1024 || len(q.Windows) < 2 {
			return text
		}
		q.Windows = q.Windows[:len(q.Windows)/2] // part of an answer is better than none
	}
}

// ask asks this node and, with others, every other one that answers in time.
func (t *traffic) ask(ctx context.Context, q *trafficQuestion, others bool) (answers []*trafficAnswer, nodes, missing []string) {
	answers, nodes = []*trafficAnswer{t.own(q)}, []string{t.node}
	asker := t.asker.Load()
	if !others || asker == nil {
		return answers, nodes, nil
	}
	text, err := json.Marshal(q)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	said, missing := asker.Ask(ctx, text)
	for name, text := range said {
		a := new(trafficAnswer)
		if json.Unmarshal(text, a) != nil || len(a.Windows) != len(q.Windows) {
			missing = append(missing, name)
			continue
		}
		answers, nodes = append(answers, a), append(nodes, name)
	}
	slices.Sort(nodes)
	slices.Sort(missing)
	return answers, nodes, missing
}

// Window implements [admin.Live].
func (t *traffic) Window(ctx context.Context, d time.Duration, others bool) admin.LiveWindow {
	answers, nodes, missing := t.ask(ctx, &trafficQuestion{Windows: []time.Duration{d}}, others)
	w := admin.LiveWindow{Report: new(series.Report), Nodes: nodes, Missing: missing}
	for _, a := range answers {
		w.Report.Merge(a.Windows[0])
	}
	return w
}

// History implements [admin.Live].
func (t *traffic) History(ctx context.Context, k series.Key, d time.Duration, others bool) admin.LiveHistory {
	answers, nodes, missing := t.ask(ctx, &trafficQuestion{History: &historyQuestion{string(rune(k.Kind)), k.Name, d}}, others)
	h := admin.LiveHistory{Nodes: nodes, Missing: missing}
	histories := make([][]series.Step, len(answers))
	for i, a := range answers {
		histories[i] = a.History
	}
	var err error
	if h.Starts, h.Points, err = series.MergeHistories(histories...); err != nil {
		// A node that says what cannot be read: its own numbers are better than none.
		h.Nodes, h.Missing = []string{t.node}, append(missing, nodes[1:]...)
		h.Starts, h.Points, _ = series.MergeHistories(histories[0])
	}
	return h
}
