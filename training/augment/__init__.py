"""AUGMENT: how training rows vary, one modality a file; none for tables, whose cells have no neighbours.

A file of this folder has three pure functions; a strength of 0 gives back what came, one of 1 is as far as labels still
hold, and every draw comes from the generator that is given:

* ``rewrite(data, strength, chance) -> bytes``: the bytes of an example, before they are read.
* ``vary(inputs, strength, chance) -> inputs``: a batch as the model takes it; shapes and ranges stay. Pictures become
  float32, still 0 to 255.
* ``attach(body, strength, chance) -> handles``: what has to happen inside the body while it trains; the handles remove
  it.
"""
