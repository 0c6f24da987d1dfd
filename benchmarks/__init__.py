"""Measures Landbridge: how fast it reads a chain, how soon after a block, and against what.

`python -m benchmarks` (or `make bench`) prints one line of JSON for each measurement.
"""
