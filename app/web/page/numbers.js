// How numbers are written.

export const percent = (share) => {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (share < 1 && value > 99.9) return "> 99.9 %";
  return `${value.toFixed(value < 10 || value > 99 ? 1 : 0)} %`;
};

export const fixed = (value, digits, unit = "") =>
  value === null || value === undefined ? "–" : `${value.toFixed(digits)}${unit}`;

// 3.161(2) for 3.161 with a standard error of 0.002: one digit of the error, two where it begins with 1. Values come
// with so many digits; an error below them is none.
export function withError(value, sigma, unit = "", most = 4) {
  if (value === null || value === undefined) return "–";
  const order = Math.floor(Math.log10(sigma || 1));
  const digits = Math.max(0, sigma / 10 ** order < 1.95 ? 1 - order : -order);
  if (!sigma || digits > most) return `${value.toFixed(most)}${unit}`;
  return `${value.toFixed(digits)}(${Math.round(sigma * 10 ** digits)})${unit}`;
}

export const significant = (value, digits = 4) =>
  value === null || value === undefined ? "–" : String(Number(value.toPrecision(digits)));

export const moment = (time) =>
  new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
