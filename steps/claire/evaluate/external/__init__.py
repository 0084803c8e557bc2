"""A finished model on new labelled patients: what it reaches there, and how much less than inside its own cohort."""
