"""The twin towers: the crystallographic geometric encoder (CGE) and the site texture encoder (STE)."""
