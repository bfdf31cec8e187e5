"""The drill: real processes are restarted, moved and hurt under load, and nobody may notice."""
