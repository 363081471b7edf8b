"""Finds replicas and bounds for a number of people and a latency, by simulating the real
scheduler.
"""
