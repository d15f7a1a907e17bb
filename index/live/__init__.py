"""An index that changes while it is served: structures come and go, versions take each other's place."""
