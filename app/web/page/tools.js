// What pointer and keyboard do to the pattern, by the tool in hand.

import { byId, say } from "./dom.js";
import { withCenter, withLattice, withMask, withoutMask, withRemoved } from "./pattern.js";
import { described } from "./selection.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
// Pointers shake: less is a click.
const CLICK_PX = 4;
const ZOOM_STEP = 1.4;

export class Tools {
  #frame;
  #journey;
  #store;
  #pointers = new Map();
  #drag = null;

  constructor(frame, journey) {
    this.#frame = frame;
    this.#journey = journey;
    this.#store = frame.store;
    const { svg } = frame;
    svg.addEventListener("pointerdown", (event) => this.#down(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    svg.addEventListener("pointerup", (event) => this.#up(event));
    svg.addEventListener("pointercancel", (event) => this.#cancel(event));
    svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    svg.addEventListener("keydown", (event) => this.#key(event));
    svg.addEventListener("focus", () => this.#describe());
    byId("tools").addEventListener("change", ({ target }) => this.#store.set({ tool: target.value, selected: null }));
    for (const [id, factor] of [["zoom-in", ZOOM_STEP], ["zoom-out", 1 / ZOOM_STEP]]) {
      byId(id).addEventListener("click", () => frame.view.zoomBy(factor));
    }
    byId("zoom-all").addEventListener("click", () => frame.view.reset());
    this.#store.show(["tool", "inspection"], ({ tool, inspection }) => this.#take(tool, inspection));
    this.#store.show(["selected"], () => this.#describe());
  }

  #take(tool, inspection) {
    const { svg, view } = this.#frame;
    svg.dataset.tool = tool;
    this.#frame.corner = null;
    this.#frame.cursor = inspection && document.activeElement === svg && needsCursor(tool) ? view.middle : null;
    const radio = byId("tools").querySelector(`[value="${tool}"]`);
    if (radio) radio.checked = true;
    this.#frame.drawSoon();
  }

  // Pointer

  #down(event) {
    const { svg, view } = this.#frame;
    if (!this.#store.state.inspection || event.button) return;
    svg.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, event);
    this.#frame.cursor = null;
    if (this.#pointers.size > 1) {
      this.#cancelDrag();
      return;
    }
    const from = view.under(event);
    this.#drag = { ...this.#grabbed(event, from), from, begun: event, moved: false };
  }

  // What a drag that begins here would move.
  #grabbed(event, from) {
    const { tool } = this.#store.state;
    const { centre, vector, spot, mask } = under(event.target);
    if (tool === "mask" && mask === null) return { kind: "mask" };
    if (tool === "add") return { kind: "add" };
    if (vector !== null) return { kind: "vector", id: vector };
    if (centre || tool === "centre") return { kind: "centre", off: centre ? this.#offset(from) : [0, 0] };
    if (spot !== null) return { kind: "spot", id: spot };
    return mask === null ? { kind: "view" } : { kind: "maskHeld", id: mask };
  }

  #offset([x, y]) {
    const { center } = this.#frame.edits;
    return [center[0] - x, center[1] - y];
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    this.#pointers.set(event.pointerId, event);
    if (this.#pointers.size > 1) {
      this.#pinch(before, event);
      return;
    }
    const drag = this.#drag;
    if (!drag) return;
    drag.moved ||= Math.hypot(event.clientX - drag.begun.clientX, event.clientY - drag.begun.clientY) > CLICK_PX;
    if (drag.moved) this.#dragged(drag, before, event);
  }

  #dragged(drag, before, event) {
    const frame = this.#frame, at = frame.view.under(event), { edits } = this.#store.state;
    if (drag.kind === "centre") {
      frame.draft = withCenter(edits, [at[0] + drag.off[0], at[1] + drag.off[1]]);
    } else if (drag.kind === "vector") {
      const { center } = edits;
      frame.draft = withLattice(edits, frame.vectors.map((each, index) =>
        (index === drag.id ? [at[0] - center[0], at[1] - center[1]] : each)));
    } else if (drag.kind === "mask") {
      [frame.cursor, frame.corner] = [at, drag.from];
    } else {
      const [x, y] = frame.view.under(before);
      frame.view.panBy(at[0] - x, at[1] - y);
    }
    frame.drawSoon();
  }

  #pinch(before, event) {
    const [other] = [...this.#pointers.values()].filter((each) => each.pointerId !== event.pointerId);
    const distance = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY) || 1;
    this.#frame.view.zoomBy(distance(event) / distance(before), this.#frame.view.under({
      clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2,
    }));
  }

  #up(event) {
    const drag = this.#drag;
    this.#pointers.delete(event.pointerId);
    this.#drag = null;
    if (!drag) return;
    if (drag.moved) this.#dropped(drag, this.#frame.view.under(event));
    else this.#clicked(drag);
  }

  #dropped(drag, at) {
    const frame = this.#frame, { draft } = frame;
    frame.draft = frame.cursor = frame.corner = null;
    if (drag.kind === "mask") this.#journey.edit(withMask(this.#store.state.edits, drag.from, at));
    else if (draft) this.#journey.edit(snapped(draft, drag, this.#frame.view));
    frame.drawSoon();
  }

  #clicked({ kind, id, from }) {
    if (kind === "add") this.#journey.add(from);
    else if (kind === "centre" && this.#store.state.tool === "centre") {
      this.#journey.edit(withCenter(this.#store.state.edits, from));
    } else if (kind === "maskHeld") this.#store.set({ selected: { kind: "mask", id } });
    else this.#store.set({ selected: ["spot", "centre", "vector"].includes(kind) ? { kind, id } : null });
  }

  #cancel(event) {
    this.#pointers.delete(event.pointerId);
    this.#cancelDrag();
  }

  #cancelDrag() {
    this.#drag = null;
    this.#frame.draft = this.#frame.cursor = this.#frame.corner = null;
    this.#frame.drawSoon();
  }

  // The page scrolls unless the pattern is being worked on.
  #wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.#frame.svg) return;
    event.preventDefault();
    this.#frame.view.zoomBy(Math.exp(-event.deltaY / 400), this.#frame.view.under(event));
  }

  // Keyboard

  #key(event) {
    const { inspection } = this.#store.state;
    if (!inspection || event.ctrlKey || event.metaKey || event.altKey) return;
    const done = ARROWS[event.key]
      ? this.#arrow(ARROWS[event.key], event.shiftKey)
      : this.#pressed(event.key);
    if (done) event.preventDefault();
  }

  #pressed(key) {
    const { view } = this.#frame, { tool } = this.#store.state;
    if (key === "+" || key === "=") view.zoomBy(ZOOM_STEP);
    else if (key === "-") view.zoomBy(1 / ZOOM_STEP);
    else if (key === "0") view.reset();
    else if (key === "Escape") this.#leave();
    else if (key === "Delete" || key === "Backspace") this.removeSelected();
    else if ((key === "a" || key === "b") && tool === "lattice" && this.#frame.vectors) {
      this.#store.set({ selected: { kind: "vector", id: "ab".indexOf(key) } });
    } else if (key === "Enter" || key === " ") this.#enter(tool);
    else return false;
    return true;
  }

  #leave() {
    this.#frame.corner = null;
    this.#frame.drawSoon();
    this.#store.set({ selected: null });
  }

  #enter(tool) {
    const frame = this.#frame;
    if (!needsCursor(tool) || !frame.cursor) return;
    if (tool === "add") this.#journey.add(frame.cursor);
    else if (frame.corner) {
      this.#journey.edit(withMask(this.#store.state.edits, frame.corner, frame.cursor));
      frame.corner = null;
    } else {
      frame.corner = frame.cursor;
      say("First corner set; move to the other one and press Enter.");
    }
    frame.drawSoon();
  }

  #arrow([dx, dy], fast) {
    const { tool, edits, selected } = this.#store.state, frame = this.#frame;
    const step = (fast ? 5 : 0.5) * (edits.camera ? 1 : 0.002);
    if (tool === "centre" || selected?.kind === "centre") {
      const [x, y] = edits.center;
      this.#journey.edit(withCenter(edits, [x + dx * step, y + dy * step]));
      this.#store.set({ selected: { kind: "centre" } });
    } else if (selected?.kind === "vector") {
      this.#journey.edit(withLattice(edits, frame.vectors.map(([x, y], index) =>
        (index === selected.id ? [x + dx * step, y + dy * step] : [x, y]))));
      this.#store.set({ selected });
    } else if (needsCursor(tool)) {
      const far = (fast ? 20 : 2) * frame.view.unit / frame.view.scale, [x, y] = frame.cursor ?? frame.view.middle;
      frame.cursor = [x + dx * far, y + dy * far];
      frame.drawSoon();
    } else {
      this.#next(dx, dy);
    }
    return true;
  }

  // The nearest spot in a direction.
  #next(dx, dy) {
    const { edits, selected } = this.#store.state;
    const [x, y] = edits.spots.find((spot) => selected?.kind === "spot" && spot.id === selected.id)?.position ?? edits.center;
    let best = null, least = Infinity;
    for (const spot of edits.spots) {
      const [u, v] = [spot.position[0] - x, spot.position[1] - y];
      const along = u * dx + v * dy, across = Math.abs(u * dy - v * dx);
      const cost = along + 2 * across;
      if (along > 1e-9 && across <= 2 * along && cost < least) [best, least] = [spot, cost];
    }
    if (best) this.#store.set({ selected: { kind: "spot", id: best.id } });
  }

  removeSelected() {
    const { selected, edits } = this.#store.state;
    if (selected?.kind === "mask") this.#journey.edit(withoutMask(edits, selected.id));
    else if (selected?.kind === "spot") {
      const spot = edits.spots.find((each) => each.id === selected.id);
      this.#journey.edit(withRemoved(edits, selected.id, !spot.removed));
      say(spot.removed ? "Spot brought back." : "Spot removed.");
    }
  }

  #describe() {
    if (document.activeElement !== this.#frame.svg || !this.#store.state.inspection) return;
    const { tool, selected } = this.#store.state;
    if (needsCursor(tool) && !this.#frame.cursor) {
      this.#frame.cursor = this.#frame.view.middle;
      this.#frame.drawSoon();
    }
    if (selected) say(described(this.#store.state));
  }
}

const needsCursor = (tool) => tool === "add" || tool === "mask";

function under(target) {
  const found = (name) => target.closest(`[data-${name}]`)?.dataset[name];
  const number = (name) => (found(name) === undefined ? null : Number(found(name)));
  return { centre: found("centre") !== undefined, vector: number("vector"), spot: number("spot"), mask: number("mask") };
}

// A vector that is let go beside a spot means that spot.
function snapped(draft, drag, view) {
  if (drag.kind !== "vector") return draft;
  const [x, y] = draft.lattice[drag.id], reach = 12 * view.unit / view.scale;
  let best = null, least = reach;
  for (const { position: [u, v] } of draft.spots) {
    const off = [u - draft.center[0], v - draft.center[1]];
    const distance = Math.hypot(off[0] - x, off[1] - y);
    if (distance < least) [best, least] = [off, distance];
  }
  return best ? withLattice(draft, draft.lattice.map((each, index) => (index === drag.id ? best : each))) : draft;
}
