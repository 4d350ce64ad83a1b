package main

import (
	"container/heap"
	"fmt"
	"math/rand"
	"time"

	"swapyard/bench/wire"
)

const (
	usualAnswer  = 512
	eventsInARow = 16
	streamHead   = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// stream is an answer of many events.
type stream struct {
	conn     *conn
	plan     wire.Plan
	sent     int
	event    []byte // with its chunk framing
	from     int    // where the event begins in it
	interval time.Duration
	at       time.Time
}

// answers are kept by size: head and body in one piece, and where the body begins.
var answers = map[int]*prepared{}

type prepared struct {
	whole []byte
	body  int
}

func prepare(size int) *prepared {
	if found := answers[size]; found != nil {
		return found
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
	made := &prepared{append([]byte(head), wire.Answer(size)...), len(head)}
	answers[size] = made
	return made
}

func (c *conn) answer(request request) {
	if request.get {
		c.text(200, "ok")
		return
	}
	if request.bad {
		c.text(411, "this server wants a Content-Length")
		return
	}
	plan := wire.Plan{Answer: usualAnswer}
	if text := wire.Field(request.body, wire.PlanMark); text != nil {
		var err error
		if plan, err = wire.ParsePlan(string(text)); err != nil {
			c.text(400, err.Error())
			return
		}
	}
	if plan.Stream {
		c.begin(plan)
		return
	}
	answer := prepare(plan.Answer)
	wire.SetID(answer.whole[answer.body:], wire.Field(request.body, wire.UserMark))
	c.send(answer.whole)
}

func (c *conn) text(status int, text string) {
	c.send([]byte(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)))
}

// begin sends the head; the first event comes at a random time within its interval, or at once.
func (c *conn) begin(plan wire.Plan) {
	size := fmt.Sprintf("%x\r\n", plan.Event)
	event := append(append([]byte(size), wire.Event(plan.Event)...), "\r\n"...)
	c.stream = &stream{conn: c, plan: plan, event: event, from: len(size)}
	c.send([]byte(streamHead))
	if c.stream == nil {
		return
	}
	if plan.Rate == 0 {
		c.server.hasten(c)
		return
	}
	c.stream.interval = time.Duration(float64(time.Second) / plan.Rate)
	c.stream.at = time.Now().Add(time.Duration(rand.Int63n(int64(c.stream.interval))))
	heap.Push(&c.server.due, c.stream)
	if c.server.due[0] == c.stream {
		arm(c.server.timer, time.Until(c.stream.at))
	}
}

// hasty says whether an unpaced stream can send now.
func (c *conn) hasty() bool {
	return c.stream != nil && c.stream.interval == 0 && len(c.out) == 0
}

// emit sends the next event, or the end.
func (c *conn) emit() {
	s := c.stream
	if len(c.out) > mostUnsent {
		return
	}
	if s.plan.Count > 0 && s.sent == s.plan.Count {
		c.stream = nil
		c.send([]byte(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(wire.Tail), wire.Tail)))
		c.closeIfDone()
		c.serve()
		return
	}
	wire.Stamp(s.event[s.from:], s.sent, time.Now().UnixNano())
	s.sent++
	c.send(s.event)
}
