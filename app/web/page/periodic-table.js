// The periodic table in which the user marks elements as present or absent.

import { byId, h } from "./dom.js";

const NEXT_MARK = { unmarked: "present", present: "absent", absent: "unmarked" };
const MARK_KEYS = { "+": "present", "-": "absent", 0: "unmarked" };
// Letters typed within this time form one symbol.
const TYPING_PAUSE_MS = 900;

// Load the elements as a map from symbol to properties, in the order of atomic numbers.
export async function loadElements() {
  const elements = await (await fetch("/elements.json")).json();
  return new Map(elements.map((element) => [element.symbol, element]));
}

// List the symbols of the elements with this mark.
export const listMarked = (elementMarks, mark) =>
  [...elementMarks].filter(([, each]) => each === mark).map(([symbol]) => symbol);

export class PeriodicTable {
  #store;
  #session;
  #elements;
  #cells = new Map();
  #typed = "";
  #typedAt = 0;

  constructor(store, session, elements) {
    this.#store = store;
    this.#session = session;
    this.#elements = elements;
    const grid = byId("periodic-table");
    for (const element of elements.values()) this.#cells.set(element.symbol, this.#renderCell(element));
    grid.replaceChildren(...this.#cells.values());
    this.#cells.get("C").tabIndex = 0;
    grid.addEventListener("keydown", (event) => this.#onKey(event));
    byId("only-marked").addEventListener("change", ({ target }) => this.#change({ onlyMarked: target.checked }));
    byId("composition").addEventListener("change", ({ target }) => this.#change({ composition: target.value }));
    byId("clear-elements").addEventListener("click", () =>
      this.#change({ elementMarks: new Map(), onlyMarked: false, composition: "" }));
    store.subscribe(["elementMarks", "onlyMarked", "composition"], (state) => this.#show(state));
  }

  #renderCell({ symbol, name, row, column }) {
    const cell = h("button", {
      type: "button", class: "element", tabindex: -1, "data-symbol": symbol,
      onclick: () => this.#mark(symbol, NEXT_MARK[this.#getMark(symbol)]),
    }, symbol);
    cell.dataset.name = name;
    cell.style.gridArea = `${row} / ${column}`;
    return cell;
  }

  #getMark(symbol) {
    return this.#store.state.elementMarks.get(symbol) ?? "unmarked";
  }

  #mark(symbol, mark) {
    const elementMarks = new Map(this.#store.state.elementMarks);
    if (mark === "unmarked") elementMarks.delete(symbol);
    else elementMarks.set(symbol, mark);
    this.#makeFocusable(symbol);
    this.#change({ elementMarks });
  }

  #change(changes) {
    this.#store.set(changes);
    this.#session.scheduleAnswer();
  }

  #show({ elementMarks, onlyMarked, composition }) {
    for (const [symbol, cell] of this.#cells) {
      const mark = this.#getMark(symbol);
      cell.dataset.mark = mark;
      cell.setAttribute("aria-label", `${cell.dataset.name}, ${symbol}: ${mark}`);
    }
    const [present, absent] = ["present", "absent"].map((mark) => listMarked(elementMarks, mark).join(", "));
    const summary = [present && `${onlyMarked ? "Only" : "Present:"} ${present}`, absent && `Absent: ${absent}`];
    byId("element-summary").textContent = summary.filter(Boolean).join(" · ")
      || "No elements marked; all are allowed.";
    byId("only-marked").checked = onlyMarked;
    byId("only-marked").disabled = !present;
    byId("composition").value = composition;
    byId("clear-elements").hidden = !elementMarks.size && !composition;
  }

  // Arrow keys move through the table, letters jump to a symbol, and +, - and 0 set the mark.
  #onKey(event) {
    const cell = event.target.closest(".element");
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) this.#focusNeighbor(cell.dataset.symbol, event.key);
    else if (event.key in MARK_KEYS) this.#mark(cell.dataset.symbol, MARK_KEYS[event.key]);
    else if (/^[a-z]$/i.test(event.key)) this.#focusTyped(event.key);
    else return;
    event.preventDefault();
  }

  #focusNeighbor(symbol, key) {
    const from = this.#elements.get(symbol);
    const isHorizontal = key === "ArrowLeft" || key === "ArrowRight";
    const [along, across] = isHorizontal ? ["column", "row"] : ["row", "column"];
    const sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    const ahead = [...this.#elements.values()]
      .filter((each) => each[across] === from[across] && sign * (each[along] - from[along]) > 0)
      .sort((one, other) => sign * (one[along] - other[along]));
    if (ahead.length) this.#focus(ahead[0].symbol);
  }

  #focusTyped(letter) {
    const now = Date.now();
    this.#typed = now - this.#typedAt < TYPING_PAUSE_MS ? this.#typed + letter : letter;
    this.#typedAt = now;
    const typed = this.#typed.toLowerCase();
    const symbols = [...this.#cells.keys()];
    const symbol = symbols.find((each) => each.toLowerCase() === typed)
      ?? symbols.find((each) => each.toLowerCase().startsWith(typed));
    if (symbol) this.#focus(symbol);
  }

  #focus(symbol) {
    this.#makeFocusable(symbol);
    this.#cells.get(symbol).focus();
  }

  // Only one element takes part in the tab order.
  #makeFocusable(symbol) {
    for (const [each, cell] of this.#cells) cell.tabIndex = each === symbol ? 0 : -1;
  }
}
