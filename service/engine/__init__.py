"""The hot path: a snapshot (session and head) and the batcher that feeds it."""
