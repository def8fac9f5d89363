"""The store: append-only Parquet segments that become visible whole."""
