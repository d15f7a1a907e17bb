"""Where the repository lies, and the shared data beside it, which other checkouts may lack."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
