"""Bytes to arrays of fixed shape, one file a modality; the same code runs in training and in serving."""
