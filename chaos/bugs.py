"""Bugs to plant, to see that a run finds them. They are put into the running services or the servers' settings."""

BUGS = {}
