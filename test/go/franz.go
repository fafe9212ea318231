// Produces records with franz-go and consumes them in a group: franz BOOTSTRAP TOPIC GROUP COUNT
// The same in transactions: franz transactions BOOTSTRAP TOPIC COPY GROUP COUNT
// Copies without end, as a member of a group: franz copy BOOTSTRAP TOPIC COPY GROUP TRANSACTIONAL-ID
// With FRANZ_CA the first of these encrypts, with FRANZ_LOGIN=MECHANISM:USER:PASSWORD it logs in, too.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Writes count records to the first topic in transactions, every third of them aborted, and copies them to the second in
// transactions that take the group's offsets along.
func transactions(bootstrap, in, out, group string, count int) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	writer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.TransactionalID("write"), kgo.AllowAutoTopicCreation())
	check(err)
	for i := 0; i < count; i++ {
		for _, commit := range []kgo.TransactionEndTry{kgo.TransactionEndTry(i%3 != 0), kgo.TryCommit} {
			check(writer.BeginTransaction())
			check(writer.ProduceSync(ctx, &kgo.Record{Topic: in, Value: []byte(fmt.Sprintf("%d%t", i, bool(commit)))}).FirstErr())
			check(writer.EndTransaction(ctx, commit))
		}
	}
	writer.Close()
	session := copier(bootstrap, in, out, group, "copy")
	defer session.Close()
	for copied, want := 0, 2*count-(count+2)/3; copied < want; {
		fetches := session.PollFetches(ctx)
		check(ctx.Err())
		fetches.EachError(func(_ string, _ int32, err error) { check(err) })
		committed, err := copyBatch(ctx, session, fetches)
		check(err)
		if committed {
			copied += fetches.NumRecords()
		}
	}
	fmt.Println("copied")
}

// A session that copies from one topic to the other; in is read from the beginning.
func copier(bootstrap, in, out, group, id string) *kgo.GroupTransactSession {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.TransactionalID(id), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(in), kgo.DefaultProduceTopic(out), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.SessionTimeout(6*time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AllowAutoTopicCreation())
	check(err)
	return session
}

// One batch in one transaction; whether it is committed.
func copyBatch(ctx context.Context, session *kgo.GroupTransactSession, fetches kgo.Fetches) (bool, error) {
	check(session.Begin())
	promise := kgo.AbortingFirstErrPromise(session.Client())
	fetches.EachRecord(func(r *kgo.Record) {
		session.Produce(ctx, &kgo.Record{Partition: r.Partition, Value: r.Value}, promise.Promise())
	})
	return session.End(ctx, promise.Err() == nil)
}

// The session sees by itself to what fails: it aborts, and begins where it was. Errors of partitions go by.
func copyForever(bootstrap, in, out, group, id string) {
	for {
		session := copier(bootstrap, in, out, group, id)
		for {
			fetches := session.PollRecords(context.Background(), 300)
			fetches.EachError(func(topic string, p int32, err error) { fmt.Fprintln(os.Stderr, topic, p, err) })
			if fetches.NumRecords() == 0 {
				continue
			}
			if _, err := copyBatch(context.Background(), session, fetches); err != nil {
				fmt.Fprintln(os.Stderr, err)
				break
			}
		}
		session.Close()
	}
}

// How the environment says that brokers are to be gone to.
func security() []kgo.Opt {
	var options []kgo.Opt
	if file := os.Getenv("FRANZ_CA"); file != "" {
		pem, err := os.ReadFile(file)
		check(err)
		anchors := x509.NewCertPool()
		anchors.AppendCertsFromPEM(pem)
		options = append(options, kgo.DialTLSConfig(&tls.Config{RootCAs: anchors}))
	}
	if login := strings.SplitN(os.Getenv("FRANZ_LOGIN"), ":", 3); len(login) == 3 {
		switch login[0] {
		case "PLAIN":
			options = append(options, kgo.SASL(plain.Auth{User: login[1], Pass: login[2]}.AsMechanism()))
		case "SCRAM-SHA-256":
			options = append(options, kgo.SASL(scram.Auth{User: login[1], Pass: login[2]}.AsSha256Mechanism()))
		case "SCRAM-SHA-512":
			options = append(options, kgo.SASL(scram.Auth{User: login[1], Pass: login[2]}.AsSha512Mechanism()))
		}
	}
	return options
}

func main() {
	if os.Args[1] == "copy" {
		copyForever(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
	}
	if os.Args[1] == "transactions" {
		count, err := strconv.Atoi(os.Args[6])
		check(err)
		transactions(os.Args[2], os.Args[3], os.Args[4], os.Args[5], count)
		return
	}
	bootstrap, topic, group := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	client, err := kgo.NewClient(append(security(), kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AllowAutoTopicCreation())...)
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
