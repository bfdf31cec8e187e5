"""Benchmarks: what a request costs, always beside a simpler way in the same run. `make bench`."""
