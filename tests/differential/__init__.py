"""The same random requests to Odradek and to Apache Kafka, whose answers must agree.

`python -m tests.differential --seed N --steps M` starts one node of each and runs a sequence of requests that the seed
decides. `rules` has all that answers may differ in; whatever else differs is printed, the first difference first.
"""
