// Builds the bodies of requests. The original file is sent while its spots and center are unchanged; afterwards the
// edited spots are sent as points.

import { Problem } from "./api.js";
import { listUsedSpots } from "./pattern/edited-pattern.js";
import { listMarked } from "./periodic-table.js";

const TOP_K = 10;

// `readOptions` say how to read the file: units, frame number.
export function buildInspectForm(file, readOptions, otherOptions = {}) {
  return buildForm(file, { ...readOptions, ...otherOptions });
}

export function buildPredictBody({ file, pattern, settings, readOptions, inspection, ...state }) {
  const options = { ...buildChemistryOptions(state), top_k: TOP_K, reflections: true };
  if (settings.effort) options.effort = settings.effort;
  if (pattern.masks.length) options.mask = convertMasks(pattern);
  if (pattern.lattice) options.lattice = pattern.lattice;
  if (file && !pattern.edited) {
    const { pixel_size, voltage_kv } = settings;
    return buildForm(file, { ...readOptions, pixel_size, voltage_kv, ...options });
  }
  return { ...convertPoints(pattern), ...buildScaleOptions(pattern, settings, inspection.query), ...options };
}

function convertPoints(pattern) {
  const { inPixels, center } = pattern;
  const [originX, originY] = inPixels ? [0, 0] : center;
  const points = listUsedSpots(pattern).map(({ position: [x, y], intensity }) =>
    [x - originX, y - originY, ...(intensity === null ? [] : [intensity])]);
  return inPixels ? { points, units: "pixel", center } : { points, units: "1/angstrom" };
}

function convertMasks({ inPixels, center: [x, y], masks }) {
  return inPixels ? masks : masks.map(([left, top, right, bottom]) => [left - x, top - y, right - x, bottom - y]);
}

function buildScaleOptions({ inPixels }, settings, query) {
  const enteredSize = Number(settings.pixel_size);
  const options = { voltage_kv: Number(settings.voltage_kv) || query.voltage_kv };
  if (!enteredSize && query.scale_sigma) options.scale_sigma = query.scale_sigma;
  const pixelSize = enteredSize || query.pixel_size;
  return inPixels && pixelSize ? { ...options, pixel_size: pixelSize } : options;
}

function buildChemistryOptions({ elementMarks, onlyMarked, composition }) {
  const present = listMarked(elementMarks, "present"), absent = listMarked(elementMarks, "absent");
  return {
    ...(present.length ? { elements_all: present } : {}),
    ...(present.length && onlyMarked ? { elements_only: present } : {}),
    ...(absent.length ? { elements_none: absent } : {}),
    ...(composition.trim() ? { composition: parseComposition(composition) } : {}),
  };
}

// Parse "Mo 0.33, S 0.67" or "Mo:1,S:2".
function parseComposition(text) {
  const parts = text.split(/[,;]/).map((part) => part.trim()).filter(Boolean);
  return Object.fromEntries(parts.map((part) => {
    const [, symbol, amount] = part.match(/^([A-Z][a-z]?)\s*[:=]?\s*(\d*\.?\d+)$/) ?? [];
    if (!symbol) {
      throw new Problem({
        title: "Invalid composition",
        detail: `“${part}” is not an element with an amount. Write, for example, Mo 0.33, S 0.67.`,
      });
    }
    return [symbol, Number(amount)];
  }));
}

function buildForm(file, fields) {
  const form = new FormData();
  form.append("file", file, file.name);
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") form.append(name, formatField(name, value));
  }
  return form;
}

function formatField(name, value) {
  if (name === "composition") return Object.entries(value).map(([symbol, each]) => `${symbol}:${each}`).join(",");
  if (["lattice", "measure", "mask"].includes(name)) return value.map((each) => each.join(",")).join(";");
  return String(value);
}
