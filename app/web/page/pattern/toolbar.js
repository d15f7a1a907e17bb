// The controls around the pattern: tools, undo, zoom, and which markers are visible.

import { announce, byId } from "../dom.js";

export const ZOOM_STEP = 1.4;

export class Toolbar {
  constructor(store, session, patternView) {
    const { svg, viewport } = patternView;
    byId("tools").addEventListener("change", ({ target }) => store.set({ tool: target.value, selection: null }));
    byId("undo").addEventListener("click", () => session.undo());
    byId("redo").addEventListener("click", () => session.redo());
    byId("zoom-in").addEventListener("click", () => viewport.zoomBy(ZOOM_STEP));
    byId("zoom-out").addEventListener("click", () => viewport.zoomBy(1 / ZOOM_STEP));
    byId("zoom-reset").addEventListener("click", () => viewport.reset());
    for (const name of ["spots", "reflections", "vectors"]) {
      byId(`show-${name}`).addEventListener("change", ({ target }) =>
        svg.classList.toggle(`hide-${name}`, !target.checked));
    }
    byId("brightness").addEventListener("input", ({ target }) => svg.style.setProperty("--brightness", target.value));
    document.addEventListener("keydown", (event) => this.#onShortcut(event, session));
    store.subscribe(["tool"], ({ tool }) => {
      svg.dataset.tool = tool;
      const radio = byId("tools").querySelector(`[value="${tool}"]`);
      if (radio) radio.checked = true;
    });
    store.subscribe(["inspection", "pattern"], () => {
      byId("undo").disabled = !session.canUndo;
      byId("redo").disabled = !session.canRedo;
    });
  }

  // Undo with Ctrl+Z, redo with Ctrl+Y or Ctrl+Shift+Z.
  #onShortcut(event, session) {
    if (!(event.ctrlKey || event.metaKey) || event.target.closest("input, textarea, select")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) {
      session.redo();
      announce("Redone.");
    } else {
      session.undo();
      announce("Undone.");
    }
  }
}
