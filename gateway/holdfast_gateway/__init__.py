"""Holdfast's REST gateway: a thin translation that is derived from the protos."""
