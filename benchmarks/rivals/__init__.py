"""Rivals: other simulators at the same workloads, each in an environment of its own, in turn with edgesim."""
