"""The command line: parameters, errors, files, records, tables, the store."""
