"""Holdfast on one machine: PostgreSQL, Valkey, the inventory and the gateway as children of one process."""
