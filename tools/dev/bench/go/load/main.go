// Command load is the client of the benchmark: it sends what the openai package sends, checks every byte of every
// answer, and measures. One goroutine for each connection, one core for all.
//
// It prints "ready" once every connection has had an answer, goes on, measures from the line that it then reads on
// stdin, prints "over", and lets requests finish. The result is one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"swapyard/bench/wire"
)

type options struct {
	addr, ca, key, model, mode  string
	connections, requests, body int
	warm, seconds               time.Duration
	plan                        wire.Plan
	watch                       []int
}

func main() {
	found, err := parse()
	if err == nil {
		err = measure(found)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

func parse() (options, error) {
	var found options
	flag.StringVar(&found.addr, "addr", "", "HOST:PORT")
	flag.StringVar(&found.ca, "ca", "", "speak TLS; the certificate to trust")
	flag.StringVar(&found.key, "key", "none", "the API key that requests carry")
	flag.StringVar(&found.model, "model", "bench", "the model that they name")
	flag.StringVar(&found.mode, "mode", "unary", "unary, close (a connection for each request), idle, or stream")
	flag.IntVar(&found.connections, "connections", 1, "how many at a time")
	flag.IntVar(&found.requests, "requests", 0, "end after so many instead of -seconds")
	flag.IntVar(&found.body, "body", 2048, "bytes of a request's body")
	flag.DurationVar(&found.warm, "warm", 500*time.Millisecond, "at least so long before \"ready\"")
	flag.DurationVar(&found.seconds, "seconds", 2*time.Second, "how long to measure")
	plan := flag.String("plan", "answer=512", "the answers to ask for")
	watch := flag.String("watch", "", "pids, with commas between them, whose CPU time is reported")
	flag.Parse()
	var err error
	if found.plan, err = wire.ParsePlan(*plan); err != nil {
		return found, err
	}
	if found.plan.Stream != (found.mode == "stream") {
		return found, fmt.Errorf("-plan %q does not go with -mode %s", *plan, found.mode)
	}
	for _, word := range strings.FieldsFunc(*watch, func(r rune) bool { return r == ',' }) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return found, fmt.Errorf("-watch: %q is not a pid", word)
		}
		found.watch = append(found.watch, pid)
	}
	return found, nil
}

// result is what is printed. Times in seconds, but for the percentiles, which are whole microseconds. Operations are
// answers, or events of streams; CPU goes by pid.
type result struct {
	Seconds    float64            `json:"seconds"`
	Operations int64              `json:"operations"`
	Reconnects int64              `json:"reconnects"`
	Errors     int64              `json:"errors"`
	FirstError string             `json:"first_error"`
	P50        int64              `json:"p50"`
	P99        int64              `json:"p99"`
	Longest    int64              `json:"longest"`
	CPU        map[string]float64 `json:"cpu"`
	Own        float64            `json:"own"`
}

func measure(found options) error {
	r, err := newRun(found)
	if err != nil {
		return err
	}
	r.start()
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("nobody said when to begin: %w", err)
	}
	before, err := readClocks(append(found.watch, os.Getpid()))
	if err != nil {
		return err
	}
	began := time.Now()
	r.phase.Store(measuring)
	r.wait()
	r.phase.Store(over)
	took := time.Since(began)
	after, err := readClocks(append(found.watch, os.Getpid()))
	if err != nil {
		return err
	}
	fmt.Println("over")
	r.end()
	done := result{
		Seconds: took.Seconds(), Operations: r.done.Load(), Reconnects: r.reconnects.Load(), Errors: r.errors.Load(),
		P50: r.times.percentile(0.50), P99: r.times.percentile(0.99), Longest: r.times.longest.Load(),
		CPU: map[string]float64{}, Own: (after[os.Getpid()] - before[os.Getpid()]).Seconds(),
	}
	if first := r.firstError.Load(); first != nil {
		done.FirstError = *first
	}
	for _, pid := range found.watch {
		done.CPU[strconv.Itoa(pid)] = (after[pid] - before[pid]).Seconds()
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}
