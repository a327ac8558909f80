import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Parses each event and keeps eight maxima per customer in RocksDB, exactly once. Prints how many records it has read. */
public final class Maxima {
  static final AtomicLong READ = new AtomicLong();
  static final String[] METRICS = {"delivered", "opened", "clicked", "converted", "bounced", "spammed", "unsubscribed", "subscribed"};

  static final class Keep implements Processor<byte[], byte[], byte[], byte[]> {
    private final ObjectMapper json = new ObjectMapper();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> store;

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
      this.context = context;
      this.store = context.getStateStore("maxima");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      READ.incrementAndGet();
      JsonNode event;
      try {
        event = json.readTree(record.value());
      } catch (java.io.IOException notAnEvent) {
        return;
      }
      byte[] known = store.get(record.key());
      long[] maxima = new long[METRICS.length];
      if (known != null) ByteBuffer.wrap(known).asLongBuffer().get(maxima);
      String metric = event.path("metric").asText();
      long at = event.path("timestamp").asLong();
      boolean grew = known == null;
      for (int n = 0; n < METRICS.length; n++) {
        if (METRICS[n].equals(metric) && at > maxima[n]) {
          maxima[n] = at;
          grew = true;
        }
      }
      if (!grew) return;
      ByteBuffer value = ByteBuffer.allocate(8 * METRICS.length);
      value.asLongBuffer().put(maxima);
      store.put(record.key(), value.array());
      context.forward(new Record<>(record.key(), value.array(), record.timestamp()));
    }
  }

  public static void main(String[] arguments) throws Exception {
    Properties properties = new Properties();
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
    properties.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
    properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
    properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    properties.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    properties.put(StreamsConfig.consumerPrefix("max.poll.records"), 5000);
    properties.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
    Topology topology = new Topology();
    var bytes = Serdes.ByteArray();
    topology.addSource("raw", bytes.deserializer(), bytes.deserializer(), arguments[1]);
    topology.addProcessor("keep", Keep::new, "raw");
    topology.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("maxima"), bytes, bytes), "keep");
    topology.addSink("out", arguments[2], bytes.serializer(), bytes.serializer(), "keep");
    KafkaStreams streams = new KafkaStreams(topology, properties);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    while (true) {
      System.out.println(READ.get());
      System.out.flush();
      Thread.sleep(200);
    }
  }
}
