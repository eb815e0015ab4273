"""Parts of the benchmark of learning while it serves."""
