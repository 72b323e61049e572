// A kfake cluster for the benchmark, used as Go's tests use it: with a client of franz-go, in the same process.
// It prints its address, and then answers each line of its input with a line: "clean" begins anew, "exchange" is the test.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newCluster(topic string) *kfake.Cluster {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		log.Fatal(err)
	}
	return cluster
}

func exchange(address, topic string) error {
	producer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer producer.Close()
	record := kgo.SliceRecord([]byte("value"))
	if err := producer.ProduceSync(context.Background(), record).FirstErr(); err != nil {
		return err
	}
	start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumePartitions(start))
	if err != nil {
		return err
	}
	defer consumer.Close()
	fetches := consumer.PollFetches(context.Background())
	if err := fetches.Err(); err != nil {
		return err
	}
	if found := fetches.Records(); len(found) != 1 || string(found[0].Value) != "value" {
		return fmt.Errorf("found %v", found)
	}
	return nil
}

func main() {
	topic := os.Args[1]
	cluster := newCluster(topic)
	fmt.Println(cluster.ListenAddrs()[0])
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "clean":
			cluster.Close()
			cluster = newCluster(topic)
		case "exchange":
			if err := exchange(cluster.ListenAddrs()[0], topic); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Println("done")
	}
	cluster.Close()
}
