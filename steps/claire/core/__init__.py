"""What several steps share. Nothing here imports a step."""
