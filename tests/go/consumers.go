package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type consumer interface {
	poll(timeout time.Duration) ([]record, error)
	assignment() [][2]any
	commit(offsets [][]json.RawMessage) error
	group() string
	close() error
}

func consumerConfig(s settings) *sarama.Config {
	config := baseConfig()
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Fetch.Default = s.PartitionMax
	config.Consumer.Fetch.Max = s.FetchMaxBytes
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Offsets.Initial = sarama.OffsetNewest
	if s.Reset == "earliest" {
		config.Consumer.Offsets.Initial = sarama.OffsetOldest
	}
	if s.Isolation == "read_committed" {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	config.Consumer.Group.Session.Timeout = time.Duration(s.SessionTimeoutMs) * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = time.Duration(min(500, s.SessionTimeoutMs/3)) * time.Millisecond
	config.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	if s.InstanceID != nil {
		config.Consumer.Group.InstanceId = *s.InstanceID
	}
	strategies := map[string]sarama.BalanceStrategy{
		"range": sarama.NewBalanceStrategyRange(), "roundrobin": sarama.NewBalanceStrategyRoundRobin(),
		"sticky": sarama.NewBalanceStrategySticky(),
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategies[s.Assignor]}
	return config
}

// drain waits for a first message, then takes what is there already.
func drain(messages <-chan *sarama.ConsumerMessage, timeout time.Duration) []record {
	records := []record{}
	deadline := time.After(timeout)
	for {
		select {
		case m := <-messages:
			records = append(records, describe(m))
			deadline = time.After(20 * time.Millisecond)
		case <-deadline:
			return records
		}
	}
}

func describe(m *sarama.ConsumerMessage) record {
	timestamp := m.Timestamp.UnixMilli()
	r := record{
		Topic: m.Topic, Partition: &m.Partition, Offset: m.Offset, TimestampMs: &timestamp,
		Key: m.Key, Value: m.Value, Headers: [][2]*string{},
	}
	for _, header := range m.Headers {
		name := string(header.Key)
		r.Headers = append(r.Headers, [2]*string{&name, pack(header.Value)})
	}
	return r
}

// member is one member of a consumer group.
type member struct {
	name     string
	session  sarama.ConsumerGroupSession
	lock     sync.Mutex
	client   sarama.ConsumerGroup
	messages chan *sarama.ConsumerMessage
	failure  error
	cancel   context.CancelFunc
	done     chan struct{}
}

func newMember(bootstrap, topics []string, s settings) (*member, error) {
	client, err := sarama.NewConsumerGroup(bootstrap, *s.Group, consumerConfig(s))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{
		name: *s.Group, client: client, cancel: cancel,
		messages: make(chan *sarama.ConsumerMessage), done: make(chan struct{}),
	}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := client.Consume(ctx, topics, m); err != nil && ctx.Err() == nil {
				m.lock.Lock()
				m.failure = err
				m.lock.Unlock()
				return
			}
		}
	}()
	go func() {
		for range client.Errors() {
		}
	}()
	return m, nil
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = session
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			select {
			case m.messages <- message:
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) poll(timeout time.Duration) ([]record, error) {
	records := drain(m.messages, timeout)
	m.lock.Lock()
	defer m.lock.Unlock()
	return records, m.failure
}

func (m *member) assignment() [][2]any {
	m.lock.Lock()
	defer m.lock.Unlock()
	places := [][2]any{}
	if m.session == nil || m.session.Context().Err() != nil {
		return places
	}
	for topic, partitions := range m.session.Claims() {
		for _, partition := range partitions {
			places = append(places, [2]any{topic, partition})
		}
	}
	return places
}

func (m *member) commit(offsets [][]json.RawMessage) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, entry := range offsets {
		topic, partition, offset, err := place(entry)
		if err != nil {
			return err
		}
		m.session.MarkOffset(topic, partition, offset, "")
		m.session.ResetOffset(topic, partition, offset, "")
	}
	m.session.Commit()
	return nil
}

func (m *member) group() string { return m.name }

func (m *member) close() error {
	m.cancel()
	err := m.client.Close()
	<-m.done
	return err
}

// reader consumes chosen partitions without a group.
type reader struct {
	client   sarama.Consumer
	messages chan *sarama.ConsumerMessage
	places   [][2]any
	lock     sync.Mutex
	failure  error
	stop     chan struct{}
}

func newReader(bootstrap []string, partitions [][]json.RawMessage, s settings) (*reader, error) {
	client, err := sarama.NewConsumer(bootstrap, consumerConfig(s))
	if err != nil {
		return nil, err
	}
	r := &reader{client: client, messages: make(chan *sarama.ConsumerMessage), stop: make(chan struct{})}
	for _, entry := range partitions {
		topic, partition, offset, err := place(entry)
		if err != nil {
			return nil, err
		}
		claim, err := client.ConsumePartition(topic, partition, offset)
		if err != nil {
			return nil, err
		}
		r.places = append(r.places, [2]any{topic, partition})
		go r.forward(claim)
	}
	return r, nil
}

func (r *reader) forward(claim sarama.PartitionConsumer) {
	defer claim.AsyncClose()
	for {
		select {
		case message := <-claim.Messages():
			select {
			case r.messages <- message:
			case <-r.stop:
				return
			}
		case err := <-claim.Errors():
			r.lock.Lock()
			r.failure = err
			r.lock.Unlock()
		case <-r.stop:
			return
		}
	}
}

func (r *reader) poll(timeout time.Duration) ([]record, error) {
	records := drain(r.messages, timeout)
	r.lock.Lock()
	defer r.lock.Unlock()
	return records, r.failure
}

func (r *reader) assignment() [][2]any { return r.places }

func (r *reader) commit([][]json.RawMessage) error { return fmt.Errorf("not a member of a group") }

func (r *reader) group() string { return "" }

func (r *reader) close() error {
	close(r.stop)
	go r.client.Close()
	return nil
}

func place(entry []json.RawMessage) (topic string, partition int32, offset int64, err error) {
	for i, target := range []any{&topic, &partition, &offset} {
		if err = json.Unmarshal(entry[i], target); err != nil {
			return
		}
	}
	return
}

func pack(value []byte) *string {
	if value == nil {
		return nil
	}
	text := base64.StdEncoding.EncodeToString(value)
	return &text
}

func unpack(text *string) []byte {
	if text == nil {
		return nil
	}
	value, err := base64.StdEncoding.DecodeString(*text)
	if err != nil {
		panic(err)
	}
	return value
}
