"""Holdfast's REST gateway: thin, made from the protos."""
