"""Keeps pytest from importing the servers: they need packages that only their own environments have."""

collect_ignore_glob = ["*.py"]
