"""An index that changes while it is served: user structures are added and removed, and versions are replaced."""
