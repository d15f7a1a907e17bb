"""Settings of the property tests: no time limit, and on CI the same examples at every run."""

import os

from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")
