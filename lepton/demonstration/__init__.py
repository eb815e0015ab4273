"""What the demonstration shows: acts on real data, measured in steps, and a report."""
