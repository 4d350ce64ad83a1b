// Package wire is what the benchmark's model server and its load generator agree on: how a request says what it
// wants, and what an answer looks like, byte for byte, so that every answer can be checked.
package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Marks in the JSON body of a request: an id that the answer repeats, and what kind of answer is wanted.
const (
	UserMark  = `"user":"`
	PlanMark  = `"bench":"`
	IDLength  = 16
	MarkField = 1024 // both stand within so many bytes
)

// What the smallest answer and the smallest event have room for.
const (
	SmallestAnswer = 400
	SmallestEvent  = 140
)

const (
	idAt     = len(`{"id":"`)
	numberAt = len(`data: {"n":"`)
	stampAt  = len(`data: {"n":"00000000","t":"`)
)

// Plan is the answer that a request asks for: one body of Answer bytes, or a stream of Count events of Event bytes
// (0: without end), Rate a second (0: as fast as they are taken).
type Plan struct {
	Stream bool
	Answer int
	Event  int
	Count  int
	Rate   float64
}

// String is the text behind PlanMark.
func (p Plan) String() string {
	if !p.Stream {
		return fmt.Sprintf("answer=%d", p.Answer)
	}
	return fmt.Sprintf("event=%d count=%d rate=%g", p.Event, p.Count, p.Rate)
}

// ParsePlan reads what String wrote; a text that it did not write is an error.
func ParsePlan(text string) (Plan, error) {
	var plan Plan
	for _, field := range strings.Fields(text) {
		name, value, _ := strings.Cut(field, "=")
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return plan, fmt.Errorf("plan %q: %w", text, err)
		}
		switch name {
		case "answer":
			plan.Answer = int(number)
		case "event":
			plan.Stream, plan.Event = true, int(number)
		case "count":
			plan.Count = int(number)
		case "rate":
			plan.Rate = number
		default:
			return plan, fmt.Errorf("plan %q: what is %q?", text, name)
		}
	}
	return plan, plan.check()
}

func (p Plan) check() error {
	switch {
	case p.Stream && p.Event < SmallestEvent:
		return fmt.Errorf("events have at least %d bytes", SmallestEvent)
	case !p.Stream && p.Answer < SmallestAnswer:
		return fmt.Errorf("answers have at least %d bytes", SmallestAnswer)
	case p.Rate < 0 || p.Rate > 100_000:
		return fmt.Errorf("rates go from 0 to 100,000, not %g", p.Rate)
	}
	return nil
}

// Field returns what follows a mark up to the closing quote, nil if it is not there.
func Field(body []byte, mark string) []byte {
	if len(body) > MarkField {
		body = body[:MarkField]
	}
	at := bytes.Index(body, []byte(mark))
	if at < 0 {
		return nil
	}
	rest := body[at+len(mark):]
	if end := bytes.IndexByte(rest, '"'); end >= 0 {
		return rest[:end]
	}
	return nil
}

// Answer is a chat completion of exactly size bytes, with zeros for an id.
func Answer(size int) []byte {
	before := `{"id":"` + strings.Repeat("0", IDLength) + `","object":"chat.completion","created":1700000000,` +
		`"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"`
	after := `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":400,"completion_tokens":60,"total_tokens":460}}`
	return []byte(before + filler(size-len(before)-len(after)) + after)
}

// SetID puts an id of IDLength bytes into an answer.
func SetID(answer, id []byte) {
	copy(answer[idAt:idAt+IDLength], id)
}

// Event is one event of exactly size bytes, with zeros for its number and its time.
func Event(size int) []byte {
	before := `data: {"n":"00000000","t":"0000000000000000000","object":"chat.completion.chunk",` +
		`"choices":[{"index":0,"delta":{"content":"`
	after := "\"}}]}\n\n"
	return []byte(before + filler(size-len(before)-len(after)) + after)
}

// Tail is what ends a stream that has an end: the usage, and the sign of OpenAI's streams.
const Tail = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":400," +
	"\"completion_tokens\":60,\"total_tokens\":460}}\n\ndata: [DONE]\n\n"

// Stamp writes number and time (nanoseconds) into an event.
func Stamp(event []byte, number int, nanos int64) {
	digits(event[numberAt:numberAt+8], int64(number))
	digits(event[stampAt:stampAt+19], nanos)
}

// ReadStamp reads them again; ok is false if they are not there.
func ReadStamp(event []byte) (number int, nanos int64, ok bool) {
	first, ok1 := value(event[numberAt : numberAt+8])
	second, ok2 := value(event[stampAt : stampAt+19])
	return int(first), second, ok1 && ok2
}

func filler(size int) string {
	const words = "the lane is cheaper than a compiled proxy and "
	return strings.Repeat(words, max(size, 0)/len(words)+1)[:max(size, 0)]
}

func digits(into []byte, number int64) {
	for at := len(into) - 1; at >= 0; at-- {
		into[at] = byte('0' + number%10)
		number /= 10
	}
}

func value(text []byte) (number int64, ok bool) {
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		number = number*10 + int64(digit-'0')
	}
	return number, true
}
