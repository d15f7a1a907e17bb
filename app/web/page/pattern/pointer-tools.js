// Edits the pattern by mouse, pen and touch: clicks and drags act according to the tool. Wheel and pinch zoom.

import { addMask, setCenter, setLattice } from "./edited-pattern.js";

// A shorter movement is a click.
const MIN_DRAG_PX = 4;
// A lattice vector snaps to a spot within this distance.
const SNAP_PX = 12;

export class PointerTools {
  #store;
  #session;
  #view;
  #viewport;
  #pointers = new Map();
  #drag = null;

  constructor(store, session, patternView) {
    this.#store = store;
    this.#session = session;
    this.#view = patternView;
    this.#viewport = patternView.viewport;
    const { svg } = patternView;
    svg.addEventListener("pointerdown", (event) => this.#onDown(event));
    svg.addEventListener("pointermove", (event) => this.#onMove(event));
    svg.addEventListener("pointerup", (event) => this.#onUp(event));
    svg.addEventListener("pointercancel", (event) => this.#onCancel(event));
    svg.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
  }

  #onDown(event) {
    if (!this.#store.state.inspection || event.button) return;
    this.#view.svg.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, event);
    this.#view.cursor = null;
    if (this.#pointers.size > 1) {
      this.#cancelDrag();
      return;
    }
    const start = this.#viewport.fromScreen(event);
    this.#drag = { ...this.#findDragTarget(event, start), start, startEvent: event, hasMoved: false };
  }

  // Return what a drag that starts here would move.
  #findDragTarget(event, [x, y]) {
    const { tool, pattern } = this.#store.state;
    const { onCenter, vector, spot, mask } = findMarker(event.target);
    if (tool === "mask" && mask === null) return { kind: "newMask" };
    if (tool === "add") return { kind: "newSpot" };
    if (vector !== null) return { kind: "vector", id: vector };
    if (onCenter) return { kind: "center", offset: [pattern.center[0] - x, pattern.center[1] - y] };
    if (tool === "center") return { kind: "center", offset: [0, 0] };
    if (spot !== null) return { kind: "spot", id: spot };
    return mask === null ? { kind: "viewport" } : { kind: "mask", id: mask };
  }

  #onMove(event) {
    const previous = this.#pointers.get(event.pointerId);
    if (!previous) return;
    this.#pointers.set(event.pointerId, event);
    if (this.#pointers.size > 1) {
      this.#pinch(previous, event);
      return;
    }
    const drag = this.#drag;
    if (!drag) return;
    drag.hasMoved ||= measureDistance(event, drag.startEvent) > MIN_DRAG_PX;
    if (drag.hasMoved) this.#continueDrag(drag, previous, event);
  }

  #continueDrag(drag, previous, event) {
    const view = this.#view, [x, y] = this.#viewport.fromScreen(event), { pattern } = this.#store.state;
    if (drag.kind === "center") {
      view.draft = setCenter(pattern, [x + drag.offset[0], y + drag.offset[1]]);
    } else if (drag.kind === "vector") {
      const vector = [x - pattern.center[0], y - pattern.center[1]];
      view.draft = setLattice(pattern, view.vectors.map((each, index) => (index === drag.id ? vector : each)));
    } else if (drag.kind === "newMask") {
      [view.cursor, view.corner] = [[x, y], drag.start];
    } else {
      const [u, v] = this.#viewport.fromScreen(previous);
      this.#viewport.panBy(x - u, y - v);
    }
    view.requestDraw();
  }

  #pinch(previous, event) {
    const [other] = [...this.#pointers.values()].filter((each) => each.pointerId !== event.pointerId);
    const factor = (measureDistance(event, other) || 1) / (measureDistance(previous, other) || 1);
    this.#viewport.zoomBy(factor, this.#viewport.fromScreen({
      clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2,
    }));
  }

  #onUp(event) {
    const drag = this.#drag;
    this.#pointers.delete(event.pointerId);
    this.#drag = null;
    if (!drag) return;
    if (drag.hasMoved) this.#endDrag(drag, this.#viewport.fromScreen(event));
    else this.#click(drag);
  }

  #endDrag(drag, end) {
    const { draft } = this.#view;
    this.#view.clearDraft();
    if (drag.kind === "newMask") this.#session.edit(addMask(this.#store.state.pattern, drag.start, end));
    else if (draft) this.#session.edit(drag.kind === "vector" ? this.#snapVector(draft, drag.id) : draft);
  }

  // Move a lattice vector to the nearest spot, if one is close.
  #snapVector(pattern, id) {
    const [x, y] = pattern.lattice[id];
    let nearest = null, minDistance = this.#viewport.fromPixels(SNAP_PX);
    for (const { position: [u, v] } of pattern.spots) {
      const vector = [u - pattern.center[0], v - pattern.center[1]];
      const distance = Math.hypot(vector[0] - x, vector[1] - y);
      if (distance < minDistance) [nearest, minDistance] = [vector, distance];
    }
    if (!nearest) return pattern;
    return setLattice(pattern, pattern.lattice.map((each, index) => (index === id ? nearest : each)));
  }

  #click({ kind, id, start }) {
    const { tool, pattern } = this.#store.state;
    if (kind === "newSpot") this.#session.addSpot(start);
    else if (kind === "center" && tool === "center") this.#session.edit(setCenter(pattern, start));
    else this.#store.set({ selection: ["spot", "center", "vector", "mask"].includes(kind) ? { kind, id } : null });
  }

  #onCancel(event) {
    this.#pointers.delete(event.pointerId);
    this.#cancelDrag();
  }

  #cancelDrag() {
    this.#drag = null;
    this.#view.clearDraft();
  }

  // The wheel scrolls the page unless the pattern has the focus.
  #onWheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.#view.svg) return;
    event.preventDefault();
    this.#viewport.zoomBy(Math.exp(-event.deltaY / 400), this.#viewport.fromScreen(event));
  }
}

const measureDistance = (one, other) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);

function findMarker(target) {
  const read = (name) => target.closest(`[data-${name}]`)?.dataset[name];
  const readNumber = (name) => (read(name) === undefined ? null : Number(read(name)));
  return {
    onCenter: read("center") !== undefined,
    vector: readNumber("vector"),
    spot: readNumber("spot"),
    mask: readNumber("mask"),
  };
}
