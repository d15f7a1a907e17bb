"""The name of every file in an index folder.

DIR/CURRENT                        the name of the current version, then the names of those before it, latest first
DIR/20260131T120000Z-1f2e3d4c/     a version: manifest, vectors, catalog, elements, report
DIR/.building-.../                 a version being written
DIR/.lock                          lock of the build that writes
DIR/.CURRENT.lock                  lock for the moment in which CURRENT changes
DIR/user_structures.sqlite         structures that users added to the live index
"""

CURRENT_NAME = "CURRENT"
LOCK_NAME = ".lock"
CURRENT_LOCK_NAME = ".CURRENT.lock"
BUILDING_PREFIX = ".building-"
USER_STRUCTURES_NAME = "user_structures.sqlite"

# In the folder of a version.
MANIFEST_NAME = "manifest.json"
VECTORS_NAME = "vectors.faiss"
CATALOG_NAME = "catalog.sqlite"
ELEMENTS_NAME = "elements.npy"
REPORT_NAME = "report.json"
REJECTED_NAME = "rejected.jsonl"
