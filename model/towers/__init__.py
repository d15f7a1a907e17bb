"""The twin towers: crystallographic geometric encoder (CGE) and site texture encoder (STE)."""
