"""Pictures of explained scans."""
