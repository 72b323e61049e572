"""Looking into log directories without opening them as logs: nothing is written, locked or recovered.

A node may be running over the directory: what vanishes while it is read is left out, and a batch that is still being
written is not yet there.
"""
