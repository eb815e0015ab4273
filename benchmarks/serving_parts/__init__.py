"""The parts of ``benchmarks.serving``, one question a file."""
