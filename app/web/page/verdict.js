// The wording of verdicts, on the page, in the report and for screen readers.

import { formatPercent } from "./format.js";

const VERDICTS = {
  match: ["One crystal matches", "Its probability is at least 90\u00a0%."],
  ambiguous: ["Several crystals are possible", "This pattern alone does not identify one of them."],
  no_match: ["No match", "No crystal in the library explains this pattern well."],
};
const MATCH_OF_SEVERAL_LATTICES = ["One crystal matches each lattice", "Each has a probability of at least 90\u00a0%."];
const NO_INTENSITIES = ["Ranked by geometry only", "Probabilities need spot intensities."];
const NO_CANDIDATES = ["No candidates", "No crystal in the library meets the conditions on elements and composition."];

// Return the title of the verdict and a sentence of explanation.
export function describeVerdict({ verdict, candidates }) {
  if (!candidates.length) return NO_CANDIDATES;
  if (verdict === "match" && candidates[0].lattice_number) return MATCH_OF_SEVERAL_LATTICES;
  return VERDICTS[verdict] ?? NO_INTENSITIES;
}

// Describe the confidence set. `listed` is the probability of all listed candidates together.
export function describeConfidenceSet({ size, coverage }, listed) {
  const set = `${Math.round(100 * coverage)}\u00a0% confidence set: ${size} ${size === 1 ? "candidate" : "candidates"} `
    + "(if the crystal is in the library).";
  return listed > 0 && listed < 0.995
    ? `${set} Probability that it is none of the listed candidates: ${formatPercent(1 - listed)}.` : set;
}

export function describeGroup(latticeNumber) {
  return `Not distinguishable from this pattern${latticeNumber ? `, lattice ${latticeNumber}` : ""}`;
}

// One sentence for screen readers.
export function summarizeAnswer(answer) {
  const [title] = describeVerdict(answer);
  const [first] = answer.candidates;
  if (!first) return title;
  const probability = first.probability === null ? "" : `, ${formatPercent(first.probability)}`;
  return `${title}. First of ${answer.candidates.length} candidates: ${first.formula}${probability}.`;
}
