"""The edge: Envoy, with Holdfast's configuration filled in, and an orderly end on SIGTERM."""
