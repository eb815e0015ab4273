"""A process of its own: label events become head revisions."""
