// Prints what Apache Kafka's jars say about configuration, as one JSON document on standard output.
//
//   java -cp 'LIBS/*' ConfigOracle.java table      every ConfigDef: names, types, defaults, validators, scopes, synonyms
//   java -cp 'LIBS/*' ConfigOracle.java validate   reads cases from standard input, one per line, and prints one answer per
//                                                  line: a case is KIND TAB k=v TAB k=v ..., the answer is OK or an error
//   java -cp 'LIBS/*' ConfigOracle.java text       reads lines of "properties TAB base64 of a file" or "double TAB bits in
//                                                  hex", and prints what java.util.Properties or Double.toString make of it
//
// tests/unit/config compares odradek.config with the answers.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.config.ConfigDef;

public class ConfigOracle {
    public static void main(String[] args) throws Exception {
        System.setProperty("log4j2.level", "OFF");
        if (args.length == 1 && args[0].equals("table")) {
            System.out.println(json(table()));
        } else if (args.length == 1 && args[0].equals("validate")) {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                System.out.println(json(validate(line)));
            }
        } else if (args.length == 1 && args[0].equals("text")) {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                System.out.println(json(text(line)));
            }
        } else {
            System.err.println("usage: ConfigOracle table|validate|text");
            System.exit(2);
        }
    }

    static Map<String, Object> table() throws Exception {
        Map<String, Object> out = new TreeMap<>();
        ConfigDef broker = (ConfigDef) field("org.apache.kafka.server.config.AbstractKafkaConfig", "CONFIG_DEF");
        out.put("broker", keys(broker.configKeys()));
        Map<String, ConfigDef.ConfigKey> topic = typed(
            call("org.apache.kafka.storage.internals.log.LogConfig", "configKeys"));
        out.put("topic", keys(topic));
        ConfigDef group = (ConfigDef) field("org.apache.kafka.coordinator.group.GroupConfig", "CONFIG_DEF");
        out.put("group", keys(group.configKeys()));
        ConfigDef metrics = (ConfigDef) call("org.apache.kafka.server.metrics.ClientMetricsConfigs", "configDef");
        out.put("client_metrics", keys(metrics.configKeys()));
        Map<String, ConfigDef.ConfigKey> dynamic = typed(
            call("org.apache.kafka.server.config.DynamicConfig$Broker", "configKeys"));
        Map<String, ConfigDef.ConfigKey> onlyDynamic = new TreeMap<>(dynamic);
        onlyDynamic.keySet().removeAll(broker.configKeys().keySet());
        out.put("broker_only_dynamic", keys(onlyDynamic));

        String dynamicClass = "org.apache.kafka.server.config.DynamicBrokerConfig";
        out.put("update_modes", new TreeMap<>((Map<?, ?>) call(dynamicClass, "dynamicConfigUpdateModes")));
        for (String name : List.of("DYNAMIC_SECURITY_CONFIGS", "PER_BROKER_CONFIGS", "ALL_DYNAMIC_CONFIGS",
                "CLUSTER_LEVEL_LISTENER_CONFIGS", "LISTENER_MECHANISM_CONFIGS")) {
            out.put(name.toLowerCase(), new ArrayList<>(new TreeSet<>((Set<?>) field(dynamicClass, name))));
        }
        Map<String, Object> brokerSynonyms = new TreeMap<>();
        Method synonyms = Class.forName(dynamicClass).getMethod("brokerConfigSynonyms", String.class, boolean.class);
        for (String name : broker.configKeys().keySet()) {
            Object answer = synonyms.invoke(null, name, true);
            if (!answer.equals(List.of(name))) {
                brokerSynonyms.put(name, answer);
            }
        }
        out.put("broker_synonyms", brokerSynonyms);
        out.put("listener_synonyms", synonyms.invoke(null, "listener.name.internal.ssl.keystore.location", true));
        out.put("listener_mechanism_synonyms",
            synonyms.invoke(null, "listener.name.internal.scram-sha-256.sasl.jaas.config", true));

        Map<String, Object> topicSynonyms = new TreeMap<>();
        Map<?, ?> all = (Map<?, ?>) field("org.apache.kafka.server.config.ServerTopicConfigSynonyms",
            "ALL_TOPIC_CONFIG_SYNONYMS");
        for (Map.Entry<?, ?> entry : all.entrySet()) {
            List<Object> list = new ArrayList<>();
            for (Object synonym : (List<?>) entry.getValue()) {
                String name = (String) synonym.getClass().getMethod("name").invoke(synonym);
                Object converter = synonym.getClass().getMethod("converter").invoke(synonym);
                Method apply = java.util.function.Function.class.getMethod("apply", Object.class);
                list.add(List.of(name, String.valueOf(apply.invoke(converter, "1"))));
            }
            topicSynonyms.put((String) entry.getKey(), list);
        }
        out.put("topic_synonyms", topicSynonyms);
        Map<String, Object> groupSynonyms = new TreeMap<>();
        Map<?, ?> groupAll = (Map<?, ?>) field("org.apache.kafka.coordinator.group.GroupConfig",
            "ALL_GROUP_CONFIG_SYNONYMS");
        for (Map.Entry<?, ?> entry : groupAll.entrySet()) {
            groupSynonyms.put((String) entry.getKey(), ((Optional<?>) entry.getValue()).orElse(null));
        }
        out.put("group_synonyms", groupSynonyms);
        return out;
    }

    static Map<String, Object> keys(Map<String, ConfigDef.ConfigKey> keys) {
        Map<String, Object> out = new TreeMap<>();
        for (ConfigDef.ConfigKey key : keys.values()) {
            Map<String, Object> row = new TreeMap<>();
            row.put("type", key.type().name());
            row.put("required", !key.hasDefault());
            row.put("default", key.hasDefault() ? ConfigDef.convertToString(key.defaultValue, key.type()) : null);
            row.put("importance", key.importance.name());
            row.put("internal", key.internalConfig);
            row.put("validator", key.validator == null ? null : key.validator.toString());
            row.put("validator_class", key.validator == null ? null : key.validator.getClass().getSimpleName());
            for (String flag : List.of("isEmptyAllowed", "isNullAllowed")) {
                if (key.validator instanceof ConfigDef.ValidList) {
                    try {
                        Field field = ConfigDef.ValidList.class.getDeclaredField(flag);
                        field.setAccessible(true);
                        row.put(flag, field.get(key.validator));
                    } catch (ReflectiveOperationException e) {
                        throw new IllegalStateException(e);
                    }
                }
            }
            out.put(key.name, row);
        }
        return out;
    }

    static Object validate(String line) {
        String[] parts = line.split("\t");
        Map<String, String> values = new TreeMap<>();
        for (int i = 1; i < parts.length; i++) {
            int equals = parts[i].indexOf('=');
            values.put(parts[i].substring(0, equals), parts[i].substring(equals + 1));
        }
        Properties properties = new Properties();
        properties.putAll(values);
        try {
            switch (parts[0]) {
                case "broker":
                    Class<?> config = Class.forName("kafka.server.KafkaConfig");
                    config.getMethod("fromProps", Properties.class).invoke(null, properties);
                    break;
                case "topic":
                    Class<?> log = Class.forName("org.apache.kafka.storage.internals.log.LogConfig");
                    log.getMethod("validate", Map.class, Map.class, Map.class, boolean.class)
                        .invoke(null, Map.of(), values, logDefaults(), false);
                    break;
                case "dynamic-broker":
                case "dynamic-cluster":
                    Class<?> dynamic = Class.forName("org.apache.kafka.server.config.DynamicBrokerConfig");
                    dynamic.getMethod("validateConfigs", Properties.class, Properties.class, boolean.class)
                        .invoke(null, properties, properties, parts[0].equals("dynamic-broker"));
                    break;
                case "client-metrics":
                    Class<?> metrics = Class.forName("org.apache.kafka.server.metrics.ClientMetricsConfigs");
                    metrics.getMethod("validate", String.class, Map.class).invoke(null, "name", properties);
                    break;
                case "group":
                    group(values);
                    break;
                default:
                    return "unknown kind " + parts[0];
            }
            return "OK";
        } catch (InvocationTargetException e) {
            Throwable cause = e.getCause();
            return cause.getClass().getSimpleName() + ": " + cause.getMessage();
        } catch (ReflectiveOperationException e) {
            return "oracle failed: " + e;
        }
    }

    static Object text(String line) throws Exception {
        String[] parts = line.split("\t", -1);
        if (parts[0].equals("double")) {
            return Double.toString(Double.longBitsToDouble(Long.parseUnsignedLong(parts[1], 16)));
        }
        Properties properties = new Properties();
        try {
            properties.load(new ByteArrayInputStream(Base64.getDecoder().decode(parts[1])));
        } catch (IllegalArgumentException e) {
            return "malformed";
        }
        return new TreeMap<>(properties);
    }

    static Object minimalConfig() throws ReflectiveOperationException {
        Properties minimal = new Properties();
        minimal.put("process.roles", "broker,controller");
        minimal.put("node.id", "1");
        minimal.put("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093");
        minimal.put("controller.listener.names", "CONTROLLER");
        minimal.put("controller.quorum.bootstrap.servers", "localhost:9093");
        Class<?> configClass = Class.forName("kafka.server.KafkaConfig");
        return configClass.getMethod("fromProps", Properties.class).invoke(null, minimal);
    }

    static Map<?, ?> logDefaults() throws ReflectiveOperationException {
        Object config = minimalConfig();
        return (Map<?, ?>) config.getClass().getMethod("extractLogConfigMap").invoke(config);
    }

    static void group(Map<String, String> values) throws ReflectiveOperationException {
        Class<?> configClass = Class.forName("kafka.server.KafkaConfig");
        Object config = minimalConfig();
        Object coordinator = configClass.getMethod("groupCoordinatorConfig").invoke(config);
        Object share = configClass.getMethod("shareGroupConfig").invoke(config);
        Class<?> group = Class.forName("org.apache.kafka.coordinator.group.GroupConfig");
        Class<?> coordinatorClass = Class.forName("org.apache.kafka.coordinator.group.GroupCoordinatorConfig");
        Class<?> shareClass = Class.forName("org.apache.kafka.coordinator.group.modern.share.ShareGroupConfig");
        group.getMethod("validate", Map.class, coordinatorClass, shareClass).invoke(null, values, coordinator, share);
    }

    static Object field(String type, String name) throws ReflectiveOperationException {
        Field field = Class.forName(type).getDeclaredField(name);
        field.setAccessible(true);
        return field.get(null);
    }

    static Object call(String type, String name) throws ReflectiveOperationException {
        return Class.forName(type).getMethod(name).invoke(null);
    }

    @SuppressWarnings("unchecked")
    static Map<String, ConfigDef.ConfigKey> typed(Object keys) {
        return (Map<String, ConfigDef.ConfigKey>) keys;
    }

    static String json(Object value) {
        if (value == null || value instanceof Boolean || value instanceof Number) {
            return String.valueOf(value);
        }
        StringBuilder out = new StringBuilder();
        if (value instanceof Map<?, ?> map) {
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                out.append(out.length() == 0 ? "" : ",").append(json(entry.getKey())).append(":");
                out.append(json(entry.getValue()));
            }
            return "{" + out + "}";
        }
        if (value instanceof Iterable<?> list) {
            for (Object item : list) {
                out.append(out.length() == 0 ? "" : ",").append(json(item));
            }
            return "[" + out + "]";
        }
        for (char c : value.toString().toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20 || c > 0x7e) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return "\"" + out + "\"";
    }
}
