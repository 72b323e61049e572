package orders

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Odradek is a Kafka in memory, and its controls. It ends with this process, whatever happens to it.
type Odradek struct {
	BootstrapServers string

	controls string
	command  *exec.Cmd
	stdin    io.Closer
}

// Start runs one.
func Start() (*Odradek, error) {
	name := os.Getenv("ODRADEK")
	if name == "" {
		name = "odradek"
	}
	command := exec.Command(name, "serve", "--in-memory", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
		"--set", "group.initial.rebalance.delay.ms=0", "--stop-with-stdin", "--log-level", "error")
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stdout)
	var words []string
	for len(words) < 2 && lines.Scan() {
		words = append(words, lines.Text()[strings.LastIndex(lines.Text(), " ")+1:])
	}
	if len(words) < 2 {
		return nil, fmt.Errorf("odradek did not start: %v", command.Wait())
	}
	return &Odradek{BootstrapServers: words[1], controls: words[0], command: command, stdin: stdin}, nil
}

// Stop ends it.
func (o *Odradek) Stop() error {
	if err := o.stdin.Close(); err != nil {
		return err
	}
	return o.command.Wait()
}

// Send asks the controls; the answer is decoded into answer, unless that is nil.
func (o *Odradek) Send(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequest(method, o.controls+path, content)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, path, data)
	}
	if answer != nil {
		if err := json.Unmarshal(data, answer); err != nil {
			t.Fatal(err)
		}
	}
}
