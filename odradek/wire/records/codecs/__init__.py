"""The compression formats as Kafka's clients write them, each read with a bound on its output."""
