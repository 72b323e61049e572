"""Log compaction: what of a log is superseded, and writing what is left (KIP-58, KIP-354, KIP-534).

A cleaning is a `CleaningPlan`, which a `Runner` carries out away from the state machines' thread. It writes `.cleaned`
segments and tells of each; the log swaps them in. `odradek.storage.log_cleaner` decides which log is cleaned, and when.
"""
