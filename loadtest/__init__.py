"""Evaluation and load tools: word error rate, equality with faster-whisper, overhead, load."""
