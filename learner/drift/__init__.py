"""Drift detectors, one a file: the file's name is the detector's name.

A detector has ``compare(reference, current, level) -> Reading | None`` (None where the windows hold nothing for it;
``level`` is the chance of a false alarm of one comparison) and ``examples(rng) -> (reference, same, moved)``, three
windows by which the laws test it.
"""
