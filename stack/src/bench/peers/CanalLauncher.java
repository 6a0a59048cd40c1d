// Starts Canal's server with one instance that sends FlatMessages to Kafka. Its own launcher (canal.deployer) is not
// among the published artifacts; this does what that one does, with the settings given as system properties.

import com.alibaba.otter.canal.connector.kafka.producer.CanalKafkaProducer;
import com.alibaba.otter.canal.instance.core.CanalMQConfig;
import com.alibaba.otter.canal.instance.manager.CanalInstanceWithManager;
import com.alibaba.otter.canal.instance.manager.model.Canal;
import com.alibaba.otter.canal.instance.manager.model.CanalParameter;
import com.alibaba.otter.canal.server.CanalMQStarter;
import com.alibaba.otter.canal.server.embedded.CanalServerWithEmbedded;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Properties;

public class CanalLauncher {
    private static final String DESTINATION = "peer";

    static class Instance extends CanalInstanceWithManager {
        Instance(Canal canal, String filter) {
            super(canal, filter);
            mqConfig = new CanalMQConfig();
            mqConfig.setTopic(System.getProperty("peer.topic"));
            mqConfig.setPartitionsNum(Integer.getInteger("peer.partitions"));
            mqConfig.setPartitionHash(System.getProperty("peer.hash"));
        }
    }

    public static void main(String[] args) throws Exception {
        CanalParameter parameter = new CanalParameter();
        parameter.setMetaMode(CanalParameter.MetaMode.MEMORY);
        parameter.setIndexMode(CanalParameter.IndexMode.MEMORY);
        parameter.setHaMode(CanalParameter.HAMode.HEARTBEAT);
        parameter.setStorageMode(CanalParameter.StorageMode.MEMORY);
        parameter.setSourcingType(CanalParameter.SourcingType.MYSQL);
        parameter.setDbAddresses(List.of(new InetSocketAddress("127.0.0.1", Integer.getInteger("peer.port"))));
        parameter.setDbUsername(System.getProperty("peer.user"));
        parameter.setDbPassword(System.getProperty("peer.password"));
        parameter.setDefaultDatabaseName(System.getProperty("peer.database"));
        parameter.setPositions(List.of(System.getProperty("peer.position")));
        parameter.setSlaveId(77002L);
        parameter.setConnectionCharset("UTF-8");
        parameter.setDetectingEnable(false);
        parameter.setTsdbEnable(false);
        parameter.setParallel(true);

        Canal canal = new Canal();
        canal.setId(1L);
        canal.setName(DESTINATION);
        canal.setCanalParameter(parameter);

        Properties properties = new Properties();
        for (String name : System.getProperties().stringPropertyNames()) {
            if (name.startsWith("kafka.") || name.startsWith("canal.")) {
                properties.setProperty(name, System.getProperty(name));
            }
        }
        CanalKafkaProducer producer = new CanalKafkaProducer();
        producer.init(properties);

        CanalServerWithEmbedded server = CanalServerWithEmbedded.instance();
        server.setCanalInstanceGenerator(destination -> new Instance(canal, System.getProperty("peer.filter")));
        server.start();
        server.start(DESTINATION);
        new CanalMQStarter(producer).start(DESTINATION);
        Thread.currentThread().join();
    }
}
