"""The drill: real processes are restarted and replaced under load, and no request may fail because of it."""
