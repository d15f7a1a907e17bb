// Builds DOM nodes. Children are always text or nodes, never markup.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

// Create an HTML element.
export function h(name, attributes = {}, ...children) {
  return fillNode(document.createElement(name), attributes, children);
}

// Create an SVG element.
export function s(name, attributes = {}, ...children) {
  return fillNode(document.createElementNS(SVG_NAMESPACE, name), attributes, children);
}

function fillNode(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (isMissing(value)) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true && !key.startsWith("aria-") ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => !isMissing(child)));
  return node;
}

const isMissing = (value) => value === null || value === undefined || value === false;

export const byId = (id) => document.getElementById(id);

// Render "MoS2" with its digits as subscripts.
export function renderFormula(text) {
  return text.split(/(\d+)/).filter(Boolean).map((part) => (/\d/.test(part) ? h("sub", {}, part) : part));
}

export function downloadBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function readDataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

let announcements = 0;

// Announce a message to screen readers. The alternating space makes a repeated message audible again.
export function announce(text) {
  byId("announcement").textContent = announcements++ % 2 ? `${text}\u00a0` : text;
}
