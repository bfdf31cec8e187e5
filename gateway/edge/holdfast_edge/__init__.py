"""The edge: Envoy with Holdfast's configuration, and a drain on SIGTERM."""
