"""Kinds of jobs, one a file: what may be asked (a frozen dataclass ``Request`` of plain fields), and ``work``.

``work(given, request)`` is handed a ``training.assignment.Assignment``, does the work in a process of its own and
returns what is worth telling, as JSON. It may be begun again after it died at any point: what ``given.versions`` names
is registered already and need not be made again. ``examples()`` gives a few requests. A new file is a new kind.
"""
