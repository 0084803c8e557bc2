"""The steps of the CLAIRE pipeline: chest CT in, variants trained and compared, deciding lesions shown."""

__version__ = "0.1.0"
