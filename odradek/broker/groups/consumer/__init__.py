"""Consumer groups of KIP-848: the coordinator assigns, and members reconcile one step after the other."""
