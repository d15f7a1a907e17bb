// Formats numbers and times for display.

const MISSING = "–";
// Separated by a no-break space.
const PERCENT = "\u00a0%";

export function formatPercent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return `< 0.1${PERCENT}`;
  if (share < 1 && value > 99.9) return `> 99.9${PERCENT}`;
  return `${value.toFixed(value < 10 || value > 99 ? 1 : 0)}${PERCENT}`;
}

export const formatFixed = (value, digits, unit = "") =>
  value === null || value === undefined ? MISSING : `${value.toFixed(digits)}${unit}`;

// Format a value with its standard uncertainty in the last digits: 3.161(2) for 3.161 ± 0.002. The uncertainty has one
// digit, or two if the first is 1. It is omitted if it is smaller than the last of `maxDigits` decimals.
export function formatUncertain(value, sigma, unit = "", maxDigits = 4) {
  if (value === null || value === undefined) return MISSING;
  const order = Math.floor(Math.log10(sigma || 1));
  const digits = Math.max(0, sigma / 10 ** order < 1.95 ? 1 - order : -order);
  if (!sigma || digits > maxDigits) return `${value.toFixed(maxDigits)}${unit}`;
  return `${value.toFixed(digits)}(${Math.round(sigma * 10 ** digits)})${unit}`;
}

export const formatSignificant = (value, digits = 4) =>
  value === null || value === undefined ? MISSING : String(Number(value.toPrecision(digits)));

export const formatTime = (time) =>
  new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
