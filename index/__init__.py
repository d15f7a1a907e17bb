"""The offline job that embeds a database of crystals, and the search in the resulting index."""
