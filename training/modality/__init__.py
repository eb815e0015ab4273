"""What preparing data knows of each modality, one a file, named like those of core.modality (see training.kinds)."""
