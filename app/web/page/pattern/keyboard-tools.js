// Edits the pattern by keyboard: arrow keys, Enter and Delete act according to the tool.

import { announce } from "../dom.js";
import { addMask, setCenter, setLattice, VECTOR_NAMES } from "./edited-pattern.js";
import { describeSelection, findSelectedSpot, removeSelection } from "./selection.js";
import { ZOOM_STEP } from "./toolbar.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
// Steps of the center and of a lattice vector, in pixels of the frame; those with shift are the larger ones.
const STEP_PX = 0.5, LARGE_STEP_PX = 5;
const INV_ANGSTROM_PER_PX = 0.002;
// Steps of the cursor, in pixels of the screen.
const CURSOR_STEP = 2, LARGE_CURSOR_STEP = 20;

export class KeyboardTools {
  #store;
  #session;
  #view;

  constructor(store, session, patternView) {
    this.#store = store;
    this.#session = session;
    this.#view = patternView;
    const { svg } = patternView;
    svg.addEventListener("keydown", (event) => this.#onKey(event));
    svg.addEventListener("focus", () => this.#announceFocus());
    store.subscribe(["tool", "inspection"], (state) => this.#resetCursor(state));
    store.subscribe(["selection"], () => this.#announceFocus());
  }

  get #hasFocus() {
    return document.activeElement === this.#view.svg;
  }

  #resetCursor({ tool, inspection }) {
    this.#view.corner = null;
    this.#view.cursor = inspection && this.#hasFocus && usesCursor(tool) ? this.#view.viewport.middle : null;
    this.#view.requestDraw();
  }

  #announceFocus() {
    const { tool, selection, inspection } = this.#store.state;
    if (!this.#hasFocus || !inspection) return;
    if (usesCursor(tool) && !this.#view.cursor) {
      this.#view.cursor = this.#view.viewport.middle;
      this.#view.requestDraw();
    }
    if (selection) announce(describeSelection(this.#store.state));
  }

  #onKey(event) {
    if (!this.#store.state.inspection || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) this.#move(arrow, event.shiftKey);
    if (arrow || this.#press(event.key)) event.preventDefault();
  }

  // Return whether the key has a meaning.
  #press(key) {
    const { viewport, vectors } = this.#view, { tool } = this.#store.state;
    if (key === "+" || key === "=") viewport.zoomBy(ZOOM_STEP);
    else if (key === "-") viewport.zoomBy(1 / ZOOM_STEP);
    else if (key === "0") viewport.reset();
    else if (key === "Escape") this.#clearSelection();
    else if (key === "Delete" || key === "Backspace") removeSelection(this.#store.state, this.#session);
    else if ((key === "a" || key === "b") && tool === "lattice" && vectors) {
      this.#store.set({ selection: { kind: "vector", id: VECTOR_NAMES.indexOf(key) } });
    } else if (key === "Enter" || key === " ") this.#useTool(tool);
    else return false;
    return true;
  }

  #clearSelection() {
    this.#view.corner = null;
    this.#view.requestDraw();
    this.#store.set({ selection: null });
  }

  #useTool(tool) {
    const view = this.#view;
    if (!usesCursor(tool) || !view.cursor) return;
    if (tool === "add") this.#session.addSpot(view.cursor);
    else if (view.corner) {
      this.#session.edit(addMask(this.#store.state.pattern, view.corner, view.cursor));
      view.corner = null;
    } else {
      view.corner = view.cursor;
      announce("First corner set. Move to the opposite corner and press Enter.");
    }
    view.requestDraw();
  }

  #move([dx, dy], isLarge) {
    const { tool, pattern, selection } = this.#store.state;
    const step = (isLarge ? LARGE_STEP_PX : STEP_PX) * (pattern.inPixels ? 1 : INV_ANGSTROM_PER_PX);
    const shift = ([x, y]) => [x + dx * step, y + dy * step];
    if (tool === "center" || selection?.kind === "center") {
      this.#session.edit(setCenter(pattern, shift(pattern.center)));
      this.#store.set({ selection: { kind: "center" } });
    } else if (selection?.kind === "vector") {
      const vectors = this.#view.vectors.map((each, index) => (index === selection.id ? shift(each) : each));
      this.#session.edit(setLattice(pattern, vectors));
      this.#store.set({ selection });
    } else if (usesCursor(tool)) this.#moveCursor(dx, dy, isLarge);
    else this.#selectNextSpot(dx, dy);
  }

  #moveCursor(dx, dy, isLarge) {
    const view = this.#view, step = view.viewport.fromPixels(isLarge ? LARGE_CURSOR_STEP : CURSOR_STEP);
    const [x, y] = view.cursor ?? view.viewport.middle;
    view.cursor = [x + dx * step, y + dy * step];
    view.requestDraw();
  }

  // Select the nearest spot in a direction.
  #selectNextSpot(dx, dy) {
    const { pattern } = this.#store.state;
    const [x, y] = findSelectedSpot(this.#store.state)?.position ?? pattern.center;
    let nearest = null, minCost = Infinity;
    for (const spot of pattern.spots) {
      const [u, v] = [spot.position[0] - x, spot.position[1] - y];
      const along = u * dx + v * dy, across = Math.abs(u * dy - v * dx);
      const cost = along + 2 * across;
      if (along > 1e-9 && across <= 2 * along && cost < minCost) [nearest, minCost] = [spot, cost];
    }
    if (nearest) this.#store.set({ selection: { kind: "spot", id: nearest.id } });
  }
}

const usesCursor = (tool) => tool === "add" || tool === "mask";
