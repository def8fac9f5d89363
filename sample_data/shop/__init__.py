"""The shop: seven services over HTTP and one PostgreSQL, each replica a process of its own."""
