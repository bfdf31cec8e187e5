"""Benchmarks: the cost of a request, compared with simpler solutions in the same run. `make bench`."""
