"""Limits on the rate of each caller, over all replicas together. See ADR 26."""
