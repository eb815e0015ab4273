"""The load generator: open and closed loops over raw connections, in a process of its own."""
