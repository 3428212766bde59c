package router

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
)

// Views are how a router sees the cells, as its admin port tells under /cells. It is an API: fields are only ever
// added.
type Views struct {
	// Router is the name of its Lease.
	Router string `json:"router"`
	// Epoch of the ring that it serves.
	Epoch int64 `json:"epoch"`
	// Cells by name.
	Cells []View `json:"cells"`
}

// View is how a router sees one cell.
type View struct {
	Cell string `json:"cell"`
	// Reachable says that requests are sent to it: an endpoint answers.
	Reachable bool `json:"reachable"`
	// Unavailable says that the cell was failed over, and is not asked for anything.
	Unavailable bool `json:"unavailable,omitempty"`
	// Endpoints is how many there are, EndpointsUp to how many of them requests are sent.
	Endpoints   int `json:"endpoints"`
	EndpointsUp int `json:"endpointsUp"`
	// LastAnswer is when an endpoint last answered anything; absent where none ever did.
	LastAnswer *time.Time `json:"lastAnswer,omitempty"`
	// GivenUp is since when no request is sent to the cell; absent while they are. Reason says why.
	GivenUp *time.Time `json:"givenUp,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

func viewsOf(router string, state *feed.State) Views {
	out := Views{Router: router, Cells: []View{}}
	if state == nil {
		return out
	}
	out.Epoch = state.Snapshot.Epoch
	for _, name := range state.Cells() {
		v := View{Cell: name, Unavailable: state.Snapshot.Unavailable[name]}
		plane, err := state.Raw(name)
		if err != nil {
			v.Reason = err.Error()
			out.Cells = append(out.Cells, v)
			continue
		}
		v.Endpoints, v.EndpointsUp = plane.Endpoints()
		if at := plane.Answered(); !at.IsZero() {
			v.LastAnswer = &at
		}
		down := plane.Down()
		v.Reachable = down == nil && v.LastAnswer != nil
		if down != nil {
			v.GivenUp, v.Reason = &down.Since, down.Err.Error()
		}
		out.Cells = append(out.Cells, v)
	}
	return out
}

// accounts answers, at the admin port, with what this router knows of cells and of its writes.
func (h *handler) accounts(router string, started time.Time) map[string]http.Handler {
	return map[string]http.Handler{
		"/cells": jsonHandler(func(*http.Request) (any, string) { return viewsOf(router, h.state()), "" }),
		"/ledger": jsonHandler(func(r *http.Request) (any, string) {
			cell := r.URL.Query().Get("cell")
			if cell == "" {
				return nil, "ask for one cell: /ledger?cell=NAME"
			}
			report := h.ledger.Report(cell)
			report.Router, report.Started = router, started
			return report, ""
		}),
	}
}

// jsonHandler answers with a value, or with 400 and a reason.
func jsonHandler(answer func(*http.Request) (value any, refusal string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value, refusal := answer(r)
		if refusal != "" {
			http.Error(w, refusal, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// An error here is the client's connection; there is nobody left to tell.
		_ = json.NewEncoder(w).Encode(value)
	})
}
