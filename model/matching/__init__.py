"""Whether a crystal explains a pattern: its lattice laid on the spots, its intensities fitted to theirs."""
