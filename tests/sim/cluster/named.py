"""The names of what must hold: a violation is a line that begins with one of them."""

ONE_LEADER = "one leader per epoch"
ONE_VOTE = "one vote per epoch"
NOTHING_LOST = "committed records are never lost"
SAME_REPLICAS = "replicas are identical below the high watermark"
MONOTONIC = "the high watermark is monotonic per leader epoch"
ISR_HAS_ALL = "members of the ISR hold all committed data"
SAME_METADATA = "metadata is the same at the same offset"
EPOCHS = "a fetch sees no records of a later leader epoch than it names"
ANSWERED = "what the controller has answered stays"
IN_PLACE = "replicas are where the metadata says"
OFFSETS = "offsets of groups are never lost, and nothing before them is left out"
GENERATIONS = "a group's generation has one assignment, and what comes from an earlier one is refused"
AVAILABLE = "everything becomes available again"
HISTORY = "clients see what Kafka promises"
NO_ERRORS = "no unexpected errors"

NAMES = (
    ONE_LEADER, ONE_VOTE, NOTHING_LOST, SAME_REPLICAS, MONOTONIC, ISR_HAS_ALL, SAME_METADATA, EPOCHS, ANSWERED,
    IN_PLACE, OFFSETS, GENERATIONS, AVAILABLE, HISTORY, NO_ERRORS,
)  # fmt: skip
