"""From people and a latency target to replicas and bounds, by simulation of the real scheduler."""
