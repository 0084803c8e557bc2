"""Candidate lesions and what removing them does."""
