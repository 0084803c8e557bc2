"""What may leave the data site, and what may be shown."""
