package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"swapyard/bench/wire"
)

const (
	warming int32 = iota
	measuring
	over
)

const (
	// A server that says nothing for so long is an error.
	patience = 30 * time.Second
	// Connections that begin at the same time; the others wait for these to have an answer.
	atOnce = 32
	// A connection that failed is made again after this.
	pause     = 10 * time.Millisecond
	endWithin = 5 * time.Second
)

// run is what the connections share.
type run struct {
	options
	phase                    atomic.Int32
	done, reconnects, errors atomic.Int64
	attempts, ids            atomic.Int64
	firstError               atomic.Pointer[string]
	times                    *times
	enough                   chan struct{} // closed when -requests are done
	finish                   chan struct{} // closed when the run is over
	tls                      *tls.Config
	answer, event            []byte
	warmed, ended            sync.WaitGroup
	beginning                chan struct{}
	open                     sync.Map // net.Conn of streams, to close them at the end
}

func newRun(found options) (*run, error) {
	r := &run{options: found, times: newTimes(), beginning: make(chan struct{}, atOnce)}
	r.enough, r.finish = make(chan struct{}), make(chan struct{})
	if found.plan.Stream {
		r.event = wire.Event(found.plan.Event)
	} else {
		r.answer = wire.Answer(found.plan.Answer)
	}
	if found.ca == "" {
		return r, nil
	}
	text, err := os.ReadFile(found.ca)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", found.ca)
	}
	r.tls = &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}
	return r, nil
}

// start returns when each connection has had its first answer, or failed, and the warm-up is over.
func (r *run) start() {
	until := time.After(r.warm)
	r.warmed.Add(r.connections)
	r.ended.Add(r.connections)
	for number := 0; number < r.connections; number++ {
		go newClient(r).work()
	}
	r.warmed.Wait()
	<-until
}

func (r *run) wait() {
	if r.requests == 0 {
		time.Sleep(r.seconds)
		return
	}
	<-r.enough
}

// end lets requests finish; streams without an end are cut.
func (r *run) end() {
	close(r.finish)
	r.open.Range(func(found, _ any) bool { return found.(net.Conn).Close() == nil || true })
	finished := make(chan struct{})
	go func() { r.ended.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(endWithin):
	}
}

// count notes an operation that ended well, now.
func (r *run) count(taken time.Duration) {
	if r.phase.Load() == measuring {
		r.times.add(taken)
		r.done.Add(1)
		r.tried()
	}
}

// failed notes an error, at whatever time before the end.
func (r *run) failed(err error) {
	if r.phase.Load() == over {
		return
	}
	r.errors.Add(1)
	text := err.Error()
	r.firstError.CompareAndSwap(nil, &text)
	if r.phase.Load() == measuring {
		r.tried()
	}
}

// tried counts what ended, well or not, towards -requests.
func (r *run) tried() {
	if r.attempts.Add(1) == int64(r.requests) {
		close(r.enough)
	}
}

// dial opens a connection, whose reads fail when the server is silent for too long.
func (r *run) dial() (net.Conn, error) {
	plain, err := net.DialTimeout("tcp", r.addr, patience)
	if err != nil {
		return nil, err
	}
	found := net.Conn(&patient{plain})
	if r.tls != nil {
		found = tls.Client(found, r.tls)
	}
	return found, nil
}

type patient struct{ net.Conn }

func (p *patient) Read(into []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return p.Conn.Read(into)
}
