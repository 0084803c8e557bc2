"""Commands that are no step of the workflow: they make cohorts, compare results, check sites."""
