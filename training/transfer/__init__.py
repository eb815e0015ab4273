"""TRANSFER: what inputs without labels do for a model; one method a file, the file's name is its name.

Labels are of one scene (the source), what is served is another (the target), of which there are inputs alone. A method
gives an extractor *for inputs of the target*. The labelled examples of the source keep the features that they have, to
the bit, and stand under the new extractor with those: so the head is the very head of the source, the statistics stay
sums on the grid, and labels of the target that come later add to them, and are withdrawn, exactly. A file has:

* ``adapt(situation) -> Assembly``: the graph for the target, of the same inputs and as wide; the assembly that it is
  given stays as it is. The same situation gives the same bits on one machine. Raises InvalidInput where the backbones
  leave nothing to adapt, which takes the method out of the comparison.

The types are in ``training.situation``; ``training.inputs`` reads, ``training.unlabelled`` compares and decides.
"""
