"""Benchmarks: each prints one table, checks its claims, and writes them as JSON; peers run beside ours."""
