package orders

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type object = map[string]any

var kafka *Odradek

func TestMain(m *testing.M) {
	var err error
	if kafka, err = Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := kafka.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// empty has the Kafka as at the beginning.
func empty(t *testing.T) {
	t.Helper()
	kafka.Send(t, "POST", "/reset", nil, nil)
}

func connect(t *testing.T, options ...kgo.Opt) (*kgo.Client, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	// Without the second option it looks for a new leader after five seconds.
	options = append(options, kgo.SeedBrokers(kafka.BootstrapServers), kgo.MetadataMinAge(50*time.Millisecond))
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, ctx
}

func TestAProducerGetsOverAnErrorOfTheBroker(t *testing.T) {
	empty(t)
	kafka.Send(t, "POST", "/topics", object{"name": "orders"}, nil)
	client, ctx := connect(t)
	fault := object{"fault": "fail", "api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER", "times": 2}
	kafka.Send(t, "POST", "/faults", fault, nil)
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("tea")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var requests []object
	kafka.Send(t, "GET", "/requests?api=Produce&wait_for=3", nil, &requests)
	if len(requests) != 3 {
		t.Errorf("it took %d requests", len(requests))
	}
	var records []struct{ Value string }
	kafka.Send(t, "GET", "/topics/orders/records", nil, &records)
	if len(records) != 1 || records[0].Value != "tea" {
		t.Errorf("the topic has %v", records)
	}
}

func TestRecordsAreGoneWhenTheirTimeIsOver(t *testing.T) {
	empty(t)
	kafka.Send(t, "POST", "/topics", object{"name": "orders", "config": object{"retention.ms": 3_600_000}}, nil)
	client, ctx := connect(t)
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("tea")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	kafka.Send(t, "POST", "/clock/advance", object{"hours": 1, "seconds": 1}, nil)
	var topic struct {
		Partitions []struct {
			LogStartOffset int `json:"log_start_offset"`
		}
	}
	kafka.Send(t, "GET", "/topics/orders", nil, &topic)
	if topic.Partitions[0].LogStartOffset != 1 {
		t.Errorf("the topic has %+v", topic)
	}
}

func TestAGroupReadsEverything(t *testing.T) {
	empty(t)
	kafka.Send(t, "POST", "/topics", object{"name": "orders", "partitions": 3}, nil)
	records := []object{{"key": "1", "value": "tea"}, {"key": "2", "value": "biscuits"}}
	kafka.Send(t, "POST", "/topics/orders/records", object{"records": records}, nil)
	client, ctx := connect(t, kgo.ConsumerGroup("shop"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for read := 0; read < len(records); {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		read += fetches.NumRecords()
	}
	if err := client.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	var group struct{ State string }
	kafka.Send(t, "GET", "/groups/shop?members=1&max_lag=0", nil, &group)
	if group.State != "Stable" {
		t.Errorf("the group is %s", group.State)
	}
}
