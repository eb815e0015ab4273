"""ADAPT: one recipe a file; the file's name is the value of ``--recipe``.

A recipe takes a pretrained backbone and labelled rows and gives a backbone whose weights it moved. What serves is never
its trained head: the tuned backbone takes the place of the one it came from, in the same graph, and the head is solved
in closed form on its features through ONNX Runtime. The types are in ``training.recipe``. A file of this folder has:

* ``Config``: a frozen keyword-only dataclass, a sentence a field, checked; every field has a default and is set by name
  (``--set epochs=5``). Where weights move it extends ``training.tune.plan.Plan``.
* ``tune(base, rows, config, context) -> Tuned``: pure configuration in, candidate out. ``base`` stays as it is, to the
  bit. The result takes the same inputs and is as wide. The same arguments give the same bits on one machine with one
  number of threads, unless the time runs out. It ends within ``context.budget`` seconds by ``context.clock``, one step
  more or less, and gives the best weights so far; also where the loss is no number any more or memory runs out.
* ``examples() -> tuple[Config, ...]``: small configurations, by which the laws try it.

A backbone that is not torch is refused by ``InvalidInput`` with the remedy. ``training.judge`` measures any backbone,
tuned or not, by the same closed form on the same validation rows, and decides between two of them.
"""
