"""ROBUSTNESS: how inputs of a modality go wrong; the file's name is the modality's.

A file of this folder has:

* ``KINDS``: names of what can go wrong.
* ``corrupt(data, kind, severity, random) -> bytes``: the bytes of an input, gone wrong: severity 0 gives the very
  bytes, 1 is mild, 3 severe. The same generator state gives the same bytes; the result is read like any input.
"""
