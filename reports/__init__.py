"""The formats: one format is one file with a `render`."""
