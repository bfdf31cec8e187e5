"""The drill: real processes are restarted and replaced under load, and clients must not notice."""
