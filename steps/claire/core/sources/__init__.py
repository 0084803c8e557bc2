"""Headers of input files."""
