// Produces records with franz-go and consumes them in a group: franz BOOTSTRAP TOPIC GROUP COUNT
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	bootstrap, topic, group := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AllowAutoTopicCreation())
	check(err)
	defer client.Close()
	for i := 0; i < count; i++ {
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(i)), Value: []byte(fmt.Sprint("value ", i))},
			func(_ *kgo.Record, err error) { check(err) })
	}
	check(client.Flush(ctx))
	seen := map[string]bool{}
	for len(seen) < count {
		fetches := client.PollFetches(ctx)
		check(ctx.Err())
		fetches.EachError(func(_ string, _ int32, err error) { check(err) })
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Key)+"="+string(r.Value)] = true })
	}
	for i := 0; i < count; i++ {
		if !seen[fmt.Sprintf("%d=value %d", i, i)] {
			check(fmt.Errorf("record %d is missing", i))
		}
	}
	check(client.CommitUncommittedOffsets(ctx))
	fmt.Println(len(seen), "records")
}
