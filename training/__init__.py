"""From a scene's data to a registered version; the only room, with exporters, that imports torch."""
