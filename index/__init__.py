"""The offline job that embeds a database of crystals, and the search in what it made."""
