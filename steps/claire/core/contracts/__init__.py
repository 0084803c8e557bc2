"""The files that cross between steps: one module a file, with its model, writer and reader."""
