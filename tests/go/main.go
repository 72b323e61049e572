// A driver of tests/compat on Sarama: reads commands as JSON lines, answers in JSON lines.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
)

type settings struct {
	Acks             int     `json:"acks"`
	Compression      string  `json:"compression"`
	Idempotent       bool    `json:"idempotent"`
	MaxRequestBytes  int     `json:"max_request_bytes"`
	LingerMs         int     `json:"linger_ms"`
	Group            *string `json:"group"`
	Reset            string  `json:"reset"`
	Isolation        string  `json:"isolation"`
	SessionTimeoutMs int     `json:"session_timeout_ms"`
	InstanceID       *string `json:"instance_id"`
	Assignor         string  `json:"assignor"`
	FetchMaxBytes    int32   `json:"fetch_max_bytes"`
	PartitionMax     int32   `json:"partition_max_bytes"`
}

type record struct {
	Topic       string       `json:"topic"`
	Partition   *int32       `json:"partition"`
	Offset      int64        `json:"offset"`
	TimestampMs *int64       `json:"timestamp_ms"`
	Key         []byte       `json:"key"`
	Value       []byte       `json:"value"`
	Headers     [][2]*string `json:"headers"`
}

type command struct {
	Op          string              `json:"op"`
	ID          int                 `json:"id"`
	Topic       string              `json:"topic"`
	Topics      []string            `json:"topics"`
	Partition   int32               `json:"partition"`
	Partitions  [][]json.RawMessage `json:"partitions"`
	Offsets     [][]json.RawMessage `json:"offsets"`
	Records     []record            `json:"records"`
	Settings    settings            `json:"settings"`
	TimeoutMs   int                 `json:"timeout_ms"`
	TimestampMs int64               `json:"timestamp_ms"`
}

type answer map[string]any

type driver struct {
	bootstrap []string
	consumers map[int]consumer
}

func main() {
	d := driver{bootstrap: []string{os.Args[1]}, consumers: map[int]consumer{}}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<28)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var c command
		err := json.Unmarshal(in.Bytes(), &c)
		var a answer
		if err == nil {
			a, err = d.execute(c)
		}
		if err != nil {
			a = answer{"exception": err.Error()}
		}
		if err := out.Encode(a); err != nil {
			panic(err)
		}
	}
}

func (d *driver) execute(c command) (answer, error) {
	switch c.Op {
	case "produce":
		acks, err := d.produce(c)
		return answer{"acks": acks}, err
	case "subscribe":
		member, err := newMember(d.bootstrap, c.Topics, c.Settings)
		d.consumers[c.ID] = member
		return answer{}, err
	case "assign":
		reader, err := newReader(d.bootstrap, c.Partitions, c.Settings)
		d.consumers[c.ID] = reader
		return answer{}, err
	case "offsets":
		offset, err := d.offset(c.Topic, c.Partition, c.TimestampMs)
		return answer{"offset": offset}, err
	}
	target, ok := d.consumers[c.ID]
	if !ok {
		return nil, fmt.Errorf("no consumer %d for %s", c.ID, c.Op)
	}
	switch c.Op {
	case "poll":
		records, err := target.poll(time.Duration(c.TimeoutMs) * time.Millisecond)
		return answer{"records": records}, err
	case "assignment":
		return answer{"partitions": target.assignment()}, nil
	case "commit":
		return answer{}, target.commit(c.Offsets)
	case "committed":
		offset, err := d.committed(target.group(), c.Topic, c.Partition)
		return answer{"offset": offset}, err
	case "close":
		delete(d.consumers, c.ID)
		return answer{}, target.close()
	}
	return nil, fmt.Errorf("unknown op %s", c.Op)
}

func baseConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.Retry.Backoff = 50 * time.Millisecond
	return config
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func (d *driver) produce(c command) ([]answer, error) {
	config := baseConfig()
	config.Producer.RequiredAcks = sarama.RequiredAcks(c.Settings.Acks)
	config.Producer.Compression = codecs[c.Settings.Compression]
	config.Producer.MaxMessageBytes = c.Settings.MaxRequestBytes
	config.Producer.Idempotent = c.Settings.Idempotent
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = time.Duration(c.Settings.LingerMs) * time.Millisecond
	if c.Settings.Idempotent {
		config.Net.MaxOpenRequests = 1
	}
	if len(c.Records) > 0 && c.Records[0].Partition != nil {
		config.Producer.Partitioner = sarama.NewManualPartitioner
	}
	producer, err := sarama.NewAsyncProducer(d.bootstrap, config)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	acks := make([]answer, len(c.Records))
	go func() {
		for i, r := range c.Records {
			producer.Input() <- message(c.Topic, r, i)
		}
	}()
	for range c.Records {
		select {
		case sent := <-producer.Successes():
			acks[sent.Metadata.(int)] = answer{
				"partition": sent.Partition, "offset": sent.Offset, "timestamp_ms": sent.Timestamp.UnixMilli(), "error": "",
			}
		case failed := <-producer.Errors():
			acks[failed.Msg.Metadata.(int)] = answer{
				"partition": -1, "offset": -1, "timestamp_ms": -1, "error": errorName(failed.Err),
			}
		}
	}
	return acks, nil
}

func message(topic string, r record, index int) *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{Topic: topic, Metadata: index}
	if r.Key != nil {
		m.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		m.Value = sarama.ByteEncoder(r.Value)
	}
	if r.Partition != nil {
		m.Partition = *r.Partition
	}
	if r.TimestampMs != nil {
		m.Timestamp = time.UnixMilli(*r.TimestampMs)
	}
	for _, header := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(*header[0]), Value: unpack(header[1])})
	}
	return m
}

func (d *driver) offset(topic string, partition int32, timestampMs int64) (*int64, error) {
	client, err := sarama.NewClient(d.bootstrap, baseConfig())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	offset, err := client.GetOffset(topic, partition, timestampMs)
	if err != nil || offset < 0 {
		return nil, err
	}
	return &offset, nil
}

func (d *driver) committed(group, topic string, partition int32) (*int64, error) {
	admin, err := sarama.NewClusterAdmin(d.bootstrap, baseConfig())
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	found, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {partition}})
	if err != nil {
		return nil, err
	}
	block := found.GetBlock(topic, partition)
	if block == nil || block.Offset < 0 {
		return nil, nil
	}
	return &block.Offset, nil
}

func errorName(err error) string {
	var code sarama.KError
	if errors.As(err, &code) {
		return fmt.Sprintf("%d", int16(code))
	}
	return err.Error()
}
