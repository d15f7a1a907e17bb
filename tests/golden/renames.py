"""The table of everything that was renamed since the recording was made.

The requests of this package and the recording are written in the words that the code had when the answers were
recorded. The service may use other words today. This table says which ones, so that a rename needs one row here and no
new recording: requests are translated into today's words before they are sent, and answers are translated back before
they are compared.

How to write a row:

- The left side is the old name, as it stands in `recording.jsonl`. The right side is today's name.
- Keys are given by their path. `[]` stands for any element of a list. A path matches wherever its segments follow one
  another, so write enough of it to distinguish the key from others of the same name: `"also"` matches every key
  `also`, `"candidates[].also"` only those of candidates. A path that begins with `/` matches at the root of the answer
  alone.
- Both sides are complete. Where a parent and its child are both renamed, write a row for the parent,
  `"match": "fit"`, and one for the child with the parent's new name on the right, `"match.extra": "fit.unexplained"`.
- The two sides may differ in depth. `"query.twist": "twist"` moves a key out of its object, and
  `"tilt_deg": "tilt.angle_deg"` moves one into a new object.
- The values of `VALUES` and `OPTION_VALUES` are strings. Wording is not recorded, so it needs no row.

When the refactoring is over, translate the requests by hand, empty the table, and record again.
"""

# Keys of the answers, by path.
KEYS: dict[str, str] = {}

# Keys that the answers have today and the recording does not have, by path in today's words. They are not compared.
ADDED: tuple[str, ...] = ()

# Keys of the recording that the answers no longer have, by path in the recording's words. They are not compared.
REMOVED: tuple[str, ...] = ()

# Values of enumerated strings in the answers: path of the key in the recording's words -> old value -> new value.
VALUES: dict[str, dict[str, str]] = {}

# Options of requests, form fields and keys of JSON bodies alike; also as `query.options` echoes them.
OPTIONS: dict[str, str] = {}

# Values of options: old name of the option -> old value -> new value.
OPTION_VALUES: dict[str, dict[str, str]] = {}

# Types of problems: the last part of the `type` of a problem.
PROBLEMS: dict[str, str] = {}

# Paths of requests: an old beginning -> a new beginning. The longest one that matches is used.
PATHS: dict[str, str] = {}

# Environment variables that configure the service.
SETTINGS: dict[str, str] = {}
