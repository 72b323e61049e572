"""Programs that people run on Kafka, whole: what comes out of them is the same on both brokers."""
