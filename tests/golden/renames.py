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

from typing import Any

# Keys of the answers, by path.
KEYS: dict[str, str] = {
    "candidates[].also": "candidates[].same_as",
    "candidates[].group": "candidates[].equivalence_group",
    "candidates[].in_set": "candidates[].in_confidence_set",
    "candidates[].layer": "candidates[].lattice_number",
    "set": "confidence_set",
    "measurement": "next_measurement",
    "measurement.by": "next_measurement.method",
    "measurement.text": "next_measurement.advice",
    "log_ratio": "log_likelihood_ratio",
    "measurement.log_ratio": "next_measurement.log_likelihood_ratio",
    "match.spots": "match.reflections",
    "match.spots[].position": "match.reflections[].position_observed",
    "calculated_position": "position_calculated",
    "match.spots[].calculated_position": "match.reflections[].position_calculated",
    "deciding": "deciding_reflections",
    "of_first": "in_first",
    "of_first.position": "in_first.position_observed",
    "of_this": "in_this",
    "of_this.position": "in_this.position_observed",
    "ratio": "b_over_a",
    "quality.saturated": "quality.saturated_spots",
    "quality.paired": "quality.paired_fraction",
    "quality.center_found": "quality.center_method",
    "quality.center_certainty": "quality.center_probability",
    "progress.of": "progress.files",
    "measured": "measured_spots",
    "provenance.added": "provenance.user_structures",
    "provenance_changed": "provenance_changes",
    "moved": "candidate_changes",
    "rank_then": "rank_stored",
    "rank_now": "rank_current",
    "probability_then": "probability_stored",
    "probability_now": "probability_current",
    "verdict_then": "verdict_stored",
    "verdict_now": "verdict_current",
    "licence": "license",
}

# Keys of the answers of one route, by the beginning of its path, in addition to `KEYS`.
ROUTE_KEYS: dict[str, dict[str, str]] = {
    "/compare": {"hypotheses": "candidates"},
    "/admin/reload": {"/name": "/version", "/added": "/user_structures"},
    "/version": {"/added": "/user_structures"},
}

# Keys that the answers have today and the recording does not have, by path in today's words. They are not compared.
ADDED: tuple[str, ...] = ("candidates[].layers", "candidates[].stacking", "candidates[].facts")

# Keys of the recording that the answers no longer have, by path in the recording's words. They are not compared.
REMOVED: tuple[str, ...] = ()

# Values of enumerated strings in the answers: path of the key in the recording's words -> old value -> new value.
VALUES: dict[str, dict[str, str]] = {
    "source": {"added": "user"},
    "id": {"added/bfd5cdf981af": "user/bfd5cdf981af"},
}

# Options of requests, form fields and keys of JSON bodies alike; also as `query.options` echoes them.
OPTIONS: dict[str, str] = {"spots": "reflections", "licence": "license"}

# Values of options: old name of the option -> old value -> new value.
OPTION_VALUES: dict[str, dict[str, str]] = {
    "source": {"added": "user"},
    "id": {"added/bfd5cdf981af": "user/bfd5cdf981af"},
}

# Types of problems: the last part of the `type` of a problem.
PROBLEMS: dict[str, str] = {
    "key-needed": "unauthorized",
    "stalled": "request-timeout",
    "unknown-format": "unsupported-format",
    "wrong-host": "misdirected-request",
    "wrong-option": "invalid-option",
    "busy": "queue-full",
    "too-often": "rate-limited",
    "deadline": "deadline-exceeded",
    "refused": "bad-request",
}

# Paths of requests: an old beginning -> a new beginning. The longest one that matches is used.
PATHS: dict[str, str] = {}

# Environment variables that configure the service.
SETTINGS: dict[str, str] = {"DD2D_ADDED": "DD2D_USER_STRUCTURES"}


def restore_shape(answer: Any) -> Any:
    """Undo what no row of the table can express; the argument and the result are in today's words.

    The two lattices of a pattern were part of `query.twist`; now `query.lattices` lists those of every pattern, and
    `query.twists` has an entry for each pair.
    """
    if isinstance(answer, list):
        return [restore_shape(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    restored = {key: restore_shape(value) for key, value in answer.items()}
    if "twists" in restored:
        lattices, twists = restored.pop("lattices"), restored.pop("twists")
        restored["twist"] = None
        if twists:
            restored["twist"] = {**twists[0], "lattices": lattices}
            del restored["twist"]["lattice_numbers"]
    return restored
