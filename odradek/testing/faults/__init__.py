"""What can go wrong with a Kafka, on demand: `EmbeddedKafka.faults`.

`specs` says what there is, in plain values; `faults` has it as methods; the rest acts in the nodes' own paths.
"""
