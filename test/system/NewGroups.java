import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** What a consumer gets to see that asks for the new group protocol (KIP-848), and who describes groups of either. */
public class NewGroups {
    static void consume(String bootstrap, String topic) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "group.id", "new", "group.protocol", "consumer");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (consumer.groupMetadata().memberId().isEmpty() || consumer.assignment().isEmpty())
                consumer.poll(Duration.ofMillis(100));
            System.out.println("consumes");
        } catch (Exception e) {
            System.out.println(e);
        }
    }

    static void describe(String bootstrap, String group) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            System.out.println(admin.describeConsumerGroups(List.of(group)).all().get());
        } catch (java.util.concurrent.ExecutionException e) {
            System.out.println(e.getCause());
        }
    }

    public static void main(String[] args) throws Exception {
        consume(args[0], args[1]);
        for (int i = 2; i < args.length; i++)
            describe(args[0], args[i]);
    }
}
