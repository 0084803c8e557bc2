"""Volumes, affines and connected components."""
