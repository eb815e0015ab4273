"""Sources of pretrained backbones, one a file; the file's name is the source's name in configuration."""
