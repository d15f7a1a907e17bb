// What is sent: the file as it came while nothing of the pattern was changed, else the spots as the user has them.

import { Problem } from "./api.js";
import { kept } from "./pattern.js";

const CANDIDATES = 10;

// How a file is to be read; changes of these mean to look at it anew.
export function inspectForm(file, reading, more = {}) {
  return formOf(file, { ...reading, ...more });
}

export function predictBody({ file, edits, settings, reading, inspection, ...known }) {
  const common = { ...knowledge(known), top_k: CANDIDATES, reflections: true };
  if (settings.effort) common.effort = settings.effort;
  if (edits.masks.length) common.mask = masks(edits);
  if (edits.lattice) common.lattice = edits.lattice;
  if (file && !edits.touched) {
    return formOf(file, { ...reading, pixel_size: settings.pixel_size, voltage_kv: settings.voltage_kv, ...common });
  }
  return { ...points(edits), ...scale(edits, settings, inspection.query), ...common };
}

function points({ camera, center, ...edits }) {
  const origin = camera ? [0, 0] : center;
  return {
    points: kept(edits).map(({ position: [x, y], intensity }) =>
      [x - origin[0], y - origin[1], ...(intensity === null ? [] : [intensity])]),
    units: camera ? "pixel" : "1/angstrom",
    ...(camera ? { center } : {}),
  };
}

function masks({ camera, center: [x, y], masks: boxes }) {
  return camera ? boxes : boxes.map(([left, top, right, bottom]) => [left - x, top - y, right - x, bottom - y]);
}

function scale({ camera }, settings, query) {
  const own = Number(settings.pixel_size);
  const stated = { voltage_kv: Number(settings.voltage_kv) || query.voltage_kv };
  if (!own && query.scale_sigma) stated.scale_sigma = query.scale_sigma;
  const size = own || query.pixel_size;
  return camera && size ? { ...stated, pixel_size: size } : stated;
}

function knowledge({ marks, only, composition }) {
  const those = (state) => [...marks].filter(([, each]) => each === state).map(([symbol]) => symbol);
  const present = those("present"), absent = those("absent");
  return {
    ...(present.length ? { elements_all: present } : {}),
    ...(present.length && only ? { elements_only: present } : {}),
    ...(absent.length ? { elements_none: absent } : {}),
    ...(composition.trim() ? { composition: amountsOf(composition) } : {}),
  };
}

// From "Mo 0.33, S 0.67" or "Mo:1,S:2".
function amountsOf(text) {
  const parts = text.split(/[,;]/).map((part) => part.trim()).filter(Boolean);
  return Object.fromEntries(parts.map((part) => {
    const [, symbol, amount] = part.match(/^([A-Z][a-z]?)\s*[:=]?\s*(\d*\.?\d+)$/) ?? [];
    if (!symbol) {
      throw new Problem({
        title: "The composition cannot be used", detail: `“${part}” is no element with its amount; write Mo 0.33, S 0.67.`,
      });
    }
    return [symbol, Number(amount)];
  }));
}

function formOf(file, fields) {
  const form = new FormData();
  form.append("file", file, file.name);
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") form.append(name, written(name, value));
  }
  return form;
}

function written(name, value) {
  if (name === "composition") return Object.entries(value).map(([symbol, each]) => `${symbol}:${each}`).join(",");
  if (["lattice", "measure", "mask"].includes(name)) return value.map((each) => each.join(",")).join(";");
  return String(value);
}
