"""What every process shares: data decoding, the head, the ledger and the registry; no torch and no web framework."""
