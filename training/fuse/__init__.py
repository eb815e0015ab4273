"""How several models become one: a file is a method, its name the value of ``--method`` and ``--fuse``.

Every file states ``SPACE``, what it fuses. ``"weights"``: models of one architecture; ``fuse(given, config)`` takes
``training.merge.weights.Given`` and gives a ``Soup``. ``"features"``: any models; ``fuse(given, config)`` takes
``training.merge.members.Given`` and gives a ``Mix``. ``"statistics"``: sites; ``"student"``: any models, by training
another one.
Every file offers ``Config``, how it is set, and ``examples()``, configurations by which the laws test it; those of
weights and features ``SYMMETRIC`` as well, whether the order of what is fused matters to nothing.
"""
