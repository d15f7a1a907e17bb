// The periodic table on which elements are marked as present, possible or absent.

import { byId, h } from "./dom.js";

const NEXT = { possible: "present", present: "absent", absent: "possible" };
const KEYS = { "+": "present", "-": "absent", 0: "possible" };
const PAUSE_MS = 900;

let table = [];

export async function loadElements() {
  table = await (await fetch("/elements.json")).json();
  return new Map(table.map((element) => [element.symbol, element]));
}

export class Elements {
  #store;
  #journey;
  #cells = new Map();
  #typed = "";
  #typedAt = 0;

  constructor(store, journey) {
    this.#store = store;
    this.#journey = journey;
    const grid = byId("periodic-table");
    for (const element of table) this.#cells.set(element.symbol, this.#cell(element));
    grid.replaceChildren(...this.#cells.values());
    this.#cells.get("C").tabIndex = 0;
    grid.addEventListener("keydown", (event) => this.#key(event));
    byId("only").addEventListener("change", ({ target }) => this.#change({ only: target.checked }));
    byId("composition").addEventListener("change", ({ target }) => this.#change({ composition: target.value }));
    byId("clear-elements").addEventListener("click", () =>
      this.#change({ marks: new Map(), only: false, composition: "" }));
    store.show(["marks", "only", "composition"], (state) => this.#show(state));
  }

  #cell({ symbol, name, number, row, column }) {
    const cell = h("button", {
      type: "button", class: "element", tabindex: -1, "data-symbol": symbol,
      onclick: () => this.#mark(symbol, NEXT[this.#stateOf(symbol)]),
    }, h("span", { class: "z", "aria-hidden": true }, number), symbol);
    cell.dataset.name = name;
    cell.style.gridArea = `${row} / ${column}`;
    return cell;
  }

  #stateOf(symbol) {
    return this.#store.state.marks.get(symbol) ?? "possible";
  }

  #mark(symbol, state) {
    const marks = new Map(this.#store.state.marks);
    if (state === "possible") marks.delete(symbol);
    else marks.set(symbol, state);
    this.#focusable(symbol);
    this.#change({ marks });
  }

  #change(changes) {
    this.#store.set(changes);
    this.#journey.askSoon();
  }

  #show({ marks, only, composition }) {
    for (const [symbol, cell] of this.#cells) {
      const state = marks.get(symbol) ?? "possible";
      cell.dataset.state = state;
      cell.setAttribute("aria-label", `${cell.dataset.name}, ${symbol}: ${state}`);
    }
    const those = (state) => [...marks].filter(([, each]) => each === state).map(([symbol]) => symbol).join(", ");
    const told = [
      those("present") && `${only ? "Only" : "Present:"} ${those("present")}`,
      those("absent") && `Absent: ${those("absent")}`,
    ].filter(Boolean);
    byId("marked").textContent = told.join(" · ") || "Nothing said: every element is possible.";
    byId("only").checked = only;
    byId("only").disabled = !those("present");
    byId("composition").value = composition;
    byId("clear-elements").hidden = !marks.size && !composition;
  }

  // Arrows walk the table, letters jump to a symbol, + - and 0 mark.
  #key(event) {
    const cell = event.target.closest(".element");
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) this.#walk(cell.dataset.symbol, event.key);
    else if (event.key in KEYS) this.#mark(cell.dataset.symbol, KEYS[event.key]);
    else if (/^[a-z]$/i.test(event.key)) this.#jump(event.key);
    else return;
    event.preventDefault();
  }

  #walk(symbol, key) {
    const from = table.find((each) => each.symbol === symbol);
    const across = key === "ArrowLeft" || key === "ArrowRight";
    const [along, line] = across ? ["column", "row"] : ["row", "column"];
    const sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    const ahead = table
      .filter((each) => each[line] === from[line] && sign * (each[along] - from[along]) > 0)
      .sort((one, other) => sign * (one[along] - other[along]));
    if (ahead.length) this.#go(ahead[0].symbol);
  }

  #jump(letter) {
    const now = Date.now();
    this.#typed = now - this.#typedAt < PAUSE_MS ? this.#typed + letter : letter;
    this.#typedAt = now;
    const wanted = this.#typed.toLowerCase();
    const symbols = [...this.#cells.keys()];
    const found = symbols.find((each) => each.toLowerCase() === wanted)
      ?? symbols.find((each) => each.toLowerCase().startsWith(wanted));
    if (found) this.#go(found);
  }

  #go(symbol) {
    this.#focusable(symbol);
    this.#cells.get(symbol).focus();
  }

  #focusable(symbol) {
    for (const [each, cell] of this.#cells) cell.tabIndex = each === symbol ? 0 : -1;
  }
}
