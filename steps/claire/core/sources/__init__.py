"""Headers and voxels of the files that people give us."""
