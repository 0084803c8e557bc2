"""Describe, set up and check a site: where steps run, in pods, on a login node and in SLURM jobs."""
